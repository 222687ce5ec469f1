"""HTML: what a reader sees, with its headings as sections. Read as a stream, so that no depth of nesting matters."""

import re
from typing import Any, Final

from lxml import etree

from kiv_engine.documents.characters import decode
from kiv_engine.documents.html_rows import Rows
from kiv_engine.documents.text_builder import TextBuilder

FEED_CHARACTERS: Final = 64 * 1024

HIDDEN: Final = frozenset({"script", "style", "template", "head"})
BLOCKS: Final = frozenset({
    "address", "article", "aside", "blockquote", "body", "caption", "dd", "desc", "details", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "iframe",
    "legend", "li", "main", "nav", "noscript", "object", "ol", "option", "p", "pre", "section", "select", "summary",
    "svg", "table", "text", "title", "tr", "ul",
})  # fmt: skip
"""Those of pictures, like "text" and "desc", too."""

FORMULA_PARTS: Final = frozenset({"mi", "mn", "mo", "mtext", "annotation"})
SPACED: Final = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "dl", "pre", "blockquote"})
HEADINGS: Final = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})

_DECLARED: Final = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.I)
_XML_DECLARED: Final = re.compile(rb"<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w.:-]+)", re.I)
_BLANKS: Final = re.compile(r"[ \t\n\r\f\xa0]+")


def parse(data: bytes, out: TextBuilder) -> None:
    """The page's text."""
    text, out.encoding = decode_page(data)
    if out.encoding:
        out.note(f"Its encoding was taken for {out.encoding}.")
    read_markup(text, out)


def decode_page(data: bytes) -> tuple[str, str]:
    """The characters, as the page declares them if it does and they fit."""
    head = data[:4096]
    declared = _DECLARED.search(head) or _XML_DECLARED.search(head)
    if declared and not data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        codec = declared[1].decode("ascii").lower()
        try:
            text = data.decode({"iso-8859-1": "cp1252", "latin-1": "cp1252"}.get(codec, codec))
        except (LookupError, UnicodeError, ValueError):
            return decode(data)
        return text, "" if codec in ("utf-8", "utf8") else codec
    return decode(data)


def read_markup(text: str, out: TextBuilder) -> None:
    """Append what a page says."""
    parser = etree.HTMLParser(target=Page(out), no_network=True, huge_tree=True, remove_comments=True, remove_pis=True)
    # A declaration of the encoding is wrong now, and lxml would refuse it in a text.
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text[:1024]) + text[1024:]
    for start in range(0, len(text), FEED_CHARACTERS):
        out.progress(start, len(text), "characters")
        parser.feed(text[start : start + FEED_CHARACTERS])
    parser.close()


class Page:
    """Receives tags and text from the parser. Blanks fold into one, as on a screen."""

    def __init__(self, out: TextBuilder) -> None:
        self._out = out
        self._rows = Rows(self._write_line)
        self._hidden = 0
        self._pre = 0
        self._line: list[str] = []
        self._mark = ""
        self._heading: list[str] | None = None
        self._heading_start = 0
        self._lists: list[int | None] = []

    # -- what the parser calls -----------------------------------------------------------------------------------

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = tag.lower()
        self._hidden += tag in HIDDEN
        if self._hidden:
            return
        if tag in BLOCKS:
            self._end_block(tag)
        self._pre += tag == "pre"
        self._open(tag, attributes)

    def _open(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in HEADINGS:
            self._begin_heading()
        elif tag in ("ul", "ol"):
            self._lists.append(1 if tag == "ol" else None)
        elif tag == "li":
            self._mark = self._bullet()
        elif tag == "table":
            self._rows.begin_table()
        elif tag == "tr":
            self._rows.end_row()
        elif tag in ("td", "th"):
            self._end_line(0)
            self._rows.begin_cell()
        elif tag == "br":
            self._break_line()
        elif tag in FORMULA_PARTS:
            self._line.append(" ")  # or 2³ would be 23
        elif tag == "img" and (shown := attributes.get("alt", "").strip()):
            self.data(f"[{shown}]")

    def end(self, tag: str) -> None:
        tag = tag.lower()
        if self._hidden:
            self._hidden -= tag in HIDDEN
            return
        if tag in HEADINGS and self._heading is not None:
            self._out.begin_section("".join(self._heading), self._heading_start - self._out.length)
            self._heading = None
        if tag in ("ul", "ol") and self._lists:
            self._lists.pop()
            self._mark = ""
        if tag in ("tr", "table"):
            self._end_line(0)
            self._rows.end_row()
        if tag == "table":
            self._rows.end_table()
        if tag in BLOCKS:
            self._end_block(tag)
        self._pre -= tag == "pre" and self._pre > 0

    def data(self, text: str) -> None:
        if self._hidden:
            return
        if self._heading is not None:
            self._heading.append(text)
        if self._pre:
            self._end_line(0)
            self._rows.spread()
            self._out.add(text)
        else:
            self._line.append(text)

    def comment(self, _text: str) -> None:
        """Not shown."""

    def close(self) -> None:
        self._end_line(0)

    # -- lines ---------------------------------------------------------------------------------------------------

    def _begin_heading(self) -> None:
        self._rows.spread()
        self._out.end_block()
        self._heading, self._heading_start = [], self._out.length

    def _break_line(self) -> None:
        if self._pre:
            self.data("\n")
        elif self._heading is not None:
            self.data(" ")
        else:
            self._end_line(0)

    def _end_block(self, tag: str) -> None:
        """A block begins or ends."""
        if self._heading is not None:
            self._heading.append(" ")
        self._end_line(1 if tag in SPACED and not self._lists else 0)

    def _end_line(self, blank_lines: int) -> None:
        """Write the line that has been collected."""
        line = _BLANKS.sub(" ", "".join(self._line)).strip(" ")
        self._line.clear()
        if line:
            self._rows.write([f"{self._mark}{line}"])
            self._mark = ""
        if blank_lines and not self._rows.is_open:
            self._out.end_block(blank_lines)

    def _write_line(self, line: str) -> None:
        self._out.end_block(0)
        self._out.add(f"{line}\n")

    def _bullet(self) -> str:
        indent = "  " * (len(self._lists) - 1)
        if not self._lists or (number := self._lists[-1]) is None:
            return f"{indent}- "
        self._lists[-1] = number + 1
        return f"{indent}{number}. "


def text_of(element: Any) -> str:
    """All text in an element of a tree, blanks folded."""
    return " ".join("".join(element.itertext()).split())
