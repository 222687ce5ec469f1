"""Weights, tokenizer and device of a model. The only file that knows transformers' Auto classes and bitsandbytes.

No code of a checkpoint ever runs: weights are safetensors, never pickles, and `trust_remote_code` is always False.
"""

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import torch
from huggingface_hub.errors import HFValidationError, HTTPError, StrictDataclassError  # type: ignore[attr-defined]  # httpx's or httpx2's
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.quantizers.base import HfQuantizer
from transformers.quantizers.quantizers_utils import should_convert_module
from transformers.utils import logging as transformers_logging

from kiv_engine.catalogue import find_entry
from kiv_engine.config import QUANTIZED, Quantize
from kiv_engine.device_map import device_map, devices_by_layer, is_spread
from kiv_engine.download import (
    connection_problem,
    download,
    fetch_config,
    find_downloaded,
    first_line,
    foreign_weights,
    has_tokenizer,
    missing_weights,
    weight_files,
    weights_problem,
)
from kiv_engine.errors import (
    ConfigError,
    DeviceError,
    EngineError,
    ModelNotFoundError,
    OutOfMemoryError,
    StoppedError,
    UnsupportedModelError,
    is_out_of_memory,
)
from kiv_engine.events import DownloadProgress, LoadProgress
from kiv_engine.free_space import available_ram_bytes
from kiv_engine.memory import forget_frames, free_vram_bytes, give_back
from kiv_engine.stopping import ShouldStop

DeviceChoice: TypeAlias = Literal["auto", "cpu", "cuda"]
OnProgress: TypeAlias = Callable[[DownloadProgress | LoadProgress], None]
LayerDevices: TypeAlias = tuple[torch.device, ...]
"""A device for each decoder layer, or none where the whole model goes on one."""

DEMO_FOLDER: Final = Path(__file__).parents[1] / "resources" / "models" / "kiv-demo"
"""The embedded model. `resources` lies beside `kiv_engine`, in a source tree as in an installed wheel."""

_DTYPES: Final[dict[Quantize, torch.dtype]] = {"bf16": torch.bfloat16, "fp16": torch.float16}
_WEIGHT_FILES: Final = ("model.safetensors", "model.safetensors.index.json")
_MOST: Final = {
    "num_hidden_layers": 1_000,
    "hidden_size": 262_144,
    "intermediate_size": 2_097_152,
    "vocab_size": 10_000_000,
    "num_attention_heads": 4_096,
    "num_key_value_heads": 4_096,
    "head_dim": 8_192,
}
"""Sizes of a config beyond which no model exists."""

_BESIDE_LANGUAGE: Final = {"gemma4": ("vision_config", "audio_config")}
"""What sees and hears, in models that can be built without it; its weights stay in the files."""


@dataclass(frozen=True)
class LoadOptions:
    """What to load.

    Attributes:
        model: "demo", a local folder, or an id on the HuggingFace hub.
        quantize: weights as the device takes them, in bfloat16 or float16, or as nf4 or int8 by bitsandbytes.
        device: "auto" takes CUDA where there is one.
    """

    model: str = "demo"
    quantize: Quantize = "none"
    device: DeviceChoice = "auto"


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A causal language model ready for inference, with its tokenizer.

    Attributes:
        name: what the user called it.
        device: takes the tokens and gives the logits.
        generation_config: the model's own; it names the tokens that end a text.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    device: torch.device
    generation_config: GenerationConfig

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """All that the weights lie on, `device` first."""
        return tuple(dict.fromkeys([self.device, *(devices_by_layer(self.model) if is_spread(self.model) else ())]))

    def layer_device(self, index: int) -> torch.device:
        """Where a decoder layer is, with what a cache keeps of it on a device."""
        return devices_by_layer(self.model)[index] if is_spread(self.model) else self.device


