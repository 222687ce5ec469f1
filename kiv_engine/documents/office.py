"""What the packages of Office programs have in common: files that refer to others, and parts that no parser reads."""

import posixpath
import re
from typing import Final

from kiv_engine.documents.package import Package
from kiv_engine.documents.text_builder import TextBuilder, UnreadableError
from kiv_engine.documents.xml_tree import attribute, parse_xml

NOT_READ: Final = {
    "charts": re.compile(r"/charts/chart[^/]*\.xml$"),
    "comments": re.compile(r"/comments[^/]*\.xml$|/(?:comments|threadedComments)/[^/]*\.xml$"),
    "diagrams": re.compile(r"/diagrams/data[^/]*\.xml$"),
    "headers and footers": re.compile(r"^word/(?:header|footer)[^/]*\.xml$"),
    "text boxes": re.compile(r"^xl/drawings/drawing[^/]*\.xml$"),
}
"""Parts by what is in them."""

_TEXT: Final = re.compile(rb"<(?:\w+:)?(?:t|v|text)[ >]")


def relations(package: Package, name: str) -> dict[str, tuple[str, str]]:
    """Kind and file of everything that a file of an Office package refers to, by id; the package itself is ""."""
    folder, file = posixpath.split(name)
    listing = posixpath.join(folder, "_rels", f"{file}.rels")
    if listing not in package:
        return {}
    found = {}
    for relation in parse_xml(package.read(listing), "its relations").iter("{*}Relationship"):
        target = posixpath.normpath(posixpath.join("/", folder, attribute(relation, "Target"))).lstrip("/")
        found[attribute(relation, "Id")] = (attribute(relation, "Type"), target)
    return found


def related(package: Package, name: str, kind: str) -> list[str]:
    """The files of this kind that a file refers to."""
    return [target for type_, target in relations(package, name).values() if type_.endswith(kind) and target in package]


def note_unread(package: Package, out: TextBuilder) -> None:
    """Tell which parts with text were left out."""
    missing = [
        kind
        for kind, pattern in NOT_READ.items()
        if any(pattern.search(name) and has_text(package, name) for name in package.names)
    ]
    if missing:
        out.note(f"Not read: {', '.join(missing)}.")


def has_text(package: Package, name: str) -> bool:
    """Whether a part has text; one that cannot be read counts, too."""
    try:
        return _TEXT.search(package.read(name)) is not None
    except UnreadableError:
        return True
