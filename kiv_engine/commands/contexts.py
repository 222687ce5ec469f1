"""`kiv contexts`: list, show, remove and verify saved contexts. Needs no model."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from kiv_engine.terminal import DONE, FAILED, Parser

if TYPE_CHECKING:
    from kiv_engine.saved_context import SavedContext


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command's options."""
    contexts = commands.add_parser("contexts", help="saved contexts: list, show, remove, verify", prog="kiv contexts")
    actions = contexts.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the saved contexts in a folder")
    listing.add_argument("folder", metavar="FOLDER", nargs="?", help="the app's own by default")
    for name, what in (
        ("show", "what a saved context holds"),
        ("remove", "delete a saved context"),
        ("verify", "compare every byte with its checksum; exit code 1 where something is damaged"),
    ):
        action = actions.add_parser(name, help=what)
        action.add_argument("folder", nargs="+", metavar="FOLDER")
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="print JSON instead of text")
    contexts.set_defaults(run=lambda options: ContextsCommand(options).run())


class ContextsCommand:
    """`kiv contexts`: list, show, remove and verify saved contexts, without a model."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    def run(self) -> int:
        """The whole command; returns the exit code."""
        if self._options.action == "list":
            return self._list(self._options.folder)
        action = {"show": self._show, "remove": self._remove, "verify": self._verify}[self._options.action]
        return max(action(folder) for folder in self._options.folder)

    def _print(self, report: dict[str, Any], line: str) -> None:
        print(json.dumps(report) if self._options.json else line)

    def _list(self, folder: str | None) -> int:
        from kiv_engine.errors import SavedContextError
        from kiv_engine.saved_context import SavedContext
        from kiv_engine.shelf import default_shelf

        shelf = default_shelf()
        folders = SavedContext.folders_in(folder or shelf) if folder or shelf.is_dir() else []
        for place in folders:
            try:
                saved = SavedContext.open(place)
            except SavedContextError as error:
                self._print({"folder": str(place), "sound": False, "reason": str(error)}, f"{place}: {error}")
            else:
                self._print(context_report(saved), context_line(saved))
        if not folders and not self._options.json:
            print(f"There is no saved context in {folder or shelf}.")
        return DONE

    def _show(self, folder: str) -> int:
        from kiv_engine.saved_context import SavedContext

        saved = SavedContext.open(folder)
        lines = [context_line(saved), *(f"  {name}" for name in saved.document_names)]
        lines += [f"  {part}: {value}" for part, value in sorted(vars(saved.config).items())]
        self._print(context_report(saved), "\n".join(lines))
        return DONE

    def _remove(self, folder: str) -> int:
        from kiv_engine.saved_context import SavedContext

        freed = SavedContext.remove(folder)
        self._print({"folder": folder, "removed_bytes": freed}, f"Removed {folder} ({freed / 1e6:,.1f} MB).")
        return DONE

    def _verify(self, folder: str) -> int:
        from kiv_engine.errors import DamagedContextError
        from kiv_engine.saved_context import SavedContext

        try:
            SavedContext.open(folder).verify()
        except DamagedContextError as error:
            self._print({"folder": folder, "sound": False, "reason": str(error)}, str(error))
            return FAILED
        self._print({"folder": folder, "sound": True}, f"{folder} is sound.")
        return DONE


def context_report(saved: "SavedContext") -> dict[str, Any]:
    """The JSON of one saved context."""
    return {
        "folder": str(saved.folder),
        "documents": saved.document_names,
        "tokens_read": saved.num_tokens,
        "tokens_total": saved.total_tokens,
        "complete": saved.complete,
        "bytes": saved.nbytes,
        "saved": saved.manifest["saved"],
    }


def context_line(saved: "SavedContext") -> str:
    """One saved context in one line."""
    state = "" if saved.complete else " (not read to its end)"
    return (
        f"{saved.folder}: {', '.join(saved.document_names)}; {saved.num_tokens:,} of {saved.total_tokens:,} tokens"
        f"{state}, {saved.nbytes / 1e6:,.1f} MB, {saved.manifest['saved'][:10]}"
    )