def load(
    options: LoadOptions,
    on_progress: OnProgress = lambda _: None,
    should_stop: ShouldStop = lambda: False,
    choose_devices: Callable[[PreTrainedConfig, torch.device], LayerDevices] = lambda _config, _device: (),
) -> LoadedModel:
    """Load a model and its tokenizer; a hub id is downloaded first, if it is not complete in the cache.

    A model that is in the cache, or in a folder, is loaded without any connection. `should_stop` is asked while
    downloading, and before each tensor of the weights. `choose_devices` is called before the first of them: it may
    spread the layers over several GPUs, and may raise. Whatever is raised, the memory is given back.

    Weights are in the checkpoint's dtype on CUDA, and in float32 on the CPU, where words of an answer come soonest
    with it. In 16 bit they need half the memory, and so do K and V.

    Raises:
        ModelNotFoundError: no such model, no way to it, or no safetensors or tokenizer in it.
        CapacityError: the disk has too little room for it.
        OutOfMemoryError: the RAM or VRAM has.
        StoppedError: `should_stop` ended the download or the loading.
        UnsupportedModelError: it is no causal language model that transformers itself has.
        DeviceError: CUDA was asked for and is not there.
        EngineError: bitsandbytes cannot quantize it here.
    """
    device = device_of(options.device)
    source = _source(options.model, on_progress, should_stop)
    config = _checked_config(source)
    layer_devices = choose_devices(config, device)
    with _quiet(), _watched(on_progress, should_stop), _giving_back():
        try:
            tokenizer = _tokenizer(source)
            model = _model(source, config, options.quantize, device, layer_devices)
        except OSError as error:
            raise ModelNotFoundError(f"{source} cannot be loaded: {first_line(error)}") from error
    model.eval()
    model.requires_grad_(False)
    return LoadedModel(model, tokenizer, options.model, device, _generation_config(model))


def _generation_config(model: PreTrainedModel) -> GenerationConfig:
    config = getattr(model, "generation_config", None)
    return config if isinstance(config, GenerationConfig) else GenerationConfig()


def weight_bytes(model: nn.Module, device: torch.device | None = None) -> int:
    """Bytes of parameters and buffers as they are stored; tied ones count once, quantized ones with their scales.

    `device`: only of what lies there.
    """
    tensors = (tensor for tensor in _stored_tensors(model) if device is None or tensor.device == device)
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


def _stored_tensors(model: nn.Module) -> Iterator[Tensor]:
    """All tensors of a model, those included that bitsandbytes keeps beside its parameters."""
    yield from model.buffers()
    for parameter in model.parameters():
        yield parameter.data
        # 4 bit: scales in a state, which has a state for its scales. 8 bit: scales, until the first forward.
        yield from _tensors_of(getattr(parameter, "quant_state", None))
        yield from _tensors_of(getattr(getattr(parameter, "quant_state", None), "state2", None))
        yield from _tensors_of(parameter)
    for module in model.modules():
        yield from _tensors_of(getattr(module, "state", None))


def _tensors_of(state: object) -> Iterator[Tensor]:
    """The scales and codes that a quantized parameter or its state holds."""
    for name in ("absmax", "code", "offset", "SCB"):
        tensor = getattr(state, name, None)
        if isinstance(tensor, Tensor):
            yield tensor


# -- where it is -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """A model's folder, and what the user called it, which is what messages say."""

    name: str
    folder: Path

    def __str__(self) -> str:
        return self.name


def _source(model: str, on_download: OnProgress, should_stop: ShouldStop) -> _Source:
    """A complete folder; of a hub id, after what is missing of it was downloaded."""
    local = _local_folder(model)
    if local is not None:
        _require_config(local)
        _require_complete(local)
        return _Source(str(local), local)
    return _Source(model, find_downloaded(model) or download(model, on_download, should_stop))


