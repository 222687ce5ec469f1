"""How the app starts: as a process of its own, with bad input and without a display."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import PySide6
import pytest

from app import display
from app.__main__ import main
from app.folders import Folders

ROOT = Path(__file__).parents[2]
QT: Final = Path(PySide6.__file__).parent / "Qt" / "lib"
BASE: Final = {
    "libc.so.6", "libgcc_s.so.1", "libgthread-2.0.so.0", "libm.so.6", "libresolv.so.2", "libstdc++.so.6",
    "libxcb-render.so.0", "libxcb.so.1", "libz.so.1", "libzstd.so.1",
}  # fmt: skip
"""What every Debian has, or comes with the others."""
WITHOUT_DISPLAY = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")


COUNT_HEAPS: Final = """
import ctypes, sys, threading
from app.__main__ import share_heaps

if sys.argv[2] == "shared":
    share_heaps()
meet, kept = threading.Barrier(13), []

def take():
    kept.append([bytes(2_000) for _ in range(50)])
    meet.wait()
    meet.wait()

threads = [threading.Thread(target=take) for _ in range(12)]
for thread in threads:
    thread.start()
meet.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
meet.wait()
"""
"""Twelve threads take some memory at once; then glibc tells, in a file, which heaps it has."""


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in WITHOUT_DISPLAY}
    return kept | {"PYTHONPATH": str(ROOT)} | more


@pytest.mark.parametrize("more", [{}, {"DISPLAY": ":987"}, {"WAYLAND_DISPLAY": "none"}], ids=str)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there always is a display")
def test_without_a_display_there_is_one_line_and_exit_code_2(more: dict[str, str]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "app"], env=environment(**more), capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert "no display" in result.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc gives each thread a heap of its own")
@pytest.mark.parametrize("how", ["alone", "shared"])
def test_threads_share_two_heaps(tmp_path: Path, how: str) -> None:
    told = tmp_path / "heaps.xml"
    subprocess.run([sys.executable, "-c", COUNT_HEAPS, str(told), how], env=environment(), check=True)
    heaps = told.read_text().count("<heap nr=")
    assert heaps <= 2 if how == "shared" else heaps > 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo", "--tokens", "5"], "from 200 to"),
        (["demo", "--tokens", "many"], "from 200 to"),
        (["nonsense"], "invalid choice"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr().err
    assert words in shown
    assert shown.count("\n") == 1


def test_missing_libraries_are_named_by_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    monkeypatch.setattr(display, "SYSTEM_LIBRARIES", {"libnothing.so.1": "libnothing1"})
    assert main([]) == 2
    assert capsys.readouterr().err.endswith("sudo apt install libnothing1\n")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere Qt brings all that it needs")
def test_every_library_of_the_system_that_qt_needs_is_looked_for() -> None:
    needed = {
        name.decode()
        for part in ("Core", "DBus", "Gui", "Network", "Svg", "Widgets", "XcbQpa")
        for name in re.findall(rb"(?<=\0)lib[\w+.-]+\.so\.\d+(?=\0)", (QT / f"libQt6{part}.so.6").read_bytes())
    }
    of_system = {name for name in needed if not (QT / name).exists()}
    assert of_system - BASE == set(display.SYSTEM_LIBRARIES | display.X11_LIBRARIES)


def test_the_window_is_shown_before_torch_is_imported() -> None:
    code = (
        "import sys; from PySide6.QtWidgets import QApplication; from app.application import Application; "
        "from app.engine_session import EngineSession; qt = QApplication([]); app = Application(qt, EngineSession()); "
        "app.window.show(); qt.processEvents(); print('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(QT_QPA_PLATFORM="offscreen"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "False\n", result.stderr


def test_the_app_and_the_command_line_keep_contexts_in_one_place() -> None:
    pytest.importorskip("torch", reason="the engine needs torch")
    from kiv_engine.shelf import default_shelf

    assert Folders.of_user().contexts == default_shelf()


def test_both_starters_know_the_commands_of_the_app() -> None:
    shell, batch = (ROOT / "kiv").read_text(), (ROOT / "kiv.bat").read_bytes()
    for_app = re.search(r"\n *(.*)\) module=app", shell)
    assert for_app
    assert re.findall(rb'"%~1"=="(.+)" (?:goto window|set "module=app")', batch) == for_app[1].encode().split(b" | ")
    assert batch.count(b"\n") == batch.count(b"\r\n"), "cmd.exe misses labels in files with bare line feeds"


def test_the_batch_file_takes_no_crash_for_a_success_and_no_name_for_a_command() -> None:
    batch = (ROOT / "kiv.bat").read_text()
    assert "if errorlevel" not in batch, "it is false for the negative codes of a crash"
    set_up = batch[batch.index("\n:is_set_up") :]
    assert "%root%" not in set_up, "an & in the folder's name, where no quotes are, begins another command"


def test_both_starters_take_a_first_word_with_a_dot_or_a_slash_for_a_file() -> None:
    shell, batch = (ROOT / "kiv").read_text(), (ROOT / "kiv.bat").read_bytes()
    signs = re.search(r"\*\[(.+)\]\*\) #", shell)
    assert signs
    assert b"".join(re.findall(rb'"%first%"=="%first:(.)=%" goto files', batch)) == signs[1].encode() + b"\\"
    assert re.search(rb":files\r\nstart .* -P -m app app %\*\r\n", batch)
    assert batch.index(b'"%first:~0,1%"=="-" goto command') < batch.index(b"goto files"), "an option may have a dot"


@pytest.mark.parametrize(
    ("given", "run"),
    [
        ("", "-P -m app"),
        ("book.txt ./notes", "-P -m app app book.txt ./notes"),
        ("/books/b", "-P -m app app /books/b"),
        ("demo --screenshot x.png", "-P -m app demo --screenshot x.png"),
        ("ask book.txt", "-P -m kiv_engine.cli ask book.txt"),
        ("--folder=./x", "-P -m kiv_engine.cli --folder=./x"),
        ("nonsense", "-P -m kiv_engine.cli nonsense"),
    ],
)
def test_the_starter_opens_files_and_passes_commands_on(tmp_path: Path, given: str, run: str) -> None:
    shutil.copy(ROOT / "kiv", tmp_path)
    (tmp_path / "packaging").mkdir()
    (tmp_path / "packaging" / "setup_venv.sh").write_text("set_up_venv() { python=echo; }\n")
    result = subprocess.run([tmp_path / "kiv", *given.split()], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == run


def test_without_a_console_an_error_becomes_a_box(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(display, "show_message", said.append)
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, None)
    assert main(["nonsense"]) == 2
    with sys.stdout:
        assert sys.stderr is sys.stdout
    assert len(said) == 1
    assert "invalid choice" in said[0]
