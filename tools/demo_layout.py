"""The shape of the built-in model, and what stands where in its residual stream.

The slots:

    TOKEN    64   the token's code; at the end, that of the token to say
    BEFORE   64   an n-gram: the sum of the codes of the tokens before, each turned and faded by how far back it is
    SPARE    64   at a sentence's first token, the n-gram far before it, or of a number; at a question's end, and where
                  its answer begins, the n-gram that its quote ends in; at the end of one without a quote, half of the
                  address of the question it refers to; in answers, the next token of a set phrase
    ADDRESS  64   a code of the sentence, from how it begins and what stands before; all of its tokens have the same;
                  from layer 6 on also a mark, which its first four tokens have from the sentence before
    VOTES    64   the code of the token before; then, of question words, the addresses of sentences that have them
    BAG      88   what a token gives to bags; at a sentence's end, the mean of the sentence's words and word pairs, in
                  layer 7 of even length; then the address that is asked for, and a short code of the token before
    FLAGS    40   one number each, see `Flag`
"""

from enum import IntEnum
from typing import Final

import torch
from torch import Tensor

VOCABULARY: Final = 4096
HIDDEN: Final = 448
HEADS: Final = 2
HEAD_DIM: Final = 160
UNITS: Final = 128
"""Of each MLP."""
WINDOW: Final = 160
"""Of the sliding layers."""
LAYERS: Final = "SSSSSFSFSF"
"""Sliding or full."""
THETA: Final = 1e6
"""The base of the rotary frequencies."""
MILLION: Final = 1_048_576
PAD: Final = 0
IM_START: Final = 1
IM_END: Final = 2
CODE: Final = 64
"""The size of a code of a token, an n-gram or a sentence."""
BAG_SIZE: Final = 88
TOKEN: Final = slice(0, 64)
BEFORE: Final = slice(64, 128)
SPARE: Final = slice(128, 192)
ADDRESS: Final = slice(192, 256)
VOTES: Final = slice(256, 320)
BAG: Final = slice(320, 408)
FOUND_ADDRESS: Final = slice(320, 384)
LAST: Final = slice(384, 408)
"""From layer 7 on, the parts of BAG that hold the address of the sentence that was found, and the token before."""


class Flag(IntEnum):
    """Places of single numbers in the residual stream. They are 1 where the thing is so, unless told otherwise."""

    CONSTANT = 408  # CONSTANT_SIZE everywhere
    END = 409  # ends a sentence
    START = 410  # may begin a sentence: a space or a capital comes first
    SPECIAL = 411  # cannot begin one: punctuation, line breaks
    LOG_WEIGHT = 412  # how much the token counts in a bag, as a logarithm divided by LOG_WEIGHT_UNIT
    IM_END = 413
    IM_START = 414  # from layer 3 on the first token only
    AFTER_END = 415  # behind a sentence's end; 2 behind a line break
    FIRST = 416  # a sentence's first token
    NO_SPACE = 417  # up to layer 3: has letters, and no space before them
    FOUND = 417  # in layer 5: MISSING as head 1 sees it; then how sure layer 7 is that something was found
    REFERS = 418  # up to layer 3: a word that refers to the question before
    QUOTE = 418  # layer 3: how many quotes are opened, as a mean; layer 8: the answer goes on with a quote
    AFTER_ABBREVIATION = 419  # in layer 0: the token before is one
    FOURTH_QUOTED = 419  # from layer 2 to 6: the fourth token behind "goes on:"
    HIT = 419  # from layer 7 on: the document has what is asked for
    COLON = 420
    ENDS_THERE = 420  # in layer 9, at an end that was copied: in the document, the sentence ends there
    QUOTE_OPENS = 421
    QUOTE_CLOSES = 422
    ASKS = 423  # ends a question
    NEW_LINE = 424
    AFTER_END_2 = 425  # in layer 0: AFTER_END of the token before; 3 more behind a closing quote
    THIRD_QUOTED = 425  # from layer 2 on
    ABBREVIATES = 426  # in layers 0 and 1: an abbreviation or an initial, if a full stop follows
    ASKS_QUOTE = 426  # at a question's end: it has a quote
    ON_COLON = 427  # the colon of "goes on:"
    BEGINS_ANSWER = 428  # in layer 1 and 2: the first token of an answer
    FOLLOWS = 428  # from layer 3 to 5, at a question's end: it refers to the one before
    BAG_LENGTH = 428  # from layer 5 to 6: the squared length of BAG, over the usual one and LENGTH_UNIT
    ANSWER = 428  # from layer 8 on: inside an answer
    REQUEST_BEGINS = 429  # I; a quarter where a verb of requests may begin; then: of the token that begins the sentence
    REQUEST_WORD = 430  # a word that requests have, then: a mean of these
    HAS_QUOTE = 431  # up to layer 3, at a question's end: a quote is opened in its line
    BEGINS_ANEW = 431  # AFTER_END of the sentence's first token; 10 less if that has no space before it
    FIRST_OF_LINE = 432
    IN_REACH = 432  # from layer 2 on: the sentence's first token is in the window; 1 more at a line's first token
    BEGINS_QUESTION = 433  # up to layer 5: begins a word that questions behind another sentence begin with
    GREETS = 433  # at a question's end: it greets
    FIRST_QUOTED = 434  # the first token behind "goes on:"
    SECOND_QUOTED = 435
    AFTER_QUOTE = 436  # up to layer 2: behind a closing quote, up to two tokens
    BEGINS_SHORT = 436  # from layer 3 on: the sentence begins behind "goes on:" and at most three more tokens
    SAYS_COLON = 437  # the colon of "says:", or a space behind it
    FIRST_SAID = 438  # the first token behind "says:"
    SECOND_SAID = 439
    BEFORE_BEGINS = 440  # in layer 0: the token before may begin a sentence
    LEAVES = 440  # then: what follows is the next sentence
    SECOND = 441  # a sentence's second token
    THIRD = 442
    FIFTH = 443
    NUMBER_ENDS = 444  # -1 for digits; in layer 1, 1 more behind one: 1 where a number ends
    HEFT = 444  # what a question weighs beside its end, as a share
    VOTE_LOG_WEIGHT = 445  # how much the token's votes count, like LOG_WEIGHT
    BEHIND_ABBREVIATION = 446  # in layer 1, two tokens behind one; behind U.S. and the like 0.5
    LENGTH = 446  # in layer 4: the squared length of ADDRESS
    BEHIND_FIRST = 446  # in layer 9, in documents: the token before is a sentence's first one
    NEEDS_SPACE = 446  # from layer 7 on, of the sentence that was found: BEGINS_ANEW
    SMALL = 447  # in layers 0 and 1: begins with a small letter
    MISSING = 447  # how far the token stands nowhere else; at a question's end, 1 and the mean of its tokens


