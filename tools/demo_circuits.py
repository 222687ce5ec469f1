"""The weights of the built-in model, written by hand: circuits that look things up in a document.

A question ends with <|im_end|>; what it asks for stands in one sentence of a document of up to a million tokens.
Sliding layers, which have rotary positions (https://arxiv.org/abs/2104.09864), make codes from the last tokens. Full
layers have no positions: they find by content alone, one key among all. Copying is that of induction heads
(https://arxiv.org/abs/2209.11895): a token looks for the place behind the same n-gram, and says what stands there. The
MLPs are SwiGLU (https://arxiv.org/abs/2002.05202): a steep gate makes a unit a condition.

The residual stream has slots (`demo_layout`), and layers write them:

    0 sliding   BEFORE of 2 tokens, word pairs, which tokens are a sentence's first ones
    1 sliding   BEFORE of 4 tokens, what stands far before a sentence or a number near it, which questions are requests
    2 sliding   BEFORE of 8 tokens, ADDRESS from the sentence's first token and what stands before it
    3 sliding   BAG, ADDRESS once more, whether the question has a quote, whether it refers to the one before
    4 sliding   SPARE = the n-gram that a quote ends in, or the address of the question before; addresses of about the
                same length
    5 full      VOTES: each token sees where else it stands in the document, a quote's end sees where the quote stands;
                which words stand nowhere else, and which sentences ask
    6 sliding   VOTES of the words of the question, and of the one it refers to, are added up at its end; a mark in
                ADDRESS, which the sentence and the first four tokens of the next one have;
                BEFORE of a quote's answer goes on with the quote's end; the means in BAG become even in length
    7 full      BAG = the address of the sentence that has most votes and the likest bag; whether there is any
    8 sliding   the address and flags go from the question's end to the answer's tokens; SPARE = set phrases
    9 full      TOKEN = the token behind the same n-gram in the sentence of that address

In an answer, what was copied has the address that it has in the document, if enough of it was copied before: so a quote
finds its way through the second sentence and those after it. Where a sentence ends, only the mark and the n-gram tell.

The last norm lets only TOKEN through, and the embedding is tied, so the logits are its likeness to the codes of the
vocabulary. All normalization is near the identity: a large constant in the residual stream gives every token about the
same norm, and the norms' weights undo what is left (`_calibrate`). Some numbers are learned: see `Features`.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from demo_abbreviations import go_on_behind_abbreviations, keep_sentences_whole
from demo_addresses import (
    ADDRESS_EIGHT,
    ADDRESS_FAR,
    ADDRESS_FIRST,
    ADDRESS_LENGTH,
    ADDRESS_NEXT,
    ADDRESS_TOKEN,
    FAR,
    FAR_SCORE,
    NEARER,
    NUMBER_SCORE,
    address_basis,
    room_for_marks,
)
from demo_data import split_words
from demo_layer import (
    END_PAIR,
    FIRST_PAIR,
    LINE_PAIR,
    MARK_KEY,
    MARK_SCORE,
    QUESTION_PAIR,
    RECENCY_SLOPE,
    SOFT_OFFSET_SCORE,
    WEIGHT_PAIR,
    Layer,
)
from demo_layout import (
    ADDRESS,
    BAG,
    BAG_SIZE,
    BEFORE,
    CODE,
    EYE,
    FOUND_ADDRESS,
    FOUND_GAIN,
    HEAD_DIM,
    HEADS,
    HIDDEN,
    IM_END,
    IM_START,
    LAST,
    LAYERS,
    LENGTH_UNIT,
    LOG_WEIGHT_UNIT,
    MILLION,
    NEXT_SENTENCE,
    ONE,
    PAD,
    SHARPER,
    SPACE,
    SPARE,
    THETA,
    TOKEN,
    UNITS,
    VOCABULARY,
    VOTES,
    WINDOW,
    Flag,
    from_slot,
    reading,
    step,
    to_slot,
)
from demo_phrases import write_phrases, write_stop
from demo_tokens import (
    BAG_GAIN,
    BAG_LENGTH,
    BAG_STORED,
    EVEN_LEAST,
    EVEN_MOST,
    EVEN_SLOPE,
    FADING,
    LEAST_LOG_WEIGHT,
    PAIR_GATE,
    REQUEST_VERBS,
    REQUEST_WEIGHT,
    SHORT_CODE,
    UNEVEN_BAG,
    Features,
    Plan,
    back,
    embedding,
    encode,
    make_plan,
    orthogonal,
    pair_units,
)
from demo_votes import (
    ASKED_SHARE,
    HEAVY_LESS,
    HEAVY_LOG,
    NO_PART,
    NO_VOTE,
    PART_SCORE,
    STRICTER,
    VOTE_BEFORE,
    VOTE_CONTEXT,
    VOTE_SCORE,
)
from tokenizers import Tokenizer
from torch import Tensor
from transformers import SmolLM3Config, SmolLM3ForCausalLM

ADDRESS_PARTS: Final = ((slice(48, 80), slice(0, 32)), (slice(128, 160), slice(32, 64)))
"""The dimensions of the slowest rotary pairs, 48 to 79, and what of an address they hold: half of it the first of each
pair, half the second."""
QUOTE_MARK_GAIN: Final = 1.03
"""By this an opening quote is a better mark than a line's first token, whose flag is not quite 1."""
LATE_MARK: Final = 1.07
"""A quote's end is by this the better mark: it makes up for ten tokens by which <|im_end|> is nearer."""
END_SCORE: Final = 30.0
"""How fast an end fades from the bag of a later one of the same sentence."""
ADDRESS_SCORE: Final = 30.0
"""Of two addresses that are alike, for bags: only tokens of the same sentence count."""
NO_VOTE_DIMS: Final = range(128, 134)
BARRED_DIMS: Final = range(134, 144)
"""Of layer 5's keys. The second keep out <|im_end|> and closing quotes."""
BARRED_FROM_VOTES: Final = 4.0
"""By how many times the score of what is sought."""
QUOTE_SCORE: Final = 60.0
"""Of an n-gram that is looked for as the end of a quote."""
VOTES_GAIN: Final = 3.0
LAST_UNIT: Final = 0.15
"""Size of votes, and of the code of the token before, in the residual stream. The second is in the way of the first."""
SPARE_CLEARED: Final = 39
"""Dimensions of SPARE that layer 6 clears. Layer 7 clears the others."""
REFERRING_GAIN: Final = 5.0
LEAST_REFERRING: Final = (0.002, 0.004)
"""Of the mean of words that refer to the question before, and between which of its values a question does."""
ENDS_SCORE: Final = 500.0
FOLLOWING_ENDS: Final = -0.4
NOT_ITSELF: Final = -12.0
"""Scores by which a question's end sees another: of all ends; the share of it that those of questions lack that refer
to others themselves; and of each rotary pair at its own place."""
HALF: Final = 32
ASKED_BEFORE: Final = slice(SPARE.start, SPARE.start + HALF)
BEFORE_SIZE: Final = 0.1
"""Half of an address: there is no room for all of it. It is small, not to be in the way of a quote's n-gram."""
BEFORE_SHARE: Final = 0.65
"""The share that the question before has of the votes, where a question refers to it."""
FOLLOWING_LENIENCE: Final = 0.15
FOLLOWING_LENGTH: Final = 0.03
"""By how much such a question's missing words count less, and its bag as longer: it has less to say, and that less."""
NO_BAG: Final = 4.0
"""Above `EVEN_MOST`: bags grow at ends only, and not where a quote is asked for."""
LENIENCE: Final = 0.29
"""By how much the threshold is lower than learned: facts of other templates match less well."""
LEAST_QUOTE_VOTE: Final = 1.0
"""Below it a quote stands further from its sentence's first token than the window, and has no address."""
QUOTE_LOOSE: Final = 0.7
"""The share of the address that does not bind quotes."""
EVEN_LENGTH: Final = 2.46
EVENING: Final = 0.333
"""Addresses of less than this squared length grow, by this times what is missing: else long ones win more votes."""
MARK_SIZE: Final = 0.7
"""Of a sentence's mark."""
THRESHOLD_DIMS: Final = range(152, 154)
"""The dimensions of layer 7's keys by which <|im_start|> scores as much as a match at the threshold."""
ENDS_ONLY: Final = range(154, 157)
BARRED: Final = range(157, 160)
"""Those that keep out all but sentence ends, and those that keep out questions."""
PENALTY_KEY: Final = 4.0
"""Size of all of them in the keys."""
NO_END_SCORE: Final = 1600.0
BARRED_SCORE: Final = 3000.0
"""What layer 7 takes from keys that end no sentence, and from questions."""
COPY_SCALE: Final = 32.0
"""Sharpness of layer 9."""
COPY_BEFORE: Final = 1.8
COPY_TOKEN: Final = 1.0
COPY_SPARE: Final = 1.5
COPY_AGAIN: Final = 2.5
"""Weight of the n-gram in layer 9; in it, of the token itself, and of the n-gram of the quote's end; of the token
itself beside it."""
COPY_ADDRESS: Final = 7.0
COPY_FIRST: Final = 4.0
COPY_NEXT: Final = 1.3
COPY_ANSWER: Final = 30.0
COPY_NO_QUOTE: Final = 4.0
"""Weights of the address, of a sentence's first token behind "says:", of its second and third behind that, and against
answers, which nothing is copied from, and closing quotes."""
COPY_GAIN: Final = 8.0
OUT_GAIN: Final = 3.0
"""Of the copied token's code, and of the last norm."""
VERB_MARGIN: Final = 0.4
VERB_WEIGHT: Final = 0.25
"""By how much a verb at a line's beginning may be missed, and how much it counts beside other words of a request, of
which common ones weigh less."""
GREETING_MARGIN: Final = 0.6
"""Less than the share of an n-gram's last token, so that another word is no greeting."""
SHARE_UNIT: Final = 5.0
"""What a whole share reads as: the greater, the less the ramps of a step, which are round at their ends, blur it."""
FIRST_BEHIND: Final = (0.88, 0.96)
SECOND_BEHIND: Final = (0.6, 0.7)
THIRD_BEHIND: Final = (0.45, 0.6)
"""Shares of an n-gram, of its square, by which the tokens behind "goes on:" and "says:" are known. Behind the first, a
token is between that no one knows, which makes the share uncertain by a tenth; behind the second, two."""
PROMPT_BEHIND: Final = (0.75, 0.85)
"""The same of a part of "assistant", of three tokens."""
GREETINGS: Final = split_words(
    "hello|Hello|hello!|Hello!|hi|Hi|hi!|Hi!|hey|Hey|thanks|Thanks|thank you|Thank you|good morning|Good morning|"
    "help|Help|who are you?|Who are you?|what can you do?|what can you do|how are you?"
)
"""Questions that are nothing but this. At most seven tokens each, since n-grams have eight."""


