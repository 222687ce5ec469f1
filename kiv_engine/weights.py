"""Weights as they are stored: which bitsandbytes would quantize, their bytes, and a layer of them to be timed."""

import importlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.quantizers.base import HfQuantizer
from transformers.quantizers.quantizers_utils import should_convert_module

from kiv_engine.config import QUANTIZED, Quantize
from kiv_engine.quiet import import_bitsandbytes, silence_cast_warning


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
    silence_cast_warning()
    import_bitsandbytes()
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
