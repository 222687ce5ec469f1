"""For a child process: models spread over two pretended GPUs, through the same path that real ones take.

    python -m tests.engine.split_models logits FOLDER...          # how far those of each model are off
    python -m tests.engine.split_models context FOLDER SAVED      # what one says on the CPU and on both GPUs

Prints one JSON object.
"""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any, Final

import torch

from kiv_engine import KIVConfig, index, layer, loader, model_shape
from kiv_engine.cache import KIVCache
from kiv_engine.config import SamplingConfig
from kiv_engine.context import Context
from kiv_engine.document import Document
from kiv_engine.events import AnswerFinished
from kiv_engine.loader import LayerDevices, LoadedModel, LoadOptions, load
from kiv_engine.model_config import read_config
from kiv_engine.saved_context import SavedContext
from kiv_engine.speed import shares
from tests.engine.pretended_gpus import TYPE, PretendedGpus, crossings, pretend

CONFIG: Final = KIVConfig(hot_tokens=128, retrieved_tokens=64, prefill="sparse", positions="true", index_bits=2)
GPUS: Final = (torch.device(TYPE, 0), torch.device(TYPE, 1))
TEXT: Final = " ".join(f"word{number % 37} and {number * number % 91}." for number in range(300))


def prepare() -> None:
    """What such tensors cannot do: inference mode, and random numbers of a device. Short texts are searched, too."""
    pretend()
    generator = torch.Generator
    torch.inference_mode = lambda mode=True: torch.no_grad() if mode else contextlib.nullcontext()  # type: ignore[assignment, misc]
    torch.Generator = lambda _device="cpu": generator("cpu")  # type: ignore[assignment, misc]
    index.FIT_TOKENS = layer.FIT_TOKENS = 64  # type: ignore[misc, attr-defined]


def spread(folder: str) -> LayerDevices:
    """The first piece on the first GPU, all others on the second."""
    pieces = model_shape.ModelShape(read_config(folder)).pieces(model_shape.Setting(config=CONFIG))
    first = pieces[0].layers if len(pieces) > 1 else 0
    return tuple(GPUS[index >= first] for index in range(sum(piece.layers for piece in pieces)))


def loaded_on(folder: str, devices: LayerDevices) -> LoadedModel:
    """`devices` of the layers; none for the CPU."""
    loader.device_of = lambda _choice: GPUS[0] if devices else torch.device("cpu")  # type: ignore[assignment]
    return load(LoadOptions(folder, device="cpu"), choose_devices=lambda _config, _device: devices)


# -- logits ----------------------------------------------------------------------------------------------------------


def logits_of(loaded: LoadedModel) -> tuple[list[torch.Tensor], list[str]]:
    """Those behind two chunks and two single tokens; and where the growing layers keep what is theirs."""
    cache, logits = KIVCache(loaded.model, CONFIG), []
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for count in (256, 256, 1, 1):
            ids = torch.randint(0, 97, (1, count), generator=generator).to(loaded.device)
            crossings.clear()
            with cache.reading() if count > 1 else contextlib.nullcontext():
                output = loaded.model(ids, past_key_values=cache, logits_to_keep=1).logits
            assert output.device == loaded.device
            logits.append(output.cpu())
    places = [str(each.hot.keys.device) for each in cache.growing_layers]
    assert places == [str(loaded.layer_device(each.geometry.index)) for each in cache.growing_layers]
    cache.close()
    return logits, places


def compare_logits(folder: str) -> dict[str, Any]:
    expected, _ = logits_of(loaded_on(folder, ()))
    with PretendedGpus():
        found, places = logits_of(loaded_on(folder, spread(folder)))
    off = max(float((one - other).abs().max()) for one, other in zip(expected, found, strict=True))
    shape, layers = model_shape.ModelShape(read_config(folder)), [spread(folder).count(gpu) for gpu in GPUS]
    planned = shares(shape, model_shape.Setting(config=CONFIG), layers)[1].copies
    return {"off": off, "places": places, "copies": len(crossings), "planned_copies": planned}


# -- contexts --------------------------------------------------------------------------------------------------------


def answer(context: Context) -> str:
    *_, last = context.ask("What?", sampling=SamplingConfig(max_new_tokens=8, temperature=0))
    context.close()
    assert isinstance(last, AnswerFinished), last
    return last.text


def read(loaded: LoadedModel) -> Context:
    context = Context(loaded, CONFIG)
    list(context.read(Document("text", TEXT)))
    return context


def compare_answers(folder: str, saved: Path) -> dict[str, Any]:
    alone = loaded_on(folder, ())
    answers = [answer(read(alone))]
    with PretendedGpus():
        loaded = loaded_on(folder, spread(folder))
        context = read(loaded)
        context.save(saved)
        parts = context.footprint.parts()
        held = [context.cache.bytes_by_part(device) for device in loaded.devices]
        answers.append(answer(context))
        answers.append(answer(Context.opened(loaded, SavedContext.open(saved))))
    answers.append(answer(Context.opened(alone, SavedContext.open(saved))))
    return {
        "answers": answers,
        "layers_on": {str(device): count for device, count in loaded.layers_on.items()},
        "held": [each["hot"] + each["index"] for each in held],
        "parts": parts.hot + parts.index,
    }


if __name__ == "__main__":
    prepare()
    what, *folders = sys.argv[1:]
    if what == "logits":
        print(json.dumps({Path(folder).name: compare_logits(folder) for folder in folders}))
    else:
        print(json.dumps(compare_answers(folders[0], Path(folders[1]))))
