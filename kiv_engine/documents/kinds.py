"""What a file is, by its content first and its name second, and which parser reads it."""

import io
import re
import zipfile
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Protocol, cast

from kiv_engine.documents.text_builder import OTHER_COPY, TextBuilder, UnreadableError
from kiv_engine.errors import said

HEAD_BYTES: Final = 64 * 1024
"""So much of a file tells what it is."""

MIMETYPE_BYTES: Final = 100


class Parse(Protocol):
    """Reads a file's bytes into the builder."""

    def __call__(self, data: bytes, out: TextBuilder) -> None: ...


@dataclass(frozen=True)
class Kind:
    """A format: what people call it, its extensions, and the file beside this one that reads it."""

    name: str
    extensions: tuple[str, ...]
    module: str

    @property
    def parse(self) -> Parse:
        return cast("Parse", import_module(f"kiv_engine.documents.{self.module}").parse)


PDF = Kind("PDF", ("pdf",), "pdf")
DOCX = Kind("DOCX", ("docx",), "docx")
EPUB = Kind("EPUB", ("epub",), "epub")
ODT = Kind("ODT", ("odt", "ott"), "odt")
PPTX = Kind("PPTX", ("pptx", "pptm"), "pptx")
XLSX = Kind("XLSX", ("xlsx", "xlsm"), "xlsx")
RTF = Kind("RTF", ("rtf",), "rtf")
HTML = Kind("HTML", ("html", "htm", "xhtml"), "html")
EMAIL = Kind("e-mail", ("eml",), "eml")
MARKDOWN = Kind("Markdown", ("md", "markdown"), "markdown")
CSV = Kind("CSV", ("csv",), "delimited")
TSV = Kind("TSV", ("tsv", "tab"), "delimited")
JSON = Kind("JSON", ("json", "geojson", "ipynb"), "json_data")
JSONL = Kind("JSON lines", ("jsonl", "ndjson"), "json_lines")
TEXT = Kind("text", ("txt", "text", "log", "rst", "tex", "srt"), "plain")
CODE = Kind(
    "source code",
    (
        "py", "pyi", "js", "jsx", "mjs", "ts", "tsx", "java", "kt", "scala", "c", "h", "cc", "cpp", "cxx", "hpp", "cs",
        "go", "rs", "rb", "php", "pl", "lua", "swift", "m", "r", "jl", "hs", "ml", "ex", "erl", "clj", "lisp", "el",
        "sh", "bash", "zsh", "fish", "ps1", "bat", "sql", "css", "scss", "less", "xml", "svg", "yaml", "yml", "toml",
        "ini", "cfg", "conf", "cmake", "make", "mk", "gradle", "proto", "vue", "dart", "f90", "asm", "s", "v", "vhd",
    ),
    "code",
)  # fmt: skip
ZIP = Kind("zip file", ("zip",), "")
"""Not one text but many; `opening` reads them one by one."""

KINDS: Final = (
    PDF, DOCX, EPUB, ODT, PPTX, XLSX, RTF, HTML, EMAIL, MARKDOWN, CSV, TSV, JSON, JSONL, TEXT, CODE, ZIP,
)  # fmt: skip
TEXT_KINDS: Final = frozenset({HTML, EMAIL, MARKDOWN, CSV, TSV, JSON, JSONL, TEXT, CODE})

BY_EXTENSION: Final = {extension: kind for kind in KINDS for extension in kind.extensions}

_CODE_NAMES: Final = frozenset({"makefile", "dockerfile", "cmakelists.txt", "rakefile", "gemfile", "jenkinsfile"})

_OFFICE_FOLDERS: Final = {"word": DOCX, "xl": XLSX, "ppt": PPTX}
_OPEN_DOCUMENT: Final = b"application/vnd.oasis.opendocument."
_MIMETYPES: Final = {
    _OPEN_DOCUMENT + b"text": ODT,
    _OPEN_DOCUMENT + b"text-template": ODT,
    b"application/epub+zip": EPUB,
}
_SAVED_AS: Final = {b"spreadsheet": "xlsx", b"presentation": "pptx"}

# What begins like this is no document; what it is instead.
_FOREIGN: Final = (
    (b"\x89PNG", said("a picture")),
    (b"\xff\xd8\xff", said("a picture")),
    (b"GIF8", said("a picture")),
    (b"BM", said("a picture")),
    (b"II*\x00", said("a picture")),
    (b"MM\x00*", said("a picture")),
    (b"RIFF", said("a picture, a sound or a film")),
    (b"ID3", said("a sound")),
    (b"OggS", said("a sound")),
    (b"fLaC", said("a sound")),
    (b"\x7fELF", said("a program")),
    (b"MZ", said("a program")),
    (b"\xcf\xfa\xed\xfe", said("a program")),
    (b"\xca\xfe\xba\xbe", said("a program")),
    (b"\x1f\x8b", said("a packed file (gzip)")),
    (b"BZh", said("a packed file (bzip2)")),
    (b"\xfd7zXZ", said("a packed file (xz)")),
    (b"7z\xbc\xaf\x27\x1c", said("a packed file (7z)")),
    (b"Rar!", said("a packed file (rar)")),
    (b"SQLite format 3", said("a database")),
    (b"\x00\x00\x00\x18ftyp", said("a film")),
    (b"\x00\x00\x00\x1cftyp", said("a film")),
    (b"\x00\x00\x00\x20ftyp", said("a film")),
    (b"\x1aE\xdf\xa3", said("a film")),
    (b"\xff\xfb", said("a sound")),
)

