"""Every error the engine raises on purpose. The message is one sentence for a person: what is wrong and what to do.

Its words are `said`, so that whoever shows them can say them in another language.
"""

import errno
from typing import Final

SHORTAGES: Final = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What torch's plain RuntimeErrors say where RAM or VRAM ran out."""


class Words(str):
    """An English text that knows what it was made of.

    Attributes:
        template: its words with {0}, {1} and so on, which is also the key of its translations.
        fields: what stands there: numbers, and texts that may be Words themselves.
    """

    template: str
    fields: tuple[int | float | str, ...]

    __slots__ = ("fields", "template")

    def __reduce__(self) -> tuple[object, ...]:
        return said, (self.template, *self.fields)


def said(template: str, *fields: object) -> Words:
    """Words for a person. The template is a literal, and found by `lupdate -tr-function-alias tr+=said`.

    Of fields that are no numbers only the text is kept: an exception would hold on to all that its frames do.
    """
    words = Words(template.format(*fields))
    words.template = template
    words.fields = tuple(field if isinstance(field, int | float | str) else str(field) for field in fields)
    return words


def parts_of(words: str) -> object:
    """Words as JSON can hold them: a text, or a list of a template and the parts of its fields."""
    if not isinstance(words, Words):
        return words
    return [words.template, *(parts_of(field) if isinstance(field, str) else field for field in words.fields)]


def from_parts(parts: object) -> str:
    """What `parts_of` was made of."""
    if not isinstance(parts, list):
        return str(parts)
    template, *fields = parts
    return said(template, *(from_parts(field) if isinstance(field, list) else field for field in fields))


class EngineError(Exception):
    """Root of the engine's errors; its text can be shown as it is, and is `said`."""

    @property
    def words(self) -> str:
        """The message, which still knows what it was made of; `str` of an exception does not."""
        return str(self) if not self.args or not isinstance(self.args[0], str) else self.args[0]


class ConfigError(EngineError):
    """An option is out of range, or two options contradict each other."""


class UnsupportedModelError(EngineError):
    """The model's architecture cannot run on a KIVCache, or needs remote code."""


class ModelNotFoundError(EngineError):
    """There is no such model, or its folder lacks weights or a tokenizer."""


class AccessError(ModelNotFoundError):
    """The hub refuses a model to whom it does not know, or to who has not been granted access.

    Attributes:
        model_id: whose page says how to get access.
    """

    def __init__(self, message: str, model_id: str) -> None:
        super().__init__(message)
        self.model_id = model_id


class TokenStoreError(EngineError):
    """The system has no keyring that could keep a token, or it does not answer."""


class StoppedError(EngineError):
    """The user stopped it; what was done is kept."""


class DocumentError(EngineError):
    """A document cannot be read as text, or is empty."""


class CapacityError(EngineError):
    """What is asked for does not fit into RAM, VRAM or the disk."""


class OutOfMemoryError(CapacityError):
    """RAM, VRAM or the disk of a store ran out, or would.

    Attributes:
        tokens: the context's length that was wanted; 0 while a model is loaded.
        is_predicted: nothing was tried; the caller may do so all the same.
        fit_tokens: how long the context could become as it is; 0 where that is not known, or nothing.
    """

    def __init__(self, message: str, tokens: int = 0, *, is_predicted: bool = False, fit_tokens: int = 0) -> None:
        super().__init__(message)
        self.tokens = tokens
        self.is_predicted = is_predicted
        self.fit_tokens = fit_tokens


class BatchSizeError(EngineError):
    """A KIVCache holds one sequence; the forward brought more."""


class CropError(EngineError):
    """A layer that forgets cannot go back that far.

    Attributes:
        possible_lengths: the nearest lengths, in tokens, that the cache can be cropped to.
    """

    def __init__(self, message: str, possible_lengths: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.possible_lengths = possible_lengths


class DeviceError(EngineError):
    """The device that was asked for is not there."""


class SavedContextError(EngineError):
    """A folder holds no saved context, or one of another model or configuration."""


class DamagedContextError(SavedContextError):
    """A saved context's files are not what was written."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that RAM or VRAM ran out. torch's own is known by its name: nothing imports torch here."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    is_named = isinstance(error, MemoryError) or type(error).__name__ == OutOfMemoryError.__name__
    return is_named or any(words in str(error) for words in SHORTAGES)
