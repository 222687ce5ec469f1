"""Files that nobody wrote: real ones with bytes changed, cut, moved and doubled, and soups of a format's own words.

They go through the parsing process, as all files do. Each is read or refused with a sentence; the parser never crashes,
never hangs, and its memory does not grow.
"""

import io
import traceback
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Final

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kiv_engine.documents.limits import MIB, Limits
from kiv_engine.documents.opening import unpacked
from kiv_engine.documents.parser_process import ParserProcess
from kiv_engine.documents.text_builder import ParsedText, UnreadableError
from kiv_engine.documents.worker import parse
from tests.engine.documents.writers import SAMPLES, Sample

LIMITS: Final = Limits(silence_s=20, seconds=30, memory_bytes=1024 * MIB, unpacked_bytes=64 * MIB)
PACKED: Final = frozenset({"town.docx", "town.epub", "town.odt", "town.pptx", "town.xlsx"})
NEVER: Final = ("made its parser", "was given up", "takes more than", "of memory", "the parsing process failed")
SETTINGS: Final = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))

# What a format is made of, to be thrown together.
WORDS: Final = {
    "town.txt": ["a", "\r", "\n", "\x00", "é", "\ufeff", "\x1b", " "],
    "town.md": ["#", "##", " ", "\n", "```", "~~~", "a", "\r\n"],
    "town.html": ["<p>", "</p>", "<h1>", "</h1>", "<ul>", "<li>", "<table>", "<tr>", "<td>", "<pre>", "<script>",
                  "</script>", "<!--", "-->", "<![CDATA[", "&amp;", "&#0;", "&#xD800;", "<br/>", "a", "<", ">", "\"",
                  "<meta charset=utf-16>", "<head>", "</body>", "<svg>", "<a href='"],
    "town.pdf": ["%PDF-1.7\n", "1 0 obj", "endobj", "<<", ">>", "/Type", "/Page", "/Pages", "/Kids [1 0 R]", "stream\n",
                 "endstream", "xref", "trailer", "/Root 1 0 R", "startxref\n0\n", "%%EOF", "(", ")", "BT", "ET", "Tj"],
    "town.csv": ["a", ",", "\"", "\n", "\r", "\"\"", ";", "\t"],
    "town.tsv": ["a", "\t", "\"", "\n", "\r"],
    "town.json": ["{", "}", "[", "]", ",", ":", "\"", "\\", "1e999", "null", "\\ud800", "\"a\"", " ", "\n"],
    "town.jsonl": ["{\"a\":1}", "\n", "{", "]", "\"", "\r\n"],
    "town.py": ["x", "\n", "\r", "\t", "\x0c", "\u2028", "\"\"\""],
    "town.rtf": ["{\\rtf1", "{", "}", "\\par", "\\u8364?", "\\u-1", "\\'e9", "\\'zz", "\\bin9", "\\ansicpg932", "\\uc9",
                 "\\fonttbl", "\\*", "\\", " a", "\\trowd", "\\cell", "\\row", "\\ansicpg99999", "\\u99999999",
                 "\\fcharset128"],
    "town.eml": ["From: a\n", "Subject: =?utf-8?b?4pi?=\n", "Date: x\n", "To: <\n", "\n",
                 "Content-Type: multipart/mixed; boundary=b\n",
                 "--b\n", "--b--\n", "Content-Type: text/html; charset=nope\n", "Content-Transfer-Encoding: base64\n",
                 "Content-Disposition: attachment; filename*=x''%ff\n", "MIME-Version: 1.0\n", "=?a?q?=", "a", "\x00",
                 "Content-Type: message/rfc822\n", "Content-Type: text/plain; charset*0=\n"],
}  # fmt: skip

XML_WORDS: Final = [
    "<a>", "</a>", "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>", "&b;", "&amp;", "<", ">", "\"", "xmlns:",
    "<?a", "<![CDATA[", "w:", "999999999999", "-1", "rId99", "../../..", "\x00", "",
]  # fmt: skip


def changed(data: bytes, recipe: bytes, words: list[bytes]) -> bytes:
    """A file gone bad: every eight bytes of the recipe are one change. One draw a file keeps ten thousand cheap."""
    for at in range(0, len(recipe) - 7, 8):
        data = changed_once(data, recipe[at : at + 8], words)
    return data


def changed_once(data: bytes, step: bytes, words: list[bytes]) -> bytes:
    """Bytes flipped, cut off, left out, doubled or put in. The numbers in a step say what, where and how much."""
    first, some = int.from_bytes(step[1:4], "big") * len(data) >> 24, step[4:8]
    last = min(len(data), first + int.from_bytes(step[4:6], "big") % 4_096)
    word = words[step[4] % len(words)]
    changes = (
        lambda: data[:first] + some + data[first + 4 :],
        lambda: data[:first] + bytes([step[4]]) + data[first + 1 :],
        lambda: data[:first] + word + data[first + len(word) :],
        lambda: data[:first] + word + data[first:],
        lambda: data[:first] + data[last:],
        lambda: data[:last] + data[first:],
        lambda: data[:first],
    )
    return changes[step[0] % len(changes)]()


