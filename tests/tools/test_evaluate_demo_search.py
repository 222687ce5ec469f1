"""What is measured of the learned search without a model is what the model does."""

import pytest
import torch
from demo_tokens import Features
from evaluate_demo_model import Case, Planted, ask, documents, last
from evaluate_demo_search import Scored, measure, place_of, split, summarize
from safetensors.torch import load_file
from tokenizers import Tokenizer
from train_demo_model import LEARNED, MODEL, ROOT, Search

from kiv_engine import Engine
from kiv_engine.archive import write_archive
from kiv_engine.document import Document

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_sentence_ends_with_each_token_that_can_end_one() -> None:
    assert split([5, 9, 9, 6, 9, 7], {9}) == [[5, 9], [9], [6, 9], [7]]


def test_a_fact_is_where_its_value_and_most_of_the_question_stand() -> None:
    sentences = ["The fare was 77.", "The fare of the boat to Skerry was 77.", "The boat to Skerry was late."]
    assert place_of(Case("single", "What is the fare of the boat to Skerry?", "77"), sentences) == 1
    assert place_of(Case("single", "What is the fare of the boat to Skerry?", "78"), sentences) is None
    assert place_of(Case("absent", "What is the fare of the boat to Skerry?", None), sentences) is None


def test_of_absent_questions_it_tells_how_many_are_refused_with_a_share_of_others() -> None:
    near = Scored({"both": [True] * 75 + [False] * 25}, [float(margin) for margin in range(-1, 99)])
    absent = Scored({"both": [False] * 4}, [-3.0, -0.5, 0.5, 3.5])
    table = summarize({"near": near, "absent": absent})
    assert table["near"] == {"cases": 100, "refused": 0.01, "both": 0.75}
    assert table["absent"] == {
        "cases": 4,
        "refused": 0.5,
        "refused with 2% of others": 0.75,  # the threshold is 1 then
        "refused with 5% of others": 1.0,
    }


@pytest.mark.long
def test_the_model_answers_with_the_sentence_that_the_search_finds() -> None:
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    search = Search(tokenizer, Features(**load_file(ROOT / "tools" / "demo_learned" / LEARNED)))
    text = write_archive(6_000, lambda pieces: [len(piece) // 4 for piece in pieces]).text
    engine = Engine.load("demo")
    torch.manual_seed(0)
    agree = []
    for planted in documents(engine, text, 3_000, 8, seed=1):
        cases = [case for case in planted.cases if case.skill in ("single", "near")]
        found: dict[str, Scored] = {}
        measure(search, tokenizer, planted.text, cases, found)
        assert {way for scored in found.values() for way in scored.found} == {"votes", "bags", "both"}
        predicted = [
            right and margin > 0
            for scored in found.values()
            for right, margin in zip(scored.found["both"], scored.margins, strict=True)
        ]
        agree += [
            case.is_right(said) == guess
            for case, said, guess in zip(cases, answers(engine, planted, cases), predicted, strict=True)
        ]
    assert len(agree) == 8 + 20
    assert sum(agree) / len(agree) > 0.9


def answers(engine: Engine, planted: Planted, cases: list[Case]) -> list[str]:
    context = engine.new_context()
    last(context.read(Document("a text", planted.text)))
    start, said = context.num_tokens, []
    for case in cases:
        said.append(ask(context, case.question).text)
        context.rewind(start)
    context.close()
    return said
