"""DOCX: paragraphs, lists, tables and notes in order, with headings as sections, and pages where Word left them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from kiv_engine.documents.docx_lists import Lists, number_of, numeral
from kiv_engine.documents.docx_styles import LIST_ID, LIST_LEVEL, Style, read_styles, value
from kiv_engine.documents.office import note_unread, related
from kiv_engine.documents.package import Package
from kiv_engine.documents.text_builder import TextBuilder, UnreadableError
from kiv_engine.documents.xml_tree import Element, attribute, local_name, parse_xml
from kiv_engine.errors import said

TOLD_EVERY: Final = 100

# Deleted text, the second form of what old programs cannot show, and fields' instructions.
UNSEEN: Final = frozenset({"del", "moveFrom", "Fallback", "instrText", "delText", "pPr", "rPr"})
WRAPPERS: Final = frozenset({"sdt", "sdtContent", "customXml", "ins", "moveTo", "AlternateContent", "Choice"})
"""What stands around blocks, rows and cells without changing what they are, like the controls of forms."""

LETTERS: Final = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
REFERENCES: Final = {"footnoteReference": "footnotes", "endnoteReference": "endnotes"}
NOTES: Final = {"footnotes": "decimal", "endnotes": "lowerRoman"}
"""How Word numbers them where nobody told it otherwise."""

PAGE: Final = ("page", "")


def parse(data: bytes, out: TextBuilder) -> None:
    """The document's body."""
    package = Package(data, out.limits)
    main = next(iter(related(package, "", "/officeDocument")), "")
    body = next(parse_xml(package.read(main), "its text").iterfind("{*}body"), None) if main else None
    if body is None:
        raise UnreadableError(said("is a damaged Word document; open it in Word and save it anew."))
    Body(body, partial(children, package, main), out).write()
    note_unread(package, out)


def children(package: Package, main: str, kind: str) -> list[Element]:
    """What is in another part of the document, like its styles; empty if it has no such part."""
    parts = related(package, main, f"/{kind}")
    return [child for part in parts for child in parse_xml(package.read(part), f"its {kind}")]


