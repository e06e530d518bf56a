"""Charts, drawn on the server: numbers in, places in a drawing out. The templates draw SVG of them, with a table beside it.

A drawing is 100 high and has 10 of width for each column; it is stretched to the room that there is, so it holds no text.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

COLUMN = 10.0
HEIGHT = 100.0
_GAP = 1.5
_STEPS = (1.0, 2.0, 4.0, 6.0, 8.0, 10.0)
OTHERS = "others"


class Slot(Struct):
    """One column of a chart: where it begins, and what it says in words."""

    x: float
    label: str
    """Below the chart; empty for most of them."""
    title: str


class Chart(Struct):
    """What a template needs to draw."""

    width: float
    slots: list[Slot]
    ticks: list[str]
    """Of the scale, from the top to the bottom."""
    series: list[str]
    paths: list[str]
    """Of each series all its rectangles, as one path of SVG: hundreds of elements would make the page heavy."""
    empty: bool


Labels = Sequence[tuple[str, str]]
"""Of each column a short one, and one in full."""
Shown = Callable[[float], str]


def stacked(
    labels: Labels, values: Sequence[Mapping[str, int]], series: Sequence[str], shown: Shown, *, unit: int = 1
) -> Chart:
    """Columns of parts on top of each other. `unit`: what is 1 to those who read the scale."""
    levels = [list(itertools.accumulate(parts.get(name, 0) for name in series)) for parts in values]
    titles = [shown(sum(parts.values())) for parts in values]
    return _chart(labels, levels, titles, series, shown, unit=unit)


def nested(labels: Labels, values: Sequence[Sequence[float]], series: Sequence[str], shown: Shown) -> Chart:
    """Columns of levels one within the other, such as percentiles: rising, one for each of `series`, or none at all."""
    told = [", ".join(f"{name} {shown(level)}" for name, level in zip(series, levels, strict=False)) for levels in values]
    return _chart(labels, values, [words or "no requests" for words in told], series, shown)


def _chart(
    labels: Labels,
    levels: Sequence[Sequence[float]],
    titles: Sequence[str],
    series: Sequence[str],
    shown: Shown,
    *,
    unit: int = 1,
) -> Chart:
    """`levels`: of each column where the rectangle of each series ends; it begins where the one before ends."""
    top = unit * nice_top(max((each[-1] for each in levels if each), default=0) / unit)
    paths = ["".join(_rectangles(levels, index, HEIGHT / top)) for index in range(len(series))]
    slots = [
        Slot(number * COLUMN, label, f"{full}: {title}")
        for number, ((label, full), title) in enumerate(zip(_sparse(labels), titles, strict=True))
    ]
    ticks = [shown(top), shown(top / 2), shown(0)]
    return Chart(len(slots) * COLUMN, slots, ticks, list(series), paths, not any(paths))


def _rectangles(levels: Sequence[Sequence[float]], index: int, scale: float) -> Iterator[str]:
    for number, each in enumerate(levels):
        below, above = (each[index - 1] if index else 0, each[index]) if index < len(each) else (0, 0)
        if above > below:
            x, y, height = number * COLUMN + _GAP / 2, HEIGHT - below * scale, (above - below) * scale
            yield f"M{x:g} {y:.5g}v-{height:.4g}h{COLUMN - _GAP:g}v{height:.4g}z"


def nice_top(highest: float) -> float:
    """The end of a scale: 1, 2, 4, 6 or 8 times a power of ten, not below the highest value."""
    if highest <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(highest))
    return next(step * unit for step in _STEPS if step * unit >= highest * 0.999999)


def top_names(totals: Mapping[str, int], most: int) -> list[str]:
    """The names of the largest totals; what is left is `OTHERS`."""
    names = sorted(totals, key=lambda name: (-totals[name], name))
    return names if len(names) <= most else [*names[: most - 1], OTHERS]


def _sparse(labels: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """A label below every so many columns: six at the most."""
    step = max(1, math.ceil(len(labels) / 6))
    return [(short if index % step == 0 else "", full) for index, (short, full) in enumerate(labels)]
