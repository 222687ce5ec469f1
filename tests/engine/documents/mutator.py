"""Files that nobody wrote, made from real ones: the same seed gives the same files, each of them can be made alone.

Bytes are flipped, cut, left out, doubled and put in; in packages that goes on inside, where they are packed again
soundly; the XML in them is changed as a tree, which stays sound and gets to the parser; and formats that are no
packages are thrown together of their own words.
"""

import copy
import io
import random
import re
import zipfile
from collections.abc import Callable
from typing import Final

from lxml import etree

# What a format is made of, to be thrown together.
WORDS: Final = {
    "txt": ["a", "\r", "\n", "\x00", "é", "\ufeff", "\x1b", " "],
    "md": ["#", "##", " ", "\n", "```", "~~~", "a", "\r\n", "a\n===\n", "a\n\nb\n--\n"],
    "html": ["<p>", "</p>", "<h1>", "</h1>", "<ul>", "<li>", "<table>", "<tr>", "<td>", "<pre>", "<script>",
             "</script>", "<!--", "-->", "<![CDATA[", "&amp;", "&#0;", "&#xD800;", "<br/>", "a", "<", ">", "\"",
             "<meta charset=utf-16>", "<meta charset=punycode>", "<meta charset=idna>", "<head>", "</body>", "<svg>",
             "<a href='", "</table>", "</td>", "</tr>", "<img alt=a>", "<mi>", "</pre>", "x" * 1_100, "<?xml ?>",
             "\x00", "<?xml encoding='unicode_escape'?>"],
    "pdf": ["%PDF-1.7\n", "1 0 obj", "endobj", "<<", ">>", "/Type", "/Page", "/Pages", "/Kids [1 0 R]", "stream\n",
            "endstream", "xref", "trailer", "/Root 1 0 R", "startxref\n0\n", "%%EOF", "(", ")", "BT", "ET", "Tj",
            "-1", "99999999999", "/Count 99999999", "/Parent 3 0 R", "/Next 5 0 R", "/Annots", "/Subtype/Widget"],
    "csv": ["a", ",", "\"", "\n", "\r", "\"\"", ";", "\t"],
    "tsv": ["a", "\t", "\"", "\n", "\r"],
    "json": ["{", "}", "[", "]", ",", ":", "\"", "\\", "1e999", "null", "\\ud800", "\"a\"", " ", "\n", "\"" * 2_100],
    "jsonl": ["{\"a\":1}", "\n", "{", "]", "\"", "\r\n"],
    "py": ["x", "\n", "\r", "\t", "\x0c", "\u2028", "\"\"\""],
    "rtf": ["{\\rtf1", "{", "}", "\\par", "\\u8364?", "\\u-1", "\\'e9", "\\'zz", "\\bin9", "\\ansicpg932", "\\uc9",
            "\\fonttbl", "\\*", "\\", " a", "\\trowd", "\\cell", "\\row", "\\ansicpg99999", "\\u99999999", "\\f0",
            "\\fcharset128", "\\footnote", "\\pict ", "\\field", "\\fldinst", "\\fldrslt", "\\uc", "\\u", "\\u-99999?"],
    "eml": ["From: a\n", "Subject: =?utf-8?b?4pi?=\n", "Date: x\n", "To: <\n", "\n", "To: a:;b@[c\n", "Cc: =?\n",
            "Content-Type: multipart/mixed; boundary=b\n", "Content-Type: multipart/alternative; boundary=b\n",
            "--b\n", "--b--\n", "Content-Type: text/html; charset=nope\n", "Content-Transfer-Encoding: base64\n",
            "Content-Transfer-Encoding: quoted-printable\n", "Content-Transfer-Encoding: uuencode\n",
            "Content-Disposition: attachment; filename*=x''%ff\n", "MIME-Version: 1.0\n", "=?a?q?=", "a", "\x00",
            "Content-Disposition: attachment; filename=\"=?utf-8?q?\n", "Content-Type: ;;\n", "Content-Type: text/\n",
            "Content-Type: message/rfc822\n", "Content-Type: text/plain; charset*0=\n", "MIME-Version: 1.(\n",
            "Content-Type: text/plain; charset=\"\n", "Content-Type: text/plain; charset=a\x00b\n", "Date: 99 99\n",
            "Content-Type: text/plain; charset=idna\n", "Content-Type: multipart/related; boundary=b; start=<\n",
            "Subject: =?x?b?a?=\n", "From: \"\\\n", "Message-ID: <[\n", "Content-Disposition:\n",
            "Content-Disposition: inline; filename*0*=utf-8'a'%; filename*1=b\n"],
}  # fmt: skip

