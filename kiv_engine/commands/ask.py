"""`kiv ask`: read documents, or open a saved context, and answer questions about them."""

import argparse
import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, get_args

from kiv_engine.catalogue import model_name
from kiv_engine.config import (
    QUANTIZE_KINDS,
    KIVConfig,
    PositionMode,
    PrefillMode,
    SamplingConfig,
    StoreDtype,
    require_whole,
)
from kiv_engine.errors import CapacityError, ConfigError, OutOfMemoryError, StoppedError
from kiv_engine.events import (
    AnswerFinished,
    Failed,
    Passage,
    ReadFinished,
    ReadProgress,
    SmallerPlan,
    TextDelta,
    TokenizeProgress,
)
from kiv_engine.terminal import (
    BAD_INPUT,
    DONE,
    FAILED,
    INTERRUPTED,
    BadInputError,
    Parser,
    ProgressBar,
    StopFlag,
    archive_tokens,
    format_seconds,
    print_error,
)

if TYPE_CHECKING:
    from kiv_engine.context import Context
    from kiv_engine.document import Document
    from kiv_engine.documents.text_builder import ParsedText
    from kiv_engine.engine import Engine
    from kiv_engine.loader import LoadOptions
    from kiv_engine.saved_context import SavedContext

STANDARD_INPUT: Final = "standard input"
ARCHIVE_PREFIX: Final = "archive:"
PASSAGE_WIDTH: Final = 100
SETTLED: Final = ("hot_tokens", "prefill", "positions", "store_dtype")
"""Settings that a saved context was read with, for good."""


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command's options."""
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
        "--model",
        type=model_name,
        default="demo",
        metavar="demo|ID|FOLDER",
        help="the built-in model, a hub id or a folder",
    )
    ask.add_argument("--quantize", default="none", choices=QUANTIZE_KINDS)
    ask.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    ask.add_argument("--prefill", default="auto", choices=get_args(PrefillMode))
    ask.add_argument("--positions", default="auto", choices=get_args(PositionMode))
    defaults = KIVConfig()
    ask.add_argument(
        "--hot-tokens", type=whole_number, default=defaults.hot_tokens, metavar="N", help="tokens kept exact"
    )
    ask.add_argument(
        "--retrieved-tokens", type=whole_number, metavar="N",
        help=f"old tokens fetched per step, layer and KV head; {defaults.retrieved_tokens}, or as they were saved",
    )  # fmt: skip
    ask.add_argument("--store", default="ram", metavar="ram|FOLDER", help="where old K/V are kept")
    ask.add_argument("--store-dtype", default="auto", choices=get_args(StoreDtype))
    ask.add_argument(
        "--save", metavar="FOLDER", help="keep what is read in a folder; found there again, it is not read"
    )
    ask.add_argument(
        "--context", metavar="FOLDER",
        help="ask a saved context; no DOCUMENT is needed. With documents that grew, and --save ANOTHER, only what "
        "is new is read",
    )  # fmt: skip
    ask.add_argument(
        "--first", type=whole_number, metavar="N",
        help="read only the first N tokens; the rest of the documents is left unread",
    )  # fmt: skip
    ask.add_argument("--max-new-tokens", type=whole_number, default=256, metavar="N")
    ask.add_argument("--temperature", type=number, default=0.0, metavar="T", help="0 takes the likeliest token")
    ask.add_argument("--seed", type=whole_number, default=None, metavar="N", help="of the sampling")
    ask.add_argument("--anyway", action="store_true", help="try it although it is predicted not to fit into memory")
    ask.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    ask.set_defaults(run=lambda options: AskCommand(options).run())


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


