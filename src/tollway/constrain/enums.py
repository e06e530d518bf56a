"""`enum` and `const`: the values that also satisfy everything beside them."""

from typing import Any

from tollway.constrain.document import ANNOTATIONS, Document
from tollway.constrain.flatten import Plain

SELF_EVIDENT = ANNOTATIONS | {"enum", "const"}


def listed(doc: Document, plain: Plain) -> list[Any] | None:
    """The only values that can satisfy a conjunction, if it lists any: those of its shortest list that pass all schemas."""
    lists: list[list[Any]] = [loc.keyword("enum") for loc in plain.having("enum")]
    lists += [[value] for value in plain.values("const")]
    if not lists:
        return None
    values = min(lists, key=len)
    doc.spend(1 + len(values) // 20)
    if len(plain.locs) == 1 and len(lists) == 1:
        schema = plain.locs[0].schema
        if isinstance(schema, dict) and all(key in SELF_EVIDENT or key.startswith("x-") for key in schema):
            return values
    return [value for value in values if _passes(doc, plain, value)]


def _passes(doc: Document, plain: Plain, value: Any) -> bool:
    if isinstance(value, dict) and not plain.absent.isdisjoint(value):
        return False
    return doc.accepts(value, plain.locs)