def _local_folder(model: str) -> Path | None:
    """The folder that a model's name stands for, or None if it is a hub id."""
    if model == "demo":
        if not DEMO_FOLDER.is_dir():
            raise ModelNotFoundError(f"The embedded model is missing from {DEMO_FOLDER}; install KIV Desktop again.")
        return DEMO_FOLDER
    if not model.strip():
        raise ModelNotFoundError('No model is named; give "demo", a folder or a name on the HuggingFace hub.')
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if path.is_file() and path.suffix == ".gguf":
        raise _no_safetensors(model, {path.name})
    if path.is_file():
        raise ModelNotFoundError(f"{model} is a file; give the folder with config.json and the safetensors.")
    if model.startswith((".", "~", "/")) or "\\" in model or model.count("/") > 1:
        raise ModelNotFoundError(f"There is no folder {model!r}.")
    return None


def _require_config(folder: Path) -> None:
    """Raise ModelNotFoundError unless a folder holds a config."""
    names = {path.name for path in folder.iterdir()}
    if "config.json" in names:
        return
    if problem := foreign_weights(str(folder), names):
        raise ModelNotFoundError(problem)
    raise ModelNotFoundError(f"{folder} is not a model folder: it has no config.json.")


def _require_complete(folder: Path) -> None:
    """Raise ModelNotFoundError unless a folder holds all of its safetensors, and a tokenizer."""
    names = {path.name for path in folder.iterdir()}
    if names.isdisjoint(_WEIGHT_FILES):
        raise _no_safetensors(str(folder), names)
    if missing := missing_weights(folder):
        raise ModelNotFoundError(
            f"{folder} is not complete: it lacks {len(missing)} of its weight files, such as {missing[0]}; "
            "download it again, or copy what is missing."
        )
    for name in weight_files(folder):
        if problem := weights_problem(folder / name):
            raise ModelNotFoundError(f"{folder / name} {problem}")
    if not has_tokenizer(folder):
        raise _no_tokenizer(str(folder))


def loading_problem(model: str) -> str:
    """Why `load` would refuse a folder with a config, in a sentence; "" where it would not, and for a hub id."""
    folder = _local_folder(model)
    try:
        if folder is not None:
            _require_complete(folder)
    except ModelNotFoundError as error:
        return str(error)
    return ""


def _no_safetensors(folder: str, names: set[str]) -> ModelNotFoundError:
    """What to get instead of what is there."""
    problem = foreign_weights(folder, names)
    return ModelNotFoundError(problem or f"{folder} has no weights: there is no model.safetensors.")


def _no_tokenizer(source: str) -> ModelNotFoundError:
    return ModelNotFoundError(f"{source} has no tokenizer; put the model's tokenizer.json beside its config.json.")


def is_here(model: str) -> bool:
    """Whether `load` would need no download: the built-in model, a folder, or what is complete in the cache."""
    return model == "demo" or Path(model).expanduser().is_dir() or find_downloaded(model) is not None


# -- what it will be, for the fit planner ----------------------------------------------------------------------------


def read_config(model: str) -> PreTrainedConfig:
    """The config of "demo", a folder or a hub id; a folder needs no weights.

    What the catalogue knows needs no connection; of other hub ids nothing but the config is downloaded.

    Raises ModelNotFoundError and UnsupportedModelError, as `load` does.
    """
    local = _local_folder(model)
    if local is not None:
        _require_config(local)
        return _checked_config(_Source(model, local))
    try:
        folder = find_downloaded(model)
        entry = find_entry(model)
        if folder is None and entry is not None:
            return config_of_shape(entry.shape)
        return _checked_config(_Source(model, folder or fetch_config(model)))
    except (OSError, HTTPError, HFValidationError) as error:
        raise connection_problem(model, error) from error


def _checked_config(source: _Source) -> PreTrainedConfig:
    with _quiet():
        try:
            config = _config(source)
        except OSError as error:
            raise ModelNotFoundError(f"{source} cannot be loaded: {first_line(error)}") from error
    _require_causal_model(config)
    return config