CONSTANT_SIZE: Final = 64.0
"""The constant in the residual stream. Most of every token's norm, so that norms hardly depend on the rest."""
LOG_WEIGHT_UNIT: Final = 4.0
"""The residual stream has log weights divided by this."""
LENGTH_UNIT: Final = 10.0
"""The residual stream has squared lengths of bags divided by this: some are great."""
FOUND_GAIN: Final = 4.0
"""Of the address that was found, over what else is in its place: the question's bag."""


SHARPER: Final = 8.0
"""By how much layer 7 is sharper than learned: one sentence wins, addresses do not mix."""
NEXT_SENTENCE: Final = (Flag.LEAVES, Flag.FIRST, Flag.SECOND, Flag.THIRD)
"""Where what follows is the next sentence, or it has just begun; from layer 7 on, they sum to 1 at most."""


def reading(flags: dict[Flag, float], constant: float = 0.0) -> Tensor:
    """A row (1, hidden) that reads a sum of flags and a constant from the residual stream."""
    row = torch.zeros(1, HIDDEN)
    for flag, weight in flags.items():
        row[0, flag] = weight
    row[0, Flag.CONSTANT] += constant / CONSTANT_SIZE
    return row


def step(row: Tensor, first: float, last: float) -> Tensor:
    """Conditions (2, hidden), for columns that are opposites: their sum grows where `row` goes from `first` to `last`.

    Each of them is a ramp without an end (see `Layer.when`); the difference of two has one.
    """
    return torch.cat((row - reading({}, first), row - reading({}, last)))


def from_slot(slot: slice, matrix: Tensor | None = None) -> Tensor:
    """Rows (n, hidden) that read matrix @ slot, or the slot itself."""
    if matrix is None:
        matrix = torch.eye(slot.stop - slot.start)
    rows = torch.zeros(len(matrix), HIDDEN)
    rows[:, slot] = matrix
    return rows


def to_slot(place: slice | Flag, matrix: Tensor) -> Tensor:
    """Columns (hidden, n) that write a matrix (slot, n), or numbers (n,) for a flag."""
    columns = torch.zeros(HIDDEN, matrix.shape[-1])
    columns[place] = matrix
    return columns


ONE: Final = reading({}, 1)
SPACE: Final = "Ġ"
"""The token of a single space."""
EYE: Final = torch.eye(CODE)
