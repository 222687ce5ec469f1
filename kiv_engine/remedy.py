"""What to change where memory ran out: the first smaller plan that fits, by the fit planner."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import platformdirs
import torch
from transformers import PreTrainedConfig

from kiv_engine import fit, model_shape
from kiv_engine.config import QUANTIZE_KINDS
from kiv_engine.context import Context
from kiv_engine.errors import EngineError, OutOfMemoryError, UnsupportedModelError, said
from kiv_engine.events import SmallerPlan
from kiv_engine.fit import Plan, Room
from kiv_engine.free_space import available_ram_bytes, existing_folder
from kiv_engine.hardware import further_gpus
from kiv_engine.loader import LayerDevices, LoadedModel, LoadOptions, device_of
from kiv_engine.memory import free_vram_bytes
from kiv_engine.model_config import is_quantized, read_config
from kiv_engine.model_shape import Device, ModelShape, Needs, Setting

LESS_HOT_TOKENS: Final = 512
GB: Final = 1e9
MB: Final = 1e6


def default_store() -> Path:
    """Where old K and V may lie on the disk if nobody has said."""
    return Path(platformdirs.user_cache_path("kiv", appauthor=False)) / "store"


# -- what would fit --------------------------------------------------------------------------------------------------


def smaller_plan(shape: ModelShape, setting: Setting, room: Room, tokens: int) -> SmallerPlan | None:
    """The first change with which `tokens` fit: sparse reading for exact, int8 rows, the disk, fewer hot tokens,
    coarser weights, or some together; else the one with which the longest context fits. None where nothing does.

    For no tokens, that is for loading, only the weights count. What the planner takes to fit already has just failed: a
    change has to need less than that.
    """
    before = _demand(shape.needs(setting), setting, tokens)
    longest: SmallerPlan | None = None
    changes = _changes(setting, shape.config) if tokens else map(SmallerPlan, _coarser(setting, shape.config))
    for change in (*changes, SmallerPlan()):
        changed = _changed(setting, change)
        plan = fit.plan_of(shape, changed, room)
        most = plan.tokens_in_ram if changed.config.store_folder is None else plan.tokens_on_disk
        need = _demand(plan.needs, changed, tokens)
        if not plan.missing and most >= tokens and need < before:
            return replace(change, need_bytes=plan.needs.fixed, free_bytes=_place(room))
        if not plan.missing and 0 < most < tokens and (longest is None or most > longest.tokens):
            longest = replace(change, tokens=most, need_bytes=plan.needs.fixed, free_bytes=_place(room))
    return longest


def _place(room: Room) -> int:
    return room.ram if room.vram is None else sum(room.all_vram)


def _demand(needs: Needs, setting: Setting, tokens: int) -> int:
    """Bytes of RAM and VRAM together."""
    return needs.fixed + tokens * (needs.token if setting.config.store_folder is None else needs.token_index)


def _changes(setting: Setting, config: PreTrainedConfig) -> Iterator[SmallerPlan]:
    """Single ones in the order in which they cost least, then several at once."""
    now, whole = setting.config, SmallerPlan()
    if now.prefill == "exact":  # by its window alone it would need hardly less, and the question searches anyway
        whole = replace(whole, prefill="sparse")
        yield whole
    if now.store_dtype != "int8":
        whole = replace(whole, store_dtype="int8")
        yield SmallerPlan(store_dtype="int8")
    if now.store_folder is None:
        whole = replace(whole, store=str(default_store()))
        yield SmallerPlan(store=whole.store)
    if now.hot_tokens > LESS_HOT_TOKENS:
        whole = replace(whole, hot_tokens=LESS_HOT_TOKENS)
        yield SmallerPlan(hot_tokens=LESS_HOT_TOKENS)
    coarser = _coarser(setting, config)
    yield from (SmallerPlan(quantize=kind) for kind in coarser)
    for kind in coarser:
        yield SmallerPlan(quantize=kind, store_dtype=whole.store_dtype)
        yield SmallerPlan(quantize=kind, store=whole.store)
    yield from (whole, *(replace(whole, quantize=kind) for kind in coarser))


def _coarser(setting: Setting, config: PreTrainedConfig) -> list[Literal["bf16", "8bit", "4bit"]]:
    """Weights with fewer bits."""
    offered = fit.weights_to_offer(config, setting.device)
    finer = QUANTIZE_KINDS[: QUANTIZE_KINDS.index(setting.quantize) + 1]
    coarse: tuple[Literal["bf16", "8bit", "4bit"], ...] = ("bf16", "8bit", "4bit")
    return [kind for kind in coarse if kind in offered and kind not in finer]


def _changed(setting: Setting, change: SmallerPlan) -> Setting:
    return replace(setting, quantize=change.quantize or setting.quantize, config=setting.config.smaller(change))


# -- when ------------------------------------------------------------------------------------------------------------


def choose_devices(
    options: LoadOptions, config: PreTrainedConfig, device: torch.device, *, anyway: bool = False
) -> LayerDevices:
    """The GPU of each layer, where one GPU does not hold the model and a million tokens, and several hold more.

    Raises OutOfMemoryError, with figures, where a model's weights and a first chunk are larger than what is free,
    unless it is to be tried `anyway`: otherwise the system might end the whole program. Says nothing of the built-in
    model, and of checkpoints that are quantized already.
    """
    if options.model == "demo" or is_quantized(config):
        return ()
    try:
        shape = ModelShape(config)
    except UnsupportedModelError:
        return ()  # told where a cache is made
    setting, room = Setting(options.quantize, _kind(device)), _free_room(device)
    plan = fit.plan_of(shape, setting, room)
    if room.vram is not None and plan.tokens_in_ram < fit.MILLION:
        plan = fit.plan_of(shape, setting, _with_further_gpus(room, device))
    if plan.gpu_layers and (anyway or not plan.missing):
        return tuple(gpu for gpu, count in zip(_gpus(device), plan.gpu_layers, strict=True) for _ in range(count))
    if not anyway:
        _require_room(options, plan)
    return ()


def _require_room(options: LoadOptions, plan: Plan) -> None:
    """Raise OutOfMemoryError unless weights and a first chunk are smaller than what is free in RAM or on one GPU."""
    needs, room = plan.needs, plan.room
    device: Device = "cpu" if room.vram is None else "cuda"
    place, together = ("RAM" if room.vram is None else "VRAM"), ""
    need = needs.fixed - needs.runtime
    free = (room.ram if room.vram is None else room.vram) - model_shape.RUNTIME_BYTES[device]
    if need <= free:
        return
    if room.more_vram and plan.missing == fit.missing_host_ram(room):
        raise OutOfMemoryError(
            said(
                "{0} on {1} GPUs needs RAM, too: about {2:,.0f} MB more have to be free. Close other programs.",
                options.model,
                len(room.all_vram),
                plan.missing / MB,
            ),
            is_predicted=True,
        )
    if plan.gpu_layers:  # layers cannot be cut, and each GPU needs room for a chunk
        free = sum(each - model_shape.RUNTIME_BYTES[device] for each in room.all_vram)
        need, together = free + plan.missing, said(" on {0} GPUs", len(room.all_vram))
    raise OutOfMemoryError(
        said(
            "{0} needs about {1:.1f} GB of {2} with these weights ({3:.1f} GB of them weights), and "
            "{4:.1f} GB are free{5}.",
            options.model,
            need / GB,
            place,
            needs.weights / GB,
            free / GB,
            together,
        ),
        is_predicted=True,
    )


def for_loading(options: LoadOptions, error: EngineError) -> SmallerPlan | None:
    """What could be loaded instead, where memory ran out."""
    if not isinstance(error, OutOfMemoryError):
        return None
    device = device_of(options.device)
    shape, room = ModelShape(read_config(options.model)), _free_room(device)
    if room.vram is not None:
        room = _with_further_gpus(room, device)
    return smaller_plan(shape, Setting(options.quantize, _kind(device)), room, 0)


def for_context(
    loaded: LoadedModel, options: LoadOptions, context: Context, error: BaseException
) -> SmallerPlan | None:
    """How a context could be made instead, and if need be its model, where memory ran out."""
    if not isinstance(error, OutOfMemoryError):
        return None
    device, held = loaded.device, context.footprint.parts()
    cold = held.cold_keys + held.cold_values if context.config.store_folder is None else 0
    room = _free_room(device)
    if room.vram is None:
        room = replace(room, ram=room.ram + held.weights + held.hot + held.index + cold)
    else:
        room = _with_further_gpus(room, device)
        held_on = map(context.footprint.held_on, _gpus(device))
        first, *more = (free + of_this for free, of_this in zip(room.all_vram, held_on, strict=True))
        room = replace(room, ram=room.ram + cold, vram=first, more_vram=tuple(more))
    setting = Setting(options.quantize, _kind(device), context.config)
    return smaller_plan(ModelShape(loaded.model.config), setting, room, error.tokens)


def _kind(device: torch.device) -> Device:
    return "cuda" if device.type == "cuda" else "cpu"


def _free_room(device: torch.device) -> Room:
    """What is free, and what this process, which the planner counts, has taken before any model."""
    ram, disk = available_ram_bytes(), shutil.disk_usage(existing_folder(default_store())).free
    if device.type != "cuda":
        return Room(ram + model_shape.RUNTIME_BYTES["cpu"], disk)
    return Room(ram + fit.CUDA_HOST_BYTES, disk, _free_vram(device))


def _with_further_gpus(room: Room, device: torch.device) -> Room:
    """The room with that of the other GPUs. To ask them takes some hundred MB of each."""
    return replace(room, more_vram=tuple(map(_free_vram, _gpus(device)[1:])))


def _free_vram(gpu: torch.device) -> int:
    return free_vram_bytes(gpu) + model_shape.RUNTIME_BYTES["cuda"]


def _gpus(first: torch.device) -> list[torch.device]:
    """The GPU that models go on, and those that help it out."""
    return [first, *(torch.device("cuda", index) for index in further_gpus(first.index))]
