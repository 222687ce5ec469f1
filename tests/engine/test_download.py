"""Downloads from a real server on loopback: what is fetched, what goes on after a break or a kill, what is refused."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from transformers import LlamaConfig, LlamaForCausalLM

from kiv_engine import cli, download, model_places
from kiv_engine.download import Download, find_downloaded, look_up
from kiv_engine.errors import CapacityError, EngineError, ModelNotFoundError, StoppedError, UnsupportedModelError
from kiv_engine.events import Downloaded, DownloadProgress, LoadProgress
from kiv_engine.loader import LoadOptions, load
from kiv_engine.model_folder import DEMO_FOLDER
from tests.engine.loopback_hub import COMMIT, HubRepo, files_of, serve
from tests.engine.test_loader import copy_tokenizer

ID = "some-one/some-model"
NEEDED = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


@dataclass(frozen=True)
class Hub:
    repo: HubRepo
    endpoint: str
    cache: Path

    @property
    def folder(self) -> Path:
        """Where the model's files are in the end."""
        return self.cache / "models--some-one--some-model" / "snapshots" / COMMIT

    @property
    def parts(self) -> list[Path]:
        return list(self.cache.rglob("*.kiv-part"))

    def environment(self) -> dict[str, str]:
        """For a process of its own."""
        changes = {"HF_ENDPOINT": self.endpoint, "HF_HUB_CACHE": str(self.cache), "HF_HUB_OFFLINE": "0"}
        return os.environ | changes | {"PYTHONPATH": os.getcwd(), "HF_HUB_DISABLE_TELEMETRY": "1"}


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A tiny random Llama of 4 MB with the demo's tokenizer, and files that nobody needs."""
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=4_096, **sizes)).save_pretrained(folder)
    copy_tokenizer(folder)
    useless = {"README.md": b"# Model", "pytorch_model.bin": b"pickle", "consolidated.safetensors": b"again"}
    return files_of(folder) | useless


