"""The weights of the built-in model, written by hand: circuits that look things up in a document.

A question ends with <|im_end|>; what it asks for stands in one sentence of a document of up to a million tokens.
Sliding layers, which have rotary positions (https://arxiv.org/abs/2104.09864), make codes from the last tokens. Full
layers have no positions: they find by content alone, one key among all. Copying is that of induction heads
(https://arxiv.org/abs/2209.11895): a token looks for the place behind the same n-gram, and says what stands there. The
MLPs are SwiGLU (https://arxiv.org/abs/2002.05202): a steep gate makes a unit a condition.

The residual stream has slots:

    TOKEN    64   the token's code; at the end, that of the token to say
    BEFORE   64   an n-gram: the sum of the codes of the tokens before, each turned and faded by how far back it is
    SPARE    64   at a question's end, the n-gram that its quote ends in; in answers, the next token of a set phrase
    ADDRESS  64   a code of the sentence, from how it begins and what stands before; all of its tokens have the same
    VOTES    64   the code of the token before; then, of question words, the addresses of sentences that have them
    BAG      88   what a token gives to bags; at a sentence's end, the mean of the sentence's words and word pairs; from
                  layer 7 on, the address that is asked for, and a short code of the token before
    FLAGS    40   one number each, see `Flag`

and layers write them:

    0 sliding   BEFORE of 2 tokens, word pairs, which tokens are a sentence's first ones
    1 sliding   BEFORE of 4 tokens, ADDRESS from the sentence's first token
    2 sliding   BEFORE of 8 tokens, ADDRESS from more of what stands before the sentence
    3 sliding   BAG, ADDRESS once more, whether the question has a quote
    4 sliding   SPARE = the n-gram that a quote ends in; addresses of about the same length
    5 full      VOTES: each token sees where else it stands in the document, a quote's end sees where the quote stands;
                which words stand nowhere else, and which sentences ask
    6 sliding   VOTES of the question's words are added up at its end; ADDRESS from the sentence's first four tokens
    7 full      BAG = the address of the sentence that has most votes and the likest bag; whether there is any
    8 sliding   the address and flags go from the question's end to the answer's tokens; SPARE = set phrases
    9 full      TOKEN = the token behind the same n-gram in the sentence of that address

In an answer, what was copied has the address that it has in the document: so a quote finds its way through the second
sentence and those after it.

The last norm lets only TOKEN through, and the embedding is tied, so the logits are its likeness to the codes of the
vocabulary. All normalization is near the identity: a large constant in the residual stream gives every token about the
same norm, and the norms' weights undo what is left (`_calibrate`). Some numbers are learned: see `Features`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import torch
from demo_data import split_words
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import silu
from transformers import SmolLM3Config, SmolLM3ForCausalLM

VOCABULARY: Final = 4096
HIDDEN: Final = 448
HEADS: Final = 2
HEAD_DIM: Final = 160
UNITS: Final = 128
"""Of each MLP."""
WINDOW: Final = 96
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
    IM_START = 414
    AFTER_END = 415  # behind a sentence's end; 2 behind a line break
    FIRST = 416  # a sentence's first token
    FOUND = 417  # in layer 5: MISSING as head 1 sees it; then how sure layer 7 is that something was found
    QUOTE = 418  # layer 3: how many quotes are opened, as a mean; layer 8: the answer goes on with a quote
    HIT = 419  # the document has what is asked for
    COLON = 420
    QUOTE_OPENS = 421
    QUOTE_CLOSES = 422
    ASKS = 423  # ends a question
    NEW_LINE = 424
    AFTER_END_2 = 425  # AFTER_END of the token before; 3 more behind a closing quote
    ASKS_QUOTE = 426  # at a question's end: it has a quote
    ON_COLON = 427  # the colon of "goes on:"
    ANSWER = 428  # inside an answer
    REQUEST_BEGINS = 429  # a word that begins a request, then: such a word begins the sentence
    REQUEST_WORD = 430  # a word that requests have, then: a mean of these
    BEGINS_ANEW = 431  # AFTER_END of the sentence's first token
    FIRST_OF_LINE = 432
    IN_REACH = 432  # from layer 2 on: the sentence's first token is in the window
    GREETS = 433  # at a question's end: it greets
    FIRST_QUOTED = 434  # the first token behind "goes on:"
    SECOND_QUOTED = 435
    AFTER_QUOTE = 436  # behind a closing quote, up to two tokens
    SAYS_COLON = 437  # the colon of "says:", or a space behind it
    FIRST_SAID = 438  # the first token behind "says:"
    SECOND_SAID = 439
    BEFORE_BEGINS = 440  # in layer 0: the token before may begin a sentence
    LEAVES = 440  # then: what follows is the next sentence
    SECOND = 441  # a sentence's second token
    THIRD = 442
    FIFTH = 443
    HEFT = 444  # what a question weighs beside its end, as a share
    VOTE_LOG_WEIGHT = 445  # how much the token's votes count, like LOG_WEIGHT
    LENGTH = 446  # in layer 4: the squared length of ADDRESS
    LINE = 446  # from layer 7 on, of the sentence that was found: 2 if it begins a line, else 1
    MISSING = 447  # how far the token stands nowhere else; at a question's end, 1 and the mean of its tokens


# ------------------------------------------------------------------------------------------------------- the constants

CONSTANT_SIZE: Final = 32.0
"""The constant in the residual stream. Most of every token's norm, so that norms hardly depend on the rest."""
FADING: Final = 0.85
"""What is left of a token's code in an n-gram with each token further back."""
STEEP: Final = 20.0
"""By how much gates are multiplied: silu is then a ramp, and a condition a step."""
LOG_WEIGHT_UNIT: Final = 4.0
"""The residual stream has log weights divided by this."""
LEAST_LOG_WEIGHT: Final = -8.0
"""That of tokens that do not count."""
SHARED_CODE: Final = 0.75
OWN_CODE: Final = 0.66
"""What variants of a word have in common, by space and capitals, and what only the token has."""
TOO_SIMILAR: Final = 0.42
"""Codes of different words are pushed apart above this cosine."""
VARIANTS: Final = 0.5
"""Above it are the forms of one word, which may be similar."""

OFFSET_PAIRS: Final = range(17)
"""The fast rotary pairs, which tell one place from the next."""
RECENCY_PAIRS: Final = (24, 25, 26)
"""Those that turn by less than half a round in the window: together, nearly a line."""
FIRST_PAIR: Final = 33
WEIGHT_PAIR: Final = 34
LINE_PAIR: Final = 35
END_PAIR: Final = 36
"""Slow pairs for flags. In the window they hardly turn, so they match content."""
CONTENT_PAIRS: Final = range(48, 80)
"""The slowest ones hold an address: half of it in the first dimension of each pair, half in the second."""
OFFSET_KEY: Final = 4.0
OFFSET_SCORE: Final = 100.0
SOFT_OFFSET_SCORE: Final = 8.0
"""Size in the keys, and score, of each pair at the right offset; and where a mark may be worth more."""
RECENCY_KEY: Final = 5.0
RECENCY_SLOPE: Final = 2.0
"""Size in the keys, and how much more each token nearer scores."""
MARK_KEY: Final = 6.0
MARK_SCORE: Final = 260.0
"""Size in the keys, and score, of a token with a flag. More than recency gives in a whole window."""
LATE_MARK: Final = 1.08
"""A quote's end is by this the better mark: it makes up for ten tokens by which <|im_end|> is nearer."""

HEAVIEST: Final = 9.0
LIGHTEST: Final = 0.3
WEIGHT_POWER: Final = 2.0
"""A token's rarity is cut to these, divided by the first, and taken to the power."""
END_WEIGHT: Final = 10.0
REQUEST_WEIGHT: Final = 0.1
"""Weight of a sentence's end in its bag, where it stands for nothing, and the least one of words of requests."""
ADDRESS_FIRST: Final = 1.0
ADDRESS_TOKEN: Final = 0.6
ADDRESS_NEXT: Final = 0.8
ADDRESS_EIGHT: Final = 0.7
ADDRESS_FOUR: Final = 0.12
"""Parts of an address: the n-gram before the sentence's first token, that token, the wider n-grams of four and eight,
and the one before the fifth token."""
ADDRESS_SCORE: Final = 30.0
"""Of two addresses that are alike, for bags: only tokens of the same sentence count."""
BAG_GAIN: Final = 5.0
"""Of the mean in BAG."""
BAG_UNIT: Final = 0.4
BAG_STORED: Final = 0.4
"""Size of a token's part, and of the mean, in the residual stream. Small, for a question's bag stays in the way."""
END_LOG: Final = 2.0
"""Log weights above it are of sentence ends: they give no heft."""
PAIRS: Final = 88
"""Units that make word pairs."""
PAIR_GATE: Final = 0.2
"""Size of the gates of word pairs. Small: there silu is near x/2, and the unit a product."""
PAIR_NORM: Final = 8.0
"""The root of 64: it undoes the growth by random gates."""

