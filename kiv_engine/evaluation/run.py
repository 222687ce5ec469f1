"""The run of `kiv eval`: every document is read once by every cache, and all its questions are asked from there."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kiv_engine.config import KIVConfig, require_choice, require_whole
from kiv_engine.context_folder import fingerprint
from kiv_engine.engine import Engine
from kiv_engine.errors import CapacityError, ConfigError
from kiv_engine.evaluation.haystack import FEWEST_TOKENS, Haystack, make_haystack
from kiv_engine.evaluation.journal import Journal
from kiv_engine.evaluation.machine import describe_machine, shortage
from kiv_engine.evaluation.progress import Clock, Note, Progress
from kiv_engine.evaluation.readers import BY_NAME, ENTRANTS, Entrant, Reader, ReadingStoppedError
from kiv_engine.evaluation.tasks import SCATTERED, TASKS, Question
from kiv_engine.stopping import ShouldStop

LENGTHS: Final = (4_096, 16_384, 65_536, 262_144, 1_048_576)
QUICK_LENGTHS: Final = (4_096, 16_384, 65_536)
QUADRATIC_TOKENS: Final = 65_536
QUICK_QUADRATIC_TOKENS: Final = 16_384
ANSWER_TOKENS: Final = 24
"""An answer may have so many tokens beside twice those of what it must hold."""

TASKS_VERSION: Final = 1

USUAL: Final = tuple(entrant.name for entrant in ENTRANTS if entrant.usual)


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        lengths: of the documents, in tokens.
        seeds: documents per length.
        tasks, entrants: names.
        num_depths: parts of a document in each of which every kind of needle lies once.
        quadratic_tokens: caches whose reading time grows with the square of the length read up to this length.
    """

    lengths: tuple[int, ...] = LENGTHS
    seeds: int = 3
    tasks: tuple[str, ...] = TASKS
    entrants: tuple[str, ...] = USUAL
    num_depths: int = 5
    quadratic_tokens: int = QUADRATIC_TOKENS

    def __post_init__(self) -> None:
        require_whole("seeds", self.seeds, 1, 1_000)
        require_whole("depths", self.num_depths, 1, 20)
        for length in self.lengths:
            require_whole("lengths", length, FEWEST_TOKENS, 10_000_000)
        for task in self.tasks:
            require_choice("tasks", task, TASKS)
        for name in self.entrants:
            require_choice("peers", name, tuple(BY_NAME))
        if not (self.lengths and self.tasks and self.entrants):
            raise ConfigError("lengths, tasks and peers must each name at least one.")

    def too_long(self, entrant: Entrant, length: int) -> str | None:
        """Why an entrant does not read this length, or None."""
        if not entrant.quadratic or length <= self.quadratic_tokens:
            return None
        return f"reads in time that grows with the square of the length, so only up to {self.quadratic_tokens:,} tokens"


@dataclass(frozen=True)
class Cell:
    """One document read by one entrant."""

    length: int
    seed: int
    entrant: Entrant

    @property
    def cost(self) -> float:
        """Expected time, in an arbitrary unit: that of reading a token of a short text."""
        per_token = 1 + self.length / 16_384 if self.entrant.quadratic else 1.0
        return self.length * per_token + ASKING_COST * (2 if self.entrant.ours else 1)


ASKING_COST: Final = 60_000.0
"""All questions of one document cost about as much as reading so many tokens."""


