"""Where an answer looked, on screen: the strip and the map while it is written, and the word that is pointed at."""

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QAccessible, QColor, QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QStyle, QStyleOptionButton, QWidget
from pytestqt.qtbot import QtBot

from app import evidence
from app.controllers import answers
from app.evidence import HEAT_BINS, FewHits, hot_places
from app.requests import Ask
from app.views import evidence_map
from app.views.answer_text import AnswerText
from app.views.evidence_map import MapPicture, squeezed
from app.views.heat_strip import tinted
from app.views.passage_row import with_ellipsis
from app.views.theme import Theme
from tests.app.conftest import AppDriver
from tests.app.scripted_session import COMMON_BIN, LAYERS, SENTENCE, WORDS


def ask_about(driver: AppDriver, book: Path, *, held: bool = False) -> None:
    driver.controller.open_files([book])
    driver.until_read()
    if held:
        driver.session.held_at = {"write"}
    driver.controller.ask("Who?")


def move(widget: QWidget, x: float, y: float) -> None:
    point, none = QPointF(x, y), Qt.KeyboardModifier.NoModifier
    left = Qt.MouseButton.NoButton
    widget.mouseMoveEvent(QMouseEvent(QMouseEvent.Type.MouseMove, point, point, left, left, none))


def test_the_strip_is_lit_while_the_answer_is_written(driver: AppDriver, book: Path) -> None:
    ask_about(driver, book, held=True)
    driver.until(lambda: len(driver.chat.exchanges[0].evidence.tokens) == 4)
    assert driver.chat.exchanges[0].answer == WORDS[0]
    assert driver.window.document.strip._heat == driver.chat.exchanges[0].evidence.heat
    assert driver.window.document.map.isVisible()
    driver.session.go()
    driver.until_answered()
    assert len(driver.chat.exchanges[0].evidence.tokens) == 12
    assert driver.window.document.strip._heat[COMMON_BIN] == 0, "every token hit it"
    assert max(driver.window.document.strip._heat) == 1


def test_a_word_that_is_pointed_at_shows_its_own_hits(driver: AppDriver, book: Path) -> None:
    ask_about(driver, book)
    driver.until_answered()
    view, pane = driver.transcript.exchanges[0].answer, driver.window.document
    whole = pane.strip._heat
    move(view, view.width() - 1, 2)
    cursor = view.document().find("captain")
    place = view.cursorRect(cursor).center()
    move(view, place.x() - 5, place.y())
    assert driver.chat.pointed == range(3, 4), "the first piece's text came with its last token"
    assert max(pane.strip._heat) == 0, "and that hit only what all hit"
    assert pane.map.word.text() == "“The captain”"
    place = view.cursorRect(view.document().find("Thornwick")).center()
    move(view, place.x() - 5, place.y())
    assert list(driver.chat.pointed) == [11]
    assert max(pane.strip._heat) == 1
    view.leaveEvent(None)
    assert not driver.chat.pointed
    assert pane.strip._heat == whole


def test_letters_that_qt_counts_twice_do_not_shift_the_word_that_is_pointed_at(
    qtbot: QtBot, qapp: QApplication
) -> None:
    view = AnswerText(Theme(qapp))
    qtbot.addWidget(view)
    view.setPlainText("👍 A cat, 🪿🪿 a goose, a cat 👍, a cat")
    view.resize(600, 40)
    view.show()
    pointed: list[tuple[str, int]] = []
    view.word_pointed.connect(lambda word, number: pointed.append((word, number)))
    cursor = view.document().find("cat")
    for number in range(3):
        place = view.cursorRect(cursor).center()
        move(view, place.x() - 5, place.y())
        assert pointed[-1] == ("cat", number)
        cursor = view.document().find("cat", cursor)