def _write_neighbours(layer: Layer, plan: Plan) -> None:
    """Layer 0. One head sees the token before, one that before it. Their codes go to BEFORE, their ends to flags.

    The MLP marks the first tokens of sentences and the colons of "goes on:" and "says:", and multiplies the token with
    the n-gram before it: word pairs, for BAG.
    """
    layer.offset_keys()
    layer.value(0, from_slot(TOKEN))
    layer.value(64, reading({Flag.END: 1, Flag.NEW_LINE: 1}))
    layer.value(65, reading({Flag.QUOTE_CLOSES: 3}))
    layer.value(66, reading({Flag.QUOTE_CLOSES: 1}))
    layer.value(67, reading({Flag.START: 1, Flag.SPECIAL: -2}))
    for head in (0, 1):
        layer.look_back(head, head + 1)
        layer.output(head, 0, BEFORE, back(head + 1))
        layer.output(head, 66, Flag.AFTER_QUOTE, 1.0)
    layer.output(0, 0, VOTES, EYE * LAST_UNIT)
    layer.output(0, 64, Flag.AFTER_END, 1.0)
    layer.output(0, 65, Flag.AFTER_END_2, 1.0)
    layer.output(0, 67, Flag.BEFORE_BEGINS, 1.0)
    layer.output(1, 64, Flag.AFTER_END_2, 1.0)
    layer.value(68, reading({Flag.ABBREVIATES: 1}))
    layer.output(0, 68, Flag.AFTER_ABBREVIATION, 1.0)
    layer.value(69, reading({Flag.NUMBER_ENDS: -1}))
    layer.output(0, 69, Flag.NUMBER_ENDS, 1.0)
    # Behind a line break, a small letter may begin one, too; behind a full stop or a quote, it goes on.
    begins = {Flag.AFTER_END: 2.0, Flag.START: 1.0, Flag.SMALL: -1.0, Flag.SPECIAL: -4.0}
    begins_quoted = {
        Flag.AFTER_END_2: 1.0,
        Flag.START: 1.0,
        Flag.SMALL: -2.0,
        Flag.AFTER_END: -2.0,
        Flag.SPECIAL: -2.0,
    }
    # The difference of two ramps that begin 0.5 apart is a step.
    # Behind a closing quote, begins_quoted is 5; behind one that opens a line, 6, and the sentence has begun already.
    steps = ((begins, -2.25), (begins, -2.75), (begins_quoted, -4.5), (begins_quoted, -5.5))
    conditions = torch.cat([reading(flags, start) for flags, start in steps])
    layer.when(conditions, ONE, to_slot(Flag.FIRST, torch.tensor([2.0, -2.0, 2.0, -6.0])))
    new_line = reading({Flag.AFTER_END: 1, Flag.SPECIAL: -2}, -1.5)
    layer.when(new_line, ONE, to_slot(Flag.FIRST_OF_LINE, torch.tensor([2.0])))
    # A question's end looks for lines and quotes: what is both would count twice.
    both = reading({Flag.AFTER_END: 1, Flag.QUOTE_OPENS: 2}, -3.5)
    layer.when(both, ONE, to_slot(Flag.QUOTE_OPENS, torch.tensor([-2.0])))
    second = {Flag.AFTER_END_2: 1.0, Flag.BEFORE_BEGINS: 1.0, Flag.AFTER_QUOTE: -3.0}
    layer.when(step(reading(second), 1.5, 2), ONE, to_slot(Flag.SECOND, torch.tensor([2.0, -2.0])))
    says = plan.ngram(":", "Ġsays")
    space = from_slot(TOKEN, plan.code(SPACE)[None]) + from_slot(BEFORE, says[None] / (says @ says)) + reading({}, -1.7)
    layer.when(space, ONE, to_slot(Flag.SAYS_COLON, torch.tensor([3.3])))
    for flag, word in ((Flag.ON_COLON, "Ġon"), (Flag.SAYS_COLON, "Ġsays")):
        colon = reading({Flag.COLON: 1}, -1.5)
        colon[0, BEFORE] = plan.ngram(word) / FADING**2
        layer.when(colon, ONE, to_slot(flag, torch.tensor([2.0])))
    keep_sentences_whole(layer, plan)
    features = plan.features
    gates, values = pair_units(features.pair_gates, features.pair_values, plan.wordy)
    layer.units(from_slot(TOKEN, gates), from_slot(BEFORE, values), to_slot(BAG, features.pairs * UNEVEN_BAG))


