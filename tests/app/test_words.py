"""Every word that a person sees goes through tr(), and so can be translated."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "app"
IN_A_TERMINAL = {"__main__", "demo", "desktop_entry", "display", "screenshots"}
"""What these say is said in a terminal, before Qt is there or without its window."""
FILES = sorted(path for path in ROOT.rglob("*.py") if path.stem not in {*IN_A_TERMINAL, "__init__"})
SHOWING = {
    "QLabel", "QPushButton", "QCheckBox", "QAction", "QMenu", "QListWidgetItem", "IconButton", "setText", "setToolTip",
    "setAccessibleName", "setAccessibleDescription", "setPlaceholderText", "setWindowTitle", "addItem", "addAction",
    "heading", "show_line", "show_problem", "set_icon", "setPlainText", "setTitle", "_notice", "_line", "page", "add",
    "_action", "_button", "setFormat", "drawText", "Notice", "Offer", "Failed", "DocumentsRejected", "SavingFailed",
    "HistoryError", "ExportError", "ModelNotFoundError", "ChatsListed", "Title",
}  # fmt: skip
NAMES = {"KIV Desktop"}
"""Names need no translation."""
ICONS = {path.stem for path in (ROOT.parent / "resources" / "icons").glob("*.svg")}
ROLES = {"caption", "headline", "muted", "title", "error", "on_accent", "danger", "accent", "small", "primary"}


def name_of(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def literal_words(node: ast.expr) -> list[str]:
    """The texts that an argument shows without tr(): its literals, and those of an f-string or a choice between two."""
    match node:
        case ast.Constant(str(text)):
            return [text]
        case ast.JoinedStr(values):
            return [word for value in values for word in literal_words(value)]
        case ast.IfExp(body=one, orelse=other):
            return literal_words(one) + literal_words(other)
        case ast.BinOp(left=one, right=other):
            return literal_words(one) + literal_words(other)
    return []


def is_key(text: str) -> bool:
    """Keys of a shortcut, like Ctrl+Shift+O."""
    return text.startswith(("Ctrl+", "Shift+"))


def untranslated(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and name_of(node) in SHOWING:
            words = [word for argument in node.args for word in literal_words(argument)]
            words = [word for word in words if any(letter.isalpha() for letter in word)]
            found += [word for word in words if word not in NAMES | ICONS | ROLES and not is_key(word)]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_word_is_shown_without_tr(path: Path) -> None:
    assert untranslated(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "QLabel('Words')",
        "x.setText(f'{n} words')",
        "self._notice('a' + b)",
        "b.setToolTip('Yes' if c else tr('No'))",
        "Failed(f'{one} and more', error)",
    ],
)
def test_a_word_without_tr_is_seen(source: str) -> None:
    assert untranslated(source)


@pytest.mark.parametrize("source", ["QLabel(self.tr('Words'))", "x.setText(tr('{0}').format(n))", "b.setText('–')"])
def test_a_word_with_tr_is_fine(source: str) -> None:
    assert not untranslated(source)
