"""The models that KIV supports well: `resources/catalogue.json`, and the nearest of them to a name with a typo."""

import json
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Final

CATALOGUE_FILE: Final = Path(__file__).parents[1] / "resources" / "catalogue.json"

HUB_PAGE: Final = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?!datasets/|spaces/)([^/\s?#]+/[^/\s?#]+)(?:[/?#].*)?"
)
"""A model's page, or one below it."""


@dataclass(frozen=True)
class CatalogueEntry:
    """One model.

    Attributes:
        id: on the HuggingFace hub.
        gated: its owner grants access one by one.
        published_billions: parameters, as its makers count them.
        positions: its position scheme, in words.
        shape: those fields of its config that decide about memory.
        licence_source: where its licence was read.
        source: where the shape was compared with a published config.
        unchecked: what could not be compared with what its makers publish themselves.
    """

    id: str
    licence: str
    licence_source: str
    gated: bool
    published_billions: float
    positions: str
    source: str
    unchecked: tuple[str, ...]
    shape: dict[str, Any]


@cache
def read_catalogue() -> tuple[CatalogueEntry, ...]:
    """All entries, as the file has them."""
    models = json.loads(CATALOGUE_FILE.read_text(encoding="utf-8"))["models"]
    return tuple(CatalogueEntry(**{**model, "unchecked": tuple(model["unchecked"])}) for model in models)


def find_entry(name: str) -> CatalogueEntry | None:
    """The entry with this id, whatever the case of its letters."""
    return next((entry for entry in read_catalogue() if entry.id.lower() == name.lower()), None)


def model_name(entered: str) -> str:
    """What somebody means who enters a model's name, or the address of its page on the HuggingFace hub."""
    page = HUB_PAGE.fullmatch(entered.strip())
    return page[1] if page else entered


def nearest_ids(name: str, count: int = 3) -> list[str]:
    """The ids that look most like a name, with or without an owner before the slash; none where none does."""
    by_spelling = {}
    for entry in read_catalogue():
        by_spelling[entry.id.lower()] = by_spelling[entry.id.lower().partition("/")[2]] = entry.id
    wanted = name.lower().strip()
    model = wanted.partition("/")[2]
    found = [spelling for spelling in by_spelling if any(part and part in spelling for part in (wanted, model))]
    found += get_close_matches(wanted, by_spelling, 2 * count, 0.6)
    if model:
        found += get_close_matches(model, by_spelling, 2 * count, 0.6)
    return list(dict.fromkeys(by_spelling[spelling] for spelling in found))[:count]
