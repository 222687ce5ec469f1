"""Loading: the embedded model, folders that lack something, code that must not run, quantization, sizes."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.utils import are_progress_bars_disabled
from transformers import (
    BartConfig,
    BertConfig,
    BertForMaskedLM,
    DeepseekV3Config,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    T5Config,
)
from transformers.utils import logging as transformers_logging

from kiv_engine import loader, model_config
from kiv_engine.errors import (
    ConfigError,
    DeviceError,
    EngineError,
    ModelNotFoundError,
    UnsupportedModelError,
)
from kiv_engine.events import LoadProgress
from kiv_engine.loader import LoadOptions, load
from kiv_engine.model_folder import DEMO_FOLDER
from kiv_engine.model_shape import ModelShape, Setting
from kiv_engine.weights import weight_bytes
from tests.engine.families import model_of

EVIL_CODE = """\
from pathlib import Path
Path(__file__).with_name("executed").touch()
Path({marker!r}).touch()
class Evil: ...
"""


def tiny_llama(tie: bool = False) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4_096,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=tie,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config)


@pytest.fixture(scope="module")
def saved_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete folder: a tiny random Llama in bfloat16 with the demo's tokenizer."""
    folder = tmp_path_factory.mktemp("tiny-llama")
    tiny_llama().to(torch.bfloat16).save_pretrained(folder)
    copy_tokenizer(folder)
    return folder


@pytest.fixture
def llama(saved_llama: Path, tmp_path: Path) -> Path:
    """A copy of the complete folder, to be spoiled."""
    return shutil.copytree(saved_llama, tmp_path / "llama")


def copy_tokenizer(folder: Path) -> None:
    for path in DEMO_FOLDER.glob("*token*"):
        shutil.copy(path, folder)


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def on_cpu(model: str | Path, **options: Any) -> loader.LoadedModel:
    return load(LoadOptions(str(model), device="cpu", **options))


# -- what loads ------------------------------------------------------------------------------------------------------


def test_demo_loads_from_the_package() -> None:
    loaded = load(LoadOptions(device="cpu"))
    assert loaded.name == "demo"
    assert loaded.device == torch.device("cpu")
    assert loaded.model.dtype == torch.float32
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert isinstance(loaded.generation_config, GenerationConfig)
    assert loaded.generation_config.eos_token_id == loaded.tokenizer.eos_token_id
    ids = torch.tensor([loaded.tokenizer.encode("Hello")])
    assert loaded.model(ids).logits.isfinite().all()


def test_a_folder_loads_in_float32_on_the_cpu(llama: Path) -> None:
    loaded = on_cpu(llama)
    assert type(loaded.model) is LlamaForCausalLM
    assert loaded.model.dtype == torch.float32
    assert torch.equal(loaded.model.lm_head.weight, tiny_llama().lm_head.weight.bfloat16().float())


