"""Write docs/fit.md: the fit planner's arithmetic for four models on three PCs.

The PCs are made up, so that the page is the same wherever it is written; `kiv fit MODEL` does the same for this PC. No
time is measured.

    python tools/fit_table.py            writes docs/fit.md
    python tools/fit_table.py --check    fails where the page is not what this would write
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kiv_engine import doctor, fit, model_shape
from kiv_engine.catalogue import find_entry
from kiv_engine.config import KIVConfig
from kiv_engine.fit import Room
from kiv_engine.footprint import RAM_SHARE, VRAM_SHARE
from kiv_engine.index import KEPT_SCORE_BYTES, TILE_BYTES
from kiv_engine.model_config import config_of_shape
from kiv_engine.model_shape import ModelShape, Setting

PAGE: Final = Path(__file__).parents[1] / "docs" / "fit.md"
MODELS: Final = (
    "google/gemma-4-E2B-it",
    "Qwen/Qwen2.5-3B-Instruct",
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
    "microsoft/Phi-3.5-mini-instruct",
)
GB: Final = 10**9
PCS: Final = {
    "16 GB PC (14 GB free), no GPU": Room(14 * GB, 500 * GB),
    "32 GB PC (29 GB free), no GPU": Room(29 * GB, 500 * GB),
    "32 GB PC (29 GB free), 12 GB GPU (11.5 GB free)": Room(29 * GB, 500 * GB, vram=11_500_000_000),
}
INTRODUCTION: Final = f"""# What fits

Written by `python tools/fit_table.py` from the shapes in `resources/catalogue.json`; `./kiv fit MODEL` says the same
for your PC, with times. Nothing here was measured on the PCs below. What was measured, on the CPU and with tiny models
(`tests/engine/test_fit.py`): on every family, the planner's bytes of weights in full, hot window, index and store agree
with the real ones, and its peak of reading a chunk is within a tenth. Weights in 8 and 4 bit were compared on one
family alone, a small Llama.

The arithmetic, in bytes:

    before the first token = weights + hot window + a chunk while reading + maps of the index + PyTorch
    tokens in RAM          = ({RAM_SHARE:.0%} of the free RAM - before the first token) / (K and V + index, per token)

- **Weights**: the model is built without memory and its numbers are counted. In full they have 4 bytes on the CPU
  (float32) and 2 on a GPU; in bfloat16 they have 2 on both, and so have K and V. 8 bit: 1 byte
  and a float32 per row. 4 bit: half a byte, a byte of scale for each 64, and a float32 for each 256 scales. Embeddings
  and the output layer are never quantized.
- **Hot window**: sinks, {KIVConfig().hot_tokens:,} newest tokens and room for one block, for each growing layer; and
  the windows of the layers that slide.
- **PyTorch**: {doctor.gigabytes(model_shape.RUNTIME_BYTES["cpu"])} in RAM, measured; on a GPU the CUDA context,
  {doctor.gigabytes(model_shape.RUNTIME_BYTES["cuda"])} of VRAM, and {doctor.gigabytes(fit.CUDA_HOST_BYTES)} of RAM,
  both assumptions: no GPU was at hand.
- **Per token**: only layers that grow and own their K and V count. In int8 each row of K or V has a float32 of scale.
- **Index**: one bit per key dimension and a byte per head on the CPU; on a GPU a second bit for most dimensions, so
  many that the codes stay below 1/8 of the keys in 16 bit.
- **On a GPU** all of this is in VRAM, of which {VRAM_SHARE:.0%} is planned with, except K and V, which are in RAM.
  The chunk is at least what the search takes for a moment, however long the text: a tile of unpacked codes of
  {TILE_BYTES >> 20} MiB with what belongs to it, and {KEPT_SCORE_BYTES >> 20} MiB of scores. It is counted on the CPU.
