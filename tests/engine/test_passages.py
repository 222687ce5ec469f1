"""Passages: the planted token ranks first, in its own document, and offsets are those of the text."""

import torch

from kiv_engine.document import Document, tokenize
from kiv_engine.documents.places import Places
from kiv_engine.events import Passage
from kiv_engine.hits import LayerHits
from kiv_engine.passages import CONTEXT_CHARS, MERGE_TOKENS, PlacedDocument, rank_passages, token_mass
from tests.engine.tiny_chat import tokenizer

FIRST = "".join(f"Sentence {n} of the first text. " for n in range(40)).strip()
SECOND = "".join(f"Sentence {n} of the second text! " for n in range(40)).strip()
PREFIX, GAP = 10, 2


def placed(*texts: str) -> list[PlacedDocument]:
    """Documents one after another, as a context places them; a token is a character."""
    documents, start = [], PREFIX
    for number, text in enumerate(texts):
        tokens = tokenize(Document(f"text {number}", text), tokenizer())
        assert tokens is not None
        documents.append(PlacedDocument(tokens, start))
        start += len(text) + GAP
    return documents


def mass_at(documents: list[PlacedDocument], weights: dict[int, float]) -> torch.Tensor:
    mass = torch.zeros(documents[-1].end + 20)
    for token, weight in weights.items():
        mass[token] = weight
    return mass


def rank(documents: list[PlacedDocument], weights: dict[int, float], sinks: int = 0) -> tuple[Passage, ...]:
    found = rank_passages(mass_at(documents, weights), documents, sinks, 5)
    for passage in found:
        text = next(each.tokens.document.text for each in documents if each.tokens.document.name == passage.document)
        assert passage.text == text[passage.start : passage.end]
    return found


def record(layer: int, position: int, cold: list[list[int]], mass: list[list[float]]) -> LayerHits:
    return LayerHits(
        layer=layer,
        position=position,
        cold_tokens=torch.tensor(cold),
        cold_mass=torch.tensor(mass),
        local_tokens=torch.tensor([0, position]),
        local_mass=torch.tensor([0.25, 0.25]),
        local_total=torch.tensor(0.5),
    )


def test_mass_is_summed_over_steps_and_averaged_over_layers_and_heads() -> None:
    hits = [
        record(1, 8, [[3], [4]], [[0.5], [0.5]]),
        record(2, 8, [[3], [3]], [[0.5], [0.5]]),
        record(1, 9, [[3], [4]], [[0.5], [0.5]]),
        record(2, 9, [[5], [5]], [[0.5], [0.5]]),
    ]
    expected = torch.zeros(10)
    expected[0], expected[8], expected[9] = 0.5, 0.25, 0.25
    expected[3], expected[4], expected[5] = 0.5, 0.25, 0.25
    torch.testing.assert_close(token_mass(hits, 10), expected)
    assert float(token_mass(hits, 10).sum()) == 2  # one for each step
    assert token_mass([], 4).tolist() == [0, 0, 0, 0]


def test_the_planted_token_ranks_first_in_its_document() -> None:
    documents = placed(FIRST, SECOND)
    at = SECOND.index("Sentence 23 of the second") + 9
    found = rank(documents, {documents[1].start + at: 0.5, documents[0].start + 40: 0.3, documents[1].start + 900: 0.1})
    assert (found[0].document, found[0].text) == ("text 1", "Sentence 23 of the second text!")
    assert (found[0].token_start, found[0].token_end) == (documents[1].start + at, documents[1].start + at + 1)
    assert [passage.document for passage in found] == ["text 1", "text 0", "text 1"]
    torch.testing.assert_close([passage.weight for passage in found], [5 / 9, 3 / 9, 1 / 9])


def test_sinks_prefix_and_question_are_no_evidence() -> None:
    documents = placed(FIRST)
    outside = {0: 9.0, PREFIX - 1: 9.0, PREFIX + 1: 9.0, documents[0].end: 9.0, documents[0].end + 19: 9.0}
    found = rank(documents, {**outside, PREFIX + 200: 0.1}, sinks=PREFIX + 2)
    assert [(passage.token_start, passage.weight) for passage in found] == [(PREFIX + 200, 1.0)]
    assert rank(documents, outside, sinks=PREFIX + 2) == ()
    assert rank_passages(torch.ones(20), [], 0, 5) == ()


def test_no_passage_straddles_two_documents() -> None:
    documents = placed(FIRST, SECOND)
    end, start = documents[0].end, documents[1].start
    found = rank(documents, {end - 2: 0.4, end - 1: 0.2, start: 0.2, start + 1: 0.2})
    assert [passage.document for passage in found] == ["text 0", "text 1"]
    assert [(passage.token_start, passage.token_end) for passage in found] == [(end - 2, end), (start, start + 2)]
    torch.testing.assert_close([passage.weight for passage in found], [0.6, 0.4])