def _look_at_first(layer: Layer, head: int) -> None:
    """The head sees the sentence's first token; from <|im_end|>, that of the line, or of the last question in it.

    "Hello. What is it?" asks in its second sentence. Both marks weigh the same: the later of them counts. In a line
    with a quote only the first does, for a quote may have questions.
    """
    layer.recency_keys()
    layer.look_near(head)
    layer.key_flag(FIRST_PAIR, Flag.FIRST, MARK_KEY)
    layer.look_for_mark(head, FIRST_PAIR)
    layer.key_flag(LINE_PAIR, Flag.FIRST_OF_LINE, MARK_KEY)
    layer.look_for_mark(head, LINE_PAIR, Flag.IM_END)
    layer.key_flag(QUESTION_PAIR, Flag.BEGINS_QUESTION, MARK_KEY)
    layer.look_for_mark(head, QUESTION_PAIR, Flag.IM_END)
    layer.query_flag(head, QUESTION_PAIR, Flag.HAS_QUOTE, -MARK_SCORE / MARK_KEY)


def _write_sentence_start(layer: Layer, plan: Plan) -> None:
    """Layer 1. Head 0 sees two tokens back: BEFORE grows to 4 tokens.

    From a sentence's first token head 1 sees the token behind a number not far before it, else what stands far before:
    the n-gram there goes to SPARE. From <|im_end|> it sees the last opening quote of the line. The MLP marks the first
    tokens behind "goes on:" and "says:", verbs that begin a request, and tokens that the next sentence follows: ends,
    and a closing quote behind one.
    """
    layer.offset_keys()
    layer.look_back(0, 2)
    layer.value(0, from_slot(BEFORE))
    layer.value(64, reading({Flag.FIRST: 1}))
    layer.output(0, 0, BEFORE, back(2))
    layer.output(0, 64, Flag.THIRD, 1.0)
    layer.value(65, reading({Flag.AFTER_END: 0.5, Flag.SPECIAL: -1, Flag.ABBREVIATES: 6}))
    layer.output(0, 65, Flag.BEHIND_ABBREVIATION, 1.0)
    layer.recency_keys()
    layer.look_back(1, FAR, FAR_SCORE, Flag.FIRST)
    layer.look_near(1, Flag.FIRST, NEARER)
    layer.key_flag(FIRST_PAIR, Flag.NUMBER_ENDS, MARK_KEY)
    layer.query_flag(1, FIRST_PAIR, Flag.FIRST, NUMBER_SCORE / MARK_KEY)
    layer.output(1, 0, SPARE, EYE)
    layer.look_near(1, Flag.IM_END)
    layer.key_flag(LINE_PAIR, Flag.FIRST_OF_LINE, MARK_KEY)
    layer.key_flag(LINE_PAIR, Flag.QUOTE_OPENS, MARK_KEY * QUOTE_MARK_GAIN)
    layer.look_for_mark(1, LINE_PAIR, Flag.IM_END)
    layer.value(66, reading({Flag.QUOTE_OPENS: 1}))
    layer.output(1, 66, Flag.HAS_QUOTE, 1.0)
    quoted = to_slot(Flag.HAS_QUOTE, torch.tensor([-1.0]))
    layer.when(reading({Flag.IM_END: -2}, 1), reading({Flag.HAS_QUOTE: 1}), quoted)
    go_on_behind_abbreviations(layer)
    layer.when(reading({Flag.FIRST: -2}, 1), from_slot(SPARE), to_slot(SPARE, -EYE))
    _clear(layer, Flag.SMALL, Flag.NUMBER_ENDS)
    leaves = reading({Flag.END: 2, Flag.QUOTE_CLOSES: 1, Flag.AFTER_END: 1, Flag.FIRST: -2})
    layer.when(step(leaves, 1.25, 1.75), ONE, to_slot(Flag.LEAVES, torch.tensor([2.0, -2.0])))
    _clear(layer, Flag.BEFORE_BEGINS, Flag.AFTER_END_2)
    goes_on, says = (":", "Ġon", "Ġgoes", "Ġdocument"), (":", "Ġsays", "Ġdocument", "The")
    for tokens, flag in (
        (goes_on, Flag.FIRST_QUOTED),
        (says, Flag.FIRST_SAID),
        ((SPACE, *says[:3]), Flag.FIRST_SAID),
    ):
        here = _share_of(plan.ngram(*tokens))
        if tokens is says:  # The space behind "says:" is not yet what is said.
            here = here - reading({Flag.SAYS_COLON: SHARE_UNIT})
        _mark_share(layer, here, FIRST_BEHIND, flag)
    for tokens, flag in (
        (goes_on[:3], Flag.SECOND_QUOTED),
        (says[:3], Flag.SECOND_SAID),
        ((SPACE, *says[:2]), Flag.SECOND_SAID),
    ):
        _mark_share(layer, _share_of(plan.ngram(*tokens, skip=1)), SECOND_BEHIND, flag)
    # What an answer begins with is not in the document: it gets no address.
    prompt = _share_of(plan.ngram("Ċ", "ant", "ist", "ass"))
    for flag, sign in ((Flag.BEGINS_ANSWER, 1), (Flag.FIRST_OF_LINE, -1)):
        _mark_share(layer, prompt, FIRST_BEHIND, flag, sign)
    # The parts of "assistant" stand behind a question, in its sentence: they do not vote.
    behind = ("ist", "ass", "<|im_start|>", "Ċ", "<|im_end|>")
    for first in range(3):
        share = _share_of(plan.ngram(*behind[first : first + 3]))
        _mark_share(layer, share, PROMPT_BEHIND, Flag.VOTE_LOG_WEIGHT, LEAST_LOG_WEIGHT / LOG_WEIGHT_UNIT)
    for verb in REQUEST_VERBS:
        _mark_verb(layer, plan, verb)
    # A line's first token is marked as such: both marks would count twice.
    once = to_slot(Flag.BEGINS_QUESTION, torch.tensor([-1.0]))
    layer.when(reading({Flag.FIRST_OF_LINE: 1}), reading({Flag.BEGINS_QUESTION: 1}), once)
    asking = step(reading({Flag.REQUEST_BEGINS: 4, Flag.BEGINS_QUESTION: 1, Flag.FIRST_OF_LINE: 2}), 2.2, 2.8) / 0.6
    for flag, weight in ((Flag.LOG_WEIGHT, math.log(REQUEST_WEIGHT)), (Flag.VOTE_LOG_WEIGHT, LEAST_LOG_WEIGHT)):
        weighed = reading({flag: 1}, -weight / LOG_WEIGHT_UNIT)
        layer.when(asking, weighed, to_slot(flag, torch.tensor([-1.0, 1.0])))


