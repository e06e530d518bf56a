"""Strings with keywords as grammar."""

from functools import lru_cache

from tollway.constrain.document import Document, Loc, is_pattern
from tollway.constrain.flatten import Plain
from tollway.constrain.formats import FORMATS, PATTERNS, UNCHECKED
from tollway.constrain.gbnf import RuleSet, Seq, seq, text
from tollway.constrain.problems import invalid, quote, unsupported
from tollway.constrain.regex import emit, fit, whole
from tollway.constrain.regex_syntax import BadPattern, HardPattern, Node, parse
from tollway.constrain.shapes import limits
from tollway.constrain.values import string

Where = tuple[Loc, str]
"""A schema, and the keyword in it that asks for a string."""


def string_seqs(doc: Document, rules: RuleSet, plain: Plain) -> list[Seq]:
    """The alternatives for strings; none if the lengths leave none."""
    low, high = limits(plain, "minLength", "maxLength")
    if high is not None and high < low:
        return []
    texts = _formats(doc, plain)
    patterns = {loc.keyword("pattern"): loc for loc in plain.having("pattern")}
    for name in texts:
        for known in PATTERNS.get(name, ()):
            patterns.pop(known, None)
    if len(texts) + len(patterns) > 1:
        loc = next(iter((patterns or texts).values()))
        keyword = "pattern" if patterns else "format"
        raise unsupported(keyword, loc.pointer, param=doc.param, why="together with another `pattern` or `format`")
    for pattern, loc in patterns.items():
        return _matching(doc, rules, pattern, (loc, "pattern"), (low, high))
    for name, loc in texts.items():
        keyword = "format" if loc.keyword("format") == name else "contentEncoding"
        return _matching(doc, rules, f"^(?:{FORMATS[name]})$", (loc, keyword), (low, high))
    return [(string(rules, low, high),)]


def _formats(doc: Document, plain: Plain) -> dict[str, Loc]:
    out: dict[str, Loc] = {}
    for keyword in ("format", "contentEncoding"):
        for loc in plain.having(keyword):
            name = str(loc.keyword(keyword))
            if name in UNCHECKED and keyword == "format":
                continue
            if name not in FORMATS or (keyword == "contentEncoding" and not name.startswith("base64")):
                why = f"`{quote(name)}` is not known"
                raise unsupported(keyword, loc.pointer, param=doc.param, why=why)
            out[name] = loc
    return out


def pattern_tree(doc: Document, pattern: str, where: Where) -> Node:
    """The strings in which the pattern is found. Raises the 400 for one that is malformed or cannot be had."""
    loc, keyword = where
    try:
        if not is_pattern(pattern):
            raise BadPattern("validators cannot read it")
        return _tree(pattern)
    except BadPattern as problem:
        raise invalid(f"`{keyword}` is no regular expression: {problem}.", loc.pointer, param=doc.param) from None
    except HardPattern as problem:
        raise unsupported(keyword, loc.pointer, param=doc.param, why=str(problem)) from None


@lru_cache(maxsize=256)
def _tree(pattern: str) -> Node:
    return whole(parse(pattern))


def _matching(doc: Document, rules: RuleSet, pattern: str, where: Where, lengths: tuple[int, int | None]) -> list[Seq]:
    node = fit(pattern_tree(doc, pattern, where), *lengths)
    if node is None:
        loc, keyword = where
        raise unsupported(keyword, loc.pointer, param=doc.param, why="together with these `minLength` and `maxLength`")
    return [seq(text('"'), in_string(doc, rules, node, where), text('"'))]


def in_string(doc: Document, rules: RuleSet, node: Node, where: Where) -> Seq:
    """The grammar of these strings, without quotes. Raises the 400 for one that the engine could not follow."""
    try:
        return emit(rules, node)
    except HardPattern as problem:
        raise unsupported(where[1], where[0].pointer, param=doc.param, why=str(problem)) from None
