"""The settings file: what is written is read, and what is damaged is kept aside."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from app.settings import PRESETS, ChatOptions, Settings, load_settings, save_settings
from kiv_engine.config import KIVConfig, SamplingConfig

OTHER = Settings(
    theme="dark",
    font_points=14,
    engine=KIVConfig(retrieved_tokens=512, store_dtype="int8", store="/some/folder"),
    chat=ChatOptions("Be brief. 🪿", SamplingConfig(temperature=0.5, stop=("END", "\n\n"), seed=7)),
)


@pytest.mark.parametrize("settings", [Settings(), OTHER])
def test_what_is_saved_is_loaded(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "deep" / "settings.json"
    save_settings(path, settings)
    assert load_settings(path).settings == settings
    assert load_settings(path).fault is None
    assert [file.name for file in path.parent.iterdir()] == ["settings.json"]


def test_without_a_file_there_are_defaults(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "none.json").settings == Settings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Expecting property name"),
        ("[]", "does not hold settings"),
        ('{"theme": "pink"}', "theme is 'pink'"),
        ('{"font_points": 99}', "font_points is 99"),
        ('{"load_anyway": 1}', "load_anyway is 1"),
        ('{"engine": {"hot_tokens": -1}}', "hot_tokens is -1"),
        ('{"engine": 3}', "KIVConfig is 3"),
        ('{"chat": {"sampling": {"temperature": "hot"}}}', "temperature is 'hot'"),
        ('{"engine": {"store": 5}}', "store is 5"),
        ('{"chat": 3}', "ChatOptions is 3"),
        ('{"chat": []}', "ChatOptions is []"),
        ('{"chat": {"system": 5}}', "system is 5"),
        ('{"chat": {"sampling": {"stop": [5]}}}', "stop is 5"),
        ("\x00\xff", "codec"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_a_damaged_file_is_kept_aside_and_said_so(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "settings.json"
    for number in (1, 2):
        path.write_bytes(text.encode("latin-1"))
        loaded = load_settings(path)
        assert loaded.settings == Settings()
        assert loaded.fault is not None
        assert loaded.fault.damaged
        assert words in loaded.fault.reason
        assert loaded.fault.kept_as == f"settings.json.damaged-{number}"
        assert not path.exists()
        assert (tmp_path / f"settings.json.damaged-{number}").read_bytes() == text.encode("latin-1")


def test_what_a_newer_version_wrote_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"version": 9, "theme": "dark", "voice": "loud", "engine": {"sonar": 1}}))
    assert load_settings(path).settings == Settings(theme="dark")


def test_a_folder_in_its_place_is_told(tmp_path: Path) -> None:
    loaded = load_settings(tmp_path)
    assert loaded.fault is not None
    assert not loaded.fault.damaged
    assert loaded.settings == Settings()


def test_presets_are_recognized() -> None:
    for name, sampling in PRESETS.items():
        assert ChatOptions("x", replace(sampling, max_new_tokens=9, seed=3)).preset == name
    assert ChatOptions(sampling=SamplingConfig(temperature=0.123)).preset is None
