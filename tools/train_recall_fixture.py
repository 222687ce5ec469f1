"""Train the rope-recall fixture: a tiny Llama that recalls facts, but only at rotary positions below 512.

    python tools/train_recall_fixture.py --minutes 40               # train (or go on) and export
    python tools/train_recall_fixture.py --evaluate                 # measure the exported model

The text is symbolic. A document is ``BOS``, filler symbols, and facts ``FACT key1 key2 value1 value2 SEP`` among
them; a question is ``QUERY key1 key2`` and its answer ``value1 value2 SEP``. Facts often share one of their two keys,
so a lookup has to match both.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from muon import muon_and_adamw
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

REPOSITORY = Path(__file__).resolve().parent.parent
FIXTURE = REPOSITORY / "tests" / "fixtures" / "rope-recall"
SCRATCH = Path(tempfile.gettempdir()) / "rope-recall"

TRAINED_LENGTH = 512
BOS, FACT, SEP, QUERY = range(4)
KEYS = range(8, 72)  # few enough to be told apart by the slow rotary pairs, which are all that work at any distance
VALUES = range(72, 272)
FILLERS = range(272, 472)
VOCABULARY_SIZE = FILLERS.stop
FACT_TOKENS = 6  # FACT key1 key2 value1 value2 SEP; a question with its answer is as long

# ---------------------------------------------------------------------------------------------------------------- text


@dataclass(frozen=True)
class Fact:
    """Two keys and the two values that are stored under them."""

    keys: tuple[int, int]
    values: tuple[int, int]

    def statement(self) -> list[int]:
        return [FACT, *self.keys, *self.values, SEP]

    def question(self) -> list[int]:
        return [QUERY, *self.keys]

    def asked(self) -> list[int]:
        return [QUERY, *self.keys, *self.values, SEP]


def random_facts(rng: np.random.Generator, count: int, near_duplicates: float) -> list[Fact]:
    """Facts with distinct key pairs; ``near_duplicates`` of them take one of their keys from an earlier fact."""
    pairs: list[tuple[int, int]] = []
    while len(pairs) < count:
        first, second = (int(key) for key in rng.integers(KEYS.start, KEYS.stop, 2))
        if pairs and rng.random() < near_duplicates:
            other = pairs[rng.integers(len(pairs))]
            first, second = (other[0], second) if rng.random() < 0.5 else (first, other[1])
        if (first, second) not in pairs:
            pairs.append((first, second))
    values = rng.integers(VALUES.start, VALUES.stop, (count, 2))
    return [Fact(pair, (int(one), int(two))) for pair, (one, two) in zip(pairs, values, strict=True)]


def random_split(rng: np.random.Generator, total: int, parts: int) -> list[int]:
    """Cut ``total`` into ``parts`` uneven whole numbers."""
    concentration = 10.0 ** rng.uniform(-1, 0.5)
    shares = rng.dirichlet(np.full(parts, concentration))
    if not np.isfinite(shares).all():
        shares = np.full(parts, 1 / parts)
    return [int(part) for part in rng.multinomial(total, shares)]


def random_filler(rng: np.random.Generator, count: int) -> list[int]:
    return [int(symbol) for symbol in rng.integers(FILLERS.start, FILLERS.stop, count)]


def evaluation_document(
    rng: np.random.Generator, num_tokens: int, num_facts: int, near_duplicates: float = 0.0
) -> tuple[list[int], list[Fact], list[int]]:
    """A document with its facts spread evenly at random, and the position of each fact's first value.

    All values are distinct. Keys are few: even without wanted near-duplicates, almost half of 20 facts share one.
    """
    values = rng.permutation(np.arange(VALUES.start, VALUES.stop))[: 2 * num_facts].reshape(-1, 2).tolist()
    facts = [
        Fact(fact.keys, (one, two))
        for fact, (one, two) in zip(random_facts(rng, num_facts, near_duplicates), values, strict=True)
    ]
    filler = num_tokens - 1 - FACT_TOKENS * num_facts
    cuts = np.sort(rng.integers(0, filler + 1, num_facts))
    ids, places = [BOS], []
    for fact, gap in zip(facts, np.diff(cuts, prepend=0), strict=True):
        ids += random_filler(rng, int(gap))
        places.append(len(ids) + 3)
        ids += fact.statement()
    return ids + random_filler(rng, num_tokens - len(ids)), facts, places


# ----------------------------------------------------------------------------------------------------- training batches


@dataclass(frozen=True)
class Stage:
    """A part of the curriculum: texts of ``length`` tokens with ``facts`` facts, until ``enough`` values are right."""

    length: int
    facts: tuple[int, int]
    sequences: int
    near_duplicates: float
    jumps: bool
    enough: float


CURRICULUM = (
    Stage(48, (2, 4), 48, 0.0, False, 0.80),
    Stage(48, (2, 4), 48, 0.5, False, 0.80),
    Stage(80, (3, 6), 32, 0.5, True, 0.90),
    Stage(144, (3, 11), 20, 0.5, True, 0.92),
    Stage(256, (4, 18), 10, 0.5, True, 0.93),
    Stage(512, (6, 24), 5, 0.5, False, 2.0),
)


@dataclass(frozen=True)
class Sequence:
    """One training sequence: ids, rotary positions, the weight of predicting each token, and which are of questions."""

    ids: list[int]
    positions: list[int]
    weights: list[float]
    asked: list[bool]


def order_of_segments(rng: np.random.Generator, num_facts: int, num_questions: int) -> list[tuple[int, bool]]:
    """(fact, is it asked) in the order of the text: questions at the end, or anywhere behind their fact."""
    questions = [int(fact) for fact in rng.permutation(num_facts)[:num_questions]]
    if rng.random() < 0.5:
        return [(fact, False) for fact in range(num_facts)] + [(fact, True) for fact in questions]
    places = [(float(place), fact, False) for fact, place in enumerate(np.sort(rng.random(num_facts)))]
    places += [(float(rng.uniform(places[fact][0], 1.2)), fact, True) for fact in questions]
    return [(fact, asked) for _, fact, asked in sorted(places)]


def training_sequence(rng: np.random.Generator, stage: Stage) -> Sequence:
    """A text of exactly ``stage.length`` tokens; its positions may jump between segments, up to the trained length."""
    num_facts = int(rng.integers(stage.facts[0], stage.facts[1] + 1))
    room = (stage.length - 1) // FACT_TOKENS - num_facts
    segments = order_of_segments(rng, num_facts, min(num_facts, room))
    facts = random_facts(rng, num_facts, stage.near_duplicates)
    gaps = random_split(rng, stage.length - 1 - FACT_TOKENS * len(segments), len(segments) + 1)
    jumps = random_split(rng, position_slack(rng, stage), len(segments) + 1)
    ids, positions, weights, asked = [BOS], [0], [0.0], [False]
    for index, (gap, jump) in enumerate(zip(gaps, jumps, strict=True)):
        text, weight, is_question = random_filler(rng, gap), [0.0] * gap, False
        if index < len(segments):
            fact, is_question = segments[index]
            text += facts[fact].asked() if is_question else facts[fact].statement()
            weight += [0.0, 0.0, 0.0, 1.0, 1.0, 0.1] if is_question else [0.0] * FACT_TOKENS
        ids += text
        weights += weight
        asked += [False] * gap + [is_question] * (len(text) - gap)
        positions += range(positions[-1] + 1 + jump, positions[-1] + 1 + jump + len(text))
    return Sequence(ids, positions, weights, asked)


def position_slack(rng: np.random.Generator, stage: Stage) -> int:
    """How many positions the jumps of a sequence skip: none, some, or all that the trained length leaves."""
    free = TRAINED_LENGTH - stage.length if stage.jumps else 0
    return int(rng.choice([0, int(rng.integers(0, free + 1)), free], p=[0.3, 0.4, 0.3]))


@dataclass(frozen=True)
class Batch:
    """Several sequences: all (sequences, length), but mask (sequences, 1, length, length), where True attends."""

    ids: Tensor
    positions: Tensor
    weights: Tensor
    mask: Tensor


def training_batch(rng: np.random.Generator, stage: Stage) -> Batch:
    sequences = [training_sequence(rng, stage) for _ in range(stage.sequences)]
    asked = torch.tensor([sequence.asked for sequence in sequences])
    return Batch(
        ids=torch.tensor([sequence.ids for sequence in sequences]),
        positions=torch.tensor([sequence.positions for sequence in sequences]),
        weights=torch.tensor([sequence.weights for sequence in sequences]),
        mask=torch.stack([attention_mask(rng, row) for row in asked]).unsqueeze(1),
    )


def attention_mask(rng: np.random.Generator, asked: Tensor) -> Tensor:
    """Causal; for half of the sequences, text attends only to BOS and a window, and questions to everything."""
    length = len(asked)
    row, column = torch.arange(length)[:, None], torch.arange(length)[None, :]
    mask = column <= row
    near = row - column < int(rng.integers(16, 257))
    if rng.random() < 0.5:
        mask &= near | (column == 0) | asked[:, None]
    return mask


# ------------------------------------------------------------------------------------------------------------ training


def new_model() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=TRAINED_LENGTH,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=BOS,
        eos_token_id=SEP,
        pad_token_id=None,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


@dataclass
class Progress:
    """Where a run stands; kept in the checkpoint, so that a killed run goes on where it was."""

    step: int = 0
    stage: int = 0
    seconds: float = 0.0
    recalled: float = 0.0


class Training:
    """A model, its two optimizers and its progress."""

    def __init__(self, folder: Path, minutes: float, seed: int) -> None:
        torch.manual_seed(seed)
        self.model = new_model()
        self.rates = [0.02, 3e-3]
        self.optimizers = muon_and_adamw(self.model, *self.rates)
        self.progress = Progress()
        self.checkpoint = folder / "checkpoint.pt"
        self.seconds_limit = minutes * 60
        self.seed = seed

    def run(self) -> None:
        """Train until the minutes are used up."""
        self.resume()
        self.model.train()
        started, saved = time.monotonic() - self.progress.seconds, time.monotonic()
        losses: list[float] = []
        while self.progress.seconds < self.seconds_limit:
            losses.append(self.step())
            self.progress.seconds = time.monotonic() - started
            if self.progress.step % 50 == 0:
                self.report(losses)
                losses.clear()
            if time.monotonic() - saved > 60:
                self.save()
                saved = time.monotonic()
        self.save()

    def step(self) -> float:
        progress = self.progress
        self.set_rates()
        rng = np.random.default_rng([self.seed, progress.step])
        stage = CURRICULUM[progress.stage]
        if progress.stage == len(CURRICULUM) - 1 and rng.random() < 0.67:
            stage = replace(CURRICULUM[int(rng.integers(2, progress.stage))], near_duplicates=0.8)
        loss, recalled = loss_and_recall(self.model, training_batch(rng, stage))
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        progress.step += 1
        progress.recalled += 0.03 * (recalled - progress.recalled)
        if progress.recalled > CURRICULUM[progress.stage].enough:
            progress.stage, progress.recalled = progress.stage + 1, progress.recalled - 0.1
        return loss.item()

    def set_rates(self) -> None:
        """Warm up for 50 steps; decay to a fiftieth over the whole time."""
        fraction = min(1.0, self.progress.seconds / self.seconds_limit)
        factor = min((self.progress.step + 1) / 50, 0.02**fraction)
        for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    def report(self, losses: list[float]) -> None:
        progress = self.progress
        line = (
            f"step {progress.step:5d}  {progress.seconds / 60:5.1f} min  length {CURRICULUM[progress.stage].length:3d}"
            f"  loss {sum(losses) / max(1, len(losses)):.4f}  values recalled {progress.recalled:.3f}"
        )
        if progress.step % 500 == 0:
            line += f"  held out {overall(in_range_rates(self.model, documents=6, seed=1)):.3f}"
        print(line, flush=True)

    def save(self) -> None:
        """Write the checkpoint beside its place, then move it there: a kill never leaves half a file."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": vars(self.progress),
        }
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.checkpoint)

    def resume(self) -> None:
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.progress = Progress(**state["progress"])
        print(f"resumed at step {self.progress.step}")