@pytest.mark.parametrize(("kind", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_a_folder_loads_in_16_bit_on_the_cpu_where_that_is_chosen(llama: Path, kind: str, dtype: torch.dtype) -> None:
    loaded, full = on_cpu(llama, quantize=kind), on_cpu(llama)
    assert {tensor.dtype for tensor in loaded.model.parameters()} == {dtype}
    assert weight_bytes(loaded.model) == pytest.approx(weight_bytes(full.model) / 2, rel=0.01)
    assert torch.equal(loaded.model.lm_head.weight, full.model.lm_head.weight.to(dtype))
    assert model_config.load_dtype(full.model.config, "cpu", kind) == dtype  # type: ignore[arg-type]


def test_of_a_model_that_sees_and_hears_only_the_language_is_loaded(tmp_path: Path) -> None:
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma4Config(
        text_config={**model_of("gemma4").config.to_dict(), "vocab_size": 4_096, "pad_token_id": 0},
        vision_config={**small, "intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 16},
        audio_config={**small, "output_proj_dims": 24},
    )
    whole = Gemma4ForConditionalGeneration(config).float().eval()
    whole.save_pretrained(tmp_path)
    copy_tokenizer(tmp_path)
    loaded = on_cpu(tmp_path)
    ids = torch.arange(3, 60)[None]
    assert torch.equal(loaded.model(ids).logits, whole(ids).logits)
    assert weight_bytes(loaded.model) < 0.9 * weight_bytes(whole)
    assert ModelShape(model_config.read_config(str(tmp_path))).needs(Setting()).weights == weight_bytes(loaded.model)


def test_auto_takes_the_cpu_where_there_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert load(LoadOptions()).device == torch.device("cpu")


@pytest.mark.parametrize(
    ("build", "message"), [(None, r"without CUDA.*doctor --fix"), ("12.8", "no NVIDIA GPU or no driver")]
)
def test_cuda_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, build: str | None, message: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", build)
    with pytest.raises(DeviceError, match=message):
        load(LoadOptions(device="cuda"))


def test_settings_of_transformers_are_restored(capfd: pytest.CaptureFixture[str]) -> None:
    def settings() -> tuple[object, ...]:
        bars = transformers_logging.is_progress_bar_enabled(), are_progress_bars_disabled()
        return transformers_logging.get_verbosity(), *bars, dict(os.environ)

    before = settings()
    load(LoadOptions(device="cpu"))
    with pytest.raises(EngineError):
        on_cpu("kiv-tests/no-such-model")
    assert settings() == before
    assert capfd.readouterr() == ("", "")


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["./none", "/no/such/folder", "~/none", "a/b/c", "C:\\models"])
def test_a_missing_folder_is_refused(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="There is no folder"):
        on_cpu(name)


def test_no_name_is_refused() -> None:
    with pytest.raises(ModelNotFoundError, match="No model is named"):
        on_cpu(" ")


def test_an_unknown_hub_id_is_refused_when_offline() -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    with pytest.raises(ModelNotFoundError, match="is not on this computer, and HF_HUB_OFFLINE forbids"):
        on_cpu("kiv-tests/no-such-model")


def test_an_impossible_hub_id_is_refused() -> None:
    with pytest.raises(ModelNotFoundError, match=r"neither a folder here nor a name|cannot be reached"):
        on_cpu("no such/model?")


def test_a_file_is_refused(llama: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="is a file"):
        on_cpu(llama / "model.safetensors")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "is not a model folder"),
        ("model.safetensors", "has no weights"),
        ("tokenizer.json", "has no tokenizer"),
    ],
)
def test_an_incomplete_folder_is_refused(llama: Path, missing: str, message: str) -> None:
    (llama / missing).unlink()
    with pytest.raises(ModelNotFoundError, match=message):
        on_cpu(llama)


def test_an_adapter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelNotFoundError, match="is an adapter and no model of its own"):
        on_cpu(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.bin.index.json"])
def test_pickles_are_refused(llama: Path, name: str) -> None:
    (llama / "model.safetensors").rename(llama / name)
    with pytest.raises(ModelNotFoundError, match=r"only as a pickle.*save_pretrained"):
        on_cpu(llama)


def test_a_gguf_is_refused_with_what_to_get_instead(llama: Path, tmp_path: Path) -> None:
    message = r"as GGUF, which KIV does not read; get the model that it was made from, as safetensors"
    (llama / "model.safetensors").rename(llama / "model-Q4_K_M.gguf")
    with pytest.raises(ModelNotFoundError, match=message):
        on_cpu(llama)
    with pytest.raises(ModelNotFoundError, match=message):
        on_cpu(llama / "model-Q4_K_M.gguf")
    (llama / "config.json").unlink()
    with pytest.raises(ModelNotFoundError, match=message):
        on_cpu(llama)


@pytest.mark.parametrize("name", ["consolidated.00.pth", "pytorch_model-00001-of-00002.bin", "flax.ckpt"])
def test_other_pickles_are_refused(llama: Path, name: str) -> None:
    (llama / "model.safetensors").rename(llama / name)
    with pytest.raises(ModelNotFoundError, match="only as a pickle"):
        on_cpu(llama)


def test_a_half_downloaded_folder_is_refused(llama: Path) -> None:
    weights = llama / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1_000])
    with pytest.raises(ModelNotFoundError, match=r"model\.safetensors is not complete: 1,000 bytes are missing"):
        on_cpu(llama)
    weights.write_bytes(whole[:5])
    with pytest.raises(ModelNotFoundError, match="is damaged; download it again"):
        on_cpu(llama)
    weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(ModelNotFoundError, match=r"only a pointer to the weights; .* git lfs pull"):
        on_cpu(llama)
    weights.rename(llama / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (llama / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(ModelNotFoundError, match=r"lacks 1 of its weight files, such as model-00002-of-00002\.safe"):
        on_cpu(llama)
    (llama / "other.safetensors").write_bytes(whole[:-9])
    (llama / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "other.safetensors"}}))
    with pytest.raises(ModelNotFoundError, match=r"other\.safetensors is not complete: 9 bytes are missing"):
        on_cpu(llama)


