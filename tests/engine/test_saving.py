"""Saved contexts: what is opened goes on as if it had never been closed, whatever was killed; damage is never used."""

import errno
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from kiv_engine import checkpoints, reading
from kiv_engine.blocks import BLOCK_BYTES, BackgroundCheck, BlockFile, BlockWriter, MappedRows
from kiv_engine.config import KIVConfig, SamplingConfig
from kiv_engine.context import Context
from kiv_engine.document import Document
from kiv_engine.errors import ConfigError, DamagedContextError, SavedContextError
from kiv_engine.events import AnswerFinished, Failed, MemoryUse, ReadFinished, TextDelta
from kiv_engine.saving import MANIFEST, ContextWriter, SavedContext
from tests.engine.families import FAMILIES
from tests.engine.tiny_chat import loaded
from tests.engine.tiny_context import after

pytestmark = pytest.mark.usefixtures("one_thread", "small_index")

TEXT = "".join(f"Chapter {n}: the {n * 7919 % 104729}th ship brought {n * 31 % 97} bells to town. " for n in range(18))
DOCUMENT = Document("log", TEXT)
SMALL = KIVConfig(hot_tokens=48, sink_tokens=4, retrieved_tokens=16, positions="true", index_bits=1)
SHORT = SamplingConfig(max_new_tokens=10)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_CHUNK_TOKENS", 128)
    monkeypatch.setattr(reading, "SNAPSHOT_TOKENS", 256)
    monkeypatch.setattr(checkpoints, "CHECKPOINT_S", 0.0)


@pytest.fixture
def contexts() -> Iterator[list[Context]]:
    """Contexts to be closed in the end."""
    made: list[Context] = []
    yield made
    for context in made:
        context.close()


def read(context: Context, *documents: Document, **options: Any) -> ReadFinished | Failed:
    return list(context.read(*documents, **options))[-1]  # type: ignore[return-value]


def ask(context: Context, question: str = "How many?") -> AnswerFinished | Failed:
    return list(context.ask(question, SHORT))[-1]  # type: ignore[return-value]


def answers(context: Context) -> list[tuple[str, Any]]:
    """Two questions that follow each other, with their passages."""
    given = []
    for question in ("How many?", "And then?"):
        answer = ask(context, question)
        assert isinstance(answer, AnswerFinished), answer
        given.append((answer.text, answer.passages))
    return given


def saved(folder: Path, family: str = "llama", config: KIVConfig = SMALL) -> Context:
    """A context that read the document and saved it."""
    context = Context(loaded(family), config)
    context.save(folder)
    finished = read(context, DOCUMENT)
    assert isinstance(finished, ReadFinished), finished
    return context


def opened(folder: Path, family: str = "llama", **options: Any) -> Context:
    return Context.opened(loaded(family), SavedContext.open(folder), **options)


# -- L5 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_an_opened_context_answers_as_the_one_that_was_saved(
    family: str, tmp_path: Path, contexts: list[Context]
) -> None:
    contexts.append(saved(tmp_path / "kept", family))
    contexts.append(opened(tmp_path / "kept", family))
    before, after = contexts
    assert after.num_tokens == before.num_tokens
    assert after.document_tokens == before.document_tokens
    assert answers(after) == answers(before)


@pytest.mark.parametrize("changes", [{"store_dtype": "int8"}, {"index_bits": 2}, {"hot_tokens": 1024}])
def test_other_configurations_are_opened_too(changes: dict[str, Any], tmp_path: Path, contexts: list[Context]) -> None:
    config = KIVConfig(**{**vars(SMALL), **changes})
    contexts.append(saved(tmp_path / "kept", config=config))
    contexts.append(opened(tmp_path / "kept"))
    assert contexts[1].cache.policy.config == config
    assert answers(contexts[1]) == answers(contexts[0])


