"""Charts, drawn on the server: numbers in, places in a drawing out. The templates draw SVG of them, with a table beside it.

A drawing is 100 high and has 10 of width for each column; it is stretched to the room that there is, so it holds no text.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

COLUMN = 10.0
HEIGHT = 100.0
_GAP = 1.5
_STEPS = (1.0, 2.0, 5.0, 10.0)
OTHERS = "others"


class Box(Struct):
    """A rectangle; `series` chooses its colour."""

    x: float
    y: float
    width: float
    height: float
    series: int


class Slot(Struct):
    """One column of a chart: where it begins, what it says in words, and its rectangles."""

    x: float
    label: str
    """Below the chart; empty for most of them."""
    title: str
    boxes: list[Box]


class Chart(Struct):
    """What a template needs to draw."""

    width: float
    slots: list[Slot]
    ticks: list[str]
    """Of the scale, from the top to the bottom."""
    series: list[str]
    empty: bool


def stacked(
    labels: Sequence[tuple[str, str]],
    values: Sequence[Mapping[str, int]],
    series: Sequence[str],
    shown: Callable[[float], str],
) -> Chart:
    """Columns of parts on top of each other. `labels`: of each column a short one, and one in full."""
    top = nice_top(max((sum(each.values()) for each in values), default=0))
    slots = []
    for number, ((label, full), parts) in enumerate(zip(_sparse(labels), values, strict=True)):
        boxes, below = [], 0
        for index, name in enumerate(series):
            amount = parts.get(name, 0)
            if amount:
                below += amount
                boxes.append(_box(number, HEIGHT * (1 - below / top), HEIGHT * amount / top, index))
        slots.append(Slot(number * COLUMN, label, f"{full}: {shown(sum(parts.values()))}", boxes))
    return Chart(len(slots) * COLUMN, slots, [shown(top), shown(top / 2), shown(0)], list(series), not any(map(any, values)))


def nested(
    labels: Sequence[tuple[str, str]],
    values: Sequence[Sequence[float]],
    series: Sequence[str],
    shown: Callable[[float], str],
) -> Chart:
    """Columns of levels one within the other, such as percentiles: rising, one for each of `series`, or none at all."""
    top = nice_top(max((each[-1] for each in values if each), default=0))
    slots = []
    for number, ((label, full), levels) in enumerate(zip(_sparse(labels), values, strict=True)):
        steps = zip((0.0, *levels), levels, strict=False)
        boxes = [
            _box(number, HEIGHT * (1 - above / top), HEIGHT * (above - below) / top, index)
            for index, (below, above) in enumerate(steps)
        ]
        told = ", ".join(f"{name} {shown(level)}" for name, level in zip(series, levels, strict=False))
        slots.append(Slot(number * COLUMN, label, f"{full}: {told or 'no requests'}", boxes))
    return Chart(len(slots) * COLUMN, slots, [shown(top), shown(top / 2), shown(0)], list(series), not any(values))


def nice_top(highest: float) -> float:
    """The end of a scale: 1, 2 or 5 times a power of ten, not below the highest value."""
    if highest <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(highest))
    return next(step * unit for step in _STEPS if step * unit >= highest * 0.999999)


def top_names(totals: Mapping[str, int], most: int) -> list[str]:
    """The names of the largest totals; what is left is `OTHERS`."""
    names = sorted(totals, key=lambda name: (-totals[name], name))
    return names if len(names) <= most else [*names[: most - 1], OTHERS]


def _box(number: int, y: float, height: float, series: int) -> Box:
    return Box(number * COLUMN + _GAP / 2, round(y, 3), COLUMN - _GAP, round(height, 3), series)


def _sparse(labels: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """A label below every so many columns: six at the most."""
    step = max(1, math.ceil(len(labels) / 6))
    return [(short if index % step == 0 else "", full) for index, (short, full) in enumerate(labels)]
