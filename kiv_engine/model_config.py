"""The config of a model, checked before anything is built of it, or downloaded: a causal model of transformers' own, of
likely size, with keys and values that KIV can keep.

No code of a checkpoint ever runs: `trust_remote_code` is always False.
"""

from typing import Any, Final

import torch
from huggingface_hub.errors import HFValidationError, HTTPError, StrictDataclassError  # type: ignore[attr-defined]  # httpx's or httpx2's
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from kiv_engine.catalogue import find_entry
from kiv_engine.config import Quantize
from kiv_engine.download import (
    HubModel,
    connection_problem,
    download,
    fetch_config,
    find_downloaded,
    first_line,
    look_up,
)
from kiv_engine.errors import ModelNotFoundError, UnsupportedModelError, said
from kiv_engine.model_folder import OnProgress, Source, local_folder, require_complete, require_config
from kiv_engine.quiet import quiet
from kiv_engine.stopping import ShouldStop
from kiv_engine.topology import inspect

DTYPES: Final[dict[Quantize, torch.dtype]] = {"bf16": torch.bfloat16, "fp16": torch.float16}

_MOST: Final = {
    "num_hidden_layers": 1_000,
    "hidden_size": 262_144,
    "intermediate_size": 2_097_152,
    "vocab_size": 10_000_000,
    "num_attention_heads": 4_096,
    "num_key_value_heads": 4_096,
    "head_dim": 8_192,
    "max_position_embeddings": 1_000_000_000,
}
"""Sizes of a config beyond which no model exists."""

_BESIDE_LANGUAGE: Final = {"gemma4": ("vision_config", "audio_config")}
"""What sees and hears, in models that can be built without it; its weights stay in the files."""


def read_config(model: str) -> PreTrainedConfig:
    """The config of "demo", a folder or a hub id; a folder needs no weights.

    What the catalogue knows needs no connection; of other hub ids nothing but the config is downloaded.

    Raises ModelNotFoundError and UnsupportedModelError, as `load` does.
    """
    local = local_folder(model)
    if local is not None:
        require_config(local)
        return checked_config(Source(model, local))
    try:
        folder = find_downloaded(model)
        entry = find_entry(model)
        if folder is None and entry is not None:
            return config_of_shape(entry.shape)
        return checked_config(Source(model, folder or fetch_config(model), is_downloaded=True))
    except (OSError, HTTPError, HFValidationError) as error:
        raise connection_problem(model, error) from error


def find_model(model: str, on_download: OnProgress, should_stop: ShouldStop) -> tuple[Source, PreTrainedConfig]:
    """A complete folder, and the config in it, which is judged before all else; of a hub id, what is missing is
    downloaded.

    Raises ModelNotFoundError, UnsupportedModelError, StoppedError, and whatever a download raises.
    """
    local = local_folder(model)
    if local is not None:
        require_config(local)
        source = Source(str(local), local)
        config = checked_config(source)
        require_complete(local)
        return source, config
    folder = find_downloaded(model) or download(look_up_usable(model), on_download, should_stop)
    source = Source(model, folder, is_downloaded=True)
    return source, checked_config(source)


def look_up_usable(model_id: str) -> HubModel:
    """What a model consists of on the hub; its config is fetched and judged, before any of its weights.

    Raises ModelNotFoundError, and UnsupportedModelError where `load` would refuse the model.
    """
    found = look_up(model_id)
    try:
        folder = fetch_config(model_id, found.commit)
    except (OSError, HTTPError) as error:
        raise connection_problem(model_id, error) from error
    checked_config(Source(model_id, folder, is_downloaded=True))
    return found


def checked_config(source: Source) -> PreTrainedConfig:
    """The config in a model's folder.

    Raises ModelNotFoundError where it cannot be read, and UnsupportedModelError where `load` would refuse it.
    """
    with quiet():
        try:
            config = _config(source)
        except OSError as error:
            raise ModelNotFoundError(said("{0} cannot be loaded: {1}", source, first_line(error))) from error
    _require_causal_model(config)
    inspect(config)
    return config