class Body:
    """Walks through a document."""

    def __init__(self, body: Element, part: Callable[[str], list[Element]], out: TextBuilder) -> None:
        """`part` tells what is in other parts of the document."""
        self._body, self._out = body, out
        self._styles = read_styles(part("styles"))
        self._notes = {kind: read_notes(part(kind)) for kind in NOTES}
        self._noted: Counter[str] = Counter()
        self._lists = Lists(part("numbering"))
        self._page = 1
        self._has_pages = any(True for _mark in body.iter("{*}lastRenderedPageBreak"))

    def write(self) -> None:
        """Everything in order."""
        if self._has_pages:
            self._out.begin_page(1)
        blocks = list(unwrapped(self._body))
        for number, block in enumerate(blocks):
            if number % TOLD_EVERY == 0:
                self._out.progress(number, len(blocks), "paragraphs")
            if local_name(block) == "p":
                self._write_paragraph(block)
            elif local_name(block) == "tbl":
                self._write_table(block)

    def _write_paragraph(self, paragraph: Element) -> None:
        self._out.end_block()
        if self._style_of(paragraph).is_heading and (title := plain_text(paragraph).strip()):
            self._out.begin_section(title)
        self._out.add(self._bullet(paragraph))
        notes: list[str] = []
        for piece in pieces(paragraph):
            if piece == PAGE:
                self._turn_pages(1)
            else:
                self._out.add(piece if isinstance(piece, str) else self._note(piece, notes))
        self._write_notes(notes)

    def _note(self, piece: tuple[str, str], notes: list[str]) -> str:
        """The mark of a note, counted as Word does; its text goes to `notes`."""
        kind, key = piece
        self._noted[kind] += 1
        mark = f"[{numeral(self._noted[kind], NOTES[kind])}]"
        if text := self._notes[kind].get(key):
            notes.append(f"{mark} {text}")
        return mark

    def _write_notes(self, notes: list[str]) -> None:
        for note in notes:
            self._out.end_block(0)
            self._out.add(note)

    def _turn_pages(self, count: int) -> None:
        if count:
            self._page += count
            self._out.begin_page(self._page)

    def _write_table(self, table: Element) -> None:
        self._out.end_block()
        for row in named("tr", table):
            self._out.end_block(0)
            before, after = page_turns(row)
            self._turn_pages(before)
            notes: list[str] = []
            self._out.add(" | ".join(self._cell_text(cell, notes) for cell in named("tc", row)))
            self._write_notes(notes)
            self._turn_pages(after)

    def _cell_text(self, cell: Element, notes: list[str]) -> str:
        """All of a cell in one line; of a table in it, too."""
        found = []
        for block in unwrapped(cell):
            if local_name(block) == "p":
                texts = (
                    piece if isinstance(piece, str) else self._note(piece, notes)
                    for piece in pieces(block)
                    if piece != PAGE
                )
                found.append(self._bullet(block) + "".join(texts))
            elif local_name(block) == "tbl":
                found += [self._cell_text(inner, notes) for row in named("tr", block) for inner in named("tc", row)]
        return one_line(found)

    def _style_of(self, paragraph: Element) -> Style:
        return self._styles.get(value(paragraph, "{*}pPr/{*}pStyle"), Style())

    def _bullet(self, paragraph: Element) -> str:
        """What Word shows before a list's item; empty for other paragraphs."""
        style = self._style_of(paragraph)
        list_id = value(paragraph, LIST_ID) or style.list_id
        if list_id in ("", "0"):
            return ""
        level = min(number_of(value(paragraph, LIST_LEVEL) or style.list_level, 0), 8)
        indent = "" if style.is_heading else "  " * level
        return indent + self._lists.label(list_id, level)


def unwrapped(element: Element) -> Iterator[Element]:
    """The children of an element; those of wrappers as if they stood there themselves."""
    for child in element:
        if local_name(child) in WRAPPERS:
            yield from unwrapped(child)
        else:
            yield child


def named(name: str, element: Element) -> Iterator[Element]:
    """The rows of a table, or the cells of a row."""
    return (child for child in unwrapped(element) if local_name(child) == name)


def pieces(element: Element) -> Iterator[str | tuple[str, str]]:
    """Texts in order, and between them PAGE, and notes as (kind, id). What is in a text box stands on its own lines."""
    for child in element:
        name = local_name(child)
        if name == "t":
            yield child.text or ""
        elif name in LETTERS:
            yield LETTERS[name]
        elif name == "lastRenderedPageBreak":
            yield PAGE
        elif name in REFERENCES:
            yield (REFERENCES[name], attribute(child, "id"))
        elif name not in UNSEEN:
            if name == "p":
                yield "\n"
            yield from pieces(child)
            if name == "txbxContent":
                yield "\n"


def page_turns(row: Element) -> tuple[int, int]:
    """Pages that end before a row's first text, and after it. Cells stand side by side: the fullest one counts."""
    before = most = 0
    blank = True
    for cell in named("tc", row):
        marks = 0
        for piece in pieces(cell):
            marks += piece == PAGE
            blank = blank and not (isinstance(piece, str) and piece.strip())
            before = max(before, marks) if blank else before
        most = max(most, marks)
    return before, most - before


def plain_text(element: Element) -> str:
    """All text in an element, without the marks of notes and pages."""
    return "".join(piece for piece in pieces(element) if isinstance(piece, str))


def one_line(texts: Iterable[str]) -> str:
    """Texts side by side, blanks folded."""
    return " ".join(" ".join(texts).split())


def read_notes(notes: list[Element]) -> dict[str, str]:
    """The texts of all footnotes or endnotes by their ids."""
    return {attribute(note, "id"): one_line([plain_text(note)]) for note in notes}
