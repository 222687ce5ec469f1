"""`kiv ask` as a process of its own: streams, exit codes, Ctrl-C, and the memory it says it takes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.engine.documents.writers import write_pdf

ROOT = Path(__file__).parents[2]
KIV = [sys.executable, "-m", "kiv_engine.cli"]


def kiv(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [*KIV, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [*KIV, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_documented_command_line_works() -> None:
    result = kiv("ask", "archive:1500", "-", "-q", "Who?", "--json", "--hot-tokens", 256, input="An eel in the well.\n")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert report["document_tokens"] > 1_400
    assert all(line.startswith("Read") for line in result.stderr.splitlines()), result.stderr
    assert not {"\r", "\x1b"} & set(result.stderr)


def test_bad_input_is_known_before_torch_is_loaded() -> None:
    code = (
        "import sys; from kiv_engine.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(99 if 'torch' in sys.modules else code)"
    )
    bad = (["-q", " "], ["archive:5", "-q", "Who?"], ["-q", "a", "--seed", "-1"], ["/dev/null", "-q", "Who?"])
    for arguments in ([], *(["ask", *options] for options in bad)):
        result = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, check=False)
        assert result.returncode == (2 if arguments else 0), result


def test_a_terminal_with_nothing_piped_is_not_waited_for() -> None:
    pty = pytest.importorskip("pty", reason="terminals are made by Unix")
    master, terminal = pty.openpty()
    result = kiv("ask", "-", "-q", "Who?", stdin=terminal, timeout=60)
    os.close(master)
    os.close(terminal)
    assert (result.returncode, result.stdout) == (2, "")
    assert "nothing is piped" in result.stderr


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_ctrl_c_while_reading(options: list[str]) -> None:
    process = start("ask", "archive:150000", "-q", "Who?", "--prefill", "window", *options)
    assert process.stderr is not None
    line = process.stderr.readline()
    while line.startswith("Tokenizing: "):
        line = process.stderr.readline()
    assert line.startswith("Reading ")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("kiv: Stopped after ")


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_ctrl_c_while_answering(options: list[str]) -> None:
    arguments = [
        "ask",
        "archive:1500",
        "-q",
        "Tell all.",
        "--max-new-tokens",
        100_000,
        "--temperature",
        10,
        "--seed",
        1,
    ]
    process = start(*arguments, *options)
    assert process.stderr is not None
    while not process.stderr.readline().startswith("Read "):
        pass
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == ""
    if options:
        assert json.loads(out)["finish_reason"] == "cancelled"
    else:
        assert "[cancelled; " in out


def test_ctrl_c_while_a_file_is_parsed(tmp_path: Path) -> None:
    process = start("ask", write_pdf(tmp_path / "long.pdf", ["Some text."] * 3_000), "-q", "Who?")
    parent = psutil.Process(process.pid)
    while not (children := parent.children()):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "kiv: Stopped.\n")
    for child in children:
        child.wait(timeout=20)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk takes the rights of root")
    try:
        result = kiv("ask", "archive:3000", "-q", "Who?", "--json", "--hot-tokens", 256, "--store", tmp_path)
        left = list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert (result.returncode, result.stdout, left) == (2, "", [])
    assert "tokens fit" in result.stderr


MEASURE = """
import gc, json, os, psutil, torch, transformers as hf
from kiv_engine.cache import KIVCache
from kiv_engine.config import KIVConfig

torch.set_num_threads(1)
config = hf.LlamaConfig(vocab_size=64, hidden_size=64, intermediate_size=64, num_hidden_layers=2, head_dim=256,
                        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=200_000)
model = hf.LlamaForCausalLM(config).eval()

def rss():
    gc.collect()
    return psutil.Process().memory_info().rss

def read(cache, count):
    ids = torch.arange(2_048)[None] % 64
    with torch.inference_mode(), cache.reading():
        for _ in range(count // 2_048):
            model(input_ids=ids, past_key_values=cache, logits_to_keep=1)

config = KIVConfig(hot_tokens=512, prefill="window", positions="true")
warm = KIVCache(model, config)
read(warm, 8_192)  # what torch keeps for itself
warm.close()
before = rss()
cache = KIVCache(model, config)
cache.plan(32_768)
read(cache, 32_768)
print(json.dumps({"growth": rss() - before, "parts": cache.bytes_by_part()}))
"""


def test_the_memory_that_is_reported_is_the_memory_that_is_taken() -> None:
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "0",
    }
    result = subprocess.run(
        [sys.executable, "-c", MEASURE], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    measured = json.loads(result.stdout)
    parts = sum(measured["parts"].values())
    assert parts > 250_000_000
    assert measured["growth"] == pytest.approx(parts, rel=0.1), measured
