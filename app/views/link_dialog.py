"""A link in an answer names where it goes before it is opened: a document may have put it there."""

from typing import Final

from PySide6.QtCore import QUrl, Slot
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLabel, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from app.views.form import heading
from app.views.theme import GAP

OPENED: Final = ("http", "https", "mailto")
"""Other addresses might start a program."""


class LinkDialog(QDialog):
    """Shows an address in full and asks whether to open it. Goes when it is closed."""

    def __init__(self, url: QUrl, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._url = url
        self.setWindowTitle(self.tr("Open this address?"))
        self.setModal(True)
        may_open = url.scheme().lower() in OPENED and not url.isRelative()
        title = heading(self.tr("Open this address?") if may_open else self.tr("This address is not opened"))
        line = QLabel(
            self.tr("It may come from a document. It opens in your browser, outside this app.")
            if may_open
            else self.tr("It is no web or e-mail address, and might start a program.")
        )
        line.setObjectName("muted")
        line.setWordWrap(True)
        self.address = QPlainTextEdit(url.toString(QUrl.ComponentFormattingOption.FullyEncoded))
        self.address.setObjectName("field")
        self.address.setReadOnly(True)
        self.address.setTabChangesFocus(True)
        self.address.setAccessibleName(self.tr("Address"))
        self.address.setFixedHeight(4 * self.fontMetrics().lineSpacing())
        self.open_button = self._button(self.tr("Open"), self._on_open)
        self.open_button.setVisible(may_open)
        self.copy_button = self._button(self.tr("Copy the address"), self._on_copy)
        self.cancel = self._button(self.tr("Cancel"), self.reject)
        self.cancel.setObjectName("primary")
        self.cancel.setDefault(True)
        buttons = QHBoxLayout()
        buttons.setSpacing(GAP)
        buttons.addWidget(self.copy_button)
        buttons.addStretch(1)
        buttons.addWidget(self.open_button)
        buttons.addWidget(self.cancel)
        column = QVBoxLayout(self)
        column.setContentsMargins(3 * GAP, 3 * GAP, 3 * GAP, 2 * GAP)
        column.setSpacing(2 * GAP)
        column.addWidget(title)
        column.addWidget(line)
        column.addWidget(self.address)
        column.addLayout(buttons)
        self.setMinimumWidth(480)
        self.finished.connect(self.deleteLater)
        self.cancel.setFocus()

    def _button(self, text: str, slot: object) -> QPushButton:
        button = QPushButton(text)
        button.setAccessibleName(text)
        button.setAutoDefault(False)
        button.clicked.connect(slot)
        return button

    @Slot()
    def _on_open(self) -> None:
        QDesktopServices.openUrl(self._url)
        self.accept()

    @Slot()
    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self.address.toPlainText())
        self.accept()