XML_WORDS: Final = [
    "<a>", "</a>", "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>", "&b;", "&amp;", "<", ">", "\"", "xmlns:",
    "<?a", "<![CDATA[", "w:", "999999999999", "-1", "rId99", "../../..", "\x00",
]  # fmt: skip

VALUES: Final = [
    "", "0", "-1", "1", "2", "9", "1.5", "1e9", "99999", "1048577", "999999999999", "9" * 5_000, "²", "٣", "NaN",
    "true", "A1", "ZZZZ9", "A0", "a", "rId1", "../../../etc/passwd", "http://[", "%ff%zz#", "\ud7ff", "é" * 300, " ",
    "d", "s", "shared", "inlineStr", "none", "bullet", "upperRoman", "lowerLetter", "title", "toc nav",
]  # fmt: skip
"""What attributes and texts are set to: numbers that are none, too large or backwards, and words with a meaning."""

# Parts that the samples lack, to be put in anywhere.
FRAGMENTS: Final = {
    "docx": ["<w:p><w:r><w:footnoteReference w:id='2'/></w:r></w:p>", "<w:lastRenderedPageBreak/>", "<w:br/>",
             "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>x</w:t></w:r></w:p></w:tc></w:tr></w:tbl>", "<w:sdt><w:p/></w:sdt>",
             "<w:pPr><w:numPr><w:ilvl w:val='1'/><w:numId w:val='1'/></w:numPr></w:pPr>", "<w:txbxContent/>",
             "<w:lvlOverride w:ilvl='0'><w:startOverride w:val='3'/></w:lvlOverride>", "<w:basedOn w:val='Heading1'/>"],
    "odt": ["<text:s text:c='3'/>", "<text:s text:c='²'/>", "<text:tab/>",
            "<text:note><text:note-citation>1</text:note-citation></text:note>",
            "<text:list><text:list-item><text:p>x</text:p></text:list-item></text:list>", "<office:annotation/>",
            "<table:table><table:table-row><table:table-cell/></table:table-row></table:table>", "<text:p>x</text:p>"],
    "pptx": ["<a:p><a:pPr lvl='1'/><a:r><a:t>x</a:t></a:r></a:p>", "<p:sp/>", "<a:br/>", "<a:pPr lvl='²'/>",
             "<p:ph type='title'/>"],
    "xlsx": ["<row r='1'><c r='A1'><v>5</v></c></row>", "<row><c><v>6</v></c></row>", "<c r='B1'><v>7</v></c>",
             "<c t='s'><v>9</v></c>", "<c r='A1'><f t='shared' si='0'>A1+1</f></c>", "<c t='b'><v>x</v></c>",
             "<c t='d'><v>2024</v></c>", "<c t='e'><v>#N/A</v></c>", "<c t='inlineStr'><is><t>x</t></is></c>"],
    "epub": ["<item id='x' href='http://[' media-type='a'/>", "<itemref idref='x'/>", "<title/>", "<nav><a/></nav>",
             "<item id='n' href='nav.xhtml' media-type='application/x-dtbncx+xml'/>", "<navPoint><content/></navPoint>",
             "<a href='//[x'>x</a>", "<h1>x</h1>"],
}  # fmt: skip


_TELLING: Final = re.compile(
    r"document\.xml|numbering|styles|content\.|slide\d|sheet\d|\.opf|xhtml|\.(?:txt|csv|docx)$"
)
"""Members of packages that say what is in them, rather than how it looks."""