def bad_files(sample: Sample, original: bytes) -> st.SearchStrategy[bytes]:
    """A real file with some changes; inside of packages too, where they are packed again soundly; and soups."""
    words = [word.encode() for word in WORDS.get(sample.name, XML_WORDS) if word]
    recipes = st.binary(min_size=8, max_size=32)
    plain = recipes.map(lambda recipe: changed(original, recipe, words))
    if sample.name in PACKED:
        with zipfile.ZipFile(io.BytesIO(original)) as package:
            members = {name: package.read(name) for name in package.namelist()}
        names = st.sampled_from(sorted(members))
        inner = st.tuples(names, recipes)
        return st.one_of(
            plain, inner.map(lambda pair: repacked(members, pair[0], changed(members[pair[0]], pair[1], words)))
        )
    soup = st.binary(max_size=60).map(lambda picks: b"".join(words[pick % len(words)] for pick in picks))
    return st.one_of(plain, soup, st.binary(max_size=400))


def repacked(members: dict[str, bytes], name: str, data: bytes) -> bytes:
    """A package with one member changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as package:
        for member, whole in (members | {name: data}).items():
            package.writestr(member, whole)
    return out.getvalue()


def check_parsed(parsed: ParsedText) -> None:
    """What holds for every text."""
    assert parsed.text.strip()
    assert not {"\r", "\x00"} & set(parsed.text)
    parsed.text.encode()
    places = parsed.places
    for track in (places.pages, places.rows, places.lines, places.sections):
        assert list(track.starts) == sorted(track.starts)
        assert not track.starts or track.starts[-1] <= len(parsed.text)
    for offset in (0, len(parsed.text) // 2, len(parsed.text) - 1):
        places.at(offset)


class Fuzzer:
    """Sends files to one parsing process."""

    def __init__(self, folder: Path, process: ParserProcess) -> None:
        self._path, self._process = folder / "fuzzed", process
        self.read = self.refused = 0

    def send(self, name: str, data: bytes) -> None:
        """Have a file parsed; whatever is not a text or a refusal fails."""
        self._path.write_bytes(data)
        asking = self._process.ask({"path": str(self._path), "member": None, "name": name})
        try:
            while True:
                next(asking)
        except StopIteration as stop:
            check_parsed(unpacked(*stop.value))
            self.read += 1
        except UnreadableError as error:
            self.check_refusal(str(error), data, name)
            self.refused += 1

    @staticmethod
    def check_refusal(reason: str, data: bytes, name: str) -> None:
        """It is the parser that refused, in a sentence."""
        assert not any(phrase in reason for phrase in NEVER), reason
        assert reason.endswith((".", "pdf"))
        if "or not really" in reason:
            check_cause(data, name)


def check_cause(data: bytes, name: str) -> None:
    """It was a library that found the damage: its kind of error, or one that was raised in its code, not in ours."""
    try:
        parse(data, name, LIMITS)
    except UnreadableError as error:
        cause = error.__cause__
        assert cause is not None
        raised_in = traceback.extract_tb(cause.__traceback__)[-1].filename
        assert type(cause).__module__ != "builtins" or "kiv_engine" not in raised_in, traceback.format_exception(cause)


def fuzz(sample: Sample, folder: Path, examples: int) -> None:
    """Send this many files that come from a real one."""
    original = sample.write(folder / sample.name).read_bytes()
    with closing(ParserProcess(LIMITS)) as process:
        fuzzer = Fuzzer(folder, process)
        fuzzer.send(sample.name, original)

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(bad_files(sample, original))
        def run(data: bytes) -> None:
            fuzzer.send(sample.name, data)

        run()
        assert fuzzer.read + fuzzer.refused > examples // 2
        assert fuzzer.read > 1


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_bad_files_are_read_or_refused(tmp_path: Path, sample: Sample) -> None:
    fuzz(sample, tmp_path, 30)


@pytest.mark.long
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_ten_thousand_bad_files_are_read_or_refused(tmp_path: Path, sample: Sample) -> None:
    fuzz(sample, tmp_path, 10_000)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_memory_does_not_grow(tmp_path: Path, sample: Sample) -> None:
    whole = sample.write(tmp_path / sample.name).read_bytes()
    with closing(ParserProcess(LIMITS)) as process:
        fuzzer = Fuzzer(tmp_path, process)

        def send_some() -> int:
            for number in range(60):
                fuzzer.send(sample.name, whole[: len(whole) - number % 3 * len(whole) // 4])
            assert process.pid is not None
            return psutil.Process(process.pid).memory_info().rss

        first = send_some()
        assert send_some() - first < 8 * MIB
