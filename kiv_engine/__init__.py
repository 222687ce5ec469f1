"""KIV: a drop-in KV cache for transformers that keeps a million tokens in one context, and an engine around it."""

from typing import TYPE_CHECKING

from kiv_engine.config import KIVConfig, SamplingConfig
from kiv_engine.errors import EngineError

if TYPE_CHECKING:
    from kiv_engine.cache import KIVCache
    from kiv_engine.engine import Engine

__all__ = ["Engine", "EngineError", "KIVCache", "KIVConfig", "SamplingConfig"]


def __getattr__(name: str) -> object:
    """Import what needs torch only when it is asked for, so that `import kiv_engine` stays under 0.1 s."""
    if name == "KIVCache":
        from kiv_engine.cache import KIVCache

        return KIVCache
    if name == "Engine":
        from kiv_engine.engine import Engine

        return Engine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