@pytest.fixture
def hub(content: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    repo = HubRepo(dict(content))
    with serve(repo) as endpoint:
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        yield Hub(repo, endpoint, tmp_path / "hub")
        huggingface_hub.close_session()


def never() -> bool:
    return False


def run(stop_after: int | None = None) -> list[DownloadProgress | Downloaded]:
    """Download the model; asked to stop once more than so many bytes are here."""
    one = Download(look_up(ID))
    return list(one.run(lambda: stop_after is not None and one.bytes_done > stop_after))


# -- what is fetched -------------------------------------------------------------------------------------------------


def test_a_download_is_complete_and_loads(hub: Hub) -> None:
    events = run()
    last = events[-1]
    assert isinstance(last, Downloaded)
    assert not last.stopped
    assert Path(last.folder) == hub.folder == find_downloaded(ID)
    present = {path.name for path in hub.folder.iterdir()}
    assert present >= NEEDED
    assert not present & {"README.md", "pytorch_model.bin", "consolidated.safetensors"}
    assert all((hub.folder / name).read_bytes() == hub.repo.files[name] for name in present)
    assert last.bytes_done == last.bytes_total == sum(len(hub.repo.files[name]) for name in present)
    assert hub.parts == []


def test_progress_grows_to_the_end(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PROGRESS_INTERVAL_S", 0)
    *events, last = run()
    done = [event.bytes_done for event in events]
    assert done == sorted(done)
    assert done[0] == 0
    assert len(done) > len(NEEDED)
    assert last.bytes_done >= done[-1]
    assert all(event.bytes_per_s >= 0 for event in events if isinstance(event, DownloadProgress))
    assert any(event.eta_s is not None for event in events if isinstance(event, DownloadProgress))


def test_loading_downloads_once_and_then_needs_no_connection(hub: Hub) -> None:
    heard: list[DownloadProgress | LoadProgress] = []
    loaded = load(LoadOptions(ID, device="cpu"), heard.append)
    assert type(loaded.model) is LlamaForCausalLM
    assert loaded.name == ID
    fetched = [event for event in heard if isinstance(event, DownloadProgress)]
    assert fetched[-1].bytes_total > 1_000_000
    asked = len(hub.repo.requests)
    heard.clear()
    load(LoadOptions(ID, device="cpu"), heard.append)
    assert len(hub.repo.requests) == asked
    assert not any(isinstance(event, DownloadProgress) for event in heard)


def test_what_other_tools_downloaded_is_used(hub: Hub) -> None:
    """The cache is theirs: what they put there is not fetched again."""
    huggingface_hub.hf_hub_download(ID, "model.safetensors", cache_dir=hub.cache, endpoint=hub.endpoint)
    fetched = hub.repo.gets("model.safetensors")
    assert len(fetched) == 1
    run()
    assert hub.repo.gets("model.safetensors") == fetched
    path = huggingface_hub.hf_hub_download(ID, "model.safetensors", cache_dir=hub.cache, local_files_only=True)
    assert Path(path).read_bytes() == hub.repo.files["model.safetensors"]


@pytest.mark.parametrize(
    "shards",
    [
        ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
        ("model.safetensors-00001-of-00002.safetensors", "model.safetensors-00002-of-00002.safetensors"),
        ("layers.safetensors", "Rest of it.safetensors"),
    ],
)
def test_shards_are_fetched_by_their_index(hub: Hub, shards: tuple[str, str]) -> None:
    whole = hub.repo.files.pop("model.safetensors")
    hub.repo.files |= {
        shards[0]: whole,
        shards[1]: (2).to_bytes(8, "little") + b"{}",
        "model-00009-of-00009.safetensors": b"in no index",
    }
    hub.repo.files[download.INDEX] = json.dumps(
        {"weight_map": dict(zip("aba", (*shards, shards[0]), strict=True))}
    ).encode()
    last = run()[-1]
    assert last.bytes_done == last.bytes_total
    assert find_downloaded(ID) == hub.folder
    assert (hub.folder / shards[0]).read_bytes() == whole
    assert not (hub.folder / "model-00009-of-00009.safetensors").exists()
    (hub.folder / shards[1]).unlink()
    assert find_downloaded(ID) is None


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ('{"weight_map": {"a": "../../model.safetensors"}}', r"names '\.\./\.\./model\.safetensors', which is no saf"),
        ('{"weight_map": {"a": "C:\\\\x.safetensors"}}', "is no safetensors file beside it"),
        ('{"weight_map": {"a": "pytorch_model.bin"}}', "is no safetensors file beside it"),
        ('{"weight_map": {"a": "other.safetensors"}}', r"not complete on the HuggingFace hub: it lacks other\.safe"),
        ('{"weight_map": {}}', "is damaged; look for another upload"),
        ("[" * 100_000, "is damaged; look for another upload"),
        ('{"metadata": {}}', "is damaged; look for another upload"),
    ],
)  # fmt: skip
def test_an_index_that_cannot_be_followed_is_refused(hub: Hub, index: str, message: str) -> None:
    hub.repo.files[download.INDEX] = index.encode()
    del hub.repo.files["model.safetensors"]
    with pytest.raises(ModelNotFoundError, match=message):
        look_up(ID)
    assert not any(path.endswith((".safetensors", ".bin")) for _, path, _ in hub.repo.requests)


# -- breaks ----------------------------------------------------------------------------------------------------------


def test_a_cut_connection_is_taken_up_where_it_broke(hub: Hub) -> None:
    hub.repo.cut_after = [1_000_000, 500_000]
    run()
    assert find_downloaded(ID) == hub.folder
    spans = hub.repo.gets("model.safetensors")
    assert len(spans) == 3
    starts = [int(span.removeprefix("bytes=").rstrip("-") or 0) for span in spans]
    assert starts == sorted(set(starts))
    assert starts[1] > 500_000


def test_a_connection_that_never_brings_anything_ends_in_a_sentence(hub: Hub) -> None:
    hub.repo.cut_after = [0] * 20
    with pytest.raises(ModelNotFoundError, match="cannot be reached; check the name and the connection"):
        run()
    assert len(hub.repo.gets("model.safetensors")) == download.MAX_STALLS


def test_a_stop_keeps_what_is_there_and_the_next_download_goes_on(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "CHUNK_BYTES", 65_536)
    first = run(stop_after=1_500_000)[-1]
    assert isinstance(first, Downloaded)
    assert first.stopped
    assert 1_500_000 < first.bytes_done < first.bytes_total
    assert find_downloaded(ID) is None
    (part,) = hub.parts
    begun, size = len(hub.repo.gets("model.safetensors")), part.stat().st_size
    second = run()
    assert isinstance(second[0], DownloadProgress)
    assert second[0].bytes_done == first.bytes_done
    assert hub.repo.gets("model.safetensors")[begun:] == [f"bytes={size}-"]
    assert find_downloaded(ID) == hub.folder


