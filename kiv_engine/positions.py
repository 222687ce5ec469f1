"""Rotary positions: reading a model's frequencies, and moving keys to other positions (compact mode).

Beyond the trained length a retrieved key would meet the query at an angle the model has never seen. Compact positions
re-rotate the few retrieved keys to consecutive positions just before the hot window (ReAttention, arXiv:2407.15176;
InfiniteHiP, arXiv:2502.08910), so that every distance stays within the trained length.
"""

import math
import sys
from dataclasses import dataclass
from typing import Any, Final

import torch

from kiv_engine.errors import UnsupportedModelError, said
from kiv_engine.topology import Topology


@dataclass(frozen=True)
class Rotary:
    """How one kind of layer rotates its keys.

    Attributes:
        frequencies: radians per token and pair, (rotated_dim / 2,), float32; 0 where a pair is not rotated.
        interleaved: pairs are neighbouring dimensions (GPT-J) instead of halves (GPT-NeoX).
    """

    frequencies: torch.Tensor
    interleaved: bool

    @property
    def longest_wavelength(self) -> float:
        """Tokens until the slowest rotated pair comes round again."""
        rotated = self.frequencies[self.frequencies > 0]
        return 2 * math.pi / float(rotated.min()) if rotated.numel() else 0.0

    def move(self, keys: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Re-rotate keys (..., n, head_dim) from positions `sources` to `targets`, both broadcastable to (..., n).

        Models compute angles as float32 products, so the angle moved is the difference of two such products, taken
        in float64: a key moved and one rotated there in the first place agree to rounding.
        """
        frequencies = self.frequencies.to(keys.device)
        angles = _angles(targets, frequencies) - _angles(sources, frequencies)
        cos, sin = angles.cos().float(), angles.sin().float()
        return self._rotate(keys.float(), cos, sin).to(keys.dtype)

    def _rotate(self, keys: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        dim = 2 * self.frequencies.shape[0]
        rotated, rest = keys[..., :dim], keys[..., dim:]
        if self.interleaved:
            first, second = rotated[..., 0::2], rotated[..., 1::2]
            turned = torch.stack((first * cos - second * sin, second * cos + first * sin), -1).flatten(-2)
        else:
            first, second = rotated.chunk(2, -1)
            turned = torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
        return torch.cat((turned, rest), -1) if rest.shape[-1] else turned


def _angles(positions: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    return (positions.float()[..., None] * frequencies).double()


def read_rotary(decoder: torch.nn.Module, layer_type: str = "full_attention") -> Rotary:
    """The rotary facts of the model's growing layers. Raises UnsupportedModelError where they cannot be read."""
    module = getattr(decoder, "rotary_emb", None)
    frequencies = getattr(module, f"{layer_type}_inv_freq", None)
    if frequencies is None:
        frequencies = getattr(module, "inv_freq", None)
    pairing = _pairing(decoder)
    if frequencies is None or pairing is None:
        raise UnsupportedModelError(
            said(
                "{0}: its rotary positions cannot be read, so compact positions do not work; use positions='true'.",
                type(decoder).__name__,
            )
        )
    return Rotary(frequencies.detach().float().clone(), pairing)


def _pairing(decoder: torch.nn.Module) -> bool | None:
    """Ask the model's own code which dimensions it pairs: True interleaved, False halves, None unknown."""
    code = sys.modules[type(decoder).__module__]
    places = torch.arange(8.0)
    if hasattr(code, "rotate_half"):
        turned = code.rotate_half(places)
    elif hasattr(code, "_apply_rotary_emb"):  # gpt-oss turns by angles of half the size: here by a right angle
        turned = code._apply_rotary_emb(places, torch.zeros(4), torch.ones(4))
    else:
        return None
    return {1: True, 4: False}.get(int(-turned[0]))


def needs_compact(topology: Topology, rotary: Rotary) -> bool:
    """Whether true positions beyond the trained length would meet angles the model was not trained on."""
    uses_rotary = any(layer.rotary for layer in topology.growing)
    return uses_rotary and topology.trained_tokens > 0 and rotary.longest_wavelength > topology.trained_tokens


STATE: Final = (
    "inv_freq",
    "original_inv_freq",
    "long_inv_freq",
    "max_seq_len_cached",
    "original_max_seq_len",
    "attention_scaling",
)
"""What a length-dependent rotary module changes, or decides by, in a forward."""

NO_LENGTH_REACHES: Final = 2**62


class PinnedRotary:
    """Holds a length-dependent rotary module (longrope, dynamic NTK) at the frequencies of one final length.

    Such a module picks its frequencies from the positions of each forward, so a long text read in pieces would mix two
    sets. `hold` before a forward of the cache, `release` after it; in between the module cannot switch.

    Attributes:
        num_tokens: the final length the frequencies are for.
    """

    def __init__(self, module: Any, num_tokens: int) -> None:
        self.num_tokens = num_tokens
        self._module = module
        self._saved: dict[str, Any] = {}
        self._frequencies = self._frequencies_for(num_tokens)

    @staticmethod
    def applies_to(module: Any) -> bool:
        """Whether the module's frequencies depend on the length at all."""
        kind = getattr(module, "rope_type", None)
        return isinstance(kind, str) and (kind == "longrope" or "dynamic" in kind)

    def _frequencies_for(self, num_tokens: int) -> torch.Tensor:
        """Let the module compute them itself: one forward at the last position, then put it back as it was."""
        module = self._module
        self._save()
        module.inv_freq = module.original_inv_freq.to(module.inv_freq.device, copy=True)
        module.max_seq_len_cached = module.original_max_seq_len
        module(module.inv_freq.new_zeros(1), torch.tensor([[max(num_tokens - 1, 0)]], device=module.inv_freq.device))
        chosen: torch.Tensor = module.inv_freq.clone()
        self.release()
        return chosen

    def _save(self) -> None:
        """Remember the module's own state, unless it is held already (a forward was broken off)."""
        if not self._saved:
            self._saved = {name: getattr(self._module, name) for name in STATE if hasattr(self._module, name)}

    def hold(self) -> None:
        """Put the chosen frequencies in the module, as all of its sets, and let no length make it compute others."""
        module = self._module
        self._save()
        chosen = self._frequencies.to(module.inv_freq.device)
        module.inv_freq = chosen.clone()
        module.original_inv_freq = chosen.clone()
        if hasattr(module, "long_inv_freq") or module.rope_type == "longrope":
            module.long_inv_freq = chosen.clone()
        module.max_seq_len_cached, module.original_max_seq_len = NO_LENGTH_REACHES, 0

    def release(self) -> None:
        """Give the module its own state back."""
        for name, value in self._saved.items():
            setattr(self._module, name, value)
        if self._saved and "long_inv_freq" not in self._saved and hasattr(self._module, "long_inv_freq"):
            del self._module.long_inv_freq
        self._saved = {}