def test_a_new_process_gives_the_same_tokens(tmp_path: Path, contexts: list[Context]) -> None:
    contexts.append(saved(tmp_path / "kept"))
    program = (
        "import tests.engine.test_saving as t; from pathlib import Path; import sys, json; import torch\n"
        "torch.set_num_threads(1)\n"
        "t.reading.READ_CHUNK_TOKENS = 128\n"
        "import kiv_engine.index, kiv_engine.layer\n"
        "kiv_engine.index.FIT_TOKENS = kiv_engine.layer.FIT_TOKENS = 64\n"
        "print(json.dumps([text for text, _ in t.answers(t.opened(Path(sys.argv[1])))]))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "kept")], capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(printed) == [text for text, _ in answers(contexts[0])]


@pytest.mark.parametrize("dtype", ["model", "int8"])
def test_mapped_files_become_the_saved_form(dtype: Any, tmp_path: Path, contexts: list[Context]) -> None:
    config = KIVConfig(**{**vars(SMALL), "store": tmp_path / "store", "store_dtype": dtype})
    contexts.append(saved(tmp_path / "kept", config=config))
    files = [path for path in (tmp_path / "kept").iterdir() if path.name.startswith("layer0.keys")]
    assert len(files) == (2 if dtype == "int8" else 1)
    assert all(path.stat().st_nlink == 2 for path in files), "there is no second copy"
    before = contents(tmp_path / "kept")
    contexts.append(opened(tmp_path / "kept"))
    for _ in range(4):
        assert answers(contexts[1]) == answers(contexts[0])
    assert contents(tmp_path / "kept") == before
    contexts[0].close()
    SavedContext.open(tmp_path / "kept").verify()
    assert not list((tmp_path / "store").iterdir())


def test_saved_rows_are_on_the_disk_and_later_ones_in_ram(tmp_path: Path, contexts: list[Context]) -> None:
    contexts.append(saved(tmp_path / "kept"))
    contexts.append(opened(tmp_path / "kept"))
    before, after = (context.footprint.places() for context in contexts)
    assert after.disk == MemoryUse(cold_keys=before.ram.cold_keys, cold_values=before.ram.cold_values)
    assert after.disk.total > 0
    assert after.total == before.total
    for _ in range(6):  # until some of the conversation is cold
        answers(contexts[1])
    later = contexts[1].footprint.places()
    assert later.disk == after.disk
    assert later.ram.cold_keys == later.ram.cold_values > 0
    contexts.append(opened(tmp_path / "kept", copy=True))
    assert contexts[2].footprint.places() == before


# -- never changed -------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_chats_leave_a_saved_context_as_it_is(tmp_path: Path, contexts: list[Context]) -> None:
    saved(tmp_path / "kept").close()
    before = contents(tmp_path / "kept")
    contexts += [opened(tmp_path / "kept"), opened(tmp_path / "kept")]
    first, second = contexts
    expected = answers(first)
    for _ in range(4):
        answers(first)
    first.rewind(200)  # into the document, whose rows are then read again
    assert isinstance(read(first), ReadFinished)
    assert answers(second) == expected
    assert contents(tmp_path / "kept") == before


def test_a_rewound_context_reads_the_rest_again(tmp_path: Path, contexts: list[Context]) -> None:
    contexts.append(saved(tmp_path / "kept"))
    contexts.append(opened(tmp_path / "kept"))
    length = contexts[0].num_tokens
    expected = answers(contexts[0])
    contexts[1].rewind(150)
    assert read(contexts[1]).tokens_read == length  # type: ignore[union-attr]
    assert [text for text, _ in answers(contexts[1])] == [text for text, _ in expected]


@pytest.mark.parametrize("family", ["llama", "gemma3", "lfm2"])
def test_a_document_that_grew_is_read_from_where_it_grew(family: str, tmp_path: Path, contexts: list[Context]) -> None:
    grown = Document("log", TEXT + "Chapter 18: the last ship brought 12 bells. " * 3)
    saved(tmp_path / "before", family).close()
    assert SavedContext.open(tmp_path / "before").begins([grown])
    assert not SavedContext.open(tmp_path / "before").begins([Document("log", "x" + TEXT)])
    contexts += [opened(tmp_path / "before", family, copy=True), Context(loaded(family), SMALL)]
    reused, whole = contexts
    before, fed = reused.num_tokens, list[int]()
    forward = reused._tokens.feed
    reused._tokens.feed = lambda ids, *how: (fed.append(len(ids)), forward(ids, *how))[1]  # type: ignore[method-assign]
    reused.exchange(grown)
    assert reused.num_tokens > 0.9 * len(TEXT)
    reused.save(tmp_path / "after")
    assert isinstance(read(reused), ReadFinished)
    assert isinstance(read(whole, grown), ReadFinished)
    assert reused.num_tokens == whole.num_tokens
    again = 0 if family == "llama" else 256  # what forgets goes back to a snapshot
    assert whole.num_tokens - before <= sum(fed) <= whole.num_tokens - before + again + 1
    assert [text for text, _ in answers(reused)] == [text for text, _ in answers(whole)]
    contexts.append(opened(tmp_path / "after", family))
    assert SavedContext.open(tmp_path / "after").holds([grown])
    with pytest.raises(ConfigError, match="before the first question"):
        reused.exchange(DOCUMENT)


# -- while reading -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "gemma3", "lfm2"])
def test_reading_goes_on_from_a_checkpoint(family: str, tmp_path: Path, contexts: list[Context]) -> None:
    contexts.append(saved(tmp_path / "whole", family))
    stopped = Context(loaded(family), SMALL)
    stopped.save(tmp_path / "part")
    assert read(stopped, DOCUMENT, should_stop=after(4, stopped)).stopped  # type: ignore[union-attr]
    length = stopped.num_tokens
    stopped.close()
    found = SavedContext.open(tmp_path / "part")
    assert not found.complete
    assert found.num_tokens == length
    contexts.append(opened(tmp_path / "part", family))
    assert contexts[1].unread_tokens > 0
    assert isinstance(read(contexts[1]), ReadFinished)
    assert SavedContext.open(tmp_path / "part").complete
    contexts.append(opened(tmp_path / "part", family))
    expected = [text for text, _ in answers(contexts[0])]
    assert [text for text, _ in answers(contexts[1])] == expected
    assert [text for text, _ in answers(contexts[2])] == expected


def test_reading_goes_on_from_a_checkpoint_into_another_store(tmp_path: Path, contexts: list[Context]) -> None:
    contexts.append(saved(tmp_path / "whole"))
    stopped = Context(loaded("llama"), SMALL)
    stopped.save(tmp_path / "part")
    read(stopped, DOCUMENT, should_stop=after(4, stopped))
    stopped.close()
    contexts.append(opened(tmp_path / "part", store=tmp_path / "store"))
    assert isinstance(read(contexts[1]), ReadFinished)
    [files] = (tmp_path / "store").iterdir()
    assert any(file.stat().st_size for file in files.iterdir())
    SavedContext.open(tmp_path / "part").verify()
    contexts.append(opened(tmp_path / "part", store=tmp_path / "store"))
    expected = [text for text, _ in answers(contexts[0])]
    assert [text for text, _ in answers(contexts[1])] == expected
    assert [text for text, _ in answers(contexts[2])] == expected


@pytest.mark.parametrize("dtype", ["model", "int8"])
def test_going_back_between_two_checkpoints_leaves_a_sound_folder(
    dtype: Any, tmp_path: Path, contexts: list[Context]
) -> None:
    config = KIVConfig(**{**vars(SMALL), "store_dtype": dtype})
    contexts += [Context(loaded("llama"), config), Context(loaded("llama"), config)]
    plain, context = contexts
    assert isinstance(read(plain, DOCUMENT), ReadFinished)
    context.save(tmp_path / "kept")
    read(context, DOCUMENT, should_stop=after(6, context))
    context.rewind(200)
    assert read(context, should_stop=lambda: True).stopped  # type: ignore[union-attr]
    SavedContext.open(tmp_path / "kept").verify()
    assert isinstance(read(context), ReadFinished)
    SavedContext.open(tmp_path / "kept").verify()
    contexts.append(opened(tmp_path / "kept"))
    assert [text for text, _ in answers(contexts[-1])] == [text for text, _ in answers(plain)]


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import tests.engine.test_saving as t
from kiv_engine import checkpoints, reading as c
c.READ_CHUNK_TOKENS, c.SNAPSHOT_TOKENS, checkpoints.CHECKPOINT_S = 128, 256, 0.0
real = os.fsync

def read(folder, place):
    calls = iter(range(10**6))
    def fsync(descriptor):
        if next(calls) == place:
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)
    os.fsync = fsync
    context = t.opened(folder) if (folder / t.MANIFEST).exists() else None
    if context is None:
        context = t.Context(t.loaded("llama"), t.SMALL)
        context.save(folder)
        t.read(context, t.DOCUMENT)
    else:
        t.read(context)
    context.close()

