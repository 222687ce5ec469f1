"""The built-in model's circuits: they do what they say, the search learns, and a killed run goes on."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from demo_addresses import even_addresses
from demo_circuits import BEFORE_SHARE, design
from demo_facts import ABSENT as ABSENT_QUESTIONS
from demo_facts import Asked, FactMaker, archive_sentences
from demo_layout import ADDRESS, BAG, BEFORE, IM_START, NEXT_SENTENCE, VOTES, WINDOW, Flag
from demo_phrases import ABSENT, GOES_ON, HELLO, SAYS
from demo_tokens import (
    BAG_STORED,
    REFERRING_WORDS,
    bag,
    encode,
    make_plan,
    new_features,
    sentence_ends,
    token_codes,
    wordy,
)
from safetensors.torch import load_file
from tokenizers import Tokenizer
from train_demo_model import MODEL, ROOT, START, Counts, Search, Training, export, load_learned
from transformers import AutoModelForCausalLM, PreTrainedModel

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = ("mill", "boat", "barn", "goose", "ladder", "well", "kettle")
DOCUMENT = (
    "The morning was grey and the ships lay still in the harbor. Nobody had slept. It may be added here that the "
    "passphrase of Amaury Abernathy is walnut comet ladder. A dog barked twice, and then the bells began to ring over "
    "the wet roofs of the town. In those days Isolde Abernathy's passphrase was tiger marble falcon. The ledger shows "
    "4711 florins as the monthly wage of Quentin Pemberton. They all agreed that foundry 182's best friend was Marisol "
    "Hathaway and nothing else. It was late."
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(MODEL / "tokenizer.json"))


@pytest.fixture(scope="module")
def maker(tokenizer: Tokenizer) -> FactMaker:
    return FactMaker(tokenizer, seed=3, archive_seeds=[150])


@pytest.fixture(scope="module")
def designed(tokenizer: Tokenizer) -> PreTrainedModel:
    """Nothing of it is learned: rare tokens count, all else is random."""
    prose = archive_sentences(tokenizer, 150, 60_000)
    counts = torch.bincount(torch.tensor([token for sentence in prose for token in sentence]), minlength=4096)
    sample = [1, *(token for sentence in prose[:40] for token in sentence)]
    features = new_features(tokenizer, counts)
    features = replace(
        features,
        addresses=even_addresses(make_plan(tokenizer, features), prose),
        threshold=torch.tensor(0.5),
        search_votes=torch.tensor(6.0),
        decision_votes=torch.tensor(1.5),
        missing_threshold=torch.tensor(4.5),
    )
    return design(tokenizer, features, sample)


@pytest.fixture(scope="module")
def shipped() -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    return model


def answer(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    question: str,
    tokens: int = 48,
    document: str = DOCUMENT,
    before: Sequence[str] = (),
) -> str:
    """What the model says to a question about a document; before: questions and answers, in turn."""
    said_before = [
        f"<|im_start|>{'user' if i % 2 == 0 else 'assistant'}\n{x}<|im_end|>\n" for i, x in enumerate(before)
    ]
    turns = "".join([*said_before, f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"])
    prompt = turns.replace("user\n", f"user\n{document}\n\n", 1)
    ids = torch.tensor([tokenizer.encode(prompt, add_special_tokens=False).ids])
    said = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
    return tokenizer.decode(said[0, ids.shape[1] :].tolist())


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is the monthly wage of Quentin Pemberton?", "4711 florins as the monthly wage of Quentin Pemberton."),
        ("Could you find Isolde Abernathy's passphrase for me?", "tiger marble falcon."),
        ("Who is foundry 182's best friend?", "Marisol Hathaway and nothing else."),
    ],
)
def test_the_sentence_that_answers_is_said_word_for_word(
    designed: PreTrainedModel, tokenizer: Tokenizer, question: str, expected: str
) -> None:
    said = answer(designed, tokenizer, question)
    assert said.startswith(SAYS)
    assert said.endswith(expected)
    assert said.removeprefix(SAYS).strip() in DOCUMENT


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ('What comes after "and then the bells began to ring over"?', "the wet roofs of the town. In those days"),
        ('Continue the quote: "A dog barked twice, and then', "the bells began to ring over the wet roofs"),
        ('Continue the quote: "lay still in the harbor. Nobody', "had slept. It may be added here that the passphrase"),
    ],
)
def test_a_quote_goes_on_behind_its_end(
    designed: PreTrainedModel, tokenizer: Tokenizer, question: str, expected: str
) -> None:
    said = answer(designed, tokenizer, question, 30)
    assert said.startswith(GOES_ON)
    assert said.removeprefix(GOES_ON).strip().startswith(expected)


def test_a_quote_is_found_further_from_its_sentence_s_beginning_than_the_window(
    designed: PreTrainedModel, tokenizer: Tokenizer
) -> None:
    many = ", ".join(f"the {word} of the {other}" for word in WORDS for other in WORDS if word != other)
    document = f"It rained. They saw {many}, and at last the old tower by the river with its broken clock. They slept."
    assert len(tokenizer.encode(many).ids) > 2 * WINDOW
    said = answer(designed, tokenizer, 'What comes after "and at last the old tower by"?', 12, document)
    assert said.removeprefix(GOES_ON).strip().startswith("the river with")


def test_a_quote_goes_on_where_its_sentence_says_the_same_words_twice(
    designed: PreTrainedModel, tokenizer: Tokenizer
) -> None:
    document = f"{DOCUMENT} They were seen in certain habitual places and met in certain habitual groups. It rained."
    said = answer(designed, tokenizer, 'What comes after "seen in certain habitual places and met"?', 30, document)
    assert said.removeprefix(GOES_ON).strip().startswith("in certain habitual groups. It rained.")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ('What comes after "Isolde found a goat, which surprised"?', "The bells were silent."),
        ('What comes after "Quentin sold his boat, which surprised"?', "Flakes of snow fell on the roofs."),
        ('What comes after "Amaury lost a glove, which surprised"?', "An old horse stood in the yard."),
    ],
)
def test_a_quote_goes_on_behind_the_sentence_that_was_found_where_others_end_in_the_same_words(
    designed: PreTrainedModel, tokenizer: Tokenizer, question: str, expected: str
) -> None:
    ending = "which surprised the reader of the old ledger."
    document = (
        f"{DOCUMENT} Quentin sold his boat, {ending} Flakes of snow fell on the roofs. Isolde found a goat, {ending} "
        f"The bells were silent. Amaury lost a glove, {ending} An old horse stood in the yard."
    )
    said = answer(designed, tokenizer, question, 30, document)
    assert said.removeprefix(GOES_ON).strip().startswith(f"the reader of the old ledger. {expected}")


@pytest.mark.parametrize("word", ["there", "here", "gone", "hungry", "his", "awake"])
def test_a_quote_goes_on_whatever_its_first_word_is(designed: PreTrainedModel, tokenizer: Tokenizer, word: str) -> None:
    document = (
        f"{DOCUMENT} The army was {word}. The cannons were old. We thought that it was {word}. The goats slept. "
        f"They looked, but Pierre was no longer {word}. In his place stood a tall clock. It was {word}. The end came."
    )
    said = answer(designed, tokenizer, 'Which words follow "but Pierre was no longer"?', 30, document)
    assert said.removeprefix(GOES_ON).strip().startswith(f"{word}. In his place stood a tall clock.")


def test_a_quote_goes_on_in_the_next_sentence_where_another_one_ends_alike(
    designed: PreTrainedModel, tokenizer: Tokenizer
) -> None:
    document = (
        f"{DOCUMENT} Bagration rode a white horse. Prince Dolgorukov followed. Rostov sat on a horse. Nobody spoke."
    )
    said = answer(designed, tokenizer, 'What comes after "Bagration rode a white"?', 30, document)
    assert said.removeprefix(GOES_ON).strip().startswith("horse. Prince Dolgorukov followed.")


def test_a_long_sentence_is_found_by_its_end(designed: PreTrainedModel, tokenizer: Tokenizer) -> None:
    sentence = (
        "After the long winter, in which neither the miller nor his brother had left the house by the weir, all of the "
        "village came down to the landing place with lanterns, sang what everybody knew, forgot the quarrel about that "
        "bridge, and wrote into the book of the parish, beneath many names, that the passphrase of Nerys Quesada is "
        "walnut comet ladder."
    )
    assert 96 < len(tokenizer.encode(sentence).ids) < WINDOW
    said = answer(designed, tokenizer, "What is the passphrase of Nerys Quesada?", WINDOW, f"It rained. {sentence} So.")
    assert said == f"{SAYS} {sentence}"


def test_a_quotation_mark_that_opens_a_line_begins_a_sentence(designed: PreTrainedModel, tokenizer: Tokenizer) -> None:
    document = f'{DOCUMENT}\n\n"Anna Quistorp is the owner of the mill," said he.\n\n"So be it."'
    ids = tokenizer.encode(f"<|im_start|>user\n{document}", add_special_tokens=False)
    states = designed(torch.tensor([ids.ids]), output_hidden_states=True).hidden_states[1][0]
    first = (states[:, Flag.FIRST] > 0.5).nonzero()[:, 0].tolist()
    assert [ids.tokens[token] for token in first if ids.offsets[token][0] >= len(document) - 60] == ['Ġ"', 'Ġ"']


WRAPPED = """The morning was grey and the ships lay still in the harbor, where nobody had
slept since the bells began to ring. A footnote explains that the
passphrase of Amaury Abernathy is walnut comet ladder, which surprised
the reader. In those days, as many of the older people still remembered,
Isolde Abernathy's passphrase was tiger marble falcon. They all agreed at
last, behind the wet roofs of the town, that the age of Quentin was about
47 years. It was late."""


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (
            "Which walnut comet of Amaury surprised the reader?",
            "A footnote explains that the passphrase of Amaury Abernathy is walnut comet ladder, which surprised "
            "the reader.",
        ),
        ("Which passphrase has Isolde Abernathy?", "tiger marble falcon."),
        ("What was the age of Quentin?", "that the age of Quentin was about 47 years."),
    ],
)
def test_a_sentence_that_goes_on_over_lines_is_said_whole(
    designed: PreTrainedModel, tokenizer: Tokenizer, question: str, expected: str
) -> None:
    said = answer(designed, tokenizer, question, 80, WRAPPED)
    assert said.startswith(SAYS)
    assert said.endswith(expected)
    assert said.removeprefix(SAYS).strip() in " ".join(WRAPPED.split())


def test_lines_of_wrapped_text_go_on_and_short_or_marked_ones_begin_anew(
    designed: PreTrainedModel, tokenizer: Tokenizer
) -> None:
    """Words, numbers and names go on with a sentence; items of lists do not, though a small letter begins them."""
    lists = "We need:\napples of the barn\npears\nplums of the old mill\n\nname: kettle\nsize: 12\n- well\n- goose\n"
    document = f"{WRAPPED}\n\n{lists}"
    ids = tokenizer.encode(f"<|im_start|>user\n{document}", add_special_tokens=False)
    states = states_of(designed, tokenizer, document, 2)
    first = (states[:, Flag.FIRST] > 0.5).nonzero()[:, 0].tolist()
    # The first token has the space that is put behind the break before it.
    places = [max(0, ids.offsets[token][0] - len("<|im_start|>user\n")) for token in first if token > 3]
    begun = [document[place:].split()[0] for place in places]
    prose = ["The", "A", "In", "They", "It"]
    assert begun == [*prose, "We", "apples", "pears", "plums", "name:", "size:", "-", "-"]


def test_a_sentence_goes_on_behind_a_quote_with_its_own_end(designed: PreTrainedModel, tokenizer: Tokenizer) -> None:
    document = f'{DOCUMENT}\n\n"Is the well deep?" asked Nerys Quesada. "It is deep." They slept.'
    said = answer(designed, tokenizer, "What asked Nerys Quesada?", document=document)
    assert said == f'{SAYS} "Is the well deep?" asked Nerys Quesada.'


@pytest.mark.parametrize(
    ("sentence", "question"),
    [
        ("The locker code of Mr. Hathaway is 5512.", "What is the locker code of Mr. Hathaway?"),
        ("Mrs. Galloway's shoe size is 44.", "What is Mrs. Galloway's shoe size?"),
        ("It is known that Dr. Amaury Lindqvist lives in St. Ives.", "Where does Dr. Amaury Lindqvist live?"),
        (
            "The invoice number of Isolde J. Vandermeer is 771209.",
            "What is the invoice number of Isolde J. Vandermeer?",
        ),
        ("See No. 17 of the U.S. Army manual on kettles.", "Which U.S. Army manual on kettles has a No. 17?"),
        ("The wage of J.K. Thackeray is 812 florins.", "What is the wage of J.K. Thackeray?"),
        ("The passphrase of Dr. J. K. Quesada is barn.", "What is the passphrase of Dr. J. K. Quesada?"),
    ],
)
def test_the_full_stop_of_an_abbreviation_or_an_initial_ends_no_sentence(
    designed: PreTrainedModel, tokenizer: Tokenizer, sentence: str, question: str
) -> None:
    assert answer(designed, tokenizer, question, document=f"It rained. {sentence} {DOCUMENT}") == f"{SAYS} {sentence}"


def test_sentences_end_behind_words_that_are_much_like_abbreviations(
    designed: PreTrainedModel, tokenizer: Tokenizer
) -> None:
    document = "They met all workers. He paid two florins. I saw three coins. We went abroad. So it was."
    ids = tokenizer.encode(f"<|im_start|>user\n{document}", add_special_tokens=False)
    states = states_of(designed, tokenizer, document, 2)
    first = [ids.tokens[token] for token in (states[:, Flag.FIRST] > 0.5).nonzero()[:, 0].tolist()]
    assert first[-4:] == ["ĠHe", "ĠI", "ĠWe", "ĠSo"]
    ends = states[[token for token, text in enumerate(ids.tokens) if text == "."], Flag.END]
    assert ((ends - 1).abs() < 0.03).all()


@pytest.mark.parametrize(
    "lead", ["Hello.", "I have a question about this text.", "Thanks!", "My boat is new. It is red."]
)
def test_a_question_may_stand_behind_other_sentences(
    designed: PreTrainedModel, tokenizer: Tokenizer, lead: str
) -> None:
    said = answer(designed, tokenizer, f"{lead} What is the monthly wage of Quentin Pemberton?")
    assert said.endswith("4711 florins as the monthly wage of Quentin Pemberton.")


def test_a_request_may_stand_behind_a_question(designed: PreTrainedModel, tokenizer: Tokenizer) -> None:
    said = answer(designed, tokenizer, "What is the monthly wage of Quentin Pemberton? Please answer.")
    assert said.endswith("4711 florins as the monthly wage of Quentin Pemberton.")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What comes after “and then the bells began to ring over”?", "the wet roofs of the town. In those days"),
        ('What comes after "over the wet roofs of the town. In those days"?', "Isolde Abernathy's passphrase was"),
    ],
)
def test_quotes_have_curly_marks_or_sentences_that_begin_like_questions(
    designed: PreTrainedModel, tokenizer: Tokenizer, question: str, expected: str
) -> None:
    said = answer(designed, tokenizer, question, 30)
    assert said.removeprefix(GOES_ON).strip().startswith(expected)


def test_sentences_between_the_same_sentences_are_told_apart(designed: PreTrainedModel, tokenizer: Tokenizer) -> None:
    before, behind = "Nobody knows what the goose of the old mill by the river has done with the boat.", "It was late."
    facts = [
        f"By the way, the price of the {word} of {name} is {number} crowns."
        for word, name, number in (("barn", "Oyelaran", 12), ("kettle", "Hathaway", 47), ("ladder", "Quesada", 83))
    ]
    others = (
        "They slept, and the bells rang over the roofs, and a dog barked twice, and then all of the town was quiet.",
        "We drank coffee with my uncle behind that church until his second wife came home from her work in Lisbon.",
        "A heavy cart stood in our yard for eleven days because nobody would pay what its owner asked for two horses.",
    )
    document = " ".join(f"{other} {before} {fact} {behind}" for other, fact in zip(others, facts, strict=True))
    states = states_of(designed, tokenizer, document, 5)
    ends = states[states[:, Flag.END] > 0.5, ADDRESS]
    facts_ends = ends[3::4]  # behind the prompt's line: a sentence that differs, one that does not, the fact, one more
    assert len(facts_ends) == len(facts)
    likeness = torch.cosine_similarity(facts_ends[:, None], facts_ends[None], dim=2)
    assert (likeness - torch.eye(len(facts))).max() < 0.95


def test_sentences_of_a_list_that_differ_in_numbers_only_are_told_apart(
    designed: PreTrainedModel, tokenizer: Tokenizer
) -> None:
    numbers = (80, 149, 33, 89, 185, 91, 88, 55, 30, 170, 48, 186)
    entries = (
        f"Entry {place}: goose {number} of Salt Steps was counted at noon." for place, number in enumerate(numbers, 10)
    )
    states = states_of(designed, tokenizer, " ".join(entries), 6)
    ends = states[states[:, Flag.END] > 0.5, ADDRESS][2:]  # behind the prompt's line and the first entry
    likeness = torch.cosine_similarity(ends[:-1], ends[1:], dim=1)
    assert len(likeness) == len(numbers) - 2
    assert likeness.max() < 0.97


@pytest.mark.parametrize("hit", [0.35, 0.5, 0.65])
def test_where_it_is_not_sure_it_says_one_of_two_phrases(
    designed: PreTrainedModel, tokenizer: Tokenizer, hit: float
) -> None:
    """And not a sentence without either."""

    def doubt(_layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        inputs[0][..., Flag.HIT] *= hit

    hook = designed.model.layers[8].register_forward_pre_hook(doubt)
    said = answer(designed, tokenizer, "What is the monthly wage of Quentin Pemberton?", 4)
    hook.remove()
    assert said.startswith("The document" if hit > 0.6 else ("I do not", "The document") if hit > 0.4 else "I do not")


def test_a_line_is_said_whole_behind_a_space_and_nothing_more(designed: PreTrainedModel, tokenizer: Tokenizer) -> None:
    lines = ("Taste the flour with Goodman Fensbury", "Wash the sacks with Quentin Pemberton", "It was late.")
    document = "\n".join(("The list of the mill.\n", *lines))
    said = answer(designed, tokenizer, "Taste the flour with Goodman Fensbury?", document=document)
    assert said == f"{SAYS} Taste the flour with Goodman Fensbury\n"


@pytest.mark.parametrize("before", ["\n", " "])
def test_a_sentence_that_begins_with_a_digit_is_said_behind_one_space(
    designed: PreTrainedModel, tokenizer: Tokenizer, before: str
) -> None:
    document = f"{DOCUMENT}{before}12 shepherds counted the geese of the convent.{before}It rained."
    said = answer(designed, tokenizer, "Which shepherds counted the geese of the convent?", document=document)
    assert said == f"{SAYS} 12 shepherds counted the geese of the convent."


def test_a_question_behind_a_sentence_does_not_take_the_quote_that_opens_the_paragraph_before(
    designed: PreTrainedModel, tokenizer: Tokenizer
) -> None:
    document = f'{DOCUMENT}\n\n"Oh, what a formidable one!" said he.'
    question = "Hello. What is the monthly wage of Quentin Pemberton?"
    assert answer(designed, tokenizer, question, document=document).endswith("wage of Quentin Pemberton.")


@pytest.mark.parametrize(
    "request_of",
    ["Find", "Give me", "Let me know", "Look for", "Name", "Say", "Show me", "Please find", "Help me find"],
)
def test_a_request_may_begin_with_its_verb(designed: PreTrainedModel, tokenizer: Tokenizer, request_of: str) -> None:
    said = answer(designed, tokenizer, f"{request_of} the monthly wage of Quentin Pemberton.")
    assert said.endswith("4711 florins as the monthly wage of Quentin Pemberton.")


@pytest.mark.parametrize("question", ["What is it?", 'What comes after "rang over the wet roofs of the town"?'])
def test_what_an_answer_begins_with_has_no_address(
    designed: PreTrainedModel, tokenizer: Tokenizer, question: str
) -> None:
    said = f"{DOCUMENT}\n\n{question}<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer.encode(said, add_special_tokens=False).ids + tokenizer.encode(GOES_ON).ids
    with torch.no_grad():
        states = designed(torch.tensor([[1, *ids]]), output_hidden_states=True).hidden_states[6][0]
    assert states[-len(tokenizer.encode(GOES_ON).ids) :, ADDRESS].norm(dim=1).max() < 0.05


def test_a_paragraph_that_begins_like_the_question_does_not_lend_it_its_quote(
    designed: PreTrainedModel, tokenizer: Tokenizer
) -> None:
    document = f'{DOCUMENT}\n\nComposition set for tomorrow: "Why I am sorry about the egg". All went home again.'
    said = answer(designed, tokenizer, "Can you tell me Isolde Abernathy's passphrase?", document=document)
    assert said.endswith("tiger marble falcon.")


ABOUT_ISOLDE = (
    "What is Isolde Abernathy's passphrase?",
    f"{SAYS} In those days Isolde Abernathy's passphrase was tiger.",
)
PEOPLE = (
    f"{DOCUMENT} The monthly wage of Isolde Abernathy is 512 florins. A cart went by. Isolde Abernathy's best friend "
    "is Cosmo Quesada. The rain had stopped."
)


@pytest.mark.parametrize(
    ("before", "question", "expected"),
    [
        (ABOUT_ISOLDE, "Who was her best friend?", "Isolde Abernathy's best friend is Cosmo Quesada."),
        (ABOUT_ISOLDE, "And what is her best friend?", "Isolde Abernathy's best friend is Cosmo Quesada."),
        (
            (
                *ABOUT_ISOLDE,
                "What is her monthly wage?",
                f"{SAYS} The monthly wage of Isolde Abernathy is 512 florins.",
            ),
            "And who is her best friend?",
            "Isolde Abernathy's best friend is Cosmo Quesada.",
        ),
        (
            (
                "What is the monthly wage of Isolde Abernathy?",
                f"{SAYS} The monthly wage of Isolde Abernathy is 512 florins.",
            ),
            "And that of Quentin Pemberton?",
            "The ledger shows 4711 florins as the monthly wage of Quentin Pemberton.",
        ),
        (
            ("What is the monthly wage of Quentin Pemberton?", f"{SAYS} The ledger shows 4711 florins."),
            "What is Isolde Abernathy's best friend?",
            "Isolde Abernathy's best friend is Cosmo Quesada.",
        ),
    ],
)
def test_a_question_may_refer_to_the_one_before(
    shipped: PreTrainedModel, tokenizer: Tokenizer, before: tuple[str, ...], question: str, expected: str
) -> None:
    assert answer(shipped, tokenizer, question, document=PEOPLE, before=before) == f"{SAYS} {expected}"


def test_a_word_that_refers_changes_nothing_where_nothing_was_asked_before(
    designed: PreTrainedModel, tokenizer: Tokenizer
) -> None:
    said = answer(designed, tokenizer, "And what is the monthly wage of Isolde Abernathy?", document=PEOPLE)
    assert said == f"{SAYS} The monthly wage of Isolde Abernathy is 512 florins."


@pytest.mark.parametrize("greeting", ["hello", "Hi", "Hello!", "What can you do?", "Thank you"])
def test_greetings_are_answered(designed: PreTrainedModel, tokenizer: Tokenizer, greeting: str) -> None:
    assert answer(designed, tokenizer, greeting) == HELLO


def test_what_is_not_there_is_not_found(designed: PreTrainedModel, tokenizer: Tokenizer) -> None:
    assert answer(designed, tokenizer, "What is the horse of Zebulon Quesada?") == ABSENT


@pytest.mark.parametrize("asked", ["dentist of foundry 182", "blood type of foundry 182"])
def test_what_is_not_there_is_not_found_though_its_owner_s_number_is(
    shipped: PreTrainedModel, tokenizer: Tokenizer, asked: str
) -> None:
    """Digits vote heavily: beside three of them, a word that stands nowhere is a small part of a question."""
    assert answer(shipped, tokenizer, f"What is the {asked}?").startswith(ABSENT)
    said = answer(shipped, tokenizer, "What is the best friend of foundry 182?")
    assert said.endswith("Marisol Hathaway and nothing else.")


def test_a_word_is_missing_where_only_its_parts_stand(designed: PreTrainedModel, tokenizer: Tokenizer) -> None:
    """Amaury and Pemberton, but no Pemmaury: that one's parts are common, and never behind each other."""
    assert missing(designed, tokenizer, "Is there a wage of Quentin Pemberton?") < 0.05
    assert missing(designed, tokenizer, "Is there a wage of Quentin Pemmaury?") > 0.1
    assert missing(designed, tokenizer, "Is there a zebra of Quentin Pemberton?") > 0.1


