"""The fit planner: how many tokens of a model fit on this PC, or on one that is not at hand, before any download."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from transformers import PreTrainedConfig

from kiv_engine.config import QUANTIZE_KINDS, QUANTIZED, KIVConfig, Quantize, StoreDtype
from kiv_engine.device_map import MOST_TOKENS, Piece, split
from kiv_engine.footprint import RAM_SHARE, VRAM_SHARE
from kiv_engine.hardware import Hardware
from kiv_engine.model_config import is_quantized, load_dtype
from kiv_engine.model_shape import Device, ModelShape, Needs, Setting

CUDA_HOST_BYTES: Final = 2_000_000_000
"""RAM of a process that uses CUDA, weights on their way included; as commonly reported."""

STORE_DTYPES: Final[tuple[StoreDtype, ...]] = ("model", "int8")

DESKTOP_SHARE: Final = 0.1
"""Of the RAM of a PC that is not at hand, system and other programs are taken to use this share."""

DESKTOP_VRAM_BYTES: Final = 500_000_000
"""And of its GPU's memory so much, for the screen."""

MILLION: Final = 1_000_000

ENOUGH_TOKENS: Final = {"cpu": 16_384, "cuda": 131_072}
"""So many tokens of room are worth more than finer weights; on the CPU quantized ones answer many times slower."""


@dataclass(frozen=True)
class Room:
    """Bytes that are free; `vram` is None where the CPU runs the model, `more_vram` that of further GPUs."""

    ram: int
    disk: int
    vram: int | None = None
    more_vram: tuple[int, ...] = ()

    @property
    def all_vram(self) -> tuple[int, ...]:
        """Of each GPU."""
        return () if self.vram is None else (self.vram, *self.more_vram)


@dataclass(frozen=True)
class Plan:
    """How many tokens fit.

    Attributes:
        tokens_in_ram: with the store in RAM.
        tokens_on_disk: with the store in files.
        missing: bytes that are short before the first token, of RAM or of VRAM; 0 where the model fits.
        gpu_layers: how many layers go on each GPU; empty where all are on one, or on the CPU.
    """

    needs: Needs
    room: Room
    tokens_in_ram: int
    tokens_on_disk: int
    missing: int
    gpu_layers: tuple[int, ...] = ()

    @property
    def num_gpus(self) -> int:
        """Over so many GPUs a model is spread, the first with what is in no layer; 1 where it is on one or on none."""
        return 1 + sum(count > 0 for count in self.gpu_layers[1:])


def plan_of(shape: ModelShape, setting: Setting, room: Room) -> Plan:
    """How many cold tokens fit; on several GPUs together where one does not hold a million and all hold more."""
    needs = shape.needs(setting)
    alone = plan(needs, room)
    if not room.more_vram or alone.tokens_in_ram >= MILLION:
        return alone
    pieces = shape.pieces(setting)
    if not pieces:
        return alone
    spread = plan_spread(needs, room, pieces)
    return max(alone, spread, key=lambda each: (each.tokens_in_ram, -each.missing))


def plan_spread(needs: Needs, room: Room, pieces: list[Piece]) -> Plan:
    """How many cold tokens fit where layers are spread over all GPUs; each has a CUDA context and reads chunks."""
    beside = needs.activations + needs.runtime
    rooms = [int(free * VRAM_SHARE) - beside for free in room.all_vram]
    rooms[0] -= needs.fixed - beside - sum(piece.fixed for piece in pieces)
    found = split(pieces, rooms)
    left = -missing_host_ram(room)
    if missing := max(-left, found.missing, 0):
        return Plan(needs, room, 0, 0, missing, found.layers)
    in_ram, on_disk = _count(left, needs.token_keys_values), _count(room.disk, needs.token_keys_values)
    return Plan(needs, room, min(in_ram, found.tokens), min(on_disk, found.tokens), 0, found.layers)