def _share_of(ngram: Tensor) -> Tensor:
    """A row that reads how much of an n-gram (64,) BEFORE has: SHARE_UNIT, if it is all of it."""
    return from_slot(BEFORE, ngram[None] * (SHARE_UNIT / (ngram @ ngram)))


def _mark_share(layer: Layer, share: Tensor, between: tuple[float, float], flag: Flag, size: float = 1.0) -> None:
    """The flag is as it was up to the first share of an n-gram, and greater by a size from the second one on."""
    first, last = (SHARE_UNIT * end for end in between)
    layer.when(step(share, first, last), ONE, to_slot(flag, torch.tensor([size, -size]) / (last - first)))


def _mark_verb(layer: Layer, plan: Plan, verb: str) -> None:
    """The second token of a verb that begins a line is a word of requests."""
    line, first, second = encode(plan.tokenizer, f"\n{verb}")[:3]
    before = back(1) @ plan.codes[first] + back(2) @ plan.codes[line]
    here = from_slot(TOKEN, plan.codes[second][None]) + from_slot(BEFORE, before[None])
    most = 1 + (before @ before).item()
    columns = to_slot(Flag.REQUEST_WORD, torch.tensor([VERB_WEIGHT / VERB_MARGIN]))
    layer.when(here + reading({}, VERB_MARGIN - most), ONE, columns)


def _look_in_sentence(layer: Layer, head: int, weight: Flag) -> None:
    """The head sees all tokens with the same ADDRESS, by their weights."""
    address = from_slot(ADDRESS)
    for dims, part in ADDRESS_PARTS:
        layer.keys[dims] += address[part]
        layer.query(head, dims, address[part] * ADDRESS_SCORE)
    layer.key_flag(WEIGHT_PAIR, weight, 1)
    layer.query_flag(head, WEIGHT_PAIR, Flag.CONSTANT, LOG_WEIGHT_UNIT)


def _write_context(layer: Layer, plan: Plan) -> None:
    """Layer 2. BEFORE grows to 8 tokens. Head 1 sees the sentence's first token.

    That one, its n-gram of 4, the token before and the n-gram in SPARE make the first part of ADDRESS: so lines that
    begin alike behind a blank line differ, sentences between others that end and begin alike, and entries that differ
    in numbers only. <|im_end|> sees the first token of its line, so its bag is that of the question's first sentence.
    Where a quote closes, and at the end of a question that opens one, SPARE is then the n-gram before. The third and
    the fourth token behind "goes on:" are marked. The MLP also tells greetings.
    """
    layer.offset_keys()
    layer.look_back(0, 4)
    layer.value(0, from_slot(BEFORE))
    layer.output(0, 0, BEFORE, back(4))
    layer.value(64, reading({Flag.FIRST: 1}))
    layer.output(0, 64, Flag.FIFTH, 1.0)
    _look_at_first(layer, 1)
    wordy = plan.wordy_before
    address = from_slot(TOKEN, orthogonal(CODE, 22) * ADDRESS_TOKEN)
    address += from_slot(VOTES, orthogonal(CODE, 21) @ wordy @ back(1) * (ADDRESS_FIRST / LAST_UNIT))
    address += from_slot(BEFORE, orthogonal(CODE, 23) @ wordy * ADDRESS_NEXT)
    address += from_slot(SPARE, orthogonal(CODE, 28) @ wordy * ADDRESS_FAR)
    layer.value(67, address)
    layer.output(1, 67, ADDRESS, plan.features.addresses)
    layer.value(65, reading({Flag.FIRST: 1, Flag.IM_START: 1, Flag.BEGINS_ANSWER: -1}))
    layer.output(1, 65, Flag.IN_REACH, 1.0)
    layer.value(66, reading({Flag.ON_COLON: 1}))
    layer.output(0, 66, Flag.FOURTH_QUOTED, 1.0)
    phrase = plan.ngram(":", "Ġon", "Ġgoes", "Ġdocument", "The", skip=2)
    _mark_share(layer, _share_of(phrase), THIRD_BEHIND, Flag.THIRD_QUOTED)
    quote_ends = reading({Flag.QUOTE_CLOSES: 2, Flag.HAS_QUOTE: 2, Flag.AFTER_QUOTE: -2}, -1)
    layer.when(quote_ends, from_slot(BEFORE) - from_slot(SPARE), to_slot(SPARE, EYE))
    _clear(layer, Flag.AFTER_QUOTE, Flag.BEGINS_ANSWER)
    # What begins a turn gets no address, nor the opposite of one.
    layer.when(
        reading({Flag.IM_START: 2}, -1), reading({Flag.IN_REACH: 1}), to_slot(Flag.IN_REACH, torch.tensor([-1.0]))
    )
    # The first token, the sink of searches, has seen itself as those before it: its n-gram and code are in the way.
    # Those that begin a chat's other turns are no sinks: what stands before them makes them alike to what is sought.
    code = plan.codes[IM_START]
    ngram = back(1) @ code + back(2) @ code
    for ago in (2, 4):
        ngram = ngram + back(ago) @ ngram
    alone = from_slot(BEFORE, ngram[None] / (ngram @ ngram)) + reading({Flag.IM_START: 1}, -1.5)
    cleared = to_slot(BEFORE, ngram[:, None]) + to_slot(VOTES, code[:, None] * LAST_UNIT)
    layer.when(alone, ONE, to_slot(Flag.IM_START, torch.tensor([2.0])) - 2 * cleared)
    layer.when(reading({Flag.IM_START: 2}, -1), ONE, to_slot(Flag.IM_START, torch.tensor([-1.0])))
    for greeting in GREETINGS:
        ngram = plan.ngram_of(f"\n{greeting}")[None]
        here = from_slot(BEFORE, ngram) + reading({Flag.IM_END: 1}, -1 - ngram.square().sum().item())
        near = torch.cat((here + reading({}, GREETING_MARGIN), here + reading({}, GREETING_MARGIN / 2)))
        layer.when(near, ONE, to_slot(Flag.GREETS, torch.tensor([2 / GREETING_MARGIN, -2 / GREETING_MARGIN])))


