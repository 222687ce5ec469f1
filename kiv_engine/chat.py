"""Messages to tokens, by the model's own chat template, and tokens back to text while they come."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import jinja2
from transformers import GenerationConfig, PreTrainedTokenizerBase

from kiv_engine.encoding import TextEncoder
from kiv_engine.errors import EngineError, said

Role: TypeAlias = Literal["system", "user", "assistant"]

_SYSTEM: Final = "KIVxSYSTEMx7f3aKIV"
_DOCUMENT: Final = "KIVxDOCUMENTx7f3aKIV"
_QUESTION: Final = "KIVxQUESTIONx7f3aKIV"
_ANSWER: Final = "KIVxANSWERx7f3aKIV"
_SEPARATOR: Final = "\n\n"
"""Between the system text, where the template has no place for it, the document, and the question."""


@dataclass(frozen=True)
class Message:
    """One message of a chat."""

    role: Role
    content: str


class _Markup(str):
    """Text that the template wrote: control tokens in it are meant."""

    __slots__ = ()


@dataclass(frozen=True)
class _Layout:
    """What stands around the texts of a chat. A part that is no `_Markup` is text.

    Attributes:
        before_document: from the beginning to the document, the system prompt included.
        separator: between the document and the first question.
        before_answer: from a question to its answer.
        after_answer: from an answer to the next question.
    """

    before_document: tuple[str, ...]
    separator: str
    before_answer: tuple[str, ...]
    after_answer: str


class ChatFormat:
    """How the context is laid out: prefix, documents, question, answer, next question, answer, and so on.

    The documents are the beginning of the first user message, so a question can be put behind them without reading them
    again. What stands between comes from the tokenizer's chat template, rendered with marks in place of the texts.
    Control tokens in the texts themselves ("<|im_end|>" in a document) stay plain text. A system prompt for which the
    template has no place leads the user message. Thinking is turned off where the template knows `enable_thinking`.

    Without a template (a base model) the context reads "{system}\\n\\n{document}\\n\\nQuestion: {question}\\nAnswer:".

    Attributes:
        stop_token_ids: tokens that end an answer: the end of text of tokenizer and generation config, and the one that
            the template puts behind an answer.
        stop_strings: texts that end an answer, where the template marks its end by no control token. The engine adds
            them to those of the user.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        generation_config: GenerationConfig | None = None,
        *,
        system: str | None = None,
    ) -> None:
        """Lay out chats for a tokenizer. Raises EngineError if its template cannot be used."""
        self._tokenizer = tokenizer
        self._encoder = TextEncoder(tokenizer)
        self._layout = _template_layout(tokenizer, system) if tokenizer.chat_template else _plain_layout(system)
        text, end_of_turn = self._end_of_answer()
        ends = set() if end_of_turn is None else {end_of_turn}
        self.stop_token_ids: frozenset[int] = frozenset(ends | _end_of_text_ids(tokenizer, generation_config))
        self.stop_strings: tuple[str, ...] = (text.rstrip(" "),) if text.strip() else ()

    @property
    def begins_line(self) -> bool:
        """Whether what stands before the documents ends with a line break."""
        return "".join(self._layout.before_document).endswith("\n")

    def document_prefix(self) -> list[int]:
        """Ids in front of the documents, BOS included if the template writes one or the tokenizer adds one."""
        ids = self._encode(self._layout.before_document)
        first = self._tokenizer("a").input_ids[: -len(self._tokenizer("a", add_special_tokens=False).input_ids)]
        bos = [token for token in first if token == self._tokenizer.bos_token_id]
        return ids if ids[: len(bos)] == bos else bos + ids

    def question_suffix(self, question: str, after_document: bool) -> list[int]:
        """Ids from the end of the documents to the answer; without documents, from the end of the prefix."""
        separator = self._layout.separator
        text = (separator if after_document else separator.lstrip()) + question
        return self._encode((text, *self._layout.before_answer))

    def follow_up(self, question: str, answer_ended: bool = False) -> list[int]:
        """Ids from the end of an answer to the next. `answer_ended`: the context already has its end-of-turn token."""
        _, end_of_turn = self._end_of_answer()
        after_control = answer_ended and end_of_turn is not None
        markup = self._layout.after_answer
        if after_control:
            markup = _Markup(markup[self._control_tokens(markup)[0][2] :])
        return self._encode((markup, question, *self._layout.before_answer), after_control)

    def plain(self, text: str) -> list[int]:
        """Ids of a text inside a message, such as what stands between two documents."""
        return self._encoder.encode(text)

    def text(self, ids: "Sequence[int] | array[int]") -> str:
        """The text of ids inside a message, without control tokens."""
        text = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def stream(self, stop: Sequence[str]) -> "TextStream":
        """For the text of an answer, which ends at one of these or of the template's own strings."""
        return TextStream(self._tokenizer, stop=(*stop, *self.stop_strings))

    def _end_of_answer(self) -> tuple[str, int | None]:
        """How the layout ends an answer: by a text, or (that being blank) by a control token."""
        after = self._layout.after_answer
        controls = self._control_tokens(after)
        if controls and not after[: controls[0][1]].strip():
            return "", controls[0][0]
        return after[: controls[0][1]] if controls else after, None

    def _control_tokens(self, markup: str) -> list[tuple[int, int, int]]:
        """Id and characters [start, end) of each control token in what the template wrote."""
        if not isinstance(markup, _Markup) or not markup:
            return []
        encoded = self._tokenizer(str(markup), add_special_tokens=False, return_offsets_mapping=True)
        tokens = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        return [(token, start, end) for token, (start, end) in tokens if token in self._encoder.control_ids]

    def _encode(self, parts: Sequence[str], after_control: bool = False) -> list[int]:
        """Encode parts; texts that adjoin are encoded as one, as they would be in the whole."""
        ids: list[int] = []
        text = ""
        for piece in self._texts_and_controls(parts):
            if isinstance(piece, str):
                text += piece
                continue
            ids += [*self._encoder.encode(text, after_control), piece]
            text, after_control = "", True
        return ids + self._encoder.encode(text, after_control)

    def _texts_and_controls(self, parts: Sequence[str]) -> Iterator[str | int]:
        """The texts of all parts, and the ids of the control tokens between them."""
        for part in parts:
            cursor = 0
            for token, start, end in self._control_tokens(part):
                yield part[cursor:start]
                yield token
                cursor = end
            yield part[cursor:]


