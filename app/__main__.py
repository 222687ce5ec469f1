"""`kiv`, `kiv app FILE...`, `kiv demo`, `kiv screenshots` and `kiv install`.

Exit codes: 0 done, 1 failed while running, 2 bad input or no display.
"""

import argparse
import contextlib
import ctypes
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from app import display
from kiv_engine.terminal import BAD_INPUT, DONE, BadInputError, Parser, archive_tokens, print_error

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from app.application import Application
    from app.folders import Folders

    Begin = Callable[[QApplication, Application, argparse.Namespace], None]

SWITCH_S: Final = 0.0005
"""So long a thread may keep Python's lock while another one waits for it. Every call of Qt gives it up, so a handler
of the window waits for the engine many times; 5 ms each, as Python has it, would be felt."""
M_ARENA_MAX: Final = -8
HEAPS: Final = 2
"""glibc, left alone, gives each thread a heap of its own, up to eight for each core. What one thread frees, no other
takes: so the app grew as long as one asked, though it held no more."""


def build_parser() -> Parser:
    """All commands and their options."""
    parser = Parser(prog="kiv", description="The desktop app.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    window = commands.add_parser("app", help="open the app, with files if any are named", prog="kiv app")
    window.add_argument("files", nargs="*", type=Path, metavar="FILE", help="a document of any kind, or a folder")
    demo = commands.add_parser("demo", help="the sample archive read and one question asked", prog="kiv demo")
    demo.add_argument("--tokens", type=archive_length, default=100_000, metavar="N", help="length of the archive")
    demo.add_argument("--screenshot", type=Path, metavar="FILE.png", help="write a picture of the window, then leave")
    demo.add_argument("--question", metavar="Q", help="what to ask")
    shots = commands.add_parser("screenshots", help="pictures of every state, in both themes", prog="kiv screenshots")
    shots.add_argument("folder", type=Path, metavar="FOLDER", help="where the pictures go")
    shots.add_argument("--only", metavar="STATE", help="the pictures of one state: answered, settings, ...")
    shots.add_argument("--tokens", type=archive_length, default=100_000, metavar="N", help="length of the archive")
    install = commands.add_parser("install", help="a desktop entry, to start by double click", prog="kiv install")
    install.add_argument("--remove", action="store_true", help="take it away again")
    for command in (window, demo):
        command.add_argument("--theme", choices=("system", "light", "dark"), help="colours, this once")
    return parser


def archive_length(text: str) -> int:
    """A length that the archive can have."""
    try:
        return archive_tokens(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app or the demo; the exit code."""
    has_console = sys.stderr is not None  # not under pythonw, with which kiv.bat opens the window
    if not has_console:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    logging.basicConfig(level=logging.WARNING, format="kiv: %(name)s: %(message)s")
    try:
        given = sys.argv[1:] if arguments is None else list(arguments)
        options = build_parser().parse_args(given or ["app"])
        if options.command == "install":
            return change_desktop_entry(remove=options.remove)
        check_display(may_be_offscreen=options.command in ("demo", "screenshots"))
        return run(options)
    except BadInputError as error:
        print_error(str(error))
        if not has_console:
            display.show_message(str(error))
        return BAD_INPUT


def change_desktop_entry(*, remove: bool) -> int:
    """Put the desktop entry in place, or take it away, and say which files that were."""
    from app import desktop_entry

    try:
        files = desktop_entry.remove() if remove else desktop_entry.install()
    except desktop_entry.CannotInstallError as error:
        raise BadInputError(str(error)) from error
    for file in files:
        print(f"{'Removed' if remove else 'Wrote'} {file}")
    if not files:
        print("Nothing was installed.")
    return DONE


def check_display(*, may_be_offscreen: bool) -> None:
    """Raise unless Qt can start; without a display the demo and the pictures run offscreen."""
    if find_spec("PySide6") is None:
        raise BadInputError("The app's libraries are missing; start it with ./kiv, which installs them.")
    there = display.has_display()
    if not there and not may_be_offscreen:
        raise BadInputError(
            "There is no display to show the window on. In a terminal, use 'kiv ask' or 'kiv demo --screenshot x.png'."
        )
    if packages := display.missing_packages(offscreen=not there):
        raise BadInputError(f"Libraries are missing. On Debian and Ubuntu: sudo apt install {' '.join(packages)}")
    if not there:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"


def share_heaps() -> None:
    """Let all threads take memory from the same few heaps. Only glibc has others."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # TypeError: Windows has no library without a name
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, HEAPS)


def run(
    options: argparse.Namespace,
    folders: "Folders | None" = None,
    name: str | None = None,
    begin_with: "Begin | None" = None,
) -> int:
    """Build the app, run it until it is closed, and take it apart.

    Benchmarks give it folders, a name for its server and a beginning of their own.
    """
    from PySide6.QtCore import qInstallMessageHandler
    from PySide6.QtWidgets import QApplication

    from app.application import Application
    from app.engine_session import EngineSession
    from app.folders import Folders
    from app.single_instance import listen_or_hand_over, server_name
    from app.views.theme import THEMES

    sys.setswitchinterval(SWITCH_S)
    share_heaps()
    qInstallMessageHandler(log_qt_message)
    qt = QApplication(["kiv"])
    qt.setApplicationName("kiv")
    qt.setApplicationDisplayName("KIV Desktop")
    server = None
    folders = folders or Folders.of_user() if options.command == "app" else None
    if options.command == "app":
        server = listen_or_hand_over(options.files, name or server_name())
        if server is None:
            return DONE
    application = Application(qt, EngineSession(folders.contexts if folders else None), folders)
    if getattr(options, "theme", None) is not None:
        application.theme.choose(THEMES.get(options.theme))
    if server is not None:
        server.files_handed_over.connect(application.on_files_handed_over)
        application.closing.connect(server.close)
    sys.excepthook = application.tell_uncaught
    (begin_with or begin)(qt, application, options)
    code = qt.exec()
    application.close()
    return code


def begin(qt: "QApplication", application: "Application", options: argparse.Namespace) -> None:
    """Start what the command is about."""
    if options.command == "demo":
        start_demo(qt, application, options)
    elif options.command == "screenshots":
        from app.screenshots import Photographer

        Photographer(qt, application, options.folder, options.tokens, options.only).start()
    else:
        application.start(options.files)
        if not options.files:
            application.welcome()


def log_qt_message(_kind: object, _context: object, text: str) -> None:
    """Qt's messages go where all others do; what the offscreen platform cannot do is no news."""
    if "This plugin does not support" not in text:
        logging.getLogger("qt").warning("%s", text)


def start_demo(qt: "QApplication", application: "Application", options: argparse.Namespace) -> None:
    """Let the demo drive the app."""
    from app.demo import QUESTION, Demo, DemoOptions

    stays = options.screenshot is None and qt.platformName() != "offscreen"
    wishes = DemoOptions(options.tokens, options.question or QUESTION, options.screenshot, stays)
    Demo(qt, application, wishes).start()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking torch apart lasts a second, and the engine's thread may be stuck in an import