FIRST_SHARPNESS: Final = 135.0
FIRST_THRESHOLD: Final = 0.062
"""Where the learning of `Features` begins."""
VOTE_SCORE: Final = 45.0
VOTE_CONTEXT: Final = 5.0
"""Scores of a token that is the same as a question's, and of the n-gram before both."""
NO_VOTE: Final = 0.7
"""Of the score of the same token: where <|im_start|> takes the votes of a token that is nowhere."""
PART_SCORE: Final = 30.0
NO_PART: Final = 0.42
"""Score of the token before that of a part of a word, and the share of it where <|im_start|> takes its place."""
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
VOTES_IN_SEARCH: Final = 6.0
VOTES_IN_DECISION: Final = 1.5
"""What a vote of all of a question's tokens counts beside the likeness of two bags: which sentence, and whether any."""
THRESHOLD_SHARE: Final = 0.8
LEAST_VOTES: Final = 0.2
MISSING_WORDS: Final = 4.5
"""What counts of the learned threshold; what is added to it, since votes are added to the likeness; and what if no word
of a question stands in the document, in proportion."""
LEAST_QUOTE_VOTE: Final = 9.0
"""Below it a quote stands further from its sentence's first token than the window, and has no address."""
QUOTE_LOOSE: Final = 0.4
"""The share of the address that does not bind quotes."""
RAREST: Final = 6.5
COMMON: Final = 4.5
"""Tokens whose rarity, a logarithm, is above the first vote with weight 1, below the second not at all."""

ADDRESS_LENGTH: Final = 2.5
"""The squared length of an address, about."""
EVEN_LENGTH: Final = 2.46
EVENING: Final = 0.333
"""Addresses of less than this squared length grow, by this times what is missing: else long ones win more votes."""
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
SHARPER: Final = 8.0
"""By how much layer 7 is sharper than learned: one sentence wins, addresses do not mix."""
FOUND_GAIN: Final = 4.0
"""Of the address that was found, over what else is in its place: the question's bag."""

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
COPY_NEXT: Final = 2.0
COPY_ANSWER: Final = 12.0
COPY_NO_QUOTE: Final = 4.0
"""Weights of the address, of a sentence's first token behind "says:", of its second and third behind that, and against
answers, which nothing is copied from, and closing quotes."""
COPY_GAIN: Final = 8.0
OUT_GAIN: Final = 3.0
"""Of the copied token's code, and of the last norm."""

PHRASE_GAIN: Final = 24.0
STOP_GAIN: Final = 40.0
"""Of the code of a set phrase's next token, and of <|im_end|> behind the sentence."""
PHRASE_MARGIN: Final = 0.9
"""By how much a phrase's n-gram may be missed, in squared length."""
GREETING_MARGIN: Final = 0.6
"""Less than the share of an n-gram's last token, so that another word is no greeting."""
FIRST_MARGIN: Final = 0.35
SECOND_MARGIN: Final = 0.3
"""The same for "goes on:" before the first and the second token of a quote's answer."""

REQUEST_BEGINNINGS: Final = split_words("I|Tell|Give|Find|Look|Show|Name|Say|Search|List|Please|Let|Help|Quote")
"""Only the first token of each is marked. Most are a capital alone ("T"): other words that begin with it are, too."""
GREETINGS: Final = split_words(
    "hello|Hello|hello!|Hello!|hi|Hi|hi!|Hi!|hey|Hey|thanks|Thanks|thank you|Thank you|good morning|Good morning|"
    "help|Help|who are you?|Who are you?|what can you do?|what can you do|how are you?"
)
"""Questions that are nothing but this. At most seven tokens each, since n-grams have eight."""
REQUEST_WORDS: Final = split_words(
    "like|know|tell|give|find|look|show|me|want|wonder|ask|search|please|looking|need|wish|must"
)
FRAMING_WORDS: Final = split_words(
    "according|answer|anything|archive|belong|called|could|describe|described|detail|details|document|exactly|happen|happened|"
    "information|mention|mentioned|named|question|should|something|text|would"
)
"""Words that frame a question. A document need not have them, and they tell little of where its answer stands."""
REQUEST_VERBS: Final = split_words("Tell|Give|Find|Look|Show|Name|Say|Search|List|Please|Quote")


@dataclass(frozen=True)
class Features:
    """What is learned: of which words, and pairs of words, a sentence's bag is made, and when two bags match.

    A token gives its row of `tokens` and `pairs` @ pair features to the bag, with weight exp(log_weights). Pair
    features: silu(gates @ code) * (values @ n-gram of the two tokens before), with those of `pair_units`. The score of
    a question's bag q and a sentence's bag k is q @ metric @ k. It is a match above `threshold` + `heft_threshold` *
    heft + `bag_threshold` @ q, where heft is what a question weighs beside its end. `sharpness` multiplies scores in
    the softmax.
    """

    log_weights: Tensor  # (vocab,)
    vote_log_weights: Tensor  # (vocab,)
    tokens: Tensor  # (vocab, 88)
    pairs: Tensor  # (88, 88)
    pair_gates: Tensor  # (88, 64)
    pair_values: Tensor  # (88, 64)
    metric: Tensor  # (88, 88)
    bag_threshold: Tensor  # (88,)
    threshold: Tensor  # ()
    heft_threshold: Tensor  # ()
    sharpness: Tensor  # ()


def new_features(tokenizer: Tokenizer, counts: Tensor) -> Features:
    """The start of learning: random features, all of the same length.

    counts (vocab,): how often texts have each token.
    """
    tokens = _token_vectors(tokenizer, BAG_SIZE, 32)
    tokens[_silent_tokens(tokenizer)] = 0
    gates, values = (torch.randn(PAIRS, CODE, generator=_generator(seed)) for seed in (11, 12))
    return Features(
        first_log_weights(tokenizer, counts),
        vote_log_weights(tokenizer, counts),
        tokens,
        _orthogonal(BAG_SIZE, 31)[:, :PAIRS],
        gates,
        values,
        torch.eye(BAG_SIZE),
        torch.zeros(BAG_SIZE),
        torch.tensor(FIRST_THRESHOLD),
        torch.tensor(0.0),
        torch.tensor(FIRST_SHARPNESS),
    )


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _orthogonal(size: int, seed: int) -> Tensor:
    square = torch.randn(size, size, generator=_generator(seed), dtype=torch.float64)
    basis: Tensor = torch.linalg.qr(square)[0]
    return basis.float()


SHORT_CODE: Final = _orthogonal(CODE, 25)[: LAST.stop - LAST.start] * math.sqrt(CODE / (LAST.stop - LAST.start))
"""Makes a shorter code of about the same length of a token's code."""
TURN: Final = _orthogonal(CODE, 1)
"""Turns the code of a token before, so that an n-gram knows the order of its tokens."""


def back(tokens: int) -> Tensor:
    """What n-grams do with the code of the token that many places back: it is turned and fades."""
    turned: Tensor = torch.linalg.matrix_power(TURN.double(), tokens)
    return FADING**tokens * turned.float()


# ---------------------------------------------------------------------------------------------------------- the tokens


def token_texts(tokenizer: Tokenizer) -> list[str]:
    """What each token of the vocabulary stands for; the special ones, which come first, for nothing."""
    return [tokenizer.decode([i], skip_special_tokens=False) if i > IM_END else "" for i in range(VOCABULARY)]


def sentence_ends(tokenizer: Tokenizer) -> list[int]:
    """Tokens that end a sentence: with a line break, or a full stop that may stand inside brackets and quotes."""
    return [
        index
        for index, text in enumerate(token_texts(tokenizer))
        if "\n" in text or text.strip(" \"”’')*_").endswith((".", "?", "!"))
    ]


