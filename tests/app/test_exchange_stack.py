"""The stack places its widgets as a layout would, also when one of them grows, goes or is hidden."""

from PySide6.QtCore import QSize
from PySide6.QtGui import QColor, QPaintEvent
from PySide6.QtWidgets import QApplication, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from app.views.exchange_stack import ABOVE, BELOW, BESIDE, BETWEEN, TEXT_WIDTH, ExchangeStack
from app.views.theme import DARK, LIGHT, Theme

VIEW = QSize(600, 100)
WORDS = "The goose was counted at noon. "


class Note(QWidget):
    """A text that wraps, in a layout of its own."""

    def __init__(self, text: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.label = QLabel(text)
        self.label.setWordWrap(True)
        QVBoxLayout(self).addWidget(self.label)


def expected(stack: ExchangeStack, whole_width: int) -> list[tuple[int, int, int, int]]:
    """What a plain column gives, all of it measured anew."""
    width, top, places = min(TEXT_WIDTH, whole_width - 2 * BESIDE), ABOVE, []
    for widget in stack.findChildren(QWidget):
        if widget.parent() is not stack or widget.isHidden():
            continue
        is_button = isinstance(widget, QPushButton)
        wide = widget.sizeHint().width() if is_button else width
        high = widget.sizeHint().height() if is_button else widget.layout().totalHeightForWidth(width)
        places.append(((whole_width - wide) // 2, top, wide, high))
        top += high + BETWEEN
    return places


def places(stack: ExchangeStack) -> list[tuple[int, int, int, int]]:
    shown = (widget for widget in stack.findChildren(QWidget) if widget.parent() is stack and not widget.isHidden())
    return [widget.geometry().getRect() for widget in shown]


def test_widgets_stand_one_below_the_other(qtbot: QtBot, qapp: QApplication) -> None:
    stack = ExchangeStack(Theme(qapp, LIGHT))
    qtbot.addWidget(stack)
    first, button, last = Note(WORDS * 9, stack), QPushButton("More", stack), Note(WORDS, stack)
    for place, widget in enumerate((first, button, last)):
        stack.insert(place, widget)
    stack.set_room(612, VIEW)
    stack.show()

    def check(whole_width: int) -> None:
        qapp.processEvents()
        qapp.processEvents()  # the second time for what the first has asked for
        assert places(stack) == expected(stack, whole_width)
        bottom = max(left_top[1] + left_top[3] for left_top in places(stack))
        assert stack.height() == max(bottom + BELOW, VIEW.height())

    check(612)
    last.label.setText(WORDS * 30)
    check(612)
    button.hide()
    check(612)
    stack.set_room(900, QSize(888, 100))
    check(900)
    stack.remove(first)
    check(900)
    assert places(stack)[0][1] == ABOVE


class Painted(QLabel):
    """Counts how often it is painted."""

    times = 0

    def paintEvent(self, event: QPaintEvent) -> None:
        self.times += 1
        super().paintEvent(event)


def test_what_is_seen_is_painted_once_whatever_grows_below_it(qtbot: QtBot, qapp: QApplication) -> None:
    theme, area = Theme(qapp, LIGHT), QScrollArea()
    qtbot.addWidget(area)
    stack = ExchangeStack(theme)
    first, last = Note("", stack), Note(WORDS, stack)
    seen = Painted(WORDS)
    first.layout().addWidget(seen)
    stack.insert(0, first)
    stack.insert(1, last)
    area.setWidget(stack)
    area.resize(600, 120)
    area.show()
    stack.set_room(600, area.viewport().size())
    qtbot.waitUntil(lambda: seen.times > 0)
    qapp.processEvents()
    before, height = seen.times, stack.height()
    last.label.setText(WORDS * 30)
    qtbot.waitUntil(lambda: stack.height() > height)
    area.verticalScrollBar().setValue(2)
    qapp.processEvents()
    assert seen.times == before
    for colors in (LIGHT, DARK):
        theme.choose(colors)
        assert area.grab().toImage().pixelColor(2, 2) == QColor(colors.window)