def test_stopping_while_loading_is_an_error_of_its_own(hub: Hub) -> None:
    with pytest.raises(StoppedError, match=r"Stopped after .* of .* bytes of some-one/some-model; .* goes on"):
        load(LoadOptions(ID, device="cpu"), should_stop=lambda: True)


def test_a_killed_download_goes_on_and_finishes(hub: Hub) -> None:
    """kill -9 in the middle of the weights; the next run asks for the rest alone."""
    hub.repo.hold_after = 2_000_000
    command = [sys.executable, "-m", "kiv_engine.cli", "models", "get", ID]
    with subprocess.Popen(command, env=hub.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
        assert hub.repo.held.wait(60)
        while not any(part.stat().st_size for part in hub.parts):  # what was sent arrives a little later
            assert first.poll() is None
        first.kill()
        first.communicate()
    hub.repo.release.set()
    (part,) = hub.parts
    size = part.stat().st_size
    assert 0 < size <= 2_000_000
    assert hub.repo.files["model.safetensors"].startswith(part.read_bytes())
    second = subprocess.run(command, env=hub.environment(), capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert second.stdout == f"{ID} is here: {hub.folder}\n"
    assert hub.repo.gets("model.safetensors") == ["", f"bytes={size}-"]
    assert (hub.folder / "model.safetensors").read_bytes() == hub.repo.files["model.safetensors"]


def test_a_server_without_ranges_begins_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "CHUNK_BYTES", 65_536)
    run(stop_after=1_500_000)
    hub.repo.ignores_ranges = True
    last = run()[-1]
    assert last.bytes_done == last.bytes_total
    assert (hub.folder / "model.safetensors").read_bytes() == hub.repo.files["model.safetensors"]


def test_a_wrong_checksum_is_noticed_and_nothing_of_it_is_kept(hub: Hub) -> None:
    hub.repo.corrupt = {"model.safetensors"}
    with pytest.raises(EngineError, match=r"model\.safetensors of .* arrived damaged"):
        run()
    assert hub.parts == []
    assert find_downloaded(ID) is None
    hub.repo.corrupt = set()
    run()
    assert find_downloaded(ID) == hub.folder


@pytest.mark.parametrize("ignores_ranges", [False, True])
def test_a_file_that_is_shorter_than_announced_ends_in_a_sentence(hub: Hub, ignores_ranges: bool) -> None:
    hub.repo.ends_after, hub.repo.ignores_ranges = 1_000_000, ignores_ranges
    with pytest.raises(EngineError, match=r"model\.safetensors of .* ends after 1,000,000 of 4,[\d,]+ bytes"):
        run()
    assert len(hub.repo.gets("model.safetensors")) <= 2 * download.MAX_STALLS
    hub.repo.ends_after = None
    run()
    assert find_downloaded(ID) == hub.folder


def test_a_model_is_downloaded_by_one_at_a_time(hub: Hub) -> None:
    model = look_up(ID)
    first = Download(model).run(never)
    next(first)
    with pytest.raises(EngineError, match=f"{ID} is being downloaded already; wait for that"):
        next(Download(model).run(never))
    first.close()
    run()
    assert find_downloaded(ID) == hub.folder


def test_a_token_is_for_the_hub_and_not_for_where_it_sends_us(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    other = HubRepo(dict(hub.repo.files))
    with serve(other) as hub.repo.storage:
        run()
    assert find_downloaded(ID) == hub.folder
    assert set(hub.repo.tokens) == {"Bearer hf_secret"}
    assert other.gets("model.safetensors") == [""]
    assert set(other.tokens) == {""}


def test_a_token_is_not_sent_in_the_clear(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the same host, but by http where the hub is asked by https."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    one = Download(look_up(ID))
    (weights,) = (file for file in one.model.files if file.name == "model.safetensors")
    assert one._address(weights)[1]["authorization"] == "Bearer hf_secret"
    plain = SimpleNamespace(location=one._address(weights)[0])
    monkeypatch.setattr(download, "get_hf_file_metadata", lambda *_, **__: plain)
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint.replace("http:", "https:"))
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace("http:", "https:")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    assert "authorization" not in one._address(weights)[1]


def test_a_busy_hub_is_waited_for(hub: Hub) -> None:
    model = look_up(ID)
    hub.repo.busy = 1
    assert isinstance(list(Download(model).run(never))[-1], Downloaded)
    assert hub.repo.busy == 0
    assert find_downloaded(ID) == hub.folder


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (
            (401, "GatedRepo"),
            "only for those whom its owner grants access: ask for it on huggingface.co/some-one/some-",
        ),
        ((403, "GatedRepo"), "grants access"),
        ((401, "RepoNotFound"), "is not on the HuggingFace hub, or is private"),
        ((404, "RepoNotFound"), "is not on the HuggingFace hub, or is private"),
        ((500, ""), "answers with an error; try again later"),
        ((429, ""), "answers with an error; try again later"),
    ],
)
def test_refusals_are_sentences(hub: Hub, refusal: tuple[int, str], message: str) -> None:
    hub.repo.refusal = refusal
    with pytest.raises(ModelNotFoundError, match=message):
        look_up(ID)


