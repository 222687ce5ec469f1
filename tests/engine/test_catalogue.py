"""The catalogue: its shapes against the published parameter counts, what is computed from them, and typos."""

import json
import subprocess
import sys

import pytest
from transformers import SmolLM3Config

from kiv_engine import cli, doctor
from kiv_engine.catalogue import CATALOGUE_FILE, CatalogueEntry, find_entry, model_name, nearest_ids, read_catalogue
from kiv_engine.config import Quantize
from kiv_engine.fit import Room, plan
from kiv_engine.model_config import config_of_shape
from kiv_engine.model_shape import ModelShape, Needs, Setting

ENTRIES = pytest.mark.parametrize("entry", read_catalogue(), ids=lambda entry: entry.id)

SEEING_AND_HEARING = 0.45
"""Billions of parameters beside Gemma 4's language model, which its makers count and KIV does not load."""


@ENTRIES
def test_a_shape_has_as_many_parameters_as_its_makers_say(entry: CatalogueEntry) -> None:
    """A wrong width, depth or vocabulary would show here."""
    shape = ModelShape(config_of_shape(entry.shape))
    beside = SEEING_AND_HEARING if "gemma-4" in entry.id else 0.0
    billions = shape.needs(Setting()).parameters / 1e9 + beside
    assert billions == pytest.approx(entry.published_billions, rel=0.02)


@ENTRIES
def test_every_fact_has_a_source(entry: CatalogueEntry) -> None:
    assert entry.source.startswith("https://")
    assert entry.licence
    assert entry.licence_source.startswith("https://") != ("licence" in entry.unchecked)
    assert any("own config.json (" in fact for fact in entry.unchecked) != (
        f"https://huggingface.co/{entry.id}/" in entry.source
    ), "a copy is no page of its makers"
    assert entry.positions
    assert ModelShape(config_of_shape(entry.shape)).topology.trained_tokens >= 2_048


def test_smollm3_is_as_its_makers_class_has_it() -> None:
    """The entry's source for heads and vocabulary; its other fields are the published config's."""
    entry = find_entry("HuggingFaceTB/SmolLM3-3B")
    assert entry is not None
    defaults = SmolLM3Config()
    for name in ("num_attention_heads", "num_key_value_heads", "vocab_size", "num_hidden_layers", "hidden_size"):
        assert entry.shape[name] == getattr(defaults, name)


@pytest.mark.parametrize(
    ("name", "in_16_bit", "in_int8"),
    [
        ("google/gemma-4-E2B-it", 3 * 2 * 512 * 2, 3 * 2 * (512 + 4)),
        ("Qwen/Qwen2.5-3B-Instruct", 36 * 2 * 2 * 128 * 2, 36 * 2 * 2 * (128 + 4)),
        ("meta-llama/Llama-3.2-1B-Instruct", 16 * 2 * 8 * 64 * 2, 16 * 2 * 8 * (64 + 4)),
    ],
)
def test_bytes_per_token_follow_from_the_shape(name: str, in_16_bit: int, in_int8: int) -> None:
    from kiv_engine import KIVConfig

    entry = find_entry(name)
    assert entry is not None
    shape = ModelShape(config_of_shape(entry.shape))
    assert shape.needs(Setting(device="cuda")).token_keys_values == in_16_bit
    assert shape.needs(Setting(config=KIVConfig(store_dtype="int8"))).token_keys_values == in_int8


def test_what_is_computed_is_not_in_the_file() -> None:
    text = CATALOGUE_FILE.read_text()
    assert "bytes" not in json.dumps(json.loads(text)["models"])


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("Qwen/Qwen2.5-3B-Instrct", "Qwen/Qwen2.5-3B-Instruct"),
        ("qwen/qwen2.5-3b-instruct", "Qwen/Qwen2.5-3B-Instruct"),
        ("gemma-4-e2b", "google/gemma-4-E2B-it"),
        ("gogle/gema-4-E4B-it", "google/gemma-4-E4B-it"),
        ("TinyLlama", "TinyLlama/TinyLlama-1.1B-Chat-v1.0"),
        ("microsoft/Phi-3.5-mini", "microsoft/Phi-3.5-mini-instruct"),
        ("smollm3", "HuggingFaceTB/SmolLM3-3B"),
        ("Qwn/Qwen3-4B", "Qwen/Qwen3-4B-Instruct-2507"),
    ],
)
def test_a_typo_leads_to_what_was_meant(typo: str, meant: str) -> None:
    assert nearest_ids(typo)[0] == meant


