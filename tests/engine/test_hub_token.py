"""The token for gated models, with keyrings that this machine lacks, and a hub on loopback."""

import io
import sys
from collections.abc import Iterator

import huggingface_hub
import keyring
import pytest
from huggingface_hub import constants
from keyring.backend import KeyringBackend
from keyring.backends import fail
from keyring.errors import KeyringLocked, PasswordDeleteError

from kiv_engine import cli, hub_token
from kiv_engine.download import look_up
from kiv_engine.errors import AccessError, ConfigError, TokenStoreError
from tests.engine.loopback_hub import HubRepo, serve

ID = "some-one/some-model"


class MemoryKeyring(KeyringBackend):
    """A keyring that forgets."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if (service, username) not in self.kept:
            raise PasswordDeleteError
        del self.kept[service, username]


class LockedKeyring(MemoryKeyring):
    """One that its owner has locked."""

    def get_password(self, service: str, username: str) -> str | None:
        raise KeyringLocked("locked")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise KeyringLocked("locked")


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Iterator[MemoryKeyring]:
    """A keyring, and no token anywhere else."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", f"{tmp_path}/token")
    before, backend = keyring.get_keyring(), MemoryKeyring()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Iterator[HubRepo]:
    repo = HubRepo({"config.json": b"{}", "model.safetensors": b"x", "tokenizer.json": b"{}"})
    with serve(repo) as endpoint:
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", f"{tmp_path}/hub")
        yield repo
        huggingface_hub.close_session()


def say(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_the_token_of_the_keyring_is_sent(ring: MemoryKeyring, hub: HubRepo) -> None:
    look_up(ID)
    assert set(hub.tokens) == {""}
    hub_token.keep_token(" hf_kept \n")
    hub.tokens.clear()
    look_up(ID)
    assert set(hub.tokens) == {"Bearer hf_kept"}
    assert list(ring.kept.values()) == ["hf_kept"]


def test_a_token_of_the_environment_goes_first(
    ring: MemoryKeyring, hub: HubRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_token.keep_token("hf_kept")
    monkeypatch.setenv("HF_TOKEN", "hf_environment")
    look_up(ID)
    assert set(hub.tokens) == {"Bearer hf_environment"}


@pytest.mark.usefixtures("ring")
def test_a_gated_model_says_what_to_do_next(hub: HubRepo) -> None:
    hub.refusal = (401, "GatedRepo")
    with pytest.raises(AccessError, match=r"ask for it on huggingface\.co/some-one/some-model.*kiv models token") as no:
        look_up(ID)
    assert no.value.model_id == ID
    hub_token.keep_token("hf_kept")
    hub.refusal = (403, "GatedRepo")
    with pytest.raises(AccessError, match="the token that was sent is not of one of them"):
        look_up(ID)
    hub.refusal = (401, "RepoNotFound")
    with pytest.raises(AccessError, match=r"or is private; .*kiv models token"):
        look_up(ID)


def test_the_command_keeps_and_removes(
    ring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say(monkeypatch, "hf_typed\n")
    assert cli.main(["models", "token"]) == 0
    assert list(ring.kept.values()) == ["hf_typed"]
    assert "hf_typed" not in "".join(capsys.readouterr())
    assert cli.main(["models", "token", "--remove"]) == 0
    assert not ring.kept
    assert cli.main(["models", "token", "--remove"]) == 0
    assert "There was no token" in capsys.readouterr().out


@pytest.mark.parametrize("typed", ["", "\n", "secret\n", "hf_\n", "hf_a b\n", "hf_é\n"])
def test_what_is_no_token_is_refused(
    ring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    say(monkeypatch, typed)
    assert cli.main(["models", "token"]) == 2
    err = capsys.readouterr().err
    assert "begins with hf_" in err
    assert err.count("\n") == 1
    assert not ring.kept
    with pytest.raises(ConfigError):
        hub_token.keep_token(typed)


@pytest.mark.usefixtures("ring")
@pytest.mark.parametrize(("backend", "words"), [(fail.Keyring(), "no keyring"), (LockedKeyring(), "is locked")])
def test_without_a_keyring_there_is_one_line_and_downloads_go_on(
    backend: KeyringBackend,
    words: str,
    hub: HubRepo,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keyring.set_keyring(backend)
    for arguments in ([], ["--remove"]):
        say(monkeypatch, "hf_typed\n")
        assert cli.main(["models", "token", *arguments]) == 2
        err = capsys.readouterr().err
        assert words in err
        assert "HF_TOKEN" in err
        assert err.count("\n") == 1
    look_up(ID)
    assert set(hub.tokens) == {""}
    with pytest.raises(TokenStoreError):
        hub_token.remove_token()