def test_a_typo_is_answered_with_the_nearest_id(hub: Hub) -> None:
    hub.repo.refusal = (404, "RepoNotFound")
    with pytest.raises(ModelNotFoundError, match=r"Did you mean Qwen/Qwen2\.5-3B-Instruct"):
        look_up("Qwen/Qwen2.5-3B-Instrukt")
    with pytest.raises(ModelNotFoundError, match="neither a folder here nor a name"):
        look_up("no such/model?")


@pytest.mark.parametrize(
    ("remaining", "message"),
    [
        (
            {"model.Q4_K_M.gguf": b"GGUF"},
            r"GGUF, which KIV does not read; get the model that it was made from, base/model",
        ),
        ({"config.json": b"{}", "pytorch_model.bin": b"x"}, r"only as a pickle.*another upload"),
        ({"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"}, r"adapter.*base/model"),
        ({"config.json": b"{}"}, "has no weights"),
        ({"README.md": b""}, "has no config.json"),
        ({"config.json": b"{}", "model.safetensors": b"x"}, "has no tokenizer"),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_download(hub: Hub, remaining: dict[str, bytes], message: str) -> None:
    hub.repo.files = remaining
    hub.repo.card = {"base_model": ["base/model"]}
    with pytest.raises(ModelNotFoundError, match=message):
        look_up(ID)
    assert not hub.cache.exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "madeup", "auto_map": {"AutoConfig": "evil.Evil"}}, "needs remote code"),
        ({"model_type": "llama", "num_hidden_layers": 10**9}, "num_hidden_layers is 1,000,000,000, where 1 to"),
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, "is an encoder-decoder"),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "BertForMaskedLM is no causal language model"),
        ({"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"]}, "multi-head latent attention"),
        ({"model_type": "minimax", "architectures": ["MiniMaxForCausalLM"]}, "insists on a cache of its own"),
    ],
)
def test_what_would_be_refused_once_it_is_here_is_refused_before_its_weights(
    hub: Hub, config: dict[str, object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repo.files["config.json"] = json.dumps(config).encode()
    said = []
    for arguments in (
        ["models", "get", ID],
        ["ask", "archive:2000", "-q", "Who?", "--device", "cpu", "--model", ID],
        ["fit", ID],
    ):
        assert cli.main(arguments) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        said.append(err)
    assert message in said[0]
    assert said == said[:1] * 3, "all say the same"
    with pytest.raises(UnsupportedModelError, match=message):
        load(LoadOptions(ID, device="cpu"))
    assert {path.rpartition("/")[2] for _, path, _ in hub.repo.requests} == {"some-model", "config.json"}


def test_a_full_disk_is_said_before_the_first_byte(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    model = look_up(ID)
    asked = len(hub.repo.requests)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000_000}))
    with pytest.raises(CapacityError, match=r"needs \d+ MB more on the disk .* --folder"):
        next(Download(model).run(never))
    assert len(hub.repo.requests) == asked