- **How the text is read**: sparsely, unless that is set otherwise; "auto" reads up to 18,432 tokens exactly, which is
  not counted. A chunk that is read exactly (`--prefill exact`) is larger on a GPU, by some 230 MB for Qwen2.5-3B, which
  is counted from the code and was never measured there; on the CPU only where many query heads share a KV head and the
  feed-forward layers are small (up to three times in tiny models, within 12 % of what is planned). So
  `--prefill sparse` is offered for it where memory runs out. Reading by the window alone needs about a tenth less of a
  chunk at most (tiny models), and the question that follows searches in any case: it is not offered.
- **On several GPUs**, where one does not hold a million tokens and several hold more: layers are whole, in their order,
  and bring their hot windows, maps and index along; layers that share K and V stay together. The first GPU has what is
  not in a layer, each has a CUDA context and room for a chunk. Of all ways to cut the row of layers it is that with
  which the fullest GPU holds the most tokens. For times each GPU is measured by itself, and copies to it; one works
  while the others wait, so that their times add up.
- **With the disk** K and V are in files of 500 GB at most; the index stays where it is.
"""

TABLE_HEAD: Final = """
| model | weights | bytes | hot window | a chunk | index maps | before the first token | tokens in RAM |
|---|---|---|---|---|---|---|---|"""

TOKEN_HEAD: Final = """
## Bytes per token

| model | growing layers x K and V x KV heads x dimensions | 16 bit, GPU | float32, CPU | int8 | index, CPU | GPU |
|---|---|---|---|---|---|---|"""


def lines() -> Iterator[str]:
    """The whole page."""
    yield INTRODUCTION.rstrip()
    shapes = {name: shape_of(name) for name in MODELS}
    yield from per_token(shapes)
    for pc, room in PCS.items():
        yield f"\n## {pc}\n{TABLE_HEAD}"
        for name, shape in shapes.items():
            yield from rows(name, shape, room)


def shape_of(name: str) -> ModelShape:
    """The shape of a catalogue's entry."""
    entry = find_entry(name)
    assert entry is not None, name
    return ModelShape(config_of_shape(entry.shape))


def per_token(shapes: dict[str, ModelShape]) -> Iterator[str]:
    """K, V and index of one token."""
    yield TOKEN_HEAD
    for name, shape in shapes.items():
        layers = shape.topology.growing
        gpu, cpu = (shape.needs(Setting(device=device)) for device in ("cuda", "cpu"))
        int8 = shape.needs(Setting(config=KIVConfig(store_dtype="int8")))
        product = f"{len(layers)} x 2 x {layers[0].num_kv_heads} x {layers[0].head_dim}"
        sizes = gpu.token_keys_values, cpu.token_keys_values, int8.token_keys_values, cpu.token_index, gpu.token_index
        yield f"| {name} | {product} | " + " | ".join(f"{size:,}" for size in sizes) + " |"


def rows(name: str, shape: ModelShape, room: Room) -> Iterator[str]:
    """One model on one PC, for each kind of weights."""
    plans = fit.plan_stores(shape, room)
    for kind, plan in plans["model"].items():
        needs, int8 = plan.needs, plans["int8"][kind]
        parts = [needs.weights, needs.hot, needs.activations, needs.index, needs.fixed]
        fits = (
            f"**{doctor.tokens(plan.tokens_in_ram)}**; int8 {doctor.tokens(int8.tokens_in_ram)}; "
            f"with the disk {doctor.tokens(plan.tokens_on_disk)}"
        )
        missing = f"{doctor.gigabytes(plan.missing)} missing"
        sizes = " | ".join(doctor.megabytes(size) for size in parts)
        yield f"| {name} | {doctor.WEIGHTS[kind]} | {sizes} | {missing if plan.missing else fits} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    text = "\n".join(lines()) + "\n"
    if options.check:
        sys.exit(0 if PAGE.read_text() == text else f"{PAGE} is not what tools/fit_table.py would write")
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
