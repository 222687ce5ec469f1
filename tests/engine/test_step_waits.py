"""What the CPU waits for while a GPU works: counted on pretended GPUs, which refuse what meets on two devices.

A decode step of a layer needs one wait: the GPU chooses the rows, the CPU gathers them. Every 32nd step moves 32 tokens
out of the hot window into RAM, keys and values, which are two copies more. All else is asked for and not waited for.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHOSEN = ["into RAM"]
"""The ids of the rows that a query chose."""
MOVED = ["into RAM", "into RAM"]
"""Keys and values that have become cold."""


def run_child(*arguments: str) -> dict[str, list[dict[str, Any]]]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.engine.step_waits", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    found: dict[str, list[dict[str, Any]]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def layers() -> dict[str, list[dict[str, Any]]]:
    return run_child("layers")


@pytest.mark.parametrize("positions", ["true", "compact"])
def test_a_layer_on_a_gpu_computes_what_one_on_the_cpu_does(
    layers: dict[str, list[dict[str, Any]]], positions: str
) -> None:
    assert max(step["off"] for step in layers[positions]) < 1e-5


@pytest.mark.parametrize("positions", ["true", "compact"])
def test_a_decode_step_of_a_layer_waits_once(layers: dict[str, list[dict[str, Any]]], positions: str) -> None:
    steps = layers[positions][-4:]
    assert {step["moved"] for step in steps} == {0, 32}
    for step in steps:
        assert step["waits"] == (MOVED if step["moved"] else []) + CHOSEN


@pytest.mark.parametrize(("positions", "blocks"), [("true", 1), ("compact", 8)])
def test_reading_waits_for_what_becomes_cold_and_once_a_block(
    layers: dict[str, list[dict[str, Any]]], positions: str, blocks: int
) -> None:
    [chunk, question] = layers[positions][3:5]
    assert chunk["waits"] == MOVED + CHOSEN * blocks
    assert (question["moved"], question["waits"]) == (0, CHOSEN * question["tokens"])


def test_while_all_that_is_cold_is_taken_nothing_is_waited_for(layers: dict[str, list[dict[str, Any]]]) -> None:
    [first, step] = layers["true"][:2]
    assert (first["moved"], step["moved"]) == (32, 0)
    assert (first["waits"], step["waits"]) == (MOVED, [])


def test_a_decode_step_of_a_model_waits_once_for_each_layer_that_attends() -> None:
    """With soft caps, shared layers, learned sinks, linear layers, experts. What transformers does waits for none."""
    for name, steps in run_child("models", "llama", "gemma2", "gemma4", "gpt_oss", "qwen3_next").items():
        decoded = steps[-4:]
        assert {step["moved"] for step in decoded} == {0, 32}, name
        for step in decoded:
            moved = MOVED * step["owners"] if step["moved"] else []
            assert step["waits"] == moved + CHOSEN * step["attending"], name
