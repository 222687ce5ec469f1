"""What several tests of the engine start from."""

import gc
import math
from collections.abc import Iterator

import pytest


@pytest.fixture
def small_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes from 64 cold tokens on, so that short texts are searched through them."""
    monkeypatch.setattr("kiv_engine.index.FIT_TOKENS", 64)
    monkeypatch.setattr("kiv_engine.layer.FIT_TOKENS", 64)
    monkeypatch.setattr("kiv_engine.layer.DENSE_SHARE", math.inf)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of CHUNK tokens, with a snapshot after every SNAPSHOT, and all progress is told."""
    from tests.engine.tiny_context import CHUNK, SNAPSHOT

    monkeypatch.setattr("kiv_engine.reading.READ_CHUNK_TOKENS", CHUNK)
    monkeypatch.setattr("kiv_engine.reading.SNAPSHOT_TOKENS", SNAPSHOT)
    monkeypatch.setattr("kiv_engine.reading.PROGRESS_INTERVAL_S", 0.0)


@pytest.fixture(scope="module")
def all_contexts_gone() -> Iterator[None]:
    """No context outlives the tests of a file."""
    from kiv_engine.attention import Attachment

    yield
    gc.collect()
    assert not list(Attachment._of_model), "a context outlived its test"
