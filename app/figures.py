"""Numbers as people read them, in their language."""

from collections.abc import Sequence
from typing import Final

from PySide6.QtCore import QCoreApplication

WORDS_PER_TOKEN: Final = 0.75
"""Of English; of other languages less."""
TOKENS_PER_PAGE: Final = 400


def as_bytes(count: int) -> str:
    """Like 6.8 MB or 1.24 GB; powers of ten, as disks and system monitors count."""
    if count < 1_000_000:
        return tr("{0} KB").format(f"{count / 1e3:.0f}")
    if count < 1_000_000_000:
        return tr("{0} MB").format(f"{count / 1e6:.1f}" if count < 100_000_000 else f"{count / 1e6:.0f}")
    return tr("{0} GB").format(f"{count / 1e9:.2f}" if count < 10_000_000_000 else f"{count / 1e9:.1f}")


def as_duration(seconds: float) -> str:
    """Like 0.05 s, 12 s, 4:05 min or 31 h."""
    if seconds < 60:
        return tr("{0} s").format(f"{seconds:.2f}" if seconds < 1 else f"{seconds:.0f}")
    if seconds >= 7_200:
        return tr("{0} h").format(f"{seconds / 3_600:,.0f}")
    return tr("{0} min").format(f"{int(seconds) // 60}:{int(seconds) % 60:02d}")


def as_rough_duration(seconds: float) -> str:
    """Like 8 s, 40 s, 3 min or 2 h, for an estimate."""
    if seconds < 55:
        return tr("{0} s").format(max(1, round(seconds)) if seconds < 10 else 5 * round(seconds / 5))
    if seconds < 5_400:
        return tr("{0} min").format(round(seconds / 60))
    return tr("{0} h").format(f"{seconds / 3_600:,.0f}")


def as_rate(tokens_per_s: float) -> str:
    """Like 92 tokens/s or 4.1 tokens/s."""
    if tokens_per_s < 0.1:
        return tr("under 0.1 tokens/s")
    return tr("{0} tokens/s").format(f"{tokens_per_s:,.0f}" if tokens_per_s >= 10 else f"{tokens_per_s:.1f}")


def as_pace(tokens_per_s: float) -> str:
    """Like 12 words a second or a word in 3 s, for an estimate."""
    words = WORDS_PER_TOKEN * tokens_per_s
    if words < 1.5:
        return tr("a word in {0}").format(as_rough_duration(1 / max(words, 1e-6)))
    return tr("{0:,.0f} words a second").format(words)


def as_round_tokens(count: int) -> str:
    """Like 4.2 million or 850,000, for a number that is an estimate anyway."""
    if count >= 1_000_000:
        return tr("{0} million").format(f"{count / 1e6:.1f}")
    return f"{rounded_down(count):,}"


def as_pages(tokens: int) -> str:
    """Like 13,000 pages, for a number of tokens that is an estimate anyway."""
    return tr("{0:,} pages").format(rounded_down(tokens // TOKENS_PER_PAGE))


def as_short_tokens(count: int, *, up: bool = False) -> str:
    """Like 9,876 or 412k or 1.04M, rounded down, or else up."""
    if count < 10_000:
        return f"{count:,}"
    unit, text = (1_000, tr("{0}k")) if count <= 999_000 else (10_000, tr("{0}M"))
    units = -(-count // unit) if up else count // unit
    return text.format(units if unit == 1_000 else f"{units / 100:.2f}")


def rounded_down(count: int) -> int:
    """To whole thousands, unless it is small."""
    return count // 1_000 * 1_000 if count >= 10_000 else count


def as_ranges(numbers: Sequence[int]) -> str:
    """Like 1–7, 9–24, of numbers that rise; without commas in them, which would be read as part of the list."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return ", ".join(f"{first}–{last}" if last > first else f"{first}" for first, last in runs)


def as_place(page: int | None, section: str, row: int | None, line: int | None) -> str:
    """Like page 12, The Whale; empty where only the character is known."""
    words = ((tr("page {0:,}"), page), (tr("row {0:,}"), row), (tr("line {0:,}"), line))
    parts = [text.format(number) for text, number in words if number is not None]
    return ", ".join([*parts, *filter(None, [section])])


def as_unit(unit: str) -> str:
    """The name of what a parser counts, as in ParseProgress."""
    names = {
        "pages": tr("pages"),
        "slides": tr("slides"),
        "chapters": tr("chapters"),
        "paragraphs": tr("paragraphs"),
        "rows": tr("rows"),
        "files": tr("files"),
        "characters": tr("characters"),
    }
    return names[unit]


def tr(text: str) -> str:
    """In the user's language."""
    return QCoreApplication.translate("Figures", text)