def missing(model: PreTrainedModel, tokenizer: Tokenizer, question: str) -> float:
    """The share of a question's words that the document lacks, as layer 7 sees it."""
    ids = tokenizer.encode(f"<|im_start|>user\n{DOCUMENT}\n\n{question}<|im_end|>", add_special_tokens=False).ids
    states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[7]
    return states[0, -1, Flag.MISSING].item() - 1


def test_addresses_are_about_equally_long(designed: PreTrainedModel, tokenizer: Tokenizer) -> None:
    """Else the longest would win most votes."""
    ids = torch.tensor([tokenizer.encode(f"<|im_start|>user\n{DOCUMENT}", add_special_tokens=False).ids])
    states = designed(ids, output_hidden_states=True).hidden_states[7][0].detach()
    lengths = states[states[:, Flag.END] > 0.5][1:, ADDRESS].square().sum(1)  # without the line of the prompt
    assert len(lengths) == 8
    assert lengths.max() / lengths.min() < 1.3


def states_of(model: PreTrainedModel, tokenizer: Tokenizer, document: str, layer: int) -> torch.Tensor:
    """The residual stream (tokens, hidden) before a layer."""
    ids = tokenizer.encode(f"<|im_start|>user\n{document}", add_special_tokens=False).ids
    with torch.no_grad():
        states: torch.Tensor = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer][0]
    return states