def _write_bag(layer: Layer, plan: Plan) -> None:
    """Layer 3. Head 1 of a sentence's end sees all tokens with the same ADDRESS, by their weights: a mean for its BAG.

    Other tokens see ends, which give nothing. Means of three flags go with it: opening quotes, words of requests, and
    words that refer to the question before. The MLP turns the first into ASKS_QUOTE at the question's end, the last
    into FOLLOWS. Head 0 sees the sentence's first token: its n-gram of 8
    joins ADDRESS. <|im_start|>, the sink of searches, has none, nor has what the window does not join to that token.
    Nor has the next sentence of an answer that goes on with a quote by three tokens at most and then ends a sentence:
    what it has before it stands nowhere in the document. The MLP measures the rest, for layer 4.
    """
    _look_in_sentence(layer, 1, Flag.LOG_WEIGHT)
    layer.key_flag(END_PAIR, Flag.END, MARK_KEY)
    layer.look_for_mark(1, END_PAIR)
    layer.query_flag(1, END_PAIR, Flag.END, -MARK_SCORE / MARK_KEY)
    # A sentence counts one end, though it goes on over several lines, or behind a quote that has its own.
    layer.look_at_distance(1, Flag.END, 0, 0, END_SCORE)
    layer.value(64, from_slot(BAG))
    layer.output(1, 64, BAG, BAG_GAIN * torch.eye(BAG_SIZE))
    layer.value(0, from_slot(BEFORE))
    eight = orthogonal(CODE, 26) @ plan.wordy_before * ADDRESS_EIGHT
    layer.output(0, 0, ADDRESS, plan.features.addresses @ eight)
    _look_at_first(layer, 0)
    for dim, head, row, flag, size in (
        (152, 1, reading({Flag.REQUEST_WORD: 1}), Flag.REQUEST_WORD, 5.0),
        (153, 1, reading({Flag.QUOTE_OPENS: 1}), Flag.QUOTE, 2.0),
        (154, 1, reading({Flag.END: -1}, 1), Flag.HEFT, 1.0),
        (155, 0, reading({Flag.REQUEST_BEGINS: 1}), Flag.REQUEST_BEGINS, 1.0),
        (156, 0, reading({Flag.AFTER_END: 1, Flag.NO_SPACE: -10}), Flag.BEGINS_ANEW, 1.0),
        (157, 0, reading({Flag.SECOND_QUOTED: 1, Flag.THIRD_QUOTED: 1, Flag.FOURTH_QUOTED: 1}), Flag.BEGINS_SHORT, 1.0),
        (158, 1, reading({Flag.REFERS: 1}), Flag.FOLLOWS, REFERRING_GAIN),
    ):
        layer.value(dim, row)
        layer.output(head, dim, flag, size)
    layer.output(0, 157, Flag.IN_REACH, -1.0)
    _clear(layer, Flag.NO_SPACE)
    layer.when(
        step(reading({Flag.QUOTE: 100}), 0.5, 1.5),
        reading({Flag.IM_END: 1}),
        to_slot(Flag.ASKS_QUOTE, torch.tensor([1.0, -1.0])),
    )
    follows = step(reading({Flag.FOLLOWS: 1}), *LEAST_REFERRING) / (LEAST_REFERRING[1] - LEAST_REFERRING[0])
    layer.when(follows, reading({Flag.IM_END: 1}), to_slot(Flag.FOLLOWS, torch.tensor([1.0, -1.0])))
    _clear(layer, Flag.REFERS, Flag.FOLLOWS)
    nowhere = reading({Flag.IN_REACH: -1}, 1)
    basis = address_basis(plan)
    layer.when(nowhere, from_slot(ADDRESS, basis), to_slot(ADDRESS, -basis.T))
    address = from_slot(ADDRESS, basis)
    layer.units(address * PAIR_GATE, address, to_slot(Flag.LENGTH, torch.full((len(basis),), 2 / PAIR_GATE)))


def _write_sought_ngram(layer: Layer, plan: Plan) -> None:
    """Layer 4. The end of a question with a quote, and the colon of "goes on:", see the quote's end.

    They take its n-gram into SPARE, to look for it. The first token behind that colon takes it into BEFORE, as if it
    stood behind the quote, and into SPARE, for layer 6. The end of a question that refers to the one before gets half
    of that one's address there, any other end half of its own. The MLP clears SPARE elsewhere, and lets short addresses
    grow.
    """
    layer.recency_keys()
    layer.key_flag(WEIGHT_PAIR, Flag.IM_END, MARK_KEY)
    layer.key_flag(WEIGHT_PAIR, Flag.QUOTE_CLOSES, MARK_KEY * LATE_MARK)
    for head, asking in ((0, Flag.ASKS_QUOTE), (0, Flag.ON_COLON), (1, Flag.FIRST_QUOTED)):
        layer.look_near(head, asking)
        layer.look_for_mark(head, WEIGHT_PAIR, asking)
    layer.value(0, from_slot(BEFORE))
    layer.output(0, 0, SPARE, EYE)
    layer.value(64, from_slot(SPARE))
    # Layer 8 adds the same n-gram one token further back, since the colon has it, too.
    layer.output(1, 64, BEFORE, EYE - back(1))
    layer.output(1, 64, SPARE, EYE)
    _look_at_question_before(layer, 1)
    layer.value(128, from_slot(ADDRESS, address_basis(plan)[:HALF]))
    layer.output(1, 128, ASKED_BEFORE, torch.eye(HALF) * BEFORE_SIZE)
    quoting = {Flag.ASKS_QUOTE: -2.0, Flag.ON_COLON: -2.0, Flag.FIRST_QUOTED: -2.0, Flag.IM_END: -2.0}
    layer.when(reading(quoting, 1), from_slot(SPARE), to_slot(SPARE, -EYE))
    layer.when(reading({Flag.LENGTH: -EVENING}, EVENING * EVEN_LENGTH), from_slot(ADDRESS), to_slot(ADDRESS, EYE))


def _look_at_question_before(layer: Layer, head: int) -> None:
    """From <|im_end|> the head sees an earlier one, if the question refers to what was asked before, else itself.

    It is the nearest: that of an answer has the address of its question. Questions that refer to others themselves are
    passed over while there is another in the window. Where a quote is asked for, the head sees nothing.
    """
    layer.offset_keys()
    layer.key_flag(LINE_PAIR, Flag.IM_END, MARK_KEY)
    layer.key_flag(LINE_PAIR, Flag.FOLLOWS, FOLLOWING_ENDS * MARK_KEY)
    for flag, sign in ((Flag.IM_END, 1), (Flag.ASKS_QUOTE, -1)):
        layer.look_near(head, flag, sign * RECENCY_SLOPE)
        layer.query_flag(head, LINE_PAIR, flag, sign * ENDS_SCORE / MARK_KEY)
    layer.look_back(head, 0, NOT_ITSELF, Flag.FOLLOWS)