def test_neighbours_are_one_passage_and_the_mass_between_counts() -> None:
    documents = placed(FIRST)
    near = {PREFIX + 100: 1.0, PREFIX + 100 + MERGE_TOKENS: 1.0}
    assert len(rank(documents, near)) == 1
    far = {PREFIX + 100: 1.0, PREFIX + 100 + MERGE_TOKENS + 1: 1.0}
    assert len(rank(documents, far)) == 2


def test_what_hardly_counts_in_a_short_text_joins_no_passage() -> None:
    """Where nothing is left unseen, every token has some mass."""
    documents = placed(FIRST)
    everywhere = {PREFIX + number: 1e-6 for number in range(250)}
    start = PREFIX + FIRST.index("Sentence 3 ")
    (found,) = rank(documents, everywhere | {start: 0.5, start + 9: 0.5})
    assert found.text == "Sentence 3 of the first text."


def test_only_the_heaviest_are_given_and_weights_sum_to_one_at_most() -> None:
    documents = placed(FIRST)
    weights = {PREFIX + 60 * number: 1.0 + number for number in range(12)}
    found = rank(documents, weights)
    assert [passage.token_start for passage in found] == [PREFIX + 60 * number for number in (11, 10, 9, 8, 7)]
    assert sum(passage.weight for passage in found) < 1


def test_a_passage_is_whole_sentences_where_they_are_near() -> None:
    documents = placed(FIRST)
    start = FIRST.index("Sentence 5 ")
    sentence = "Sentence 5 of the first text."
    for offset in range(len(sentence)):
        (found,) = rank(documents, {PREFIX + start + offset: 1.0})
        assert found.text == sentence, offset
    (found,) = rank(documents, {PREFIX: 1.0})
    assert found.text == "Sentence 0 of the first text."
    (found,) = rank(documents, {documents[0].end - 1: 1.0})
    assert found.text == "Sentence 39 of the first text."


def test_a_token_that_begins_with_the_space_before_its_sentence_takes_no_sentence_before_it() -> None:
    documents = placed(FIRST)
    (found,) = rank(documents, dict.fromkeys((PREFIX + FIRST.index(" Sentence 5 ") + n for n in range(2)), 1.0))
    assert found.text == "Sentence 5 of the first text."


def test_without_sentences_a_passage_is_whole_words_or_a_bounded_stretch() -> None:
    (found,) = rank(placed("word " * 200), {PREFIX + 500: 1.0})
    assert set(found.text.split()) == {"word"}
    assert len(found.text) <= 1 + 2 * CONTEXT_CHARS
    (found,) = rank(placed("x" * 1_000), {PREFIX + 500: 1.0})
    assert (found.start, found.end) == (500 - CONTEXT_CHARS, 501 + CONTEXT_CHARS)


# -- places ------------------------------------------------------------------------------------------------------------


def test_a_passage_stays_on_its_page_and_tells_it() -> None:
    text = "the first page is here\n\nand this is the second one\n\nthe third"
    places = Places()
    for number, word in enumerate(("the first", "and", "the third"), 1):
        places.pages.append(text.index(word), number)
    document = PlacedDocument(tokenize(Document("book", text, places), tokenizer()), 0)
    mass = torch.zeros(len(text))
    mass[text.index("page")] = 3.0
    mass[text.index("\n\nand") : text.index("and") + 3] = 1.0
    mass[text.index("third")] = 0.5
    passages = rank_passages(mass, [document], 0, 9)
    assert [(passage.page, passage.text) for passage in passages] == [
        (1, "the first page is here"),
        (2, "and this is the second one"),
        (3, "the third"),
    ]
    assert [passage.place for passage in passages] == ["page 1", "page 2", "page 3"]


def test_neighbouring_rows_are_passages_of_their_own() -> None:
    text = "a,1\nb,2\nc,3\n"
    places = Places()
    places.append_section(0, "Sheet")
    for number in range(3):
        places.rows.append(4 * number, number + 1)
    document = PlacedDocument(tokenize(Document("table", text, places), tokenizer()), 0)
    mass = torch.tensor([0.0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0])
    found = [(passage.row, passage.text, passage.place) for passage in rank_passages(mass, [document], 0, 9)]
    assert found == [(2, "b,2", "row 2, Sheet"), (1, "a,1", "row 1, Sheet")]


def test_space_between_pages_is_no_passage() -> None:
    text = "one\n\n\n\ntwo"
    places = Places()
    places.pages.append(0, 1)
    places.pages.append(3, 0)
    places.pages.append(7, 2)
    document = PlacedDocument(tokenize(Document("book", text, places), tokenizer()), 0)
    mass = torch.zeros(len(text))
    mass[4], mass[8] = 5.0, 1.0
    assert [passage.text for passage in rank_passages(mass, [document], 0, 9)] == ["two"]