@pytest.mark.parametrize("name", ["", "no-one/no-such-model", "a b c", "./folder"])
def test_nothing_is_suggested_where_nothing_is_near(name: str) -> None:
    assert nearest_ids(name) == []


def test_models_are_listed_with_what_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    told, advice = out.split("\n\n")
    header, *lines = told.splitlines()
    assert advice.startswith(("For whole books on this PC:\n", "None of them"))
    assert "on this PC" in header
    assert [line.split()[0] for line in lines] == [entry.id for entry in read_catalogue()]
    assert all("does not fit" in line or "tokens in RAM" in line for line in lines)
    assert sum("permission" in line for line in lines) == sum(entry.gated for entry in read_catalogue())


def test_models_for_a_pc_that_is_not_at_hand(capsys: pytest.CaptureFixture[str]) -> None:
    """What a card of 12 GB holds is the same wherever it is asked, and is said to be computed."""
    assert cli.main(["models", "--gpu", "12", "--ram", "32"]) == 0
    told, advice = capsys.readouterr().out.split("\n\n")
    label, header, *lines = told.splitlines()
    assert label == (
        "Computed for a PC with a GPU of 12 GB (11.5 GB of VRAM free) and 28.8 GB of RAM free, not measured on one."
    )
    assert header.endswith("on such a PC")
    [gemma] = [line for line in lines if line.startswith("google/gemma-4-E2B-it")]
    entry = find_entry("google/gemma-4-E2B-it")
    assert entry is not None
    shape = ModelShape(config_of_shape(entry.shape))
    expected = plan(shape.needs(Setting(device="cuda")), Room(28_800_000_000, 0, vram=11_500_000_000))
    assert f"in full: up to {doctor.tokens(expected.tokens_in_ram)} tokens in RAM" in gemma
    title, *advised, get = advice.splitlines()
    assert (title, get) == ("For whole books on such a PC:", "Get one with: ./kiv models get google/gemma-4-E2B-it")
    assert [line.split(":")[0].split(maxsplit=1) for line in advised] == [
        ["google/gemma-4-E2B-it", "for a million tokens"],
        ["google/gemma-4-E4B-it", "the largest that holds a whole book"],
        ["Qwen/Qwen2.5-7B-Instruct-1M", "also holds a whole book"],
    ]
    assert [line.rpartition("; ")[2] for line in advised] == [
        "trained for 131,072",
        "trained for 131,072",
        "trained for 1,010,000",
    ]