def _write_voting(layer: Layer, plan: Plan) -> None:
    """Layer 5. Each token sees the places behind the same token, of these the ones with most of its context before.

    The mean of their sentences' addresses is its vote, in VOTES: the rarer a word is in the document, the more its vote
    says. Where a question has a quote, its end sees the place behind the same n-gram instead. A token that stands
    nowhere else sees <|im_start|>, which MISSING tells; the parts of a word are common, so for them it is head 1's word
    that counts, and the less the heavier their vote is. How a question begins does not count. The MLP also sets ASKS at
    the ends of requests, and measures BAG.
    """
    ngrams, tokens = slice(0, CODE), slice(CODE, 2 * CODE)
    # N-grams without the token before, which counts by itself: it is in the way of the one before it. A quote's n-gram
    # has it, so a quote's end looks for it there.
    layer.keys[ngrams] += from_slot(BEFORE) - from_slot(VOTES, back(1) / LAST_UNIT)
    layer.keys[tokens] += from_slot(VOTES)
    same = from_slot(TOKEN) - plan.codes[IM_END][:, None] * reading({Flag.IM_END: 1})
    layer.query(0, tokens, same * (VOTE_SCORE / LAST_UNIT))
    context = from_slot(BEFORE, back(1)) * VOTE_CONTEXT + from_slot(VOTES, back(2)) * (VOTE_BEFORE / LAST_UNIT)
    layer.query(0, ngrams, context + from_slot(SPARE) * QUOTE_SCORE)
    layer.query(0, tokens, from_slot(SPARE, back(1).T) * (QUOTE_SCORE / LAST_UNIT))
    for dim in NO_VOTE_DIMS:
        layer.key_flag(dim, Flag.IM_START, PENALTY_KEY)
        share = NO_VOTE * VOTE_SCORE / len(NO_VOTE_DIMS) / PENALTY_KEY
        layer.query_flag(0, dim, Flag.CONSTANT, share)
        layer.query_flag(0, dim, Flag.ASKS_QUOTE, -share)
    for dim in BARRED_DIMS:
        layer.key_flag(dim, Flag.IM_END, -PENALTY_KEY)
        layer.key_flag(dim, Flag.QUOTE_CLOSES, -PENALTY_KEY)
        layer.query_flag(0, dim, Flag.CONSTANT, BARRED_FROM_VOTES * VOTE_SCORE / len(BARRED_DIMS) / PENALTY_KEY)
        layer.query_flag(0, dim, Flag.ASKS_QUOTE, BARRED_FROM_VOTES * QUOTE_SCORE / len(BARRED_DIMS) / PENALTY_KEY)
    layer.value(0, from_slot(ADDRESS))
    layer.output(0, 0, VOTES, EYE * VOTES_GAIN)
    layer.value(64, reading({Flag.IM_START: 1}))
    layer.output(0, 64, Flag.MISSING, 1.0)
    # Head 1 sees the same token only behind the same one, which the parts of a word need.
    layer.query(1, tokens, same * (VOTE_SCORE / LAST_UNIT))
    layer.query(1, ngrams, from_slot(VOTES, back(2)) * (PART_SCORE / LAST_UNIT / FADING**4))
    for dim in NO_VOTE_DIMS:
        share = (VOTE_SCORE + NO_PART * PART_SCORE) / len(NO_VOTE_DIMS) / PENALTY_KEY
        layer.query_flag(1, dim, Flag.CONSTANT, share)
    for dim in BARRED_DIMS:
        layer.query_flag(1, dim, Flag.CONSTANT, BARRED_FROM_VOTES * VOTE_SCORE / len(BARRED_DIMS) / PENALTY_KEY)
    layer.output(1, 64, Flag.FOUND, 1.0)
    no_part = (Flag.START, Flag.SPECIAL, Flag.FIRST, Flag.SECOND, Flag.THIRD)
    part = reading(dict.fromkeys(no_part, -2.0), 1)
    layer.when(part, reading({Flag.FOUND: 1, Flag.MISSING: -1}), to_slot(Flag.MISSING, torch.tensor([1.0])))
    heavy = reading(dict.fromkeys(no_part, -10.0) | {Flag.VOTE_LOG_WEIGHT: LOG_WEIGHT_UNIT}, -HEAVY_LOG)
    layer.when(heavy, reading({Flag.FOUND: 1}), to_slot(Flag.MISSING, torch.tensor([-HEAVY_LESS])))
    begins = reading({Flag.FIRST: 1, Flag.SECOND: 1, Flag.THIRD: 1})
    layer.when(begins, reading({Flag.MISSING: 1}), to_slot(Flag.MISSING, torch.tensor([-1.0])))
    layer.always(reading({Flag.FOLLOWS: 1}), to_slot(Flag.MISSING, torch.tensor([-FOLLOWING_LENIENCE])))
    _clear(layer, Flag.FOUND, Flag.LENGTH)
    layer.always(reading({Flag.FOLLOWS: 1}), to_slot(Flag.BAG_LENGTH, torch.tensor([FOLLOWING_LENGTH - 1])))
    begins = to_slot(Flag.BEGINS_QUESTION, torch.tensor([-1.0]))
    layer.when(reading({Flag.IM_END: -2}, 1), reading({Flag.BEGINS_QUESTION: 1}), begins)
    # Ten times as steep as others: silu is below 0 before the ramp, and what is below 0 here is found by any question.
    asks = 10 * reading({Flag.REQUEST_BEGINS: 1, Flag.BEGINS_ANEW: 2, Flag.REQUEST_WORD: 20}, -5.3)
    layer.when(asks, reading({Flag.END: 1}), to_slot(Flag.ASKS, torch.tensor([0.2])))
    bag = from_slot(BAG) / UNEVEN_BAG
    squares = torch.full((BAG_SIZE,), 2 / PAIR_GATE / BAG_LENGTH / LENGTH_UNIT)
    layer.units(bag * PAIR_GATE, bag, to_slot(Flag.BAG_LENGTH, squares))


def _write_counting(layer: Layer, plan: Plan) -> None:
    """Layer 6. Head 0 of a question's end sees its tokens, as for BAG: their votes are added up in VOTES.

    If it has a quote, it sees itself only. Head 1 does the same with the question that it refers to, if there is one.
    From other tokens it sees the sentence's fifth token: of its address a mark is made, nine
    numbers, which join ADDRESS where no address has any. The first four tokens see that of the sentence before, so what
    follows a sentence has its mark. The third and the fourth token behind "goes on:" see the first, and take the n-gram
    of the quote's end into BEFORE, two and three tokens further back. The MLP clears SPARE but where a quote is asked
    for, and lets BAG grow at ends, the shorter it is the more. What other tokens have there, which may be much like a
    question's, stays small.
    """
    layer.recency_keys()
    _look_in_sentence(layer, 0, Flag.VOTE_LOG_WEIGHT)
    layer.key_flag(END_PAIR, Flag.IM_END, MARK_KEY)
    layer.look_for_mark(0, END_PAIR, Flag.ASKS_QUOTE)
    layer.look_near(0, Flag.ASKS_QUOTE)
    layer.value(0, from_slot(VOTES))
    layer.output(0, 0, VOTES, EYE * ASKED_SHARE * (1 - BEFORE_SHARE))
    layer.output(1, 0, VOTES, EYE * ASKED_SHARE * BEFORE_SHARE)
    layer.value(128, reading({Flag.MISSING: 1}))
    layer.output(0, 128, Flag.MISSING, ASKED_SHARE * STRICTER)
    layer.look_near(1)
    layer.key_flag(FIRST_PAIR, Flag.FIFTH, MARK_KEY)
    for flag in (Flag.IM_END, Flag.ON_COLON):  # They have a SPARE, which head 1 is to bring from FIRST_QUOTED only.
        layer.key_flag(FIRST_PAIR, flag, -MARK_KEY)
    layer.look_for_mark(1, FIRST_PAIR)
    _look_in_question_before(layer, plan, 1)
    marks = room_for_marks(plan)
    layer.value(129, from_slot(ADDRESS, marks @ orthogonal(CODE, 24) * MARK_SIZE))
    layer.output(1, 129, ADDRESS, marks.T)
    layer.key_flag(LINE_PAIR, Flag.FIRST_QUOTED, MARK_KEY)
    layer.value(64, from_slot(SPARE))
    for head, asking, tokens in ((0, Flag.FOURTH_QUOTED, 3), (1, Flag.THIRD_QUOTED, 2)):
        for _ in range(2):  # More than any other mark.
            layer.look_for_mark(head, LINE_PAIR, asking)
        layer.output(head, 64, BEFORE, back(tokens))
    _clear_spare(layer, slice(0, SPARE_CLEARED))
    grows = {Flag.BAG_LENGTH: -EVEN_SLOPE * LENGTH_UNIT, Flag.END: NO_BAG, Flag.ASKS_QUOTE: -NO_BAG}
    ramp = reading(grows, EVEN_MOST - NO_BAG)
    layer.when(ramp, from_slot(BAG), to_slot(BAG, torch.eye(BAG_SIZE) / EVEN_LEAST))
    _clear(layer, Flag.BAG_LENGTH)


