"""The attributes of a layer that forgets, as JSON and tensors: transformers keeps them, and each kind has its own."""

from typing import Any

import torch

from kiv_engine.errors import SavedContextError, said


def state_to_json(state: dict[str, Any], prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    """A layer's attributes as JSON; its tensors go into `tensors` under names that begin with `prefix`."""
    return {"dict": [[key, _value_to_json(value, f"{prefix}.{key}", tensors)] for key, value in state.items()]}


def _value_to_json(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return state_to_json(value, name, tensors)
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": True}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise SavedContextError(
        said("A layer of this model keeps a {0} ({1}), which cannot be saved.", type(value).__name__, name)
    )


def value_from_json(entry: dict[str, Any], tensors: dict[str, torch.Tensor], device: torch.device) -> Any:
    """The inverse of `state_to_json`, with the tensors on a device."""
    if "tensor" in entry:
        return tensors[entry["tensor"]].to(device)
    if "dict" in entry:
        return {key: value_from_json(value, tensors, device) for key, value in entry["dict"]}
    if "dtype" in entry:
        return getattr(torch, entry["dtype"])
    return device if "device" in entry else entry["value"]