class Evaluation:
    """One run over one model, into one folder.

    Attributes:
        left_out: entrant and length (None for all) with the reason why it was not run.
        documents: digest of each document's text, by length and seed.
    """

    def __init__(self, engine: Engine, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.journal = Journal(folder)
        self.left_out: list[tuple[str, int | None, str]] = []
        self.documents: dict[tuple[int, int], str] = {}
        self._engine = engine

    def header(self) -> dict[str, Any]:
        """What results in one folder have in common."""
        return {
            "tasks_version": TASKS_VERSION,
            "depths": self.plan.num_depths,
            "model": fingerprint(self._engine.loaded),
            "machine": describe_machine(),
        }

    def default_mode(self, length: int) -> str:
        """The prefill mode that the default configuration picks for a document of this length."""
        context = self._engine.new_context(KIVConfig())
        try:
            return context.cache.policy.prefill_mode(length)
        finally:
            context.close()

    def run(self, should_stop: ShouldStop) -> Iterator[Progress | Note]:
        """Read and ask; yields progress. Once `should_stop` says so it ends behind the present answer."""
        self.journal.open(self.header())
        try:
            cells = self._cells()
            clock = Clock(sum(cell.cost for cell in cells))
            for note in self.left_out:
                yield Note(f"{note[0]}{f' at {note[1]:,} tokens' if note[1] else ''}: not run; {note[2]}")
            for length in self.plan.lengths:
                for seed in range(self.plan.seeds):
                    document = make_haystack(length, seed, self.plan.num_depths, self._engine.count_tokens)
                    self.documents[length, seed] = hashlib.sha256(document.text.encode()).hexdigest()[:16]
                    for cell in [cell for cell in cells if (cell.length, cell.seed) == (length, seed)]:
                        yield from self._run_cell(cell, document, clock, should_stop)
                        if should_stop():
                            return
        finally:
            self.journal.close()

    def _cells(self) -> list[Cell]:
        """What can be run; the rest goes to `left_out`."""
        present = []
        for entrant in ENTRANTS:
            if entrant.name not in self.plan.entrants:
                continue
            if reason := entrant.missing(self._engine):
                self.left_out.append((entrant.name, None, reason))
                continue
            for length in self.plan.lengths:
                if reason := self.plan.too_long(entrant, length):
                    self.left_out.append((entrant.name, length, reason))
                else:
                    present += [Cell(length, seed, entrant) for seed in range(self.plan.seeds)]
        return present

    def _run_cell(
        self, cell: Cell, document: Haystack, clock: Clock, should_stop: ShouldStop
    ) -> Iterator[Progress | Note]:
        """Read a document and ask what was not asked yet."""
        key = self.documents[cell.length, cell.seed]
        waiting = [
            (question, everything)
            for question in document.questions
            for everything in ((False, True) if cell.entrant.ours else (False,))
            if question.task in self.plan.tasks
            and (key, cell.entrant.name, question.name, everything) not in self.journal.answers
        ]
        if not waiting:
            clock.skip(cell.cost)
            return
        label = f"{cell.entrant.label}, {cell.length:,} tokens, seed {cell.seed}"
        reader = cell.entrant.make(self._engine)
        try:
            for done in self._read(reader, cell, document, should_stop):
                yield clock.at(min(done, cell.length), f"{label}: reading")
            read_cost = cell.cost - ASKING_COST * (2 if cell.entrant.ours else 1)
            for place, (question, everything) in enumerate(waiting):
                if should_stop():
                    return
                self.journal.add(self._ask(reader, cell, question, everything))
                share = (place + 1) / len(waiting)
                yield clock.at(read_cost + share * (cell.cost - read_cost), f"{label}: {question.name}")
        except ReadingStoppedError:
            return
        except (CapacityError, MemoryError, RuntimeError) as error:
            yield self._out_of_memory(cell, error)
        finally:
            reader.close()
        clock.finish(cell.cost)

    def _out_of_memory(self, cell: Cell, error: Exception) -> Note:
        """What does not fit is left out, and the rest goes on; any other error is raised again."""
        reason = shortage(error)
        self.left_out.append((cell.entrant.name, cell.length, reason))
        return Note(f"{cell.entrant.name} at {cell.length:,} tokens: not run; {reason}")

    def _read(self, reader: Reader, cell: Cell, document: Haystack, should_stop: ShouldStop) -> Iterator[int]:
        begin = time.perf_counter()
        tokens = 0
        for tokens in reader.read(document.text, should_stop):
            yield tokens
        self.journal.add({
            "document": self.documents[cell.length, cell.seed],
            "entrant": cell.entrant.name,
            "length": cell.length,
            "seed": cell.seed,
            "tokens": tokens,
            "seconds": round(time.perf_counter() - begin, 4),
        })  # fmt: skip

    def _ask(self, reader: Reader, cell: Cell, question: Question, everything: bool) -> dict[str, Any]:
        """One line of the journal."""
        room = ANSWER_TOKENS + 2 * sum(self._engine.count_tokens(list(question.expected)))
        answer = reader.ask(question.text, room, everything=everything)
        return {
            "document": self.documents[cell.length, cell.seed],
            "entrant": cell.entrant.name,
            "length": cell.length,
            "seed": cell.seed,
            "everything": everything,
            "question": question.name,
            "task": question.task,
            "depth": question.depth,
            "expected": list(question.expected),
            "answer": answer.text,
            "found": list(question.found(answer.text)),
            "shown": self._shown(question, answer.passages),
            "answer_tokens": answer.num_tokens,
            "first_token_s": round(answer.first_token_s, 4),
            "token_s": None if answer.token_s is None else round(answer.token_s, 6),
        }

    @staticmethod
    def _shown(question: Question, passages: tuple[str, ...] | None) -> list[bool] | None:
        """Which parts the passages below an answer hold, whatever it says; None where that cannot be told."""
        if passages is None or question.task in SCATTERED:
            return None
        return list(question.found("\n\n".join(passages)))
