"""Colours, spacing and fonts. Light and dark are two sets of the same names; the system's choice picks one."""

from dataclasses import asdict, dataclass
from string import Template
from typing import Final

from PySide6.QtCore import QDir, QObject, Qt, Signal, Slot
from PySide6.QtGui import QColor, QFont, QFontDatabase, QFontMetrics, QPalette
from PySide6.QtWidgets import QApplication, QStyleFactory

from app.code_colours import Kind
from app.resources import FOLDER, resource_text

CAPTION: Final = 0.9
"""The size of small letters, to that of the others."""
GAP: Final = 8
"""Every distance is a multiple of it."""

BUBBLE_PADDING: Final = 2 * GAP
"""Left and right of a question's words."""

USUAL_LINE: Final = 16
"""Pixels from line to line with letters of the usual size."""

FONT_FAMILIES: Final = ("Segoe UI", "SF Pro Text", "Inter", "Cantarell", "Ubuntu", "Noto Sans")


@dataclass(frozen=True)
class Colors:
    """One theme. `heat` and the marks are for evidence only; part colours are those of the memory meter."""

    window: str
    surface: str
    sidebar: str
    border: str
    hover: str
    text: str
    muted: str
    accent: str
    on_accent: str
    soft: str
    danger: str
    danger_soft: str
    warning: str
    good: str
    heat: str
    mark: str
    mark_strong: str
    weights: str
    hot: str
    index: str
    cold_keys: str
    cold_values: str
    program: str
    other: str
    code_keyword: str
    code_string: str
    code_number: str
    code_name: str

    def code(self, kind: Kind) -> str:
        """The colour of a word of code."""
        colors = {
            "keyword": self.code_keyword, "string": self.code_string, "number": self.code_number,
            "name": self.code_name, "comment": self.muted,
        }  # fmt: skip
        return colors[kind]


LIGHT: Final = Colors(
    window="#f7f8fa", surface="#ffffff", sidebar="#eef0f4", border="#dbdfe6", hover="#e4e8ee", text="#1a1f26",
    muted="#59636f", accent="#2457c5", on_accent="#ffffff", soft="#e5edfc", danger="#b42318", danger_soft="#fdeceb",
    warning="#8a5200", good="#17753f", heat="#e07b00", mark="#ffeccb", mark_strong="#ffc866", weights="#3f6fd8",
    hot="#139a8e", index="#8a5bd0", cold_keys="#c2497f", cold_values="#d98324", program="#7d8aa0", other="#b4bcc8",
    code_keyword="#7a3fc4", code_string="#17703f", code_number="#a34a00", code_name="#2457c5",
)  # fmt: skip
DARK: Final = Colors(
    window="#15181d", surface="#1c2027", sidebar="#101318", border="#2e343d", hover="#282e37", text="#e7eaee",
    muted="#9aa4b1", accent="#7ea6ff", on_accent="#0c1424", soft="#24304a", danger="#ff8f85", danger_soft="#3b2121",
    warning="#f2b35e", good="#5fd08f", heat="#ffa53d", mark="#43371d", mark_strong="#80601a", weights="#6b96f5",
    hot="#35c2b4", index="#ad87ec", cold_keys="#e377a6", cold_values="#eda34f", program="#8a95a6", other="#4d5663",
    code_keyword="#c3a1f5", code_string="#7fd6a3", code_number="#f0b06a", code_name="#8fb4ff",
)  # fmt: skip


CONTRAST_LIGHT: Final = Colors(
    window="#ffffff", surface="#ffffff", sidebar="#ffffff", border="#000000", hover="#d6e4ff", text="#000000",
    muted="#1f1f1f", accent="#0037a8", on_accent="#ffffff", soft="#d6e4ff", danger="#990000", danger_soft="#ffffff",
    warning="#6b3a00", good="#00521f", heat="#a83e00", mark="#ffe59e", mark_strong="#ffc233", weights="#0037a8",
    hot="#00594f", index="#5b2196", cold_keys="#8f1651", cold_values="#8a4200", program="#1c2430", other="#595959",
    code_keyword="#5b2196", code_string="#00521f", code_number="#8a3200", code_name="#0037a8",
)  # fmt: skip
CONTRAST_DARK: Final = Colors(
    window="#000000", surface="#000000", sidebar="#000000", border="#ffffff", hover="#333333", text="#ffffff",
    muted="#e6e6e6", accent="#ffe14d", on_accent="#000000", soft="#333300", danger="#ff9c94", danger_soft="#000000",
    warning="#ffc27a", good="#7dffb0", heat="#ffb14d", mark="#4a3b00", mark_strong="#8a6a00", weights="#9db8ff",
    hot="#5cf2e2", index="#d0b0ff", cold_keys="#ff9ccb", cold_values="#ffc27a", program="#e3e8ef", other="#a6a6a6",
    code_keyword="#d9bfff", code_string="#7dffb0", code_number="#ffc27a", code_name="#a8c4ff",
)  # fmt: skip


THEMES: Final = {"light": LIGHT, "dark": DARK}


