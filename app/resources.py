"""Where the data files are: beside the package, in a source tree as in an installed wheel."""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "resources"


def resource_text(name: str) -> str:
    """The text of a data file."""
    return (FOLDER / name).read_text(encoding="utf-8")