def _config(source: Source) -> PreTrainedConfig:
    """The model's config, if transformers has a class of its own for it."""
    raw, _ = PreTrainedConfig.get_config_dict(source.folder)
    model_type = raw.get("model_type")
    if not isinstance(model_type, str):
        raise UnsupportedModelError(said("The config.json of {0} names no model_type.", source))
    if model_type not in CONFIG_MAPPING:
        if "auto_map" in raw:
            raise UnsupportedModelError(
                said(
                    "{0} needs remote code: transformers has no {1!r} of its own, and code that comes with a "
                    "model is never run here.",
                    source,
                    model_type,
                )
            )
        raise UnsupportedModelError(
            said("transformers does not know models of type {0!r}; a newer one may.", model_type)
        )
    _require_plausible(source, raw)
    try:
        config = AutoConfig.from_pretrained(source.folder, trust_remote_code=False)
    except (ValueError, TypeError, KeyError, StrictDataclassError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise UnsupportedModelError(said("The config.json of {0} is not valid: {1}", source, why)) from error
    assert isinstance(config, PreTrainedConfig)
    for part in _BESIDE_LANGUAGE.get(model_type, ()):
        setattr(config, part, None)
    return config


def _require_plausible(source: Source, raw: dict[str, Any]) -> None:
    """Raise UnsupportedModelError where a size is one that no model has: building it would take hours or all memory."""
    text = raw.get("text_config")
    for name, value in {**raw, **(text if isinstance(text, dict) else {})}.items():
        most = _MOST.get(name)
        if most is not None and isinstance(value, int | float) and not 0 < value <= most:
            raise UnsupportedModelError(
                said(
                    "The config.json of {0} is damaged: {1} is {2:,}, where 1 to {3:,} is plausible; get it again.",
                    source,
                    name,
                    value,
                    most,
                )
            )


def _require_causal_model(config: PreTrainedConfig) -> None:
    """Raise UnsupportedModelError, with the architecture's name, unless it writes text from left to right."""
    names = list(config.architectures or [])
    name = names[0] if names else type(config).__name__.removesuffix("Config")
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModelError(said("{0} is an encoder-decoder; only causal language models can be used.", name))
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UnsupportedModelError(said("{0} is no causal language model.", name))
    # Checkpoints of images and text name their whole, of which the language model is loaded.
    whole = "text_config" in config.sub_configs
    if names and not whole and not set(names) & _causal_names():
        raise UnsupportedModelError(said("{0} is no causal language model.", name))


def _causal_names() -> set[str]:
    """Class names of all causal language models that transformers has."""
    values: list[Any] = list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    # Some types have several classes.
    return {name for value in values for name in ([value] if isinstance(value, str) else value)}


def config_of_shape(shape: dict[str, Any]) -> PreTrainedConfig:
    """The config of a catalogue's entry; what it does not say is as the model type has it."""
    with quiet():
        config = CONFIG_MAPPING[shape["model_type"]].from_dict(dict(shape))
    assert isinstance(config, PreTrainedConfig)
    return config


def load_dtype(config: PreTrainedConfig, device: str, quantize: Quantize = "none") -> torch.dtype:
    """The dtype of weights, K and V that `load` gives a model, of quantized ones that of their activations.

    What is not chosen is float32 on the CPU, and the checkpoint's own on CUDA.
    """
    if quantize in DTYPES:
        return DTYPES[quantize]
    if device == "cpu":
        return torch.float32
    dtype = config.dtype or getattr(config.get_text_config(decoder=True), "dtype", None)
    return dtype if isinstance(dtype, torch.dtype) else torch.bfloat16


def is_quantized(config: PreTrainedConfig) -> bool:
    """Whether the checkpoint's weights are quantized already: then they can only be taken as they are."""
    return getattr(config, "quantization_config", None) is not None


def empty_model(config: PreTrainedConfig) -> PreTrainedModel:
    """The model that `load` would make of a config, with shapes but without memory."""
    with quiet(), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    assert isinstance(model, PreTrainedModel)
    return model