def in_a_process_of_its_own(folder, place):
    child = os.fork()
    if not child:
        read(folder, place)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

for place in map(int, sys.argv[2:]):
    folder = Path(sys.argv[1]) / f"part{place}"
    killed = in_a_process_of_its_own(folder, place)
    if not (folder / t.MANIFEST).exists():
        t.shutil.rmtree(folder)
    print(killed, in_a_process_of_its_own(folder, None))
"""


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL elsewhere")
@pytest.mark.parametrize("places", [(9, 17, 30), pytest.param(tuple(range(0, 100, 2)), marks=pytest.mark.long)])
def test_killed_between_any_two_writes_nothing_is_corrupt(
    places: tuple[int, ...], tmp_path: Path, contexts: list[Context]
) -> None:
    contexts.append(saved(tmp_path / "whole"))
    expected = [text for text, _ in answers(contexts[0])]
    command = [sys.executable, "-c", KILLED, str(tmp_path), *map(str, places)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    codes = [tuple(map(int, line.split())) for line in run.stdout.splitlines()]
    assert len(codes) == len(places)
    assert {killed for killed, _ in codes} <= {0, -signal.SIGKILL}, run.stderr
    assert {resumed for _, resumed in codes} == {0}, run.stderr
    assert sum(killed == -signal.SIGKILL for killed, _ in codes) > len(places) // 2
    for place in places:
        folder = tmp_path / f"part{place}"
        found = SavedContext.open(folder)
        found.verify()
        assert found.complete
        contexts.append(opened(folder))
        assert [text for text, _ in answers(contexts[-1])] == expected


# -- damage --------------------------------------------------------------------------------------------------------


def outcome(folder: Path, family: str = "llama") -> Any:
    """The answers, or the error's type."""
    context = None
    try:
        context = opened(folder, family)
        answer = ask(context)
        if isinstance(answer, Failed):
            raise answer.error
        return answer.text
    except SavedContextError as error:
        return type(error) if str(folder) in str(error) else str(error)
    finally:
        if context is not None:
            context.close()