def _end_of_text_ids(tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig | None) -> set[int]:
    """End-of-text tokens by the tokenizer and by the generation config, which may name several."""
    named = getattr(generation_config, "eos_token_id", None)
    several = list(named) if isinstance(named, list | tuple) else [named]
    return {token for token in [tokenizer.eos_token_id, *several] if isinstance(token, int)}


def _plain_layout(system: str | None) -> _Layout:
    """The layout for models without a chat template."""
    before = (system + _SEPARATOR,) if system else ()
    question = _SEPARATOR + "Question: "
    return _Layout(before, question, ("\nAnswer:",), question)


def _template_layout(tokenizer: PreTrainedTokenizerBase, system: str | None) -> _Layout:
    """The layout that the chat template gives."""
    first_question = Message("user", _DOCUMENT + _SEPARATOR + _QUESTION)
    try:
        before, separator, after = _first_turn(tokenizer, system, first_question)
        # Without the system prompt: some templates repeat it in front of the last question.
        chat = [Message("user", _DOCUMENT), Message("assistant", _ANSWER), Message("user", _QUESTION)]
        marks = (_DOCUMENT, _ANSWER, _QUESTION)
        _, _, after_answer, _ = _split(_render(tokenizer, chat), marks)
    except (jinja2.TemplateError, TypeError, ValueError) as error:
        raise EngineError(said("The model's chat template cannot be used: {0}.", error)) from error
    if separator != _SEPARATOR:
        raise EngineError(
            said("The model's chat template changes the text of messages, so documents would not stay exact.")
        )
    return _Layout(before, separator, (_Markup(after),), _Markup(after_answer))


def _first_turn(
    tokenizer: PreTrainedTokenizerBase, system: str | None, question: Message
) -> tuple[tuple[str, ...], str, str]:
    """What stands before the document, between it and the question, and after the question."""
    if not system:
        before, separator, after = _split(_render(tokenizer, [question]), (_DOCUMENT, _QUESTION))
        return (_Markup(before),), separator, after
    marks = (_SYSTEM, _DOCUMENT, _QUESTION)
    try:
        pieces = _split(_render(tokenizer, [Message("system", _SYSTEM), question]), marks)
    except (jinja2.TemplateError, ValueError):
        # The template refuses, or ignores, a system message.
        merged = Message("user", _SYSTEM + _SEPARATOR + question.content)
        pieces = _split(_render(tokenizer, [merged]), marks)
    return (_Markup(pieces[0]), system, _Markup(pieces[1])), pieces[2], pieces[3]


