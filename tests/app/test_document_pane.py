"""The text of the documents: passages and claims are marked in it, and it is searched."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from app.document_text import BLOCK_CHARACTERS, DocumentText
from app.models.chat import ChatDocument
from app.models.engine_status import EngineState
from app.reports import DocumentPlace
from app.settings import ChatOptions
from app.views.exchange_view import ExchangeView
from app.views.occurrences import COUNT_CHARACTERS, Occurrences
from app.views.theme import DARK
from kiv_engine.documents.places import Places
from tests.app.conftest import AppDriver, read_book, type_and_send
from tests.app.scripted_session import SENTENCE


def is_found(driver: AppDriver, words: str, *, back: bool = False) -> bool:
    """Whether a search, from where the last one went, finds words."""
    bar = driver.window.document.find_bar
    bar.edit.setText(words)
    (bar.find_previous if back else bar.find_next)()
    driver.until(lambda: bar.found.text() != "")
    return bar.found.text() != "Not found"


class Searched(str):
    """A text that keeps how many characters were searched at a time."""

    __slots__ = ("spans",)
    spans: list[int]

    def _looked(self, start: int, end: int | None) -> None:
        self.spans.append(min(len(self), len(self) if end is None else end) - start)

    def find(self, words: str, start: int = 0, end: int | None = None) -> int:
        self._looked(start, end)
        return super().find(words, start, end)

    def rfind(self, words: str, start: int = 0, end: int | None = None) -> int:
        self._looked(start, end)
        return super().rfind(words, start, end)


def test_a_click_on_a_passage_marks_it_in_the_document(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    type_and_send(driver, "Who?")
    driver.until_answered()
    view = driver.transcript.exchanges[0]
    assert "had been read before" in view.footer.toolTip()
    assert len(view.rows) == 2
    for number, row in enumerate(view.rows):
        QTest.mouseClick(row, Qt.MouseButton.LeftButton)
        marks = driver.window.document.text.extraSelections()
        assert [mark.cursor.selectedText() for mark in marks] == [SENTENCE, SENTENCE]
        assert [other.isChecked() for other in view.rows] == [number == 0, number == 1]
        area = driver.window.document.text.viewport().rect()
        assert area.intersects(driver.window.document.text.cursorRect(marks[number].cursor))


def test_passages_of_a_second_document_are_found_there(driver: AppDriver, book: Path, tmp_path: Path) -> None:
    other = tmp_path / "notes.md"
    other.write_text("# Notes\n\nNothing here.\n" * 40)
    driver.controller.open_files([other, book])
    driver.until_read()
    assert [document.name for document in driver.chat.documents] == ["notes.md", "book.txt"]
    type_and_send(driver, "Who?")
    driver.until_answered()
    driver.chat.select(0, 1)
    marks = driver.window.document.text.extraSelections()
    assert [mark.cursor.selectedText() for mark in marks] == [SENTENCE, SENTENCE]


def test_search_finds_and_goes_around(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    QTest.keyClick(driver.window, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    bar, text = driver.window.document.find_bar, driver.window.document.text
    assert bar.isVisible()
    QTest.keyClicks(bar.edit, "thornwick")
    first = text.textCursor().position()
    assert text.textCursor().selectedText() == "Thornwick"
    QTest.keyClick(bar.edit, Qt.Key.Key_Return)
    assert text.textCursor().position() > first
    QTest.keyClick(bar.edit, Qt.Key.Key_Return)
    assert text.textCursor().position() == first
    QTest.keyClicks(bar.edit, "xyz")
    assert bar.found.text() == "Not found"


def test_the_search_tells_which_place_it_is_at_of_how_many(driver: AppDriver, tmp_path: Path) -> None:
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text("A goose 🪿. " * 40, encoding="utf-8")
    other.write_text("GOOSE " * 1_200, encoding="utf-8")
    driver.controller.open_files([one, other])
    driver.until_read()
    driver.until(lambda: driver.window.document.text.is_complete)
    driver.window.find_action.trigger()
    bar = driver.window.document.find_bar
    QTest.keyClicks(bar.edit, "goose")
    driver.until(lambda: bar.found.text() == "1 of 1,240")
    for go, number in ((bar.find_previous, "1,240"), (bar.find_next, "1"), (bar.find_next, "2")):
        go()
        assert bar.found.text() == f"{number} of 1,240"
    driver.window.document.text.selectAll()
    bar.find_previous()
    bar.find_previous()
    assert bar.found.text() == "1,239 of 1,240"
    bar.edit.setText("🪿")
    bar.find_next()
    driver.until(lambda: bar.found.text() == "1 of 40")
    QTest.keyClick(bar.edit, Qt.Key.Key_Backspace)
    assert bar.found.text() == ""


@pytest.mark.parametrize("back", [False, True])
def test_a_long_text_is_searched_bit_by_bit(driver: AppDriver, back: bool) -> None:
    text = DocumentText.cut("long", "The goose was counted at noon.\n" * 40_000 + "A gander.\n")
    searched = replace(text, folded=Searched(text.folded))
    searched.folded.spans = []
    view, bar = driver.window.document.text, driver.window.document.find_bar
    view.set_texts([searched])
    driver.until(lambda: view.is_complete)
    for words, told in (("gander", "1 of 1"), ("heron", "Not found"), ("goose", "1 of 40,000")):
        bar.edit.setText(words)
        (bar.find_previous if back else bar.find_next)()
        driver.until(lambda: bar.found.text() != "")
        last = back and words == "goose"
        assert bar.found.text() == ("40,000 of 40,000" if last else told)
    assert sum(searched.folded.spans) >= len(text.text)
    assert max(searched.folded.spans) <= 1.1 * COUNT_CHARACTERS


def test_a_place_is_gone_to_before_all_are_counted(driver: AppDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("COUNT_S", 0.0), ("COUNT_CHARACTERS", 100)):
        monkeypatch.setattr(f"app.views.occurrences.{name}", value)
    view, bar = driver.window.document.text, driver.window.document.find_bar
    view.set_texts([DocumentText.cut("long", "The goose was counted at noon.\n" * 1_000)])
    driver.until(lambda: view.is_complete)
    bar.edit.setText("goose")
    bar.find_next()
    assert view.textCursor().selectedText() == "goose"
    assert bar.found.text() == ""
    driver.until(lambda: bar.found.text() == "1 of 1,000")


def test_a_search_that_another_text_overtakes_selects_nothing(
    driver: AppDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("COUNT_S", 0.0), ("COUNT_CHARACTERS", 100)):
        monkeypatch.setattr(f"app.views.occurrences.{name}", value)
    view, bar = driver.window.document.text, driver.window.document.find_bar
    view.set_texts([DocumentText.cut("long", "honk " * 1_000 + "goose")])
    driver.until(lambda: view.is_complete)
    bar.edit.setText("goose")
    bar.find_next()
    view.set_texts([DocumentText.cut("other", "A text.\n" * 1_000)])
    driver.until(lambda: view.is_complete)
    driver.until(lambda: bar.found.text() != "")
    assert view.textCursor().selectedText() == ""


def test_places_are_counted_bit_by_bit_and_none_is_lost_between_the_bits(
    driver: AppDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("COUNT_S", 0.0), ("COUNT_CHARACTERS", 7), ("COUNT_PLACES", 2)):
        monkeypatch.setattr(f"app.views.occurrences.{name}", value)
    texts = [DocumentText.cut(name, text) for name, text in (("a", "ababa" * 9), ("b", ""), ("c", "xAB ab aab"))]
    occurrences, told = Occurrences(), list[tuple[int, int]]()
    occurrences.counted.connect(lambda number, count: told.append((number, count)))
    occurrences.seek("aB", texts, (2, 4))
    assert not told, "the window gets its turn"
    driver.until(lambda: bool(told))
    whole = sum(text.folded.count("ab") for text in texts)
    assert told == [(whole - 1, whole)]
    occurrences.seek("aB", texts, (0, 0))
    assert told[1:] == [(1, whole)], "what is counted is not counted again"
    occurrences.seek("a", texts, (0, 0))
    occurrences.stop()
    occurrences.seek("b", texts[2:], (0, 2))
    driver.until(lambda: len(told) > 2)
    assert told[2:] == [(1, 3)]


def test_a_search_without_a_text_says_why_there_is_nothing_to_search(driver: AppDriver, book: Path) -> None:
    find, banner, bar = driver.window.find_action, driver.window.banner, driver.window.document.find_bar
    driver.until_state(EngineState.IDLE)
    assert not banner.isVisible()
    QTest.keyClick(driver.window, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    assert banner.isVisible()
    assert banner.text.text() == banner.accessibleName() == "There is no document to search in: open one (Ctrl+O)."
    driver.session.held_at = {"open"}
    driver.controller.open_files([book])
    driver.until_reached("open")
    find.trigger()
    assert banner.text.text() == "The text can be searched once the document is open."
    assert not bar.isVisible()
    driver.session.go()
    driver.until_read()
    driver.until(lambda: not banner.isVisible())
    find.trigger()
    assert bar.isVisible()


def test_another_line_stays_when_there_is_a_text_to_search(driver: AppDriver, book: Path) -> None:
    banner = driver.window.banner
    driver.until_state(EngineState.IDLE)
    driver.window.find_action.trigger()
    banner.show_line("Something else.", is_error=True)
    driver.controller.open_files([book])
    driver.until_read()
    driver.until(lambda: driver.window.document.text.is_complete)
    assert banner.isVisible()
    assert banner.text.text() == "Something else."


def test_the_keyboard_goes_to_the_text_or_the_question_when_the_search_is_left(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    driver.window.find_action.trigger()
    QTest.keyClick(driver.window.document.find_bar.edit, Qt.Key.Key_Escape)
    assert driver.window.focusWidget() is driver.window.document.text
    driver.window.find_action.trigger()
    driver.window.document.find_bar.shut.click()
    assert driver.window.focusWidget() is driver.window.document.text
    driver.window.find_action.trigger()
    driver.controller.new_chat()
    assert not driver.window.document.find_bar.isVisible()
    assert driver.window.focusWidget() is driver.window.composer.edit


def test_search_goes_through_all_documents_and_both_ways(driver: AppDriver, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.txt", "b.txt", "c.txt")]
    texts = [
        "🪿 A goose.\nGOOSE " + "honk " * 400 + "goose",
        "x" * (BLOCK_CHARACTERS - 5) + " wild duck",
        "goosegoose 🪿 " + "honk " * 250 + "Goose",
    ]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    driver.controller.open_files(paths)
    driver.until_read()
    view = driver.window.document.text
    driver.until(lambda: view.is_complete)

    def place() -> tuple[int, str]:
        return view.textCursor().selectionStart(), view.textCursor().selectedText()

    whole = view.toPlainText().encode("utf-16-le")
    shown = [(at, whole[2 * at : 2 * at + 10].decode("utf-16-le", "replace")) for at in range(len(whole) // 2)]
    places = [(at, word) for at, word in shown if word.lower() == "goose"]
    assert len(places) == 6
    for way in (places, places, places[-2::-1], places[::-1]):
        for expected in way:
            assert is_found(driver, "gOOSE", back=way != places)
            assert place() == expected
    assert is_found(driver, "x WILD")
    assert place()[1] == "x \u2029wild", "a line is cut for display, not for the search"
    assert not is_found(driver, "gander")


def test_quotes_and_numbers_are_looked_up_and_a_click_goes_there(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    type_and_send(driver, "Who?")
    driver.until_answered()
    claims = driver.transcript.exchanges[0].claims
    assert claims.isVisible()
    assert [button.text() for button in claims.buttons] == ["Second Bishop", "1503 · not found in the document"]
    QTest.mouseClick(claims.buttons[1], Qt.MouseButton.LeftButton)
    assert driver.chat.selected_claim is None
    QTest.mouseClick(claims.buttons[0], Qt.MouseButton.LeftButton)
    assert claims.buttons[0].isChecked()
    marks = driver.window.document.text.extraSelections()
    assert [mark.cursor.selectedText() for mark in marks] == [SENTENCE, SENTENCE, "Second Bishop"]
    area = driver.window.document.text.viewport().rect()
    assert area.intersects(driver.window.document.text.cursorRect(marks[2].cursor))
    QTest.mouseClick(driver.transcript.exchanges[0].rows[0], Qt.MouseButton.LeftButton)
    assert not claims.buttons[0].isChecked()


def test_a_passage_of_a_long_document_is_gone_to_once_its_text_has_come(driver: AppDriver) -> None:
    pour = driver.window.document.text._pour
    pour.setInterval(3_600_000)  # only the first piece of the text comes, however fast the machine is
    driver.controller.read_pasted(f"{'Words and more words. ' * 100_000}\n{SENTENCE}\n")
    driver.until_read()
    assert not driver.window.document.text.is_complete
    driver.window.find_action.trigger()
    QTest.keyClicks(driver.window.document.find_bar.edit, "second")
    assert driver.window.document.find_bar.found.text() == "Loading …"
    type_and_send(driver, "Who?")
    driver.until_answered()
    driver.chat.select(0, 0)
    pour.setInterval(0)
    driver.until(lambda: driver.window.document.text.is_complete)
    marks = driver.window.document.text.extraSelections()
    assert [mark.cursor.selectedText() for mark in marks] == [SENTENCE]
    driver.until(lambda: driver.window.document.find_bar.found.text() == "1 of 1")


def test_a_document_that_has_changed_is_told_and_nothing_else_is_marked(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    type_and_send(driver, "Who?")
    driver.until_answered()
    QTest.mouseClick(driver.transcript.exchanges[0].claims.buttons[0], Qt.MouseButton.LeftButton)
    pane, first = driver.window.document, book.read_text(encoding="utf-8").index(SENTENCE)
    assert len(pane.text.extraSelections()) == 3
    assert not pane.changed.isVisible()
    words = book.read_text(encoding="utf-8")
    after = first + len(SENTENCE)
    book.write_text(words[:after] + " Now this is new." + words[after:], encoding="utf-8")
    driver.controller.set_options(ChatOptions("Be brief."), False)
    driver.controller.read_again()
    driver.until_read()
    driver.until(lambda: pane.text.is_complete)
    marked = [mark.cursor.selectedText() for mark in pane.text.extraSelections()]
    assert marked == [SENTENCE, "Second Bishop"], "the second passage stands elsewhere now"
    assert pane.changed.isVisible()
    driver.chat.select(0, 1)
    assert [mark.cursor.selectedText() for mark in pane.text.extraSelections()] == [SENTENCE]
    driver.chat.select(None)
    assert not pane.changed.isVisible()


def test_a_text_that_shows_other_colours_stays_where_it_is_scrolled_to(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    type_and_send(driver, "Who?")
    driver.until_answered()
    driver.chat.select(0, 1)
    bar = driver.window.document.text.verticalScrollBar()
    assert bar.value() > 0
    bar.setValue(0)
    driver.application.theme.choose(DARK)
    assert bar.value() == 0


def test_passages_say_how_far_into_their_document_they_are_also_while_its_text_is_not_here(
    driver: AppDriver, book: Path, tmp_path: Path
) -> None:
    other = tmp_path / "notes.md"
    other.write_text("# Notes\n\nNothing here.\n" * 400)
    driver.controller.open_files([other, book])
    driver.until_read()
    type_and_send(driver, "Who?")
    driver.until_answered()
    words = book.read_text(encoding="utf-8")
    shares = [words.index(SENTENCE) / len(words), words.rindex(SENTENCE) / len(words)]
    driver.chat.set_documents([replace(document, text=None) for document in driver.chat.documents])
    view = ExchangeView(driver.application.theme, driver.chat, 0)
    for row, share in zip(view.rows, shares, strict=True):
        assert float(re.search(r"^at ([\d.]+) %$", row._place)[1]) == pytest.approx(100 * share, abs=0.2)
        assert f", {row._place}: Captain" in row.accessibleName()
    view.deleteLater()


@pytest.mark.parametrize("line", [3, 30, 150, 290])
def test_what_is_found_stands_where_one_can_read_on(driver: AppDriver, line: int) -> None:
    view = driver.window.document.text
    words = ["Nothing here."] * 300
    words[line] = "A goose."
    driver.controller.read_pasted("\n".join(words))
    driver.until_read()
    driver.until(lambda: view.is_complete)
    assert is_found(driver, "goose")
    place, high = view.cursorRect(view.textCursor()).center().y(), view.fontMetrics().lineSpacing()
    assert 0 < place < view.viewport().height() - 3 * high
    before = view.verticalScrollBar().value()
    assert is_found(driver, "goose")
    assert view.verticalScrollBar().value() == before, "what can be read stays where it is"


def test_without_a_document_nothing_is_said_not_to_stand_in_it(driver: AppDriver) -> None:
    driver.controller.ask("Who?")
    driver.until_answered()
    assert driver.chat.exchanges[0].claims
    assert not driver.transcript.exchanges[0]._is_built("claims")


def test_the_pane_tells_which_document_is_on_screen_and_where_in_it_one_is(driver: AppDriver, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("first.txt", "second.txt")]
    for path in files:
        path.write_text("A line of words.\n" * 400)
    driver.controller.open_files(files)
    driver.until_read()
    pane = driver.window.document
    driver.until(lambda: pane.text.is_complete)
    told = []
    for share in (0.0, 0.25, 0.75, 0.5):
        pane.text.show_share(share)
        told.append((pane.name.text(), pane.place.text()))
    assert told[0] == ("first.txt · 1 of 2", "at 0 %")
    assert told[1][0] == "first.txt · 1 of 2"
    assert told[2][0] == "second.txt · 2 of 2"
    assert 40 < int(told[2][1].split()[1]) < 52, "of the document, not of all of them"
    border = pane.text.palette().mid().color().name()
    top = round(pane.text.cursorRect(pane.text.cursor_at(1, 0, 0)).top())
    picture = pane.text.viewport().grab().toImage()
    between = {picture.pixelColor(x, y).name() for x in (40, 200) for y in range(max(0, top - 2), top + 2)}
    assert border in between, "a line parts the two"


def test_in_a_text_that_is_on_screen_as_a_whole_one_is_nowhere(driver: AppDriver, tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear Clara,\n\nthe house was sold on 27 February.\n")
    read_book(driver, letter)
    pane = driver.window.document
    accent = driver.application.theme.colors.accent

    def framed() -> bool:
        picture = pane.strip.grab().toImage()
        return picture.pixelColor(picture.width() // 2, 0).name() == accent

    driver.until(lambda: pane.place.text() == "")
    assert not framed()
    letter.write_text("Dear Clara,\n\n" + "the house was sold on 27 February.\n" * 400)
    driver.controller.new_chat()
    read_book(driver, letter)
    driver.until(lambda: pane.place.text() == "at 0 %")
    assert framed()


def test_the_page_and_the_section_that_are_on_screen_are_told(driver: AppDriver) -> None:
    places = Places()
    text = "A line of words.\n" * 400
    for page in range(1, 5):
        places.pages.append((page - 1) * 1_700, page)
    places.append_section(3_400, "The Whale")
    chat = driver.chat
    chat.set_documents(
        [ChatDocument("whale.pdf", None, DocumentText.cut("whale.pdf", text, places), DocumentPlace(0, 9))]
    )
    pane = driver.window.document
    driver.until(lambda: pane.text.is_complete)
    assert pane.place.text() == "at 0 % · page 1"
    pane.text.show_share(0.6)
    assert pane.place.text().endswith(" % · page 3, The Whale")


@pytest.mark.parametrize(("words", "steps"), [(1_700, 20), (100_000, 40)])
def test_a_long_paragraph_is_gone_to_and_scrolled_line_by_line(driver: AppDriver, words: int, steps: int) -> None:
    """Whether it is shown whole or was cut for display: its lines are full, and none is leapt over."""
    text = " ".join(f"w{number}" for number in range(words))
    driver.controller.read_pasted(text)
    driver.until_read()
    pane = driver.window.document
    view, bar = pane.text, pane.text.verticalScrollBar()
    driver.until(lambda: view.is_complete)
    at = len(text) // 2
    view.reveal(view.cursor_at(0, at, at))
    line = view.fontMetrics().lineSpacing()
    assert view.cursorRect().top() <= 6 * line, "it stands in the upper part of the view"
    assert 45 < int(pane.place.text().split()[1]) <= 50
    a_line = view.viewport().width() // view.fontMetrics().averageCharWidth()
    for _step in range(steps):
        (_document, before), _scrolled = view.place_on_top(), bar.setValue(bar.value() - 3)
        assert 0 < before - view.place_on_top()[1] < 3 * 2 * a_line
    view.reveal(view.cursor_at(0, len(text), len(text)))
    assert view.visible_share()[1] == 1.0


def test_the_text_stays_where_it_is_read_when_the_pane_gets_wider(driver: AppDriver) -> None:
    driver.controller.read_pasted(" ".join(f"w{number}" for number in range(1_700)))
    driver.until_read()
    view = driver.window.document.text
    driver.until(lambda: view.is_complete)
    view.show_share(0.6)
    before = view.place_on_top()[1]
    for width in (view.width() + 300, view.width() + 60, view.width() - 100):
        view.resize(width, view.height())
        assert abs(view.place_on_top()[1] - before) < 400


@pytest.mark.parametrize("word", ["w{0}", "שלום{0}"])
def test_the_text_stays_where_it_is_read_while_its_border_is_dragged_to_and_fro(driver: AppDriver, word: str) -> None:
    driver.controller.read_pasted(" ".join(word.format(number) for number in range(1_200)))
    driver.until_read()
    view = driver.window.document.text
    driver.until(lambda: view.is_complete)
    width = view.width()
    view.show_share(0.6)
    before, a_line = view.place_on_top()[1], width // view.fontMetrics().averageCharWidth()
    for _drag in range(2):
        for step in (*range(0, 200, 8), *range(200, -1, -8)):
            view.resize(width + step, view.height())
    assert abs(view.place_on_top()[1] - before) < 2 * a_line
    bar = view.verticalScrollBar()
    bar.setValue(bar.value() - 5)
    scrolled = view.place_on_top()[1]
    view.resize(width + 8, view.height())
    assert before - 12 * a_line < view.place_on_top()[1] <= scrolled, "it stays where it was scrolled to"
