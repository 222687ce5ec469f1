"""The styles of a DOCX: which are headings, and which number their paragraphs."""

from dataclasses import dataclass
from typing import Final

from kiv_engine.documents.xml_tree import Element, attribute

LIST_ID: Final = "{*}pPr/{*}numPr/{*}numId"
LIST_LEVEL: Final = "{*}pPr/{*}numPr/{*}ilvl"


@dataclass(frozen=True)
class Style:
    """What a style says of its paragraphs. `list_id` and `list_level` are empty where it says nothing of them."""

    is_heading: bool = False
    list_id: str = ""
    list_level: str = ""


def read_styles(styles: list[Element]) -> dict[str, Style]:
    """All styles by their ids, with what they take over from those that they are based on."""
    elements = {attribute(style, "styleId"): style for style in styles}
    return {key: whole_style(bases(key, elements)) for key in elements}


def bases(key: str, elements: dict[str, Element]) -> list[Element]:
    """A style, the one that it is based on, and so on."""
    found: dict[str, Element] = {}
    while key in elements and key not in found:
        found[key] = elements[key]
        key = value(elements[key], "{*}basedOn")
    return list(found.values())


def whole_style(line: list[Element]) -> Style:
    """The nearest style in a line that says something decides."""
    return Style(
        is_heading=next((said for said in map(says_heading, line) if said is not None), False),
        list_id=next(filter(None, (value(style, LIST_ID) for style in line)), ""),
        list_level=next(filter(None, (value(style, LIST_LEVEL) for style in line)), ""),
    )


def says_heading(style: Element) -> bool | None:
    """Whether a style is one for headings, whatever language it is named in; None if it does not say."""
    if outline := value(style, "{*}pPr/{*}outlineLvl"):
        return outline != "9"  # 9 is the body's
    name = value(style, "{*}name").lower()
    return True if name == "title" or (name.startswith("heading ") and name[8:].isdigit()) else None


def value(element: Element, path: str) -> str:
    """The value of the first element there; empty if there is none."""
    return next((attribute(found, "val") for found in element.iterfind(path)), "")