@pytest.mark.parametrize(
    ("family", "changes", "regions"),
    [
        ("llama", {}, 1),
        ("gemma3", {"store_dtype": "int8"}, 1),
        pytest.param("llama", {"index_bits": 2}, 8, marks=pytest.mark.long),
        pytest.param("gemma3", {"store_dtype": "int8"}, 8, marks=pytest.mark.long),
        pytest.param("lfm2", {}, 8, marks=pytest.mark.long),
    ],
)
def test_flipped_and_cut_files_are_refused_or_give_the_same_answer(
    family: str, changes: dict[str, Any], regions: int, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    saved(folder, family, KIVConfig(**{**vars(SMALL), **changes})).close()
    expected = outcome(folder, family)
    assert isinstance(expected, str)
    rng, refused, kinds = random.Random(5), 0, set()
    for path in sorted(folder.iterdir()):
        if path.name == "lock":
            continue
        sound = path.read_bytes()
        kinds.add(re.sub(r"\d+", "", path.name))
        for region, cut in itertools.product(range(regions), (False, True)):
            place = rng.randrange(region * len(sound) // regions, (region + 1) * len(sound) // regions)
            data = bytearray(sound)
            data[place] ^= 1 << rng.randrange(8)
            path.write_bytes(data[:place] if cut else data)
            got = outcome(folder, family)
            refused += got == DamagedContextError
            assert got in (expected, DamagedContextError), (path.name, cut, place, got)
        path.write_bytes(sound)
    assert refused > 20 * regions
    assert outcome(folder, family) == expected
    parts = ("manifest.json", "tokens", "document.text", "document.places", "document.starts", "document.ends")
    assert kinds >= {*parts, "layer.keys", "layer.values", "state-.safetensors"}
    assert any(kind.startswith("layer.signs") for kind in kinds)
    assert ("layer.keys.scales" in kinds) is ("store_dtype" in changes)


def damage(path: Path, place: int) -> None:
    """Flip a bit of a file that may be mapped at this moment."""
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 16]))


