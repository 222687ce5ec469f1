"""Plots as SVG: heat maps and lines, in a few shapes and without a library."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

FONT: Final = "font-family='system-ui, sans-serif' font-size='12' fill='#333'"
CELL: Final = (64, 26)
LABEL_WIDTH: Final = 76
PANEL_TOP: Final = 44
COLORS: Final = ("#1b6ca8", "#d1495b", "#2e933c", "#8d6a9f", "#edae49", "#00798c", "#6b705c", "#b5651d")
PLOT: Final = (520, 300)
MARGIN: Final = (64, 28, 220, 46)
"""Of a line plot: left, top, right (for the names), bottom."""


def document(width: float, height: float, parts: Sequence[str]) -> str:
    """An SVG file."""
    begin = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {height:.0f}' width='{width:.0f}'>"
    return "\n".join([begin, f"<rect width='{width:.0f}' height='{height:.0f}' fill='#fff'/>", *parts, "</svg>", ""])


def text(x: float, y: float, content: str, anchor: str = "start") -> str:
    """A line of text."""
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' {FONT}>{escape(content)}</text>"


@dataclass(frozen=True)
class HeatMap:
    """Rates from 0 to 1, None where there is none; rows from top to bottom."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    rates: Sequence[Sequence[float | None]]

    @property
    def width(self) -> float:
        return LABEL_WIDTH + CELL[0] * len(self.columns) + 12

    @property
    def height(self) -> float:
        return PANEL_TOP + CELL[1] * len(self.rows) + 14

    def parts(self, left: float, top: float) -> list[str]:
        """Its shapes."""
        shapes = [text(left, top + 14, self.title)]
        for at, name in enumerate(self.columns):
            shapes.append(text(left + LABEL_WIDTH + CELL[0] * (at + 0.5), top + PANEL_TOP - 8, name, "middle"))
        for row, (name, rates) in enumerate(zip(self.rows, self.rates, strict=True)):
            y = top + PANEL_TOP + CELL[1] * row
            shapes.append(text(left + LABEL_WIDTH - 8, y + 17, name, "end"))
            for column, rate in enumerate(rates):
                shapes += _cell(left + LABEL_WIDTH + CELL[0] * column, y, rate)
        return shapes


def _cell(x: float, y: float, rate: float | None) -> list[str]:
    color = "#eee" if rate is None else heat(rate)
    shape = f"<rect x='{x:.1f}' y='{y:.1f}' width='{CELL[0] - 2}' height='{CELL[1] - 2}' fill='{color}'/>"
    return [shape, text(x + CELL[0] / 2 - 1, y + 17, "–" if rate is None else f"{rate:.2f}", "middle")]


def heat(rate: float) -> str:
    """From red over yellow to green."""
    low, middle, high = (222, 110, 96), (246, 222, 140), (126, 190, 122)
    begin, end, at = (low, middle, rate * 2) if rate < 0.5 else (middle, high, rate * 2 - 1)
    red, green, blue = (round(a + (b - a) * at) for a, b in zip(begin, end, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"


def heat_maps(panels: Sequence[HeatMap]) -> str:
    """Heat maps in two columns."""
    parts: list[str] = []
    tops = [0.0, 0.0]
    width = max(panel.width for panel in panels) + 12
    for place, panel in enumerate(panels):
        side = place % 2
        parts += panel.parts(12 + width * side, tops[side] + 8)
        tops[side] += panel.height + 8
    return document(width * min(2, len(panels)) + 12, max(tops) + 12, parts)


@dataclass(frozen=True)
class Series:
    """A named line: (x, y) pairs, both above 0."""

    name: str
    points: Sequence[tuple[float, float]]


def line_plot(title: str, x_name: str, y_name: str, series: Sequence[Series]) -> str:
    """Lines over two logarithmic axes."""
    points = [point for one in series for point in one.points]
    xs = sorted({x for x, _ in points})
    low, high = _decades(min(y for _, y in points), max(y for _, y in points))
    left, top, right, bottom = MARGIN

    def place(x: float, y: float) -> tuple[float, float]:
        across = math.log(x / xs[0]) / math.log(xs[-1] / xs[0]) if xs[-1] > xs[0] else 0.5
        up = (math.log10(y) - low) / (high - low)
        return left + PLOT[0] * across, top + PLOT[1] * (1 - up)

    parts = [text(left, 16, title), text(left + PLOT[0] / 2, top + PLOT[1] + 38, x_name, "middle")]
    parts.append(text(8, top - 6, y_name))
    for decade in range(low, high + 1):
        y = place(xs[0], 10.0**decade)[1]
        parts.append(f"<line x1='{left}' y1='{y:.1f}' x2='{left + PLOT[0]}' y2='{y:.1f}' stroke='#ddd'/>")
        parts.append(text(left - 6, y + 4, f"{10.0**decade:g}", "end"))
    parts += [text(place(x, 10.0**low)[0], top + PLOT[1] + 18, short(x), "middle") for x in xs]
    for at, one in enumerate(series):
        parts += _line(one, [place(x, y) for x, y in one.points], COLORS[at % len(COLORS)])
        parts.append(text(left + PLOT[0] + 26, top + 14 + 18 * at, one.name))
        y = top + 10 + 18 * at
        parts.append(
            f"<rect x='{left + PLOT[0] + 10}' y='{y}' width='10' height='4' fill='{COLORS[at % len(COLORS)]}'/>"
        )
    return document(left + PLOT[0] + right, top + PLOT[1] + bottom, parts)


def _decades(low: float, high: float) -> tuple[int, int]:
    """Whole powers of ten around two numbers."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return first, max(last, first + 1)


def _line(one: Series, places: Sequence[tuple[float, float]], color: str) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{color}'/>" for x, y in places]
    return [f"<polyline points='{path}' fill='none' stroke='{color}' stroke-width='2'/>", *dots]


def short(tokens: float) -> str:
    """Like 64K or 1M."""
    for unit, size in (("M", 2**20), ("K", 2**10)):
        if tokens >= size and tokens % size == 0:
            return f"{tokens / size:.0f}{unit}"
    return f"{tokens:,.0f}"