class AskCommand:
    """`kiv ask`: reads the documents, asks every question in one context, and reports."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._engine: Engine | None = None
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
        engine = self._engine = self._load()
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
        from kiv_engine.saved_context import SavedContext

        folder = self._options.save or self._options.context
        if self._options.context and documents and not SavedContext.exists(folder):
            return self._go_on_from(SavedContext.open(self._options.context), engine, config, documents), []
        if self._options.context or (folder and SavedContext.exists(folder)):
            saved = SavedContext.open(folder)
            self._check_first(saved)
            if documents:
                self._require_same(saved, saved.config if self._options.context else config, documents)
            context = engine.open_context(folder, retrieved_tokens=self._options.retrieved_tokens, store=config.store)
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

    def _go_on_from(
        self, saved: "SavedContext", engine: "Engine", config: KIVConfig, documents: "list[Document]"
    ) -> "Context":
        """What is saved of documents as they were before they grew, to be kept in another folder."""
        self._check_first(saved)
        if not saved.complete:
            raise BadInputError(
                f"{saved.folder} was not read to its end; read on with --context alone, or leave it out."
            )
        if not saved.begins(documents):
            names = ", ".join(saved.document_names)
            raise BadInputError(f"{saved.folder} holds {names}, which these documents do not begin with; leave it out.")
        target, retrieved = self._options.save, self._options.retrieved_tokens
        context = engine.grow_context(saved.folder, documents, target, retrieved_tokens=retrieved, store=config.store)
        print(f"Went on from {context.num_tokens:,} tokens in {saved.folder}.", file=sys.stderr)
        return context

    def _check_first(self, saved: "SavedContext") -> None:
        """What is read already cannot be left out any more."""
        if self._options.first is not None and saved.num_tokens > self._options.first:
            raise BadInputError(
                f"--first {self._options.first}: of what {saved.folder} holds, {saved.num_tokens:,} tokens are read "
                "already; leave it out."
            )

    @staticmethod
    def _require_same(saved: "SavedContext", config: KIVConfig, documents: "list[Document]") -> None:
        """Refuse to take what is saved for something else that is asked for."""
        another = "choose another folder, or remove it with 'kiv contexts remove'."
        if not saved.holds(documents):
            if saved.complete and saved.begins(documents):
                raise BadInputError(
                    f"{saved.folder} holds the beginning of that; read on with --context {saved.folder} --save ANOTHER."
                )
            names = ", ".join(saved.document_names)
            raise BadInputError(f"{saved.folder} holds {names}, or another version of it; {another}")
        for name in SETTLED:
            if getattr(config, name) != getattr(saved.config, name):
                value = getattr(saved.config, name)
                raise BadInputError(f"{saved.folder} was read with {option_name(name)} {value}; {another}")

    def _check_folders(self, config: KIVConfig) -> None:
        """What contradicts --save and --context."""
        options = self._options
        if options.context and options.save and not options.documents:
            raise BadInputError("--context with --save reads documents that grew; name them, or leave --save out.")
        if options.context and options.documents and not options.save:
            raise BadInputError(
                "--context asks what was saved, so it takes no DOCUMENT; leave one of the two out, or, where the "
                "document grew, name another folder with --save."
            )
        if options.first is not None and not options.documents and not options.context:
            raise BadInputError("--first is for reading; name a DOCUMENT.")
        if options.save and not options.documents:
            raise BadInputError("--save keeps what is read; name a DOCUMENT.")
        if options.context and config.store_folder is not None and not options.documents:
            raise BadInputError("--store is for reading; a saved context is mapped as it is. Leave it out.")
        if options.context:
            defaults = KIVConfig()
            for name in SETTLED:
                if getattr(config, name) != getattr(defaults, name):
                    raise BadInputError(
                        f"{option_name(name)} was settled when {options.context} was saved; leave it out."
                    )

    def _configs(self) -> tuple[KIVConfig, SamplingConfig]:
        options = self._options
        config = KIVConfig(
            hot_tokens=options.hot_tokens,
            retrieved_tokens=KIVConfig.retrieved_tokens
            if options.retrieved_tokens is None
            else options.retrieved_tokens,
            prefill=options.prefill,
            positions=options.positions,
            store=options.store,
            store_dtype=options.store_dtype,
        )
        sampling = SamplingConfig(
            temperature=options.temperature, max_new_tokens=options.max_new_tokens, seed=options.seed
        )
        if options.first is not None:
            require_whole("first", options.first, 1, 2**31 - 1)
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
                try:
                    archive_tokens(name.removeprefix(ARCHIVE_PREFIX))
                except ValueError as error:
                    raise BadInputError(f"{name}: {error}; give one like archive:100000.") from None

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
        options = self._options
        with StopFlag() as stop:
            try:
                return Engine.load(
                    options.model,
                    quantize=options.quantize,
                    device=options.device,
                    on_progress=bar.show,
                    should_stop=stop,
                    anyway=options.anyway,
                )
            except OutOfMemoryError as error:
                from kiv_engine.remedy import for_loading  # only now

                raise BadInputError(with_remedy(error, for_loading(self._load_options(), error))) from error
            except StoppedError as error:
                raise KeyboardInterrupt from error
            finally:
                bar.close()

    def _load_options(self) -> "LoadOptions":
        from kiv_engine.loader import LoadOptions

        return LoadOptions(self._options.model, self._options.quantize, self._options.device)

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
        self._tell_spilling()
        if self._options.json:
            print(json.dumps(self._report(context, read)))  # ASCII: fits any terminal's encoding
        if stop():
            return INTERRUPTED
        return FAILED if read and read.not_saved else DONE

    def _read(self, context: "Context", documents: "list[Document]", stop: StopFlag) -> ReadFinished | int:
        """Read everything, or as far as is asked for; the terminal event, or an exit code."""
        bar, options = ProgressBar(sys.stderr), self._options
        for event in context.read(*documents, should_stop=stop, anyway=options.anyway, up_to=options.first):
            if isinstance(event, TokenizeProgress | ReadProgress):
                bar.show(event)
            elif isinstance(event, Failed):
                bar.close()
                return self._fail(context, event)
            else:
                bar.close()
                if not event.stopped and self._engine is not None:
                    self._engine.record(context)
                return self._after_reading(event)
        raise AssertionError("reading ended without a terminal event")

    def _fail(self, context: "Context", event: Failed) -> int:
        """Report a failure; where memory ran out, with what to add. What is saved was settled when it was read."""
        if isinstance(event.error, OutOfMemoryError) and self._engine is not None and not self._options.context:
            plan = self._engine.smaller_plan(context, event.error)
            event = replace(event, message=with_remedy(event.error, plan))
        return report_failure(event)

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
        if unread := event.tokens_total - event.tokens_read:
            print(f"The other {unread:,} tokens are not read: answers know nothing of them.", file=sys.stderr)
        if event.not_saved:
            print_error(f"Not saved: {event.not_saved}")
        return event

    def _tell_spilling(self) -> None:
        """Say that memory of the GPU lies in RAM, where it does."""
        from kiv_engine.doctor import NOTICED_SPILL, spill_sentence
        from kiv_engine.hardware import read_spilled_bytes

        if (spilled := read_spilled_bytes()) >= NOTICED_SPILL:
            print(spill_sentence(spilled), file=sys.stderr)

    def _ask(self, context: "Context", question: str, sampling: SamplingConfig, stop: StopFlag) -> int:
        out = None if self._options.json else sys.stdout
        if out is not None and len(self._questions) > 1:
            out.write(f"> {question}\n")
        for event in context.ask(question, sampling, should_stop=stop):
            if isinstance(event, TextDelta) and out is not None:
                out.write(event.text)
                out.flush()
            elif isinstance(event, Failed):
                return self._fail(context, event)
            elif isinstance(event, AnswerFinished):
                self._answers.append(answer_report(question, event))
                if out is not None:
                    write_answer_footer(out, event)
                return INTERRUPTED if event.finish_reason == "cancelled" else DONE
        raise AssertionError("the answer ended without a terminal event")

    def _report(self, context: "Context", read: ReadFinished | None) -> dict[str, Any]:
        memory = context.footprint.parts()
        report: dict[str, Any] = {
            "document_tokens": context.document_tokens,
            "unread_tokens": context.unread_tokens,
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

    return Document(name, write_archive(archive_tokens(name.removeprefix(ARCHIVE_PREFIX)), engine.count_tokens).text)


def with_option_names(message: str, options: argparse.Namespace) -> str:
    """A message that begins with the name of a setting, with that of its option instead."""
    name, _, rest = message.partition(" ")
    return f"{option_name(name)} {rest}" if name in vars(options) else message


def option_name(setting: str) -> str:
    """The option that sets a setting."""
    return "--" + setting.replace("_", "-")


def check_question(question: str) -> None:
    """Raise BadInputError unless there is something to ask."""
    if not question.strip():
        raise BadInputError("A question is empty; give its text after -q.")
    if not question.isascii() and any("\ud800" <= letter <= "\udfff" for letter in question):
        raise BadInputError("A question is not valid UTF-8; check the terminal's encoding.")


def with_remedy(error: OutOfMemoryError, plan: SmallerPlan | None) -> str:
    """What went wrong where memory ran out, and which options to add so that it fits."""
    others = f" Or add --first {error.fit_tokens} to read only the beginning." if error.fit_tokens else ""
    others += " Or add --anyway to try it as it is." if error.is_predicted else ""
    if plan is None:
        return f"{error}\nNo smaller plan fits; close other programs, or take a smaller model (./kiv models).{others}"
    options = remedy_options(plan)
    fits = f"up to {plan.tokens:,} tokens fit" if plan.tokens else "it fits"
    how = f"With {options} {fits}" if options else fits.capitalize()
    figures = f"{plan.need_bytes / 1e9:.1f} GB before the first token, of {plan.free_bytes / 1e9:.1f} GB"
    return f"{error}\n{how}, by the plan ({figures}).{others}"


def remedy_options(plan: SmallerPlan) -> str:
    """The options that a smaller plan stands for."""
    values = {
        "--store-dtype": plan.store_dtype,
        "--store": plan.store,
        "--hot-tokens": plan.hot_tokens,
        "--prefill": plan.prefill,
        "--quantize": plan.quantize,
    }
    return " ".join(f"{name} {shlex.quote(str(value))}" for name, value in values.items() if value)


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
