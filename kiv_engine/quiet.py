"""transformers and bitsandbytes without their bars, warnings, log lines, and what they would fetch on their own."""

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, log lines and warnings on stderr, and no requests to the hub's conversion service."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        # transformers would ask a public service to convert a checkpoint without safetensors.
        with environment("DISABLE_SAFETENSORS_CONVERSION", "1"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
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


def import_bitsandbytes() -> None:
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


def silence_cast_warning() -> None:
    """Lasts, because the warning comes with every token, not with loading."""
    logger = logging.getLogger("bitsandbytes.autograd._functions")
    if not any(isinstance(each, _DropCastWarning) for each in logger.filters):
        logger.addFilter(_DropCastWarning())
