"""What the engine tells goes through the app's translations, and lupdate finds the words of every error of it."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PySide6.QtCore import QCoreApplication, QTranslator

from app.failure_words import explained
from app.figures import as_place, as_unit
from kiv_engine import errors
from kiv_engine.errors import DocumentError, EngineError, Words, from_parts, parts_of, said
from kiv_engine.events import Failed

ROOT = Path(__file__).resolve().parents[2] / "kiv_engine"
IN_A_TERMINAL = {"evaluation", "commands", "archive", "cli.py", "terminal.py", "torch_swap.py", "errors.py"}
"""What these say is said by the command line alone."""
FILES = sorted(path for path in ROOT.rglob("*.py") if not IN_A_TERMINAL & set(path.relative_to(ROOT).parts))
ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, EngineError)}


class Reversed(QTranslator):
    """A language in which every word of letters is written backwards; what is in braces stays."""

    def translate(self, context: str, source: str, comment: str = "", n: int = -1) -> str:
        return " ".join(word[::-1] if word.isalpha() else word for word in source.split(" "))


@pytest.fixture
def backwards(qapp: QCoreApplication) -> Iterator[None]:
    language = Reversed()
    qapp.installTranslator(language)
    yield
    qapp.removeTranslator(language)


def calls(source: str, names: set[str]) -> list[ast.Call]:
    found = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [call for call in found if getattr(call.func, "id", "") in names and call.args]


def unsaid(source: str) -> list[str]:
    """Errors whose words are a bare literal, which nobody could translate."""
    raised = calls(source, ERRORS | {"UnreadableError"})
    return [ast.unparse(call) for call in raised if isinstance(call.args[0], ast.Constant | ast.JoinedStr)]


def templates(source: str) -> list[ast.expr]:
    return [call.args[0] for call in calls(source, {"said"})]


def test_all_words_of_errors_can_be_translated() -> None:
    assert [words for path in FILES for words in unsaid(path.read_text("utf-8"))] == []


def test_an_error_with_a_bare_literal_is_seen() -> None:
    assert unsaid("raise DocumentError(f'{path} is no text.')")
    assert not unsaid("raise DocumentError(said('{0} is no text.', path))")


def test_lupdate_finds_the_words_of_every_error(tmp_path: Path) -> None:
    lupdate = shutil.which("pyside6-lupdate", path=str(Path(sys.executable).parent))
    assert lupdate is not None, "it comes with PySide6, and lies beside Python"
    file = tmp_path / "kiv.ts"
    command = [lupdate, *map(str, FILES), "-tr-function-alias", "tr+=said", "-silent", "-ts", str(file)]
    subprocess.run(command, check=True, timeout=60)
    sources = {source.text for source in ElementTree.parse(file).iter("source")}
    wanted = [template for path in FILES for template in templates(path.read_text("utf-8"))]
    literals = [template.value for template in wanted if isinstance(template, ast.Constant)]
    assert len(literals) == len(wanted) > 150
    assert set(literals) - sources == set()


@pytest.mark.usefixtures("backwards")
def test_an_error_is_told_in_the_user_s_language() -> None:
    error = DocumentError(said("{0} {1}", "book.txt", said("has {0:,} pages", 1200)))
    assert explained(Failed(str(error), error)).message == "book.txt sah 1,200 segap"


@pytest.mark.usefixtures("backwards")
def test_what_is_told_beside_an_error_is_translated_with_it() -> None:
    error = DocumentError(said("first"))
    assert explained(Failed(said("{0} and {1}", error.words, "second"), error)).message == "tsrif dna second"


@pytest.mark.usefixtures("backwards")
def test_places_and_units_are_told_in_the_user_s_language() -> None:
    assert as_place(1200, "The Whale", 3, 4) == "egap 1,200, wor 3, enil 4, The Whale"
    assert as_place(None, "", None, None) == ""
    assert as_unit("pages") == "segap"


def test_words_stay_what_they_are_on_their_way_from_another_process() -> None:
    words = said("{0} is {1:.1f} GB, {2}", "a{b}", 1.25, said("so {0!r}", "c"))
    again = from_parts(parts_of(words))
    assert isinstance(again, Words)
    assert (again, again.template, again.fields) == (words, words.template, words.fields)
    assert from_parts(parts_of("bare {0}")) == "bare {0}"


def test_the_words_of_an_error_hold_on_to_nothing() -> None:
    words = said("It failed ({0}).", ValueError("odd"))
    assert words == "It failed (odd)."
    assert words.fields == ("odd",)
