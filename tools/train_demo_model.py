"""Train the built-in model from generated text.

    python tools/train_demo_model.py FOLDER [--minutes N] [--seed N] [--start MODEL] [--texts FOLDER]
    python tools/train_demo_model.py FOLDER --export TARGET [--average OTHER_FOLDER]

FOLDER keeps the checkpoint, written every minute; a run that was killed goes on from it. --start begins a new run with
the weights of an exported model, at the last stage of the curriculum. One batch is a world of
`demo_data`: its chunks are encoded side by side and its questions attend to all of them, so full attention layers,
which have no positions, meet thousands of keys at the price of short texts. Two things are taught: the tokens of the
answers, and, as in dense passage retrieval with in-batch negatives (https://arxiv.org/abs/2004.04906), where two heads
of each full attention layer must look for them. There the batch stands for a longer document: the weight of all keys
but the right one is multiplied (a logit adjustment), so that the right one also wins among a million.
"""

import argparse
import json
import math
import random
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from demo_data import Recipe, World, WorldMaker
from muon import muon_and_adamw
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from transformers import SmolLM3Config, SmolLM3ForCausalLM

ROOT: Final = Path(__file__).resolve().parents[1]
TOKENIZER: Final = ROOT / "resources" / "models" / "kiv-demo"
WINDOW: Final = 64
SLIDING_LAYERS: Final = 3
FULL_LAYERS: Final = 2
MILLION: Final = 1_048_576
FACT_HEAD: Final = 0
QUOTE_HEAD: Final = 2
LOOK_WEIGHT: Final = 0.3
LONGEST_ROW: Final = 128
COPY_WEIGHT: Final = 0.3
FIRST_WEIGHT: Final = 4.0
"""The first token of what is copied is the hard one: to go on is easy, and there are ten times as many of those."""
COPIED_KINDS: Final = ("fact", "next", "quote")
ARCHIVES_PER_MAKER: Final = 12
WORLDS_PER_MAKER: Final = 400
MATRIX_RATE: Final = 0.02
OTHER_RATE: Final = 3e-3


@dataclass(frozen=True)
class Stage:
    """A part of the curriculum: until `enough` of the values' first tokens are right."""

    recipe: Recipe
    enough: float
    longest: int
    """For how many keys the looks are sharpened."""


STAGES: Final = (
    Stage(Recipe(16, 64, 16, 48, near=0.0, archive=0.0, quotes=0.1, absent=0.0, second=0.0, small_talk=0.0), 0.6, 1024),
    Stage(Recipe(16, 96, 32, 56, near=0.4, archive=0.25, quotes=0.12, absent=0.1, second=0.1), 0.75, 8192),
    Stage(Recipe(16, 128, 40, 56, near=0.6, archive=0.3, quotes=0.15, absent=0.15, second=0.15), 0.8, 131_072),
    Stage(Recipe(16, 136, 46, 40, near=0.7, archive=0.2, quotes=0.2, absent=0.2, second=0.2, brief=0.2), 2.0, MILLION),
)


