"""A chat as Markdown, HTML, PDF and JSON, and JSON back; what is no such file is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pypdfium2
import pytest
from PySide6.QtWidgets import QFileDialog

from app.models.exported import ExportError, export, import_json, to_json, to_markdown
from app.saved_chats import SavedChat, SavedExchange
from app.settings import as_json
from tests.app.conftest import AppDriver
from tests.app.scripted_session import MADE, SENTENCE, WORDS

PASSAGES = [{"document": "log.txt", "page": 7, "weight": 0.25, "text": "The tide\n*turned* at noon.", "section": "May"}]
FIRST = SavedExchange(
    0, None, "When did it # turn?", "At **noon**.", "done", finished=json.dumps({"passages": PASSAGES})
)
OTHER = SavedExchange(1, None, "Another branch?", "Yes.", "done", heat=b"\x00\x00\x80?")
NEXT = SavedExchange(
    2, 0, "And then?", "![look](http://example.org/x.png) [go](javascript:alert(1))", "done",
    settings=json.dumps(as_json(MADE)),
)  # fmt: skip
LOST = SavedExchange(3, 2, "Why?", state="failed", message="the context is full")
SAID = [FIRST, OTHER, NEXT, LOST]
CHAT = SavedChat("key", "Tides & *times*", True, 1.5, {}, [{"file": "/books/log.txt", "place": [0, 9]}], (0, 2, 3))


def test_markdown_has_the_branch_that_is_shown_with_its_passages() -> None:
    text = to_markdown(CHAT, SAID)
    assert text.startswith(
        "# Tides & \\*times\\*\n\nDocuments: log.txt\n\n## When did it \\# turn?\n\nAt **noon**.\n\n"
    )
    assert "> log.txt, page 7, May (25%): The tide \\*turned\\* at noon." in text
    assert "*the context is full*" in text
    cut_off = replace(LOST, state="unfinished", message="The app was closed.")
    assert "*The app was closed.*" in to_markdown(CHAT, [FIRST, NEXT, cut_off])
    assert "Another branch" not in text
    made = "; 256 old tokens fetched for each word, 2,048 newest seen in full; old keys and values in 8 bit; "
    assert made in text
    assert "*Made with some/model in 4 bit; temperature 0.6, seed 7, at most 512 tokens; " in text
    assert text.count("Made with") == 1


def test_html_fetches_and_runs_nothing(qapp: object, tmp_path: Path) -> None:
    path = tmp_path / "chat.html"
    export(path, CHAT, SAID)
    html = path.read_text(encoding="utf-8")
    assert "Tides &amp; *times*" in html
    assert "<img" not in html
    assert "javascript:" not in html
    assert [each.name for each in tmp_path.iterdir()] == ["chat.html"]


def test_pdf_holds_all_words_on_its_pages(qapp: object, tmp_path: Path) -> None:
    path = tmp_path / "chat.pdf"
    long = replace(NEXT, answer="\n\n".join(f"Line number {number}." for number in range(120)))
    export(path, CHAT, [FIRST, long])
    with pypdfium2.PdfDocument(path) as pdf:
        texts = [page.get_textpage().get_text_range() for page in pdf]
    assert len(texts) > 2
    assert "Tides & *times*" in texts[0]
    assert "Line number 119." in texts[-1]


def test_json_brings_every_branch_back(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    export(path, replace(CHAT, texts={"pasted": "What was pasted."}), SAID)
    chat, said = import_json(path)
    assert said == SAID
    assert chat.key != CHAT.key
    expected = replace(CHAT, key=chat.key, pinned=False, texts={"pasted": "What was pasted."})
    assert chat == expected


def test_a_file_of_an_older_version_lacks_settings(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    older = json.loads(to_json(CHAT, SAID))
    for each in older["exchanges"]:
        del each["settings"]
    path.write_text(json.dumps(older))
    assert [each.settings for each in import_json(path)[1]] == [None] * len(SAID)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: "no JSON", "it is no chat"),
        (lambda data: json.dumps([data]), "it is no chat"),
        (lambda data: json.dumps(data | {"format": "other"}), "newer version"),
        (lambda data: json.dumps(data | {"version": 99}), "newer version"),
        (lambda data: json.dumps(data | {"exchanges": [{}]}), "it is no chat"),
        (lambda data: json.dumps(data | {"exchanges": data["exchanges"][2:]}), "do not follow each other"),
        (lambda data: json.dumps(data | {"exchanges": [data["exchanges"][0] | {"answer": 3}]}), "is damaged"),
        (lambda data: json.dumps(data | {"exchanges": [data["exchanges"][0] | {"heat": "§"}]}), "it is no chat"),
        (lambda data: json.dumps(data | {"exchanges": [data["exchanges"][0] | {"settings": [1]}]}), "is damaged"),
        (lambda data: "[" * 100_000, "it is no chat"),
    ],
)
def test_what_is_no_chat_is_refused(change: object, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    export(path, CHAT, SAID)
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(ExportError, match=reason):
        import_json(path)


def test_another_kind_is_refused_and_an_older_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "chat.doc"
    path.write_text("mine")
    with pytest.raises(ExportError, match=r"\.md, \.html, \.pdf, \.json"):
        export(path, CHAT, SAID)
    assert path.read_text() == "mine"


# -- in the window ---------------------------------------------------------------------------------------------------


def test_a_chat_goes_out_and_comes_back_in(
    driver: AppDriver, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.controller.open_files([book])
    driver.until_read()
    driver.controller.ask("Who?")
    driver.until_answered()
    driver.chat.set_draft("not asked yet")
    path = tmp_path / "out" / "chat.json"
    path.parent.mkdir()
    kind = "JSON, to be imported again (*.json)"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path.with_suffix("")), kind))
    driver.window.export_action.trigger()
    driver.until(lambda: str(path) in driver.window.banner.text.text())
    assert "not asked yet" not in path.read_text(encoding="utf-8")
    first = driver.chat
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    driver.window.import_action.trigger()
    driver.until(lambda: driver.chat is not first and driver.chat.is_loaded)
    (exchange,) = driver.chat.exchanges
    assert (exchange.question, exchange.answer) == ("Who?", "".join(WORDS))
    assert exchange.passages[0].text == SENTENCE
    assert exchange.settings == first.exchanges[0].settings == MADE
    footer = driver.transcript.exchanges[0].footer
    driver.until(lambda: "some/model in 4 bit" in footer.toolTip())
    assert "temperature 0.6, seed 7" in footer.accessibleDescription()
    assert driver.chat.title == first.title
    driver.controller.ask("And then?")
    driver.until_answered(1)


def test_what_cannot_be_written_or_read_is_told(driver: AppDriver, tmp_path: Path) -> None:
    driver.window.export_wanted.emit(tmp_path / "nowhere" / "chat.md")
    driver.until(driver.window.banner.isVisible)
    assert driver.window.banner.text.text() == (
        f"The chat cannot be exported: {tmp_path / 'nowhere' / 'chat.md'}: No such file or directory."
    )
    book = tmp_path / "book.json"
    book.write_text("{}")
    driver.window.import_wanted.emit(book)
    driver.until(lambda: "This file cannot be imported: it is no chat" in driver.window.banner.text.text())