_DOCUMENT_STARTS: Final = (b"PK\x03\x04", b"PK\x05\x06", b"{\\rtf", b"\xd0\xcf\x11\xe0", b"\xff\xfe", b"\xfe\xff")
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HTML_START: Final = re.compile(
    rb"\s*+(?:<\?xml[^>]*+>\s*+)?+(?:(?><!--.*?-->)\s*+)*+<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
_MAIL_START: Final = re.compile(
    rb"(?:(?:Return-Path|Received|From|To|Subject|Date|Message-ID|MIME-Version|Delivered-To|X-[\w-]+):[^\n]*\n"
    rb"(?:[ \t][^\n]*\n)*){3,}", re.I,
)  # fmt: skip


def extension(name: str) -> str:
    """The last part of a file's name, in small letters."""
    stem, dot, last = name.rpartition(".")
    return last.lower() if dot and stem else ""


def check_head(head: bytes) -> None:
    """Raise UnreadableError where a file's beginning shows that it is no document, before all of it is read."""
    if b"\x00" in head and not head.startswith(_DOCUMENT_STARTS) and b"%PDF-" not in head[:1024]:
        _refuse_foreign(head)


def kind_of(data: bytes, name: str) -> Kind:
    """What a file is. Raises UnreadableError for what is no document."""
    head = data[:HEAD_BYTES]
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _packed_kind(data, name)
    named = BY_EXTENSION.get(extension(name))
    if head.startswith(b"%PDF-") or (b"%PDF-" in head[:1024] and named not in TEXT_KINDS):
        return PDF
    if head.startswith(b"{\\rtf"):
        return RTF
    if head.startswith(_OLE):
        raise UnreadableError(_ole_reason(data))
    return _text_kind(head, name)


def _packed_kind(data: bytes, name: str) -> Kind:
    """Which of the formats that are zip files, by the files in it."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            names = set(package.namelist())
            mimetype = read_start(package, "mimetype") if "mimetype" in names else b""
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - damaged in any way; the parser says so
        named = BY_EXTENSION.get(extension(name))
        return named if named in (DOCX, EPUB, ODT, PPTX, XLSX) else ZIP
    if kind := _MIMETYPES.get(mimetype.strip()):
        return kind
    if mimetype.startswith(_OPEN_DOCUMENT):
        what = mimetype.removeprefix(_OPEN_DOCUMENT).strip().removesuffix(b"-template")
        raise UnreadableError(said("is an OpenDocument file but no text; save it as {0}.", _SAVED_AS.get(what, "pdf")))
    if "[Content_Types].xml" in names:
        for folder, kind in _OFFICE_FOLDERS.items():
            if any(name.startswith(f"{folder}/") for name in names):
                return kind
        raise UnreadableError(said("is an Office file that holds no text, sheets or slides; save it as pdf."))
    return EPUB if "META-INF/container.xml" in names else ZIP


def read_start(package: zipfile.ZipFile, name: str) -> bytes:
    """The first MIMETYPE_BYTES of a member, however much it may unpack to."""
    with package.open(name) as file:
        return file.read(MIMETYPE_BYTES)


def _ole_reason(data: bytes) -> str:
    if "EncryptedPackage".encode("utf-16-le") in data:
        return said("is protected by a password; save a copy without one.")
    return said("is in an old Office format; save it as docx, xlsx or pptx.")


def _text_kind(head: bytes, name: str) -> Kind:
    named = BY_EXTENSION.get(extension(name))
    if b"\x00" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        _refuse_foreign(head)
        if named is not None and named not in TEXT_KINDS:
            raise UnreadableError(said("is no {0}, although its name says so; {1}", named.name, OTHER_COPY))
    if named in (None, TEXT, PDF, DOCX, EPUB, ODT, PPTX, XLSX, RTF, ZIP):
        return _guessed_kind(head, name)
    assert named is not None
    return named


def _refuse_foreign(head: bytes) -> None:
    for start, what in _FOREIGN:
        if head.startswith(start):
            raise UnreadableError(said("is {0}, not text.", what))


def _guessed_kind(head: bytes, name: str) -> Kind:
    """A text whose name says nothing, or something that it is not."""
    if _HTML_START.match(head.removeprefix(b"\xef\xbb\xbf")):
        return HTML
    if _MAIL_START.match(head):
        return EMAIL
    if name.lower() in _CODE_NAMES or head.startswith(b"#!"):
        return CODE
    return TEXT
