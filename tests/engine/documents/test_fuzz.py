"""Files that nobody wrote, of every kind: each is read or refused in one line; no crash, no hang, no leak.

They go the whole way of a file, through the parsing process. KIV_FUZZ_SEED gives other files, KIV_FUZZ_CASES more or
fewer of each kind; a fault names its seed, and its file is kept in the folder of the test.
"""

import io
import os
import traceback
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import psutil
import pytest
from reportlab.pdfgen import canvas

from kiv_engine.documents.kinds import ZIP, kind_of
from kiv_engine.documents.limits import MIB, Limits
from kiv_engine.documents.opening import Opener
from kiv_engine.documents.parser_process import ParserProcess
from kiv_engine.documents.text_builder import ParsedText, UnreadableError
from kiv_engine.documents.worker import parse
from kiv_engine.errors import DocumentError
from tests.engine.documents.mutator import Mutator
from tests.engine.documents.writers import FILLER, NEEDLE, SAMPLES, write_csv, write_docx

SEED: Final = os.environ.get("KIV_FUZZ_SEED", "0")
CASES: Final = int(os.environ.get("KIV_FUZZ_CASES", "30"))
LONG_CASES: Final = int(os.environ.get("KIV_FUZZ_CASES", "10000"))
MOST_FAULTS: Final = 5

LIMITS: Final = Limits(silence_s=20, seconds=20, memory_bytes=1024 * MIB, unpacked_bytes=64 * MIB)
NEVER: Final = ("made its parser", "was given up", "takes more than", "of memory", "the parsing process failed")
LETTERS: Final = {
    "utf-16": "Die Gänse fraßen – 31 Stück.\n",
    "utf-16-be": "The geese ate.\n",
    "utf-32": "Zwölf Gänse.\n",
    "cp1252": "Zwölf Gänse fraßen den Käse, “sagte” er.\n",
    "cp1250": "Żółta gęś zjadła źdźbło trawy.\n",
    "cp1251": "Двенадцать гусей съели сыр.\n",
    "koi8_r": "Двенадцать гусей съели сыр.\n",
    "shift_jis": "ガチョウが十二羽、草を食べた。\n",
    "gb18030": "十二只鹅吃了草。\n",
    "euc_kr": "거위 열두 마리가 풀을 먹었다.\n",
}


def write_rich_pdf(path: Path) -> Path:
    """Pages with an outline and fields of a form, and nothing of it packed, so that changes get to its parts."""
    pdf = canvas.Canvas(str(path), pageCompression=0)
    for number in (1, 2, 3):
        pdf.bookmarkPage(f"page {number}")
        pdf.addOutlineEntry(f"Part {number}", f"page {number}", level=min(1, number - 1))
        pdf.drawString(72, 700, f"{FILLER} {NEEDLE}")
        pdf.acroForm.textfield(name=f"field {number}", value="goose", x=72, y=600)
        pdf.showPage()
    pdf.save()
    return path


def write_zip(path: Path) -> Path:
    """Files of several kinds, one of them in a folder."""
    with zipfile.ZipFile(path, "w") as package:
        package.writestr("a.txt", FILLER)
        for name, write in (("sub/b.csv", write_csv), ("c.docx", write_docx)):
            package.write(write(path.with_name(name.replace("/", " "))), name)
    return path


def write_letters(path: Path) -> Path:
    """A text in the encoding that its name begins with."""
    codec = path.stem
    path.write_bytes((LETTERS[codec] * 3).encode(codec))
    return path


WRITERS: Final[dict[str, Callable[[Path], Path]]] = (
    {sample.name: sample.write for sample in SAMPLES}
    | {"town.pdf": write_rich_pdf, "town.zip": write_zip}
    | dict.fromkeys((f"{codec}.txt" for codec in LETTERS), write_letters)
)
ENCODED: Final = [f"{codec}.txt" for codec in LETTERS]
KINDS: Final = [name for name in WRITERS if name not in ENCODED]


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


def check_refusal(reason: str, data: bytes, name: str) -> None:
    """It is the parser that refused, in one line."""
    assert not any(phrase in reason for phrase in NEVER), reason
    assert reason.endswith((".", "pdf")), reason
    assert "\n" not in reason, reason
    if "or not really" in reason:
        check_cause(data, name)