def _require_plausible(source: _Source, raw: dict[str, Any]) -> None:
    """Raise UnsupportedModelError where a size is one that no model has: building it would take hours or all memory."""
    text = raw.get("text_config")
    for name, value in {**raw, **(text if isinstance(text, dict) else {})}.items():
        most = _MOST.get(name)
        if most is not None and isinstance(value, int | float) and not 0 < value <= most:
            raise UnsupportedModelError(
                f"The config.json of {source} is damaged: {name} is {value:,}, where 1 to {most:,} is plausible."
            )


def config_of_shape(shape: dict[str, Any]) -> PreTrainedConfig:
    """The config of a catalogue's entry; what it does not say is as the model type has it."""
    with _quiet():
        config = CONFIG_MAPPING[shape["model_type"]].from_dict(dict(shape))
    assert isinstance(config, PreTrainedConfig)
    return config


def load_dtype(config: PreTrainedConfig, device: str, quantize: Quantize = "none") -> torch.dtype:
    """The dtype of weights, K and V that `load` gives a model, of quantized ones that of their activations.

    What is not chosen is float32 on the CPU, and the checkpoint's own on CUDA.
    """
    if quantize in _DTYPES:
        return _DTYPES[quantize]
    if device == "cpu":
        return torch.float32
    dtype = config.dtype or getattr(config.get_text_config(decoder=True), "dtype", None)
    return dtype if isinstance(dtype, torch.dtype) else torch.bfloat16


def empty_model(config: PreTrainedConfig) -> PreTrainedModel:
    """The model that `load` would make of a config, with shapes but without memory."""
    with _quiet(), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    assert isinstance(model, PreTrainedModel)
    return model


def quantized_linears(model: PreTrainedModel, quantize: Quantize) -> Iterator[nn.Linear]:
    """The layers whose weights bitsandbytes would store: all linear ones but the output and what is tied to it."""
    if quantize not in QUANTIZED:
        return
    kept = HfQuantizer.get_modules_to_not_convert(model, None, list(model._keep_in_fp32_modules or []))
    for name, module in model.named_modules():
        if type(module) is nn.Linear and should_convert_module(name, kept):
            yield module


def linear_for_timing(
    in_features: int, out_features: int, quantize: Quantize, device: torch.device, dtype: torch.dtype
) -> nn.Module:
    """One linear layer with weights as `load` stores them, whatever their values."""
    plain = nn.Linear(in_features, out_features, bias=False, dtype=dtype)
    if quantize not in QUANTIZED:
        return plain.to(device)
    _silence_cast_warning()
    _import_bitsandbytes()
    nn_of_bnb: Any = importlib.import_module("bitsandbytes.nn")
    if quantize == "8bit":
        layer = nn_of_bnb.Linear8bitLt(in_features, out_features, bias=False, has_fp16_weights=False, threshold=6.0)
        layer.weight = nn_of_bnb.Int8Params(plain.weight.data, requires_grad=False, has_fp16_weights=False)
    else:
        layer = nn_of_bnb.Linear4bit(in_features, out_features, bias=False, compute_dtype=dtype, quant_type="nf4")
        layer.weight = nn_of_bnb.Params4bit(plain.weight.data, requires_grad=False, quant_type="nf4")
    moved = layer.to(device)
    assert isinstance(moved, nn.Module)
    return moved


# -- what it is ------------------------------------------------------------------------------------------------------


