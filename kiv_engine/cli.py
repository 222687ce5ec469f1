"""The command line. Progress and messages go to stderr, answers to stdout.

Exit codes: 0 done, 1 failed while running, 2 bad input, 130 Ctrl-C.
"""

import argparse
import io
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO, get_args

from kiv_engine.config import KIVConfig, PositionMode, PrefillMode, SamplingConfig, StoreDtype
from kiv_engine.errors import CapacityError, ConfigError, EngineError
from kiv_engine.evaluation.options import add_commands as add_evaluation_commands
from kiv_engine.evaluation.progress import Note, Progress
from kiv_engine.events import (
    AnswerFinished,
    Downloaded,
    DownloadProgress,
    Failed,
    ParseProgress,
    Passage,
    ReadFinished,
    ReadProgress,
    TextDelta,
    TokenizeProgress,
)

if TYPE_CHECKING:
    from kiv_engine.context import Context
    from kiv_engine.document import Document
    from kiv_engine.documents.text_builder import ParsedText
    from kiv_engine.engine import Engine
    from kiv_engine.evaluation.commands import Outcome
    from kiv_engine.saving import SavedContext

DONE: Final = 0
FAILED: Final = 1
BAD_INPUT: Final = 2
INTERRUPTED: Final = 130

STANDARD_INPUT: Final = "standard input"
ARCHIVE_PREFIX: Final = "archive:"
ARCHIVE_TOKENS: Final = (200, 10_000_000)
BAR_WIDTH: Final = 24
PASSAGE_WIDTH: Final = 100


class BadInputError(Exception):
    """The command line asks for something impossible; one line, exit code 2."""


class Parser(argparse.ArgumentParser):
    """Reports a bad command line in one line, like every other bad input."""

    def error(self, message: str) -> NoReturn:
        raise BadInputError(f"{message}. See '{self.prog} --help'.")


