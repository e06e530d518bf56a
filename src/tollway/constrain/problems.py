"""The ways in which a schema cannot become a grammar, as the 400s that callers see.

`param` is the request parameter that holds the schema; `pointer` is the JSON pointer of the place inside the schema.
"""

from typing import Any

from tollway.errors import InvalidRequest, UnsupportedParameter

QUOTE_CHARS_MAX = 120


class TooLarge(Exception):
    """A limit of the compiler or of the engine's grammars; the message names it. Never leaves the package."""


def place(pointer: str) -> str:
    return f"at {quote(pointer)}" if pointer else "at the top level"


def quote(value: Any) -> str:
    """A caller's own text for a message, cut to a readable length."""
    text = str(value)
    return text if len(text) <= QUOTE_CHARS_MAX else text[:QUOTE_CHARS_MAX] + "…"


def unsupported(keyword: str, pointer: str, *, param: str, why: str = "") -> UnsupportedParameter:
    """A keyword that is fine as JSON Schema but that a grammar cannot guarantee."""
    reason = f": {why}" if why else ""
    return UnsupportedParameter(
        f"The keyword `{quote(keyword)}` {place(pointer)} cannot be enforced by this model's engine{reason}. "
        "Remove it or choose another model.",
        param=param,
    )


def invalid(what: str, pointer: str, *, param: str) -> InvalidRequest:
    """A schema that is wrong as written, or that no JSON value satisfies."""
    return InvalidRequest(f"Invalid JSON schema {place(pointer)}: {what}", param=param, code="invalid_json_schema")


def too_large(limit: TooLarge, *, param: str) -> UnsupportedParameter:
    return UnsupportedParameter(f"The JSON schema is too large for this model's engine: {limit}.", param=param)
