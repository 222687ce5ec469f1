"""Colours: that they can be read, and that high contrast comes when the system or the settings want it."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QCheckBox, QLabel

from app.resources import FOLDER
from app.views.question_bubble import ROUNDED
from app.views.theme import BUBBLE_PADDING, CONTRAST_DARK, CONTRAST_LIGHT, DARK, LIGHT, Colors, Theme
from tests.app.conftest import AppDriver
from tests.app.test_answer_text import contrast

GROUNDS = ("window", "surface", "sidebar")
LETTERS = ("text", "muted", "accent", "danger", "warning", "good")
CODE = ("code_keyword", "code_string", "code_number", "code_name")


@pytest.mark.parametrize(
    ("colors", "least"),
    [(LIGHT, 4.5), (DARK, 4.5), (CONTRAST_LIGHT, 7.0), (CONTRAST_DARK, 7.0)],
    ids=["light", "dark", "contrast light", "contrast dark"],
)
def test_letters_can_be_read(colors: Colors, least: float) -> None:
    for ground in GROUNDS:
        for name in LETTERS:
            assert contrast(getattr(colors, name), getattr(colors, ground)) >= least, (name, ground)
    for name in CODE:
        assert contrast(getattr(colors, name), colors.surface) >= least, name
    pairs = (("on_accent", "accent"), ("text", "soft"), ("text", "hover"), ("text", "mark"), ("text", "mark_strong"))
    for letters, ground in pairs:
        assert contrast(getattr(colors, letters), getattr(colors, ground)) >= 4.5, (letters, ground)


@pytest.mark.parametrize("colors", [LIGHT, DARK])
def test_hints_in_fields_have_the_colour_of_muted_letters(driver: AppDriver, colors: Colors) -> None:
    driver.application.theme.choose(colors)
    window = driver.window
    for field in (window.composer.edit, window.sidebar.search, window.document.find_bar.edit):
        assert field.palette().placeholderText().color().name() == colors.muted


@pytest.mark.parametrize("colors", [CONTRAST_LIGHT, CONTRAST_DARK])
def test_edges_and_evidence_can_be_seen_in_high_contrast(colors: Colors) -> None:
    for name in ("border", "accent", "heat", "weights", "hot", "index", "cold_keys", "cold_values", "program", "other"):
        assert contrast(getattr(colors, name), colors.window) >= 3.0, name


def test_high_contrast_is_a_setting_and_follows_light_and_dark(driver: AppDriver) -> None:
    preferences, theme = driver.application.preferences, driver.application.theme
    preferences.set(replace(preferences.settings, theme="contrast"))
    assert theme.colors in (CONTRAST_LIGHT, CONTRAST_DARK)
    assert driver.window.palette().window().color().name() == theme.colors.window
    driver.application.settings_dialog.open_part(0)
    assert driver.application.settings_dialog.theme.currentText() == "High contrast"
    preferences.set(replace(preferences.settings, theme="dark"))
    assert theme.colors == DARK


def test_a_question_in_a_bubble_is_as_wide_as_its_words_and_what_the_style_puts_around_them(driver: AppDriver) -> None:
    driver.controller.ask("Who?")
    driver.until_answered()
    bubble = driver.transcript.exchanges[0].question
    plain, styled = QLabel(bubble.text(), driver.window), QLabel(bubble.text(), driver.window)
    styled.setObjectName(bubble.objectName())
    styled.setIndent(0)
    assert styled.sizeHint().width() == plain.sizeHint().width() + 2 * BUBBLE_PADDING
    assert bubble.width() == styled.sizeHint().width() + ROUNDED


def test_the_theme_of_the_command_line_stays_until_another_is_set(driver: AppDriver) -> None:
    preferences, theme = driver.application.preferences, driver.application.theme
    for colors, other in ((DARK, "light"), (LIGHT, "dark")):
        theme.choose(colors)
        preferences.set(replace(preferences.settings, kept_gb=preferences.settings.kept_gb + 1))
        assert theme.colors == colors
        preferences.set(replace(preferences.settings, theme=other))
        assert theme.colors == {"light": LIGHT, "dark": DARK}[other]


@pytest.mark.parametrize(("scheme", "expected"), [("Light", CONTRAST_LIGHT), ("Dark", CONTRAST_DARK)])
def test_high_contrast_follows_the_system(
    driver: AppDriver, monkeypatch: pytest.MonkeyPatch, scheme: str, expected: Colors
) -> None:
    hints = SimpleNamespace(
        colorScheme=lambda: Qt.ColorScheme[scheme],
        accessibility=lambda: SimpleNamespace(contrastPreference=lambda: Qt.ContrastPreference.HighContrast),
    )
    theme: Theme = driver.application.theme
    monkeypatch.setattr(theme, "_application", SimpleNamespace(
        styleHints=lambda: hints, setPalette=lambda _: None, setStyleSheet=lambda _: None,
    ))  # fmt: skip
    theme.choose(None)
    assert theme.colors == expected
    theme.choose(LIGHT)
    assert theme.colors == LIGHT, "what a person chose counts more"


def test_light_and_dark_follow_the_system_while_the_app_runs(
    driver: AppDriver, qapp: QApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    theme, scheme = driver.application.theme, [Qt.ColorScheme.Light]
    hints = SimpleNamespace(colorScheme=lambda: scheme[0])
    stand_in = SimpleNamespace(
        styleHints=lambda: hints, setPalette=qapp.setPalette, setStyleSheet=qapp.setStyleSheet, setFont=qapp.setFont
    )
    monkeypatch.setattr(theme, "_application", stand_in)
    followed: list[Colors] = []
    theme.changed.connect(lambda: followed.append(theme.colors))
    for now, colors in ((Qt.ColorScheme.Dark, DARK), (Qt.ColorScheme.Light, LIGHT)):
        scheme[0] = now
        qapp.styleHints().colorSchemeChanged.emit(now)
        assert theme.colors == colors
        assert driver.window.palette().window().color().name() == colors.window
    assert followed == [DARK, LIGHT]
    theme.choose(DARK)
    qapp.styleHints().colorSchemeChanged.emit(Qt.ColorScheme.Light)
    assert theme.colors == DARK, "what a person chose counts more"


def test_the_pictures_are_found_in_a_folder_of_any_name(
    driver: AppDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "KIV (1) & co"
    shutil.copytree(FOLDER / "icons", folder / "icons")
    monkeypatch.setattr("app.views.theme.FOLDER", folder)
    driver.application.theme.choose(DARK)  # what Qt cannot read of it is a warning, which fails a test
    box = QCheckBox()
    box.setChecked(True)
    image = box.grab().toImage()
    colors = {image.pixelColor(x, y).name() for x in range(image.width()) for y in range(image.height())}
    assert {DARK.accent, DARK.on_accent} <= colors