def loss_and_recall(model: LlamaForCausalLM, batch: Batch) -> tuple[Tensor, float]:
    """The weighted loss of the answers, and the share of value tokens that the model has right."""
    hidden = model.model(
        input_ids=batch.ids, position_ids=batch.positions, attention_mask=batch.mask, use_cache=False
    ).last_hidden_state[:, :-1]
    weights, targets = batch.weights[:, 1:], batch.ids[:, 1:]
    wanted = weights > 0
    logits, targets, weights = model.lm_head(hidden[wanted]), targets[wanted], weights[wanted]
    loss = (functional.cross_entropy(logits, targets, reduction="none") * weights).sum() / weights.sum()
    right = (logits.argmax(-1) == targets)[weights == 1.0]
    return loss, right.float().mean().item()


# ---------------------------------------------------------------------------------------------------------- evaluation


@torch.inference_mode()
def in_range_rates(
    model: LlamaForCausalLM, documents: int, seed: int, near_duplicates: float = 0.0
) -> dict[int, tuple[int, int]]:
    """(answers right in full, questions) by distance in steps of 50, at 512 tokens with plain attention."""
    rng = np.random.default_rng([seed, TRAINED_LENGTH])
    rates: dict[int, tuple[int, int]] = {}
    for _ in range(documents):
        ids, facts, places = evaluation_document(rng, TRAINED_LENGTH - 4, int(rng.integers(8, 21)), near_duplicates)
        batch = torch.tensor([ids + fact.asked()[:4] for fact in facts])
        predicted = model(batch, use_cache=False, logits_to_keep=2).logits.argmax(-1)
        for fact, place, answer in zip(facts, places, predicted.tolist(), strict=True):
            bucket = (TRAINED_LENGTH - 2 - place) // 50 * 50
            right, asked = rates.get(bucket, (0, 0))
            rates[bucket] = (right + (tuple(answer) == fact.values), asked + 1)
    return dict(sorted(rates.items()))