@pytest.mark.parametrize("kind", ["keys", "values"])
def test_a_block_that_is_damaged_while_it_is_open_ends_the_answer_with_an_error(
    kind: str, tmp_path: Path, contexts: list[Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "kept").close()
    monkeypatch.setattr(BackgroundCheck, "_run", lambda _check: None)  # nothing is checked but what is used
    contexts.append(opened(tmp_path / "kept"))
    [context] = contexts
    damage(tmp_path / "kept" / f"layer0.{kind}", 1_000)
    for _ in range(2):
        answer = ask(context)
        assert isinstance(answer, Failed)
        assert isinstance(answer.error, DamagedContextError)
        assert f"layer0.{kind} is damaged at byte 0" in answer.message
        assert not context.turns
    with pytest.raises(DamagedContextError, match=f"layer0.{kind}"):  # a copy would have sound checksums
        context.save(tmp_path / "copy")


@pytest.mark.parametrize("kind", ["keys", "values"])
def test_a_file_that_is_cut_while_it_is_open_ends_the_answer_with_an_error(
    kind: str, tmp_path: Path, contexts: list[Context]
) -> None:
    """Unless its length is looked at, the process is killed (SIGBUS)."""
    contexts.append(saved(tmp_path / "kept"))
    contexts.append(context := opened(tmp_path / "kept"))
    os.truncate(tmp_path / "kept" / f"layer0.{kind}", 5_000)
    answer = ask(context)
    assert isinstance(answer, Failed)
    assert f"layer0.{kind} was cut off while it was in use" in answer.message


def test_what_is_damaged_is_found_before_it_is_used(tmp_path: Path, contexts: list[Context]) -> None:
    saved(tmp_path / "kept").close()
    damage(tmp_path / "kept" / "layer1.values", 5)
    contexts.append(opened(tmp_path / "kept"))
    check = contexts[0]._check
    assert check is not None
    check._thread.join()
    with pytest.raises(DamagedContextError, match=r"layer1\.values"):
        check.require_sound()
    events = list(contexts[0].ask("How many?", SHORT))
    assert [event for event in events if isinstance(event, TextDelta)] == []
    assert isinstance(events[-1], Failed)
    contexts[0].close()
    assert not check._thread.is_alive()


def test_the_check_ends_with_its_context(
    tmp_path: Path, contexts: list[Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "kept").close()
    monkeypatch.setattr(MappedRows, "check_next", lambda _rows: True)  # there is always more to check
    contexts.append(opened(tmp_path / "kept"))
    check = contexts[0]._check
    assert check is not None
    assert check._thread.is_alive()
    contexts[0].close()
    assert not check._thread.is_alive()


def test_a_context_that_is_removed_while_it_is_open_goes_on(tmp_path: Path, contexts: list[Context]) -> None:
    saved(tmp_path / "kept").close()
    expected = outcome(tmp_path / "kept")
    contexts.append(opened(tmp_path / "kept"))
    SavedContext.remove(tmp_path / "kept")
    assert ask(contexts[0]).text == expected  # type: ignore[union-attr]


def test_what_is_in_use_on_windows_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "kept").close()
    before, rename = contents(tmp_path / "kept"), Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name == "layer0.keys":
            raise PermissionError(13, "in use")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(
        SavedContextError, match=r"layer0\.keys is in use, by another chat or program.*Nothing was removed"
    ):
        SavedContext.remove(tmp_path / "kept")
    assert contents(tmp_path / "kept") == before


def test_on_windows_the_lock_goes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "kept").close()
    unlink = Path.unlink

    def refuse_lock(self: Path, missing_ok: bool = False) -> None:
        if self.name == "lock":
            raise PermissionError(13, "in use")
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse_lock)
    assert SavedContext.remove(tmp_path / "kept") > 0
    assert {path.name for path in tmp_path.rglob("*")} <= {"kept", "lock"}