def check_cause(data: bytes, name: str) -> None:
    """It was the format's library that found the damage: it raised its own kind of error, or was what we called."""
    if kind_of(data, name) is ZIP:
        for member, inner in members(data):
            check_cause(inner, member)
        return
    try:
        parse(data, name, LIMITS)
    except UnreadableError as error:
        cause = error.__cause__
        if "or not really" not in str(error) or type(cause).__module__ != "builtins":
            return
        assert cause is not None
        files = [frame.filename for frame in traceback.extract_tb(cause.__traceback__)]
        ours = max(number for number, file in enumerate(files) if "kiv_engine" in file)
        called = files[ours + 1] if ours + 1 < len(files) else ""
        assert "site-packages" in called, "".join(traceback.format_exception(cause, chain=False))


def members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Those of a zip file that can be unpacked."""
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        for name in package.namelist():
            try:
                yield name.rpartition("/")[2], package.read(name)
            except Exception:  # noqa: BLE001 - not what is tested
                continue


class Fuzzer:
    """Opens files with one parsing process."""

    def __init__(self, folder: Path, process: ParserProcess) -> None:
        self._folder, self._process = folder, process
        self.read = self.refused = 0

    def send(self, name: str, data: bytes) -> None:
        """Open a file; whatever is not a text or a refusal fails."""
        path = self._folder / name
        path.write_bytes(data)
        steps = Opener(path, name, LIMITS, self._process).open()
        try:
            while True:
                next(steps)
        except StopIteration as stop:
            check_parsed(stop.value)
            self.read += 1
        except DocumentError as error:
            check_refusal(str(error), data, name)
            self.refused += 1


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ParserProcess]:
    """Started here, and not by the first test that uses it, which would be said to leave its thread running."""
    with closing(ParserProcess(LIMITS)) as process:
        Fuzzer(tmp_path_factory.mktemp("first"), process).send("a.txt", b"a")
        yield process


def fuzz(name: str, folder: Path, process: ParserProcess, cases: int) -> None:
    """Open so many files that come from a real one; tells all faults at once, up to MOST_FAULTS."""
    original = WRITERS[name](folder / name).read_bytes()
    mutator, fuzzer = Mutator(name.rpartition(".")[2], original), Fuzzer(folder, process)
    fuzzer.send(name, original)
    faults: dict[str, str] = {}  # by what went wrong, so that one does not hide the others
    for case in range(cases):
        seed = f"{SEED} {name} {case}"
        data = mutator.make(seed)
        try:
            fuzzer.send(name, data)
        except Exception as error:  # noqa: BLE001 - what is looked for
            (folder / f"fault {case}").write_bytes(data)
            told = "".join(traceback.format_exception_only(error))
            faults.setdefault(told, f'seed "{seed}", kept as {folder / f"fault {case}"}: {told}')
            if len(faults) == MOST_FAULTS:
                break
    assert not faults, "\n".join(faults.values())
    assert fuzzer.read > cases // 20, f"only {fuzzer.read} files were read: the others are too bad to try the parser"


@pytest.mark.parametrize("name", KINDS)
def test_bad_files_are_read_or_refused(tmp_path: Path, process: ParserProcess, name: str) -> None:
    fuzz(name, tmp_path, process, CASES)


@pytest.mark.parametrize("name", ENCODED)
def test_bad_letters_are_read_or_refused(tmp_path: Path, process: ParserProcess, name: str) -> None:
    fuzz(name, tmp_path, process, CASES // 5)


@pytest.mark.long
@pytest.mark.parametrize("name", WRITERS)
def test_ten_thousand_bad_files_are_read_or_refused(tmp_path: Path, process: ParserProcess, name: str) -> None:
    fuzz(name, tmp_path, process, LONG_CASES // len(ENCODED) if name in ENCODED else LONG_CASES)


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    mutator = Mutator("docx", write_docx(tmp_path / "a.docx").read_bytes())
    assert mutator.make("0 a 1") == mutator.make("0 a 1") != mutator.make("0 a 2")


@pytest.mark.parametrize("name", KINDS)
def test_memory_does_not_grow(tmp_path: Path, process: ParserProcess, name: str) -> None:
    whole = WRITERS[name](tmp_path / name).read_bytes()
    fuzzer = Fuzzer(tmp_path, process)

    def send_some() -> int:
        for number in range(40):
            fuzzer.send(name, whole[: len(whole) - number % 3 * len(whole) // 4])
        assert process.pid is not None
        return psutil.Process(process.pid).memory_info().rss

    first = send_some()
    assert send_some() - first < 8 * MIB
