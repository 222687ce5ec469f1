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
        planned_ram, ram: what weights and context have there, on a GPU only K and V; mapped files are left out.
        program_ram: the whole process, with Python, PyTorch, documents, a window, and what is kept for reading.
        planned_vram, vram: on a GPU what PyTorch has taken there, the CUDA context left out; 0 on the CPU.
        planned_read_tokens_per_s: as it was estimated before a reading; 0 if it was not.
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
    program_ram: int
    planned_vram: int = 0
    vram: int = 0
    planned_read_tokens_per_s: float = 0.0
    read_tokens_per_s: float = 0.0

    @property
    def sentence(self) -> str:
        """Like `the model and 40,000 tokens took 4.91 GB of RAM (predicted 4.90), the whole program 5.40 GB; 3,150
        tokens were read a second (predicted 2,900)`.
        """
        place, planned, measured, whole = "RAM", self.planned_ram, self.ram, "GB"
        if self.vram:
            place, planned, measured, whole = "VRAM", self.planned_vram, self.vram, "GB of RAM"
        told = (
            f"the model and {self.tokens:,} tokens took {measured / GB:,.2f} GB of {place} (predicted "
            f"{planned / GB:,.2f}), the whole program {self.program_ram / GB:,.2f} {whole}"
        )
        if self.read_tokens_per_s:
            told += f"; {self.read_tokens_per_s:,.0f} tokens were read a second"
            told += f" (predicted {self.planned_read_tokens_per_s:,.0f})" if self.planned_read_tokens_per_s else ""
        return told


def records_file() -> Path:
    """Where the user's records are."""
    return Path(platformdirs.user_data_path("kiv", appauthor=False)) / "measured.json"


def read_records() -> dict[tuple[str, str], Record]:
    """The newest record by model and kind of weights; of older versions, which compared other sizes, none."""
    try:
        found = [Record(**each) for each in json.loads(records_file().read_text(encoding="utf-8"))["records"]]
        return {(each.model, each.quantize): each for each in found}
    except (OSError, ValueError, TypeError, LookupError):
        return {}


def keep(record: Record) -> None:
    """Put a record in the place of an older one of the same model and weights, whose rates stay where this has none."""
    records = read_records()
    older = records.get((record.model, record.quantize))
    if older is not None and older.device == record.device:
        record = replace(
            record,
            planned_read_tokens_per_s=record.planned_read_tokens_per_s or older.planned_read_tokens_per_s,
            read_tokens_per_s=record.read_tokens_per_s or older.read_tokens_per_s,
        )
    records[record.model, record.quantize] = record
    path = records_file()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {"records": [asdict(each) for each in records.values()]}
        write_whole(path, json.dumps(kept, indent=1).encode() + b"\n")


def measure(loaded: "LoadedModel", options: "LoadOptions", context: "Context", planned_rate: float = 0.0) -> Record:
    """Measure now; the plan is for as many tokens as are read, of which sinks and hot window are no cold ones.

    `planned_rate` is in tokens read per second, 0 where none was estimated.
    """
    import psutil
    import torch

    from kiv_engine import model_shape
    from kiv_engine.weights import weight_bytes

    on_gpu = loaded.device.type == "cuda"
    setting = model_shape.Setting(options.quantize, "cuda" if on_gpu else "cpu", context.config)
    needs = model_shape.ModelShape(loaded.model.config).needs(setting)
    cold = context.cache.policy.cold_tokens(context.num_tokens)
    places = context.footprint.places()
    rows = max(0, needs.token_keys_values * cold - places.disk.total)  # mapped files, of an opened context, too
    kept = needs.weights + needs.hot + needs.index + needs.token_index * cold
    weights = weight_bytes(loaded.model)
    return Record(
        model=options.model,
        quantize=options.quantize,
        device=loaded.device.type,
        tokens=context.num_tokens,
        planned_weights=needs.weights,
        weights=weights,
        planned_ram=rows + (0 if on_gpu else kept),
        ram=places.ram.total + (0 if on_gpu else weights),
        program_ram=psutil.Process().memory_info().rss,
        planned_vram=kept if on_gpu else 0,
        vram=sum(map(torch.cuda.memory_allocated, loaded.devices)) if on_gpu else 0,
        planned_read_tokens_per_s=planned_rate,
        read_tokens_per_s=context.read_tokens_per_s,
    )