def test_every_damaged_block_of_a_file_is_found(tmp_path: Path) -> None:
    rows = torch.arange(3 * BLOCK_BYTES // 4 + 10, dtype=torch.int32)
    with BlockWriter(tmp_path / "rows") as writer:
        for first in range(0, len(rows), 70_000):
            writer.append(rows[first : first + 70_000])
        written = writer.written
    with BlockWriter(tmp_path / "at once") as writer:
        writer.append(rows)
        assert writer.written == written
        writer.cut(BLOCK_BYTES + 40)
        writer.append(rows[BLOCK_BYTES // 4 + 10 :])
        assert writer.written == written
    written.check(tmp_path / "rows")
    good = (tmp_path / "rows").read_bytes()
    for place in (0, BLOCK_BYTES, 2 * BLOCK_BYTES + 5, len(good) - 1):
        (tmp_path / "rows").write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        with pytest.raises(DamagedContextError, match="damaged at byte"):
            written.check(tmp_path / "rows")
    assert BlockFile.from_json(written.to_json()) == written


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk takes the rights of root, on Linux")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)  # a test that failed may still have files open


@pytest.mark.parametrize("free", [16, 64, 128, 256])
def test_a_full_disk_ends_saving_and_nothing_else(free: int, small_disk: Path, contexts: list[Context]) -> None:
    contexts += [Context(loaded("llama"), SMALL), Context(loaded("llama"), SMALL)]
    plain, context = contexts
    read(plain, DOCUMENT)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * ((512 - free) << 10))
    context.save(small_disk / "kept")
    finished = read(context, DOCUMENT)
    assert isinstance(finished, ReadFinished), finished
    assert "is full" in finished.not_saved
    assert answers(context) == answers(plain)
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    if SavedContext.exists(small_disk / "kept"):
        SavedContext.open(small_disk / "kept").verify()
        contexts.append(opened(small_disk / "kept"))
        finished = read(contexts[-1])
    else:
        contexts.append(Context(loaded("llama"), SMALL))
        contexts[-1].save(small_disk / "kept")
        finished = read(contexts[-1], DOCUMENT)
    assert isinstance(finished, ReadFinished)
    assert finished.not_saved == ""
    SavedContext.open(small_disk / "kept").verify()
    contexts.append(opened(small_disk / "kept"))
    assert answers(contexts[-1]) == answers(contexts[-2])


def test_what_the_disk_refuses_after_reading_went_on_ends_saving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contexts: list[Context]
) -> None:
    sync, calls = BlockWriter.sync, itertools.count()

    def refusing(writer: BlockWriter) -> None:
        if next(calls) > 40:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(writer)

    monkeypatch.setattr(BlockWriter, "sync", refusing)
    contexts += [Context(loaded("llama"), SMALL), Context(loaded("llama"), SMALL)]
    plain, context = contexts
    read(plain, DOCUMENT)
    context.save(tmp_path / "kept")
    finished = read(context, DOCUMENT)
    assert isinstance(finished, ReadFinished), finished
    assert "is full" in finished.not_saved
    assert answers(context) == answers(plain)
    kept = SavedContext.open(tmp_path / "kept")
    kept.verify()
    assert 0 < kept.num_tokens < finished.tokens_read


def test_a_checkpoint_that_failed_half_way_is_written_whole_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contexts: list[Context]
) -> None:
    take_down, calls = ContextWriter._taken_down, itertools.count()

    def failing(writer: ContextWriter, *arguments: Any) -> Any:
        if next(calls) == 0:
            raise MemoryError
        return take_down(writer, *arguments)

    monkeypatch.setattr(ContextWriter, "_taken_down", failing)
    context = Context(loaded("llama"), SMALL)
    contexts.append(context)
    context.save(tmp_path / "kept")
    assert isinstance(read(context, DOCUMENT), Failed)
    assert isinstance(read(context), ReadFinished)
    SavedContext.open(tmp_path / "kept").verify()
    contexts.append(opened(tmp_path / "kept"))
    assert answers(contexts[1]) == answers(context)


