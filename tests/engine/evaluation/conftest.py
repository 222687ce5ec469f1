"""A command line on a tiny random model that reads with the built-in model's tokenizer."""

from collections.abc import Callable

import pytest
import torch
from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

from kiv_engine import cli
from kiv_engine.engine import Engine
from kiv_engine.loader import DEMO_FOLDER, LoadedModel

Kiv = Callable[..., tuple[int, str, str]]


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
