"""JSON literals as grammar: `const`, `enum` and property names."""

import json
from collections.abc import Iterable
from typing import Any

from tollway.constrain.gbnf import RuleSet, Seq, seq, text

PLAIN_MAX = 8
DEPTH_MAX = 40


def dump(value: Any) -> str:
    """A JSON value in the one style that all grammars here use: a space after colon and comma, no other white space."""
    return json.dumps(value, ensure_ascii=False)


def one_of_texts(rules: RuleSet, hint: str, texts: Iterable[str]) -> Seq:
    """Any of the texts, with common beginnings shared: the matcher follows every alternative that is still possible."""
    unique = sorted(set(texts))
    if len(unique) <= PLAIN_MAX:
        return rules.one_of(hint, [text(one) for one in unique])
    return _tree(rules, hint, unique, 0)


def _tree(rules: RuleSet, hint: str, texts: list[str], start: int, depth: int = 0) -> Seq:
    """The sorted texts from `start` on; all of them share what is before. Beyond `DEPTH_MAX` nothing more is shared."""
    if depth == DEPTH_MAX:
        return rules.one_of(hint, [text(one[start:]) for one in texts])
    first, last = texts[0], texts[-1]
    end = start
    while end < min(len(first), len(last)) and first[end] == last[end]:
        end += 1
    shared = text(first[start:end])
    groups: dict[str, list[str]] = {}
    for one in texts:
        groups.setdefault(one[end : end + 1], []).append(one)
    if len(groups) == 1:
        return shared
    alternatives = [
        text(group[0][end:]) if len(group) == 1 else _tree(rules, hint, group, end, depth + 1) for group in groups.values()
    ]
    return seq(shared, (rules.add(hint, *alternatives),))