def test_a_disk_that_fills_up_is_said_and_what_came_is_kept(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run(stop_after=1_000_000)
    (part,) = hub.parts
    size = part.stat().st_size
    with monkeypatch.context() as patch:
        patch.setattr(Download, "_receive", full)
        with pytest.raises(CapacityError, match=r"needs \d+ MB more on the disk .* --folder"):
            run()
    assert part.stat().st_size == size
    run()
    assert find_downloaded(ID) == hub.folder


def test_offline_says_so_and_finds_what_is_here(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match="is not on this computer, and HF_HUB_OFFLINE forbids to ask"):
        look_up(ID)
    assert hub.repo.requests == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    run()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert type(load(LoadOptions(ID, device="cpu")).model) is LlamaForCausalLM


def test_what_was_cut_short_since_is_fetched_again(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    for name in ("model.safetensors", "config.json"):
        file = hub.folder / name
        file.resolve().write_bytes(file.read_bytes()[:100])
        if name.endswith("safetensors"):
            assert find_downloaded(ID) is None
        assert Download(look_up(ID)).bytes_missing >= len(hub.repo.files[name])
        run()
        assert file.read_bytes() == hub.repo.files[name]
    (hub.folder / "model.safetensors").resolve().write_bytes(b"12345678{")
    assert cli.main(["models", "get", ID]) == 0
    assert capsys.readouterr().out == f"{ID} is here: {hub.folder}\n"
    assert find_downloaded(ID) == hub.folder


def test_a_damaged_config_is_fetched_again(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    (hub.folder / "config.json").resolve().write_text('{"model_type":')
    assert find_downloaded(ID) is None
    assert cli.main(["models", "get", ID]) == 0
    assert (hub.folder / "config.json").read_bytes() == hub.repo.files["config.json"]
    assert capsys.readouterr().out == f"{ID} is here: {hub.folder}\n"


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("tokenizer.json", b"\0"),
        ("tokenizer.json", b"here"),
        ("model.safetensors", b"here"),
        ("tokenizer_config.json", None),
    ],
)
def test_what_is_damaged_at_its_full_size_or_lost_is_fetched_again(
    hub: Hub, capsys: pytest.CaptureFixture[str], name: str, damage: bytes | None
) -> None:
    run()
    file, whole = hub.folder / name, hub.repo.files[name]
    if damage is None:
        file.unlink()
    elif damage == b"here":  # a word in the middle, which leaves both ends as they are
        middle = len(whole) // 2 if name.endswith("json") else 8
        file.resolve().write_bytes(whole[:middle] + damage + whole[middle + len(damage) :])
    else:
        file.resolve().write_bytes(damage * len(whole))
    assert cli.main(["models", "get", ID]) == 0
    assert capsys.readouterr().out == f"{ID} is here: {hub.folder}\n"
    assert file.read_bytes() == whole
    assert find_downloaded(ID) == hub.folder
    assert cli.main(["models", "get", ID]) == 0
    assert capsys.readouterr().out == f"{ID} is here already: {hub.folder}\n"


def test_a_model_without_a_tokenizer_config_is_here_where_the_hub_cannot_be_asked(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    (hub.folder / "tokenizer_config.json").unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert cli.main(["models", "get", ID]) == 0
    assert capsys.readouterr().out == f"{ID} is here already: {hub.folder}\n"
    (hub.folder / "generation_config.json").resolve().write_text("{,}")
    assert cli.main(["models", "get", ID]) != 0


def test_where_links_cannot_be_made_a_file_that_is_no_json_is_noticed(hub: Hub) -> None:
    run()
    for file in hub.folder.iterdir():
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
    assert download.spoilt_files(hub.folder) == []
    (hub.folder / "generation_config.json").write_bytes(b"{,}")
    assert download.spoilt_files(hub.folder) == ["generation_config.json"]


def test_a_tokenizer_that_cannot_be_loaded_is_told_with_how_to_get_it(hub: Hub) -> None:
    run()
    (hub.folder / "tokenizer.json").resolve().write_text('{"version": "1.0"}')
    with pytest.raises(
        ModelNotFoundError, match=f"no tokenizer that can be loaded: .*; if .* with: kiv models get {ID}"
    ):
        load(LoadOptions(ID, device="cpu"))


@pytest.mark.parametrize("page", ["https://huggingface.co/{}", "huggingface.co/{}/tree/main", "https://hf.co/{}?x=1"])
def test_the_address_of_a_models_page_is_its_name(page: str, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "get", page.format(ID)]) == 0
    assert capsys.readouterr().out == f"{ID} is here: {hub.folder}\n"


# -- the command line ------------------------------------------------------------------------------------------------


def test_getting_a_model_twice(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "get", ID]) == 0
    out, err = capsys.readouterr()
    assert out == f"{ID} is here: {hub.folder}\n"
    assert "bytes, " in err.splitlines()[0]
    assert "Downloading [########################]" in err
    assert cli.main(["models", "get", ID]) == 0
    assert capsys.readouterr() == (f"{ID} is here already: {hub.folder}\n", "")