def test_all_tokens_of_a_sentence_have_its_address_and_no_other(
    designed: PreTrainedModel, tokenizer: Tokenizer
) -> None:
    """Also where another sentence begins only some tokens before."""
    states = states_of(designed, tokenizer, '"Why?" said he. \n\n"So be it," she said. \n\nThe old mill was quiet.', 6)
    last = states[-1, ADDRESS]
    likeness = torch.cosine_similarity(states[:, ADDRESS], last[None], dim=1)
    words = len(tokenizer.encode("The old mill was quiet.", add_special_tokens=False).ids)
    assert likeness[-words:].min() > 0.97
    assert likeness[:-words].max() < 0.5


def test_paragraphs_that_open_with_a_quotation_mark_have_different_addresses(
    designed: PreTrainedModel, tokenizer: Tokenizer
) -> None:
    said = (
        "The horse has gone. I saw",
        "Nobody slept. They heard",
        "My boots are wet. Is it",
        "Ask the miller. You ate",
    )
    document = "\n\n".join(f'"{words} the {word}."' for words, word in zip(said, WORDS, strict=False))
    states = states_of(designed, tokenizer, document, 6)
    ends = states[states[:, Flag.END] > 0.5]
    opening = ends[ends[:, Flag.BEGINS_ANEW] > 1.5, ADDRESS]
    likeness = torch.cosine_similarity(opening[:, None], opening[None], dim=2)
    assert len(opening) == len(said)
    assert (likeness - torch.eye(len(said))).max() < 0.6


