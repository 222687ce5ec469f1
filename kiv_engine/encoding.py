"""Plain text to token ids and character offsets: what a text says is never taken for a control token."""

import copy
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerBase

from kiv_engine.errors import EngineError, said


class EncodedText(NamedTuple):
    """Token ids of a text, and for each the characters [start, end) that it stands for."""

    ids: list[int]
    offsets: list[tuple[int, int]]


class TextEncoder:
    """Encodes text as it reads in the middle of a longer one.

    No BOS, no space in front, and "<|im_end|>" becomes the tokens of its characters: `encode_special_tokens` of the
    tokenizers library does the last only for tokens marked special, and chat templates use others, too. So this is a
    tokenizer of its own, without control tokens. It shares the vocabulary of the original (which stays as it is) and
    is made in milliseconds.

    Attributes:
        spaces_lines: the tokenizer puts a space behind a line break, so that a word has the same tokens everywhere.
        control_ids: tokens that only the engine may write: the special ones, and added ones that the chat template
            writes. Added tokens of whitespace (Gemma's line breaks) are text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise EngineError(
                said(
                    "{0} does not tell where in the text its tokens are; the model needs a tokenizer.json.",
                    type(tokenizer).__name__,
                )
            )
        added = sorted(backend.get_added_tokens_decoder().items())
        template = str(getattr(tokenizer, "chat_template", None) or "")
        self.control_ids = frozenset(token_id for token_id, token in added if _is_control(token, template))
        # Vocabularies with an unknown token make it of any character that they lack.
        self._forbidden_ids = self.control_ids - {tokenizer.unk_token_id}
        self._plain = _without_added_tokens(backend)
        self._true_ids = _add_text_tokens(self._plain, [each for each in added if each[0] not in self.control_ids])
        self.spaces_lines = False
        self._start = self._text_before_segments(tokenizer)
        line, word, spaced = (self.encode(text) for text in ("\n", "a", " a"))
        self.spaces_lines = self.encode("\na") == line + spaced != line + word

    def encode(self, text: str, after_control: bool = False) -> list[int]:
        """Ids of a text. Right after a control token, old sentencepiece tokenizers put a space in front of it."""
        if not text:
            return []
        return self.encode_batch([self._start + text if after_control else text])[0].ids

    def encode_batch(self, texts: Sequence[str], begin_lines: Sequence[bool] | None = None) -> list[EncodedText]:
        """Encode each text, on all cores and without holding Python's lock meanwhile.

        begin_lines: which of the texts stand behind a line break; by default none does.
        """
        spaced = [
            begins and self.spaces_lines and text != "" and not text.startswith("\n")
            for text, begins in zip(texts, begin_lines or [False] * len(texts), strict=True)
        ]
        read = [f" {text}" if each else text for text, each in zip(texts, spaced, strict=True)]
        encodings = self._plain.encode_batch(read, add_special_tokens=False)
        return [
            self._freed_of_control(
                text, EncodedText(self._translate(encoding.ids), self._offsets(text, encoding.offsets, int(each)))
            )
            for text, encoding, each in zip(texts, encodings, spaced, strict=True)
        ]

    def _offsets(self, text: str, offsets: list[tuple[int, int]], before: int) -> list[tuple[int, int]]:
        """Offsets in a text that was encoded with so many spaces before it. What the tokenizer puts in has none."""
        if not self.spaces_lines:
            return offsets
        found, done = [], 0
        for start, end in offsets:
            start, end = max(0, start - before), max(0, end - before)
            if start < done and text[start] == "\n":
                start, end = done, max(end, done)
            found.append((start, end))
            done = end
        return found

    def _translate(self, ids: list[int]) -> list[int]:
        """Ids of the original tokenizer; its text tokens outside the vocabulary were numbered anew."""
        return [self._true_ids.get(token_id, token_id) for token_id in ids] if self._true_ids else ids

    def _freed_of_control(self, text: str, encoded: EncodedText) -> EncodedText:
        """Cut the text inside of each control token, should the vocabulary itself spell one (sentencepiece's "<s>")."""
        if self._forbidden_ids.isdisjoint(encoded.ids):
            return encoded
        at = next(index for index, token_id in enumerate(encoded.ids) if token_id in self._forbidden_ids)
        start, end = encoded.offsets[at]
        if end - start < 2:
            return encoded
        cut = start + 1
        head, tail = self.encode_batch([text[:cut], text[cut:]])
        moved = [(first + cut, last + cut) for first, last in tail.offsets]
        return EncodedText(head.ids + tail.ids, head.offsets + moved)

    def _text_before_segments(self, tokenizer: PreTrainedTokenizerBase) -> str:
        """What the original puts in front of a text that follows a control token: " " or nothing."""
        if not self.control_ids:
            return ""
        control = str(tokenizer.convert_ids_to_tokens(min(self.control_ids)))
        # Not by the backend: it still has the settings of whichever call was last.
        following = list(tokenizer(control + "a", add_special_tokens=False)["input_ids"])[1:]
        return " " if following != self.encode("a") and following == self.encode(" a") else ""


def _is_control(token: AddedToken, template: str) -> bool:
    """Whether a text must not contain the added token. The rule is that of transformers' sanitize_control_tokens."""
    return bool(token.special) or (token.content in template and not token.content.isspace())


def _without_added_tokens(backend: Tokenizer) -> Tokenizer:
    """A tokenizer on the same vocabulary: no added tokens, no truncation, no padding, nothing put in front."""
    plain = Tokenizer(backend.model)
    normalizer, pre_tokenizer = _continuing(backend.normalizer), _continuing(backend.pre_tokenizer)
    if normalizer is not None:
        plain.normalizer = normalizer
    if pre_tokenizer is not None:
        plain.pre_tokenizer = pre_tokenizer
    return plain


def _continuing(component: Any) -> Any:
    """A copy of a normalizer or pre-tokenizer that puts no space in front of a text; None if nothing is left of it."""
    if component is None:
        return None
    settings = _without_prefix(json.loads(component.__getstate__()))
    if settings is None:
        return None
    changed = copy.deepcopy(component)
    changed.__setstate__(json.dumps(settings).encode())
    return changed


def _without_prefix(settings: dict[str, Any]) -> dict[str, Any] | None:
    """The settings of a component of tokenizer.json, less what puts a space in front of a text."""
    if settings["type"] == "Prepend":
        return None
    changed = dict(settings)
    for key in ("normalizers", "pretokenizers"):
        if key in settings:
            changed[key] = [each for each in map(_without_prefix, settings[key]) if each is not None]
    if "add_prefix_space" in settings:
        changed["add_prefix_space"] = False
    if "prepend_scheme" in settings:
        changed["prepend_scheme"] = "never"
    return changed


def _add_text_tokens(plain: Tokenizer, tokens: Sequence[tuple[int, AddedToken]]) -> dict[int, int]:
    """Add the tokens to `plain`; returns their original ids by the new ones, where these differ."""
    plain.add_tokens([token for _, token in tokens])
    numbered = {plain.token_to_id(token.content): token_id for token_id, token in tokens}
    return {new: old for new, old in numbered.items() if new is not None and new != old}