def build_parser() -> Parser:
    """All commands and options."""
    parser = Parser(
        prog="kiv",
        description="Talk with a whole book in one context of a local model.",
        epilog="From the project's folder, ./kiv opens the app, ./kiv app FILE... with files, and ./kiv demo shows it.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    ask = commands.add_parser("ask", help="read documents and answer questions about them", prog="kiv ask")
    ask.add_argument(
        "documents", nargs="*", metavar="DOCUMENT",
        help="a file (text, PDF, DOCX, EPUB, HTML, XLSX ...), a folder or a zip file, '-' for standard input, or "
        "archive:N, the sample archive at N tokens",
    )  # fmt: skip
    ask.add_argument(
        "-q", "--question", action="append", default=[], metavar="QUESTION", help="may be given repeatedly"
    )
    ask.add_argument(
        "--model", default="demo", metavar="demo|ID|FOLDER", help="the built-in model, a hub id or a folder"
    )
    ask.add_argument("--quantize", default="none", choices=("none", "8bit", "4bit"))
    ask.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    ask.add_argument("--prefill", default="auto", choices=get_args(PrefillMode))
    ask.add_argument("--positions", default="auto", choices=get_args(PositionMode))
    defaults = KIVConfig()
    ask.add_argument(
        "--hot-tokens", type=whole_number, default=defaults.hot_tokens, metavar="N", help="tokens kept exact"
    )
    ask.add_argument(
        "--retrieved-tokens", default=defaults.retrieved_tokens, type=whole_number, metavar="N",
        help="old tokens fetched per step, layer and KV head",
    )  # fmt: skip
    ask.add_argument("--store", default="ram", metavar="ram|FOLDER", help="where old K/V are kept")
    ask.add_argument("--store-dtype", default="auto", choices=get_args(StoreDtype))
    ask.add_argument(
        "--save", metavar="FOLDER", help="keep what is read in a folder; found there again, it is not read"
    )
    ask.add_argument("--context", metavar="FOLDER", help="ask a saved context; no DOCUMENT is needed")
    ask.add_argument("--max-new-tokens", type=whole_number, default=256, metavar="N")
    ask.add_argument("--temperature", type=number, default=0.0, metavar="T", help="0 takes the likeliest token")
    ask.add_argument("--seed", type=whole_number, default=None, metavar="N", help="of the sampling")
    ask.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    add_contexts_parser(commands)
    doctor = commands.add_parser("doctor", help="what this PC has, and what it can run", prog="kiv doctor")
    doctor.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    fit = commands.add_parser("fit", help="how many tokens a model can hold on this PC", prog="kiv fit")
    fit.add_argument("model", metavar="demo|ID|FOLDER", help="nothing but the config of a hub id is downloaded")
    fit.add_argument(
        "--quantize", choices=("none", "8bit", "4bit"), help="of which times are told; the best by default"
    )
    fit.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    models = commands.add_parser(
        "models", help="models that KIV supports well, and what fits this PC", prog="kiv models"
    )
    models.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    actions = models.add_subparsers(dest="action", metavar="ACTION")
    get = actions.add_parser("get", help="download a model, or go on with a download", prog="kiv models get")
    get.add_argument("id", metavar="ID", help="its name on the HuggingFace hub")
    add_evaluation_commands(commands)
    return parser


def add_contexts_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """`kiv contexts`."""
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


def whole_number(text: str) -> int | str:
    """The number, or the text where it is none: the config knows the range, and says so of both."""
    try:
        return int(text)
    except ValueError:
        return text


def number(text: str) -> float | str:
    """Like `whole_number`, with fractions."""
    try:
        return float(text)
    except ValueError:
        return text


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = build_parser()
    try:
        make_streams_lenient()
        options = parser.parse_args(arguments)
        if options.command is None:
            parser.print_help()
            return DONE
        code = RUNNERS[options.command](options)
        sys.stdout.flush()  # here, where a closed pipe is caught
        return code
    except BadInputError as error:
        print_error(str(error))
        return BAD_INPUT
    except EngineError as error:
        print_error(str(error))
        return BAD_INPUT
    except KeyboardInterrupt:
        print_error("Stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone. What is still buffered goes nowhere, so that leaving is quiet, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # noqa: BLE001 - the last boundary: no traceback reaches a user
        print_error(f"{type(error).__name__}: {error}")
        return FAILED


def make_streams_lenient() -> None:
    """An answer may hold characters that the terminal's encoding lacks; they become question marks, not an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def print_error(message: str) -> None:
    """At most three lines on stderr."""
    lines = message.strip().splitlines()[:3]
    print("kiv: " + "\n".join(lines), file=sys.stderr)


class StopFlag:
    """Set by Ctrl-C while a request runs; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> bool:
        return self._event.is_set()

    def __enter__(self) -> "StopFlag":
        self._previous = signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(self, *_exception: object) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def _on_interrupt(self, _signal: int, _frame: object) -> None:
        if self._event.is_set():
            raise KeyboardInterrupt
        self._event.set()


class ProgressBar:
    """One line on stderr, redrawn in a terminal; elsewhere a line every ten seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._last = 0.0
        self._stage: type[object] = ParseProgress

    def show(self, event: ParseProgress | TokenizeProgress | ReadProgress | DownloadProgress) -> None:
        """Draw a progress event."""
        done = (isinstance(event, ReadProgress) and event.tokens_read >= event.tokens_total) or (
            isinstance(event, DownloadProgress) and event.bytes_done >= event.bytes_total
        )
        now = time.monotonic()
        if not self._last and isinstance(event, ParseProgress):
            self._last = now  # most files are open before anybody wonders
        if not self._live and not done and type(event) is self._stage and now - self._last < 10:
            return
        self._last, self._stage = now, type(event)
        self._stream.write(f"\r\x1b[K{self._line(event)}" if self._live else f"{self._line(event)}\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the line."""
        if self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    @staticmethod
    def _line(event: ParseProgress | TokenizeProgress | ReadProgress | DownloadProgress) -> str:
        if isinstance(event, ParseProgress):
            parsed = f": {event.done:,} of {event.total:,} {event.unit}" if event.total else ""
            return f"Opening {event.document}{parsed}"
        if isinstance(event, TokenizeProgress):
            return f"Tokenizing: {event.characters_done:,} of {event.characters_total:,} characters"
        eta = "" if event.eta_s is None else f"  {format_seconds(event.eta_s)} left"
        if isinstance(event, DownloadProgress):
            bar = draw_bar(event.bytes_done / max(event.bytes_total, 1))
            done, total = event.bytes_done / 1e6, event.bytes_total / 1e6
            return f"Downloading [{bar}] {done:,.1f} of {total:,.1f} MB  {event.bytes_per_s / 1e6:,.1f} MB/s{eta}"
        bar = draw_bar(event.tokens_read / max(event.tokens_total, 1))
        return (
            f"Reading [{bar}] {event.tokens_read:,} of {event.tokens_total:,} tokens  "
            f"{event.tokens_per_s:,.0f} tokens/s{eta}"
        )


def draw_bar(share: float) -> str:
    """Like `######......`."""
    return ("#" * round(share * BAR_WIDTH)).ljust(BAR_WIDTH, ".")


def format_seconds(seconds: float) -> str:
    """Like 1:05 or 12 s."""
    return f"{seconds:.0f} s" if seconds < 60 else f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"


def run_ask(options: argparse.Namespace) -> int:
    """`kiv ask`."""
    return AskCommand(options).run()


def run_doctor(options: argparse.Namespace) -> int:
    """`kiv doctor`: the PC and a verdict."""
    from kiv_engine import doctor
    from kiv_engine.hardware import inspect_hardware

    hardware = inspect_hardware(doctor.models_folder())
    if options.json:
        print(json.dumps(doctor.report(hardware)))
    else:
        print("\n".join(doctor.lines(hardware)))
    return DONE


def run_fit(options: argparse.Namespace) -> int:
    """`kiv fit`: how many tokens a model can hold here, and how fast it would be."""
    from kiv_engine import doctor, fit
    from kiv_engine.hardware import inspect_hardware
    from kiv_engine.loader import read_config

    shape = fit.ModelShape(read_config(options.model))
    room = fit.room_of(inspect_hardware(doctor.models_folder()))
    plans = fit.plan_stores(shape, room)
    best = options.quantize or fit.best_of(plans["model"])
    setting = fit.Setting(best, "cpu" if room.vram is None else "cuda")
    pace = None if plans["model"][best].missing else fit.pace(shape, setting, fit.measure_rates(shape, setting))
    if options.json:
        print(json.dumps(doctor.fit_report(options.model, plans, best, pace)))
    else:
        print("\n".join(doctor.fit_lines(options.model, plans, best, pace)))
    return DONE


def run_models(options: argparse.Namespace) -> int:
    """`kiv models`."""
    return get_model(options.id) if options.action == "get" else list_models(options)


def get_model(model_id: str) -> int:
    """`kiv models get`: download a model that is not here yet."""
    from kiv_engine.download import Download, find_downloaded, look_up

    if model_id == "demo":
        raise BadInputError("The model demo is built in; there is nothing to download.")
    folder = find_downloaded(model_id)
    if folder is not None:
        print(f"{model_id} is here already: {folder}")
        return DONE
    download = Download(look_up(model_id))
    size, missing = download.model.num_bytes, download.bytes_missing
    print(f"{model_id}: {size:,} bytes, {missing:,} of them to be downloaded.", file=sys.stderr)
    bar = ProgressBar(sys.stderr)
    with StopFlag() as stop:
        for event in download.run(stop):
            if isinstance(event, DownloadProgress):
                bar.show(event)
            else:
                bar.close()
                return after_download(model_id, event)
    raise AssertionError("a download ended without a terminal event")


def after_download(model_id: str, event: Downloaded) -> int:
    """Say where it is, or that a later download goes on."""
    if event.stopped:
        print_error(
            f"Stopped after {event.bytes_done:,} of {event.bytes_total:,} bytes; the same command goes on from there."
        )
        return INTERRUPTED
    print(f"{model_id} is here: {event.folder}")
    return DONE


def list_models(options: argparse.Namespace) -> int:
    """`kiv models`: the catalogue, and what fits here."""
    from kiv_engine import doctor, fit
    from kiv_engine.catalogue import read_catalogue
    from kiv_engine.hardware import inspect_hardware
    from kiv_engine.loader import config_of_shape

    room = fit.room_of(inspect_hardware(doctor.models_folder()))
    if not options.json:
        print(doctor.MODELS_HEADER)
    listed = []
    for entry in read_catalogue():
        shape = fit.ModelShape(config_of_shape(entry.shape))
        plans = fit.plan_stores(shape, room)
        listed.append(doctor.ListedModel.of(entry, shape, plans, fit.best_of(plans["model"])))
        if not options.json:
            print(listed[-1].line, flush=True)
    advice = doctor.recommendation(listed)
    print(json.dumps({"models": [each.report for each in listed], "advice": advice}) if options.json else f"\n{advice}")
    return DONE


def run_contexts(options: argparse.Namespace) -> int:
    """`kiv contexts`."""
    return ContextsCommand(options).run()


def run_evaluation(options: argparse.Namespace) -> int:
    """`kiv eval` and `kiv bench`."""
    return EvaluationCommand(options).run()


RUNNERS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "ask": run_ask,
    "contexts": run_contexts,
    "eval": run_evaluation,
    "bench": run_evaluation,
    "doctor": run_doctor,
    "fit": run_fit,
    "models": run_models,
}


class AskCommand:
    """`kiv ask`: reads the documents, asks every question in one context, and reports."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._answers: list[dict[str, Any]] = []
        self._questions = [str(question) for question in options.question]
        self._parsed: dict[str, ParsedText] = {}

    def run(self) -> int:
        """The whole command; returns the exit code."""
        try:
            config, sampling = self._configs()
        except ConfigError as error:
            raise BadInputError(with_option_names(str(error), self._options)) from error
        if not self._questions:
            raise BadInputError("There is no question; give one with -q.")
        for question in self._questions:
            check_question(question)
        self._check_documents()
        self._check_folders(config)
        self._open_files()
        engine = self._load()
        documents = [self._document(name, engine) for name in self._options.documents]
        context, documents = self._make_context(engine, config, documents)
        try:
            with StopFlag() as stop:
                return self._converse(context, documents, sampling, stop)
        finally:
            context.close()

    def _make_context(
        self, engine: "Engine", config: KIVConfig, documents: "list[Document]"
    ) -> "tuple[Context, list[Document]]":
        """A new context or a saved one, and the documents that it lacks."""
        from kiv_engine.saving import SavedContext

        folder = self._options.context or self._options.save
        if self._options.context or (folder and SavedContext.exists(folder)):
            saved = SavedContext.open(folder)
            if documents and not saved.holds(documents):
                raise BadInputError(
                    f"{folder} holds {', '.join(saved.document_names)}, or another version of it; "
                    "choose another folder, or remove it with 'kiv contexts remove'."
                )
            context = engine.open_context(folder, retrieved_tokens=config.retrieved_tokens)
            print(f"Opened {context.num_tokens:,} of {saved.total_tokens:,} tokens from {folder}.", file=sys.stderr)
            return context, []
        context = engine.new_context(config)
        try:
            if folder:
                context.save(folder)
        except BaseException:
            context.close()
            raise
        return context, documents

    def _check_folders(self, config: KIVConfig) -> None:
        """What contradicts --save and --context."""
        options = self._options
        if options.context and options.save:
            raise BadInputError("--context and --save exclude each other; give one of them.")
        if options.context and options.documents:
            raise BadInputError("--context asks what was saved, so it takes no DOCUMENT; leave one of the two out.")
        if options.save and not options.documents:
            raise BadInputError("--save keeps what is read; name a DOCUMENT.")
        if options.context and config.store_folder is not None:
            raise BadInputError("--store is for reading; a saved context is mapped as it is. Leave it out.")
        if options.context:
            defaults = KIVConfig()
            for name in ("hot_tokens", "prefill", "positions", "store_dtype"):
                if getattr(config, name) != getattr(defaults, name):
                    option = "--" + name.replace("_", "-")
                    raise BadInputError(f"{option} was settled when {options.context} was saved; leave it out.")

    def _configs(self) -> tuple[KIVConfig, SamplingConfig]:
        options = self._options
        config = KIVConfig(
            hot_tokens=options.hot_tokens,
            retrieved_tokens=options.retrieved_tokens,
            prefill=options.prefill,
            positions=options.positions,
            store=options.store,
            store_dtype=options.store_dtype,
        )
        sampling = SamplingConfig(
            temperature=options.temperature, max_new_tokens=options.max_new_tokens, seed=options.seed
        )
        return config, sampling

    def _check_documents(self) -> None:
        """What can be told before a model is loaded."""
        names = self._options.documents
        if names.count("-") > 1:
            raise BadInputError("'-' stands twice among the documents; standard input can be read once.")
        if "-" in names and (sys.stdin is None or sys.stdin.isatty()):
            raise BadInputError("'-' reads standard input, but nothing is piped into it; pipe a text or name a file.")
        for name in names:
            if not name:
                raise BadInputError("The name of a document is empty; give a file, a folder, or '-'.")
            if name.startswith(ARCHIVE_PREFIX):
                archive_tokens(name)

    def _open_files(self) -> None:
        """Parse the documents that need no model, and tell what is to be known of them."""
        for name in self._options.documents:
            if name not in self._parsed and not name.startswith(ARCHIVE_PREFIX):
                self._parsed[name] = read_standard_input() if name == "-" else open_file(Path(name))
                for note in self._parsed[name].notes:
                    print(f"{name}: {note}", file=sys.stderr)

    def _load(self) -> "Engine":
        """The model, after its download where it is not here yet."""
        from kiv_engine.engine import Engine  # torch: only once all that is asked for is known to be sound

        bar = ProgressBar(sys.stderr)
        engine = Engine.load(
            self._options.model, quantize=self._options.quantize, device=self._options.device, on_download=bar.show
        )
        bar.close()
        return engine

    def _document(self, name: str, engine: "Engine") -> "Document":
        from kiv_engine.document import Document

        if name.startswith(ARCHIVE_PREFIX):
            return sample_archive(name, engine)
        title = STANDARD_INPUT if name == "-" else Path(name).resolve().name
        return Document.from_parsed(title, self._parsed[name])

    def _converse(
        self, context: "Context", documents: "list[Document]", sampling: SamplingConfig, stop: StopFlag
    ) -> int:
        read = self._read(context, documents, stop) if documents or context.unread_tokens else None
        if isinstance(read, int):
            return read
        for question in self._questions:
            code = self._ask(context, question, sampling, stop)
            if code != DONE and not (code == INTERRUPTED and self._options.json):
                return code
            if code == INTERRUPTED:
                break
        if self._options.json:
            print(json.dumps(self._report(context, read)))  # ASCII: fits any terminal's encoding
        return INTERRUPTED if stop() else DONE

    def _read(self, context: "Context", documents: "list[Document]", stop: StopFlag) -> ReadFinished | int:
        """Read everything; the terminal event, or an exit code."""
        bar = ProgressBar(sys.stderr)
        for event in context.read(*documents, should_stop=stop):
            if isinstance(event, TokenizeProgress | ReadProgress):
                bar.show(event)
            elif isinstance(event, Failed):
                bar.close()
                return report_failure(event)
            else:
                bar.close()
                return self._after_reading(event)
        raise AssertionError("reading ended without a terminal event")

    @staticmethod
    def _after_reading(event: ReadFinished) -> ReadFinished | int:
        if event.stopped:
            print_error(f"Stopped after {event.tokens_read:,} of {event.tokens_total:,} tokens.")
            return INTERRUPTED
        rate = event.tokens_read / event.seconds if event.seconds > 0 else 0
        print(
            f"Read {event.tokens_read:,} of {event.tokens_total:,} tokens in {format_seconds(event.seconds)} "
            f"({rate:,.0f} tokens/s), prefill {event.prefill_mode}: {event.prefill_reason}.",
            file=sys.stderr,
        )
        if event.not_saved:
            print_error(f"Not saved: {event.not_saved}")
        return event

    def _ask(self, context: "Context", question: str, sampling: SamplingConfig, stop: StopFlag) -> int:
        out = None if self._options.json else sys.stdout
        if out is not None and len(self._questions) > 1:
            out.write(f"> {question}\n")
        for event in context.ask(question, sampling, should_stop=stop):
            if isinstance(event, TextDelta) and out is not None:
                out.write(event.text)
                out.flush()
            elif isinstance(event, Failed):
                return report_failure(event)
            elif isinstance(event, AnswerFinished):
                self._answers.append(answer_report(question, event))
                if out is not None:
                    write_answer_footer(out, event)
                return INTERRUPTED if event.finish_reason == "cancelled" else DONE
        raise AssertionError("the answer ended without a terminal event")

    def _report(self, context: "Context", read: ReadFinished | None) -> dict[str, Any]:
        memory = context.memory()
        report: dict[str, Any] = {
            "document_tokens": context.document_tokens,
            "prompt_tokens": self._answers[0]["prompt_tokens"] if self._answers else context.num_tokens,
            "prefill_mode": read.prefill_mode if read else None,
            "prefill_s": round(read.seconds, 3) if read else 0.0,
            "prefill_tokens_per_s": round(read.tokens_read / read.seconds, 1) if read and read.seconds else 0.0,
            "memory": {part: getattr(memory, part) for part in ("weights", "hot", "index", "cold_keys", "cold_values")},
            "answers": self._answers,
        }
        if self._answers:
            report |= {key: value for key, value in self._answers[0].items() if key not in report}
        return report


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
        from kiv_engine.saving import SavedContext
        from kiv_engine.shelf import Shelf, default_shelf

        shelf = default_shelf()
        found = SavedContext.all_in(folder) if folder else Shelf(shelf).saved()
        for saved in found:
            self._print(context_report(saved), context_line(saved))
        if not found and not self._options.json:
            print(f"There is no saved context in {folder or shelf}.")
        return DONE

    def _show(self, folder: str) -> int:
        from kiv_engine.saving import SavedContext

        saved = SavedContext.open(folder)
        lines = [context_line(saved), *(f"  {name}" for name in saved.document_names)]
        lines += [f"  {part}: {value}" for part, value in sorted(vars(saved.config).items())]
        self._print(context_report(saved), "\n".join(lines))
        return DONE

    def _remove(self, folder: str) -> int:
        from kiv_engine.saving import SavedContext

        freed = SavedContext.remove(folder)
        self._print({"folder": folder, "removed_bytes": freed}, f"Removed {folder} ({freed / 1e6:,.1f} MB).")
        return DONE

    def _verify(self, folder: str) -> int:
        from kiv_engine.errors import DamagedContextError
        from kiv_engine.saving import SavedContext

        try:
            SavedContext.open(folder).verify()
        except DamagedContextError as error:
            self._print({"folder": folder, "sound": False, "reason": str(error)}, str(error))
            return FAILED
        self._print({"folder": folder, "sound": True}, f"{folder} is sound.")
        return DONE


class EvaluationCommand:
    """`kiv eval` and `kiv bench`: progress on stderr, then a table, and one JSON line last."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    def run(self) -> int:
        """The whole command; returns the exit code."""
        from kiv_engine.evaluation.commands import run

        line = StatusLine(sys.stderr)
        outcome: Outcome
        with StopFlag() as stop:
            steps = run(self._options, stop)
            try:
                while True:
                    line.show(next(steps))
            except StopIteration as finished:
                outcome = finished.value
            finally:
                line.close()
        if not self._options.json:
            print(outcome.table)
        print(json.dumps(outcome.line))
        return INTERRUPTED if outcome.stopped else DONE


class StatusLine:
    """Progress of a long run: one line, redrawn in a terminal; elsewhere a line every ten seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._last = -math.inf

    def show(self, event: Progress | Note) -> None:
        """Draw an event."""
        if isinstance(event, Note):
            self.close()
            self._stream.write(f"{event.text}\n")
            return
        now = time.monotonic()
        if now - self._last < (0.1 if self._live else 10):
            return
        self._last = now
        eta = "" if event.eta_s is None else f"  {format_seconds(event.eta_s)} left"
        bar = ("#" * round(event.share * BAR_WIDTH)).ljust(BAR_WIDTH, ".")
        line = f"[{bar}] {event.share * 100:3.0f} %{eta}  {event.label}"
        self._stream.write(f"\r\x1b[K{line}" if self._live else f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the line."""
        if self._live:
            self._stream.write("\r\x1b[K")
        self._stream.flush()


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


def open_file(path: Path, name: str | None = None) -> "ParsedText":
    """A file as text, with a progress bar. Raises DocumentError."""
    from kiv_engine.documents.opening import open_document

    bar = ProgressBar(sys.stderr)
    steps = open_document(path, name=name)
    try:
        while True:
            bar.show(next(steps))
    except StopIteration as stop:
        parsed: ParsedText = stop.value
        return parsed
    finally:
        steps.close()
        bar.close()


def read_standard_input() -> "ParsedText":
    """What is piped in, whatever kind of file it is; parsers read files, so it becomes one for a moment."""
    with tempfile.TemporaryDirectory(prefix="kiv-") as folder:
        path = Path(folder, STANDARD_INPUT)
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        return open_file(path, STANDARD_INPUT)


def sample_archive(name: str, engine: "Engine") -> "Document":
    """The document that archive:N stands for."""
    from kiv_engine.archive import write_archive
    from kiv_engine.document import Document

    return Document(name, write_archive(archive_tokens(name), engine.count_tokens).text)


def archive_tokens(name: str) -> int:
    """N of archive:N."""
    text = name.removeprefix(ARCHIVE_PREFIX).replace("_", "").replace(",", "")
    low, high = ARCHIVE_TOKENS
    if not text.isascii() or not text.isdigit() or len(text) > 12 or not low <= int(text) <= high:
        raise BadInputError(f"{name}: give the archive's length in tokens, {low:,} to {high:,}, like archive:100000.")
    return int(text)


def with_option_names(message: str, options: argparse.Namespace) -> str:
    """A message that begins with the name of a setting, with that of its option instead."""
    name, _, rest = message.partition(" ")
    return f"--{name.replace('_', '-')} {rest}" if name in vars(options) else message


def check_question(question: str) -> None:
    """Raise BadInputError unless there is something to ask."""
    if not question.strip():
        raise BadInputError("A question is empty; give its text after -q.")
    if not question.isascii() and any("\ud800" <= letter <= "\udfff" for letter in question):
        raise BadInputError("A question is not valid UTF-8; check the terminal's encoding.")


def report_failure(event: Failed) -> int:
    """Print what went wrong; bad input and running failures have their own exit codes."""
    print_error(event.message)
    return BAD_INPUT if isinstance(event.error, ConfigError | CapacityError) else FAILED


def answer_report(question: str, event: AnswerFinished) -> dict[str, Any]:
    """The JSON of one answer."""
    return {
        "question": question,
        "answer": event.text,
        "finish_reason": event.finish_reason,
        "prompt_tokens": event.prompt_tokens,
        "reused_tokens": event.reused_tokens,
        "answer_tokens": event.answer_tokens,
        "first_token_s": round(event.first_token_s, 4),
        "decode_tokens_per_s": round(event.decode_tokens_per_s, 2),
        "passages": [passage_report(passage) for passage in event.passages],
    }


def passage_report(passage: Passage) -> dict[str, Any]:
    """The JSON of one passage."""
    names = ("document", "page", "section", "row", "line", "start", "end", "weight", "text")
    report = {name: getattr(passage, name) for name in names}
    return report | {"weight": round(passage.weight, 4)}


def write_answer_footer(out: TextIO, event: AnswerFinished) -> None:
    """The passages and one line of figures below an answer."""
    out.write("\n\n")
    if event.passages:
        out.write("Passages retrieved while writing this answer:\n")
        out.writelines(passage_lines(event.passages))
    read = event.prompt_tokens - event.reused_tokens
    out.write(
        f"[{event.finish_reason}; {event.answer_tokens} tokens, {event.decode_tokens_per_s:.1f} tokens/s, first after "
        f"{event.first_token_s:.2f} s; reused {event.reused_tokens:,}, read {read:,}]\n"
    )
    out.flush()


def passage_lines(passages: Iterable[Passage]) -> Iterator[str]:
    """Like `  62 %  archive:4096 at 1,204: By the way, ...`."""
    for passage in passages:
        text = " ".join(passage.text.split())
        place = f", {passage.place}" if passage.place else f" at {passage.start:,}"
        short = text if len(text) <= PASSAGE_WIDTH else text[: PASSAGE_WIDTH - 1] + "…"
        yield f"{passage.weight * 100:4.0f} %  {passage.document}{place}: {short}\n"


if __name__ == "__main__":
    sys.exit(main())