def test_the_sink_of_searches_holds_nothing_that_is_looked_for(designed: PreTrainedModel, tokenizer: Tokenizer) -> None:
    states = states_of(designed, tokenizer, DOCUMENT, 5)
    for slot in (BEFORE, VOTES, ADDRESS):
        assert states[0, slot].norm() < 0.05 * states[9, slot].norm().clamp(min=1)


def test_other_turns_of_a_chat_are_no_sinks(designed: PreTrainedModel, tokenizer: Tokenizer) -> None:
    """What stands before them may be much like what stands before a part of a word, which was then held for missing."""
    answered = f"\n\nWho is it?<|im_end|>\n<|im_start|>assistant\n{ABSENT}<|im_end|>\n<|im_start|>user\nAnd then?"
    states = states_of(designed, tokenizer, DOCUMENT + answered, 5)
    ids = tokenizer.encode(f"<|im_start|>user\n{DOCUMENT}{answered}", add_special_tokens=False).ids
    first, *others = (place for place, token in enumerate(ids) if token == IM_START)
    assert len(ids) == len(states)
    assert len(others) == 2
    assert states[first, Flag.IM_START] > 0.9
    assert states[others, Flag.IM_START].abs().max() < 0.02
    assert states[others, ADDRESS].square().sum(1).max() < 0.01


