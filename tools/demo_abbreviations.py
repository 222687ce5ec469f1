"""Full stops of the built-in model that end no sentence: those of abbreviations and initials."""

import math
from typing import Final

import torch
from demo_layer import Layer
from demo_layout import BEFORE, LOG_WEIGHT_UNIT, ONE, TOKEN, Flag, from_slot, reading, step, to_slot
from demo_tokens import END_WEIGHT, FADING, LEAST_LOG_WEIGHT, Plan

ABBREVIATIONS: Final = (
    ("ĠMr", "s"),
    ("M", "r"),
    ("r", "s"),
    ("D", "r"),
    ("ĠPro", "f"),
    ("ro", "f"),
    ("ĠC", "apt"),
    ("ĠG", "en"),
    ("ĠF", "ig"),
    ("ĠV", "ol"),
)
"""The last two tokens of those that are more than one: Mrs, Mr, Dr, Prof, Capt, Gen, Fig, Vol. The few words that end
in the same tokens, as "hearers", are taken for one."""
LAST_MARGIN: Final = 0.33
STOP_MARGIN: Final = 0.15
"""By how much they may be missed, at the last of them, where the token before is not known, and at the full stop."""
STEEPER: Final = 6
"""By so much the condition at the full stop is steeper than others: an END of 0.99 would be no mark beside one of 1."""


def keep_sentences_whole(layer: Layer, plan: Plan) -> None:
    """Layer 0. The full stop of an abbreviation ends no sentence, nor that behind one token behind another, as in U.S.

    It has no weight in the bag, either. In the second case AFTER_END_2 is 1; it is 2 behind a line break. The last
    token of an abbreviation is marked, for layer 1.
    """
    stop = from_slot(TOKEN, plan.code(".")[None])
    weight = (math.log(END_WEIGHT) - LEAST_LOG_WEIGHT) / LOG_WEIGHT_UNIT
    none = to_slot(Flag.END, torch.tensor([-1.0])) + to_slot(Flag.LOG_WEIGHT, torch.tensor([-weight]))
    once = torch.cat((none, -none), dim=1) / 2
    behind = reading({Flag.AFTER_ABBREVIATION: 4}) + 8 * stop
    dotted = reading({Flag.AFTER_END_2: 4, Flag.AFTER_END: -8, Flag.AFTER_ABBREVIATION: -8}) + 32 * stop
    for row, first, sign in ((behind, 9, 1), (dotted, 33, 1), (dotted, 37, -1)):
        layer.when(step(row, first, first + 2), ONE, once * sign)
    for first, last in ABBREVIATIONS:
        both = plan.ngram(last, first)
        ended = stop + from_slot(BEFORE, both[None]) - reading({}, 1 + (both @ both).item() - STOP_MARGIN)
        layer.when(STEEPER * ended, ONE, none / (STEEPER * STOP_MARGIN))
        here = from_slot(TOKEN, plan.code(last)[None]) + from_slot(BEFORE, plan.ngram(first)[None])
        here = here - reading({}, 1 + FADING**2 - LAST_MARGIN)
        layer.when(here, ONE, to_slot(Flag.ABBREVIATES, torch.tensor([1 / LAST_MARGIN])))
    layer.always(reading({Flag.AFTER_ABBREVIATION: 1}), to_slot(Flag.AFTER_ABBREVIATION, torch.tensor([-1.0])))


def go_on_behind_abbreviations(layer: Layer) -> None:
    """Layer 1. Behind such a full stop no sentence begins. BEHIND_ABBREVIATION is 0.5, or much more than 1."""
    # Steeper than other conditions: a FIRST of 0.97 would be no mark beside one of 1.
    none = to_slot(Flag.FIRST, torch.tensor([-2.0, 2.0]))
    behind = reading({Flag.BEHIND_ABBREVIATION: 3})
    for first, sign in ((0.75, 1), (1.95, -1), (4.2, 1)):
        layer.when(step(behind, first, first + 0.5), reading({Flag.FIRST: 1}), none * sign)
    for flag in (Flag.ABBREVIATES, Flag.BEHIND_ABBREVIATION):
        layer.always(reading({flag: 1}), to_slot(flag, torch.tensor([-1.0])))