@pytest.mark.parametrize("content", ["[]", "{", '{"weight_map": 3}', "{}"])
def test_a_damaged_index_is_refused(llama: Path, content: str) -> None:
    (llama / "model.safetensors").unlink()
    (llama / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ModelNotFoundError, match="lacks 1 of its weight files"):
        on_cpu(llama)


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_hidden_layers", 10**9), ("hidden_size", 10**7), ("vocab_size", 10**12), ("num_hidden_layers", -4)],
)
def test_absurd_sizes_are_refused(llama: Path, name: str, value: int) -> None:
    change_config(llama, **{name: value})
    for use in (on_cpu, model_config.read_config):
        with pytest.raises(UnsupportedModelError, match=rf"{name} is {value:,}, where 1 to "):
            use(str(llama))


def test_a_size_that_is_no_number_is_refused(llama: Path) -> None:
    change_config(llama, num_hidden_layers="many")
    with pytest.raises(UnsupportedModelError, match=r"is not valid: .*num_hidden_layers") as refusal:
        model_config.read_config(str(llama))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_damaged_file_is_refused(llama: Path, name: str) -> None:
    (llama / name).write_bytes(b"{ damaged")
    with pytest.raises(EngineError, match=str(llama)):
        on_cpu(llama)


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    LlamaModel(tiny_llama().config).save_pretrained(tmp_path)
    change_config(tmp_path, architectures=["LlamaForCausalLM"])
    copy_tokenizer(tmp_path)
    with pytest.raises(ModelNotFoundError, match=r"lacks 1 of its weights, such as lm_head\.weight"):
        on_cpu(tmp_path)


@pytest.mark.parametrize(
    ("config", "architecture", "message"),
    [
        (T5Config(num_layers=1), "T5ForConditionalGeneration", "T5ForConditionalGeneration is an encoder-decoder"),
        (BartConfig(), "BartForConditionalGeneration", "BartForConditionalGeneration is an encoder-decoder"),
        (BertConfig(), "BertForMaskedLM", "BertForMaskedLM is no causal"),
        (LlamaConfig(), "LlamaForSequenceClassification", "LlamaForSequenceClassification is no causal"),
    ],
)
def test_other_architectures_are_refused_by_name(llama: Path, config: Any, architecture: str, message: str) -> None:
    config.architectures = [architecture]
    config.save_pretrained(llama)
    with pytest.raises(UnsupportedModelError, match=message):
        on_cpu(llama)


def test_a_masked_language_model_with_weights_is_refused(tmp_path: Path) -> None:
    config = BertConfig(vocab_size=4_096, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    BertForMaskedLM(config).save_pretrained(tmp_path)
    copy_tokenizer(tmp_path)
    with pytest.raises(UnsupportedModelError, match="BertForMaskedLM"):
        on_cpu(tmp_path)


def test_an_unknown_model_type_is_refused(llama: Path) -> None:
    change_config(llama, model_type="madeup")
    with pytest.raises(UnsupportedModelError, match="does not know models of type 'madeup'"):
        on_cpu(llama)


# -- code that comes with a model ------------------------------------------------------------------------------------


def plant_code(folder: Path, marker: Path) -> None:
    """Name a Python file as the code of config, model and tokenizer; it leaves marks where it is run."""
    (folder / "evil.py").write_text(EVIL_CODE.format(marker=str(marker)))
    auto_map = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}
    change_config(folder, auto_map=auto_map)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoTokenizer": [None, "evil.Evil"]}}))


