"""XML without its dangers: no entities, no network, no document types, no depth beyond libxml2's 256."""

from typing import Any, TypeAlias

from lxml import etree

from kiv_engine.documents.text_builder import OTHER_COPY, UnreadableError
from kiv_engine.errors import said

Element: TypeAlias = Any
"""An element of lxml, which ships no types."""


def parse_xml(data: bytes, what: str, *, recover: bool = False) -> Element:
    """The root of an XML file; `recover` takes what there is of a damaged one. Raises UnreadableError naming `what`."""
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        recover=recover,
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise UnreadableError(
            said("is damaged: {0} is no sound XML ({1}); {2}", what, first_line(str(error)), OTHER_COPY)
        ) from error
    if root is None:
        raise UnreadableError(said("is damaged: {0} is no XML; {1}", what, OTHER_COPY))
    return root


def first_line(text: str) -> str:
    """A library's message, short."""
    return (text.splitlines() or [""])[0].rstrip(".")[:120]


def local_name(element: Element) -> str:
    """The name of an element without its namespace; empty for what is no element."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute(element: Element, name: str) -> str:
    """An attribute by its name without namespace; empty if it is missing."""
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return str(value)
    return ""
