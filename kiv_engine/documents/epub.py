"""EPUB: the chapters in reading order, with their titles as sections."""

import posixpath
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urldefrag

from kiv_engine.documents.html import decode_page, read_markup, text_of
from kiv_engine.documents.package import Package
from kiv_engine.documents.text_builder import OTHER_COPY, TextBuilder, UnreadableError
from kiv_engine.documents.xml_tree import Element, attribute, local_name, parse_xml
from kiv_engine.errors import said

CONTAINER: Final = "META-INF/container.xml"
ENCRYPTION: Final = "META-INF/encryption.xml"
NCX: Final = "application/x-dtbncx+xml"


def parse(data: bytes, out: TextBuilder) -> None:
    """The whole book."""
    book = open_book(Package(data, out.limits))
    title = book.title
    for number, page in enumerate(book.pages):
        out.progress(number, len(book.pages), "chapters")
        chapter = TextBuilder(out.limits)
        text, _encoding = decode_page(book.package.read(page))
        read_markup(text, chapter)
        out.end_block()
        title = book.titles.get(page, title)
        out.include(chapter.so_far(), title)
    if book.missing:
        count = len(book.pages) + len(book.missing)
        out.note(f"{len(book.missing):,} of {count:,} chapters are missing in the file: {', '.join(book.missing[:5])}.")


@dataclass(frozen=True)
class Book:
    """An opened book.

    Attributes:
        pages: names of its files in reading order.
        titles: of those that the table of contents names.
        missing: what else the reading order names.
    """

    package: Package
    title: str
    pages: tuple[str, ...]
    titles: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def open_book(package: Package) -> Book:
    """Find what is to be read. Raises UnreadableError: damaged, or sold with a lock."""
    description = find_description(package)
    root = parse_xml(package.read(description), "its description")
    items = {attribute(item, "id"): item for item in elements(root, "item")}
    files = {key: resolve(description, attribute(item, "href")) for key, item in items.items()}
    order = (attribute(reference, "idref") for reference in elements(root, "itemref"))
    named = tuple(dict.fromkeys(files.get(key, key) for key in order))
    pages = tuple(name for name in named if name in package)
    if not pages:
        raise UnreadableError(said("is damaged: none of its chapters is there; {0}", OTHER_COPY))
    check_lock(package, pages)
    title = next((text_of(element) for element in elements(root, "title")), "")
    missing = tuple(name for name in named if name not in package)
    return Book(package, title, pages, find_titles(package, items, files), missing)


def find_description(package: Package) -> str:
    """The name of the file that lists all others."""
    container = parse_xml(package.read(CONTAINER), "its container")
    for element in elements(container, "rootfile"):
        if (name := attribute(element, "full-path")) in package:
            return name
    raise UnreadableError(said("is damaged: its description is missing; {0}", OTHER_COPY))


def check_lock(package: Package, pages: tuple[str, ...]) -> None:
    """Raise UnreadableError where chapters are encrypted; fonts may be."""
    if ENCRYPTION in package:
        lock = parse_xml(package.read(ENCRYPTION), "its lock")
        if {attribute(element, "URI") for element in elements(lock, "CipherReference")} & set(pages):
            raise UnreadableError(
                said("is locked by its seller (DRM), so that only their reader can open it; get a copy without a lock.")
            )


def find_titles(package: Package, items: dict[str, Element], files: dict[str, str]) -> dict[str, str]:
    """The title of each file that the table of contents names; the first where it names several places in one."""
    titles: dict[str, str] = {}
    for key, item in items.items():
        name = files[key]
        if name in package:
            for link, title in links_of(package, item, name):
                titles.setdefault(resolve(name, link), title)
    return titles


def links_of(package: Package, item: Element, name: str) -> list[tuple[str, str]]:
    """Links and titles of a file that is a table of contents, in either form; a damaged one has what can be read."""
    if "nav" in attribute(item, "properties").split():
        root = parse_xml(package.read(name), "its contents", recover=True)
        # A second list, of the printed book's pages, would make titles of their numbers.
        lists = [nav for nav in elements(root, "nav") if "toc" in (attribute(nav, "type") or "toc").split()]
        links = [(attribute(link, "href"), text_of(link)) for nav in lists for link in elements(nav, "a")]
    elif attribute(item, "media-type") == NCX:
        root = parse_xml(package.read(name), "its contents", recover=True)
        links = list(map(ncx_link, elements(root, "navPoint")))
    else:
        links = []
    return [(link, title) for link, title in links if title]


def ncx_link(point: Element) -> tuple[str, str]:
    """Where a point of an NCX leads, and its label."""
    label = next((text_of(element) for element in elements(point, "navLabel")), "")
    return next((attribute(element, "src") for element in elements(point, "content")), ""), label


def elements(root: Element, name: str) -> list[Element]:
    """All elements of this name below, whatever their namespace."""
    return [element for element in root.iter() if local_name(element) == name]


def resolve(base: str, link: str) -> str:
    """The file in the package that a link of another file leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), unquote(urldefrag(link).url)))
