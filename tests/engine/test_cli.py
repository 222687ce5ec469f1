"""The command line in this process: what it prints, its exit codes, and one clear line for every bad input."""

import errno
import io
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from kiv_engine import cli
from kiv_engine.cached_tokens import CachedTokens
from kiv_engine.commands.ask import AskCommand, report_failure
from kiv_engine.context import Context
from kiv_engine.engine import Engine
from kiv_engine.errors import CapacityError
from kiv_engine.events import AnswerFinished, Failed, ParseProgress, ReadFinished, ReadProgress, TextDelta
from kiv_engine.model_folder import DEMO_FOLDER
from kiv_engine.reading import Reader
from kiv_engine.terminal import ProgressBar, progress_line

pytestmark = pytest.mark.usefixtures("one_thread")

TEXT = "".join(f"Entry {n}: goose {n * 31 % 97} of Salt Steps was counted at noon. " for n in range(40))
TOP_KEYS = {
    "document_tokens", "unread_tokens", "prompt_tokens", "prefill_mode", "prefill_s", "prefill_tokens_per_s", "memory",
    "answers", "question", "answer", "finish_reason", "first_token_s", "decode_tokens_per_s", "passages",
}  # fmt: skip
ANSWER_KEYS = {"question", "answer", "finish_reason", "first_token_s", "decode_tokens_per_s", "passages"}
PASSAGE_KEYS = {"document", "page", "section", "row", "line", "start", "end", "weight", "text"}
SMALL = ["--hot-tokens", "128", "--retrieved-tokens", "32", "--max-new-tokens", "12"]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Kiv = Callable[..., Result]


@pytest.fixture(scope="module")
def demo() -> Engine:
    return Engine.load()


