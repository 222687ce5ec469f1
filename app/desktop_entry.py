"""`kiv install`: a desktop entry and an icon, so that the app starts by double click and opens text files (Linux)."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import platformdirs

from app.resources import FOLDER

ENTRY_NAME: Final = "kiv-desktop.desktop"
ICON_NAME: Final = "kiv-desktop"
TYPES: Final = ("text/plain", "text/markdown")
LAUNCHER: Final = FOLDER.parent / "kiv"
ICON: Final = FOLDER / "icons" / "kiv.svg"

ENTRY: Final = """[Desktop Entry]
Type=Application
Version=1.5
Name=KIV Desktop
GenericName=Chat with long documents
Comment=Let a model on this PC read a whole book, and ask about it
Exec={command} app %F
Icon={icon}
Terminal=false
Categories=Office;Utility;
Keywords=chat;document;book;language model;
MimeType={types};
StartupWMClass=kiv
"""


class CannotInstallError(Exception):
    """The message says why, in one sentence."""


def entry_path(share: Path) -> Path:
    """Where the desktop entry is, below the user's folder for shared data."""
    return share / "applications" / ENTRY_NAME


def icon_path(share: Path) -> Path:
    """Where the icon is."""
    return share / "icons" / "hicolor" / "scalable" / "apps" / f"{ICON_NAME}.svg"


def install(share: Path | None = None) -> list[Path]:
    """Put the entry and the icon in place; the files that were written. Raises CannotInstallError."""
    share = share or share_folder()
    if not LAUNCHER.is_file():
        raise CannotInstallError(f"There is no {LAUNCHER}; install from the project's folder.")
    entry, icon = entry_path(share), icon_path(share)
    try:
        for path in (entry, icon):
            path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ICON, icon)
        text = ENTRY.format(command=quoted(str(LAUNCHER)), icon=ICON_NAME, types=";".join(TYPES))
        entry.write_text(text, encoding="utf-8")
        entry.chmod(0o755)
    except OSError as error:
        raise CannotInstallError(f"{error.filename} cannot be written: {error.strerror}.") from error
    refresh(share)
    return [entry, icon]


def remove(share: Path | None = None) -> list[Path]:
    """Take both away; the files that were there. Raises CannotInstallError."""
    share = share or share_folder()
    there = [path for path in (entry_path(share), icon_path(share)) if path.exists()]
    try:
        for path in there:
            path.unlink()
    except OSError as error:
        raise CannotInstallError(f"{error.filename} cannot be removed: {error.strerror}.") from error
    refresh(share)
    return there


def share_folder() -> Path:
    """The user's folder for shared data. Raises CannotInstallError outside Linux."""
    if not sys.platform.startswith("linux"):
        raise CannotInstallError("Desktop entries are for Linux; on Windows, start kiv.bat by double click.")
    return Path(platformdirs.user_data_path())


def quoted(command: str) -> str:
    """A program's path as the Exec key wants it: in quotes, with reserved characters escaped, % doubled."""
    for mark in ("\\", '"', "`", "$"):
        command = command.replace(mark, "\\" + mark)
    return '"' + command.replace("\\", "\\\\").replace("%", "%%") + '"'


def refresh(share: Path) -> None:
    """Tell the desktop, where it has a program to be told with."""
    if program := shutil.which("update-desktop-database"):
        subprocess.run([program, str(share / "applications")], check=False, capture_output=True)
