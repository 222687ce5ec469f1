"""An answer as it is shown: code with colours and a button, links that ask, and nothing that is fetched."""

from itertools import pairwise
from pathlib import Path

import pytest
from PySide6.QtCore import QByteArray, QUrl
from PySide6.QtGui import QColor, QDesktopServices, QGuiApplication, QTextCursor, QTextDocument, QTextLayout
from pytestqt.qtbot import QtBot

from app.views.answer_look import QUOTE_INDENT, QuoteRun, links_of
from app.views.answer_text import AnswerText
from app.views.link_dialog import LinkDialog
from app.views.theme import DARK, GAP, LIGHT
from tests.app.conftest import AppDriver

CODE = "def f(x):\n    return x + 41"
ANSWER = f"Look at [this](https://exämple.org/a b?c=1):\n\n```python\n{CODE}\n```\n\nand\n\n```\nplain\n```\n"
HOSTILE = (
    "<img src='http://1.2.3.4/a.png'><script>alert(1)</script>\n\n![x](http://1.2.3.4/b.png)\n\n"
    "<a href='file:///bin/sh'>run</a>\n\n<style>* { color: red }</style>"
)


def answered(driver: AppDriver, text: str) -> AnswerText:
    driver.session.words = (text,)
    driver.controller.ask("Code?")
    driver.until_answered()
    return driver.transcript.exchanges[0].answer


def colours(view: AnswerText, line: str) -> set[str]:
    block = view.document().begin()
    while block.text() != line:
        block = block.next()
    return {each.format.foreground().color().name() for each in block.layout().formats()}


def test_code_has_colours_in_both_themes_and_a_button_that_copies_it(driver: AppDriver) -> None:
    view = answered(driver, ANSWER)
    driver.until(lambda: len(view.code.buttons) == 2)
    for theme in (DARK, LIGHT):
        driver.application.theme.choose(theme)
        driver.until(lambda theme=theme: theme.code_keyword in colours(view, "def f(x):"))
        assert colours(view, "    return x + 41") == {theme.code_keyword, theme.code_number}
    assert not colours(view, "plain")
    first, second = view.code.buttons
    assert "python" in first.accessibleName()
    first.click()
    assert QGuiApplication.clipboard().text() == CODE
    assert first.accessibleName() == "Copied"
    second.click()
    assert QGuiApplication.clipboard().text() == "plain"


def test_a_button_stands_in_the_corner_of_its_code_and_stays_there(driver: AppDriver) -> None:
    view = answered(driver, ANSWER + "\n```python\n" + "x = 1\n" * 200 + "```\n")
    driver.until(lambda: len(view.code.buttons) == 3)
    for width in (1280, 900):
        driver.window.resize(width, 800)
        driver.until(lambda: abs(view.code.area(view.code.runs[0]).right() - view.viewport().width()) < 3)
        for run, button in zip(view.code.runs, view.code.buttons, strict=True):
            assert view.code.area(run).toRect().contains(button.geometry())


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_the_colours_of_code_can_be_read(theme: object) -> None:
    for kind in ("keyword", "string", "number", "name", "comment"):
        assert contrast(theme.code(kind), theme.surface) >= 4.5, kind


