"""Loading a model: weights and tokenizer, on one device or several, with progress, and nothing left where it fails.

No code of a checkpoint ever runs: weights are safetensors, never pickles, and `trust_remote_code` is always False.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from kiv_engine.config import QUANTIZED, Quantize
from kiv_engine.device_map import device_map, devices_by_layer, is_spread
from kiv_engine.download import first_line
from kiv_engine.errors import (
    ConfigError,
    DeviceError,
    EngineError,
    ModelNotFoundError,
    OutOfMemoryError,
    StoppedError,
    UnsupportedModelError,
    is_out_of_memory,
    said,
)
from kiv_engine.events import LoadProgress
from kiv_engine.free_space import available_ram_bytes
from kiv_engine.memory import forget_frames, free_vram_bytes, give_back
from kiv_engine.model_config import DTYPES, empty_model, find_model, is_quantized
from kiv_engine.model_folder import OnProgress, Source, no_tokenizer
from kiv_engine.quiet import environment, import_bitsandbytes, quiet, silence_cast_warning
from kiv_engine.stopping import ShouldStop

DeviceChoice: TypeAlias = Literal["auto", "cpu", "cuda"]

LayerDevices: TypeAlias = tuple[torch.device, ...]
"""A device for each decoder layer, or none where the whole model goes on one."""


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
        return tuple(self.layers_on) or (self.device,)

    @property
    def layers_on(self) -> dict[torch.device, int]:
        """How many decoder layers each device has, `device` first; empty where all weights are on one."""
        return {self.device: 0, **Counter(devices_by_layer(self.model))} if is_spread(self.model) else {}

    def layer_device(self, index: int) -> torch.device:
        """Where a decoder layer is, with what a cache keeps of it on a device."""
        return devices_by_layer(self.model)[index] if is_spread(self.model) else self.device


def load(
    options: LoadOptions,
    on_progress: OnProgress = lambda _: None,
    should_stop: ShouldStop = lambda: False,
    choose_devices: Callable[[PreTrainedConfig, torch.device], LayerDevices] = lambda _config, _device: (),
) -> LoadedModel:
    """Load a model and its tokenizer; a hub id is downloaded first, if it is not complete in the cache. Its config is
    judged before any weights are fetched.

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
        UnsupportedModelError: it is no causal language model that transformers itself has, or KIV cannot keep its K
            and V.
        ConfigError: it is quantized already, and `quantize` asks for other weights.
        DeviceError: CUDA was asked for and is not there.
        EngineError: bitsandbytes cannot quantize it here.
    """
    device = device_of(options.device)
    source, config = find_model(options.model, on_progress, should_stop)
    layer_devices = choose_devices(config, device)
    with quiet(), _watched(on_progress, should_stop), _giving_back():
        try:
            tokenizer = _tokenizer(source)
            model = _model(source, config, options.quantize, device, layer_devices)
        except OSError as error:
            raise ModelNotFoundError(_load_problem(source, error)) from error
    model.eval()
    model.requires_grad_(False)
    return LoadedModel(model, tokenizer, options.model, device, _generation_config(model))


def _generation_config(model: PreTrainedModel) -> GenerationConfig:
    config = getattr(model, "generation_config", None)
    return config if isinstance(config, GenerationConfig) else GenerationConfig()


# -- what it is ------------------------------------------------------------------------------------------------------


def _tokenizer(source: Source) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.folder, trust_remote_code=False)
    except (ValueError, TypeError, ImportError, AttributeError, KeyError) as error:
        if "trust_remote_code" in str(error):
            raise UnsupportedModelError(
                said("The tokenizer of {0} needs remote code, which is never run.", source)
            ) from error
        why = first_line(error).rstrip(".")
        raise ModelNotFoundError(
            said("{0} has no tokenizer that can be loaded: {1}; {2}", source, why, source.remedy)
        ) from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    if not len(tokenizer):
        raise no_tokenizer(str(source))
    return tokenizer


def _load_problem(source: Source, error: Exception) -> str:
    return said("{0} cannot be loaded: {1}; {2}", source, first_line(error).rstrip("."), source.remedy)


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
        raise DeviceError(
            said("This PyTorch was built without CUDA; use the CPU, or get another build: ./kiv doctor --fix")
        )
    raise DeviceError(said("PyTorch finds no NVIDIA GPU or no driver for it; install the driver, or use the CPU."))


def _model(
    source: Source, config: PreTrainedConfig, quantize: Quantize, device: torch.device, layer_devices: LayerDevices
) -> PreTrainedModel:
    """The model on the device, or with its layers on several, quantized if asked for."""
    if quantize != "none" and is_quantized(config):
        raise ConfigError(said("{0} is already quantized; its weights can only be taken as they are.", source))
    arguments: dict[str, Any] = {"dtype": DTYPES.get(quantize, torch.float32 if device.type == "cpu" else "auto")}
    if quantize in QUANTIZED:
        import_bitsandbytes()
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
        raise ModelNotFoundError(
            said("{0} lacks {1} of its weights, such as {2}; {3}", source, len(missing), missing[0], source.remedy)
        )
    if len({device, *layer_devices}) > 1:
        # accelerate takes any of the devices for the one that inputs go to first; what reads tokens is on this one.
        hook: Any = model._hf_hook
        hook.execution_device = device
    if quantize == "8bit":
        silence_cast_warning()
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
    source: Source, quantize: Quantize, error: Exception, devices: Collection[torch.device]
) -> EngineError:
    if is_out_of_memory(error):
        on_gpu = isinstance(error, torch.OutOfMemoryError) and torch.cuda.is_initialized()
        free, place = (min(map(free_vram_bytes, devices)), "VRAM") if on_gpu else (available_ram_bytes(), "RAM")
        return OutOfMemoryError(
            said("Memory ran out while {0} was loaded; {1:.1f} GB of {2} are free.", source, free / 1e9, place)
        )
    if quantize in QUANTIZED:
        return EngineError(said("bitsandbytes cannot load {0} in {1}: {2}", source, quantize, first_line(error)))
    return EngineError(_load_problem(source, error))


@contextmanager
def _watched(on_progress: OnProgress, should_stop: ShouldStop) -> Iterator[None]:
    """Hear of every tensor that transformers loads, and end it there. Raises StoppedError."""

    def steps(items: list[Any]) -> Iterator[Any]:
        for done, item in enumerate(items):
            if should_stop():
                raise StoppedError(said("Loading was stopped."))
            on_progress(LoadProgress(done, len(items)))
            yield item
        on_progress(LoadProgress(len(items), len(items)))

    # transformers would load ahead in threads, whose heaps keep a fifth of what was freed: a load that is stopped
    # would have taken everything by then, and a model that is gone would leave some.
    in_order = environment("HF_DEACTIVATE_ASYNC_LOAD", "1")

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