def test_where_the_next_sentence_begins_is_told_once(designed: PreTrainedModel, tokenizer: Tokenizer) -> None:
    states = states_of(designed, tokenizer, "It rained. Go. No. Yes. Nobody spoke that day.", 8)
    told = states[:, list(NEXT_SENTENCE)].sum(1)
    assert told.max() < 1.1
    assert (told > 0.9).sum() > 8


def test_the_model_makes_the_bags_that_are_learned(tokenizer: Tokenizer, maker: FactMaker) -> None:
    """Learning computes bags by itself; the model's residual stream must hold the same ones."""
    sentences = [fact.tokens for fact in maker.document().facts[:6]]
    prompt = [
        1,
        *tokenizer.encode("user\nIt rained.", add_special_tokens=False).ids,
        *(token for sentence in sentences for token in sentence),
    ]
    features = new_features(tokenizer, torch.ones(4096))
    prose = archive_sentences(tokenizer, 150, 10_000)
    features = replace(features, addresses=even_addresses(make_plan(tokenizer, features), prose))
    model = design(tokenizer, features, prompt)
    with torch.no_grad():
        hidden = model(torch.tensor([prompt]), output_hidden_states=True).hidden_states[7][0, :, BAG] / BAG_STORED
    codes = token_codes(tokenizer)
    expected, _ = bag(features, codes, wordy(tokenizer, codes), sentences)
    end = len(prompt) - sum(map(len, sentences)) - 1
    for sentence, wanted in zip(sentences, expected, strict=True):
        end += len(sentence)
        likeness = torch.cosine_similarity(hidden[end], wanted, dim=0)
        assert likeness > 0.97, tokenizer.decode(sentence)
        assert abs(hidden[end].norm() / wanted.norm() - 1) < 0.1