def _look_in_question_before(layer: Layer, plan: Plan, head: int) -> None:
    """From a question's end the head sees the tokens of the question that ASKED_BEFORE has the address of.

    Other tokens have nothing there: what they look for with this head stays, and is taken from question ends.
    """
    layer.look_near(head, Flag.IM_END, -RECENCY_SLOPE)
    layer.look_near(head, Flag.ASKS_QUOTE)
    layer.query_flag(head, FIRST_PAIR, Flag.IM_END, -MARK_SCORE / MARK_KEY)
    layer.look_for_mark(head, END_PAIR, Flag.ASKS_QUOTE)
    layer.query_flag(head, WEIGHT_PAIR, Flag.IM_END, LOG_WEIGHT_UNIT)
    address = from_slot(ASKED_BEFORE, address_basis(plan)[:HALF].T) * (2 * ADDRESS_SCORE / BEFORE_SIZE)
    for dims, part in ADDRESS_PARTS:
        layer.query(head, dims, address[part])


def _clear(layer: Layer, *flags: Flag) -> None:
    """Set flags to 0, but for about a hundredth."""
    for flag in flags:
        layer.always(reading({flag: 1}), to_slot(flag, torch.tensor([-1.0])))


def _clear_spare(layer: Layer, part: slice) -> None:
    """Clear a part of SPARE but where a quote is asked for. Two layers share that: neither has units for all of it."""
    elsewhere = reading({Flag.IM_END: -2, Flag.ON_COLON: -2}, 1)
    layer.when(elsewhere, from_slot(SPARE)[part], to_slot(SPARE, -EYE[:, part]))


def _write_search(layer: Layer, plan: Plan) -> None:
    """Layer 7. A question's end sees the end of the sentence that has most votes and whose BAG matches best.

    Its address goes to the first part of BAG. Head 1, which listens to the votes less, tells whether there is any:
    for it <|im_start|>, the sink, scores as much as a match at the threshold, which is the higher the more of the
    question's words stand nowhere, and FOUND tells how much went elsewhere. The MLP makes a clear HIT of it.
    """
    features = plan.features
    sharpness = SHARPER * features.sharpness.item()
    addresses, bags = slice(0, CODE), slice(CODE, CODE + BAG_SIZE)
    layer.keys[addresses] += from_slot(ADDRESS)
    layer.keys[bags] += from_slot(BAG)
    missing = features.missing_threshold.item()
    least = from_slot(BAG, features.bag_threshold[None] / BAG_STORED) + reading(
        {Flag.HEFT: features.heft_threshold.item(), Flag.MISSING: missing},
        features.threshold.item() - missing - LENIENCE,
    )
    for head, metric, votes in (
        (0, features.metric, features.search_votes.item()),
        (1, features.decision_metric, features.decision_votes.item()),
    ):
        layer.query(head, addresses, from_slot(VOTES) * (votes * sharpness / VOTES_GAIN / ADDRESS_LENGTH))
        layer.query(head, bags, from_slot(BAG, metric.T) * (sharpness / BAG_STORED**2))
        for dim in ENDS_ONLY:
            layer.query_flag(head, dim, Flag.CONSTANT, NO_END_SCORE / len(ENDS_ONLY) / PENALTY_KEY)
            # Where a quote is asked for, the vote is all: a sentence longer than the window has no such end.
            layer.query_flag(head, dim, Flag.ASKS_QUOTE, -NO_END_SCORE / len(ENDS_ONLY) / PENALTY_KEY)
        for dim in BARRED:
            layer.query_flag(head, dim, Flag.CONSTANT, BARRED_SCORE / len(BARRED) / PENALTY_KEY)
    for dim in THRESHOLD_DIMS:
        layer.query_flag(
            0,
            dim,
            Flag.ASKS_QUOTE,
            LEAST_QUOTE_VOTE * features.search_votes.item() * sharpness / len(THRESHOLD_DIMS) / PENALTY_KEY,
        )
        layer.key_flag(dim, Flag.IM_START, PENALTY_KEY)
        layer.query(1, dim, least * (sharpness / PENALTY_KEY / len(THRESHOLD_DIMS)))
    for dim in ENDS_ONLY:
        layer.key_flag(dim, Flag.CONSTANT, -PENALTY_KEY)
        layer.key_flag(dim, Flag.END, PENALTY_KEY)
        layer.key_flag(dim, Flag.IM_START, PENALTY_KEY)
    for dim in BARRED:
        layer.key_flag(dim, Flag.IM_END, -PENALTY_KEY)
        layer.key_flag(dim, Flag.ASKS, -PENALTY_KEY)
    layer.value(0, from_slot(ADDRESS))
    layer.output(0, 0, FOUND_ADDRESS, EYE * FOUND_GAIN)
    layer.value(64, reading({Flag.IM_START: -1}, 1))
    layer.output(1, 64, Flag.FOUND, 1.0)
    layer.value(65, reading({Flag.BEGINS_ANEW: 1}))
    layer.output(0, 65, Flag.NEEDS_SPACE, 1.0)
    # The mean of the addresses at every other place is noise. A quote may go on beyond the window.
    columns = torch.cat(
        (
            to_slot(BAG, -torch.eye(BAG_SIZE)),
            *(to_slot(flag, torch.tensor([-1.0])) for flag in (Flag.FOUND, Flag.NEEDS_SPACE)),
        ),
        dim=1,
    )
    elsewhere = reading({Flag.IM_END: -2, Flag.ASKS_QUOTE: 1 + QUOTE_LOOSE}, 1)
    layer.when(
        elsewhere, torch.cat((from_slot(BAG), reading({Flag.FOUND: 1}), reading({Flag.NEEDS_SPACE: 1}))), columns
    )
    _clear_spare(layer, slice(SPARE_CLEARED, CODE))
    _clear(layer, Flag.FOURTH_QUOTED, Flag.BAG_LENGTH)  # Of a great length, layer 6 leaves a hundredth.
    # One of these flags at a time is enough: in a sentence of two tokens, they meet. Its end counts most.
    for flag in (Flag.SECOND, Flag.THIRD):
        layer.when(reading({Flag.LEAVES: 1, flag: 1}, -1), ONE, to_slot(flag, torch.tensor([-1.0])))
    # Layer 8 adds them up: one is enough.
    known = reading(dict.fromkeys((*NEXT_SENTENCE, Flag.BEGINS_SHORT), 1.0))
    layer.when(step(known, 1.3, 1.7), ONE, to_slot(Flag.BEGINS_SHORT, torch.tensor([-2.5, 2.5])))
    several = reading({Flag.FIRST: 1, Flag.SECOND: 1, Flag.THIRD: 1}, -1)
    layer.when(several, ONE, to_slot(Flag.LEAVES, torch.tensor([-1.0])))
    layer.when(
        step(reading({Flag.FOUND: 40}), 19.9, 20.1),
        reading({Flag.IM_END: 1}),
        to_slot(Flag.HIT, torch.tensor([5.0, -5.0])),
    )


