"""What several tests of the engine start from."""

import math

import pytest


@pytest.fixture
def small_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes from 64 cold tokens on, so that short texts are searched through them."""
    monkeypatch.setattr("kiv_engine.index.FIT_TOKENS", 64)
    monkeypatch.setattr("kiv_engine.layer.FIT_TOKENS", 64)
    monkeypatch.setattr("kiv_engine.layer.DENSE_SHARE", math.inf)