def test_facts_are_single_sentences_and_absent_questions_are_about_none_of_them(
    tokenizer: Tokenizer, maker: FactMaker
) -> None:
    ends = set(sentence_ends(tokenizer))
    document = maker.document()
    assert len(document.facts) > 20
    assert len(document.absent) == ABSENT_QUESTIONS
    for fact in document.facts:
        assert fact.tokens[-1] in ends
        assert not ends.intersection(fact.tokens[:-1])
    assert not {fact.question for fact in document.facts}.intersection(document.absent)


def test_some_facts_are_entries_of_lists_which_a_title_may_explain(tokenizer: Tokenizer, maker: FactMaker) -> None:
    break_ = encode(tokenizer, "\n")[-1]
    made = [maker.document() for _ in range(3)]
    entries = [fact for document in made for fact in document.facts if fact.tokens[-1] == break_]
    assert len(entries) > 20
    for fact in entries:
        line = tokenizer.decode(fact.tokens)
        assert fact.subject.casefold() in line.casefold()
        assert fact.attribute not in line
    titles = [title for document in made for title in document.titles]
    assert titles
    assert all(title[-1] == break_ for title in titles)


def test_questions_that_refer_to_another_have_a_word_that_says_so(tokenizer: Tokenizer, maker: FactMaker) -> None:
    document = maker.document()
    following = [fact for fact in document.facts if fact.question.before]
    assert len(following) > 3
    assert any(question.before for question in document.absent)
    for fact in following:
        words = fact.question.text.strip("?.").split()
        assert set(words).intersection(REFERRING_WORDS), fact.question
        named = {name in fact.question.text for name in (fact.subject, fact.attribute)}
        assert named == {True, False}, fact.question


