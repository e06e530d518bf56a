"""Values that programs trip over, and documents that are almost right."""

import copy
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

NAUGHTY = (
    "", " ", "\x00", "a\x00b", "\r\nx-evil: 1", "\t\x0b\x1b[2J\x7f", "\u2028\u202e\ufeff\uffff", "\U0010ffff", "é",
    "😀" * 50, "İ",
    "'", '"', "' OR '1'='1", "'; DROP TABLE accounts; --", "1; SELECT pg_sleep(9)", "%27%20OR%201=1", "%s%n%x", "{0}",
    "{{7*7}}",
    "${7*7}", "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "javascript:alert(1)",
    "../../../../etc/passwd",
    "..\\..\\x", "file:///etc/passwd", "|id", "`id`", "$(id)", "NaN", "Infinity", "-0", "1e999", "0x10", "1_000", "٣",
    "²", "9" * 40,
    "-1", "9223372036854775808", "null", "undefined", "None", "True", "__proto__", "constructor", "%", "%%", "_%", "\\",
    "\\u0000",
    "a" * 5000, "(" * 200, "[" * 2000, "*" * 50, "(?i)(a+)+$", "a,b", ",", ";", "tollway_session=x", "Bearer",
    "<|im_start|>",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-02-30", "2026-11-23T01:02:60Z", "Z", "24:00",
    "1970-01-01", "UTC",
    "../UTC", "Europe/../UTC", "CON", "posixrules", "\ud7ff", "ﬃ", "ß", "ａ",
)  # fmt: skip
NUMBERS = (0, -1, 1, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, 0.1, -0.0, 1e308, 1e-320, 3.5)

texts = st.sampled_from(NAUGHTY) | st.text(max_size=12)
scalars = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.integers() | texts
junk = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)


@st.composite
def almost(draw: st.DrawFn, seeds: Sequence[Any], changes_max: int = 4) -> Any:
    """One of these documents with something in it replaced, repeated, left out, added, or put into lists."""
    document = copy.deepcopy(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, changes_max))):
        places = list(_places(document))
        if not places:
            return draw(junk)
        parent, step = draw(st.sampled_from(places))
        match draw(st.sampled_from(["replace", "replace", "drop", "repeat", "add", "wrap", "swap"])):
            case "replace":
                parent[step] = draw(junk)
            case "drop":
                del parent[step]
            case "repeat" if isinstance(parent, list):
                parent.extend([parent[step]] * draw(st.integers(1, 4)))
            case "add" if isinstance(parent[step], dict):
                parent[step][draw(texts)] = draw(junk)
            case "wrap":
                for _ in range(draw(st.integers(1, 30))):
                    parent[step] = [parent[step]]
            case "swap":
                other, at = draw(st.sampled_from(places))
                parent[step] = copy.deepcopy(other[at])
    return document


def _places(value: Any) -> Any:
    """(container, key) of everything inside."""
    steps = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for step in steps:
        yield value, step
        yield from _places(value[step])