def new_model() -> SmolLM3ForCausalLM:
    layers = SLIDING_LAYERS + FULL_LAYERS
    config = SmolLM3Config(
        vocab_size=4096,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=MILLION,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        no_rope_layers=[1] * SLIDING_LAYERS + [0] * FULL_LAYERS,
        layer_types=["sliding_attention"] * SLIDING_LAYERS + ["full_attention"] * FULL_LAYERS,
        use_sliding_window=True,
        sliding_window=WINDOW,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return SmolLM3ForCausalLM(config)


# ------------------------------------------------------------------------------------------------------------- a batch


@dataclass(frozen=True)
class Batch:
    """A world as tensors.

    chunks (chunks, chunk_tokens), rows (rows, row_tokens) padded with 0; filled: the flat places of `rows` that are no
    padding; asking: those of them whose last hidden state is used; seen: the flat places of document tokens that
    questions see. supervised_places and look_places count in `asking`; look_targets
    (full layers, looks) in `seen`.
    """

    chunks: Tensor
    rows: Tensor
    filled: Tensor
    asking: Tensor
    seen: Tensor
    supervised_places: Tensor
    supervised_tokens: Tensor
    supervised_weights: Tensor
    supervised_kinds: list[str]
    look_places: Tensor
    look_targets: Tensor
    look_kinds: list[str]
    copies: list[int]
    """Which of the supervised tokens are copied from the document."""
    seen_tokens: Tensor


def to_batch(world: World, prefix: list[int]) -> Batch:
    rows = [row for row in world.questions if len(row.ids) <= LONGEST_ROW]
    width = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    filled = torch.zeros(len(rows), width, dtype=torch.bool)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        filled[index, : len(row.ids)] = True
    chunks = torch.from_numpy(world.chunks)
    seen, column = seen_places(chunks, prefix)
    supervised = [(i * width + place, *what) for i, row in enumerate(rows) for (place, *what) in row.supervised]
    looks = [(i * width + place, *what) for i, row in enumerate(rows) for (place, *what) in row.looks]
    asking = sorted({int(entry[0]) for entry in (*supervised, *looks)})
    place_of = {place: index for index, place in enumerate(asking)}
    return Batch(
        chunks,
        ids,
        filled.flatten().nonzero()[:, 0],
        torch.tensor(asking),
        seen,
        torch.tensor([place_of[entry[0]] for entry in supervised]),
        torch.tensor([entry[1] for entry in supervised]),
        torch.tensor([entry[2] for entry in supervised]),
        [entry[3] for entry in supervised],
        torch.tensor([place_of[entry[0]] for entry in looks]),
        column[torch.tensor([entry[1:3] for entry in looks]).T],
        [entry[3] for entry in looks],
        [index for index, entry in enumerate(supervised) if entry[3] in COPIED_KINDS],
        chunks.flatten()[seen],
    )


def seen_places(chunks: Tensor, prefix: list[int]) -> tuple[Tensor, Tensor]:
    """Which flat places questions see, all but repeated prefixes, and for each flat place its column among them."""
    visible = torch.ones(chunks.shape, dtype=torch.bool)
    starts = chunks[:, 0] == prefix[0]
    starts[0] = False
    visible[starts, : len(prefix)] = False
    flat = visible.flatten()
    return flat.nonzero()[:, 0], flat.cumsum(0) - 1


# ------------------------------------------------------------------------------------------------------------- forward


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


@dataclass
class Forward:
    """One pass over a batch: what comes out at its `asking` places.

    hidden (asking, hidden_size); scores, of each full layer: (heads, asking, seen + row_tokens), the row's own keys
    last. Of the last layer: before (asking, hidden_size), what its attention is added to; mixed (asking, heads *
    head_dim), what its attention gives; values (kv_heads, seen, head_dim).
    """

    hidden: Tensor
    scores: list[Tensor]
    before: Tensor
    mixed: Tensor
    values: Tensor


class Reader:
    """Runs the model over worlds, with the modules of the transformers class and an attention for worlds.

    Padding is left out of everything but attention inside rows, and the last layer computes only what is asked for.
    """

    def __init__(self, model: SmolLM3ForCausalLM) -> None:
        self.model = model
        config = model.config
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = config.hidden_size // self.heads

    def forward(self, batch: Batch, group: int, copies: float) -> Forward:
        """`group`: how many chunks follow each other for full attention inside the document.

        `copies`: as how many of its kind each document key counts, but for those that are looked for.
        """
        core = self.model.model
        read = core.embed_tokens(batch.chunks.flatten())
        asked = core.embed_tokens(batch.rows.flatten()[batch.filled])
        longest = max(batch.chunks.shape[1], batch.rows.shape[1])
        rotary = core.rotary_emb(read, torch.arange(longest, device=read.device)[None])
        in_filled = torch.searchsorted(batch.filled, batch.asking)
        all_scores: list[Tensor] = []
        for index, layer in enumerate(core.layers):
            last = index == len(core.layers) - 1
            queries = batch.asking if last else batch.filled
            attention = layer.self_attn
            normed = layer.input_layernorm(torch.cat((read, asked)))
            normed_read, normed_asked = normed.split([len(read), len(asked)])
            keys, values = attention.k_proj(normed), attention.v_proj(normed)
            chunk_k, chunk_v = (self._heads(part[: len(read)].view(*batch.chunks.shape, -1)) for part in (keys, values))
            row_k, row_v = (
                self._heads(self._padded(part[len(read) :], batch, batch.filled)) for part in (keys, values)
            )
            q_asked = attention.q_proj(normed_asked[in_filled] if last else normed_asked)
            if not last:
                q_read = self._heads(attention.q_proj(normed_read).view(*batch.chunks.shape, -1))
            if index < SLIDING_LAYERS:
                mixed_read = self._sliding(q_read, chunk_k, chunk_v, *rotary)
                q_rows = self._heads(self._padded(q_asked, batch, queries))
                mixed_asked = self._sliding(q_rows, row_k, row_v, *rotary)[queries]
            else:
                rows = torch.arange(len(in_filled)) if last else in_filled
                crowd = crowding(batch, len(queries), rows, copies)
                far_k, far_v = (self._seen(part, batch) for part in (chunk_k, chunk_v))
                mixed_asked, scores = self._asking(batch, q_asked, queries, (far_k, far_v), (row_k, row_v), crowd)
                all_scores.append(scores if last else scores[:, in_filled])
                if not last:
                    mixed_read = self._grouped(q_read, chunk_k, chunk_v, group)
            if last:
                before = asked[in_filled]
            else:
                x = torch.cat((read, asked)) + attention.o_proj(torch.cat((mixed_read, mixed_asked)))
                x = x + layer.mlp(layer.post_attention_layernorm(x))
                read, asked = x.split([len(read), len(asked)])
        return Forward(self.end(before, mixed_asked), all_scores, before, mixed_asked, far_v)

    def end(self, before: Tensor, mixed: Tensor) -> Tensor:
        """What comes out of the last layer, normed, where its attention gives `mixed`."""
        layer = self.model.model.layers[-1]
        x = before + layer.self_attn.o_proj(mixed)
        return self.model.model.norm(x + layer.mlp(layer.post_attention_layernorm(x)))

    def _seen(self, x: Tensor, batch: Batch) -> Tensor:
        """Keys or values (chunks, kv_heads, chunk_tokens, head_dim) that questions see: (kv_heads, seen, head_dim)."""
        return x.transpose(1, 2).reshape(-1, self.kv_heads, self.head_dim)[batch.seen].transpose(0, 1)

    def _padded(self, x: Tensor, batch: Batch, places: Tensor) -> Tensor:
        """Values at some flat places of the rows, zeros elsewhere: (rows, row_tokens, features)."""
        flat = x.new_zeros(batch.rows.numel(), x.shape[-1]).index_copy(0, places, x)
        return flat.view(*batch.rows.shape, -1)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def _flat(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).reshape(-1, self.heads * self.head_dim)

    def _all_heads(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(self.heads // self.kv_heads, dim=1)

    def _sliding(self, q: Tensor, k: Tensor, v: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        length = q.shape[2]
        q, k = rotate(q, cos[:, :length], sin[:, :length]), rotate(k, cos[:, :length], sin[:, :length])
        place = torch.arange(length, device=q.device)
        ago = place[:, None] - place[None, :]
        mask = (ago >= 0) & (ago < WINDOW)
        return self._flat(scaled_dot_product_attention(q, self._all_heads(k), self._all_heads(v), attn_mask=mask))

    def _grouped(self, q: Tensor, k: Tensor, v: Tensor, group: int) -> Tensor:
        def together(x: Tensor) -> Tensor:
            chunks, heads, length, dim = x.shape
            grouped = x.view(chunks // group, group, heads, length, dim).transpose(1, 2)
            return grouped.reshape(chunks // group, heads, group * length, dim)

        q, k, v = together(q), together(self._all_heads(k)), together(self._all_heads(v))
        return self._flat(scaled_dot_product_attention(q, k, v, is_causal=True))

    def _asking(
        self,
        batch: Batch,
        q: Tensor,
        queries: Tensor,
        far_kv: tuple[Tensor, Tensor],
        row_kv: tuple[Tensor, Tensor],
        crowd: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Attention of the rows' queries to the whole document and to their own rows, and its scores.

        crowd (queries, seen) is added to the scores of the document's keys for the attention, not in what is returned.
        """
        count, dim, length = len(queries), self.head_dim, batch.rows.shape[1]
        far_k, far_v = far_kv
        grouped = q.view(count, self.heads, dim).transpose(0, 1).reshape(self.kv_heads, -1, dim) / math.sqrt(dim)
        far = (grouped @ far_k.mT).view(self.heads, count, -1)
        own_k, own_v = (self._all_heads(part) for part in row_kv)
        own = self._heads(self._padded(q, batch, queries)) @ own_k.mT / math.sqrt(dim)
        own = own.masked_fill(torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1), -1e9)
        own = own.transpose(0, 1).reshape(self.heads, -1, length)[:, queries]
        scores = torch.cat((far, own), dim=-1)
        crowded = scores if crowd is None else torch.cat((far + crowd, own), dim=-1)
        far_weights, own_weights = crowded.softmax(-1).split([far.shape[-1], length], dim=-1)
        mixed = (far_weights.reshape(self.kv_heads, -1, far.shape[-1]) @ far_v).view(self.heads, count, dim)
        padded = self._padded(own_weights.transpose(0, 1).flatten(1), batch, queries)
        own_mixed = padded.unflatten(-1, (self.heads, length)).transpose(1, 2) @ own_v
        return mixed.transpose(0, 1).flatten(1) + self._flat(own_mixed)[queries], scores


def crowding(batch: Batch, queries: int, rows: Tensor, copies: float) -> Tensor | None:
    """What makes every key count as `copies`: (queries, seen). Spared are the sink and what each query looks for.

    rows (asking,): which of the queries are asking.
    """
    if copies <= 1:
        return None
    crowd = torch.full((queries, len(batch.seen)), math.log(copies))
    crowd[:, 0] = 0.0
    for targets in batch.look_targets:
        crowd[rows[batch.look_places], targets] = 0.0
    return crowd


# ---------------------------------------------------------------------------------------------------------------- loss


def look_loss(
    scores: Tensor, targets: Tensor, batch: Batch, head: int, kinds: tuple[str, ...], longest: int
) -> tuple[Tensor, float]:
    """How far a head is from looking at the right keys, as among `longest` of them; and how often it is right."""
    chosen = torch.tensor([index for index, kind in enumerate(batch.look_kinds) if kind in kinds])
    if not len(chosen):
        return scores.new_zeros(()), 1.0
    picked = scores[head][batch.look_places[chosen]]
    targets = targets[chosen]
    right = (picked.argmax(-1) == targets).float().mean().item()
    document = len(batch.seen)
    harder = torch.zeros(picked.shape[-1])
    harder[1:document] = max(0.0, math.log(longest / document))
    kept = picked.gather(1, targets[:, None])
    adjusted = (picked + harder).scatter(1, targets[:, None], kept)
    weights = torch.tensor([1.0 if batch.look_kinds[index] == "next" else FIRST_WEIGHT for index in chosen.tolist()])
    return (cross_entropy(adjusted, targets, reduction="none") * weights).sum() / weights.sum(), right


ALL_KINDS: Final = ("fact", "next", "quote", "absent")
LOOKS: Final = (
    (("f", FACT_HEAD, ("fact", "next", "absent")), ("q", QUOTE_HEAD, ("quote", "next"))),
    (("f", FACT_HEAD, ALL_KINDS), ("q", QUOTE_HEAD, ALL_KINDS)),
)
"""Of each full attention layer: the heads that are taught, and for what. In the last, what both look at is copied."""


@dataclass
class Counts:
    """How many tokens of each kind, and how many of them were right."""

    total: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    right: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, kind: str, right: float, total: float = 1.0) -> None:
        self.total[kind] += total
        self.right[kind] += right

    def rates(self) -> dict[str, float]:
        return {kind: self.right[kind] / total for kind, total in sorted(self.total.items())}


def copy_loss(reader: Reader, batch: Batch, passed: Forward, counts: Counts) -> Tensor:
    """Whether the tokens that heads look at are what is said, wherever they look.

    Where an answer copies, the look is moved to a place of the document drawn by chance, rare tokens as often as
    frequent ones; what stands there must come out.
    """
    places = batch.supervised_places[batch.copies]
    often = torch.bincount(batch.seen_tokens, minlength=reader.model.config.vocab_size)[batch.seen_tokens]
    drawn = torch.multinomial(1.0 / often, len(places), replacement=True)
    share = 0.6 + 0.4 * torch.rand(len(places), 1)
    mixed = passed.mixed[places].unflatten(-1, (reader.heads, reader.head_dim)).unbind(1)
    looked = list(mixed)
    for head in (FACT_HEAD, QUOTE_HEAD):
        value = passed.values[head // (reader.heads // reader.kv_heads), drawn]
        looked[head] = share * value + (1 - share) * mixed[head]
    logits = reader.model.lm_head(reader.end(passed.before[places], torch.cat(looked, dim=-1)))
    counts.add("copy", (logits.argmax(-1) == batch.seen_tokens[drawn]).float().sum().item(), len(places))
    return cross_entropy(logits, batch.seen_tokens[drawn])


def losses(
    reader: Reader, batch: Batch, group: int, longest: int, copies: float, counts: Counts
) -> tuple[Tensor, Tensor]:
    """The loss of the answers' tokens, moved looks among them, and that of the looks."""
    passed = reader.forward(batch, group, copies)
    logits = reader.model.lm_head(passed.hidden[batch.supervised_places])
    each = cross_entropy(logits, batch.supervised_tokens, reduction="none")
    first = torch.tensor([kind in ("fact", "quote") for kind in batch.supervised_kinds])
    weights = torch.where(first, FIRST_WEIGHT * batch.supervised_weights, batch.supervised_weights)
    answers = (each * weights).sum() / weights.sum()
    answers = answers + COPY_WEIGHT * copy_loss(reader, batch, passed, counts)
    for kind, right in zip(
        batch.supervised_kinds, (logits.argmax(-1) == batch.supervised_tokens).tolist(), strict=True
    ):
        counts.add(kind, right)
    looks = each.new_zeros(())
    for number, (scores, targets) in enumerate(zip(passed.scores, batch.look_targets, strict=True)):
        for name, head, kinds in LOOKS[number]:
            loss, right = look_loss(scores, targets, batch, head, kinds, longest)
            looks = looks + loss
            counts.add(f"look{number}{name}", right)
    return answers, looks


# ------------------------------------------------------------------------------------------------------------ training


def archives(seed: int) -> list[int]:
    """Seeds of archives to train on: 100 to 799. The others are for measuring."""
    return [100 + (seed * 13 + number) % 700 for number in range(ARCHIVES_PER_MAKER)]


@dataclass
class Progress:
    """Where a run stands; kept in the checkpoint."""

    step: int = 0
    stage: int = 0
    seconds: float = 0.0
    found: float = 0.0
    tokens: int = 0


class Training:
    """A model, its optimizers and its progress."""

    def __init__(self, folder: Path, minutes: float, seed: int, texts: list[str]) -> None:
        torch.manual_seed(seed)
        self.model = new_model()
        self.reader = Reader(self.model)
        self.tokenizer = Tokenizer.from_file(str(TOKENIZER / "tokenizer.json"))
        self.seed, self.texts = seed, texts
        self.optimizers = muon_and_adamw(self.model, MATRIX_RATE, OTHER_RATE)
        self.progress = Progress()
        self.folder = folder
        self.limit = minutes * 60
        self.held_out = WorldMaker(self.tokenizer, 9_999_999, range(900, 904))

    def worlds(self) -> Iterator[World]:
        """New worlds without end; other archives every now and then."""
        while True:
            seed = self.seed * 1_000_003 + self.progress.step
            maker = WorldMaker(self.tokenizer, seed, archives(seed), self.texts)
            for _ in range(WORLDS_PER_MAKER):
                yield maker.world(STAGES[self.progress.stage].recipe)

    def run(self) -> None:
        self.resume()
        self.model.train()
        begun = time.monotonic() - self.progress.seconds
        saved = reported = time.monotonic()
        counts, answer_sum, look_sum, steps = Counts(), 0.0, 0.0, 0
        for world in self.worlds():
            answers, looks = self.step(world, counts)
            answer_sum, look_sum, steps = answer_sum + answers, look_sum + looks, steps + 1
            self.progress.seconds = time.monotonic() - begun
            if time.monotonic() - reported > 20:
                self.report(counts, answer_sum / steps, look_sum / steps)
                reported = time.monotonic()
                counts, answer_sum, look_sum, steps = Counts(), 0.0, 0.0, 0
            if time.monotonic() - saved > 60:
                self.save()
                saved = time.monotonic()
            if self.progress.seconds >= self.limit:
                break
        self.save()

    def step(self, world: World, counts: Counts | None = None) -> tuple[float, float]:
        progress, counts = self.progress, counts or Counts()
        self.set_rates()
        stage = STAGES[progress.stage]
        batch = to_batch(world, self.held_out.prefix)
        rng = random.Random(progress.step)
        group = rng.choice([size for size in (1, 1, 4, 8) if len(batch.chunks) % size == 0])
        longest = int(math.exp(rng.uniform(math.log(1024), math.log(stage.longest))))
        before = counts.right["fact"], counts.total["fact"]
        copies = longest / len(batch.seen) if progress.step % 2 else 1.0
        answers, looks = losses(self.reader, batch, group, longest, copies, counts)
        (answers + LOOK_WEIGHT * looks).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        right, total = counts.right["fact"] - before[0], counts.total["fact"] - before[1]
        progress.found += 0.05 * (right / max(total, 1.0) - progress.found)
        if progress.found > stage.enough:
            progress.stage, progress.found = progress.stage + 1, 0.0
        progress.step += 1
        progress.tokens += batch.chunks.numel() + len(batch.filled)
        return answers.item(), looks.item()

    def set_rates(self) -> None:
        """A short warm-up, then flat, then down over most of the time."""
        done = self.progress.seconds / self.limit
        scale = min(1.0, (self.progress.step + 1) / 50) * min(1.0, 0.03 + (1 - done) / 0.85)
        for optimizer, rate in zip(self.optimizers, (MATRIX_RATE, OTHER_RATE), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * scale

    @torch.no_grad()
    def held_out_rates(self) -> dict[str, float]:
        counts = Counts()
        for _ in range(2):
            batch = to_batch(self.held_out.world(STAGES[self.progress.stage].recipe), self.held_out.prefix)
            losses(self.reader, batch, 1, MILLION, 1.0, counts)
        return counts.rates()

    def report(self, counts: Counts, answers: float, looks: float) -> None:
        progress = self.progress
        shown = ["fact", "next", "end", "quote", "found", "absent", "copy", "look0f", "look0q", "look1f", "look1q"]
        train, held = counts.rates(), self.held_out_rates()
        rates = " ".join(f"{kind} {train.get(kind, 0):.2f}/{held.get(kind, 0):.2f}" for kind in shown)
        speed = progress.tokens / progress.seconds
        print(
            f"{progress.seconds / 60:5.1f} min step {progress.step} stage {progress.stage} {speed:,.0f} tok/s "
            f"answers {answers:.3f} looks {looks:.3f} | {rates}",
            flush=True,
        )

    def save(self) -> None:
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": vars(self.progress),
        }
        fresh = self.folder / "checkpoint.new"
        torch.save(state, fresh)
        fresh.replace(self.folder / "checkpoint.pt")

    def start_from(self, exported: Path) -> None:
        """Begin with the weights of a model folder."""
        state = load_file(exported / "model.safetensors")
        self.model.load_state_dict({name: weight.float() for name, weight in state.items()}, strict=False)
        self.model.tie_weights()
        self.progress.stage = len(STAGES) - 1

    def resume(self) -> None:
        path = self.folder / "checkpoint.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.progress = Progress(**state["progress"])


def export(folders: list[Path], target: Path) -> None:
    """The mean of checkpoints as a model folder: safetensors in bfloat16, tokenizer, chat template.

    The mean of two ends of one run lies between them in what they weigh differently (https://arxiv.org/abs/2203.05482).
    """
    states = [torch.load(folder / "checkpoint.pt", weights_only=True)["model"] for folder in folders]
    model = new_model()
    model.load_state_dict({name: sum(state[name] for state in states) / len(states) for name in states[0]})
    target.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(target)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        if not (target / name).exists() or target.resolve() != TOKENIZER.resolve():
            shutil.copyfile(TOKENIZER / name, target / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=Path, metavar="MODEL")
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--export", type=Path, metavar="TARGET")
    parser.add_argument("--average", type=Path, metavar="FOLDER", help="of another checkpoint, for --export")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.export:
        export([options.folder, *([options.average] if options.average else [])], options.export)
        return
    texts = [path.read_text(encoding="utf-8") for path in sorted(options.texts.glob("*.txt"))] if options.texts else []
    training = Training(options.folder, options.minutes, options.seed, texts)
    if options.start:
        training.start_from(options.start)
    training.run()
    print(json.dumps({"folder": str(options.folder), **vars(training.progress)}))


if __name__ == "__main__":
    main()
