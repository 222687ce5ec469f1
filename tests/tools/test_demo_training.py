"""The training tool of the built-in model: its worlds, its fast forward pass, and going on after a kill."""

import math
from pathlib import Path

import pytest
import torch
from demo_data import ABSENT, SINK, Recipe, WorldMaker
from tokenizers import Tokenizer
from train_demo_model import (
    STAGES,
    TOKENIZER,
    WINDOW,
    Counts,
    Reader,
    Training,
    copy_loss,
    crowding,
    export,
    new_model,
    to_batch,
)
from transformers import AutoModelForCausalLM, AutoTokenizer

from kiv_engine.chat import ChatFormat

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(TOKENIZER / "tokenizer.json"))


@pytest.fixture(scope="module")
def maker(tokenizer: Tokenizer) -> WorldMaker:
    return WorldMaker(tokenizer, seed=3, archive_seeds=[150])


@pytest.mark.parametrize("stage", range(len(STAGES)))
def test_answers_stand_in_the_document_where_the_world_says(maker: WorldMaker, stage: int) -> None:
    world = maker.world(STAGES[stage].recipe)
    document = world.chunks.reshape(-1)
    copied = 0
    for row in world.questions:
        predicted = {place: token for place, token, _, _ in row.supervised}
        for place, first, source, kind in row.looks:
            if kind == "absent":
                assert source == SINK
            elif kind == "next" and source + 1 < len(document) and place + 1 in predicted:
                assert row.ids[place] == document[source - 1]
                copied += 1
                assert first == source or source < first < source + 64
        for place, token, _, _ in row.supervised:
            assert row.ids[place + 1] == token
    assert copied > 50


def test_rows_are_laid_out_as_the_engine_lays_out_a_chat(maker: WorldMaker, tokenizer: Tokenizer) -> None:
    chat = ChatFormat(AutoTokenizer.from_pretrained(TOKENIZER))
    assert maker.prefix == chat.document_prefix()
    recipe = Recipe(2, 64, 4, 30, quotes=0.0, absent=1.0, small_talk=0.0, second=0.0)
    row = maker.world(recipe).questions[0]
    text = tokenizer.decode(row.ids, skip_special_tokens=False)
    question = text.partition("\n\n")[2].partition("<|im_end|>")[0]
    suffix = chat.question_suffix(question, after_document=True)
    start = next(place for place in range(len(row.ids)) if row.ids[place : place + len(suffix)] == suffix)
    assert tokenizer.decode(row.ids[start + len(suffix) :]) == ABSENT


def test_same_seed_gives_the_same_worlds(tokenizer: Tokenizer) -> None:
    one, two = (WorldMaker(tokenizer, 5, [150]).world(STAGES[2].recipe) for _ in range(2))
    assert (one.chunks == two.chunks).all()
    assert [row.ids for row in one.questions] == [row.ids for row in two.questions]


def test_the_fast_pass_equals_the_transformers_model(maker: WorldMaker) -> None:
    torch.manual_seed(0)
    model = new_model()
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data *= 3
    world = maker.world(Recipe(1, 96, 3, 3, small_talk=0.0))
    batch = to_batch(world, maker.prefix)
    with torch.no_grad():
        got = model.lm_head(Reader(model).forward(batch, 1, 1.0).hidden)
    chunk, done = world.chunks[0].tolist(), 0
    for row in world.questions:
        ids = torch.tensor([chunk + row.ids])
        place = torch.arange(ids.shape[1])
        causal = place[:, None] >= place
        same_text = (place[:, None] >= len(chunk)) == (place >= len(chunk))
        sliding = causal & same_text & (place[:, None] - place < WINDOW)
        masks = {"full_attention": causal[None, None], "sliding_attention": sliding[None, None]}
        with torch.no_grad():
            expected = model(ids, attention_mask=masks).logits[0]
        rows = torch.tensor([len(chunk) + place for place, *_ in row.supervised])
        torch.testing.assert_close(
            got[batch.supervised_places[done : done + len(rows)]], expected[rows], atol=1e-3, rtol=0
        )
        done += len(rows)


def test_a_crowd_counts_every_key_but_the_sink_and_those_looked_for(maker: WorldMaker) -> None:
    batch = to_batch(maker.world(STAGES[3].recipe), maker.prefix)
    rows = torch.arange(len(batch.asking))
    assert crowding(batch, len(rows), rows, 1.0) is None
    crowd = crowding(batch, len(rows), rows, 50.0)
    assert crowd is not None
    spared = torch.zeros_like(crowd, dtype=torch.bool)
    spared[:, SINK] = True
    for targets in batch.look_targets:
        for place, target in zip(batch.look_places.tolist(), targets.tolist(), strict=True):
            spared[place, target] = True
    assert torch.equal(crowd == 0, spared)
    torch.testing.assert_close(crowd[~spared], torch.full_like(crowd[~spared], math.log(50)))


def test_moved_looks_ask_for_what_stands_there(maker: WorldMaker) -> None:
    torch.manual_seed(1)
    model = new_model()
    batch = to_batch(maker.world(STAGES[0].recipe), maker.prefix)
    reader, counts = Reader(model), Counts()
    passed = reader.forward(batch, 1, 1.0)
    before = copy_loss(reader, batch, passed, counts)
    before.backward()
    assert model.model.layers[-1].self_attn.v_proj.weight.grad.abs().sum() > 0
    assert counts.total["copy"] == len(batch.copies) > 100
    assert 0 <= counts.rates()["copy"] < 0.1, "an untrained model copies nothing"


def test_a_killed_run_goes_on_and_exports_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def steps(training: Training, count: int) -> None:
        for _, world in zip(range(count), training.worlds(), strict=False):
            training.step(world)
        training.save()

    monkeypatch.setattr("train_demo_model.ARCHIVES_PER_MAKER", 0)
    first = Training(tmp_path, minutes=1.0, seed=1, texts=[])
    steps(first, 2)
    again = Training(tmp_path, minutes=1.0, seed=1, texts=[])
    again.resume()
    assert again.progress.step == 2
    for name, tensor in again.model.state_dict().items():
        assert torch.equal(tensor, first.model.state_dict()[name])
    steps(again, 1)
    export([tmp_path], tmp_path / "model")
    export([tmp_path, tmp_path], tmp_path / "mean")
    assert (tmp_path / "mean" / "model.safetensors").read_bytes() == (
        tmp_path / "model" / "model.safetensors"
    ).read_bytes()
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert model.dtype == torch.bfloat16
    assert (tmp_path / "model" / "chat_template.jinja").exists()
    assert sum(file.stat().st_size for file in (tmp_path / "model").iterdir()) < 16 * 2**20

    started = Training(tmp_path / "other", minutes=1.0, seed=2, texts=[])
    started.start_from(tmp_path / "model")
    for name, tensor in started.model.state_dict().items():
        torch.testing.assert_close(tensor, again.model.state_dict()[name].bfloat16().float(), atol=0, rtol=0)