def _config(source: _Source) -> PreTrainedConfig:
    """The model's config, if transformers has a class of its own for it."""
    raw, _ = PreTrainedConfig.get_config_dict(source.folder)
    model_type = raw.get("model_type")
    if not isinstance(model_type, str):
        raise UnsupportedModelError(f"The config.json of {source} names no model_type.")
    if model_type not in CONFIG_MAPPING:
        if "auto_map" in raw:
            raise UnsupportedModelError(
                f"{source} needs remote code: transformers has no {model_type!r} of its own, and code that comes with "
                "a model is never run here."
            )
        raise UnsupportedModelError(f"transformers does not know models of type {model_type!r}; a newer one may.")
    _require_plausible(source, raw)
    try:
        config = AutoConfig.from_pretrained(source.folder, trust_remote_code=False)
    except (ValueError, TypeError, KeyError, StrictDataclassError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise UnsupportedModelError(f"The config.json of {source} is not valid: {why}") from error
    assert isinstance(config, PreTrainedConfig)
    for part in _BESIDE_LANGUAGE.get(model_type, ()):
        setattr(config, part, None)
    return config


def _require_causal_model(config: PreTrainedConfig) -> None:
    """Raise UnsupportedModelError, with the architecture's name, unless it writes text from left to right."""
    names = list(config.architectures or [])
    name = names[0] if names else type(config).__name__.removesuffix("Config")
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModelError(f"{name} is an encoder-decoder; only causal language models can be used.")
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UnsupportedModelError(f"{name} is no causal language model.")
    # Checkpoints of images and text name their whole, of which the language model is loaded.
    whole = "text_config" in config.sub_configs
    if names and not whole and not set(names) & _causal_names():
        raise UnsupportedModelError(f"{name} is no causal language model.")


def _causal_names() -> set[str]:
    """Class names of all causal language models that transformers has."""
    values: list[Any] = list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    # Some types have several classes.
    return {name for value in values for name in ([value] if isinstance(value, str) else value)}


def _tokenizer(source: _Source) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.folder, trust_remote_code=False)
    except (ValueError, TypeError, ImportError, AttributeError, KeyError) as error:
        if "trust_remote_code" in str(error):
            raise UnsupportedModelError(f"The tokenizer of {source} needs remote code, which is never run.") from error
        raise ModelNotFoundError(f"{source} has no tokenizer that can be loaded: {first_line(error)}") from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    if not len(tokenizer):
        raise _no_tokenizer(str(source))
    return tokenizer


# -- loading ---------------------------------------------------------------------------------------------------------


def device_of(choice: DeviceChoice) -> torch.device:
    """The device to load to. Raises DeviceError if CUDA was asked for and is not there."""
    if choice == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if choice == "auto":
        return torch.device("cpu")
    if torch.version.cuda is None:
        raise DeviceError("This PyTorch was built without CUDA; install a CUDA build of it, or use the CPU.")
    raise DeviceError("PyTorch finds no NVIDIA GPU or no driver for it; install the driver, or use the CPU.")


def _model(
    source: _Source, config: PreTrainedConfig, quantize: Quantize, device: torch.device, layer_devices: LayerDevices
) -> PreTrainedModel:
    """The model on the device, or with its layers on several, quantized if asked for."""
    if quantize != "none" and getattr(config, "quantization_config", None) is not None:
        raise ConfigError(f"{source} is already quantized; its weights can only be taken as they are.")
    arguments: dict[str, Any] = {"dtype": _DTYPES.get(quantize, torch.float32 if device.type == "cpu" else "auto")}
    if quantize in QUANTIZED:
        _import_bitsandbytes()
    if device.type != "cpu" or quantize in QUANTIZED:
        placed = device_map(empty_model(config), device, layer_devices) if layer_devices else {"": device}
        arguments |= {"device_map": placed, "quantization_config": _quantization(quantize, config, device)}
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.folder,
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **arguments,
        )
    except (ImportError, RuntimeError, MemoryError, ValueError, SafetensorError) as error:
        raise _cannot_load(source, quantize, error, {device, *layer_devices}) from error
    model, report = loaded
    assert isinstance(model, PreTrainedModel)
    if missing := sorted(report["missing_keys"]):
        raise ModelNotFoundError(f"{source} lacks {len(missing)} of its weights, such as {missing[0]}.")
    if len({device, *layer_devices}) > 1:
        # accelerate takes any of the devices for the one that inputs go to first; what reads tokens is on this one.
        hook: Any = model._hf_hook
        hook.execution_device = device
    if quantize == "8bit":
        _silence_cast_warning()
    return model