@pytest.fixture
def kiv(demo: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Kiv:
    """Run the command line; the embedded model is loaded once for all tests."""
    load = Engine.load

    def load_once(model: str, on_progress: object = None, should_stop: object = None, **options: str) -> Engine:
        return demo if (model, options) == ("demo", {"quantize": "none", "device": "auto"}) else load(model, **options)

    monkeypatch.setattr(Engine, "load", load_once)

    def run(*arguments: object) -> Result:
        handler = signal.getsignal(signal.SIGINT)
        code = cli.main([str(argument) for argument in arguments])
        assert signal.getsignal(signal.SIGINT) is handler
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def llama(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with a tiny model that was trained for 512 tokens."""
    folder = tmp_path / "llama"
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=4_096, max_position_embeddings=512, **sizes)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(DEMO_FOLDER / name, folder)
    capsys.readouterr()  # transformers draws a progress bar
    return folder


def assert_refused(result: Result, *parts: object) -> None:
    """Exit code 2, nothing on stdout, and a short message with these parts."""
    assert result.code == 2, result
    assert result.out == ""
    lines = result.err.splitlines()
    assert 1 <= len(lines) <= 3, result.err
    assert lines[0].startswith("kiv: ")
    assert "Traceback" not in result.err
    for part in parts:
        assert str(part) in result.err, (part, result.err)


# -- what it prints ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--help"], ["ask", "--help"]], ids=["bare", "help", "ask help"])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = cli.main(arguments)
    except SystemExit as leaving:  # argparse leaves from --help
        code = leaving.code
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert "usage: kiv" in out
    assert "ask" in out


def test_json_is_one_object_and_nothing_else(kiv: Kiv, book: Path) -> None:
    result = kiv("ask", book, "-q", "What of goose 31?", "--json", *SMALL)
    assert result.code == 0
    assert result.out.count("\n") == 1
    report = json.loads(result.out)
    assert report.keys() >= TOP_KEYS
    assert report["memory"].keys() == {"weights", "hot", "index", "cold_keys", "cold_values"}
    assert all(isinstance(size, int) and size > 0 for size in report["memory"].values())
    (answer,) = report["answers"]
    assert answer.keys() >= ANSWER_KEYS
    assert all(report[key] == answer[key] for key in answer)
    assert answer["question"] == "What of goose 31?"
    assert answer["finish_reason"] in ("stop", "length")
    assert report["prompt_tokens"] > report["document_tokens"] > 500
    assert report["prefill_mode"] == "exact"
    assert report["prefill_s"] > 0
    assert report["prefill_tokens_per_s"] > 0
    assert answer["passages"]
    for passage in answer["passages"]:
        assert passage.keys() == PASSAGE_KEYS
        assert (passage["document"], passage["page"]) == ("book.txt", None)
        assert passage["text"] == TEXT[passage["start"] : passage["end"]]
        assert 0 < passage["weight"] <= 1
    assert "\r" not in result.err
    assert "\x1b" not in result.err
    assert all(line.startswith("Read") for line in result.err.splitlines())


def test_text_shows_answer_passages_and_figures(kiv: Kiv, book: Path) -> None:
    result = kiv("ask", book, "-q", "What of goose 31?", *SMALL)
    report = json.loads(kiv("ask", book, "-q", "What of goose 31?", "--json", *SMALL).out)
    assert result.code == 0
    assert result.out.startswith(report["answer"] + "\n\n")
    assert "Passages retrieved while writing this answer:\n" in result.out
    assert result.out.count(" %  book.txt at ") == len(report["passages"])
    assert f"[{report['finish_reason']}; {report['answer_tokens']} tokens, " in result.out
    assert not {"\r", "\x1b", "#"} & set(result.out)
    assert "Reading [########################]" in result.err


def test_only_a_beginning_is_read_and_the_rest_told(kiv: Kiv, book: Path) -> None:
    whole, some = (
        kiv("ask", book, "-q", "What of goose 31?", "--json", *SMALL, *more) for more in ([], ["--first", 300])
    )
    total, unread = json.loads(whole.out)["document_tokens"], json.loads(some.out)["unread_tokens"]
    assert (whole.code, some.code, json.loads(whole.out)["unread_tokens"]) == (0, 0, 0)
    assert json.loads(some.out)["document_tokens"] == total
    assert f"Read 300 of {300 + unread:,} tokens in " in some.err
    assert f"The other {unread:,} tokens are not read: answers know nothing of them." in some.err
    assert "not read" not in whole.err
    assert all(passage["end"] < len(TEXT) / 2 for passage in json.loads(some.out)["passages"])
    assert_refused(kiv("ask", "-q", "Who?", "--first", 300), "--first", "name a DOCUMENT")


def test_several_questions_share_one_context(kiv: Kiv, book: Path) -> None:
    arguments = ["ask", book, "-q", "Who?", "--question", "Where?", *SMALL]
    report = json.loads(kiv(*arguments, "--json").out)
    first, second = report["answers"]
    assert (first["question"], second["question"], report["question"]) == ("Who?", "Where?", "Who?")
    assert second["reused_tokens"] >= first["prompt_tokens"]
    out = kiv(*arguments).out
    assert out.startswith("> Who?\n" + first["answer"])
    assert "> Where?\n" + second["answer"] in out


def test_several_documents(kiv: Kiv, book: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.md"
    other.write_text("# Other\n\nThe eel is in the well.\n")
    report = json.loads(kiv("ask", book, other, "archive:300", "-q", "Who?", "--json", *SMALL).out)
    alone = [json.loads(kiv("ask", name, "-q", "Who?", "--json", *SMALL).out) for name in (book, other, "archive:300")]
    assert report["document_tokens"] == sum(each["document_tokens"] for each in alone)


def test_the_sample_archive(kiv: Kiv) -> None:
    report = json.loads(kiv("ask", "archive:2_000", "-q", "Who?", "--json", *SMALL).out)
    assert 1_980 <= report["document_tokens"] <= 2_000
    assert all(passage["document"] == "archive:2_000" for passage in report["passages"])


def test_no_document_is_a_plain_chat(kiv: Kiv) -> None:
    report = json.loads(kiv("ask", "-q", "Hello", "--json", *SMALL).out)
    assert (report["document_tokens"], report["prefill_mode"], report["passages"]) == (0, None, [])


def test_standard_input(kiv: Kiv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    report = json.loads(kiv("ask", "-", "-q", "Who?", "--json", *SMALL).out)
    assert {passage["document"] for passage in report["passages"]} == {"standard input"}


def test_a_seed_repeats_an_answer(kiv: Kiv, book: Path) -> None:
    arguments = ["ask", book, "-q", "Who?", "--json", "--temperature", "10", *SMALL, "--seed"]
    answers = [json.loads(kiv(*arguments, seed).out)["answer"] for seed in (3, 3, 4)]
    assert answers[0] == answers[1] != answers[2]


@pytest.mark.parametrize("options", [["--store-dtype", "int8"], ["--prefill", "sparse"], ["--prefill", "window"]])
def test_other_choices(kiv: Kiv, book: Path, options: list[str]) -> None:
    report = json.loads(kiv("ask", book, "-q", "Who?", "--json", *SMALL, *options).out)
    assert report["prefill_mode"] == (options[1] if "--prefill" in options else "exact")


def test_a_store_folder_is_left_empty(kiv: Kiv, book: Path, tmp_path: Path) -> None:
    store = tmp_path / "new" / "store"
    assert kiv("ask", book, "-q", "Who?", "--json", *SMALL, "--store", store).code == 0
    assert list(store.iterdir()) == []


def test_progress_is_redrawn_in_a_terminal_only() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    event = ReadProgress(512, 1_024, 100.0, 65.0)
    live, plain = Terminal(), io.StringIO()
    for stream in (live, plain):
        bar = ProgressBar(stream)
        bar.show(event)
        bar.show(event)
        bar.close()
    line = "Reading [############............] 512 of 1,024 tokens  100 tokens/s  1:05 min left"
    assert live.getvalue() == f"\r\x1b[K{line}" * 2 + "\r\x1b[K"
    assert plain.getvalue() == f"{line}\n"


@pytest.mark.parametrize(("mode", "is_console"), [(3, True), (0, False)])
def test_a_console_of_windows_is_asked_to_obey_escapes(
    mode: int, is_console: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_modes: list[int] = []

    def tell_mode(_console: object, told: Any) -> bool:
        told._obj.value = mode
        return is_console

    kernel = SimpleNamespace(
        GetStdHandle={-12: 7}.get, GetConsoleMode=tell_mode, SetConsoleMode=lambda _console, new: set_modes.append(new)
    )
    monkeypatch.setattr("ctypes.windll", SimpleNamespace(kernel32=kernel), raising=False)
    live = io.StringIO()
    live.isatty = lambda: True  # type: ignore[method-assign]
    ProgressBar(live)
    ProgressBar(io.StringIO())
    assert set_modes == ([7] if is_console else [])


def test_before_the_first_chunk_is_read_there_is_no_rate() -> None:
    assert progress_line(ReadProgress(0, 1_024, 0.0, None)) == "Reading [........................] 0 of 1,024 tokens"


def test_the_bar_shows_how_far_a_file_is_parsed() -> None:
    live = io.StringIO()
    live.isatty = lambda: True  # type: ignore[method-assign]
    bar = ProgressBar(live)
    bar.show(ParseProgress("book.pdf", 0, 0, "files"))
    bar.show(ParseProgress("book.pdf", 3, 1_000, "pages"))
    bar.close()
    lines = ["\r\x1b[KOpening book.pdf", "\r\x1b[KOpening book.pdf: 3 of 1,000 pages", "\r\x1b[K"]
    assert live.getvalue() == "".join(lines)


def test_answers_outside_of_the_terminals_encoding_are_still_printed(kiv: Kiv, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = AnswerFinished("Köder", "stop", 1, 0, 1, 0.1, 1.0, ())
    monkeypatch.setattr(Context, "ask", lambda *_, **__: iter([TextDelta("Köder", 1), answered]))
    for options, expected in ([[], "K?der"], [["--json"], '"answer": "K\\u00f6der"']):
        raw = io.BytesIO()
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
        assert kiv("ask", "-q", "Wo?", *options).code == 0
        assert expected in raw.getvalue().decode("ascii")


# -- stopping and failing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("json_option", [[], ["--json"]], ids=["text", "json"])
def test_ctrl_c_while_reading(kiv: Kiv, book: Path, json_option: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    original = Reader.feed
    monkeypatch.setattr("kiv_engine.reading.READ_CHUNK_TOKENS", 256)

    def interrupted(reader: Reader, *options: Any) -> None:
        original(reader, *options)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Reader, "feed", interrupted)
    result = kiv("ask", book, "-q", "Who?", *SMALL, *json_option)
    assert (result.code, result.out) == (130, "")
    assert result.err.splitlines()[-1].startswith("kiv: Stopped after 256 of ")


@pytest.mark.parametrize("json_option", [[], ["--json"]], ids=["text", "json"])
def test_ctrl_c_while_answering(kiv: Kiv, book: Path, json_option: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    original = Context.ask

    def interrupted(context: Context, *arguments: Any, **options: Any) -> Iterator[Any]:
        for event in original(context, *arguments, **options):
            yield event
            if isinstance(event, TextDelta):
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Context, "ask", interrupted)
    result = kiv("ask", book, "-q", "Who?", "-q", "Where?", *SMALL, *json_option)
    assert result.code == 130
    assert "Traceback" not in result.err
    if json_option:
        report = json.loads(result.out)
        assert [answer["finish_reason"] for answer in report["answers"]] == ["cancelled"]
        assert report["answer_tokens"] == 1
    else:
        assert "[cancelled; 1 tokens" in result.out
        assert "> Where?" not in result.out


@pytest.mark.parametrize("where", ["load", "second"])
def test_ctrl_c_elsewhere_and_a_second_one(kiv: Kiv, book: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Engine, "load", interrupt) if where == "load" else monkeypatch.setattr(
        CachedTokens, "feed", interrupt
    )
    result = kiv("ask", book, "-q", "Who?", "--json", *SMALL)
    assert (result.code, result.out, result.err) == (130, "", "kiv: Stopped.\n")


def test_a_failure_while_running_is_one_line_and_exit_code_1(
    kiv: Kiv, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("it broke\nand more")

    monkeypatch.setattr(Context, "_decode", fail)
    result = kiv("ask", book, "-q", "Who?", "--json", *SMALL)
    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines()[-1] == "kiv: RuntimeError: it broke"
    monkeypatch.setattr(Engine, "load", fail)
    result = kiv("ask", book, "-q", "Who?", "--json", *SMALL)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("kiv: RuntimeError: it broke")


def test_failures_that_are_bad_input_have_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_failure(Failed("Too large.", CapacityError("Too large."))) == 2
    assert report_failure(Failed("Broken.", ValueError())) == 1
    assert capsys.readouterr().err == "kiv: Too large.\nkiv: Broken.\n"


def test_reading_without_an_end_is_our_mistake() -> None:
    finished = ReadFinished(10, 10, 0.0, False, "exact", "as asked")
    assert AskCommand._after_reading(finished) is finished


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (None, ["no file"]),
        (b"", ["is empty"]),
        (b" \n\t ", ["nothing but blanks"]),
        (b"\x7fELF\x00\x01", ["not text"]),
    ],
    ids=["missing", "empty", "blank", "binary"],
)
def test_files_that_are_no_text(kiv: Kiv, tmp_path: Path, data: bytes | None, parts: list[str]) -> None:
    path = tmp_path / "odd.txt"
    if data is not None:
        path.write_bytes(data)
    assert_refused(kiv("ask", path, "-q", "Who?"), path, *parts)


def test_an_encoding_that_was_guessed_is_told(kiv: Kiv, tmp_path: Path) -> None:
    path = tmp_path / "odd.txt"
    path.write_bytes(TEXT.replace("goose", "Gänse").encode("utf-16"))
    result = kiv("ask", path, "-q", "Who?", *SMALL)
    assert result.code == 0
    assert result.err.startswith(f"{path}: Its encoding was taken for UTF-16.\n")


def test_a_document_without_a_name(kiv: Kiv) -> None:
    assert_refused(kiv("ask", "", "-q", "Who?"), "name of a document is empty")


def test_a_file_that_came_to_harm(kiv: Kiv, tmp_path: Path) -> None:
    path = tmp_path / "half.docx"
    path.write_bytes(b"PK\x03\x04 and no more")
    assert_refused(kiv("ask", path, "-q", "Who?"), path, "is damaged or cut off")


def test_an_empty_folder(kiv: Kiv, tmp_path: Path) -> None:
    assert_refused(kiv("ask", tmp_path, "-q", "Who?"), tmp_path, "holds no files")


def test_an_unreadable_file(kiv: Kiv, book: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads every file")
    book.chmod(0)
    assert_refused(kiv("ask", book, "-q", "Who?"), book, "Permission denied")


def test_a_file_that_the_disk_cannot_read(kiv: Kiv, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: Path, _mode: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    assert_refused(kiv("ask", book, "-q", "Who?"), book, "Input/output error")


def test_questions(kiv: Kiv, book: Path) -> None:
    assert_refused(kiv("ask", book), "no question", "-q")
    assert_refused(kiv("ask", book, "-q", ""), "empty", "-q")
    assert_refused(kiv("ask", book, "-q", "Who?", "-q", " \n"), "empty", "-q")
    assert_refused(kiv("ask", book, "-q"), "-q", "expected one argument", "--help")
    assert_refused(kiv("ask", book, "-q", "\udcff"), "UTF-8")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("archive:abc", ["200 to 10,000,000"]),
        ("archive:", ["200 to 10,000,000"]),
        ("archive:5", ["200 to 10,000,000"]),
        ("archive:-5", ["200 to 10,000,000"]),
        ("archive:1e5", ["like archive:100000"]),
        ("archive:99999999999", ["200 to 10,000,000"]),
        ("archive:" + "9" * 5_000, ["200 to 10,000,000"]),
        ("archive:٣٠٠", ["200 to 10,000,000"]),
    ],
)
def test_archives_of_impossible_length(kiv: Kiv, name: str, parts: list[str]) -> None:
    assert_refused(kiv("ask", name, "-q", "Who?"), name, *parts)


def test_standard_input_that_cannot_be_read(kiv: Kiv, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_refused(kiv("ask", "-", "-", "-q", "Who?"), "'-'", "twice")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    assert_refused(kiv("ask", "-", "-q", "Who?"), "'-'", "nothing is piped")
    monkeypatch.setattr("sys.stdin", None)
    assert_refused(kiv("ask", "-", "-q", "Who?"), "'-'", "nothing is piped")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert_refused(kiv("ask", "-", "-q", "Who?"), "standard input is empty")


@pytest.mark.parametrize(
    ("option", "bad", "allowed"),
    [
        ("--hot-tokens", ["0", "15", "-1", "1048577", "many", "64.5", "", "9" * 5_000], "16 to 1,048,576"),
        ("--retrieved-tokens", ["0", "-3", "2147483648", "x"], "1 to 2,147,483,647"),
        ("--first", ["0", "-5", "2147483648", "all", "2.5"], "1 to 2,147,483,647"),
        ("--max-new-tokens", ["0", "-1", "1e3"], "1 to 2,147,483,647"),
        ("--temperature", ["-0.1", "11", "nan", "inf", "warm"], "0 to 10"),
        ("--seed", ["-1", "9223372036854775808", "1.5", "seed"], "0 to 9,223,372,036,854,775,807"),
    ],
)
def test_numbers_out_of_range(kiv: Kiv, option: str, bad: list[str], allowed: str) -> None:
    for value in bad:
        result = kiv("ask", "-q", "Who?", f"{option}={value}")
        assert_refused(result, option, value, allowed)


@pytest.mark.parametrize("option", ["--prefill", "--positions", "--store-dtype", "--quantize", "--device"])
def test_unknown_choices(kiv: Kiv, option: str) -> None:
    assert_refused(kiv("ask", "-q", "Who?", option, "odd"), option, "'odd'", "choose from")


def test_unknown_commands_and_options(kiv: Kiv) -> None:
    assert_refused(kiv("sing"), "sing", "choose from", "kiv --help")
    assert_refused(kiv("ask", "-q", "Who?", "--loud"), "--loud", "--help")


def test_models_that_are_not_there(kiv: Kiv, tmp_path: Path, llama: Path) -> None:
    missing = tmp_path / "nothing"
    assert_refused(kiv("ask", "-q", "Who?", "--model", missing), missing)
    assert_refused(
        kiv("ask", "-q", "Who?", "--model", "no-one/no-such-model"), "no-one/no-such-model", "HF_HUB_OFFLINE"
    )
    assert_refused(kiv("ask", "-q", "Who?", "--model", "a b c"), "a b c")
    assert_refused(kiv("ask", "-q", "Who?", "--model", ""), "No model is named")
    assert_refused(kiv("ask", "-q", "Who?", "--model", tmp_path), tmp_path, "no config.json")
    assert_refused(kiv("ask", "-q", "Who?", "--model", llama / "config.json"), "is a file; give the folder")


def test_a_typo_is_answered_with_the_nearest_name(kiv: Kiv) -> None:
    for arguments in (["ask", "-q", "Who?", "--model"], ["fit"], ["models", "get"]):
        assert_refused(kiv(*arguments, "Qwen/Qwen2.5-3B-Instrukt"), "Did you mean Qwen/Qwen2.5-3B-Instruct")
    assert_refused(kiv("models", "get", "demo"), "built in")
    assert_refused(kiv("models", "get"), "ID", "--help")


def test_folders_of_other_formats(kiv: Kiv, llama: Path) -> None:
    (llama / "model.safetensors").rename(llama / "model.gguf")
    assert_refused(kiv("ask", "-q", "Who?", "--model", llama), llama, "GGUF", "kiv models")


def test_folders_that_lack_something(kiv: Kiv, llama: Path) -> None:
    (llama / "tokenizer.json").unlink()
    (llama / "tokenizer_config.json").unlink()
    assert_refused(kiv("ask", "-q", "Who?", "--model", llama), llama, "no tokenizer", "tokenizer.json")
    (llama / "model.safetensors").unlink()
    assert_refused(kiv("ask", "-q", "Who?", "--model", llama), llama, "model.safetensors")
    (llama / "pytorch_model.bin").touch()
    assert_refused(kiv("ask", "-q", "Who?", "--model", llama), llama, "pickle", "save_pretrained")


def test_a_model_that_needs_remote_code(kiv: Kiv, llama: Path) -> None:
    config = json.loads((llama / "config.json").read_text())
    config |= {"model_type": "of_its_own", "auto_map": {"AutoModelForCausalLM": "code.Model"}}
    (llama / "config.json").write_text(json.dumps(config))
    assert_refused(kiv("ask", "-q", "Who?", "--model", llama), llama, "remote code", "never run")


def test_cuda_that_is_not_there(kiv: Kiv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert_refused(kiv("ask", "-q", "Who?", "--device", "cuda"), "CUDA" if torch.version.cuda is None else "GPU")


def test_stores_that_cannot_be_written(kiv: Kiv, book: Path) -> None:
    below_a_file = book / "store"
    assert_refused(kiv("ask", book, "-q", "Who?", "--store", below_a_file), below_a_file, "another folder")
    assert_refused(kiv("ask", book, "-q", "Who?", "--store", book), book, "another folder")
    assert_refused(kiv("ask", book, "-q", "Who?", "--store", ""), "--store is empty")


def test_options_that_contradict_each_other(kiv: Kiv, book: Path, llama: Path) -> None:
    arguments = ["ask", book, "-q", "Who?", "--model", llama, "--positions", "compact"]
    assert_refused(kiv(*arguments, "--retrieved-tokens", "500"), "516", "512", "lower retrieved_tokens")
    assert_refused(kiv(*arguments, "--prefill", "exact"), "positions='compact'", "use prefill 'sparse' or 'window'")


def test_a_document_too_large_for_ram(kiv: Kiv, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1_000_000))
    assert_refused(kiv("ask", book, "-q", "Who?", *SMALL), "of RAM", "tokens fit")


def test_of_a_document_too_large_the_beginning_that_fits_is_named_and_read(
    kiv: Kiv, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1_000_000))
    monkeypatch.setattr("kiv_engine.footprint.ASKING_TOKENS", 0)
    refused = kiv("ask", book, "-q", "Who?", *SMALL)
    found = re.search(r"Or add --first (\d+) to read only the beginning\.", refused.err)
    assert found
    some = kiv("ask", book, "-q", "Who?", *SMALL, "--first", found[1])
    assert (some.code, f"Read {int(found[1]):,} of " in some.err) == (0, True), some


def test_a_disk_that_is_full(kiv: Kiv, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    arguments = ["ask", book, "-q", "Who?", "--json", *SMALL, "--store", store]

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.posix_fallocate", full)
        assert_refused(kiv(*arguments), store, "is full", "free")
    assert list(store.iterdir()) == []
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100_000))
    assert_refused(kiv(*arguments), "of disk", "tokens fit")
    assert list(store.iterdir()) == []


def test_the_module_is_silent_about_a_closed_pipe(kiv: Kiv, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        monkeypatch.setattr("sys.stdout", closed)
        result = kiv("ask", book, "-q", "Who?", "--json", *SMALL)
        assert result.code == 1
        assert all(line.startswith("Read") for line in result.err.splitlines())
        assert sys.stdout is closed
