"""The run of `kiv bench`: decode on Shape B, reading and recall on a model, and single layers at full width.

Everything is yielded as it comes and collected in one report of plain values; times are milliseconds, sizes bytes.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

import torch

from kiv_engine import garbage
from kiv_engine.archive import Archive, write_archive
from kiv_engine.cache import KIVCache
from kiv_engine.chat import ChatFormat
from kiv_engine.config import KIVConfig, require_whole
from kiv_engine.context import Context
from kiv_engine.document import Document, tokenize
from kiv_engine.engine import Engine
from kiv_engine.errors import CapacityError
from kiv_engine.evaluation import shapes
from kiv_engine.evaluation.caches import PEERS, Peer, cache_bytes, close
from kiv_engine.evaluation.machine import shortage
from kiv_engine.evaluation.progress import Clock, Note, Progress
from kiv_engine.evaluation.readers import ENTRANTS, Entrant, ReadingStoppedError
from kiv_engine.evaluation.recall import NotMeasuredError, Probe, probing, require_true_positions, summarize
from kiv_engine.evaluation.shapes import MODEL_SHAPES, ModelShape
from kiv_engine.evaluation.timing import counting_rows, forward_chunks, p99, quantile, timed_steps
from kiv_engine.events import Failed
from kiv_engine.free_space import available_ram_bytes
from kiv_engine.hits import HitRecorder, LayerHits
from kiv_engine.layer import KIVLayer
from kiv_engine.prefill import ScoreRule
from kiv_engine.stopping import ShouldStop

KIV: Final = "kiv"
INT8: Final = "kiv int8"
RAM_SHARE: Final = 0.6
"""Of the free RAM, one measurement may fill this share."""

COUNTED_STEPS: Final = 4
ANSWERS: Final = 5
ANSWER_TOKENS: Final = 32
PROBES: Final = 16
FORWARD_TOKENS: Final = 16_384
SHAPE_B_RULE: Final = ScoreRule(shapes.HEAD_DIM**-0.5)
SLOW_STEPS: Final = 24
"""Steps of caches that attend to everything, beyond 16K tokens; they vary little."""


@dataclass(frozen=True)
class BenchPlan:
    """What is measured, in tokens.

    Attributes:
        decode: lengths of Shape B.
        int8: one more length of Shape B, with the cold store in int8; 0 for none.
        keep_all, quadratic_read: caches that attend to everything decode, and read, up to these lengths.
        steps: decode steps per measurement.
        read: lengths of documents that the model reads.
        layer: lengths of single layers of known models.
    """

    decode: tuple[int, ...] = (4_096, 16_384, 65_536, 131_072, 262_144, 1_048_576)
    int8: int = 4_194_304
    keep_all: int = 131_072
    quadratic_read: int = 65_536
    steps: int = 1_000
    read: tuple[int, ...] = (4_096, 32_768, 262_144, 1_048_576)
    layer: tuple[int, ...] = (4_096, 65_536, 1_048_576)

    def __post_init__(self) -> None:
        for length in (*self.decode, *self.read, *self.layer):
            require_whole("lengths", length, 4_096, 10_000_000)


QUICK: Final = BenchPlan(
    decode=(4_096, 65_536, 1_048_576),
    int8=0,
    keep_all=65_536,
    quadratic_read=4_096,
    steps=300,
    read=(4_096, 32_768),
    layer=(4_096, 65_536),
)


class Bench:
    """One run.

    Attributes:
        report: what was measured so far, of plain values.
    """

    def __init__(self, engine: Engine, plan: BenchPlan) -> None:
        self.report: dict[str, Any] = {"shape_b": {}, "model": {}, "layers": {}, "left_out": []}
        self._engine = engine
        self._plan = plan
        self._written: tuple[int, Archive] | None = None

    def run(self, should_stop: ShouldStop) -> Iterator[Progress | Note]:
        """Measure everything; once `should_stop` says so it ends behind the present measurement."""
        if self._engine.loaded.device.type != "cpu":
            self._leave_out("Shape B and single layers on the GPU", "they are measured on the CPU")
        pieces = [*self._decode_pieces(), *self._reading_pieces(), *self._layer_pieces()]
        for left_out in self.report["left_out"]:
            yield note(left_out)
        clock = Clock(sum(piece.cost for piece in pieces))
        for piece in pieces:
            if should_stop():
                return
            yield clock.at(0.0, piece.label)
            try:
                piece.measure(should_stop)
            except ReadingStoppedError:
                return
            except NotMeasuredError as error:
                yield note(self._leave_out(piece.label, str(error)))
            except (CapacityError, MemoryError, RuntimeError) as error:
                yield note(self._leave_out(piece.label, shortage(error)))
            garbage.collect()
            clock.finish(piece.cost)
        yield clock.at(0.0, "done")

    def _leave_out(self, what: str, reason: str) -> dict[str, str]:
        self.report["left_out"].append({"what": what, "reason": reason})
        left_out: dict[str, str] = self.report["left_out"][-1]
        return left_out

    def _fits(self, what: str, num_bytes: int) -> bool:
        """Whether so many bytes can be had; if not, that is noted."""
        free = int(available_ram_bytes() * RAM_SHARE)
        if num_bytes > free:
            self._leave_out(what, f"needs {num_bytes / 1e9:.1f} GB of RAM, of which {free / 1e9:.1f} GB may be used")
        return num_bytes <= free

    # -- Shape B -----------------------------------------------------------------------------------------------------

    def _decode_pieces(self) -> list["Piece"]:
        plan = self._plan
        model = shapes.build()
        # Name, label, how often K and V of all tokens lie in RAM at most, and what makes an empty cache.
        kinds: list[tuple[str, str, int, Callable[[], Any]]] = [(KIV, KIV, 1, lambda: KIVCache(model, KIVConfig()))]
        for peer in PEERS:
            if reason := peer.missing(model):
                self._leave_out(f"{peer.label} on Shape B", reason)
            else:
                kinds.append((peer.name, peer.label, 3 if peer.keeps_all else 0, _maker(peer, model)))
        pieces = []
        for length in plan.decode:
            for name, label, copies, make in kinds:
                what = f"Shape B, {label}, {length:,} tokens"
                keeps_all = copies > 1
                if keeps_all and length > plan.keep_all:
                    self._leave_out(what, f"attends to everything, so only up to {plan.keep_all:,} tokens")
                elif self._fits(what, copies * shape_b_bytes(length, 4)):
                    slow = keeps_all and length > 16_384
                    steps = SLOW_STEPS if slow else plan.steps
                    cost = length * 20e-6 + steps * (0.004 + (length * 3e-6 if keeps_all else 0))
                    pieces.append(Piece(what, cost, self._decoding(model, make, name, length, steps)))
        if plan.int8 and self._fits(f"Shape B, int8, {plan.int8:,} tokens", shape_b_bytes(plan.int8, 1)):
            int8 = lambda: KIVCache(model, KIVConfig(store_dtype="int8"))  # noqa: E731
            measure = self._decoding(model, int8, INT8, plan.int8, plan.steps)
            pieces.append(Piece(f"Shape B, int8, {plan.int8:,} tokens", plan.int8 * 20e-6 + plan.steps * 0.01, measure))
        return pieces

    def _decoding(
        self, model: Any, make: Callable[[], Any], name: str, length: int, steps: int
    ) -> Callable[[ShouldStop], None]:
        def measure(_should_stop: ShouldStop) -> None:
            cache = make()
            try:
                row = measure_decode(model, cache, length, steps)
                self.report["shape_b"].setdefault(str(length), {})[name] = row
            finally:
                cache.close() if isinstance(cache, KIVCache) else close(cache)

        return measure

    # -- the model ---------------------------------------------------------------------------------------------------

    def _reading_pieces(self) -> list["Piece"]:
        pieces = []
        for length in self._plan.read:
            for entrant in [entrant for entrant in ENTRANTS if entrant.usual]:
                what = f"{entrant.label}, {length:,} tokens"
                if reason := entrant.missing(self._engine):
                    if length == self._plan.read[0]:
                        self._leave_out(f"{entrant.label} on the model", reason)
                elif entrant.quadratic and length > self._plan.quadratic_read:
                    limit = f"only up to {self._plan.quadratic_read:,} tokens"
                    self._leave_out(what, f"reads in time that grows with the square of the length, so {limit}")
                elif self._has_room(entrant, length):
                    cost = length * 2e-4 * (1 + length / 16_384 if entrant.quadratic else 1) + 2
                    pieces.append(Piece(f"reading, {what}", cost, self._reading(entrant, length)))
            pieces.append(Piece(f"plain forwards, {length:,} tokens", length * 1e-4, self._forwards(length)))
            pieces.append(Piece(f"recall, {length:,} tokens", length * 2e-4 + 5, self._recalling(length)))
        return pieces

    def _has_room(self, entrant: Entrant, length: int) -> bool:
        """Ours looks for room itself, before it reads; caches that keep all copy what they have when they grow."""
        if entrant.ours or not entrant.quadratic or self._engine.loaded.device.type != "cpu":
            return True
        context = self._engine.new_context(KIVConfig())
        try:
            return self._fits(f"{entrant.label}, {length:,} tokens", 2 * length * context.footprint.token_bytes)
        finally:
            context.close()

    def _reading(self, entrant: Entrant, length: int) -> Callable[[ShouldStop], None]:
        def measure(should_stop: ShouldStop) -> None:
            archive = self._archive(length)
            reader = entrant.make(self._engine)
            try:
                begin = time.perf_counter()
                *_, tokens = reader.read(archive.text, should_stop)
                seconds = time.perf_counter() - begin
                answers = [reader.ask(fact.question, ANSWER_TOKENS) for fact in some_facts(archive, ANSWERS)]
            finally:
                reader.close()
            token_times = [each.token_s for each in answers if each.token_s is not None]
            self.report["model"].setdefault(str(length), {})[entrant.name] = {
                "tokens": tokens,
                "read_tokens_per_s": tokens / seconds,
                "first_token_ms": quantile([each.first_token_s for each in answers], 0.5),
                "token_p50_ms": quantile(token_times, 0.5) if token_times else None,
            }

        return measure

    def _forwards(self, length: int) -> Callable[[ShouldStop], None]:
        def measure(_should_stop: ShouldStop) -> None:
            text = self._archive(length).text[: 8 * FORWARD_TOKENS]  # few tokens have so many characters
            ids = tokenize(Document("archive", text), self._engine.loaded.tokenizer).ids[:FORWARD_TOKENS]
            rate = forward_chunks(self._engine.loaded.model, ids)
            self.report["model"].setdefault(str(length), {})["forward"] = {"read_tokens_per_s": rate}

        return measure

    def _recalling(self, length: int) -> Callable[[ShouldStop], None]:
        def measure(should_stop: ShouldStop) -> None:
            archive = self._archive(length)
            questions = [fact.question for fact in some_facts(archive, ANSWERS)]
            found = model_recall(self._engine, archive.text, length, questions, should_stop)
            self.report["model"].setdefault(str(length), {})["recall"] = found

        return measure

    def _archive(self, length: int) -> Archive:
        """Written once for all measurements of a length, which follow one another."""
        if self._written is None or self._written[0] != length:
            self._written = (length, write_archive(length, self._engine.count_tokens))
        return self._written[1]

    # -- single layers -----------------------------------------------------------------------------------------------

    def _layer_pieces(self) -> list["Piece"]:
        pieces = []
        for shape in MODEL_SHAPES:
            planned: set[int] = set()
            for length in self._plan.layer:
                fitting = longest_that_fits(shape, length)
                if fitting < length:
                    self._leave_out(f"{shape.name}, one layer, {length:,} tokens", f"RAM; {fitting:,} instead")
                if fitting in planned:
                    continue
                planned.add(fitting)
                cost = fitting * shape.kv_heads * shape.head_dim * 3e-8 + 1
                measure = self._measuring_layer(shape, fitting)
                pieces.append(Piece(f"{shape.name}, one layer, {fitting:,} tokens", cost, measure))
        return pieces

    def _measuring_layer(self, shape: ModelShape, length: int) -> Callable[[ShouldStop], None]:
        def measure(_should_stop: ShouldStop) -> None:
            row = measure_layer(shape, length, max(16, self._plan.steps // 10))
            self.report["layers"].setdefault(shape.name, {})[str(length)] = row

        return measure


@dataclass(frozen=True)
class Piece:
    """One measurement and about how many seconds it takes on a small computer."""

    label: str
    cost: float
    measure: Callable[[ShouldStop], None]


def note(left_out: dict[str, str]) -> Note:
    """Tell what is not measured, and why."""
    return Note(f"{left_out['what']}: not measured; {left_out['reason']}")


def _maker(peer: Peer, model: Any) -> Callable[[], Any]:
    return lambda: peer.make(model)


def shape_b_bytes(num_tokens: int, element_bytes: int) -> int:
    """K and V of Shape B, and a seventh on top for the rest."""
    return num_tokens * shapes.LAYERS * shapes.KV_HEADS * shapes.HEAD_DIM * 2 * element_bytes * 8 // 7


def some_facts(archive: Archive, count: int) -> list[Any]:
    """Facts spread over the archive."""
    return list(archive.facts[:: max(1, len(archive.facts) // count)][:count])


# -- measurements ------------------------------------------------------------------------------------------------------


def measure_decode(model: Any, cache: Any, length: int, steps: int) -> dict[str, Any]:
    """Fill a cache of Shape B and decode; ours also tells bytes by part, bytes fetched, and recall."""
    ours = isinstance(cache, KIVCache)
    probes = Planted(cold_places(length), PROBES) if ours else None
    begin = time.perf_counter()
    shapes.fill(cache, length, planted=probes.keys() if probes else None)
    filled = time.perf_counter() - begin
    warm = timed_steps(model, cache, 3)
    times = timed_steps(model, cache, steps)
    row: dict[str, Any] = {
        "p50_ms": quantile(times, 0.5),
        "p99_ms": p99(times),
        "steps": steps,
        "first_ms": warm[0] * 1e3,
        "fill_s": filled,
    }
    if probes is None:
        return row | {"resident_bytes": {"all": cache_bytes(cache)}}
    return row | {
        "resident_bytes": cache.bytes_by_part(),
        "fetched_bytes_per_step": fetched_per_step(model, cache),
        "recall": probes.recall(cache),
    }


def fetched_per_step(model: Any, cache: KIVCache) -> dict[str, float]:
    """Bytes of the rows that a step takes from the cold store: for ranking and attention, and for attention alone."""
    layers = cache.growing_layers
    row_bytes = shapes.HEAD_DIM * layers[0].store.keys.stored_as[0][1].itemsize
    before = sum(layer.rows_fetched for layer in layers)
    with counting_rows(layers) as counts:
        timed_steps(model, cache, COUNTED_STEPS)
    fetched = sum(layer.rows_fetched for layer in layers) - before
    return {
        "all": sum(counts) * row_bytes / COUNTED_STEPS,
        "attention": fetched * row_bytes / COUNTED_STEPS,
    }


def cold_places(num_tokens: int) -> range:
    """Places of tokens that are cold, by the default configuration, when so many are there."""
    return range(64, max(65 + PROBES, num_tokens - 2_560))


class Planted:
    """Queries for each of which one key of Shape B scores ten standard deviations above the rest.

    Attributes:
        places: where those keys are, drawn from a range of cold tokens.
    """

    def __init__(self, among: range, count: int) -> None:
        generator = torch.Generator().manual_seed(2)
        shape = (count, shapes.LAYERS, shapes.KV_HEADS, shapes.QUERY_HEADS // shapes.KV_HEADS, shapes.HEAD_DIM)
        self._queries = torch.randn(shape, generator=generator)
        self.places: list[int] = (torch.randperm(len(among), generator=generator)[:count] + among.start).tolist()

    def keys(self) -> dict[int, torch.Tensor]:
        """Position -> keys (layers, H, D), in the direction of one of the query heads."""
        planted = {}
        for probe, place in enumerate(self.places):
            query = self._queries[probe, :, :, probe % self._queries.shape[3]]
            planted[place] = 10 * query / query.norm(dim=-1, keepdim=True)
        return planted

    def recall(self, cache: KIVCache) -> dict[str, Any]:
        """Share of planted keys in the hit sets, and mass and top tokens of the same queries.

        The cache has decoded at least one token: the queries stand in for those of the newest.
        """
        found = []
        with torch.inference_mode(), cache.recording() as recorder:
            probe = Probe(cache, recorder)
            for number in range(len(self.places)):
                for layer, queries, hits in self.search(number, cache, recorder):
                    probe.compare(layer, hits, queries, SHAPE_B_RULE)
                    found.append(float(self.is_found(number, hits).float().mean()))
        return {**summarize(probe.samples), "planted": fmean(found)}

    def search(
        self, number: int, cache: KIVCache, recorder: HitRecorder
    ) -> Iterator[tuple[KIVLayer, torch.Tensor, LayerHits]]:
        """Ask one of the queries of every layer in turn: layer, queries (H, G, 1, D), hit set."""
        for index, layer in enumerate(cache.growing_layers):
            queries = self._queries[number, index][:, :, None]
            layer.attend(index, queries, SHAPE_B_RULE)
            (hits,) = recorder.drain()
            yield layer, queries, hits

    def is_found(self, number: int, hits: LayerHits) -> torch.Tensor:
        """Whether the hit set of each KV head, (H,), holds the key planted for a query."""
        return (hits.cold_tokens == self.places[number]).any(-1)


def model_recall(
    engine: Engine, text: str, num_tokens: int, questions: list[str], should_stop: ShouldStop
) -> dict[str, Any]:
    """Recall of the default configuration for every token of some questions about a document of about `num_tokens`.

    Raises NotMeasuredError, if it can before reading.
    """
    context = engine.new_context(KIVConfig())
    try:
        require_true_positions(context.cache.policy, num_tokens)
        for event in context.read(Document("archive", text), should_stop=should_stop):
            if isinstance(event, Failed):
                raise event.error
        if context.unread_tokens:
            raise ReadingStoppedError("Reading was stopped.")
        with probing(context.cache) as probe:
            for question in questions:
                feed(engine, context, question)
        return summarize(probe.samples)
    finally:
        context.close()


def feed(engine: Engine, context: Context, question: str) -> None:
    """Feed one question token by token, then go back."""
    chat = ChatFormat(engine.loaded.tokenizer, engine.loaded.generation_config)
    cache = context.cache
    snapshot = cache.snapshot()
    with torch.inference_mode():
        for token in chat.question_suffix(question, after_document=True):
            inputs = torch.tensor([[token]], device=engine.loaded.device)
            engine.loaded.model(input_ids=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.restore(snapshot)


def longest_that_fits(shape: ModelShape, length: int) -> int:
    """The length, halved until one layer of it in float32 fits."""
    free = int(available_ram_bytes() * RAM_SHARE)
    while length > shapes.FILL_CHUNK_TOKENS and layer_bytes(shape, length) > free:
        length //= 2
    return length


def layer_bytes(shape: ModelShape, num_tokens: int) -> int:
    """K and V of one layer in float32, and as much again for exact attention over them."""
    return 4 * shape.keys_bytes(num_tokens, 4) // shape.growing


def measure_layer(shape: ModelShape, length: int, steps: int) -> dict[str, Any]:
    """One layer at full width, and what all layers of the model would take, computed from it."""
    generator = torch.Generator().manual_seed(0)
    (layer,) = shapes.build_layers(shape, 1, KIVConfig())
    with torch.inference_mode():
        for first in range(0, length, shapes.FILL_CHUNK_TOKENS):
            count = min(shapes.FILL_CHUNK_TOKENS, length - first)
            keys, values = (shapes.random_rows(shape, count, generator, torch.float32) for _ in range(2))
            layer.update(keys, values)
        attend(layer, shape, generator)
        times = [attend(layer, shape, generator) for _ in range(steps)]
        before = layer.rows_fetched
        with counting_rows([layer]) as counts:
            attend(layer, shape, generator)
        rows = {"all": sum(counts), "attention": layer.rows_fetched - before}
        exact = exact_ms(layer, shape, generator)
    times_all = len(shape.attending)
    median = quantile(times, 0.5)
    parts = layer.bytes_by_part()
    return {
        "steps": steps,
        "layer_p50_ms": median,
        "exact_layer_ms": exact,
        "computed": {
            "step_ms": median * times_all,
            "exact_step_ms": exact * times_all,
            "fetched_bytes_per_step": {name: count * shape.row_bytes(4) * times_all for name, count in rows.items()},
            "resident_bytes": {part: size * shape.growing for part, size in parts.items()},
        },
    }


def attend(layer: KIVLayer, shape: ModelShape, generator: torch.Generator) -> float:
    """Seconds of one step of one layer: take a token, search, attend."""
    keys, values = (shapes.random_rows(shape, 1, generator, torch.float32) for _ in range(2))
    queries = random_query(shape, generator)
    begin = time.perf_counter()
    layer.update(keys, values)
    layer.attend(0, queries, ScoreRule(shape.head_dim**-0.5))
    return time.perf_counter() - begin


def exact_ms(layer: KIVLayer, shape: ModelShape, generator: torch.Generator) -> float:
    """Milliseconds of exact attention over all tokens of the layer: torch's fused kernel, the median of three."""
    keys, values = everything(layer)
    queries = random_query(shape, generator)
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        torch.nn.functional.scaled_dot_product_attention(queries[:, :, 0][None], keys[None], values[None])
        times.append(time.perf_counter() - begin)
    return quantile(times, 0.5)


def everything(layer: KIVLayer) -> tuple[torch.Tensor, torch.Tensor]:
    """K and V of all tokens in their order, (H, N, D) each, copied into one piece as other caches have them."""
    hot, store = layer.hot, layer.store
    hot_keys, hot_values = hot.read(0, hot.num_hot)
    sinks, count = hot.num_sinks, store.num_tokens
    return (
        torch.cat((hot.keys[:, :sinks], store.keys.read(0, count), hot_keys), 1),
        torch.cat((hot.values[:, :sinks], store.values.read(0, count), hot_values), 1),
    )


def random_query(shape: ModelShape, generator: torch.Generator) -> torch.Tensor:
    """(H, G, 1, D)."""
    return torch.randn((shape.kv_heads, shape.query_heads // shape.kv_heads, 1, shape.head_dim), generator=generator)
