"""The desktop entry: what is written, what takes it away, and names that need quoting."""

import shutil
import subprocess
from pathlib import Path

import pytest

from app import desktop_entry
from app.__main__ import main
from app.desktop_entry import LAUNCHER, entry_path, icon_path, install, quoted, remove


def test_install_and_remove(tmp_path: Path) -> None:
    files = install(tmp_path)
    assert files == [entry_path(tmp_path), icon_path(tmp_path)]
    lines = dict(line.split("=", 1) for line in files[0].read_text().splitlines() if "=" in line)
    assert lines["Exec"] == f'"{LAUNCHER}" app %F'
    assert lines["MimeType"] == "text/plain;text/markdown;"
    assert files[1].read_text().startswith("<svg")
    assert install(tmp_path) == files, "a second time is no harm"
    assert remove(tmp_path) == files
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".cache"] == []
    assert remove(tmp_path) == []


def test_the_entry_is_valid(tmp_path: Path) -> None:
    validator = shutil.which("desktop-file-validate")
    if validator is None:
        pytest.skip("desktop-file-validate is not installed")
    result = subprocess.run([validator, str(install(tmp_path)[0])], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/a b/kiv", '"/a b/kiv"'), ("/100%/kiv", '"/100%%/kiv"'), ('/a"$b/kiv', '"/a\\\\"\\\\$b/kiv"')],
)
def test_paths_are_quoted(path: str, expected: str) -> None:
    assert quoted(path) == expected


def test_the_command_tells_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(desktop_entry, "share_folder", lambda: tmp_path)
    assert main(["install"]) == 0
    assert capsys.readouterr().out == f"Wrote {entry_path(tmp_path)}\nWrote {icon_path(tmp_path)}\n"
    assert main(["install", "--remove"]) == 0
    assert main(["install", "--remove"]) == 0
    assert capsys.readouterr().out.endswith("Nothing was installed.\n")
    shutil.rmtree(tmp_path / "icons")
    (tmp_path / "icons").write_text("a file in its place")
    assert main(["install"]) == 2
    shown = capsys.readouterr().err
    assert "cannot be written" in shown
    assert shown.count("\n") == 1
