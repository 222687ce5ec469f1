"""What models really took on this PC beside what was planned: a small file, a record per model and kind of weights.

The newest record counts. Nothing depends on the file: where it cannot be read or written, there are no records.
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import platformdirs

from kiv_engine.files import write_whole

if TYPE_CHECKING:
    from kiv_engine.context import Context
    from kiv_engine.loader import LoadedModel, LoadOptions

GB: Final = 1e9


@dataclass(frozen=True)
class Record:
    """Bytes planned and measured once a context was read.

    Attributes:
        model, quantize, device: what was loaded, and where.
        tokens: in the context.
        planned_weights, weights: of the model.
        planned_ram, ram: of the whole process, without what reading a chunk takes for a moment.
        planned_vram, vram: on a GPU what PyTorch has taken there, the CUDA context left out; 0 on the CPU.
        read_tokens_per_s: of the newest reading that was long enough to tell; 0 if there was none.
    """

    model: str
    quantize: str
    device: str
    tokens: int
    planned_weights: int
    weights: int
    planned_ram: int
    ram: int
    planned_vram: int = 0
    vram: int = 0
    read_tokens_per_s: float = 0.0

    @property
    def sentence(self) -> str:
        """Like `predicted 4.9 GB of RAM, measured 5.1 GB, with 40,000 tokens`."""
        place, planned, measured = "RAM", self.planned_ram, self.ram
        if self.vram:
            place, planned, measured = "VRAM", self.planned_vram, self.vram
        sizes = f"predicted {planned / GB:,.2f} GB of {place}, measured {measured / GB:,.2f} GB"
        return f"{sizes}, with {self.tokens:,} tokens"


def records_file() -> Path:
    """Where the user's records are."""
    return Path(platformdirs.user_data_path("kiv", appauthor=False)) / "measured.json"


def read_records() -> dict[tuple[str, str], Record]:
    """The newest record by model and kind of weights."""
    try:
        found = [Record(**each) for each in json.loads(records_file().read_text(encoding="utf-8"))]
        return {(each.model, each.quantize): each for each in found}
    except (OSError, ValueError, TypeError):
        return {}


def keep(record: Record) -> None:
    """Put a record in the place of an older one of the same model and weights, whose rate stays if this has none."""
    records = read_records()
    older = records.get((record.model, record.quantize))
    if older is not None and older.device == record.device and not record.read_tokens_per_s:
        record = replace(record, read_tokens_per_s=older.read_tokens_per_s)
    records[record.model, record.quantize] = record
    path = records_file()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps([asdict(each) for each in records.values()], indent=1).encode() + b"\n")


def measure(loaded: "LoadedModel", options: "LoadOptions", context: "Context") -> Record:
    """Measure now; the plan is for as many tokens as are read, of which sinks and hot window are no cold ones."""
    import psutil
    import torch

    from kiv_engine import fit, model_shape
    from kiv_engine.weights import weight_bytes

    on_gpu = loaded.device.type == "cuda"
    setting = model_shape.Setting(options.quantize, "cuda" if on_gpu else "cpu", context.config)
    needs = model_shape.ModelShape(loaded.model.config).needs(setting)
    cold = context.cache.policy.cold_tokens(context.num_tokens)
    rows = needs.token_keys_values * cold if context.config.store_folder is None else 0
    kept = needs.weights + needs.hot + needs.index + needs.token_index * cold
    return Record(
        model=options.model,
        quantize=options.quantize,
        device=loaded.device.type,
        tokens=context.num_tokens,
        planned_weights=needs.weights,
        weights=weight_bytes(loaded.model),
        planned_ram=rows + (fit.CUDA_HOST_BYTES if on_gpu else kept + needs.runtime),
        ram=psutil.Process().memory_info().rss,
        planned_vram=kept if on_gpu else 0,
        vram=sum(map(torch.cuda.memory_allocated, loaded.devices)) if on_gpu else 0,
        read_tokens_per_s=context.read_tokens_per_s,
    )
