"""The tokens of the built-in model: their codes, what they give to a sentence's bag, and what of that is learned."""

import math
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import torch
from demo_data import split_words
from demo_layer import STEEP
from demo_layout import (
    BAG,
    BAG_SIZE,
    CODE,
    CONSTANT_SIZE,
    HIDDEN,
    IM_END,
    IM_START,
    LAST,
    LOG_WEIGHT_UNIT,
    PAD,
    SPACE,
    TOKEN,
    VOCABULARY,
    Flag,
)
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import silu

FADING: Final = 0.85
"""What is left of a token's code in an n-gram with each token further back."""
LEAST_LOG_WEIGHT: Final = -8.0
"""That of tokens that do not count."""
SHARED_CODE: Final = 0.75
OWN_CODE: Final = 0.66
"""What variants of a word have in common, by space and capitals, and what only the token has."""
TOO_SIMILAR: Final = 0.42
"""Codes of different words are pushed apart above this cosine."""
VARIANTS: Final = 0.5
"""Above it are the forms of one word, which may be similar."""
HEAVIEST: Final = 9.0
LIGHTEST: Final = 0.3
WEIGHT_POWER: Final = 2.0
"""A token's rarity is cut to these, divided by the first, and taken to the power."""
END_WEIGHT: Final = 10.0
REQUEST_WEIGHT: Final = 0.1
"""Weight of a sentence's end in its bag, where it stands for nothing, and the least one of words of requests."""
BAG_GAIN: Final = 5.0
"""Of the mean in BAG."""
BAG_LENGTH: Final = 2.7
"""The squared length of a bag, about."""
EVEN_MOST: Final = 1.2
EVEN_SLOPE: Final = 0.35
EVEN_LEAST: Final = 0.15
"""Bags are made about even in length: each is multiplied by the third and a ramp, the first less the second times its
squared length over the usual one, where that is above 0. That is near one over the root, but for very long ones."""
BAG_STORED: Final = 0.4
"""Size of a bag in the residual stream. Small, for a question's bag stays in the way."""
UNEVEN_BAG: Final = BAG_STORED * EVEN_LEAST
"""Size of a bag there before it is made even, and of a token's part."""
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
FIRST_MISSING: Final = 0.1
FIRST_VOTES: Final = 0.1
"""Where the learning of `Features` begins."""
RAREST: Final = 6.5
COMMON: Final = 4.5
"""Tokens whose rarity, a logarithm, is above the first vote with weight 1, below the second not at all."""
REQUEST_WORDS: Final = split_words(
    "like|know|tell|give|find|look|show|me|want|wonder|ask|search|please|looking|need|wish|must"
)
FRAMING_WORDS: Final = split_words(
    "according|answer|anything|archive|belong|called|could|describe|described|detail|details|document|exactly|happen|happened|"
    "information|mention|mentioned|named|question|should|something|text|would"
)
"""Words that frame a question. A document need not have them, and they tell little of where its answer stands."""
SHORT_ABBREVIATIONS: Final = split_words("Mr|Dr|St|Rev|Col|No|Ch|Apr|Nov|Dec|p")
"""Those that are one token; `demo_abbreviations` has others."""
QUESTION_BEGINNINGS: Final = split_words("What|Wh|W|When|How|Is|Was|D|C|And|So|In|On|At|I|T")
"""First tokens, behind a space, of what, who, which, why, where, does, can, "And what", "In which", "I want", tell."""
TITLES: Final = ("Mr", "Dr")
"""Tokens, behind a space, that tell nothing of a sentence that a name does not."""
REQUEST_VERBS: Final = split_words("Tell|Give|Find|Look|Show|Name|Say|Search|List|Please|Let|Help|Quote")
"""What begins a request. They are known by two tokens, where they begin a line."""

REFERRING_WORDS: Final = split_words("he|she|his|her|him|hers|it|its|they|their|them|theirs|And")
"""Words by which a question refers to the one before it. They do not vote."""
LEAST_REFERRING_LOG: Final = -2.0
"""Of their log weights: what refers must be heard in a long question, too."""


