"""Any JSON value, and the strings in it."""

from tollway.constrain.charset import ESCAPES, RAW, union
from tollway.constrain.gbnf import Item, RuleSet, Seq, chars, seq, text
from tollway.constrain.numbers import any_number

FREE_DEPTH = 8  # levels of a value that nothing constrains: a small model may otherwise open brackets for ever


def string_char(rules: RuleSet) -> Item:
    """One character of any string. No escapes by code point: only control characters need them, and they may be half a pair."""
    escaped = chars(union((ord(letter), ord(letter)) for letter in ESCAPES.values()))
    return rules.add("char", chars(RAW), seq(text("\\"), escaped))


def string(rules: RuleSet, low: int = 0, high: int | None = None) -> Item:
    """A JSON string of so many characters (code points), in quotes."""
    inner = rules.counted("chars", (string_char(rules),), low, high)
    return rules.add("string", seq(text('"'), inner, text('"')))


def literals(*values: str) -> list[Seq]:
    return [text(value) for value in values]


def array(rules: RuleSet, item: Seq, low: int = 0, high: int | None = None) -> list[Seq]:
    """The alternatives of an array of equal items."""
    return _listed(rules, "[]", item, low, high)


def mapping(rules: RuleSet, key: Seq, value: Seq, low: int = 0, high: int | None = None) -> list[Seq]:
    """The alternatives of an object of equal members, which may repeat a key."""
    return _listed(rules, "{}", (rules.add("member", seq(key, text(": "), value)),), low, high)


def _listed(rules: RuleSet, brackets: str, item: Seq, low: int, high: int | None) -> list[Seq]:
    out: list[Seq] = [text(brackets)] if low == 0 else []
    if high is None or high > 0:
        more = (rules.add("more", seq(text(", "), item)),)
        tail = rules.counted("more", more, max(0, low - 1), None if high is None else high - 1)
        out.append(seq(text(brackets[0]), item, tail, text(brackets[1])))
    return out


def free_object(rules: RuleSet) -> Item:
    """Any JSON object, up to `FREE_DEPTH` levels of it."""
    return _free(rules)[1]


def free_value(rules: RuleSet) -> Item:
    """Any JSON value of up to `FREE_DEPTH` levels of objects and arrays."""
    return _free(rules)[0]


def _free(rules: RuleSet) -> tuple[Item, Item]:
    """Any value and any object, built from the scalars up. One level deeper each, so that no rule contains itself."""
    scalars: list[Seq] = [(string(rules),), (any_number(rules, integer=False),), *literals("true", "false", "null")]
    value = rules.add("value", *scalars)
    an_object = value
    for _ in range(FREE_DEPTH):
        an_object = rules.add("object", *mapping(rules, (string(rules, 1),), (value,)))
        value = rules.add("value", *scalars, (an_object,), (rules.add("array", *array(rules, (value,))),))
    return value, an_object