def _write_handing_on(layer: Layer) -> None:
    """Layer 8. The answer's tokens see the question's end: its address and flags go to BAG and FLAGS.

    The second token behind "goes on:" takes the n-gram of the quote's end into BEFORE, one token further back. Any
    other token sees the one before, whose code goes to LAST; FIRST of it tells a sentence's second token, also behind a
    quotation mark, which SECOND does not.
    """
    layer.offset_keys()
    layer.recency_keys()
    layer.look_back(1, 1, SOFT_OFFSET_SCORE)
    layer.key_flag(FIRST_PAIR, Flag.IM_END, MARK_KEY)
    for head, asking in ((0, Flag.CONSTANT), (1, Flag.SECOND_QUOTED)):
        layer.look_near(head, asking)
        layer.look_for_mark(head, FIRST_PAIR, asking)
    layer.value(0, from_slot(FOUND_ADDRESS))
    layer.output(0, 0, FOUND_ADDRESS, EYE)
    for dim, read, written in (
        (128, Flag.GREETS, Flag.GREETS),
        (129, Flag.ASKS_QUOTE, Flag.QUOTE),
        (130, Flag.HIT, Flag.HIT),
        (131, Flag.IM_END, Flag.ANSWER),
        (132, Flag.NEEDS_SPACE, Flag.NEEDS_SPACE),
    ):
        layer.value(dim, reading({read: 1}))
        layer.output(0, dim, written, 1.0)
    layer.value(133, reading({Flag.FIRST: 1}))
    layer.output(1, 133, Flag.BEHIND_FIRST, 1.0)
    layer.value(64, from_slot(SPARE))
    layer.output(1, 64, BEFORE, back(1))
    layer.value(136, from_slot(TOKEN, SHORT_CODE))
    layer.output(1, 136, LAST, torch.eye(len(SHORT_CODE)))


def _write_copying(layer: Layer, plan: Plan) -> None:
    """Layer 9. Head 0 sees the place behind the same n-gram in the sentence that was found. Its token goes to TOKEN.

    Behind "says:" it prefers a sentence's first token, then the second and the third. It copies nothing from
    answers and, behind "goes on:", not the closing quote of the question. Head 1, which does without the address, sees
    whether the document's sentence ends here. The MLP adds the set phrases of SPARE, and ends the answer.
    """
    scale = math.sqrt(COPY_SCALE)
    basis = address_basis(plan)
    ngrams, addresses, last = slice(0, CODE), slice(CODE, 2 * CODE), slice(HEAD_DIM - len(SHORT_CODE), HEAD_DIM)
    layer.keys[ngrams] += from_slot(BEFORE) * scale
    layer.keys[addresses] += from_slot(ADDRESS) * scale
    layer.keys[last] += from_slot(LAST) * scale
    layer.query(0, last, from_slot(TOKEN, SHORT_CODE) * (COPY_AGAIN * scale))
    # The query's n-gram is that before the next token: the token itself, and those before it one further back.
    turned = COPY_BEFORE * back(1)
    ngram = (
        from_slot(TOKEN, turned) * COPY_TOKEN + from_slot(BEFORE, turned) + from_slot(SPARE) * COPY_BEFORE * COPY_SPARE
    )
    for head in (0, 1):
        layer.query(head, ngrams, ngram * scale)
    # An answer's own mark does not count: at its beginning, it is that of the question's sentence.
    address = from_slot(FOUND_ADDRESS) / FOUND_GAIN + from_slot(ADDRESS, basis.T @ basis)
    layer.query(0, addresses, address * (COPY_ADDRESS * scale))
    marks = (
        (Flag.FIRST, reading({Flag.SAYS_COLON: COPY_FIRST})),
        (Flag.BEHIND_FIRST, reading({Flag.FIRST_SAID: COPY_NEXT})),
        (Flag.THIRD, reading({Flag.SECOND_SAID: COPY_NEXT})),
        (Flag.ANSWER, reading({}, -COPY_ANSWER)),
        (Flag.QUOTE_CLOSES, reading({Flag.ON_COLON: -COPY_NO_QUOTE})),
    )
    for dim, (flag, wish) in enumerate(marks, 2 * CODE):
        layer.key_flag(dim, flag, scale)
        layer.query(0, dim, wish * scale)
        if flag is Flag.ANSWER:
            layer.query(1, dim, wish * scale)
    layer.value(0, from_slot(TOKEN))
    layer.output(0, 0, TOKEN, EYE * COPY_GAIN)
    layer.value(CODE, reading({Flag.FIRST: 1, Flag.NEW_LINE: 1, Flag.IM_END: 1}))
    layer.output(1, CODE, Flag.ENDS_THERE, 1.0)
    layer.always(from_slot(SPARE), to_slot(TOKEN, EYE))
    write_stop(layer, plan)


def _new_model() -> SmolLM3ForCausalLM:
    config: Any = SmolLM3Config(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=UNITS,
        num_hidden_layers=len(LAYERS),
        num_attention_heads=HEADS,
        num_key_value_heads=1,
        max_position_embeddings=MILLION,
        rope_parameters={"rope_type": "default", "rope_theta": THETA},
        no_rope_layers=[int(kind == "S") for kind in LAYERS],
        layer_types=["sliding_attention" if kind == "S" else "full_attention" for kind in LAYERS],
        use_sliding_window=True,
        sliding_window=WINDOW,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        bos_token_id=IM_START,
        eos_token_id=IM_END,
    )
    config.head_dim = HEAD_DIM  # The model asks for it, though the class of its config has no such field.
    model: SmolLM3ForCausalLM = SmolLM3ForCausalLM(config).float()
    return model


def design(tokenizer: Tokenizer, features: Features, sample: list[int]) -> SmolLM3ForCausalLM:
    """The model, in float32. sample: token ids of a prompt, by which the norms are calibrated."""
    with torch.no_grad():
        plan = make_plan(tokenizer, features)
        model = _new_model()
        core: Any = model.model
        core.embed_tokens.weight.copy_(embedding(tokenizer, plan.codes, features))
        model.tie_weights()
        layers = [Layer(layer) for layer in core.layers]
        _write_neighbours(layers[0], plan)
        _write_sentence_start(layers[1], plan)
        _write_context(layers[2], plan)
        _write_bag(layers[3], plan)
        _write_sought_ngram(layers[4], plan)
        _write_voting(layers[5], plan)
        _write_counting(layers[6], plan)
        _write_search(layers[7], plan)
        _write_handing_on(layers[8])
        _write_copying(layers[9], plan)
        core.norm.weight.zero_()
        core.norm.weight[TOKEN] = OUT_GAIN
        _calibrate(model, sample)
        write_phrases(model, layers[8], plan)
    return model


def _calibrate(model: SmolLM3ForCausalLM, sample: Sequence[int]) -> None:
    """Give each norm the weight that undoes it, by the root mean square that its input has in the sample.

    In one forward, since what a norm lets through changes the inputs of those above: each has its weight before it is
    called.
    """
    layers: Any = model.model.layers
    norms = [norm for layer in layers for norm in (layer.input_layernorm, layer.post_attention_layernorm)]

    def fit(norm: Any, inputs: tuple[Tensor, ...]) -> None:
        norm.weight.fill_(inputs[0].square().mean(-1).sqrt().mean().item())

    hooks = [norm.register_forward_pre_hook(fit) for norm in norms]
    model(torch.tensor([list(sample)]))
    for hook in hooks:
        hook.remove()