# -- what is refused -----------------------------------------------------------------------------------------------


def test_another_model_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "kept").close()
    with pytest.raises(SavedContextError, match="another model"):
        opened(tmp_path / "kept", "qwen2")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b'{"checksum": 3, "context": {}}', b"\xff\xfe", b"[" * 100_000]
)
def test_a_foreign_folder_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(SavedContextError, match="holds no saved context"):
        SavedContext.open(tmp_path)
    with pytest.raises(SavedContextError, match="does not exist"):
        SavedContext.open(tmp_path / "nowhere")
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(DamagedContextError, match="damaged"):
        SavedContext.open(tmp_path)


def test_a_folder_with_something_in_it_is_not_written(tmp_path: Path, contexts: list[Context]) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    contexts.append(Context(loaded("llama"), SMALL))
    with pytest.raises(SavedContextError, match="not empty"):
        contexts[0].save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_two_writers_do_not_share_a_folder(tmp_path: Path, contexts: list[Context]) -> None:
    contexts += [Context(loaded("llama"), SMALL), Context(loaded("llama"), SMALL)]
    contexts[0].save(tmp_path / "kept")
    with pytest.raises(SavedContextError, match="another program"):
        contexts[1].save(tmp_path / "kept")
    read(contexts[0], DOCUMENT, should_stop=lambda: True)
    with pytest.raises(SavedContextError, match="another program"):
        SavedContext.remove(tmp_path / "kept")


def test_what_another_program_wrote_meanwhile_is_not_written_over(tmp_path: Path, contexts: list[Context]) -> None:
    context = Context(loaded("llama"), SMALL)
    context.save(tmp_path / "kept")
    read(context, DOCUMENT, should_stop=after(4, context))
    context.close()
    found = SavedContext.open(tmp_path / "kept")
    contexts.append(opened(tmp_path / "kept"))
    read(contexts[0])
    with pytest.raises(SavedContextError, match="by another program meanwhile"):
        Context.opened(loaded("llama"), found)
    SavedContext.open(tmp_path / "kept").verify()
    contexts.append(opened(tmp_path / "kept"))
    assert answers(contexts[1]) == answers(contexts[0])


def test_what_was_killed_before_its_first_checkpoint_is_begun_anew(tmp_path: Path, contexts: list[Context]) -> None:
    folder = tmp_path / "kept"
    saved(folder).close()
    (folder / MANIFEST).unlink()
    assert len(list(folder.iterdir())) > 5
    (folder / "lock").unlink()  # then it is somebody's folder who likes our names
    contexts.append(Context(loaded("llama"), SMALL))
    with pytest.raises(SavedContextError, match="not empty"):
        contexts[0].save(folder)
    (folder / "lock").touch()
    contexts[0].save(folder)
    assert [path.name for path in folder.iterdir()] == ["lock"]
    assert isinstance(read(contexts[0], DOCUMENT), ReadFinished)
    SavedContext.open(folder).verify()


def test_saving_comes_before_the_first_question(tmp_path: Path, contexts: list[Context]) -> None:
    context = Context(loaded("llama"), SMALL)
    contexts.append(context)
    read(context, DOCUMENT)
    ask(context)
    with pytest.raises(ConfigError, match="before the first question"):
        context.save(tmp_path / "kept")


def test_what_was_read_before_is_saved_at_once(tmp_path: Path, contexts: list[Context]) -> None:
    context = Context(loaded("llama"), SMALL)
    contexts.append(context)
    read(context, DOCUMENT)
    context.save(tmp_path / "kept")
    contexts.append(opened(tmp_path / "kept"))
    assert answers(contexts[1]) == answers(context)
    assert SavedContext.open(tmp_path / "kept").holds([DOCUMENT])
    assert not SavedContext.open(tmp_path / "kept").holds([Document("log", TEXT + "x")])
