"""ODT: paragraphs, lists, tables and notes in order, with headings as sections."""

from collections.abc import Iterator
from typing import Final

from kiv_engine.documents.package import Package
from kiv_engine.documents.text_builder import OTHER_COPY, TextBuilder, UnreadableError
from kiv_engine.documents.xml_tree import Element, attribute, local_name, parse_xml
from kiv_engine.errors import said

TOLD_EVERY: Final = 100
MAX_SPACES: Final = 1_000
UNSEEN: Final = frozenset(
    {"tracked-changes", "annotation", "annotation-end", "sequence-decls", "forms", "desc", "title"}
)
PAGE_LINES: Final = ("header", "header-left", "header-first", "footer", "footer-left", "footer-first")
ROW_GROUPS: Final = frozenset({"table-header-rows", "table-row-group", "table-rows"})


def parse(data: bytes, out: TextBuilder) -> None:
    """The document's body."""
    package = Package(data, out.limits)
    if "META-INF/manifest.xml" in package and b"encryption-data" in package.read("META-INF/manifest.xml"):
        raise UnreadableError(said("is protected by a password; save a copy without one."))
    root = parse_xml(package.read("content.xml"), "its content")
    body = next((element for element in root.iter("{*}text") if local_name(element.getparent()) == "body"), None)
    if body is None:
        raise UnreadableError(said("is damaged: it has no body; {0}", OTHER_COPY))
    for number, element in enumerate(body):
        if number % TOLD_EVERY == 0:
            out.progress(number, len(body), "paragraphs")
        write_block(element, out, "")
    if missing := [name for name, found in unread(package, root) if found]:
        out.note(f"Not read: {', '.join(missing)}.")


def unread(package: Package, root: Element) -> Iterator[tuple[str, bool]]:
    """What is not read of a document, and whether there is any of it."""
    yield "charts and formulas", any(name.startswith("Object ") for name in package.names)
    yield "comments", next(root.iter("{*}annotation"), None) is not None
    yield "headers and footers", has_page_lines(package)


def has_page_lines(package: Package) -> bool:
    """Whether something stands above or below all pages; where that cannot be read, too."""
    try:
        styles = parse_xml(package.read("styles.xml"), "its styles", recover=True)
    except UnreadableError:
        return "styles.xml" in package
    return any("".join(line.itertext()).strip() for name in PAGE_LINES for line in styles.iter(f"{{*}}{name}"))


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
    text = "".join(letters(paragraph, notes)).strip("\n")
    out.end_block()
    if local_name(paragraph) == "h":
        out.begin_section(text)
    out.add(mark + text)
    write_notes(notes, out)


def write_notes(notes: list[tuple[str, str]], out: TextBuilder) -> None:
    """Each on a line of its own."""
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
        return [" " * min(int(count[:9]) if count.isdecimal() else 1, MAX_SPACES)]
    if name in ("tab", "line-break"):
        return ["\t" if name == "tab" else "\n"]
    if name == "note":
        number = "".join("".join(part.itertext()) for part in child.iterfind("{*}note-citation")).strip()
        notes.append((number, " ".join(one_line(part, []) for part in child.iterfind("{*}note-body"))))
        return [f"[{number}]"]
    if name in ("p", "h"):
        return ["\n", *letters(child, notes)]  # of a text box or a cell
    if name == "text-box":
        return [*letters(child, notes), "\n"]
    return [] if name in UNSEEN else letters(child, notes)


def one_line(element: Element, notes: list[tuple[str, str]]) -> str:
    """All of an element in one line."""
    return " ".join("".join(letters(element, notes)).split())


def write_table(table: Element, out: TextBuilder) -> None:
    """A row a line. What a cell's file repeats a thousand times is an empty rest of a sheet."""
    out.end_block()
    for row in rows_of(table):
        notes: list[tuple[str, str]] = []
        out.end_block(0)
        out.add(" | ".join(one_line(cell, notes) for cell in row if local_name(cell) == "table-cell"))
        write_notes(notes, out)


def rows_of(table: Element) -> Iterator[Element]:
    """The rows of a table, but not of those in its cells."""
    for child in table:
        if local_name(child) == "table-row":
            yield child
        elif local_name(child) in ROW_GROUPS:
            yield from rows_of(child)


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