@dataclass(frozen=True)
class Features:
    """What is learned: of which words, and pairs of words, a sentence's bag is made, and when two bags match.

    A token gives its row of `tokens` and `pairs` @ pair features to the bag, with weight exp(log_weights). Pair
    features: silu(gates @ code) * (values @ n-gram of the two tokens before), with those of `pair_units`. The score of
    a question's bag q and a sentence's bag k, with the share v that the sentence has of the question's votes (see
    `demo_votes`), is q @ metric @ k + `search_votes` * v: the sentence with most of it is found. Whether it is a match
    is decided by q @ decision_metric @ k + `decision_votes` * v, of any sentence: it must be above `threshold` +
    `heft_threshold` * heft + `missing_threshold` * missing + `bag_threshold` @ q, where heft is what a question weighs
    beside its end, and missing how much of its votes went nowhere. `sharpness` multiplies scores in the softmax.
    `addresses` is of `demo_addresses.even_addresses`.
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
    missing_threshold: Tensor  # ()
    sharpness: Tensor  # ()
    decision_metric: Tensor  # (88, 88)
    search_votes: Tensor  # ()
    decision_votes: Tensor  # ()
    addresses: Tensor  # (64, 64)


def new_features(tokenizer: Tokenizer, counts: Tensor) -> Features:
    """The start of learning: random features, all of the same length.

    counts (vocab,): how often texts have each token. Addresses are as they come: a model needs them made even, by
    `demo_addresses.even_addresses`, or its layers have too few units.
    """
    tokens = _token_vectors(token_texts(tokenizer), BAG_SIZE, 32)
    tokens[_silent_tokens(tokenizer)] = 0
    gates, values = (torch.randn(PAIRS, CODE, generator=_generator(seed)) for seed in (11, 12))
    return Features(
        first_log_weights(tokenizer, counts),
        vote_log_weights(tokenizer, counts),
        tokens,
        orthogonal(BAG_SIZE, 31)[:, :PAIRS],
        gates,
        values,
        torch.eye(BAG_SIZE),
        torch.zeros(BAG_SIZE),
        torch.tensor(FIRST_THRESHOLD),
        torch.tensor(0.0),
        torch.tensor(FIRST_MISSING),
        torch.tensor(FIRST_SHARPNESS),
        torch.eye(BAG_SIZE),
        torch.tensor(FIRST_VOTES),
        torch.tensor(FIRST_VOTES),
        torch.eye(CODE),
    )


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def orthogonal(size: int, seed: int) -> Tensor:
    square = torch.randn(size, size, generator=_generator(seed), dtype=torch.float64)
    basis: Tensor = torch.linalg.qr(square)[0]
    return basis.float()


SHORT_CODE: Final = orthogonal(CODE, 25)[: LAST.stop - LAST.start] * math.sqrt(CODE / (LAST.stop - LAST.start))
"""Makes a shorter code of about the same length of a token's code."""
TURN: Final = orthogonal(CODE, 1)
"""Turns the code of a token before, so that an n-gram knows the order of its tokens."""


def back(tokens: int) -> Tensor:
    """What n-grams do with the code of the token that many places back: it is turned and fades."""
    turned: Tensor = torch.linalg.matrix_power(TURN.double(), tokens)
    return FADING**tokens * turned.float()


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