def plan(needs: Needs, room: Room) -> Plan:
    """How many cold tokens fit on the CPU or on the first GPU; sinks and hot window are among the needs already."""
    if room.vram is None:
        left = int(room.ram * RAM_SHARE) - needs.fixed
        codes = left
    else:
        codes = int(room.vram * VRAM_SHARE) - needs.fixed
        left = -missing_host_ram(room)
    missing = max(0, -left, -codes)
    if missing:
        return Plan(needs, room, 0, 0, missing)
    per_token = needs.token if room.vram is None else needs.token_keys_values
    in_ram = _count(left, per_token)
    if room.vram is not None:
        in_ram = min(in_ram, _count(codes, needs.token_index))
    on_disk = min(_count(room.disk, needs.token_keys_values), _count(codes, needs.token_index))
    return Plan(needs, room, in_ram, on_disk, 0)


def missing_host_ram(room: Room) -> int:
    """Bytes of RAM that are short where GPUs run a model, before the first token; negative: what is left."""
    return CUDA_HOST_BYTES - int(room.ram * RAM_SHARE)


def _count(room: int, per_token: int) -> int:
    """Tokens; no limit, which is a very large number, where nothing grows."""
    return room // per_token if per_token else MOST_TOKENS


def room_of(hardware: Hardware) -> Room:
    """What is free on a PC, and where its models run."""
    vram = [gpu.free_bytes for gpu in hardware.model_gpus]
    return Room(hardware.ram.available_bytes, hardware.disk.free_bytes, vram[0] if vram else None, tuple(vram[1:]))


def room_elsewhere(room: Room, gpus_gb: Sequence[float] | None, ram_gb: float | None) -> Room:
    """The room on a PC with GPUs and RAM of so many GB (10^9 bytes), 0 for no GPU; what is None is as in `room`.

    The first GPU has the screen.
    """
    ram = room.ram if ram_gb is None else int(ram_gb * 1e9 * (1 - DESKTOP_SHARE))
    if gpus_gb is None:
        return replace(room, ram=ram)
    sizes = [int(size * 1e9) for size in gpus_gb if size]
    if not sizes:
        return replace(room, ram=ram, vram=None, more_vram=())
    return replace(room, ram=ram, vram=max(0, sizes[0] - DESKTOP_VRAM_BYTES), more_vram=tuple(sizes[1:]))


def weights_to_offer(config: PreTrainedConfig, device: Device) -> tuple[Quantize, ...]:
    """Ways to keep the weights, the finest first: bfloat16 only where weights in full are larger.

    Those that are quantized already stay as they are.
    """
    if is_quantized(config):
        return ("none",)
    wide = load_dtype(config, device).itemsize > torch.bfloat16.itemsize
    return ("none", *(("bf16",) if wide else ()), *QUANTIZED)


def plan_all(
    shape: ModelShape, room: Room, config: KIVConfig | None = None, wanted: Quantize | None = None
) -> dict[Quantize, Plan]:
    """A plan for each way to keep the weights, the finest first, and for one that is asked for."""
    device: Device = "cpu" if room.vram is None else "cuda"
    config = config or KIVConfig()
    kinds = {*weights_to_offer(shape.config, device), wanted}
    return {kind: plan_of(shape, Setting(kind, device, config), room) for kind in QUANTIZE_KINDS if kind in kinds}


def plan_stores(shape: ModelShape, room: Room, wanted: Quantize | None = None) -> dict[str, dict[Quantize, Plan]]:
    """All plans with the default config, for each dtype of the store."""
    return {dtype: plan_all(shape, room, KIVConfig(store_dtype=dtype), wanted) for dtype in STORE_DTYPES}


def best_of(plans: dict[Quantize, Plan]) -> Quantize:
    """The finest weights that leave room for a long text; else those that leave most. The finest plan comes first."""
    device = "cpu" if plans["none"].room.vram is None else "cuda"
    enough = [kind for kind, plan in plans.items() if plan.tokens_in_ram >= ENOUGH_TOKENS[device]]
    return enough[0] if enough else max(plans, key=lambda kind: (plans[kind].tokens_in_ram, -plans[kind].missing))