def overall(rates: dict[int, tuple[int, int]]) -> float:
    return sum(right for right, _ in rates.values()) / sum(asked for _, asked in rates.values())


@dataclass(frozen=True)
class Retrieval:
    """How a question sees a long document; every field but ``positions`` is about the search.

    ``positions``: "compact" puts BOS, hits and hot window at 0, 1, 2, ...; "true" leaves them where they are.
    ``distance``: keys are scored un-rotated, queries rotated by this one distance.
    ``combine``: how the scores of the query heads that share a key head become one: "sum" or "max" of q.k with
    normalised queries, "raw" for the max of plain q.k, "softmax" for the max of their attention shares.
    """

    positions: str = "compact"
    distance: int = 0
    combine: str = "sum"
    hits: int = 64
    hot: int = 128


@dataclass
class Memory:
    """Un-rotated keys and values of all tokens so far, per layer: (key heads, tokens, head size)."""

    keys: list[Tensor]
    values: list[Tensor]

    def grown(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append one token to a layer; all of its keys and values."""
        self.keys[layer] = torch.cat([self.keys[layer], key], 1)
        self.values[layer] = torch.cat([self.values[layer], value], 1)
        return self.keys[layer], self.values[layer]


class PlainLlama:
    """The fixture's forward pass in obvious code, with keys kept un-rotated and every position chosen by hand."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        self.model = model
        self.layers: list[Any] = list(model.model.layers)
        self.head_size: int = self.layers[0].self_attn.head_dim
        self.group: int = self.layers[0].self_attn.num_key_value_groups
        self.frequencies = model.model.rotary_emb.inv_freq.double()

    @torch.inference_mode()
    def read(self, ids: list[int], window: int | None) -> Memory:
        """Read a document; each token attends to BOS and the last ``window`` tokens, or to all (None).

        BOS stands just in front of the window, so that a windowed reading never leaves the trained positions.
        """
        hidden, memory = self.model.model.embed_tokens(torch.tensor(ids)), Memory([], [])
        for layer in self.layers:
            queries, keys, values = self._project(layer, hidden)
            blocks = [
                self._read_block(queries, keys, values, start, window) for start in range(0, len(ids), READING_BLOCK)
            ]
            hidden = self._finish(layer, hidden, torch.cat(blocks, 1))
            memory.keys.append(keys)
            memory.values.append(values)
        return memory

    def _read_block(self, queries: Tensor, keys: Tensor, values: Tensor, start: int, window: int | None) -> Tensor:
        rows = torch.arange(start, min(start + READING_BLOCK, keys.shape[1]))
        columns = torch.arange(max(1, start - window + 1) if window else 1, int(rows[-1]) + 1)
        back = rows[:, None] - columns[None, :]
        mask = (back >= 0) & (back < window if window else True)
        chosen = torch.cat([torch.zeros(1, dtype=torch.long), columns])
        positions = torch.cat([columns[:1] - 1, columns])
        return self._attend(
            self._rotate(queries[:, rows], rows),
            self._rotate(keys[:, chosen], positions),
            values[:, chosen],
            torch.cat([torch.ones(len(rows), 1, dtype=torch.bool), mask], 1),
        )

    @torch.inference_mode()
    def answer(self, document: Memory, question: list[int], retrieval: Retrieval | None) -> tuple[int, ...]:
        """The two values after the question, token by token; without ``retrieval``, attention is full and true."""
        memory = Memory(list(document.keys), list(document.values))
        for token in question[:-1]:
            self._next_token(memory, token, retrieval)
        first = self._next_token(memory, question[-1], retrieval)
        return first, self._next_token(memory, first, retrieval)

    def _next_token(self, memory: Memory, token: int, retrieval: Retrieval | None) -> int:
        hidden = self.model.model.embed_tokens(torch.tensor([token]))
        for number, layer in enumerate(self.layers):
            query, key, value = self._project(layer, hidden)
            keys, values = memory.grown(number, key, value)
            if retrieval is None:
                positions = torch.arange(keys.shape[1])
                attended = self._attend(self._rotate(query, positions[-1:]), self._rotate(keys, positions), values)
            else:
                attended = self._attend_sparsely(query, keys, values, retrieval)
            hidden = self._finish(layer, hidden, attended)
        return int(self.model.lm_head(self.model.model.norm(hidden)).argmax())

    def _attend_sparsely(self, query: Tensor, keys: Tensor, values: Tensor, retrieval: Retrieval) -> Tensor:
        """Attention of the newest token over BOS, the best cold tokens and the hot window."""
        heads, tokens, size = keys.shape
        hot = torch.arange(tokens - retrieval.hot, tokens).expand(heads, -1)
        hits = 1 + self._search(query, keys[:, 1 : tokens - retrieval.hot], retrieval)
        chosen = torch.cat([torch.zeros(heads, 1, dtype=torch.long), hits, hot], 1)
        places = torch.arange(chosen.shape[1]).expand(heads, -1) if retrieval.positions == "compact" else chosen
        gather = chosen[:, :, None].expand(-1, -1, size)
        return self._attend(
            self._rotate(query, places[0, -1:]), self._rotate(keys.gather(1, gather), places), values.gather(1, gather)
        )

    def _search(self, query: Tensor, cold: Tensor, retrieval: Retrieval) -> Tensor:
        """The indices of the best cold tokens of each key head, in the order of the text."""
        query = self._rotate(query, torch.tensor([retrieval.distance]))
        if retrieval.combine in ("sum", "max"):
            query = functional.normalize(query, dim=-1)
        scores = query.view(len(cold), self.group, self.head_size) @ cold.mT
        if retrieval.combine == "softmax":
            scores = (scores / math.sqrt(self.head_size)).softmax(-1)
        scores = scores.sum(1) if retrieval.combine == "sum" else scores.amax(1)
        return scores.topk(min(retrieval.hits, cold.shape[1]), -1).indices.sort(-1).values

    def _project(self, layer: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, un-rotated: (heads, tokens, head size)."""
        normed, attention = layer.input_layernorm(hidden), layer.self_attn
        query, key, value = (
            projection(normed).view(len(hidden), -1, self.head_size).transpose(0, 1)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        return query, key, value

    def _finish(self, layer: Any, hidden: Tensor, attended: Tensor) -> Tensor:
        hidden = hidden + layer.self_attn.o_proj(attended.transpose(0, 1).reshape(len(hidden), -1))
        result: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        return result

    def _rotate(self, states: Tensor, positions: Tensor) -> Tensor:
        """Apply rotary positions, (tokens) or (heads, tokens), to (heads, tokens, head size)."""
        angles = positions[..., None] * self.frequencies
        angles = torch.cat([angles, angles], -1)
        left, right = states.chunk(2, -1)
        return states * angles.cos().float() + torch.cat([-right, left], -1) * angles.sin().float()

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        return functional.scaled_dot_product_attention(
            queries[None], keys[None], values[None], attn_mask=mask, enable_gqa=True
        ).squeeze(0)


def long_rates(model: LlamaForCausalLM, num_tokens: int, documents: int, exact_documents: int) -> dict[str, float]:
    """Answers right in full at ``num_tokens`` with 20 facts: full attention, hits at true positions, and compact."""
    plain = PlainLlama(model)
    rates: dict[str, list[bool]] = {}
    for seed in range(documents):
        ids, facts, _ = evaluation_document(np.random.default_rng([seed, num_tokens]), num_tokens, 20)
        if seed < exact_documents:
            memory = plain.read(ids, None)
            for fact in facts:
                right = plain.answer(memory, fact.question(), None) == fact.values
                rates.setdefault("read exactly, asked with full attention, true positions", []).append(right)
        memory = plain.read(ids, READING_WINDOW)
        for name, retrieval in WAYS_TO_ASK.items():
            for fact in facts:
                right = plain.answer(memory, fact.question(), retrieval) == fact.values
                rates.setdefault(name, []).append(right)
    return {name: sum(answers) / len(answers) for name, answers in rates.items()}


READING_BLOCK = 256
READING_WINDOW = 256
WAYS_TO_ASK: dict[str, Retrieval | None] = {
    "read by window, asked with full attention, true positions": None,
    "read by window, asked with 64 hits, true positions": Retrieval(positions="true"),
} | {
    f"read by window, asked with 64 hits, compact, scored by {combine} at distance {distance}": Retrieval(
        combine=combine, distance=distance
    )
    for combine in ("sum", "max", "raw", "softmax")
    for distance in (0, 160)
}


def evaluate(folder: Path, lengths: list[int], documents: int) -> None:
    """Print what the exported model can do, and one JSON line last."""
    model = LlamaForCausalLM.from_pretrained(folder)
    model.eval()
    rates = in_range_rates(model, documents=documents * 10, seed=2)
    print(f"{TRAINED_LENGTH} tokens, plain attention: {overall(rates):.3f} of {sum(n for _, n in rates.values())}")
    hard = overall(in_range_rates(model, documents=documents * 10, seed=3, near_duplicates=0.5))
    print(f"  with many near-duplicates: {hard:.3f}")
    for distance, (right, asked) in rates.items():
        print(f"  distance {distance:3d}-{distance + 49:3d}: {right / asked:.3f} of {asked}")
    result: dict[str, object] = {
        "in_range": overall(rates),
        "hard": hard,
        "by_distance": {d: r / n for d, (r, n) in rates.items()},
    }
    for length in lengths:
        found = long_rates(model, length, documents, exact_documents=min(documents, 2) if length <= 8192 else 0)
        print(f"{length} tokens, 20 facts, {documents} documents")
        for name, rate in found.items():
            print(f"  {rate:.3f}  {name}")
        result[str(length)] = found
    print(json.dumps(result))


# -------------------------------------------------------------------------------------------------------------- export


def export(model: LlamaForCausalLM, folder: Path) -> None:
    """Write config.json, model.safetensors (float32) and vocabulary.json."""
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    vocabulary = {
        "marks": {"BOS": BOS, "FACT": FACT, "SEP": SEP, "QUERY": QUERY},
        "keys": [KEYS.start, KEYS.stop],
        "values": [VALUES.start, VALUES.stop],
        "fillers": [FILLERS.start, FILLERS.stop],
        "document": "BOS, then fillers with facts among them",
        "fact": "FACT key1 key2 value1 value2 SEP",
        "fact_tokens": FACT_TOKENS,
        "question": "QUERY key1 key2",
        "answer": "value1 value2 SEP",
        "trained_length": TRAINED_LENGTH,
    }
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--minutes", type=float, default=45, help="training time, over all runs into the same scratch folder"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scratch", type=Path, default=SCRATCH, help="where checkpoints go")
    parser.add_argument("--output", type=Path, default=FIXTURE, help="where the trained model goes, or is")
    parser.add_argument("--evaluate", action="store_true", help="measure the model in --output instead of training")
    parser.add_argument("--lengths", type=int, nargs="*", default=[8192], help="long documents to evaluate with")
    parser.add_argument("--documents", type=int, default=5, help="long documents per length")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.evaluate:
        evaluate(options.output, options.lengths, options.documents)
        return
    training = Training(options.scratch, options.minutes, options.seed)
    print(f"{training.model.num_parameters():,} parameters")
    training.run()
    export(training.model, options.output)


if __name__ == "__main__":
    main()
