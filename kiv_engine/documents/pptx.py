"""PPTX: the texts of every slide with its number, its title as section, and the speaker's notes."""

from typing import Final

from kiv_engine.documents.office import note_unread, related, relations
from kiv_engine.documents.package import Package
from kiv_engine.documents.text_builder import RIGHT_FILE, TextBuilder, UnreadableError
from kiv_engine.documents.xml_tree import Element, attribute, local_name, parse_xml
from kiv_engine.errors import said

PRESENTATION: Final = "ppt/presentation.xml"
TITLES: Final = frozenset({"title", "ctrTitle"})
ABSENT: Final = frozenset({"dt", "ftr", "sldNum", "sldImg", "hdr"})
"""Placeholders for what stands on every slide."""


def parse(data: bytes, out: TextBuilder) -> None:
    """Slides in the order in which they are shown; a slide's number is its page."""
    package = Package(data, out.limits)
    names = slide_names(package)
    slides = {number: name for number, name in enumerate(names, 1) if name in package}
    if not slides:
        raise UnreadableError(said("has no slides; {0}", RIGHT_FILE))
    for number, name in slides.items():
        out.progress(number - 1, len(names), "slides")
        out.end_block()
        out.begin_page(number)
        shapes = list(shapes_of(parse_xml(package.read(name), f"slide {number}")))
        out.begin_section(next((shape_text(shape) for shape in shapes if placeholder(shape) in TITLES), ""))
        for shape in shapes:
            write_shape(shape, out)
        for notes in related(package, name, "/notesSlide"):
            write_notes(parse_xml(package.read(notes), f"the notes of slide {number}"), out)
    if missing := [str(number) for number in range(1, len(names) + 1) if number not in slides]:
        out.note(f"{len(missing):,} of {len(names):,} slides are missing in the file: {', '.join(missing[:5])}.")
    note_unread(package, out)


def slide_names(package: Package) -> list[str]:
    """The slides' files in order; empty for one that the package does not know."""
    targets = relations(package, PRESENTATION)
    root = parse_xml(package.read(PRESENTATION), "its list of slides")
    return [targets.get(relation_id(slide), ("", ""))[1] for slide in root.iter("{*}sldId")]


def relation_id(slide: Element) -> str:
    """What a slide is called in the list of relations; it has an id of its own besides."""
    return next((str(value) for key, value in slide.attrib.items() if key.endswith("relationships}id")), "")


def shapes_of(root: Element) -> list[Element]:
    """Shapes with text and tables, in the order of the file, without what is there for old programs only."""
    found = []
    for child in root:
        if local_name(child) in ("sp", "tbl"):
            found.append(child)
        elif local_name(child) != "Fallback":
            found += shapes_of(child)
    return found


def placeholder(shape: Element) -> str:
    """What a shape stands for, like "title"."""
    return next((attribute(element, "type") for element in shape.iterfind("{*}nvSpPr/{*}nvPr/{*}ph")), "")


def write_shape(shape: Element, out: TextBuilder) -> None:
    """The text of a shape or a table."""
    if placeholder(shape) in ABSENT:
        return
    if local_name(shape) == "tbl":
        lines = [" | ".join(map(shape_text, row.iterfind("{*}tc"))) for row in shape.iterfind("{*}tr")]
    else:
        lines = [line for line in map(paragraph_line, shape.iterfind("{*}txBody/{*}p")) if line.strip()]
    if lines:
        out.end_block()
        out.add("\n".join(lines))


def write_notes(root: Element, out: TextBuilder) -> None:
    """The speaker's notes."""
    texts = [shape_text(shape) for shape in shapes_of(root) if placeholder(shape) not in ABSENT]
    if text := "\n".join(filter(None, texts)):
        out.end_block()
        out.add(f"Notes: {text}")


def shape_text(shape: Element) -> str:
    """All of a shape in one line."""
    return " ".join(" ".join(map(paragraph_text, shape.iter("{*}p"))).split())


def paragraph_line(paragraph: Element) -> str:
    """A paragraph, indented as deep as it is in a list."""
    level = next((attribute(properties, "lvl") for properties in paragraph.iterfind("{*}pPr")), "")
    return "  " * (int(level) if level.isdecimal() and len(level) == 1 else 0) + paragraph_text(paragraph)


def paragraph_text(paragraph: Element) -> str:
    """The characters of a paragraph."""
    letters = paragraph.iter("{*}t", "{*}br")
    return "".join("\n" if local_name(element) == "br" else element.text or "" for element in letters)
