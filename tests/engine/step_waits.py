"""For a child process: what layers and models wait for on a pretended GPU, and whether they compute what the CPU does.

    python -m tests.engine.step_waits layers          # one layer, with true and with compact positions
    python -m tests.engine.step_waits models NAME...  # tiny models of these families

Prints one JSON object: by case a list of steps.
"""

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Any, Final

import torch

from kiv_engine import staging
from kiv_engine.cache import KIVCache
from kiv_engine.config import KIVConfig
from kiv_engine.layer import KIVLayer
from kiv_engine.policy import Policy
from kiv_engine.positions import Rotary
from kiv_engine.prefill import ScoreRule
from kiv_engine.topology import GrowingLayer
from tests.engine.families import FAMILIES
from tests.engine.pretended_gpus import TYPE, PretendedGpus, move, waits
from tests.engine.split_models import CONFIG, prepare

GPU: Final = torch.device(TYPE, 0)
CPU: Final = torch.device("cpu")
HOT: Final = 64
READ: Final = 256
LAYER_COUNTS: Final = (HOT + 40, 1, READ, READ, 25, 1, 1, 1, 1)
MODEL_COUNTS: Final = (READ, READ, 14, 1, 1, 1, 1)
"""Tokens of each forward: for a layer so few that all that is cold is taken; chunks of a document; a question; steps of
an answer, of which one moves tokens out of the hot window.
"""


class NoMark:
    """Copies of a pretended GPU are made at once."""

    def record(self) -> None:
        """Nothing is under way."""

    def synchronize(self) -> None:
        """Nothing is under way."""


def layer_steps(device: torch.device, *, compact: bool) -> Iterator[tuple[dict[str, Any], torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    config = KIVConfig(hot_tokens=HOT, retrieved_tokens=32, sink_tokens=4, prefill="sparse", index_bits=2)
    rotary = Rotary(torch.rand(8, generator=generator).to(device), interleaved=False) if compact else None
    policy = Policy(config, HOT, 128 if compact else 131_072, rotary, folder=None)
    layer = KIVLayer(GrowingLayer(0, 4, 2, 16, True), policy)
    for count in LAYER_COUNTS:
        queries = torch.randn(2, 2, count, 16, generator=generator).to(device)
        keys, values = (torch.randn(1, 2, count, 16, generator=generator).to(device) for _ in range(2))
        policy.reading = count == READ
        waits.clear()
        cold = layer.store.num_tokens if layer.is_initialized else 0
        layer.update(keys, values)
        output = layer.attend(0, queries, ScoreRule(0.25))
        layer.end_forward()
        step = {"tokens": count, "moved": layer.store.num_tokens - cold, "waits": waits.copy()}
        yield step, output.to("cpu")


def layers() -> dict[str, list[dict[str, Any]]]:
    found = {}
    for compact in (False, True):
        expected = [output for _, output in layer_steps(CPU, compact=compact)]
        with PretendedGpus():
            steps = list(layer_steps(GPU, compact=compact))
        for (step, output), wanted in zip(steps, expected, strict=True):
            step["off"] = float((output - wanted).abs().max())
        found["compact" if compact else "true"] = [step for step, _ in steps]
    return found


def model_steps(name: str) -> list[dict[str, Any]]:
    model = FAMILIES[name]()
    move(model, lambda _name: GPU)
    generator, steps = torch.Generator().manual_seed(0), []
    with PretendedGpus(), torch.no_grad():
        cache = KIVCache(model, CONFIG)
        for count in MODEL_COUNTS:
            ids = torch.randint(0, 97, (1, count), generator=generator).to(GPU)
            cold = [layer.store.num_tokens if layer.is_initialized else 0 for layer in cache.growing_layers]
            waits.clear()
            with cache.reading() if count == READ else contextlib.nullcontext():
                model(ids, past_key_values=cache, logits_to_keep=1)
            moved = cache.growing_layers[0].store.num_tokens - cold[0]
            owners, attending = len(cold), sum(layer.geometry.attending for layer in cache.growing_layers)
            steps.append(
                {"tokens": count, "moved": moved, "owners": owners, "attending": attending, "waits": waits.copy()}
            )
        cache.close()
    return steps


if __name__ == "__main__":
    torch.set_num_threads(1)  # a second would only wait for the first
    prepare()
    staging._STAGINGS.by_device[GPU] = staging.Staging(GPU, NoMark)
    what, *names = sys.argv[1:]
    print(json.dumps(layers() if what == "layers" else {name: model_steps(name) for name in names}))
