"""Strings with keywords as grammar."""

from tollway.constrain.document import Document
from tollway.constrain.flatten import Plain
from tollway.constrain.gbnf import RuleSet, Seq
from tollway.constrain.problems import unsupported
from tollway.constrain.shapes import limits
from tollway.constrain.values import string

# Formats that assert nothing about a string.
ANY_STRING = frozenset({"password", "binary", "int32", "int64", "float", "double"})


def string_seqs(doc: Document, rules: RuleSet, plain: Plain) -> list[Seq]:
    low, high = limits(plain, "minLength", "maxLength")
    if high is not None and high < low:
        return []
    for keyword in ("pattern", "format", "contentEncoding"):
        for loc in plain.having(keyword):
            if loc.keyword(keyword) not in ANY_STRING:
                raise unsupported(keyword, loc.pointer, param=doc.param)
    return [(string(rules, low, high),)]
