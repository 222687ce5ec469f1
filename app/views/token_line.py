"""A token for a model that its owner grants access to: where to ask for access, and where to put the token."""

from PySide6.QtCore import Qt, QUrl, Signal, Slot
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from app.views.theme import GAP

HUB = "https://huggingface.co/"


class TokenLine(QFrame):
    """Hidden until a model is refused.

    Signals:
        entered: a token to keep; it is nowhere shown.
    """

    entered = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("card")
        self._model = ""
        self.about = QLabel()
        self.about.setWordWrap(True)
        self.about.setTextFormat(Qt.TextFormat.PlainText)
        self.field = QLineEdit()
        self.field.setEchoMode(QLineEdit.EchoMode.Password)
        self.field.setPlaceholderText(self.tr("Token, begins with hf_"))
        self.field.setAccessibleName(self.tr("Token of the HuggingFace hub"))
        self.field.returnPressed.connect(self._on_entered)
        self.page = self._button(self.tr("Its page …"), self._on_page)
        self.page.setAccessibleName(self.tr("Open the model's page in the browser"))
        self.tokens = self._button(self.tr("Make a token …"), self._on_tokens)
        self.tokens.setAccessibleName(self.tr("Open the page of tokens in the browser"))
        self.keep = self._button(self.tr("Keep and try again"), self._on_entered)
        self.keep.setObjectName("smallprimary")
        line = QHBoxLayout()
        line.setSpacing(GAP)
        line.addWidget(self.page)
        line.addWidget(self.tokens)
        line.addWidget(self.field, 1)
        line.addWidget(self.keep)
        column = QVBoxLayout(self)
        column.setContentsMargins(2 * GAP, GAP, 2 * GAP, GAP)
        column.setSpacing(GAP)
        column.addWidget(self.about)
        column.addLayout(line)
        self.hide()

    def _button(self, text: str, slot: object) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName("small")
        button.setAutoDefault(False)
        button.clicked.connect(slot)
        return button

    @Slot(str)
    def ask_for(self, model: str) -> None:
        """Show what a model needs that was refused."""
        self._model = model
        self.about.setText(
            self.tr(
                "For {0} the hub wants to know who you are. Ask for access on its page, then put a token of your "
                "account here; one that may only read is enough. The system's keyring keeps it."
            ).format(model)
        )
        self.show()
        self.field.setFocus()

    @Slot()
    def clear(self) -> None:
        """Nothing is refused any more."""
        self.field.clear()
        self.hide()

    @Slot()
    def _on_entered(self) -> None:
        if self.field.text().strip():
            self.entered.emit(self.field.text())

    @Slot()
    def _on_page(self) -> None:
        QDesktopServices.openUrl(QUrl(HUB + self._model))

    @Slot()
    def _on_tokens(self) -> None:
        QDesktopServices.openUrl(QUrl(f"{HUB}settings/tokens"))