def test_code_of_a_known_type_is_ignored(llama: Path, tmp_path: Path) -> None:
    plant_code(llama, tmp_path / "marker")
    loaded = on_cpu(llama)
    assert type(loaded.model) is LlamaForCausalLM
    assert not (tmp_path / "marker").exists()
    assert not (llama / "executed").exists()


def test_code_of_an_unknown_type_is_refused(llama: Path, tmp_path: Path) -> None:
    plant_code(llama, tmp_path / "marker")
    change_config(llama, model_type="madeup")
    with pytest.raises(UnsupportedModelError, match="needs remote code"):
        on_cpu(llama)
    assert not (tmp_path / "marker").exists()
    assert not (llama / "executed").exists()


@pytest.mark.parametrize("damage", [b"{ damaged", None])
def test_that_it_is_refused_is_said_before_what_is_wrong_with_its_files(llama: Path, damage: bytes | None) -> None:
    change_config(llama, model_type="madeup", auto_map={"AutoConfig": "evil.Evil"})
    (llama / "model.safetensors").unlink()
    if damage:
        (llama / "model.safetensors").write_bytes(damage)
    with pytest.raises(UnsupportedModelError, match="needs remote code"):
        on_cpu(llama)


def test_a_model_without_keys_to_index_is_refused_by_name(llama: Path) -> None:
    config = DeepseekV3Config(architectures=["DeepseekV3ForCausalLM"])
    config.save_pretrained(llama)
    with pytest.raises(UnsupportedModelError, match=r"deepseek_v3 uses multi-head latent attention \(MLA\)"):
        on_cpu(llama)


