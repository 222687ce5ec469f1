"""Two GPUs that are none: tensors that say they lie on one and compute on the CPU, and refuse what GPUs refuse.

PyTorch lets a program bring a device type of its own ("privateuseone"). Values are those of the CPU; what meets on two
devices raises, as it does on real ones. It stays in the process: for child processes only.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

TYPE: Final = "privateuseone"
ATEN: Final = torch.ops.aten
COPIES: Final = {ATEN._to_copy.default, ATEN.copy_.default, ATEN.slice_scatter.default}
"""What brings values from one device to another."""
INDEXES: Final = {ATEN.index.Tensor, ATEN.index_put_.default, ATEN.index_put.default}
"""What takes indices from the CPU."""
READS: Final = {ATEN._local_scalar_dense.default, ATEN.nonzero.default, ATEN.masked_select.default, ATEN.equal.default}
"""What gives the CPU a number, or needs one for its result's shape."""
crossings: list[tuple[torch.device, torch.device]] = []
"""From where to where values were brought from one pretended GPU to another."""
waits: list[str] = []
"""For what the CPU would wait until a GPU has done all that it was asked for, in order."""


class PretendedTensor(torch.Tensor):
    """A tensor on a pretended GPU; `held` is where its values are."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor, device: torch.device) -> "PretendedTensor":
        wrapper: PretendedTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=device, requires_grad=False,
        )  # fmt: skip
        wrapper.held = held
        return wrapper

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def tolist(self) -> Any:
        waits.append("tolist")
        return self.held.tolist()

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


class MovedNumbers(TorchFunctionMode):
    """`torch.tensor` goes by no dispatch: its numbers are brought to the device in a step of their own."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is not torch.tensor or (device := kwargs.pop("device", None)) is None:
            return func(*args, **kwargs)
        return torch.tensor(*args, **kwargs).to(device)


class PretendedGpus(TorchDispatchMode):
    """Within it, "privateuseone:0" and "privateuseone:1" are devices."""

    def __enter__(self) -> "PretendedGpus":
        self._numbers = MovedNumbers()
        self._numbers.__enter__()
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._numbers.__exit__(*exception)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


def compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do on the CPU what is asked for, if everything lies on one device."""
    if func is ATEN._fused_sdp_choice.default:
        return 0  # plain products: the others are kernels of a device
    values = tree_flatten((args, kwargs))[0]
    tensors = [each for each in values if isinstance(each, torch.Tensor)]
    asked = next((each for each in values if isinstance(each, torch.device)), None)
    device = asked or meeting_place(func, tensors)
    if func is ATEN._to_copy.default and device is not None and tensors[0].device.type == device.type == TYPE:
        crossings.extend([(tensors[0].device, device)] if tensors[0].device != device else [])
    note_wait(func, args, kwargs, device)
    if func is ATEN.histc.default:  # of integers only GPUs have it
        args = (args[0].float(), *args[1:])
    result = func(*tree_map(held_of, args), **tree_map(held_of, kwargs))
    if func._schema.is_mutable and tensors:
        return kwargs["out"] if "out" in kwargs else args[0]
    return result if device is None or device.type != TYPE else tree_map(lambda each: wrapped(each, device), result)


def note_wait(func: Any, args: Any, kwargs: dict[str, Any], device: torch.device | None) -> None:
    """Copies between a GPU and RAM wait unless they are asked not to, those into RAM always: whoever asks for them
    reads what was copied. So does what takes indices from the CPU, or a mask for them where it is no `masked_fill`.
    """
    on_gpu = [each.device.type == TYPE for each in args if isinstance(each, torch.Tensor)]
    if func in (ATEN._to_copy.default, ATEN.copy_.default):
        source, target = (on_gpu[0], device) if func is ATEN._to_copy.default else (on_gpu[1], args[0].device)
        into_ram = device is not None and target is not None and target.type == "cpu"
        asked_not_to = kwargs.get("non_blocking", len(args) > 2 and args[2])
        if source == into_ram and target is not None and (into_ram or not asked_not_to):
            waits.append("into RAM" if into_ram else "out of RAM")
    elif func in INDEXES and on_gpu[0]:
        indices = [each for each in args[1] if each is not None]
        filled = len(args) > 2 and args[2].numel() == 1
        if any(each.device.type == "cpu" or (each.dtype == torch.bool and not filled) for each in indices):
            waits.append(func.__name__)
    elif func in READS and any(on_gpu):
        waits.append(func.__name__)


def held_of(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type == TYPE:
        return torch.device("cpu")
    return value.held if isinstance(value, PretendedTensor) else value


def wrapped(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor) and not isinstance(value, PretendedTensor):
        return PretendedTensor(value, torch.device(TYPE, device.index or 0))
    return value


def meeting_place(func: Any, tensors: Sequence[torch.Tensor]) -> torch.device | None:
    """The device of all tensors; numbers, and indices on the CPU, may come from there."""
    if func in COPIES:
        return tensors[0].device
    devices = {each.device for each in tensors if each.ndim or each.device.type != "cpu"}
    if func in INDEXES and tensors[0].device.type == TYPE:
        devices.discard(torch.device("cpu"))
    if len(devices) > 1:
        raise RuntimeError(f"{func}: tensors on {sorted(map(str, devices))}")
    return next(iter(devices), None)


def pretend() -> None:
    """Register the device type with PyTorch."""
    _setup_privateuseone_for_python_backend()


def move(module: nn.Module, device_of: Callable[[str], torch.device]) -> None:
    """Move all tensors of a model to where their names belong."""
    for prefix, each in module.named_modules():
        for name, parameter in own(each._parameters):
            device = device_of(f"{prefix}.{name}")
            each._parameters[name] = nn.Parameter(PretendedTensor(parameter.data, device), requires_grad=False)
        for name, buffer in own(each._buffers):
            each._buffers[name] = PretendedTensor(buffer, device_of(f"{prefix}.{name}"))


def own(tensors: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, tensor) for name, tensor in list(tensors.items()) if tensor is not None)