def test_refusals_on_the_command_line(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.repo.refusal = (401, "GatedRepo")
    assert cli.main(["models", "get", ID]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "kiv models token" in err


def test_a_fit_fetches_nothing_but_the_config(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fit", ID, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == ID
    assert {path.rpartition("/")[2] for _, path, _ in hub.repo.requests} == {"config.json"}
    hub.repo.requests.clear()
    assert cli.main(["fit", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "--json"]) == 0
    assert hub.repo.requests == []


# -- nothing else opens a connection ---------------------------------------------------------------------------------

FORBID = """
import json, socket, sys
def refuse(*arguments, **_):
    raise AssertionError(f"a connection was opened: {arguments}")
for name in ("connect", "connect_ex", "sendto", "bind", "listen"):
    setattr(socket.socket, name, refuse)
socket.create_connection = socket.getaddrinfo = socket.gethostbyname = refuse
from kiv_engine import cli
for arguments in json.loads(sys.argv[1]):
    if code := cli.main(arguments):
        sys.exit(f"{arguments} ended with {code}")
"""


def without_connections(*commands: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """What commands do, one behind the other, in a process where a connection is an error."""
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    environment |= {"PYTHONPATH": os.getcwd(), **variables}
    line = [sys.executable, "-c", FORBID, json.dumps(commands)]
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "commands",
    [
        [["models"], ["fit", "demo"], ["fit", "google/gemma-4-E2B-it"], ["doctor"]],
        [
            ["ask", "archive:2000", "-q", "Who?", "--max-new-tokens", "4"],
            ["ask", "-q", "Who?", "--model", str(DEMO_FOLDER), "--quantize", "8bit", "--max-new-tokens", "2"],
        ],
    ],
    ids=["plan", "ask"],
)
def test_nothing_but_a_download_opens_a_connection(commands: list[list[str]]) -> None:
    done = without_connections(*commands)
    assert done.returncode == 0, done.stderr
    assert "a connection was opened" not in done.stderr


def test_a_connection_would_be_noticed() -> None:
    done = without_connections(["models", "get", ID], HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode != 0
    assert "a connection was opened" in done.stderr


@pytest.mark.usefixtures("online")
def test_a_connection_would_be_noticed_in_this_process_too(far_connections: list[str]) -> None:
    """As where the app, kiv contexts, eval and bench are tested."""
    assert cli.main(["models", "get", ID]) == 2
    assert set(far_connections) == {"socket.getaddrinfo huggingface.co"}
    far_connections.clear()


def test_downloads_go_where_they_were_sent_and_are_found_there(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KIV_MODELS")
    monkeypatch.setattr(model_places, "_file", lambda: tmp_path / "config" / "folders.json")
    elsewhere = tmp_path / "big disk" / "models"
    assert cli.main(["models", "get", ID, "--folder", str(elsewhere)]) == 0
    out, err = capsys.readouterr()
    assert f"Models go to {elsewhere} from now on." in err
    folder = elsewhere / "models--some-one--some-model" / "snapshots" / COMMIT
    assert out == f"{ID} is here: {folder}\n"
    assert not hub.cache.exists()
    asked = len(hub.repo.requests)
    assert cli.main(["models", "get", ID, "--folder", "default"]) == 0
    assert find_downloaded(ID) == folder, "a folder of before is still known"
    assert len(hub.repo.requests) == asked
    assert model_places.model_folders() == [hub.cache, elsewhere]
    monkeypatch.setenv("KIV_MODELS", "")
    assert find_downloaded(ID) is None
    monkeypatch.setenv("KIV_MODELS", str(elsewhere))
    assert find_downloaded(ID) == folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([""], "No model is named"),
        (["{here}"], "is here already"),
        ([ID, "--folder", "{here}/file"], "Models cannot be kept in"),
    ],
)
def test_bad_input_is_one_line(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    (tmp_path / "file").touch()
    assert cli.main(["models", "get", *(each.format(here=tmp_path) for each in arguments)]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert hub.repo.requests == []


def test_a_damaged_note_of_folders_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIV_MODELS")
    monkeypatch.setattr(model_places, "_file", lambda: tmp_path / "folders.json")
    for text in ("[", '{"a": 1}', "[1, null]"):
        (tmp_path / "folders.json").write_text(text)
        assert model_places.model_folders() == [Path(constants.HF_HUB_CACHE)]