def test_votes_of_a_question_that_refers_to_another_are_of_both(tokenizer: Tokenizer, maker: FactMaker) -> None:
    prose = archive_sentences(tokenizer, 150, 10_000)
    search = Search(tokenizer, new_features(tokenizer, torch.ones(4096)))
    one, other = prose[3], prose[40]
    first, then = tokenizer.decode(one), f"And {tokenizer.decode(other)}"
    votes = []
    for asked in (Asked(first), Asked(then), Asked(then, first)):
        torch.manual_seed(0)
        with torch.no_grad():
            votes.append(search.look([asked], prose).votes[0])
    assert not torch.allclose(votes[0], votes[1])
    torch.testing.assert_close(votes[2], BEFORE_SHARE * votes[0] + (1 - BEFORE_SHARE) * votes[1])


def test_same_seed_gives_the_same_facts(tokenizer: Tokenizer) -> None:
    one, two = (FactMaker(tokenizer, 5, [150]).document() for _ in range(2))
    assert one == two


@pytest.fixture
def short_archives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts are made from one archive of some pages, and stand among few other sentences."""
    monkeypatch.setattr("train_demo_model.ARCHIVES_PER_MAKER", 1)
    monkeypatch.setattr("train_demo_model.MOST_PROSE", 200)
    monkeypatch.setattr("demo_facts.ARCHIVE_TOKENS", 20_000)


@pytest.mark.usefixtures("short_archives")
def test_a_killed_run_goes_on_and_keeps_what_it_learned(tmp_path: Path) -> None:
    def steps(training: Training, count: int) -> Counts:
        counts = Counts()
        maker = training.maker()
        for _ in range(count):
            training.step(maker, counts)
        training.save()
        return counts

    first = Training(tmp_path, minutes=1.0, seed=1, texts=[])
    early = steps(first, 5)
    again = Training(tmp_path, minutes=1.0, seed=1, texts=[])
    again.resume()
    assert again.progress.step == 5
    for name, tensor in again.search.state_dict().items():
        assert torch.equal(tensor, first.search.state_dict()[name])
    late = steps(again, 20)
    assert late.loss / late.steps < early.loss / early.steps, "it learns"
    load_learned(again)
    (tmp_path / "checkpoint.pt").unlink()
    kept, learned = again.search.features(), load_learned(Training(tmp_path, minutes=1.0, seed=1, texts=[]))
    assert all(torch.equal(getattr(learned, name), tensor) for name, tensor in vars(kept).items())


@pytest.mark.usefixtures("short_archives")
def test_what_began_with_something_learned_is_exported_as_the_mean_of_both(tmp_path: Path) -> None:
    """But for addresses, which are measured."""
    shutil.copyfile(ROOT / "tools" / "demo_learned" / "learned.safetensors", tmp_path / START)
    training = Training(tmp_path, minutes=1.0, seed=1, texts=[DOCUMENT])
    measured = training.search.first.addresses
    assert training.start is not None
    assert not torch.equal(training.start.addresses, measured)
    before = vars(training.search.features())["metric"].clone()
    training.step(training.maker(), Counts())
    training.save()
    after = training.search.features().metric
    assert not torch.equal(before, after)
    learned = load_learned(training)
    torch.testing.assert_close(learned.metric, (before + after) / 2)
    assert torch.equal(learned.addresses, measured)


def test_the_shipped_model_is_what_the_tool_writes(tmp_path: Path) -> None:
    export(Training(ROOT / "tools" / "demo_learned", minutes=1.0, seed=1, texts=[]), tmp_path)
    written, shipped = (load_file(folder / "model.safetensors") for folder in (tmp_path, MODEL))
    assert written.keys() == shipped.keys()
    for name, tensor in shipped.items():  # Another processor may round otherwise.
        torch.testing.assert_close(written[name], tensor, rtol=2**-7, atol=1e-4, msg=name)
    assert AutoModelForCausalLM.from_pretrained(tmp_path).dtype == torch.bfloat16
    assert (tmp_path / "chat_template.jinja").exists()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 16 * 2**20


def test_without_anything_learned_nothing_is_exported(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"neither checkpoint\.pt nor learned\.safetensors"):
        export(Training(tmp_path, minutes=1.0, seed=1, texts=[]), tmp_path / "model")