# -- quantization and sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantize", ["4bit", "8bit"])
def test_quantized_weights_run_on_the_cpu(
    llama: Path, quantize: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    loaded = on_cpu(llama, quantize=quantize)
    plain = on_cpu(llama)
    ids = torch.arange(3, 60)[None]
    for _ in range(2):
        logits = loaded.model(ids).logits
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    expected = plain.model(ids).logits
    assert torch.nn.functional.cosine_similarity(logits, expected, dim=-1).min() > 0.9
    assert weight_bytes(loaded.model) < weight_bytes(plain.model)
    # bitsandbytes would log a line a layer.
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert capfd.readouterr() == ("", "")


def test_bitsandbytes_fetches_no_compiled_code(tmp_path: Path) -> None:
    """It would with a package that some other program may have installed."""
    (tmp_path / "kernels.py").write_text("def get_kernel(*_, **__):\n    print('fetched')\n    raise OSError\n")
    code = (
        "import torch; from kiv_engine.weights import linear_for_timing\n"
        "linear_for_timing(64, 64, '4bit', torch.device('cpu'), torch.float32)\n"
        "import kernels; print(kernels.__name__)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(loader.__file__).parents[1])])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("kernels\n", "")


@pytest.mark.parametrize("quantize", ["4bit", "8bit"])
def test_quantized_weights_are_counted_as_stored(llama: Path, quantize: str) -> None:
    model = on_cpu(llama, quantize=quantize).model
    before = weight_bytes(model)
    linear = [parameter.numel() for name, parameter in tiny_llama().named_parameters() if "proj" in name]
    rows = [len(parameter) for name, parameter in tiny_llama().named_parameters() if "proj" in name]
    other = sum(parameter.nbytes for name, parameter in tiny_llama().named_parameters() if "proj" not in name)
    other += sum(buffer.nbytes for buffer in {id(buffer): buffer for buffer in model.buffers()}.values())
    if quantize == "8bit":
        assert before == other + sum(linear) + 4 * sum(rows)
    else:
        # Half a byte a weight, a byte for each block of 64, and a few KiB of code tables a layer.
        assert 0 < before - other - sum(linear) * (1 / 2 + 1 / 64) < len(linear) * 2_048
    model(torch.arange(3, 9)[None])
    # On a processor with AVX512-BF16 the first forward packs 4 bit weights anew, with shorter scales.
    assert 0.98 * before < weight_bytes(model) <= before


def test_quantizing_twice_is_refused(llama: Path) -> None:
    change_config(llama, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    with pytest.raises(ConfigError, match="already quantized"):
        on_cpu(llama, quantize="4bit")
    with pytest.raises(ConfigError, match="already quantized; its weights can only be taken as they are"):
        on_cpu(llama, quantize="bf16")


def test_what_bitsandbytes_cannot_do_is_said(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ImportError("bitsandbytes is not there")

    monkeypatch.setattr(loader.AutoModelForCausalLM, "from_pretrained", refuse)
    with pytest.raises(EngineError, match=r"bitsandbytes cannot load .* in 4bit: bitsandbytes is not there"):
        on_cpu(llama, quantize="4bit")


@pytest.mark.parametrize("tie", [True, False])
def test_tied_weights_count_once(tie: bool) -> None:
    model = tiny_llama(tie)
    parameters = sum(parameter.nbytes for parameter in model.parameters())
    buffers = sum(buffer.nbytes for buffer in model.buffers())
    assert weight_bytes(model) == parameters + buffers
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tie


# -- progress, stopping, memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantize", ["none", "bf16", "8bit", "4bit"])
def test_every_tensor_is_told(llama: Path, quantize: str) -> None:
    told: list[object] = []
    loaded = load(LoadOptions(str(llama), quantize, "cpu"), told.append)
    assert told[-1] == LoadProgress(len(told) - 1, len(told) - 1)
    assert told == [LoadProgress(done, len(told) - 1) for done in range(len(told))]
    assert len(told) > len(list(loaded.model.parameters()))
    assert transformers_logging.set_tqdm_hook(None) is None


@pytest.fixture(scope="module")
def wide_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 MB of weights in float32, so that the process shows whether they are there."""
    sizes = {"hidden_size": 1_024, "intermediate_size": 2_816, "num_attention_heads": 8, "num_key_value_heads": 2}
    folder = tmp_path_factory.mktemp("wide-llama")
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(vocab_size=4_096, num_hidden_layers=2, **sizes)).bfloat16()
    model.to_empty(device="cpu").save_pretrained(folder)
    copy_tokenizer(folder)
    return folder


MEMORY_OF_LOADING = """
import json, sys
import psutil
from kiv_engine.errors import StoppedError
from kiv_engine.loader import LoadOptions, load
from kiv_engine.weights import weight_bytes
from kiv_engine.memory import give_back

def resident():
    return psutil.Process().memory_info().rss

options, told, most = LoadOptions(sys.argv[1], device="cpu"), [], 0

def tell(progress):
    global most
    told.append(progress.tensors_done)
    most = max(most, resident())

load(options)  # what is imported with the first one stays
give_back()
before = resident()
try:
    load(options, tell, lambda: len(told) == 15)
except StoppedError as error:
    held = error  # as the app holds it, with its traceback
stopped = resident()
loaded = load(options)
size, full = weight_bytes(loaded.model), resident()
del loaded
give_back()
sizes = {"most": most, "stopped": stopped, "full": full, "gone": resident()}
print(json.dumps({"told": told, "size": size, **{name: each - before for name, each in sizes.items()}}))
"""


def test_loads_that_are_stopped_and_models_that_are_gone_give_their_memory_back(wide_llama: Path) -> None:
    """In a process of its own: what other tests have freed in pieces would be filled first."""
    command = [sys.executable, "-c", MEMORY_OF_LOADING, str(wide_llama)]
    environment = os.environ | {"PYTHONPATH": str(Path(loader.__file__).parents[1])}
    found = json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert found["told"] == list(range(15)), "stopped before the sixteenth tensor"
    assert found["size"] > 110e6
    assert found["most"] > 60e6
    assert found["full"] > 0.9 * found["size"]
    assert found["stopped"] < 0.1 * found["size"]
    assert found["gone"] < 0.1 * found["size"]