def _id(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ValueError(f"the vocabulary lacks {token!r}")
    return int(found)


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text, without any that a template adds."""
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def _has_letters(text: str) -> bool:
    return any(character.isalnum() for character in text)


def token_codes(tokenizer: Tokenizer) -> Tensor:
    """Random unit vectors (vocab, 64); variants of a word by space and capitals are similar, other tokens are not."""
    return _spread(_token_vectors(tokenizer, CODE, 2))


def _token_vectors(tokenizer: Tokenizer, size: int, seed: int) -> Tensor:
    generator = _generator(seed)
    own = torch.randn(VOCABULARY, size, generator=generator)
    own /= own.norm(dim=1, keepdim=True)
    shared: dict[str, Tensor] = {}
    vectors = torch.empty(VOCABULARY, size)
    for index, text in enumerate(token_texts(tokenizer)):
        # A part of a character has no text of its own.
        word = f"#{index}" if "\ufffd" in text else text.strip().lower() or text
        if word not in shared:
            drawn = torch.randn(size, generator=generator)
            shared[word] = drawn / drawn.norm()
        vectors[index] = SHARED_CODE * shared[word] + OWN_CODE * own[index]
    return vectors / vectors.norm(dim=1, keepdim=True)


def _spread(codes: Tensor) -> Tensor:
    """Push apart the codes of different words that are too similar. Only pairs that are nearly so are followed."""
    likeness = codes @ codes.T
    one, other = ((likeness > TOO_SIMILAR - 0.1) & (likeness < VARIANTS)).nonzero(as_tuple=True)
    for _ in range(60):
        excess = ((codes[one] * codes[other]).sum(1) - TOO_SIMILAR).clamp(min=0)
        codes = codes - 0.25 * torch.zeros_like(codes).index_add(0, one, excess[:, None] * codes[other])
        codes = codes / codes.norm(dim=1, keepdim=True)
    return codes


def fixed_tokens(tokenizer: Tokenizer) -> Tensor:
    """Which tokens' weights are not learned (vocab,): special ones, marks, words of requests."""
    fixed = [index <= IM_END or not _has_letters(text) for index, text in enumerate(token_texts(tokenizer))]
    found = torch.tensor(fixed)
    found[_request_tokens(tokenizer)] = True
    return found


def _silent_tokens(tokenizer: Tokenizer) -> list[int]:
    """Tokens that say nothing of what a sentence is about: its ends and quotation marks."""
    return [IM_START, IM_END, _id(tokenizer, 'Ġ"'), _id(tokenizer, '"'), *sentence_ends(tokenizer)]


def wordy(tokenizer: Tokenizer, codes: Tensor) -> Tensor:
    """Takes from a code what it shares with tokens that say nothing (64, 64)."""
    return _without(codes[_silent_tokens(tokenizer)])


def _without(directions: Tensor) -> Tensor:
    """The projection that takes these directions (n, 64) away."""
    basis: Tensor = torch.linalg.qr(directions.T)[0]
    return torch.eye(CODE) - basis @ basis.T


def pair_units(gates: Tensor, values: Tensor, wordy: Tensor) -> tuple[Tensor, Tensor]:
    """The gates and values (88, 64) of the units that make word pairs, from those of `Features`."""
    return gates @ wordy * PAIR_GATE, values * 2 / PAIR_GATE / PAIR_NORM


def _request_tokens(tokenizer: Tokenizer) -> list[int]:
    """Words of requests. Inside a sentence, only those that are one token."""
    inside = [tokenizer.encode(f" {word}").ids for word in REQUEST_WORDS]
    return [ids[0] for ids in inside if len(ids) == 1] + [tokenizer.encode(word).ids[0] for word in REQUEST_VERBS]


def first_log_weights(tokenizer: Tokenizer, counts: Tensor) -> Tensor:
    """Where the learning of the weights (vocab,) begins: the rarer a token, the more it counts.

    counts (vocab,): how often texts have each token.
    """
    rarity = torch.log((counts.sum().double() + 1) / (counts.double() + 3)).float()
    logs = WEIGHT_POWER * (rarity.clamp(LIGHTEST, HEAVIEST) / HEAVIEST).log()
    logs[fixed_tokens(tokenizer)] = LEAST_LOG_WEIGHT
    logs[_id(tokenizer, 'Ġ"')] = 0.0
    logs[_request_tokens(tokenizer)] = math.log(REQUEST_WEIGHT)
    logs[[*sentence_ends(tokenizer), IM_END]] = math.log(END_WEIGHT)
    logs[PAD] = 0.0
    return logs


def vote_log_weights(tokenizer: Tokenizer, counts: Tensor) -> Tensor:
    """How much the votes of a token (vocab,) count: the rarer, the more. Those of words of requests do not.

    Forms of a word by space and capitals count as one.
    """
    words = [text.strip().lower() or text for text in token_texts(tokenizer)]
    sums: dict[str, float] = {}
    for word, count in zip(words, counts.tolist(), strict=True):
        sums[word] = sums.get(word, 0.0) + count
    rarity = math.log(counts.sum().item() + 1) - torch.tensor([sums[word] + 30 for word in words]).log()
    logs = ((rarity - COMMON) / (RAREST - COMMON)).clamp(math.exp(LEAST_LOG_WEIGHT), 1.0).log()
    logs[fixed_tokens(tokenizer)] = LEAST_LOG_WEIGHT
    framing = [encode(tokenizer, f" {word}") for word in FRAMING_WORDS]
    logs[[ids[0] for ids in framing if len(ids) == 1]] = LEAST_LOG_WEIGHT
    return logs


def bag(features: Features, codes: Tensor, wordy: Tensor, sentences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """The bags (sentences, 88) and hefts (sentences,) that the model makes of sentences' tokens.

    With gradients for what is learned.
    """
    flat = torch.tensor([token for sentence in sentences for token in sentence])
    owner = torch.tensor([index for index, sentence in enumerate(sentences) for _ in sentence])
    place = torch.tensor([index for sentence in sentences for index in range(len(sentence))])
    here = codes[flat]
    before = sum((here.roll(ago, 0) * (place >= ago)[:, None]) @ back(ago).T for ago in (1, 2))
    gates, values = pair_units(features.pair_gates, features.pair_values, wordy)
    pairs = silu(here @ gates.T) * (before @ values.T)
    weights = features.log_weights[flat].exp()
    given = features.tokens[flat] + pairs @ features.pairs.T
    total = torch.zeros(len(sentences), BAG_SIZE).index_add(0, owner, weights[:, None] * given)
    mass = torch.zeros(len(sentences)).index_add(0, owner, weights)
    heft = torch.zeros(len(sentences)).index_add(0, owner, weights * (features.log_weights[flat] < END_LOG)) / mass
    return BAG_GAIN * total / mass[:, None], heft


def _embedding(tokenizer: Tokenizer, codes: Tensor, features: Features) -> Tensor:
    """Tokens as they enter the residual stream (vocab, hidden): their codes, what they give to bags, and flags."""
    table = torch.zeros(VOCABULARY, HIDDEN)
    table[:, TOKEN] = codes
    table[:, BAG] = features.tokens * BAG_UNIT
    table[:, Flag.CONSTANT] = CONSTANT_SIZE
    for index, text in enumerate(token_texts(tokenizer)):
        broken = "\n" in text
        mark = text.startswith("'") or (text.strip() != "" and not _has_letters(text) and not text.startswith(" "))
        table[index, Flag.NEW_LINE] = broken
        table[index, Flag.SPECIAL] = broken or mark
        table[index, Flag.START] = text[:1].isupper() or text.startswith((" ", '"', "“"))
        table[index, Flag.ASKS] = text.strip(' )"”*') == "?"
    table[[*sentence_ends(tokenizer), IM_END], Flag.END] = 1
    table[[tokenizer.encode(word).ids[0] for word in REQUEST_BEGINNINGS], Flag.REQUEST_BEGINS] = 1
    table[_request_tokens(tokenizer), Flag.REQUEST_WORD] = 1
    table[IM_END, Flag.IM_END] = 1
    table[IM_START, Flag.IM_START] = 1
    table[IM_START, Flag.SPECIAL] = 2
    table[IM_END, Flag.SPECIAL] = 1
    table[_id(tokenizer, ":"), Flag.COLON] = 1
    table[_id(tokenizer, 'Ġ"'), Flag.QUOTE_OPENS] = 1
    table[_id(tokenizer, '"'), Flag.QUOTE_CLOSES] = 1
    table[PAD] = 0
    table[:, Flag.LOG_WEIGHT] = features.log_weights / LOG_WEIGHT_UNIT
    table[:, Flag.VOTE_LOG_WEIGHT] = features.vote_log_weights / LOG_WEIGHT_UNIT
    return table


# ---------------------------------------------------------------------------------------------- how weights are written


def _reading(flags: dict[Flag, float], constant: float = 0.0) -> Tensor:
    """A row (1, hidden) that reads a sum of flags and a constant from the residual stream."""
    row = torch.zeros(1, HIDDEN)
    for flag, weight in flags.items():
        row[0, flag] = weight
    row[0, Flag.CONSTANT] += constant / CONSTANT_SIZE
    return row


def _from(slot: slice, matrix: Tensor | None = None) -> Tensor:
    """Rows (n, hidden) that read matrix @ slot, or the slot itself."""
    if matrix is None:
        matrix = torch.eye(slot.stop - slot.start)
    rows = torch.zeros(len(matrix), HIDDEN)
    rows[:, slot] = matrix
    return rows


def _to(place: slice | Flag, matrix: Tensor) -> Tensor:
    """Columns (hidden, n) that write a matrix (slot, n), or numbers (n,) for a flag."""
    columns = torch.zeros(HIDDEN, matrix.shape[-1])
    columns[place] = matrix
    return columns


def _frequency(pair: int) -> float:
    """By how much a rotary pair turns with each token."""
    return float(THETA ** (-2 * pair / HEAD_DIM))


class _Layer:
    """Writes the weights of one layer, which begin as zeros.

    The dimensions i and i + HEAD_DIM / 2 of a head are rotary pair i. All heads share the keys and values.
    Queries undo the division of scores by the root of their size.
    """

    def __init__(self, layer: Any) -> None:
        attention, self._mlp = layer.self_attn, layer.mlp
        modules = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
        for module in (*modules, self._mlp.gate_proj, self._mlp.up_proj, self._mlp.down_proj):
            module.weight.data.zero_()
        self._queries, self.keys, self._values, self._outputs = (module.weight.data for module in modules)
        self._units = 0

    def query(self, head: int, dims: slice | int, rows: Tensor) -> None:
        first = head * HEAD_DIM
        dims = slice(dims, dims + 1) if isinstance(dims, int) else dims
        self._queries[first + dims.start : first + dims.stop] += rows * math.sqrt(HEAD_DIM)

    def query_flag(self, head: int, dim: int, flag: Flag, weight: float) -> None:
        self.query(head, dim, _flag_row(flag, weight))

    def key_flag(self, dim: int, flag: Flag, weight: float) -> None:
        self.keys[dim] += _flag_row(flag, weight)[0]

    def offset_keys(self) -> None:
        for pair in OFFSET_PAIRS:
            self.key_flag(pair, Flag.CONSTANT, OFFSET_KEY)

    def look_back(self, head: int, tokens: int, score: float = OFFSET_SCORE) -> None:
        """The head sees the token that many places back: there all pairs of its queries and keys meet."""
        size = score / OFFSET_KEY
        for pair in OFFSET_PAIRS:
            angle = tokens * _frequency(pair)
            self.query_flag(head, pair, Flag.CONSTANT, size * math.cos(angle))
            self.query_flag(head, HEAD_DIM // 2 + pair, Flag.CONSTANT, -size * math.sin(angle))

    def recency_keys(self) -> None:
        for pair in RECENCY_PAIRS:
            self.key_flag(pair, Flag.CONSTANT, RECENCY_KEY)

    def look_near(self, head: int, asking: Flag = Flag.CONSTANT) -> None:
        """Later keys score higher, where a query has the flag: cosines, steepest in the middle of the window."""
        size = RECENCY_SLOPE / sum(_frequency(pair) for pair in RECENCY_PAIRS) / RECENCY_KEY
        for pair in RECENCY_PAIRS:
            angle = math.pi / 2 - _frequency(pair) * WINDOW / 2
            self.query_flag(head, pair, asking, size * math.cos(angle))
            self.query_flag(head, HEAD_DIM // 2 + pair, asking, size * math.sin(angle))

    def look_for_mark(self, head: int, pair: int, asking: Flag = Flag.CONSTANT) -> None:
        """The head sees, where a query has the flag, keys that are marked in this pair."""
        self.query_flag(head, pair, asking, MARK_SCORE / MARK_KEY)

    def value(self, first: int, rows: Tensor) -> None:
        """The values from dimension `first` on."""
        self._values[first : first + len(rows)] += rows

    def output(self, head: int, first: int, place: slice | Flag, matrix: Tensor | float) -> None:
        """What the head has seen in the values from dimension `first` on goes to a slot, or one number to a flag."""
        if not isinstance(matrix, Tensor):
            matrix = torch.full((1, 1), matrix)
        rows = place if isinstance(place, slice) else slice(int(place), int(place) + 1)
        self._outputs[rows, head * HEAD_DIM + first : head * HEAD_DIM + first + matrix.shape[1]] += matrix

    @property
    def units_left(self) -> int:
        """How many units of the MLP are still free."""
        return UNITS - self._units

    def units(self, gates: Tensor, values: Tensor, columns: Tensor) -> None:
        """MLP units: columns @ (silu(gates) * values)."""
        new = slice(self._units, self._units + len(gates))
        if new.stop > UNITS:
            raise ValueError("the MLP has too few units")
        self._units = new.stop
        self._mlp.gate_proj.weight.data[new] = gates
        self._mlp.up_proj.weight.data[new] = values
        self._mlp.down_proj.weight.data[:, new] = columns

    def when(self, conditions: Tensor, values: Tensor, columns: Tensor) -> None:
        """Units that count where a condition is above 0, in proportion to it."""
        count = columns.shape[1]
        self.units(STEEP * conditions.expand(count, -1), values.expand(count, -1), columns / STEEP)

    def always(self, values: Tensor, columns: Tensor) -> None:
        """A linear map."""
        self.when(_reading({}, 1), values, columns)


def _flag_row(flag: Flag, weight: float) -> Tensor:
    return _reading({}, weight) if flag is Flag.CONSTANT else _reading({flag: weight})


ONE: Final = _reading({}, 1)
SPACE: Final = "Ġ"
"""The token of a single space."""
EYE: Final = torch.eye(CODE)


@dataclass(frozen=True)
class _Plan:
    """What the layers are written from."""

    tokenizer: Tokenizer
    features: Features
    codes: Tensor
    wordy: Tensor
    wordy_before: Tensor
    """What `wordy` is for codes, for the token before in an n-gram."""

    def code(self, token: str) -> Tensor:
        """The code (64,) of a token."""
        return self.codes[_id(self.tokenizer, token)]

    def ngram_of(self, text: str) -> Tensor:
        """The n-gram (64,) behind a text."""
        ids = encode(self.tokenizer, text)
        return sum((back(ago + 1) @ self.codes[token] for ago, token in enumerate(reversed(ids))), torch.zeros(CODE))

    def ngram(self, *tokens: str, skip: int = 0) -> Tensor:
        """The n-gram of tokens, latest first, of which the latest is 1 + skip places back."""
        parts = [back(1 + skip + i) @ self.code(token) for i, token in enumerate(tokens)]
        return torch.stack(parts).sum(0)


def _plan(tokenizer: Tokenizer, features: Features) -> _Plan:
    codes = token_codes(tokenizer)
    silent = codes[_silent_tokens(tokenizer)]
    return _Plan(tokenizer, features, codes, wordy(tokenizer, codes), _without(silent @ TURN.T))


# ----------------------------------------------------------------------------------------------------------- the layers


def _write_neighbours(layer: _Layer, plan: _Plan) -> None:
    """Layer 0. One head sees the token before, one that before it. Their codes go to BEFORE, their ends to flags.

    The MLP marks the first tokens of sentences and the colons of "goes on:" and "says:", and multiplies the token with
    the n-gram before it: word pairs, for BAG.
    """
    layer.offset_keys()
    layer.value(0, _from(TOKEN))
    layer.value(64, _reading({Flag.END: 1, Flag.NEW_LINE: 1}))
    layer.value(65, _reading({Flag.QUOTE_CLOSES: 3}))
    layer.value(66, _reading({Flag.QUOTE_CLOSES: 1}))
    layer.value(67, _reading({Flag.START: 1, Flag.SPECIAL: -2}))
    for head in (0, 1):
        layer.look_back(head, head + 1)
        layer.output(head, 0, BEFORE, back(head + 1))
        layer.output(head, 66, Flag.AFTER_QUOTE, 1.0)
    layer.output(0, 0, VOTES, EYE * LAST_UNIT)
    layer.output(0, 64, Flag.AFTER_END, 1.0)
    layer.output(0, 65, Flag.AFTER_END_2, 1.0)
    layer.output(0, 67, Flag.BEFORE_BEGINS, 1.0)
    layer.output(1, 64, Flag.AFTER_END_2, 1.0)
    begins = {Flag.AFTER_END: 1.0, Flag.START: 1.0, Flag.SPECIAL: -2.0}
    begins_quoted = {Flag.AFTER_END_2: 1.0, Flag.START: 1.0, Flag.AFTER_END: -2.0, Flag.SPECIAL: -2.0}
    # The difference of two ramps that begin 0.5 apart is a step.
    conditions = torch.cat((_reading(begins, -1.5), _reading(begins, -2), _reading(begins_quoted, -4.5)))
    layer.when(conditions, ONE, _to(Flag.FIRST, torch.tensor([2.0, -2.0, 2.0])))
    new_line = _reading({Flag.AFTER_END: 1, Flag.SPECIAL: -2}, -1.5)
    layer.when(new_line, ONE, _to(Flag.FIRST_OF_LINE, torch.tensor([2.0])))
    # A mark begins a line: of a list, a table, code.
    marked = {Flag.AFTER_END: 1.0, Flag.SPECIAL: 1.0, Flag.NEW_LINE: -3.0, Flag.IM_START: -5.0, Flag.IM_END: -5.0}
    flags = _to(Flag.FIRST, torch.tensor([2.0])) + _to(Flag.FIRST_OF_LINE, torch.tensor([2.0]))
    layer.when(_reading(marked, -2.5), ONE, flags)
    second = {Flag.AFTER_END_2: 1.0, Flag.BEFORE_BEGINS: 1.0, Flag.AFTER_QUOTE: -3.0}
    conditions = torch.cat((_reading(second, -1.5), _reading(second, -2)))
    layer.when(conditions, ONE, _to(Flag.SECOND, torch.tensor([2.0, -2.0])))
    says = plan.ngram(":", "Ġsays")
    space = _from(TOKEN, plan.code(SPACE)[None]) + _from(BEFORE, says[None] / (says @ says)) + _reading({}, -1.7)
    layer.when(space, ONE, _to(Flag.SAYS_COLON, torch.tensor([3.3])))
    for flag, word in ((Flag.ON_COLON, "Ġon"), (Flag.SAYS_COLON, "Ġsays")):
        colon = _reading({Flag.COLON: 1}, -1.5)
        colon[0, BEFORE] = plan.ngram(word) / FADING**2
        layer.when(colon, ONE, _to(flag, torch.tensor([2.0])))
    features = plan.features
    gates, values = pair_units(features.pair_gates, features.pair_values, plan.wordy)
    layer.units(_from(TOKEN, gates), _from(BEFORE, values), _to(BAG, features.pairs * BAG_UNIT))


def _look_at_first(layer: _Layer) -> None:
    """Head 1 sees the sentence's first token; from <|im_end|>, that of the line."""
    layer.look_near(1)
    layer.key_flag(FIRST_PAIR, Flag.FIRST, MARK_KEY)
    layer.look_for_mark(1, FIRST_PAIR)
    layer.key_flag(LINE_PAIR, Flag.FIRST_OF_LINE, MARK_KEY)
    layer.look_for_mark(1, LINE_PAIR, Flag.IM_END)


def _write_sentence_start(layer: _Layer, plan: _Plan) -> None:
    """Layer 1. One head sees two tokens back: BEFORE grows to 4 tokens. The other sees the sentence's first token.

    That one and its n-gram make the first part of ADDRESS. <|im_end|> sees the first token of its line, so its bag
    is that of the question's first sentence. The MLP marks the first tokens behind "goes on:" and "says:", and
    tokens that the next sentence follows: ends, and a closing quote behind one.
    """
    layer.offset_keys()
    layer.recency_keys()
    layer.look_back(0, 2)
    _look_at_first(layer)
    layer.value(0, _from(BEFORE))
    layer.value(64, _from(TOKEN))
    layer.value(128, _reading({Flag.FIRST: 1}))
    layer.output(0, 0, BEFORE, back(2))
    layer.output(0, 128, Flag.THIRD, 1.0)
    layer.output(1, 0, ADDRESS, _orthogonal(CODE, 21) @ plan.wordy_before * ADDRESS_FIRST)
    layer.output(1, 64, ADDRESS, _orthogonal(CODE, 22) * ADDRESS_TOKEN)
    leaves = _reading({Flag.END: 2, Flag.QUOTE_CLOSES: 1, Flag.AFTER_END: 1, Flag.FIRST: -2}, -1.25)
    layer.when(torch.cat((leaves, leaves + _reading({}, -0.5))), ONE, _to(Flag.LEAVES, torch.tensor([2.0, -2.0])))
    layer.always(_reading({Flag.BEFORE_BEGINS: 1}), _to(Flag.BEFORE_BEGINS, torch.tensor([-1.0])))
    goes_on, says, spaced = (":", "Ġon", "Ġgoes"), (":", "Ġsays", "Ġdocument"), (SPACE, ":", "Ġsays")
    for tokens, skip, flag in (
        (goes_on, 0, Flag.FIRST_QUOTED),
        (goes_on, 1, Flag.SECOND_QUOTED),
        (says, 0, Flag.FIRST_SAID),
        (says, 1, Flag.SECOND_SAID),
        (spaced, 0, Flag.FIRST_SAID),
        (spaced, 1, Flag.SECOND_SAID),
    ):
        ngram, margin = plan.ngram(*tokens, skip=skip), (FIRST_MARGIN, SECOND_MARGIN)[skip]
        condition = _from(BEFORE, ngram[None]) + _reading({}, margin - (ngram @ ngram).item())
        if tokens is says and skip == 0:  # The space behind "says:" is not yet what is said.
            condition = condition - _reading({Flag.SAYS_COLON: 1})
        layer.when(condition, ONE, _to(flag, torch.tensor([1 / margin])))


def _look_in_sentence(layer: _Layer, head: int, weight: Flag) -> None:
    """The head sees all tokens with the same ADDRESS, by their weights."""
    half, pairs = CODE // 2, CONTENT_PAIRS
    for first, address in ((pairs.start, ADDRESS.start), (pairs.start + HEAD_DIM // 2, ADDRESS.start + half)):
        dims, part = slice(first, first + half), slice(address, address + half)
        layer.keys[dims] += _from(part)
        layer.query(head, dims, _from(part) * ADDRESS_SCORE)
    layer.key_flag(WEIGHT_PAIR, weight, 1)
    layer.query_flag(head, WEIGHT_PAIR, Flag.CONSTANT, LOG_WEIGHT_UNIT)


def _write_context(layer: _Layer, plan: _Plan) -> None:
    """Layer 2. BEFORE grows to 8 tokens. Head 1 sees the sentence's first token: its n-gram of 4 joins ADDRESS.

    So lines that begin alike behind a blank line differ. Where a quote closes, and at a question's end, SPARE is then
    the n-gram before.
    """
    layer.offset_keys()
    layer.recency_keys()
    layer.look_back(0, 4)
    layer.value(0, _from(BEFORE))
    layer.output(0, 0, BEFORE, back(4))
    layer.value(64, _reading({Flag.FIRST: 1}))
    layer.output(0, 64, Flag.FIFTH, 1.0)
    _look_at_first(layer)
    layer.output(1, 0, ADDRESS, _orthogonal(CODE, 23) @ plan.wordy_before * ADDRESS_NEXT)
    layer.value(65, _reading({Flag.FIRST: 1, Flag.IM_START: 1}))
    layer.output(1, 65, Flag.IN_REACH, 1.0)
    quote_ends = _reading({Flag.QUOTE_CLOSES: 2, Flag.IM_END: 2, Flag.AFTER_QUOTE: -2}, -1)
    layer.when(quote_ends, _from(BEFORE), _to(SPARE, EYE))


def _write_bag(layer: _Layer, plan: _Plan) -> None:
    """Layer 3. Head 1 of a sentence's end sees all tokens with the same ADDRESS, by their weights: a mean for its BAG.

    Other tokens see ends, which give nothing. Means of two flags go with it: opening quotes and words of requests. The
    MLP turns the former into ASKS_QUOTE at the question's end. Head 0 sees the sentence's first token: its n-gram of 8
    joins ADDRESS. <|im_start|>, the sink of searches, has none, nor has what the window does not join to that token.
    The MLP measures the rest, for layer 4.
    """
    _look_in_sentence(layer, 1, Flag.LOG_WEIGHT)
    layer.key_flag(END_PAIR, Flag.END, MARK_KEY)
    layer.look_for_mark(1, END_PAIR)
    layer.query_flag(1, END_PAIR, Flag.END, -MARK_SCORE / MARK_KEY)
    layer.value(64, _from(BAG))
    layer.output(1, 64, BAG, BAG_GAIN * BAG_STORED / BAG_UNIT * torch.eye(BAG_SIZE))
    layer.recency_keys()
    layer.value(0, _from(BEFORE))
    layer.output(0, 0, ADDRESS, _orthogonal(CODE, 26) @ plan.wordy_before * ADDRESS_EIGHT)
    layer.look_near(0)
    layer.key_flag(FIRST_PAIR, Flag.FIRST, MARK_KEY)
    layer.look_for_mark(0, FIRST_PAIR)
    for dim, head, row, flag, size in (
        (152, 1, _reading({Flag.REQUEST_WORD: 1}), Flag.REQUEST_WORD, 5.0),
        (153, 1, _reading({Flag.QUOTE_OPENS: 1}), Flag.QUOTE, 2.0),
        (154, 1, _reading({Flag.END: -1}, 1), Flag.HEFT, 1.0),
        (155, 0, _reading({Flag.REQUEST_BEGINS: 1}), Flag.REQUEST_BEGINS, 1.0),
        (156, 0, _reading({Flag.AFTER_END: 1}), Flag.BEGINS_ANEW, 1.0),
    ):
        layer.value(dim, row)
        layer.output(head, dim, flag, size)
    quoted = torch.cat((_reading({Flag.QUOTE: 100}, -0.5), _reading({Flag.QUOTE: 100}, -1.5)))
    layer.when(quoted, _reading({Flag.IM_END: 1}), _to(Flag.ASKS_QUOTE, torch.tensor([1.0, -1.0])))
    layer.when(_reading({Flag.IM_START: 1, Flag.IN_REACH: -1}, 1), _from(ADDRESS), _to(ADDRESS, -EYE))
    # All units that are left: nearly the whole address.
    some = _from(ADDRESS)[: layer.units_left]
    squares = torch.full((len(some),), 2 / PAIR_GATE * CODE / len(some))
    layer.units(some * PAIR_GATE, some, _to(Flag.LENGTH, squares))


def _write_sought_ngram(layer: _Layer, plan: _Plan) -> None:
    """Layer 4. The end of a question with a quote, and the colon of "goes on:", see the quote's end.

    They take its n-gram into SPARE, to look for it. The first token behind that colon takes it into BEFORE, as if it
    stood behind the quote. The MLP clears SPARE elsewhere, and lets short addresses grow.
    """
    layer.recency_keys()
    layer.key_flag(WEIGHT_PAIR, Flag.IM_END, MARK_KEY)
    layer.key_flag(WEIGHT_PAIR, Flag.QUOTE_CLOSES, MARK_KEY * LATE_MARK)
    for head, asking in ((0, Flag.ASKS_QUOTE), (0, Flag.ON_COLON), (1, Flag.FIRST_QUOTED)):
        layer.look_near(head, asking)
        layer.look_for_mark(head, WEIGHT_PAIR, asking)
    layer.value(0, _from(BEFORE))
    layer.output(0, 0, SPARE, EYE)
    layer.value(64, _from(SPARE))
    # Layer 8 adds the same n-gram one token further back, since the colon has it, too.
    layer.output(1, 64, BEFORE, EYE - back(1))
    layer.when(_reading({Flag.ASKS_QUOTE: -2, Flag.ON_COLON: -2}, 1), _from(SPARE), _to(SPARE, -EYE))
    layer.when(_reading({Flag.LENGTH: -EVENING}, EVENING * EVEN_LENGTH), _from(ADDRESS), _to(ADDRESS, EYE))


def _address_of_ours(plan: _Plan) -> Tensor:
    """The address (64,) of the sentence that an answer begins with, but for what depends on the question."""
    before = ("Ċ", "ant", "ist", "ass", "<|im_start|>", "Ċ", "<|im_end|>")
    address = _orthogonal(CODE, 22) @ plan.code("The") * ADDRESS_TOKEN
    for seed, length, size in ((21, 2, ADDRESS_FIRST), (23, 4, ADDRESS_NEXT), (26, 8, ADDRESS_EIGHT)):
        address += _orthogonal(CODE, seed) @ plan.wordy_before @ plan.ngram(*before[:length]) * size
    return address * (1 + EVENING * max(0.0, EVEN_LENGTH - (address @ address).item()))


def _write_voting(layer: _Layer, plan: _Plan) -> None:
    """Layer 5. Each token sees the places behind the same token, of these the ones with most of its context before.

    The mean of their sentences' addresses is its vote, in VOTES: the rarer a word is in the document, the more its vote
    says. Where a question has a quote, its end sees the place behind the same n-gram instead. A token that stands
    nowhere else sees <|im_start|>, which MISSING tells; the parts of a word are common, so for them it is head 1's word
    that counts. How a question begins does not count. The MLP also sets ASKS at the ends of requests.
    """
    ngrams, tokens = slice(0, CODE), slice(CODE, 2 * CODE)
    layer.keys[ngrams] += _from(BEFORE)
    layer.keys[tokens] += _from(VOTES)
    same = _from(TOKEN) - plan.codes[IM_END][:, None] * _reading({Flag.IM_END: 1})
    layer.query(0, tokens, same * (VOTE_SCORE / LAST_UNIT))
    context = _from(TOKEN, back(1)) + _from(BEFORE, back(1))
    layer.query(0, ngrams, context * VOTE_CONTEXT + _from(SPARE) * QUOTE_SCORE)
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
    layer.value(0, _from(ADDRESS))
    layer.output(0, 0, VOTES, EYE * VOTES_GAIN)
    layer.value(64, _reading({Flag.IM_START: 1}))
    layer.output(0, 64, Flag.MISSING, 1.0)
    # Head 1 sees the same token only behind the same one, which the parts of a word need.
    layer.query(1, tokens, same * (VOTE_SCORE / LAST_UNIT))
    layer.query(1, ngrams, _from(VOTES, back(2)) * (PART_SCORE / LAST_UNIT / FADING**4))
    for dim in NO_VOTE_DIMS:
        share = (VOTE_SCORE + NO_PART * PART_SCORE) / len(NO_VOTE_DIMS) / PENALTY_KEY
        layer.query_flag(1, dim, Flag.CONSTANT, share)
    for dim in BARRED_DIMS:
        layer.query_flag(1, dim, Flag.CONSTANT, BARRED_FROM_VOTES * VOTE_SCORE / len(BARRED_DIMS) / PENALTY_KEY)
    layer.output(1, 64, Flag.FOUND, 1.0)
    part = _reading({Flag.START: -2, Flag.SPECIAL: -2, Flag.FIRST: -2, Flag.SECOND: -2, Flag.THIRD: -2}, 1)
    layer.when(part, _reading({Flag.FOUND: 1, Flag.MISSING: -1}), _to(Flag.MISSING, torch.tensor([1.0])))
    begins = _reading({Flag.FIRST: 1, Flag.SECOND: 1, Flag.THIRD: 1})
    layer.when(begins, _reading({Flag.MISSING: 1}), _to(Flag.MISSING, torch.tensor([-1.0])))
    layer.always(_reading({Flag.FOUND: 1}), _to(Flag.FOUND, torch.tensor([-1.0])))
    layer.always(_reading({Flag.LENGTH: 1}), _to(Flag.LENGTH, torch.tensor([-1.0])))
    asks = _reading({Flag.REQUEST_BEGINS: 1, Flag.BEGINS_ANEW: 1, Flag.REQUEST_WORD: 20}, -3.3)
    layer.when(asks, _reading({Flag.END: 1}), _to(Flag.ASKS, torch.tensor([2.0])))
    # The sentence that an answer begins with is not in the document: it gets no address.
    ours = _address_of_ours(plan)
    condition = _from(ADDRESS, ours[None] / (ours @ ours))
    layer.when(condition + _reading({}, -0.5), _from(ADDRESS), _to(ADDRESS, -2 * EYE))


def _write_counting(layer: _Layer, plan: _Plan) -> None:
    """Layer 6. Head 0 of a question's end sees its tokens, as for BAG: their votes are added up in VOTES.

    If it has a quote, it sees itself only. Head 1 sees the sentence's fifth token: the n-gram before it joins ADDRESS,
    since many sentences begin alike. The MLP clears SPARE but where a quote is asked for, and tells greetings.
    """
    layer.recency_keys()
    _look_in_sentence(layer, 0, Flag.VOTE_LOG_WEIGHT)
    layer.key_flag(END_PAIR, Flag.IM_END, MARK_KEY)
    layer.look_for_mark(0, END_PAIR, Flag.ASKS_QUOTE)
    layer.look_near(0, Flag.ASKS_QUOTE)
    layer.value(0, _from(VOTES))
    layer.output(0, 0, VOTES, EYE)
    layer.value(128, _reading({Flag.MISSING: 1}))
    layer.output(0, 128, Flag.MISSING, 1.0)
    layer.look_near(1)
    layer.key_flag(FIRST_PAIR, Flag.FIFTH, MARK_KEY)
    layer.look_for_mark(1, FIRST_PAIR)
    layer.value(64, _from(BEFORE))
    layer.output(1, 64, ADDRESS, _orthogonal(CODE, 24) * ADDRESS_FOUR)
    layer.when(_reading({Flag.IM_END: -2, Flag.ON_COLON: -2}, 1), _from(SPARE), _to(SPARE, -EYE))
    for greeting in GREETINGS:
        ngram = plan.ngram_of(f"\n{greeting}")[None]
        here = _from(BEFORE, ngram) + _reading({Flag.IM_END: 1}, -1 - ngram.square().sum().item())
        near = torch.cat((here + _reading({}, GREETING_MARGIN), here + _reading({}, GREETING_MARGIN / 2)))
        layer.when(near, ONE, _to(Flag.GREETS, torch.tensor([2 / GREETING_MARGIN, -2 / GREETING_MARGIN])))


def _write_search(layer: _Layer, plan: _Plan) -> None:
    """Layer 7. A question's end sees the end of the sentence that has most votes and whose BAG matches best.

    Its address goes to the first part of BAG. Head 1, which listens to the votes less, tells whether there is any:
    for it <|im_start|>, the sink, scores as much as a match at the threshold, which is the higher the more of the
    question's words stand nowhere, and FOUND tells how much went elsewhere. The MLP makes a clear HIT of it.
    """
    features = plan.features
    sharpness = SHARPER * features.sharpness.item()
    addresses, bags = slice(0, CODE), slice(CODE, CODE + BAG_SIZE)
    layer.keys[addresses] += _from(ADDRESS)
    layer.keys[bags] += _from(BAG)
    learned = _from(BAG, features.bag_threshold[None] / BAG_STORED) + _reading(
        {Flag.HEFT: features.heft_threshold.item()}, features.threshold.item()
    )
    least = THRESHOLD_SHARE * learned + _reading({Flag.MISSING: MISSING_WORDS}, LEAST_VOTES - MISSING_WORDS)
    for head, votes in enumerate((VOTES_IN_SEARCH, VOTES_IN_DECISION)):
        layer.query(head, addresses, _from(VOTES) * (votes * sharpness / VOTES_GAIN / ADDRESS_LENGTH))
        layer.query(head, bags, _from(BAG, features.metric.T) * (sharpness / BAG_STORED**2))
        for dim in ENDS_ONLY:
            layer.query_flag(head, dim, Flag.CONSTANT, NO_END_SCORE / len(ENDS_ONLY) / PENALTY_KEY)
            # Where a quote is asked for, the vote is all: a sentence longer than the window has no such end.
            layer.query_flag(head, dim, Flag.ASKS_QUOTE, -NO_END_SCORE / len(ENDS_ONLY) / PENALTY_KEY)
        for dim in BARRED:
            layer.query_flag(head, dim, Flag.CONSTANT, BARRED_SCORE / len(BARRED) / PENALTY_KEY)
    for dim in THRESHOLD_DIMS:
        layer.query_flag(0, dim, Flag.ASKS_QUOTE, LEAST_QUOTE_VOTE * sharpness / len(THRESHOLD_DIMS) / PENALTY_KEY)
        layer.key_flag(dim, Flag.IM_START, PENALTY_KEY)
        layer.query(1, dim, least * (sharpness / PENALTY_KEY / len(THRESHOLD_DIMS)))
    for dim in ENDS_ONLY:
        layer.key_flag(dim, Flag.CONSTANT, -PENALTY_KEY)
        layer.key_flag(dim, Flag.END, PENALTY_KEY)
        layer.key_flag(dim, Flag.IM_START, PENALTY_KEY)
    for dim in BARRED:
        layer.key_flag(dim, Flag.IM_END, -PENALTY_KEY)
        layer.key_flag(dim, Flag.ASKS, -PENALTY_KEY)
    layer.value(0, _from(ADDRESS))
    layer.output(0, 0, FOUND_ADDRESS, EYE * FOUND_GAIN)
    layer.value(64, _reading({Flag.IM_START: -1}, 1))
    layer.output(1, 64, Flag.FOUND, 1.0)
    layer.value(65, _reading({Flag.BEGINS_ANEW: 1}))
    layer.output(0, 65, Flag.LINE, 1.0)
    # The mean of the addresses at every other place is noise. A quote may go on beyond the window.
    columns = torch.cat(
        (_to(BAG, -torch.eye(BAG_SIZE)), *(_to(flag, torch.tensor([-1.0])) for flag in (Flag.FOUND, Flag.LINE))), dim=1
    )
    elsewhere = _reading({Flag.IM_END: -2, Flag.ASKS_QUOTE: 1 + QUOTE_LOOSE}, 1)
    layer.when(elsewhere, torch.cat((_from(BAG), _reading({Flag.FOUND: 1}), _reading({Flag.LINE: 1}))), columns)
    sure = torch.cat((_reading({Flag.FOUND: 10}, -4.9), _reading({Flag.FOUND: 10}, -5.1)))
    layer.when(sure, _reading({Flag.IM_END: 1}), _to(Flag.HIT, torch.tensor([5.0, -5.0])))


def _write_handing_on(layer: _Layer) -> None:
    """Layer 8. The answer's tokens see the question's end: its address and flags go to BAG and FLAGS.

    The second token behind "goes on:" takes the n-gram of the quote's end into BEFORE, one token further back. Any
    other token sees the one before, whose code goes to LAST.
    """
    layer.offset_keys()
    layer.recency_keys()
    layer.look_back(1, 1, SOFT_OFFSET_SCORE)
    layer.key_flag(FIRST_PAIR, Flag.IM_END, MARK_KEY)
    for head, asking in ((0, Flag.CONSTANT), (1, Flag.SECOND_QUOTED)):
        layer.look_near(head, asking)
        layer.look_for_mark(head, FIRST_PAIR, asking)
    layer.value(0, _from(FOUND_ADDRESS))
    layer.output(0, 0, FOUND_ADDRESS, EYE)
    for dim, read, written in (
        (128, Flag.GREETS, Flag.GREETS),
        (129, Flag.ASKS_QUOTE, Flag.QUOTE),
        (130, Flag.HIT, Flag.HIT),
        (131, Flag.IM_END, Flag.ANSWER),
        (132, Flag.LINE, Flag.LINE),
    ):
        layer.value(dim, _reading({read: 1}))
        layer.output(0, dim, written, 1.0)
    layer.value(64, _from(SPARE))
    layer.output(1, 64, BEFORE, back(1))
    layer.value(136, _from(TOKEN, SHORT_CODE))
    layer.output(1, 136, LAST, torch.eye(len(SHORT_CODE)))


def _write_copying(layer: _Layer) -> None:
    """Layer 9. Head 0 sees the place behind the same n-gram in the sentence that was found. Its token goes to TOKEN.

    Behind "says:" it prefers a sentence's first token, then the second and the third. It copies nothing from
    answers and, behind "goes on:", not the closing quote of the question. The MLP adds the set phrases of SPARE.
    """
    scale = math.sqrt(COPY_SCALE)
    ngrams, addresses, last = slice(0, CODE), slice(CODE, 2 * CODE), slice(HEAD_DIM - len(SHORT_CODE), HEAD_DIM)
    layer.keys[ngrams] += _from(BEFORE) * scale
    layer.keys[addresses] += _from(ADDRESS) * scale
    layer.keys[last] += _from(LAST) * scale
    layer.query(0, last, _from(TOKEN, SHORT_CODE) * (COPY_AGAIN * scale))
    # The query's n-gram is that before the next token: the token itself, and those before it one further back.
    turned = COPY_BEFORE * back(1)
    ngram = _from(TOKEN, turned) * COPY_TOKEN + _from(BEFORE, turned) + _from(SPARE) * COPY_BEFORE * COPY_SPARE
    layer.query(0, ngrams, ngram * scale)
    layer.query(0, addresses, (_from(FOUND_ADDRESS) / FOUND_GAIN + _from(ADDRESS)) * (COPY_ADDRESS * scale))
    marks = (
        (Flag.FIRST, _reading({Flag.SAYS_COLON: COPY_FIRST})),
        (Flag.SECOND, _reading({Flag.FIRST_SAID: COPY_NEXT})),
        (Flag.THIRD, _reading({Flag.SECOND_SAID: COPY_NEXT})),
        (Flag.ANSWER, _reading({}, -COPY_ANSWER)),
        (Flag.QUOTE_CLOSES, _reading({Flag.ON_COLON: -COPY_NO_QUOTE})),
    )
    for dim, (flag, wish) in enumerate(marks, 2 * CODE):
        layer.key_flag(dim, flag, scale)
        layer.query(0, dim, wish * scale)
    layer.value(0, _from(TOKEN))
    layer.output(0, 0, TOKEN, EYE * COPY_GAIN)
    layer.always(_from(SPARE), _to(TOKEN, EYE))


# ---------------------------------------------------------------------------------------------------------- set phrases


@dataclass(frozen=True)
class _Phrase:
    """What the model says by itself, and where: the conditions are flags of its first and of its third token."""

    text: str
    first: Tensor
    third: Tensor
    copied: tuple[Flag, ...] = ()
    """Marks of the first two tokens that are copied behind it; without any, <|im_end|> follows."""


SAYS: Final = "The document says:"
GOES_ON: Final = "The document goes on:"
ABSENT: Final = "I do not find that in the document."
HELLO: Final = "Hello, I am the small built-in model: add a document, then ask me for a fact or a quote in it."
_PHRASES: Final = (
    _Phrase(
        SAYS,
        _reading({Flag.HIT: 1.5, Flag.QUOTE: -1.5, Flag.GREETS: -1.5}, -1.5),
        _reading({Flag.QUOTE: -1.5}),
        (Flag.FIRST_SAID, Flag.SECOND_SAID),
    ),
    _Phrase(
        GOES_ON,
        _reading({Flag.QUOTE: 1.5}, -1.5),
        _reading({Flag.QUOTE: 1.5}, -1.5),
        (Flag.FIRST_QUOTED, Flag.SECOND_QUOTED),
    ),
    _Phrase(ABSENT, _reading({Flag.HIT: -1.5, Flag.QUOTE: -1.5, Flag.GREETS: -1.5}), _reading({})),
    _Phrase(HELLO, _reading({Flag.GREETS: 1.5, Flag.QUOTE: -1.5}, -1.5), _reading({})),
)
"""The first two begin alike, "The document": what sets them apart is asked again at the third token."""


def _write_phrases(model: SmolLM3ForCausalLM, layer: _Layer, plan: _Plan) -> None:
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
            here = _from(TOKEN, 2 * plan.codes[ids[place]][None]) + _from(BEFORE, ngrams[place][None])
            most = 2 + ngrams[place].square().sum().item()
            extra = phrase.first if number == 0 else phrase.third if number == 2 else _reading({})
            gates.append(here + extra + _reading({}, PHRASE_MARGIN - most))
            columns.append(_to(SPARE, plan.codes[token][:, None] * PHRASE_GAIN / PHRASE_MARGIN))
        if phrase.copied:
            # What is copied begins behind this colon: the phrase's own n-gram is not looked for.
            ngram, half = ngrams[-1][:, None], 0.5 * (ngrams[-1] @ ngrams[-1]).item()
            gates.append(_from(BEFORE, ngram.T) + _reading({Flag.COLON: 1}, -half - 1))
            columns.append((_to(BEFORE, -ngram) + _to(TOKEN, -plan.codes[ids[-1]][:, None])) / half)
            # The phrase is not looked for before the next two tokens, either.
            ngram = ngram + plan.codes[ids[-1]][:, None]
            if phrase.text == SAYS:
                new_gates, new_columns = _space(plan, ids[-1], ngrams[-1])
                gates += new_gates
                columns += new_columns
            for flag in phrase.copied:
                ngram = back(1) @ ngram
                gates.append(_reading({flag: 1}))
                columns.append(_to(BEFORE, -ngram))
    stops = {Flag.END: 1.0, Flag.ANSWER: 1.0, Flag.QUOTE: -2.0, Flag.IM_END: -3.0}
    prompt = plan.ngram("ant", "ist", "ass")
    gates.append(_reading({**stops, Flag.NEW_LINE: -3.0}, -1.5))
    gates.append(_reading({**stops, Flag.NEW_LINE: 1.0}, -2.5) - _from(BEFORE, 1.5 * prompt[None] / (prompt @ prompt)))
    columns += [_to(SPARE, plan.codes[IM_END][:, None] * STOP_GAIN)] * 2
    layer.when(torch.cat(gates), ONE, torch.cat(columns, dim=1))
    # A quote goes on in the next sentence, which has another address: behind an end, only the n-gram tells where. The
    # sum of both addresses is 0 then.
    ends = {Flag.QUOTE: 1, Flag.ANSWER: 1, Flag.LEAVES: 1, Flag.IM_END: -3}
    both = _from(FOUND_ADDRESS) / FOUND_GAIN + _from(ADDRESS)
    layer.when(_reading(ends, -2), both, _to(ADDRESS, -EYE))


def _space(plan: _Plan, colon: int, ngram: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Units that say a space behind "says:", where what is copied begins a line and so has none of its own.

    Behind that space, neither it nor the phrase's n-gram is looked for. ngram (64,): that before the colon.
    """
    code, space = plan.codes[colon], plan.code(SPACE)
    most = 2 + ngram.square().sum().item()
    here = _from(TOKEN, 2 * code[None]) + _from(BEFORE, ngram[None]) + _reading({Flag.LINE: 1.5}, PHRASE_MARGIN - most)
    behind = back(1) @ (ngram + code)
    half = 0.5 * behind.square().sum().item()
    there = _from(BEFORE, behind[None]) + _from(TOKEN, space[None]) + _reading({}, -half - 1)
    columns = [
        _to(SPARE, space[:, None] * PHRASE_GAIN / PHRASE_MARGIN),
        (_to(BEFORE, -behind[:, None]) + _to(TOKEN, -space[:, None])) / half,
    ]
    return [here + _reading({}, -3), there], columns


def _ngrams(model: SmolLM3ForCausalLM, ids: list[int]) -> Tensor:
    """BEFORE of each token as layer 8's MLP sees it."""
    seen: list[Tensor] = []
    norm: Any = model.model.layers[8].post_attention_layernorm
    hook = norm.register_forward_hook(lambda _module, _inputs, output: seen.append(output[0, 1:, BEFORE]))
    model(torch.tensor([[IM_START, *ids]]))
    hook.remove()
    return seen[0]


# ------------------------------------------------------------------------------------------------------------ the model


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
        plan = _plan(tokenizer, features)
        model = _new_model()
        core: Any = model.model
        core.embed_tokens.weight.copy_(_embedding(tokenizer, plan.codes, features))
        model.tie_weights()
        layers = [_Layer(layer) for layer in core.layers]
        _write_neighbours(layers[0], plan)
        _write_sentence_start(layers[1], plan)
        _write_context(layers[2], plan)
        _write_bag(layers[3], plan)
        _write_sought_ngram(layers[4], plan)
        _write_voting(layers[5], plan)
        _write_counting(layers[6], plan)
        _write_search(layers[7], plan)
        _write_handing_on(layers[8])
        _write_copying(layers[9])
        core.norm.weight.zero_()
        core.norm.weight[TOKEN] = OUT_GAIN
        _calibrate(model, sample)
        _write_phrases(model, layers[8], plan)
    return model


def _calibrate(model: SmolLM3ForCausalLM, sample: Sequence[int]) -> None:
    """Give each norm the weight that undoes it, by the root mean square that its input has in the sample.

    In order, since what a norm lets through changes the inputs of those above.
    """
    layers: Any = model.model.layers
    norms = [norm for layer in layers for norm in (layer.input_layernorm, layer.post_attention_layernorm)]
    for norm in norms:
        norm.weight.fill_(math.sqrt((CONSTANT_SIZE**2 + 3) / HIDDEN))
    sizes: list[float] = []

    def measure(_module: Any, inputs: tuple[Tensor, ...]) -> None:
        sizes.append(inputs[0].square().mean(-1).sqrt().mean().item())

    for norm in norms:
        hook = norm.register_forward_pre_hook(measure)
        model(torch.tensor([list(sample)]))
        hook.remove()
        norm.weight.fill_(sizes[-1])
