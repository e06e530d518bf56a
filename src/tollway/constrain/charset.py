"""Sets of characters as sorted, disjoint code point ranges, and how they stand in a JSON string."""

from collections.abc import Iterable
from functools import lru_cache

from tollway.constrain.gbnf import Ranges, RuleSet, Seq, chars, seq, text

LAST = 0x10FFFF
# Lone surrogates are no characters: they have no UTF-8, and half a pair must never be generated.
EVERY: Ranges = ((0, 0xD7FF), (0xE000, LAST))
# What may stand in a JSON string as itself: no control characters, quote or backslash.
RAW: Ranges = ((0x20, 0x21), (0x23, 0x5B), (0x5D, 0xD7FF), (0xE000, LAST))
ESCAPES = {'"': '"', "\\": "\\", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}


def union(*sets: Iterable[tuple[int, int]]) -> Ranges:
    out: list[tuple[int, int]] = []
    for low, high in sorted(pair for ranges in sets for pair in ranges):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return tuple(out)


def intersect(left: Ranges, right: Ranges) -> Ranges:
    out: list[tuple[int, int]] = []
    i = j = 0
    while i < len(left) and j < len(right):
        low, high = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if low <= high:
            out.append((low, high))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(out)


def complement(ranges: Ranges) -> Ranges:
    """All characters but these; surrogates are in neither."""
    out: list[tuple[int, int]] = []
    start = 0
    for low, high in ranges:
        if start < low:
            out.append((start, low - 1))
        start = high + 1
    if start <= LAST:
        out.append((start, LAST))
    return intersect(tuple(out), EVERY)


def one_char(rules: RuleSet, ranges: Ranges) -> Seq:
    r"""One character of the set as it stands in a JSON string.

    Control characters without a short escape are written `\u00XX` only if the set holds nothing else: nobody means them when
    excluding some other character, and a small model gets lost in them.
    """
    return rules.one_of("char", _in_json(ranges))


@lru_cache(maxsize=256)
def _in_json(ranges: Ranges) -> tuple[Seq, ...]:
    alternatives: list[Seq] = []
    raw = intersect(ranges, RAW)
    if raw:
        alternatives.append(chars(raw))
    short = union((ord(letter), ord(letter)) for char, letter in ESCAPES.items() if has(ranges, ord(char)))
    if short:
        alternatives.append(seq(text("\\"), chars(short)))
    if not alternatives:
        controls = intersect(ranges, ((0, 0x1F),))
        alternatives = [text(f"\\u{code:04x}") for low, high in controls for code in range(low, high + 1)]
    return tuple(alternatives)


def has(ranges: Ranges, code: int) -> bool:
    return any(low <= code <= high for low, high in ranges)