def test_a_click_in_the_map_goes_there(driver: AppDriver, book: Path) -> None:
    ask_about(driver, book)
    driver.until_answered()
    pane, picture = driver.window.document, driver.window.document.map.picture
    passage = driver.chat.exchanges[0].passages[1]
    share = passage.start / len(driver.chat.opened_documents[0].text)
    QTest.mouseClick(
        picture, Qt.MouseButton.LeftButton, pos=QPoint(round(share * picture.width()), picture.height() // 2)
    )
    found = pane.text.document().find(SENTENCE, pane.text.document().find(SENTENCE).position())
    assert pane.text.viewport().rect().intersects(pane.text.cursorRect(found))


def test_layers_and_the_baseline_can_be_chosen(driver: AppDriver, book: Path) -> None:
    ask_about(driver, book)
    driver.until_answered()
    pane = driver.window.document.map
    assert [pane.layer.itemData(place) for place in range(pane.layer.count())] == [None, *LAYERS]
    assert not pane.picture._rows[:, COMMON_BIN].any()
    pane.above.click()
    assert (pane.picture._rows[:, COMMON_BIN] == 0.5).all()
    pane.layer.setCurrentIndex(2)
    assert (pane.picture._rows == driver.chat.exchanges[0].evidence.rows(LAYERS[1])).all()
    assert pane.picture._rows.any()
    move(pane.picture, 5, 8 * pane.picture._row_height + 1)
    assert driver.chat.pointed == range(8, 9)
    move(pane.picture, 5, 3 * pane.picture._row_height + 1)
    assert pane.word.text() == "“The captain”"
    pane.picture.leaveEvent(None)
    assert not driver.chat.pointed


def test_a_map_without_a_spot_says_so(driver: AppDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver.session, "_passages", lambda _chat: ())  # what is left is what every answer hits
    driver.controller.read_pasted("The goose of Salt Steps was counted at noon. " * 40)
    driver.until_read()
    driver.session.held_at = {"write"}
    driver.controller.ask("Who?")
    driver.until_reached("write")
    pane = driver.window.document.map
    driver.until(lambda: pane.picture.num_rows > 0)
    assert (pane.picture.is_dark, pane.picture.words) == (True, ""), "more may come"
    driver.session.go()
    driver.until_answered()
    nothing = "Nothing stands out: this answer looked where every answer looks. Untick “What stands out” to see where"
    driver.until(lambda: pane.picture.words == nothing)
    assert nothing in pane.picture.accessibleDescription()
    dark = pane.picture.grab().toImage()
    pane.picture.set_words("")
    assert pane.picture.grab().toImage() != dark, "the words are painted"
    pane.above.click()
    assert (pane.picture.is_dark, pane.picture.words) == (False, "")
    assert "Nothing" not in pane.picture.accessibleDescription()


def test_the_box_stands_at_the_maps_edge_without_a_name_beside_it(driver: AppDriver, book: Path) -> None:
    ask_about(driver, book)
    driver.until_answered()
    pane = driver.window.document.map
    option = QStyleOptionButton()
    for width, has_name in ((300, False), (600, True)):
        pane.resize(width, pane.height())
        QApplication.sendPostedEvents()
        pane.layout().activate()
        assert pane.caption.isVisible() == has_name
        pane.above.initStyleOption(option)
        box = pane.style().subElementRect(QStyle.SubElement.SE_CheckBoxIndicator, option, pane.above)
        left = pane.above.mapTo(pane, box.topLeft()).x()
        assert (left == pane.picture.x()) != has_name


def test_no_hit_is_lost_when_a_map_is_made_small() -> None:
    rows = np.zeros((30, 2_048), np.float32)
    rows[11, 1_500] = 0.25
    small = squeezed(rows, 10, 300)
    assert np.argwhere(small).tolist() == [[3, 1_500 * 300 // 2_048]]
    assert small.max() == 0.25
    assert squeezed(rows[:0], 1, 300).max() == 0


def test_a_picture_is_as_opaque_as_its_values() -> None:
    picture = tinted(np.array([[0, 0.25], [1, 0.01]], np.float32), QColor("#e07b00"))
    alpha = [[picture.pixelColor(x, y).alpha() for x in range(2)] for y in range(2)]
    assert alpha == [[0, 127], [255, 0]]
    assert picture.pixelColor(0, 1) == QColor("#e07b00")


def test_every_answer_of_a_chat_has_its_map_and_a_click_shows_it(
    driver: AppDriver, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "EVIDENCE_TOKENS", 30)
    ask_about(driver, book)
    for question in ("And when?", "And why?"):
        driver.controller.ask(question)
    driver.until_answered(2)
    assert [len(exchange.evidence.tokens) for exchange in driver.chat.exchanges] == [12, 12, 12]
    assert [isinstance(exchange.evidence.tokens, FewHits) for exchange in driver.chat.exchanges] == [True, False, False]
    pane, first = driver.window.document, driver.transcript.exchanges[0]
    assert pane.map.caption.text() == "Answer 3 of 3"
    newest = pane.map.picture._rows.copy()
    QTest.mouseClick(first.answer.viewport(), Qt.MouseButton.LeftButton)
    assert driver.chat.selected_exchange == 0
    assert pane.map.caption.text() == "Answer 1 of 3"
    assert pane.map.picture._rows == pytest.approx(newest, abs=1e-3), "all answers of the script look alike"
    assert not pane.map.layer.isEnabled()
    place = first.answer.cursorRect(first.answer.document().find("Thornwick")).center()
    move(first.answer, place.x() - 5, place.y())
    assert list(driver.chat.pointed) == [11]
    assert max(pane.strip._heat) == 1
    first.answer.leaveEvent(None)
    assert pane.strip._heat == driver.chat.exchanges[0].evidence.heat
    QTest.mouseClick(driver.transcript.exchanges[1].footer, Qt.MouseButton.LeftButton)
    assert driver.chat.selected_exchange == 1
    assert pane.map.layer.isEnabled()
    driver.transcript.exchanges[2].answer.setFocus(Qt.FocusReason.TabFocusReason)
    assert driver.chat.selected_exchange == 2, "the keyboard came to it"


def test_an_answer_from_disk_says_in_the_maps_place_why_it_has_none(driver: AppDriver, book: Path) -> None:
    ask_about(driver, book)
    driver.until_answered()
    pane, heat = driver.window.document.map, driver.chat.exchanges[0].evidence.heat
    driver.chat.exchanges[0].evidence = evidence.Evidence(heat=heat)
    driver.chat.select(0)
    assert pane.isVisible()
    assert pane.picture.words.startswith("Where each word looked is not kept on the disk.")
    assert pane.picture.words in pane.picture.accessibleDescription()
    assert not pane.above.isVisible()
    driver.controller.ask("And when?")
    driver.until_answered(1)
    assert pane.above.isVisible()
    assert pane.picture.words == ""


def test_the_map_keeps_its_room_while_the_next_answer_begins(driver: AppDriver, book: Path) -> None:
    ask_about(driver, book)
    driver.until_answered()
    pane = driver.window.document
    room = pane.text.height()
    driver.session.held_at = {"ask"}
    driver.controller.ask("And when?")
    driver.until_reached("ask")
    assert (pane.map.isVisible(), pane.map.picture.num_rows) == (True, 0)
    driver.session.go()
    driver.until_answered(1)
    assert (pane.map.picture.num_rows, pane.text.height()) == (12, room)
    driver.session.fails_on = {Ask: MemoryError()}
    driver.controller.ask("And why?")
    driver.until_answered(2)
    assert not pane.map.isVisible(), "there is nothing to come"
    driver.session.fails_on = {}
    driver.controller.ask("And now?")
    driver.until_answered(3)
    assert pane.map.picture.num_rows == 12


def test_the_map_is_hidden_while_a_question_goes_by_section(driver: AppDriver, book: Path) -> None:
    ask_about(driver, book)
    driver.until_answered()
    driver.session.held_at = {"section"}
    driver.controller.go_by_section(0)
    driver.until_reached("section")
    assert not driver.window.document.map.isVisible()


def test_a_map_that_grows_looks_as_if_made_at_once_and_only_new_words_are_gone_through(
    qtbot: QtBot, qapp: QApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone_through: list[int] = []
    monkeypatch.setattr(
        evidence_map, "squeezed", lambda values, *size: gone_through.append(values.size) or squeezed(values, *size)
    )
    rows = np.random.default_rng(0).random((200, HEAT_BINS), np.float32)
    grown, whole = (MapPicture(Theme(qapp)) for _ in range(2))
    for picture in (grown, whole):
        qtbot.addWidget(picture)
        picture.resize(90, 60)
    for start in range(0, 200, 50):
        grown.add_rows(rows[start : start + 50])
        grown._paint_rows()
    assert sum(size for size in gone_through if size >= 50 * HEAT_BINS) == rows.size
    whole.add_rows(rows)
    assert grown._paint_rows() == whole._paint_rows()
    for picture in (grown, whole):
        picture.resize(40, 60)
    assert grown._paint_rows() == whole._paint_rows()
    grown.clear()
    grown.add_rows(rows[:9])
    whole.clear()
    whole.add_rows(rows[:9])
    assert grown._paint_rows() == whole._paint_rows()


@pytest.mark.parametrize(("place", "seen"), [(0, range(1, 3)), (HEAT_BINS - 1, range(87, 89))])
def test_what_an_answer_found_at_an_end_of_the_document_is_not_hidden_by_the_edge(
    qtbot: QtBot, qapp: QApplication, place: int, seen: range
) -> None:
    theme = Theme(qapp)
    picture, rows = MapPicture(theme), np.zeros((4, HEAT_BINS), np.float32)
    qtbot.addWidget(picture)
    picture.resize(90, 60)
    rows[:, place] = 1
    picture.add_rows(rows)
    drawn = picture.grab().toImage()
    heat = QColor(theme.colors.heat).rgb()
    assert [x for x in range(90) if drawn.pixel(x, 10) == heat] == list(seen)


def test_while_an_answer_is_written_only_its_new_words_are_added(
    driver: AppDriver, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[int] = []
    whole = evidence.mass_rows
    monkeypatch.setattr(
        evidence, "mass_rows", lambda tokens, layer=None: built.append(len(tokens)) or whole(tokens, layer)
    )
    ask_about(driver, book)
    driver.until_answered()
    found, picture = driver.chat.exchanges[0].evidence, driver.window.document.map.picture
    assert sum(built) == len(found.tokens) == 12
    assert (picture._rows == found.rows(above=True)).all()
    driver.controller.ask("And when?")
    driver.until_answered(1)
    driver.chat.select(0)
    assert (picture._rows == found.rows(above=True)).all(), "those of the other answer are gone"


def test_a_map_made_small_is_the_largest_of_what_falls_together() -> None:
    rows = np.random.default_rng(0).random((37, 11), np.float32)
    for height, width in ((37, 11), (10, 4), (1, 1), (60, 30), (10, 30), (60, 4)):
        small = squeezed(rows, height, width)
        for y in range(height):
            for x in range(width):
                tall = [row for row in range(37) if height < 37 and row * height // 37 == y]
                wide = [column for column in range(11) if width < 11 and column * width // 11 == x]
                assert small[y, x] == rows[np.ix_(tall or [y * 37 // height], wide or [x * 11 // width])].max()


def test_of_a_very_long_answer_the_first_words_are_shown(
    driver: AppDriver, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "ANSWER_TOKENS", 5)
    monkeypatch.setattr(evidence_map, "ANSWER_TOKENS", 5)
    ask_about(driver, book)
    driver.until_answered()
    exchange, pane = driver.chat.exchanges[0], driver.window.document
    assert (len(exchange.evidence.tokens), pane.map.picture.num_rows) == (5, 5)
    assert pane.map.caption.text() == "The first 5 words"
    assert max(pane.strip._heat) == 1, "the heat is that of the whole answer"
    assert list(exchange.evidence.tokens_of(0, len(exchange.answer))) == [3, 4]
    view = driver.transcript.exchanges[0].answer
    place = view.cursorRect(view.document().find("1503")).center()
    move(view, place.x() - 5, place.y())
    assert not driver.chat.pointed, "of this word nothing is known"


# -- with the keyboard -------------------------------------------------------------------------------------------------


def press(widget: QWidget, *keys: Qt.Key) -> None:
    for key in keys:
        QTest.keyClick(widget, key)


def focus(driver: AppDriver, widget: QWidget) -> None:
    driver.window.activateWindow()
    driver.until(driver.window.isActiveWindow)
    widget.setFocus(Qt.FocusReason.TabFocusReason)
    driver.until(widget.hasFocus)


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a screen reader would say."""
    said: list[str] = []
    monkeypatch.setattr(QAccessible, "updateAccessibility", lambda event: said.append(event.message()))
    return said


def test_places_to_go_to_are_the_hottest_of_each_run() -> None:
    heat = [0.0, 0.5, 1.0, 0.4, 0.05, 0.0, 0.2, 0.2, 0.0, 0.11]
    assert hot_places(heat) == [2, 6, 9]
    assert hot_places([0.0, 0.0]) == hot_places(()) == []


def test_the_keyboard_goes_through_the_map_word_by_word_and_to_a_place(
    driver: AppDriver, book: Path, announced: list[str]
) -> None:
    ask_about(driver, book)
    driver.until_answered()
    pane, picture = driver.window.document, driver.window.document.map.picture
    chosen: list[float] = []
    picture.place_chosen.connect(chosen.append)
    focus(driver, picture)
    press(picture, *4 * [Qt.Key.Key_Down])
    assert list(driver.chat.pointed) == [3]
    assert announced[-1] == "Word 4 of 12 “The captain”, looked nowhere in particular"
    press(picture, Qt.Key.Key_Return)
    assert chosen == []
    press(picture, Qt.Key.Key_End)
    assert list(driver.chat.pointed) == [11]
    bins = hot_places(driver.chat.exchanges[0].evidence.rows(above=True)[11])
    assert len(bins) > 1
    assert f"place 1 of {len(bins)}, at " in announced[-1], "the brightest is the first passage"
    press(picture, Qt.Key.Key_Right)
    assert f"place 2 of {len(bins)}, at " in announced[-1]
    assert picture.accessibleDescription() == announced[-1]
    press(picture, Qt.Key.Key_Right, Qt.Key.Key_Enter)
    assert [int(share * HEAT_BINS) for share in chosen] == [bins[-1]]
    found = pane.text.document().find(SENTENCE, pane.text.document().find(SENTENCE).position())
    assert pane.text.viewport().rect().intersects(pane.text.cursorRect(found))
    press(picture, Qt.Key.Key_Home, Qt.Key.Key_Up)
    assert list(driver.chat.pointed) == [0]
    pane.text.setFocus()
    assert not driver.chat.pointed, "without the keyboard nothing is pointed at"


def test_the_keyboard_goes_through_the_strip_from_one_hot_place_to_the_next(
    driver: AppDriver, book: Path, announced: list[str]
) -> None:
    strip = driver.window.document.strip
    assert strip.accessibleDescription() == "The answer looked nowhere yet"
    ask_about(driver, book)
    driver.until_answered()
    places, chosen = hot_places(driver.chat.exchanges[0].evidence.heat), list[float]()
    assert len(places) > 1
    strip.place_chosen.connect(chosen.append)
    press(strip, Qt.Key.Key_Return, Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_End, Qt.Key.Key_Return)
    assert [int(share * HEAT_BINS) for share in chosen] == [places[0], places[-1]]
    assert announced[-1].startswith(f"Place {len(places)} of {len(places)} where the answer looked, at ")


def test_the_caret_in_an_answer_shows_its_words_hits_and_enter_goes_to_the_passage(
    driver: AppDriver, book: Path
) -> None:
    ask_about(driver, book)
    driver.until_answered()
    view = driver.transcript.exchanges[0].answer
    focus(driver, view)
    assert driver.chat.pointed == range(3, 4), "“The”"
    press(view, Qt.Key.Key_Return)
    assert driver.chat.selected_passage is None, "it looked at no passage"
    view.setTextCursor(view.document().find("Thornwick"))
    assert list(driver.chat.pointed) == [11]
    press(view, Qt.Key.Key_Return)
    assert driver.chat.selected_passage == 0
    driver.window.composer.edit.setFocus()
    assert not driver.chat.pointed


def test_a_link_in_an_answer_still_opens_with_enter(driver: AppDriver, book: Path) -> None:
    driver.session.words = ("See [the page](https://example.org) of it.",)
    ask_about(driver, book)
    driver.until_answered()
    view, opened = driver.transcript.exchanges[0].answer, list[str]()
    view.anchorClicked.disconnect()
    view.anchorClicked.connect(lambda url: opened.append(url.toString()))
    focus(driver, view)
    press(view, Qt.Key.Key_Tab, Qt.Key.Key_Return)
    assert opened == ["https://example.org"]


def test_the_transcript_follows_the_caret(driver: AppDriver, book: Path) -> None:
    driver.session.words = ("A line.\n\n" * 200,)
    ask_about(driver, book)
    driver.until_answered()
    view, bar = driver.transcript.exchanges[0].answer, driver.transcript.verticalScrollBar()
    bar.setValue(0)
    focus(driver, view)
    QTest.keyClick(view, Qt.Key.Key_End, Qt.KeyboardModifier.ControlModifier)
    end = bar.value()
    assert end > bar.maximum() // 2
    QTest.keyClick(view, Qt.Key.Key_Home, Qt.KeyboardModifier.ControlModifier)
    assert bar.value() < end


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot be taxed.", "… cannot be taxed."),
        (", and no goose.", "… , and no goose."),
        ("The goose.", "The goose."),
        ("41 geese.", "41 geese."),
        ("הַאֲוָז", "הַאֲוָז"),
        ("", ""),
    ],
)
def test_a_passage_that_begins_within_a_sentence_says_so(text: str, shown: str) -> None:
    assert with_ellipsis(text) == shown