def _render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """The chat as text, up to where the model's answer begins."""
    chat: list[dict[str, Any]] = [{"role": each.role, "content": each.content} for each in messages]
    rendered = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    return str(rendered)


def _split(rendered: str, marks: Sequence[str]) -> list[str]:
    """What stands around the marks. Raises ValueError unless each is there once, in this order."""
    pieces = []
    rest = rendered
    for mark in marks:
        before, found, rest = rest.partition(mark)
        if not found:
            raise ValueError("it leaves out or alters messages")
        pieces.append(before)
    if any(mark in piece for mark in marks for piece in (*pieces, rest)):
        raise ValueError("it repeats messages")
    return [*pieces, rest]


_UNFINISHED: Final = "\ufffd"
"""What a decoder makes of bytes that are no character, or not yet."""

_WINDOW_TOKENS: Final = 32
_KEPT_TOKENS: Final = 12
"""Of a window that is full this many tokens stay, as what the next ones are decoded after."""


def _sure_part(text: str) -> str:
    """Of a text that goes on, what stays: its last character may be unfinished, and decoders change a line's spaces."""
    sure = text.rstrip(_UNFINISHED)
    without_spaces = sure.rstrip(" ")
    return without_spaces if without_spaces.endswith("\n") else sure


class TextStream:
    """Text of an answer while its tokens come: whole characters only, and nothing from a stop string on.

    The pieces, joined, are the text of all tokens up to the stop string that is complete first. Each token decodes only
    a window of recent ones, so the cost does not grow with the answer; in the middle of the window, unlike at its
    beginning, decoders that strip the first space leave it.

    Attributes:
        stopped: a stop string was found; further tokens are ignored.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, stop: Sequence[str] = (), skip_special_tokens: bool = True
    ) -> None:
        self.stopped = False
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._skip_special_tokens = skip_special_tokens
        self._window: list[int] = []
        self._taken = 0  # characters of the window's text that were taken out already
        self._held = ""  # could be the beginning of a stop string

    def push(self, token_id: int) -> str:
        """Add a token; returns the text that is sure by now, often nothing."""
        if self.stopped:
            return ""
        self._window.append(token_id)
        text = self._decode(self._window)
        sure = _sure_part(text)
        new = sure[self._taken :]
        self._taken = max(self._taken, len(sure))
        if len(sure) == len(text):
            self._shorten_window()
        return self._up_to_stop(new)

    def finish(self) -> str:
        """The rest, once there are no more tokens; bytes that are no character come as U+FFFD."""
        if self.stopped:
            return ""
        rest = self._decode(self._window)[self._taken :]
        self._window, self._taken = [], 0
        new = self._up_to_stop(rest)
        held, self._held = self._held, ""
        return new + held

    def _decode(self, ids: list[int]) -> str:
        text = self._tokenizer.decode(
            ids, skip_special_tokens=self._skip_special_tokens, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text

    def _shorten_window(self) -> None:
        """Forget the older tokens of a long window, if the text of the newer ones can stand alone."""
        if len(self._window) < _WINDOW_TOKENS:
            return
        kept = self._window[-_KEPT_TOKENS:]
        text = self._decode(kept)
        if text and not text.endswith(_UNFINISHED):
            self._window, self._taken = kept, len(text)

    def _up_to_stop(self, new: str) -> str:
        """Text before the first complete stop string, less a tail that could begin one."""
        text = self._held + new
        ends = [(at + len(stop), at) for stop in self._stop if (at := text.find(stop)) >= 0]
        if ends:
            self.stopped, self._held = True, ""
            return text[: min(ends)[1]]
        tail = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - tail :]
        return text[: len(text) - tail]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of the text that is a beginning of the stop string."""
    lengths = range(min(len(text), len(stop) - 1), 0, -1)
    return next((length for length in lengths if text.endswith(stop[:length])), 0)
