"""The set phrases of the built-in model: what it says by itself, and where."""

from dataclasses import dataclass
from typing import Any, Final

import torch
from demo_addresses import address_basis, room_for_marks
from demo_layer import Layer
from demo_layout import (
    ADDRESS,
    BEFORE,
    FOUND_ADDRESS,
    FOUND_GAIN,
    IM_END,
    IM_START,
    NEXT_SENTENCE,
    ONE,
    SPACE,
    SPARE,
    TOKEN,
    Flag,
    from_slot,
    reading,
    step,
    to_slot,
)
from demo_tokens import Plan, back, encode
from torch import Tensor
from transformers import SmolLM3ForCausalLM

PHRASE_GAIN: Final = 24.0
STOP_GAIN: Final = 40.0
"""Of the code of a set phrase's next token, and of <|im_end|> behind the sentence."""
PHRASE_MARGIN: Final = 0.9
"""By how much a phrase's n-gram may be missed, in squared length."""
SURE: Final = 0.7
"""Less than the margin: where HIT is half, one of two phrases is said, not the found sentence without either."""


@dataclass(frozen=True)
class _Phrase:
    """What the model says by itself, and where: the conditions are flags of its first token, and from the third on."""

    text: str
    first: Tensor
    later: Tensor
    copied: tuple[Flag, ...] = ()
    """Marks of the first tokens that are copied behind it; without any, <|im_end|> follows."""


SAYS: Final = "The document says:"
GOES_ON: Final = "The document goes on:"
ABSENT: Final = "I do not find that in the document."
HELLO: Final = "Hello, I am the small built-in model: add a document, then ask me for a fact or a quote in it."
_PHRASES: Final = (
    _Phrase(
        SAYS,
        reading({Flag.HIT: SURE, Flag.QUOTE: -1.5, Flag.GREETS: -1.5}, -SURE),
        reading({Flag.QUOTE: -1.5}),
        (Flag.FIRST_SAID, Flag.SECOND_SAID),
    ),
    _Phrase(
        GOES_ON,
        reading({Flag.QUOTE: 1.5}, -1.5),
        reading({Flag.QUOTE: 1.5}, -1.5),
        (Flag.FIRST_QUOTED, Flag.SECOND_QUOTED, Flag.THIRD_QUOTED),
    ),
    _Phrase(ABSENT, reading({Flag.HIT: -SURE, Flag.QUOTE: -1.5, Flag.GREETS: -1.5}), reading({Flag.QUOTE: -1.5})),
    _Phrase(HELLO, reading({Flag.GREETS: 1.5, Flag.QUOTE: -1.5}, -1.5), reading({Flag.QUOTE: -1.5})),
)
"""The first two begin alike, "The document": what sets them apart is asked again from the third token on. Others do not
go on inside a quote, whose words may be much like theirs."""


def write_phrases(model: SmolLM3ForCausalLM, layer: Layer, plan: Plan) -> None:
    """Layer 8's MLP. Where BEFORE and TOKEN are those of a set phrase, the code of its next token goes to SPARE.

    n-grams are taken from a run of the model over the phrases, so this comes last.
    """
    before = encode(plan.tokenizer, "What is it?<|im_end|>\n<|im_start|>assistant\n")
    gates: list[Tensor] = []
    columns: list[Tensor] = []
    seen: set[tuple[int, ...]] = set()
    for phrase in _PHRASES:
        ids = before + encode(plan.tokenizer, phrase.text)
        ngrams = _ngrams(model, ids)
        said = [*ids[len(before) :], *([IM_END] if not phrase.copied else [])]
        for number, token in enumerate(said):
            place = len(before) - 1 + number
            context = (*ids[max(0, place - 8) : place + 1], token)
            if number > 0 and context in seen:
                continue
            seen.add(context)
            here = from_slot(TOKEN, 2 * plan.codes[ids[place]][None]) + from_slot(BEFORE, ngrams[place][None])
            most = 2 + ngrams[place].square().sum().item()
            extra = phrase.first if number == 0 else phrase.later if number > 1 else reading({})
            gates.append(here + extra + reading({}, PHRASE_MARGIN - most))
            columns.append(to_slot(SPARE, plan.codes[token][:, None] * PHRASE_GAIN / PHRASE_MARGIN))
        if phrase.copied:
            # What is copied begins behind this colon: the phrase's own n-gram is not looked for.
            ngram, half = ngrams[-1][:, None], 0.5 * (ngrams[-1] @ ngrams[-1]).item()
            gates.append(from_slot(BEFORE, ngram.T) + reading({Flag.COLON: 1}, -half - 1))
            columns.append((to_slot(BEFORE, -ngram) + to_slot(TOKEN, -plan.codes[ids[-1]][:, None])) / half)
            # The phrase is not looked for before the tokens behind that, either.
            ngram = ngram + plan.codes[ids[-1]][:, None]
            if phrase.text == SAYS:
                new_gates, new_columns = _space(plan, ids[-1], ngrams[-1])
                gates += new_gates
                columns += new_columns
            for flag in phrase.copied:
                ngram = back(1) @ ngram
                gates.append(reading({flag: 1}))
                columns.append(to_slot(BEFORE, -ngram))
    layer.when(torch.cat(gates), ONE, torch.cat(columns, dim=1))
    # A quote goes on in the next sentence, which has another address: behind an end, and behind the first tokens of
    # that sentence, the sum of both addresses is 0, but for the mark. In a sentence that begins short it always is.
    ends = {Flag.QUOTE: 1, Flag.ANSWER: 1, Flag.IM_END: -3}
    ends |= dict.fromkeys((*NEXT_SENTENCE, Flag.BEGINS_SHORT), 1)
    basis = address_basis(plan)
    both = from_slot(FOUND_ADDRESS, basis) / FOUND_GAIN + from_slot(ADDRESS, basis)
    layer.when(reading(ends, -2), both, to_slot(ADDRESS, -basis.T))
    # Elsewhere the mark is in the way: a sentence's first tokens have another one.
    marks = room_for_marks(plan)
    layer.when(reading({Flag.QUOTE: -2}, 1), from_slot(FOUND_ADDRESS, marks), to_slot(FOUND_ADDRESS, -marks.T))