class Mutator:
    """Makes bad files from a real one."""

    def __init__(self, extension: str, original: bytes) -> None:
        self._original = original
        self._words = [word.encode() for word in WORDS.get(extension, XML_WORDS)]
        self._fragments = FRAGMENTS.get(extension, [])
        self._soupy = extension in WORDS
        self._members: dict[str, bytes] = {}
        if original.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(original)) as package:
                self._members = {name: package.read(name) for name in package.namelist()}

    def make(self, seed: str) -> bytes:
        """The file of this seed."""
        rng = random.Random(seed)
        if self._members:
            return self._changed(self._original, rng) if rng.random() < 0.1 else self._repacked(rng)
        if self._soupy and rng.random() < 0.4:
            return b"".join(rng.choices(self._words, k=rng.randrange(60)))
        return rng.randbytes(rng.randrange(400)) if rng.random() < 0.02 else self._changed(self._original, rng)

    def _changed(self, data: bytes, rng: random.Random) -> bytes:
        for _ in range(rng.randint(1, 4)):
            data = changed_once(data, self._words, rng)
        return data

    def _repacked(self, rng: random.Random) -> bytes:
        """A package with some of its members changed, lost, or exchanged."""
        members = dict(self._members)
        for _ in range(rng.randint(1, 3)):
            telling = sorted(filter(_TELLING.search, members)) if rng.random() < 0.7 else []
            name = rng.choice(telling or sorted(members))
            roll = rng.random()
            if roll < 0.05 and len(members) > 1:
                del members[name]
            elif roll < 0.08:
                members[name] = members[rng.choice(sorted(members))]
            elif roll < 0.2:
                members[name] = self._changed(members[name], rng)
            else:
                members[name] = changed_tree(members[name], self._fragments, rng)
        return packed(members)


def changed_once(data: bytes, words: list[bytes], rng: random.Random) -> bytes:
    """Bytes set, cut off, left out, doubled or put in."""
    first = rng.randrange(len(data) + 1)
    last = min(len(data), first + rng.choice((1, 16, 4_096)))
    word = rng.choice(words)
    changes: tuple[Callable[[], bytes], ...] = (
        lambda: data[:first] + rng.randbytes(4) + data[first + 4 :],
        lambda: data[:first] + bytes([rng.randrange(256)]) + data[first + 1 :],
        lambda: data[:first] + word + data[first + len(word) :],
        lambda: data[:first] + word + data[first:],
        lambda: data[:first] + data[last:],
        lambda: data[:last] + data[first:],
        lambda: data[:first],
    )
    return rng.choice(changes)()


def changed_tree(data: bytes, fragments: list[str], rng: random.Random) -> bytes:
    """Sound XML with some elements changed; other bytes as they are."""
    try:
        root = etree.fromstring(data)
    except etree.XMLSyntaxError:
        return data
    for _ in range(rng.randint(1, 4)):
        change_element(root, fragments, rng)
    return etree.tostring(root)


def change_element(root: etree._Element, fragments: list[str], rng: random.Random) -> None:
    """One element lost, doubled, moved, nested, renamed or put in, or one of its attributes or its text set."""
    elements = [element for element in root.iter() if isinstance(element.tag, str)]
    element, other = rng.choice(elements), rng.choice(elements)
    parent = element.getparent()
    roll = rng.randrange(8)
    if roll == 0 and parent is not None:
        parent.remove(element)
    elif roll == 1 and parent is not None:
        parent.insert(rng.randrange(len(parent) + 1), copy.deepcopy(element))
    elif roll == 2 and len(other) < 1_000:
        other.append(copy.deepcopy(element))
    elif roll == 3 and ":" not in other.tag.rpartition("}")[2]:
        element.tag = other.tag
    elif roll == 4 and fragments:
        put_in(element, rng.choice(fragments), rng)
    elif roll == 5:
        element.text = rng.choice(VALUES)
    elif names := sorted(name for name in element.attrib if ":" not in name.rpartition("}")[2]):
        element.set(rng.choice(names), rng.choice(VALUES))


def put_in(element: etree._Element, fragment: str, rng: random.Random) -> None:
    """A part in an element, with the prefixes of the document; without those that it lacks."""
    names = "".join(f' xmlns{f":{prefix}" if prefix else ""}="{uri}"' for prefix, uri in element.nsmap.items())
    parts = etree.fromstring(f"<x{names}>{fragment}</x>", etree.XMLParser(recover=True))
    element.insert(rng.randrange(len(element) + 1), parts[0])


def packed(members: dict[str, bytes]) -> bytes:
    """A zip file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as package:
        for name, data in members.items():
            package.writestr(name, data)
    return out.getvalue()