class Theme(QObject):
    """The colours in force: those that were chosen, or else the system's; in high contrast if one of the two wants it.

    Attributes:
        scale: pixels of the screen that the window is on, to each pixel of ours: 2 where it is twice as fine.

    Signals:
        changed: other colours or another scale are in force; what is painted by hand or has an icon follows.
    """

    changed = Signal()

    def __init__(self, application: QApplication, choice: Colors | None = None, points: int = 0) -> None:
        super().__init__(application)
        self._application = application
        self._choice, self._points = choice, points
        self._wants_contrast = False
        self.scale = application.devicePixelRatio()
        self._system_font = interface_font()
        application.setStyle(QStyleFactory.create("Fusion"))
        self._set_font()
        application.styleHints().colorSchemeChanged.connect(self._on_system_changed)
        if hasattr(application.styleHints(), "accessibility"):  # since Qt 6.10
            application.styleHints().accessibility().contrastPreferenceChanged.connect(self._on_system_changed)
        self.colors = choice or self._system_colors()
        self._apply()

    def choose(self, colors: Colors | None, *, contrast: bool = False) -> None:
        """Fix a set of colours; None follows the system, and with `contrast` only in that it is light or dark."""
        self._choice, self._wants_contrast = colors, contrast
        self._on_system_changed()

    def set_scale(self, scale: float) -> None:
        """Follow the window to a screen that is finer, or less fine."""
        if scale != self.scale:
            self.scale = scale
            self.changed.emit()

    @property
    def points(self) -> float:
        """Size of letters."""
        return float(self._points or self._system_font.pointSizeF())

    def set_points(self, points: int) -> None:
        """Set the size of letters; 0 is the system's."""
        if points != self._points:
            self._points = points
            self._set_font()
            self._apply()
            self.changed.emit()

    def _set_font(self) -> None:
        font = QFont(self._system_font)
        font.setPointSizeF(self.points)
        self._application.setFont(font)

    @Slot()
    def _on_system_changed(self) -> None:
        colors = self._choice or self._system_colors()
        if colors != self.colors:
            self.colors = colors
            self._apply()
            self.changed.emit()

    def _system_colors(self) -> Colors:
        dark = self._application.styleHints().colorScheme() is Qt.ColorScheme.Dark
        if self._wants_contrast or self._system_wants_contrast():
            return CONTRAST_DARK if dark else CONTRAST_LIGHT
        return DARK if dark else LIGHT

    def _system_wants_contrast(self) -> bool:
        hints = self._application.styleHints()
        if not hasattr(hints, "accessibility"):
            return False
        return hints.accessibility().contrastPreference() is Qt.ContrastPreference.HighContrast

    def _apply(self) -> None:
        self._application.setPalette(palette(self.colors))
        sheet = Template(resource_text("styles/kiv.qss"))
        sizes = {"caption": CAPTION, "part": 1.3, "headline": 1.65}
        letters = {name: f"{factor * self.points:.1f}pt" for name, factor in sizes.items()}
        theme = "dark" if self.colors in (DARK, CONTRAST_DARK) else "light"
        QDir.setSearchPaths("kiv", [str(FOLDER)])  # a path of the user's, with a bracket in it, would end the url(...)
        veil = "#f6" + self.colors.soft[1:]  # the first two digits are the opacity
        more = {"theme": theme, "veil": veil, "bubble": f"{BUBBLE_PADDING}px"}
        self._application.setStyleSheet(sheet.substitute(asdict(self.colors) | letters | more))


def with_letters(pixels: int, metrics: QFontMetrics) -> int:
    """Room in which as much is written as in so many pixels with letters of the usual size."""
    return max(pixels, round(pixels * metrics.lineSpacing() / USUAL_LINE))


def interface_font() -> QFont:
    """The system's font; where that is a mere placeholder (bare X11), the first good one that is there."""
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
    if font.family().lower() in ("sans serif", "sans", ""):
        there = set(QFontDatabase.families())
        found = [family for family in FONT_FAMILIES if family in there]
        font.setFamilies([*found, font.family()])
    font.setPointSizeF(max(font.pointSizeF(), 10.0))
    return font


def palette(colors: Colors) -> QPalette:
    """Fusion's palette in our colours."""
    role = QPalette.ColorRole
    result = QPalette()
    for name, color in {
        role.Window: colors.window, role.WindowText: colors.text, role.Base: colors.surface, role.Text: colors.text,
        role.AlternateBase: colors.window, role.Button: colors.surface, role.ButtonText: colors.text,
        role.BrightText: colors.danger, role.ToolTipBase: colors.surface, role.ToolTipText: colors.text,
        role.PlaceholderText: colors.muted, role.Highlight: colors.accent, role.HighlightedText: colors.on_accent,
        role.Link: colors.accent, role.LinkVisited: colors.accent, role.Mid: colors.border, role.Dark: colors.border,
        role.Midlight: colors.hover, role.Light: colors.surface,
    }.items():  # fmt: skip
        result.setColor(name, QColor(color))
    for name in (role.WindowText, role.Text, role.ButtonText):
        result.setColor(QPalette.ColorGroup.Disabled, name, QColor(colors.muted))
    return result
