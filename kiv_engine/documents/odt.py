"""ODT: paragraphs, lists, tables and notes in order, with headings as sections."""

from collections.abc import Iterable
from typing import Final

from kiv_engine.documents.package import Package
from kiv_engine.documents.text_builder import TextBuilder, UnreadableError
from kiv_engine.documents.xml_tree import Element, attribute, local_name, parse_xml

TOLD_EVERY: Final = 100
MAX_SPACES: Final = 1_000
UNSEEN: Final = frozenset(
    {"tracked-changes", "annotation", "annotation-end", "sequence-decls", "forms", "desc", "title"}
)


def parse(data: bytes, out: TextBuilder) -> None:
    """The document's body."""
    package = Package(data, out.limits)
    if "META-INF/manifest.xml" in package and b"encryption-data" in package.read("META-INF/manifest.xml"):
        raise UnreadableError("is protected by a password; save a copy without one.")
    root = parse_xml(package.read("content.xml"), "its content")
    body = next((element for element in root.iter("{*}text") if local_name(element.getparent()) == "body"), None)
    if body is None:
        raise UnreadableError("is damaged: it has no body.")
    for number, element in enumerate(body):
        if number % TOLD_EVERY == 0:
            out.progress(number, len(body), "paragraphs")
        write_block(element, out, "")


def write_block(element: Element, out: TextBuilder, mark: str) -> None:
    """A paragraph, a heading, a table, a list, or a group of those. `mark` is put before a list's first paragraph."""
    name = local_name(element)
    if name in ("p", "h"):
        write_paragraph(element, out, mark)
    elif name == "table":
        write_table(element, out)
    elif name == "list":
        write_list(element, out, 0)
    elif name not in UNSEEN:
        for child in element:
            write_block(child, out, mark)


def write_paragraph(paragraph: Element, out: TextBuilder, mark: str) -> None:
    """A paragraph, with its notes below it."""
    notes: list[tuple[str, str]] = []
    text = "".join(letters(paragraph, notes))
    out.end_block()
    if local_name(paragraph) == "h":
        out.begin_section(text)
    out.add(mark + text)
    for number, note in notes:
        out.end_block(0)
        out.add(f"[{number}] {note}")


def letters(element: Element, notes: list[tuple[str, str]]) -> list[str]:
    """The text of an element in pieces; notes go to `notes` and leave their number."""
    found = [element.text or ""]
    for child in element:
        found += child_letters(child, notes)
        found.append(child.tail or "")
    return found


def child_letters(child: Element, notes: list[tuple[str, str]]) -> list[str]:
    """The text of what stands between other text."""
    name = local_name(child)
    if name == "s":
        count = attribute(child, "c")
        return [" " * min(int(count) if count.isdigit() else 1, MAX_SPACES)]
    if name in ("tab", "line-break"):
        return ["\t" if name == "tab" else "\n"]
    if name == "note":
        number = "".join("".join(part.itertext()) for part in child.iterfind("{*}note-citation")).strip()
        notes.append((number, one_line(child.iterfind("{*}note-body"))))
        return [f"[{number}]"]
    return [] if name in UNSEEN else letters(child, notes)


def one_line(elements: Iterable[Element]) -> str:
    """All paragraphs in some elements as one line."""
    paragraphs = [paragraph for element in elements for paragraph in element.iter("{*}p", "{*}h")]
    return " ".join(" ".join("".join(letters(paragraph, [])) for paragraph in paragraphs).split())


def write_table(table: Element, out: TextBuilder) -> None:
    """A row a line. What a cell's file repeats a thousand times is an empty rest of a sheet."""
    out.end_block()
    for row in table.iter("{*}table-row"):
        cells = [one_line([cell]) for cell in row if local_name(cell) == "table-cell"]
        out.end_block(0)
        out.add(" | ".join(cells))


def write_list(items: Element, out: TextBuilder, level: int) -> None:
    """Items of a list, and lists in them."""
    for item in items:
        mark = "  " * level + "- "
        for child in item:
            if local_name(child) == "list":
                write_list(child, out, level + 1)
            else:
                write_block(child, out, mark)
                mark = "  " * (level + 1)