def write_stop(layer: Layer, plan: Plan) -> None:
    """Layer 9's MLP. <|im_end|> follows where a copied sentence ends, but not the line break behind "assistant"."""
    flags = {Flag.LEAVES: 2.0, Flag.ANSWER: 1.0, Flag.ENDS_THERE: 1.0, Flag.QUOTE: -2.0, Flag.IM_END: -3.0}
    prompt = plan.ngram("ant", "ist", "ass")
    ends = reading(flags, -3.5)
    behind_prompt = ends + from_slot(BEFORE, prompt[None] / (prompt @ prompt)) - ONE
    stop = to_slot(TOKEN, plan.codes[IM_END][:, None] * STOP_GAIN)
    layer.when(torch.cat((ends, behind_prompt)), ONE, torch.cat((stop, -stop), dim=1))


def _space(plan: Plan, colon: int, ngram: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Units that say a space behind "says:", where what is copied begins a document and so has none of its own.

    Behind that space, neither it nor the phrase's n-gram is looked for, nor behind one that is copied (before a digit):
    there, what comes next is not the sentence's first token but its second one. ngram (64,): that before the colon.
    """
    code, space = plan.codes[colon], plan.code(SPACE)
    most = 2 + ngram.square().sum().item()
    here = (
        from_slot(TOKEN, 2 * code[None])
        + from_slot(BEFORE, ngram[None])
        + reading({Flag.NEEDS_SPACE: -0.5}, PHRASE_MARGIN - most)
    )
    behind = back(1) @ (ngram + code)
    half = 0.5 * behind.square().sum().item()
    there = from_slot(BEFORE, behind[None]) + from_slot(TOKEN, space[None]) + reading({}, -half - 1)
    columns = [
        to_slot(SPARE, space[:, None] * PHRASE_GAIN / PHRASE_MARGIN),
        (to_slot(BEFORE, -behind[:, None]) + to_slot(TOKEN, -space[:, None])) / half,
    ]
    copied = step(from_slot(TOKEN, 10 * space[None]) + reading({Flag.SAYS_COLON: 10, Flag.NEEDS_SPACE: 1}), 18, 20) / 2
    columns.append(
        to_slot(Flag.SAYS_COLON, torch.tensor([-1.0, 1.0])) + to_slot(Flag.FIRST_SAID, torch.tensor([1.0, -1.0]))
    )
    return [here + reading({}, -4), there, copied], columns


def _ngrams(model: SmolLM3ForCausalLM, ids: list[int]) -> Tensor:
    """BEFORE of each token as layer 8's MLP sees it."""
    seen: list[Tensor] = []
    norm: Any = model.model.layers[8].post_attention_layernorm
    hook = norm.register_forward_hook(lambda _module, _inputs, output: seen.append(output[0, 1:, BEFORE]))
    model(torch.tensor([[IM_START, *ids]]))
    hook.remove()
    return seen[0]
