"""A command line on a tiny random model that reads with the built-in model's tokenizer."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

from kiv_engine import cli
from kiv_engine.engine import Engine
from kiv_engine.loader import LoadedModel
from kiv_engine.model_folder import DEMO_FOLDER

Kiv = Callable[..., tuple[int, str, str]]
PageOf = Callable[[str, dict[str, Any]], str]
GENERATOR = Path(__file__).resolve().parents[3] / "benchmarks" / "make_results.py"


@pytest.fixture
def page_of() -> PageOf:
    """The page that docs/results.md would be if a report were the only result."""
    spec = importlib.util.spec_from_file_location("make_results", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)

    def page(name: str, report: dict[str, Any]) -> str:
        record = {"result": report, "machine": report["machine"], "date": report["date"], "options": []}
        rendered: str = generator.render({name: {**record, "load_before": None}}, "")["results.md"]
        return rendered

    return page


@pytest.fixture(scope="session")
def tiny() -> Engine:
    """One layer of random weights."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=4_096, max_position_embeddings=65_536, **sizes)).eval()
    tokenizer = AutoTokenizer.from_pretrained(DEMO_FOLDER)
    return Engine(LoadedModel(model, tokenizer, "tiny", torch.device("cpu"), GenerationConfig()))


@pytest.fixture
def kiv(tiny: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Kiv:
    """Run a command; its exit code, stdout and stderr."""
    monkeypatch.setattr(Engine, "load", lambda *_args, **_options: tiny)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run
