"""What `kiv doctor` says: the PC as lines for people and as JSON, and a verdict in plain words. Prints nothing."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from kiv_engine.hardware import Gpu, Hardware

GB: Final = 1e9
LITTLE_RAM: Final = 2e9
LITTLE_DISK: Final = 5e9


def models_folder() -> Path:
    """Where downloaded models lie: the cache that HuggingFace's own tools use."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def report(hardware: Hardware) -> dict[str, Any]:
    """The JSON of `kiv doctor --json`; sizes in bytes."""
    return {**asdict(hardware), "verdict": verdict(hardware)}


def lines(hardware: Hardware) -> Iterator[str]:
    """What a person reads."""
    cpu, ram, disk = hardware.cpu, hardware.ram, hardware.disk
    cores = f"{cpu.logical_cores} logical cores"
    if cpu.usable_cores < cpu.logical_cores:
        cores += f", {cpu.usable_cores} of them for this program"
    limit = ", the limit of this container" if ram.in_container else ""
    yield f"Processor  {cpu.name}: {cores}; {', '.join(cpu.instruction_sets) or 'no vector instructions that matter'}"
    yield f"RAM        {gigabytes(ram.available_bytes)} free of {gigabytes(ram.total_bytes)}{limit}"
    yield f"Disk       {gigabytes(disk.free_bytes)} free of {gigabytes(disk.total_bytes)}, for models in {disk.path}"
    for gpu in hardware.gpus:
        yield f"GPU        {describe_gpu(gpu)}"
    yield f"CUDA       {'Usable. ' if hardware.cuda.usable else 'Not usable. '}{hardware.cuda.reason}"
    if hardware.cuda.remedy:
        yield f"           {hardware.cuda.remedy}"
    yield ""
    yield verdict(hardware)


def describe_gpu(gpu: Gpu) -> str:
    """Like `NVIDIA GeForce RTX 4070: 11.2 GB free of 12.9 GB, driver 550.54, compute capability 8.9`."""
    capability = f", compute capability {gpu.compute_capability}" if gpu.compute_capability else ""
    free = f"{gigabytes(gpu.free_bytes)} free of {gigabytes(gpu.total_bytes)}"
    return f"{gpu.name}: {free}, driver {gpu.driver}{capability}"


def verdict(hardware: Hardware) -> str:
    """What all of this means for somebody who wants to use a model here."""
    ram, disk = hardware.ram, hardware.disk
    if hardware.cuda.usable:
        where = f"Models run on the {hardware.gpus[0].name}; {gigabytes(ram.available_bytes)} of RAM hold long texts."
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
