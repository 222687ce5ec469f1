"""What `kiv doctor`, `kiv fit` and `kiv models` say, as lines for people and as JSON. Prints nothing."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kiv_engine.catalogue import CatalogueEntry
from kiv_engine.config import QUANTIZED, Quantize
from kiv_engine.events import Advantage
from kiv_engine.hardware import Gpu, Hardware
from kiv_engine.records import read_records

if TYPE_CHECKING:
    from kiv_engine.fit import Plan, Room
    from kiv_engine.model_shape import ModelShape
    from kiv_engine.speed import Pace

    Plans = dict[str, dict[Quantize, Plan]]  # by the store's dtype, then by weights

GB: Final = 1e9
NOTICED_SPILL: Final = 200_000_000
LITTLE_RAM: Final = 2e9
LITTLE_DISK: Final = 5e9
WHY: Final[dict[Advantage, str]] = {
    "largest_for_million": "the largest, and for a million tokens",
    "for_million": "for a million tokens",
    "largest": "the largest that holds a whole book",
    "also": "also holds a whole book",
    "untrained": "holds a whole book, though it was trained for less",
}


def models_folder() -> Path:
    """Where downloaded models will lie, which decides about the disk."""
    from kiv_engine.model_places import downloads_folder

    return downloads_folder()


def report(hardware: Hardware) -> dict[str, Any]:
    """The JSON of `kiv doctor --json`; sizes in bytes."""
    return {**asdict(hardware), "verdict": verdict(hardware)}


def facts(hardware: Hardware) -> Iterator[tuple[str, str]]:
    """What there is and what is said of it; a line that goes on has no name."""
    cpu, ram, disk = hardware.cpu, hardware.ram, hardware.disk
    cores = f"{cpu.logical_cores} logical cores"
    if cpu.usable_cores < cpu.logical_cores:
        cores += f", {cpu.usable_cores} of them for this program"
    limit = ", the limit of this container" if ram.in_container else ""
    vectors = ", ".join(cpu.instruction_sets) or "no vector instructions that matter"
    yield "Processor", f"{cpu.name}: {cores}; {vectors}"
    yield "RAM", f"{gigabytes(ram.available_bytes)} free of {gigabytes(ram.total_bytes)}{limit}"
    yield "Disk", f"{gigabytes(disk.free_bytes)} free of {gigabytes(disk.total_bytes)}, for models in {disk.path}"
    for gpu in hardware.gpus:
        yield "GPU", describe_gpu(gpu)
    yield "CUDA", f"{'Usable. ' if hardware.cuda.usable else 'Not usable. '}{hardware.cuda.reason}"
    if hardware.cuda.remedy:
        yield "", hardware.cuda.remedy
    if hardware.spilled_bytes >= NOTICED_SPILL:
        yield "Spilling", spill_sentence(hardware.spilled_bytes)
    elif hardware.cuda.usable and sys.platform == "win32":
        yield "", "What does not fit into VRAM goes on in RAM here, many times slower; KIV says when that happens."


def spill_sentence(size: int) -> str:
    """What it means that VRAM has spilled, and what to do."""
    return (
        f"{gigabytes(size)} that belong into VRAM lie in RAM, which makes everything many times slower; close what "
        "uses the GPU, load the weights in 8 or 4 bit, or take a smaller model."
    )


def lines(hardware: Hardware) -> Iterator[str]:
    """What a person reads."""
    for name, said in facts(hardware):
        yield f"{name:<11}{said}"
    yield ""
    yield verdict(hardware)
    yield "Which models fit: ./kiv models. What one of them holds, and how fast it would be: ./kiv fit MODEL."


def describe_gpu(gpu: Gpu) -> str:
    """Like `NVIDIA GeForce RTX 4070: 11.2 GB free of 12.9 GB, driver 550.54, compute capability 8.9`."""
    capability = f", compute capability {gpu.compute_capability}" if gpu.compute_capability else ""
    free = f"{gigabytes(gpu.free_bytes)} free of {gigabytes(gpu.total_bytes)}"
    return f"{gpu.name}: {free}, driver {gpu.driver}{capability}"


def verdict(hardware: Hardware) -> str:
    """What all of this means for somebody who wants to use a model here."""
    ram, disk = hardware.ram, hardware.disk
    if hardware.cuda.usable:
        gpus = hardware.model_gpus
        too_large = f", those too large for it on {len(gpus)} GPUs together" if len(gpus) > 1 else ""
        where = f"Models run on the {gpus[0].name}{too_large}; {gigabytes(ram.available_bytes)} of RAM hold long texts."
    elif hardware.gpus:
        where = f"There is an NVIDIA GPU, but models run on the CPU for now: {hardware.cuda.remedy}"
    else:
        where = f"Models run on the CPU, with their weights and long texts in {gigabytes(ram.available_bytes)} of RAM."
    warnings = []
    if ram.available_bytes < LITTLE_RAM:
        warnings.append("Little RAM is free: close other programs.")
    if disk.free_bytes < LITTLE_DISK:
        warnings.append("The disk is almost full: most models need several GB.")
    return " ".join([where, *warnings])


def gigabytes(size: int) -> str:
    """Like `12.9 GB`, of 10^9 bytes."""
    return f"{size / GB:,.1f} GB"


# -- what fits -------------------------------------------------------------------------------------------------------

WEIGHTS: Final[dict[Quantize, str]] = {
    "none": "in full",
    "bf16": "bfloat16",
    "fp16": "float16",
    "8bit": "8 bit",
    "4bit": "4 bit",
}
TOKEN_LIMIT: Final = 10**12


def fit_sentence(plan: "Plan", pace: "Pace | None") -> str:
    """What a plan means: `up to N tokens in RAM, M with the disk; ...`."""
    if plan.missing:
        where = "RAM" if plan.room.vram is None else "VRAM or RAM"
        return f"does not fit: {gigabytes(plan.missing)} of {where} are missing"
    sentence = f"up to {tokens(plan.tokens_in_ram)} tokens in RAM, {tokens(plan.tokens_on_disk)} with the disk"
    if pace is None:
        return sentence
    return f"{sentence}; about {duration(pace.million_s)} to read a million tokens; about {rate(pace.tokens_per_s)}"


def measured_lines(name: str) -> Iterator[str]:
    """What a model really took when it was last used, for each kind of weights."""
    for kind in WEIGHTS:
        if (record := read_records().get((name, kind))) is not None:
            yield f"When it was last used, weights {WEIGHTS[kind]}: {record.sentence}."


def fit_lines(name: str, plans: "Plans", best: Quantize, pace: "Pace | None") -> Iterator[str]:
    """The table of one model, what is best, and what all of it rests on."""
    room = plans["model"][best].room
    where = "on the CPU" if room.vram is None else f"on the GPU, with {gigabytes(room.vram)} of VRAM free"
    if room.more_vram:
        where = f"on up to {len(room.all_vram)} GPUs, with {' and '.join(map(gigabytes, room.all_vram))} of VRAM free"
    yield f"{name} {where}, with {gigabytes(room.ram)} of RAM and {gigabytes(room.disk)} of disk free:"
    yield ""
    yield f"{'weights':<10}{'in memory':>12}{'tokens in RAM':>16}{'with int8 K/V':>16}{'on disk':>16}"
    for kind, plan in plans["model"].items():
        int8 = plans["int8"][kind]
        counts = (tokens(plan.tokens_in_ram), tokens(int8.tokens_in_ram), tokens(plan.tokens_on_disk))
        cells = ("does not fit", "", "") if plan.missing else counts
        size = gigabytes(plan.needs.fixed)
        yield f"{WEIGHTS[kind]:<10}{size:>12}{cells[0]:>16}{cells[1]:>16}{cells[2]:>16}"
    yield ""
    yield f"Weights {WEIGHTS[best]}: {fit_sentence(plans['model'][best], pace)}."
    if layers := plans["model"][best].gpu_layers:
        yield f"Its layers are spread over the GPUs: {', '.join(map(str, layers))}."
    yield from measured_lines(name)
    yield ""
    yield from assumptions(plans["model"][best], pace)


def assumptions(plan: "Plan", pace: "Pace | None") -> Iterator[str]:
    """What a plan rests on."""
    needs = plan.needs
    yield "What this rests on:"
    parts = {
        "weights": needs.weights,
        "hot window": needs.hot,
        "a chunk while reading": needs.activations,
        "Python and PyTorch": needs.runtime,
        "the index's maps": needs.index,
    }
    yield "  before the first token: " + ", ".join(f"{name} {megabytes(size)}" for name, size in parts.items())
    keys_values, index = needs.token_keys_values, needs.token_index
    yield f"  per token, over the layers that grow: K and V {keys_values:,} bytes, index {index:,} bytes"
    yield "  of the free RAM a tenth is left alone; what other programs take later is not foreseen"
    if pace is None:
        yield "  speed is not told: it is measured, on the PC at hand and with weights that fit"
        return
    yield "  times: one weight matrix and one layer timed just now; sparse reading; other programs slow it down"
    if plan.gpu_layers:
        yield "  each GPU was timed for itself, and copies to it; one works while the others wait, so that times add up"


def fit_report(name: str, plans: "Plans", best: Quantize, pace: "Pace | None") -> dict[str, Any]:
    """The JSON of `kiv fit --json`."""
    settings = [
        {"quantize": kind, "store_dtype": dtype, **asdict(plan)}
        for dtype, by_kind in plans.items()
        for kind, plan in by_kind.items()
    ]
    times = None if pace is None else asdict(pace)
    sentence = fit_sentence(plans["model"][best], pace)
    return {"model": name, "best": best, "summary": sentence, "pace": times, "settings": settings}


def elsewhere(room: "Room", gpus_gb: Sequence[float] | None, ram_gb: float | None) -> str:
    """What a plan for a PC that is not at hand is for, or "" for this one."""
    if gpus_gb is None and ram_gb is None:
        return ""
    gpu = "no GPU" if room.vram is None else f"{gigabytes(room.vram)} of VRAM free"
    if room.more_vram:
        gpu = f"{len(room.all_vram)} GPUs ({' and '.join(map(gigabytes, room.all_vram))} of VRAM free)"
    elif room.vram is not None and gpus_gb:
        gpu = f"a GPU of {max(gpus_gb):g} GB ({gpu})"
    return f"Computed for a PC with {gpu} and {gigabytes(room.ram)} of RAM free, not measured on one."


# -- the catalogue ---------------------------------------------------------------------------------------------------

MODELS_HEADER: Final = f"{'model':<38}{'download':>10}{'trained for':>13}{'per token':>12}  on this PC"


LONG_TEXT_TOKENS: Final = 131_072
"""A whole book, of the longer ones."""

MOST_ADVISED: Final = 3


@dataclass(frozen=True)
class ListedModel:
    """A catalogue's entry with what was computed from its shape.

    Attributes:
        download_bytes: weights with two bytes a number, as the hub has them.
        best: the weights that suit this PC best.
        plans: what fits with each kind of weights, the finest first.
        token_bytes: K and V per token by the store's dtype, on this PC.
    """

    entry: CatalogueEntry
    download_bytes: int
    trained_tokens: int
    best: Quantize
    plans: "dict[Quantize, Plan]"
    token_bytes: dict[str, int]

    @classmethod
    def of(cls, entry: CatalogueEntry, shape: "ModelShape", room: "Room") -> "ListedModel":
        """Plan a model."""
        from kiv_engine import fit

        plans = fit.plan_stores(shape, room)
        best = fit.best_of(plans["model"])
        token_bytes = {dtype: by_kind[best].needs.token_keys_values for dtype, by_kind in plans.items()}
        size, trained = shape.weight_bytes("none", 2), shape.topology.trained_tokens
        return cls(entry, size, trained, best, plans["model"], token_bytes)

    @property
    def plan(self) -> "Plan":
        """What fits with the best weights."""
        return self.plans[self.best]

    def finest_for(self, count: int) -> Quantize | None:
        """The finest weights with which so many tokens fit into RAM, if there are any."""
        return next((kind for kind, plan in self.plans.items() if plan.tokens_in_ram >= count), None)

    @property
    def for_long_text(self) -> Quantize | None:
        """The finest weights with which a long text fits into RAM, if there are any; a million tokens, where the model
        was trained for long texts and weights that the CPU can use as they are leave room for them.
        """
        from kiv_engine.fit import MILLION

        kind = self.finest_for(MILLION) if self.is_trained_for_long_text else None
        is_slow = self.plan.room.vram is None and kind in QUANTIZED
        return self.finest_for(LONG_TEXT_TOKENS) if kind is None or is_slow else kind

    @property
    def tokens_of_long_text(self) -> int:
        """How many tokens fit into RAM with those weights."""
        kind = self.for_long_text
        return 0 if kind is None else self.plans[kind].tokens_in_ram

    @property
    def is_trained_for_long_text(self) -> bool:
        """Whether a whole book is no longer than what it was trained on."""
        return self.trained_tokens >= LONG_TEXT_TOKENS

    @property
    def line(self) -> str:
        """One line below MODELS_HEADER."""
        size, token = gigabytes(self.download_bytes), f"{self.token_bytes['model'] / 1e3:,.1f} KB"
        fits = f"{WEIGHTS[self.best]}: {fit_sentence(self.plan, None)}"
        notes = "; needs permission from its owner" if self.entry.gated else ""
        if (record := read_records().get((self.entry.id, self.best))) is not None:
            notes += f"; {record.sentence}"
        return f"{self.entry.id:<38}{size:>10}{self.trained_tokens:>13,}{token:>12}  {fits}{notes}"

    @property
    def report(self) -> dict[str, Any]:
        """Its JSON; sizes in bytes."""
        entry = {name: value for name, value in asdict(self.entry).items() if name != "shape"}
        computed = {name: value for name, value in asdict(self).items() if name not in ("entry", "plans")}
        counts = {name: getattr(self.plan, name) for name in ("tokens_in_ram", "tokens_on_disk", "missing")}
        return {**entry, **computed, **counts, "for_long_text": self.for_long_text}


@dataclass(frozen=True)
class Advice:
    """A model to take for whole books, and why."""

    listed: ListedModel
    advantage: Advantage

    @property
    def why(self) -> str:
        """In a few words."""
        return WHY[self.advantage]

    @property
    def line(self) -> str:
        """Name, why, weights, tokens and trained length."""
        listed = self.listed
        fits = f"weights {WEIGHTS[listed.for_long_text or listed.best]}, up to {tokens(listed.tokens_of_long_text)}"
        return f"  {listed.entry.id:<36}{self.why}: {fits} tokens in RAM; trained for {listed.trained_tokens:,}"


def recommended(listed: Iterable[ListedModel]) -> list[Advice]:
    """The models to take for whole books, three at most; anybody may download them, and each holds a book in RAM.

    First that for a million tokens, then the largest ones. Those that were trained for less than a book come last,
    the less the later: their positions are brought back into what they were trained for, but they were never taught to
    use so long a text.
    """
    from kiv_engine.fit import MILLION

    def rank(each: ListedModel) -> tuple[int, float, int]:
        trained = min(each.trained_tokens, LONG_TEXT_TOKENS)
        return trained, each.entry.published_billions, each.tokens_of_long_text

    able = sorted((one for one in listed if not one.entry.gated and one.for_long_text), key=rank, reverse=True)
    advised = [Advice(each, "also") for each in able]
    for place, each in enumerate(able):
        if not each.is_trained_for_long_text:
            advised[place] = Advice(each, "untrained")
        elif place == 0:
            advised[place] = Advice(each, "largest")
    for place, each in enumerate(able):
        if each.is_trained_for_long_text and each.tokens_of_long_text >= MILLION:
            best = Advice(each, "for_million" if place else "largest_for_million")
            return [best, *advised[:place], *advised[place + 1 :]][:MOST_ADVISED]
    return advised[:MOST_ADVISED]


def recommendation(listed: list[ListedModel], *, is_here: bool = True) -> Iterator[str]:
    """Which models to take, on this PC or on one that is not at hand, in lines."""
    pc = "this PC" if is_here else "such a PC"
    advised = recommended(listed)
    if not advised:
        yield f"None of them holds a long text in the RAM of {pc}; the built-in model does, and others with the disk."
        return
    yield f"For whole books on {pc}:"
    yield from (each.line for each in advised)
    first = advised[0].listed.entry.id
    yield f"Get one with: ./kiv models get {first}" + (f"; how fast it would be: ./kiv fit {first}" if is_here else "")


def megabytes(size: int) -> str:
    """Like `12.9 MB` below a gigabyte."""
    return f"{size / 1e6:,.1f} MB" if size < GB else gigabytes(size)


def tokens(count: int) -> str:
    """Like `4.2 million` or `850,000`: an estimate shows two or three figures."""
    if count >= TOKEN_LIMIT:
        return "any number of"
    if count >= 999_500:
        return f"{count / 1e6:,.1f} million"
    return f"{count // 1_000 * 1_000:,}" if count >= 10_000 else f"{count:,}"


def duration(seconds: float) -> str:
    """Like `4 minutes` or `31 hours`."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7_200 else f"{seconds / 3_600:,.0f} hours"


def rate(tokens_per_s: float) -> str:
    """Like `12 tok/s` or `0.8 tok/s`."""
    return f"{tokens_per_s:,.0f} tok/s" if tokens_per_s >= 10 else f"{tokens_per_s:.1f} tok/s"