def contrast(one: str, other: str) -> float:
    """As WCAG defines it."""

    def luminance(name: str) -> float:
        color = QColor(name)
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color.getRgbF()[:3]]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_a_link_names_its_address_and_opens_when_that_is_wanted(
    driver: AppDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, opened = answered(driver, ANSWER), list[QUrl]()
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    address = QUrl("https://exämple.org/a b?c=1")
    view.anchorClicked.emit(address)
    [dialog] = driver.window.findChildren(LinkDialog)
    assert dialog.address.toPlainText() == "https://xn--exmple-cua.org/a%20b?c=1", "look-alike letters are told apart"
    assert dialog.focusWidget() is dialog.cancel, "Enter does not open it"
    dialog.cancel.click()
    assert opened == []
    view.anchorClicked.emit(address)
    driver.window.findChildren(LinkDialog)[-1].open_button.click()
    assert opened == [address]


@pytest.mark.parametrize("address", ["file:///bin/sh", "javascript:alert(1)", "relative/path", "smb://a/b", ""])
def test_other_addresses_are_not_opened(driver: AppDriver, address: str) -> None:
    view = answered(driver, ANSWER)
    view.anchorClicked.emit(QUrl(address))
    [dialog] = driver.window.findChildren(LinkDialog)
    assert not dialog.open_button.isVisible()
    assert dialog.copy_button.isVisible()
    dialog.cancel.click()


def test_tables_follow_the_theme_and_their_cells_are_level(driver: AppDriver) -> None:
    view = answered(driver, "| a | b |\n|---|---|\n| 1 | 2 |\n")
    [table] = view.document().rootFrame().childFrames()
    first, second = (view.cursorRect(table.cellAt(0, column).firstCursorPosition()) for column in (0, 1))
    assert first.top() == second.top()
    for theme in (DARK, LIGHT):
        driver.application.theme.choose(theme)
        assert table.format().toTableFormat().borderBrush().color().name() == theme.border


def test_all_of_a_tables_first_row_is_bold_and_no_other(driver: AppDriver) -> None:
    view = answered(driver, "```\ncode\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    [table] = view.document().rootFrame().childFrames()
    cells = [table.cellAt(row, column) for row in (0, 1) for column in (0, 1)]
    assert [cell.lastCursorPosition().charFormat().fontWeight() > 500 for cell in cells] == [True, True, False, False]


def test_a_rule_has_the_colour_of_borders(driver: AppDriver) -> None:
    view = answered(driver, "Above.\n\n---\n\nBelow.\n")
    rule = view.document().findBlockByNumber(1)
    for theme in (DARK, LIGHT):
        driver.application.theme.choose(theme)
        assert rule.blockFormat().background().color().name() == theme.border
    assert view.toMarkdown().split() == ["Above.", "-", "-", "-", "Below."]


def test_raw_html_is_text_and_nothing_is_fetched(driver: AppDriver, tmp_path: Path) -> None:
    local = tmp_path / "local.png"
    local.write_bytes(b"a picture")
    view = answered(driver, f"{HOSTILE}\n\n![y]({local.as_uri()})")
    shown = view.toPlainText()
    for raw in ("<img src=", "<script>", "<a href=", "<style>"):
        assert raw in shown
    for kind in QTextDocument.ResourceType:
        for name in ("http://1.2.3.4/b.png", local.as_uri()):
            assert view.document().resource(kind.value, QUrl(name)) in (None, QByteArray())


def test_a_plain_text_that_grows_is_the_same_as_all_of_it(driver: AppDriver, qtbot: QtBot) -> None:
    text = "One *goose*\n\n```py\ncount = 1\n```\nwas & counted <b>twice</b>.\n"
    grown, whole = AnswerText(driver.application.theme), AnswerText(driver.application.theme)
    qtbot.addWidget(grown)
    qtbot.addWidget(whole)
    grown.set_markdown(text)
    for end in (5, 9, 30, len(text)):
        grown.set_plain(text[:end])
    whole.set_plain(text)
    assert grown.toPlainText() == whole.toPlainText() == text
    assert grown.toHtml() == whole.toHtml()
    assert not grown.code.runs, "what was code in the Markdown is plain text now"
    grown.set_plain("Two geese")
    assert grown.toPlainText() == "Two geese"
    grown.set_markdown("Two *geese*")
    assert grown.toPlainText() == "Two geese"


def test_links_follow_the_theme(driver: AppDriver) -> None:
    view = answered(driver, "Look at [this](https://example.org) and at <https://example.org>.")
    for theme in (DARK, LIGHT):
        driver.application.theme.choose(theme)
        cursor = QTextCursor(view.document())
        links = list(links_of(view.document()))
        assert len(links) == 2
        for start, end in links:
            for place in range(start + 1, end + 1):
                cursor.setPosition(place)
                assert cursor.charFormat().foreground().color().name() == theme.accent


@pytest.mark.parametrize("width", range(150, 600, 50))
def test_figures_below_an_answer_break_between_parts_only(driver: AppDriver, width: int) -> None:
    answered(driver, "Forty-one.")
    label = driver.transcript.exchanges[0].footer
    layout, lines = QTextLayout(label.text(), label.font()), []
    layout.beginLayout()
    while (line := layout.createLine()).isValid():
        line.setLineWidth(width)
        lines.append(label.text()[line.textStart() :][: line.textLength()].replace("\u00a0", " ").strip())
    layout.endLayout()
    whole = "92 tokens/s · first word after 0.05 s · 12 tokens · ended by itself"
    assert " ".join(lines) == whole
    assert all(line.endswith(" ·") for line in lines[:-1])
    assert label.wordWrap()


def test_a_heading_stands_apart_from_what_is_above_it(driver: AppDriver) -> None:
    view = answered(driver, "#### Section 1 of 2\n\nForty-one.\n\n#### Section 2 of 2\n\nSeven.")
    tops, block = {}, view.document().begin()
    while block.isValid():
        area = view.document().documentLayout().blockBoundingRect(block)
        tops[block.text()] = (area.top(), area.bottom())
        block = block.next()
    above = tops["Section 2 of 2"][0] - tops["Forty-one."][1]
    below = tops["Seven."][0] - tops["Section 2 of 2"][1]
    assert above >= 2 * below > 0
    assert tops["Section 1 of 2"][0] == 0


TABLE = "| Goose | Noon |\n|---|---|\n| 41 | 7 |\n"
FENCED = "```python\nfirst = 41\nlast = 7\n```\n"


@pytest.mark.parametrize("above", ["- A list.\n\n", FENCED, "A paragraph.\n\n", "# A heading\n\n", TABLE + "\n"])
def test_code_below_a_table_has_its_panel_and_button(driver: AppDriver, above: str) -> None:
    view = answered(driver, f"{above}{TABLE}\n{FENCED}\nThe end.")
    driver.until(lambda: len(view.code.buttons) == len(view.code.runs))
    run, document = view.code.runs[-1], view.document()
    assert [document.findBlockByNumber(number).text() for number in (run.first, run.last)] == ["first = 41", "last = 7"]
    assert run.text == "first = 41\nlast = 7"


def test_a_table_is_as_far_from_code_as_from_other_text(driver: AppDriver) -> None:
    view = answered(driver, f"{FENCED}{TABLE}\nA paragraph.\n\n{TABLE}")
    first, second = view.document().rootFrame().childFrames()
    block, layout = view.document().begin(), view.document().documentLayout()
    while block.text() != "A paragraph.":
        block = block.next()
    below_text = layout.frameBoundingRect(second).top() - layout.blockBoundingRect(block).bottom()
    assert layout.frameBoundingRect(first).top() - view.code.area(view.code.runs[0]).bottom() == below_text


@pytest.mark.parametrize("between", ["", "\n", "\n\n"])
def test_neighbouring_blocks_of_code_have_a_panel_and_a_button_each(driver: AppDriver, between: str) -> None:
    view = answered(driver, f"Two:\n\n{FENCED}{between}{FENCED}{between}```python\nthird = 3\n```\n")
    driver.until(lambda: len(view.code.buttons) == 3)
    assert [run.text for run in view.code.runs] == ["first = 41\nlast = 7", "first = 41\nlast = 7", "third = 3"]
    areas = [view.code.area(run) for run in view.code.runs]
    for above, below in pairwise(areas):
        assert below.top() - above.bottom() == GAP
    assert colours(view, "third = 3"), "each has its colours"


@pytest.mark.parametrize("behind", ["", "\nThe end.", f"\n{FENCED}"])
def test_the_panel_of_code_is_whole_also_at_the_end_of_an_answer(driver: AppDriver, behind: str) -> None:
    view = answered(driver, f"Two geese:\n\n{FENCED}{behind}")
    assert view.code.area(view.code.runs[-1]).bottom() < view.viewport().height()
    view.set_markdown("Two geese")
    assert view.height() == view.document().size().height() + 2


def test_what_is_quoted_has_a_bar_beside_it(driver: AppDriver) -> None:
    view = answered(driver, "Two:\n\n> Forty-one\n> geese.\n>\n> Seven.\n>\n>> Deep.\n\nText.\n\n> Noon.")
    document = view.document()
    texts = [document.findBlockByNumber(number).text() for number in range(document.blockCount())]
    assert texts == ["Two:", "Forty-one geese.", "Seven.", "Deep.", "Text.", "Noon."]
    assert view.quotes == [QuoteRun(1, 1, 3), QuoteRun(2, 3, 3), QuoteRun(1, 5, 5)]
    middles = [document.documentLayout().blockBoundingRect(document.findBlockByNumber(n)).center() for n in range(6)]
    for theme in (DARK, LIGHT):
        driver.application.theme.choose(theme)
        picture = view.viewport().grab().toImage()
        for bar, quoted in ((1, {1, 2, 3, 5}), (1 + QUOTE_INDENT, {3})):
            has_bar = {
                n
                for n, middle in enumerate(middles)
                if picture.pixelColor(bar, round(middle.y())).name() == theme.other
            }
            assert has_bar == quoted
    view.set_plain("> Plain")
    assert view.quotes == []