def quotation_marks(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Tokens that open a quote inside a line, and those that close one."""
    closing = [index for index, text in enumerate(token_texts(tokenizer)) if text == '"' or text.endswith("”")]
    return _behind_a_space(tokenizer, ('"', "“")), closing


def _behind_a_space(tokenizer: Tokenizer, words: Iterable[str]) -> list[int]:
    """The tokens that are one of these words, or of their beginnings, with a space before it."""
    texts = {f" {word}" for word in words}
    return [index for index, text in enumerate(token_texts(tokenizer)) if text in texts]


def token_id(tokenizer: Tokenizer, token: str) -> int:
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
    return _codes_of(tuple(token_texts(tokenizer))).clone()


@lru_cache(maxsize=1)
def _codes_of(texts: tuple[str, ...]) -> Tensor:
    """As above; each part of the model asks for them, and pushing them apart takes a second."""
    return _spread(_token_vectors(texts, CODE, 2))


def _token_vectors(texts: Sequence[str], size: int, seed: int) -> Tensor:
    generator = _generator(seed)
    own = torch.randn(VOCABULARY, size, generator=generator)
    own /= own.norm(dim=1, keepdim=True)
    shared: dict[str, Tensor] = {}
    vectors = torch.empty(VOCABULARY, size)
    for index, text in enumerate(texts):
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
    """Which tokens' weights are not learned (vocab,): special ones, marks, words of requests and such as refer."""
    fixed = [index <= IM_END or not _has_letters(text) for index, text in enumerate(token_texts(tokenizer))]
    found = torch.tensor(fixed)
    found[[*_request_tokens(tokenizer), *_behind_a_space(tokenizer, REFERRING_WORDS)]] = True
    return found


def _silent_tokens(tokenizer: Tokenizer) -> list[int]:
    """Tokens that say nothing of what a sentence is about: its ends and quotation marks."""
    return [IM_START, IM_END, token_id(tokenizer, 'Ġ"'), token_id(tokenizer, '"'), *sentence_ends(tokenizer)]


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
    """Words of requests, of those that are one token."""
    words = [encode(tokenizer, f" {word}") for word in REQUEST_WORDS]
    return [ids[0] for ids in words if len(ids) == 1]


def first_log_weights(tokenizer: Tokenizer, counts: Tensor) -> Tensor:
    """Where the learning of the weights (vocab,) begins: the rarer a token, the more it counts.

    counts (vocab,): how often texts have each token.
    """
    rarity = torch.log((counts.sum().double() + 1) / (counts.double() + 3)).float()
    logs = WEIGHT_POWER * (rarity.clamp(LIGHTEST, HEAVIEST) / HEAVIEST).log()
    logs[fixed_tokens(tokenizer)] = LEAST_LOG_WEIGHT
    logs[token_id(tokenizer, 'Ġ"')] = 0.0
    logs[_request_tokens(tokenizer)] = math.log(REQUEST_WEIGHT)
    logs[_behind_a_space(tokenizer, REFERRING_WORDS)] = LEAST_REFERRING_LOG
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


def encode_question(tokenizer: Tokenizer, question: str) -> list[int]:
    """The ids of a question as it stands in a chat: at a line's beginning."""
    return encode(tokenizer, f"\n{question}")[1:]


def bag(
    features: Features,
    codes: Tensor,
    wordy: Tensor,
    sentences: Sequence[Sequence[int]],
    asking: Tensor | None = None,
    longer: Tensor | float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The bags (sentences, 88) and hefts (sentences,) that the model makes of sentences' tokens.

    With gradients for what is learned. asking: which tokens (vocab,) weigh little where they begin a line, for
    sentences that do. longer (sentences,): by how many usual squared lengths bags count as longer than they are.
    """
    flat = torch.tensor([token for sentence in sentences for token in sentence])
    owner = torch.tensor([index for index, sentence in enumerate(sentences) for _ in sentence])
    place = torch.tensor([index for sentence in sentences for index in range(len(sentence))])
    here = codes[flat]
    before = sum((here.roll(ago, 0) * (place >= ago)[:, None]) @ back(ago).T for ago in (1, 2))
    gates, values = pair_units(features.pair_gates, features.pair_values, wordy)
    pairs = silu(here @ gates.T) * (before @ values.T)
    weights = features.log_weights[flat].exp()
    if asking is not None:
        weights = torch.where(asking[flat] & (place == 0), REQUEST_WEIGHT, weights)
    given = features.tokens[flat] + pairs @ features.pairs.T
    total = torch.zeros(len(sentences), BAG_SIZE).index_add(0, owner, weights[:, None] * given)
    mass = torch.zeros(len(sentences)).index_add(0, owner, weights)
    heft = torch.zeros(len(sentences)).index_add(0, owner, weights * (features.log_weights[flat] < END_LOG)) / mass
    return _even(BAG_GAIN * total / mass[:, None], longer), heft


def _even(bags: Tensor, longer: Tensor | float) -> Tensor:
    """Bags (n, 88) of about the same length, as the model makes them."""
    ramp = (EVEN_MOST - EVEN_SLOPE * (bags.square().sum(1) / BAG_LENGTH + longer))[:, None]
    return bags * (EVEN_LEAST + silu(STEEP * ramp) / STEEP)


def embedding(tokenizer: Tokenizer, codes: Tensor, features: Features) -> Tensor:
    """Tokens as they enter the residual stream (vocab, hidden): their codes, what they give to bags, and flags."""
    table = torch.zeros(VOCABULARY, HIDDEN)
    table[:, TOKEN] = codes
    table[:, BAG] = features.tokens * UNEVEN_BAG
    table[:, Flag.CONSTANT] = CONSTANT_SIZE
    for index, text in enumerate(token_texts(tokenizer)):
        broken = "\n" in text
        mark = text.startswith("'") or (text.strip() != "" and not _has_letters(text) and not text.startswith(" "))
        table[index, Flag.NEW_LINE] = broken
        table[index, Flag.SPECIAL] = broken or mark
        letter = text.lstrip(" ")[:1]
        table[index, Flag.SMALL] = letter.isalpha() and not letter.isupper()
        table[index, Flag.START] = text[:1].isupper() or text.startswith((" ", '"', "“"))
        table[index, Flag.NO_SPACE] = _has_letters(text) and not text.startswith(" ")
        table[index, Flag.NUMBER_ENDS] = -text.isdecimal()
        table[index, Flag.ASKS] = text.strip(' )"”*') == "?"
    table[[*sentence_ends(tokenizer), IM_END], Flag.END] = 1
    table[[encode(tokenizer, f" {word}")[0] for word in REQUEST_VERBS], Flag.REQUEST_BEGINS] = 0.25
    table[token_id(tokenizer, f"{SPACE}I"), Flag.REQUEST_BEGINS] = 1
    table[_request_tokens(tokenizer), Flag.REQUEST_WORD] = 1
    table[IM_END, Flag.IM_END] = 1
    table[IM_START, Flag.IM_START] = 1
    table[IM_START, Flag.SPECIAL] = 2
    table[IM_END, Flag.SPECIAL] = 1
    table[token_id(tokenizer, ":"), Flag.COLON] = 1
    opening, closing = quotation_marks(tokenizer)
    table[opening, Flag.QUOTE_OPENS] = 1
    table[closing, Flag.QUOTE_CLOSES] = 1
    initials = set(string.ascii_uppercase) - {"I"}  # that is a word
    table[_behind_a_space(tokenizer, initials.union(SHORT_ABBREVIATIONS)), Flag.ABBREVIATES] = 1
    table[_behind_a_space(tokenizer, QUESTION_BEGINNINGS), Flag.BEGINS_QUESTION] = 1
    table[PAD] = 0
    table[:, Flag.LOG_WEIGHT] = features.log_weights / LOG_WEIGHT_UNIT
    # Their share in a bag tells that a question has a quote: all weigh the same, and give nothing else.
    table[opening, Flag.LOG_WEIGHT] = 0
    table[opening, BAG] = 0
    table[:, Flag.VOTE_LOG_WEIGHT] = features.vote_log_weights / LOG_WEIGHT_UNIT
    table[_behind_a_space(tokenizer, REFERRING_WORDS), Flag.REFERS] = 1
    titles = _behind_a_space(tokenizer, TITLES)
    table[titles, Flag.LOG_WEIGHT] = table[titles, Flag.VOTE_LOG_WEIGHT] = LEAST_LOG_WEIGHT / LOG_WEIGHT_UNIT
    return table


@dataclass(frozen=True)
class Plan:
    """What the layers are written from."""

    tokenizer: Tokenizer
    features: Features
    codes: Tensor
    wordy: Tensor
    wordy_before: Tensor
    """What `wordy` is for codes, for the token before in an n-gram."""

    def code(self, token: str) -> Tensor:
        """The code (64,) of a token."""
        return self.codes[token_id(self.tokenizer, token)]

    def ngram_of(self, text: str) -> Tensor:
        """The n-gram (64,) behind a text."""
        ids = encode(self.tokenizer, text)
        return sum((back(ago + 1) @ self.codes[token] for ago, token in enumerate(reversed(ids))), torch.zeros(CODE))

    def ngram(self, *tokens: str, skip: int = 0) -> Tensor:
        """The n-gram of tokens, latest first, of which the latest is 1 + skip places back."""
        parts = [back(1 + skip + i) @ self.code(token) for i, token in enumerate(tokens)]
        return torch.stack(parts).sum(0)


def make_plan(tokenizer: Tokenizer, features: Features) -> Plan:
    codes = token_codes(tokenizer)
    silent = codes[_silent_tokens(tokenizer)]
    return Plan(tokenizer, features, codes, wordy(tokenizer, codes), _without(silent @ TURN.T))