def test_one_model_for_a_pc_that_is_not_at_hand(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fit", "Qwen/Qwen2.5-3B-Instruct", "--gpu", "0", "--ram", "16"]) == 0
    label, where, *_ = capsys.readouterr().out.splitlines()
    assert label.startswith("Computed for a PC with no GPU and 14.4 GB of RAM free")
    assert where.startswith("Qwen/Qwen2.5-3B-Instruct on the CPU, with 14.4 GB of RAM")
    assert cli.main(["fit", "Qwen/Qwen2.5-7B-Instruct", "--gpu", "12", "--gpu", "0", "--gpu", "12", "--ram", "64"]) == 0
    label, where, *lines = capsys.readouterr().out.splitlines()
    assert label.startswith("Computed for a PC with 2 GPUs (11.5 GB and 12.0 GB of VRAM free) and 57.6 GB of RAM free")
    assert "on up to 2 GPUs, with 11.5 GB and 12.0 GB of VRAM free" in where
    assert any(line.startswith("in full") and "does not fit" not in line for line in lines)
    assert cli.main(["fit", "demo", "--gpu", "8", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pace"] is None  # this PC's speed is not that one's
    assert "a GPU of 8 GB (7.5 GB of VRAM free)" in report["computed_for"]


@pytest.mark.parametrize("size", ["-1", "twelve", "nan", "1e9"])
def test_sizes_that_no_pc_has_are_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", f"--gpu={size}"]) == 2
    assert f"'{size}' is no number of GB from 0 to 100,000" in capsys.readouterr().err


def test_models_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--json"]) == 0
    models = {model["id"]: model for model in json.loads(capsys.readouterr().out)["models"]}
    phi = models["microsoft/Phi-3.5-mini-instruct"]
    assert phi["trained_tokens"] == 131_072
    assert phi["token_bytes"]["int8"] == 32 * 2 * 32 * (96 + 4)
    assert phi["download_bytes"] == pytest.approx(7.64e9, rel=0.01)
    assert phi["tokens_on_disk"] >= phi["tokens_in_ram"] or phi["missing"]


def listed_with(name: str, trained: int, tokens: int, kind: Quantize = "4bit") -> doctor.ListedModel:
    """A model with room in RAM for so many tokens."""
    entry = find_entry(name)
    assert entry is not None
    needs = Needs(0, 0, 0, 0, 0, 0, token_keys_values=1_000, token_index=0)
    return doctor.ListedModel(entry, 0, trained, kind, {kind: plan(needs, Room(tokens * 1_000 * 10 // 9 + 9, 0))}, {})


def test_models_for_whole_books_are_told_with_why() -> None:
    """What holds a million goes first, then the largest; what was trained for less goes last, gated ones never."""
    small = listed_with("Qwen/Qwen3-0.6B", 131_072, 1_000_000, "none")
    middle = listed_with("Qwen/Qwen3-4B-Instruct-2507", 262_144, 1_000_000, "none")
    large = listed_with("Qwen/Qwen3-8B", 131_072, 200_000)
    short = listed_with("Qwen/Qwen2.5-7B-Instruct", 40_960, 2_000_000, "none")
    shorter = listed_with("Qwen/Qwen2.5-14B-Instruct-1M", 2_048, 200_000)
    gated = listed_with("meta-llama/Llama-3.2-3B-Instruct", 131_072, 2_000_000, "none")
    full = listed_with("Qwen/Qwen2.5-7B-Instruct-1M", 1_010_000, 130_000)

    def told(*models: doctor.ListedModel) -> list[tuple[str, str]]:
        return [(each.listed.entry.id.rpartition("/")[2], each.why) for each in doctor.recommended(models)]

    assert told(shorter, short, gated, full, small, middle, large) == [
        ("Qwen3-4B-Instruct-2507", "for a million tokens"),
        ("Qwen3-8B", "the largest that holds a whole book"),
        ("Qwen3-0.6B", "also holds a whole book"),
    ]
    assert told(middle, small)[0] == ("Qwen3-4B-Instruct-2507", "the largest, and for a million tokens")
    trained_for_less = "holds a whole book, though it was trained for less"
    assert told(shorter, short, large) == [
        ("Qwen3-8B", "the largest that holds a whole book"),
        ("Qwen2.5-7B-Instruct", trained_for_less),
        ("Qwen2.5-14B-Instruct-1M", trained_for_less),
    ]
    assert told(gated, full) == []
    title, line, get = doctor.recommendation([large])
    assert title == "For whole books on this PC:"
    assert line.endswith(
        "Qwen3-8B                       the largest that holds a whole book: weights 4 bit, up to 200,000 tokens in "
        "RAM; trained for 131,072"
    )
    assert get == "Get one with: ./kiv models get Qwen/Qwen3-8B; how fast it would be: ./kiv fit Qwen/Qwen3-8B"
    assert "in the RAM of this PC;" in next(doctor.recommendation([full, gated]))
    assert "in the RAM of such a PC;" in next(doctor.recommendation([full, gated], is_here=False))


def test_the_advice_names_the_finest_weights_with_room_for_a_long_text() -> None:
    """Also where those that suit best, since they answer soonest, are too large for it."""
    room = Room(22 * 10**9, 500 * 10**9)

    def listed(name: str) -> doctor.ListedModel:
        entry = find_entry(name)
        assert entry is not None
        return doctor.ListedModel.of(entry, ModelShape(config_of_shape(entry.shape)), room)

    small, gemma = listed("Qwen/Qwen2.5-1.5B-Instruct"), listed("google/gemma-4-E2B-it")
    assert (small.best, gemma.best) == ("none", "none")
    assert small.plan.tokens_in_ram > doctor.LONG_TEXT_TOKENS > gemma.plan.tokens_in_ram
    _title, first, second, _get = doctor.recommendation([small, gemma])
    assert first.split(maxsplit=1) == [
        "google/gemma-4-E2B-it",
        "the largest, and for a million tokens: weights bfloat16, up to 1.6 million tokens in RAM; trained for 131,072",
    ]
    assert "though it was trained for less: weights in full" in second
    assert (small.report["for_long_text"], gemma.report["for_long_text"]) == ("none", "bf16")


def test_reading_the_catalogue_imports_nothing_heavy() -> None:
    code = "import sys; from kiv_engine.catalogue import nearest_ids; nearest_ids('x'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_data_sets_page_is_no_models() -> None:
    assert model_name("https://huggingface.co/datasets/a/b") == "https://huggingface.co/datasets/a/b"
    assert model_name(" huggingface.co/a/b/tree/main ") == "a/b"
    assert model_name("a/b") == "a/b"