def _quantization(quantize: Quantize, config: PreTrainedConfig, device: torch.device) -> BitsAndBytesConfig | None:
    """How bitsandbytes stores the weights; activations stay in the dtype that the model would have anyway."""
    if quantize not in QUANTIZED:
        return None
    if quantize == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    compute_dtype = torch.float32 if device.type == "cpu" else (config.dtype or torch.bfloat16)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype,
    )


def _cannot_load(
    source: _Source, quantize: Quantize, error: Exception, devices: Collection[torch.device]
) -> EngineError:
    if is_out_of_memory(error):
        on_gpu = isinstance(error, torch.OutOfMemoryError) and torch.cuda.is_initialized()
        free, place = (min(map(free_vram_bytes, devices)), "VRAM") if on_gpu else (available_ram_bytes(), "RAM")
        return OutOfMemoryError(f"Memory ran out while {source} was loaded; {free / 1e9:.1f} GB of {place} are free.")
    if quantize in QUANTIZED:
        return EngineError(f"bitsandbytes cannot load {source} in {quantize}: {first_line(error)}")
    return EngineError(f"{source} cannot be loaded: {first_line(error)}")


@contextmanager
def _watched(on_progress: OnProgress, should_stop: ShouldStop) -> Iterator[None]:
    """Hear of every tensor that transformers loads, and end it there. Raises StoppedError."""

    def steps(items: list[Any]) -> Iterator[Any]:
        for done, item in enumerate(items):
            if should_stop():
                raise StoppedError("Loading was stopped.")
            on_progress(LoadProgress(done, len(items)))
            yield item
        on_progress(LoadProgress(len(items), len(items)))

    # transformers would load ahead in threads, whose heaps keep a fifth of what was freed: a load that is stopped
    # would have taken everything by then, and a model that is gone would leave some.
    in_order = _environment("HF_DEACTIVATE_ASYNC_LOAD", "1")

    def hook(make_bar: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        is_weights = options.get("desc") == "Loading weights"
        return steps(list(arguments[0])) if is_weights else make_bar(*arguments, **options)

    before = transformers_logging.set_tqdm_hook(hook)
    try:
        with in_order:
            yield
    finally:
        transformers_logging.set_tqdm_hook(before)


@contextmanager
def _giving_back() -> Iterator[None]:
    """Where loading fails, let nothing of the half-made model stay: an error holds all variables on its way."""
    try:
        yield
    except BaseException as error:
        forget_frames(error)
        give_back()
        raise


def _import_bitsandbytes() -> None:
    """Import it without the compiled code that it would fetch from the hub where the package "kernels" is installed.

    Without that package it logs a warning, on processors with AVX512-BF16.
    """
    kernels = sys.modules.get("kernels")
    sys.modules["kernels"] = None  # type: ignore[assignment]  # so that importing it fails
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")
    logger.disabled = True
    try:
        importlib.import_module("bitsandbytes")
    except ImportError:  # loading tells, in a sentence
        pass
    finally:
        logger.disabled = False
        del sys.modules["kernels"]
        if kernels is not None:
            sys.modules["kernels"] = kernels


class _DropCastWarning(logging.Filter):
    """Drops what bitsandbytes logs in each 8 bit layer at each forward: that activations are cast to float16."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "inputs will be cast from" not in str(record.msg)


def _silence_cast_warning() -> None:
    """Lasts, because the warning comes with every token, not with loading."""
    logger = logging.getLogger("bitsandbytes.autograd._functions")
    if not any(isinstance(each, _DropCastWarning) for each in logger.filters):
        logger.addFilter(_DropCastWarning())


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars, log lines and warnings on stderr, and no requests to the hub's conversion service."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        # transformers would ask a public service to convert a checkpoint without safetensors.
        with _environment("DISABLE_SAFETENSORS_CONVERSION", "1"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
