"""One request as code: Python, JavaScript, cURL. The templates are data, because the playground fills in the same ones."""

import functools
import json
import re
import tomllib
from importlib import resources
from typing import Any

import msgspec
from markupsafe import Markup
from msgspec import Struct

from tollway.web.markup import code_block

KEY_PLACEHOLDER = "<YOUR_API_KEY>"
_PLACE = re.compile(r"\{\{(base|key|python|arguments|shell|json)(?::(\d))?\}\}")
_ONLY = re.compile(r"\{\{(stream|whole)\}\}(.*?)\{\{/\1\}\}", re.DOTALL)
_EXTENSIONS = ("top_k", "min_p", "repetition_penalty")
"""Parameters that OpenAI's SDK does not know; they travel in its `extra_body`."""
_INLINE_LENGTH_MAX = 60
_FIRST_TOKENS_MAX = 60


class Dialect(Struct, frozen=True, forbid_unknown_fields=True):
    """How a request is written in one language, with one library."""

    id: str
    title: str
    library: str
    language: str
    code: str

    @property
    def label(self) -> str:
        return f"{self.title} · {self.library}" if self.library else self.title


@functools.cache
def dialects() -> tuple[Dialect, ...]:
    text = resources.files(__package__).joinpath("examples.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text)["dialects"], tuple[Dialect, ...])


def write(dialect: Dialect, base_url: str, body: dict[str, Any], key: str = KEY_PLACEHOLDER) -> str:
    """The program. `static/dialects.js` does the same, and a test holds them against each other."""
    streams = "stream" if body.get("stream") else "whole"
    code = _ONLY.sub(lambda part: part[2] if part[1] == streams else "", dialect.code)
    as_json = json.dumps(body, indent=2, ensure_ascii=False)
    values = {
        "base": base_url,
        "key": key,
        "python": _indented(_python(body), 4),
        "arguments": "\n".join(f"    {name}={_indented(_python(value), 4)}," for name, value in _arguments(body).items()),
        "shell": as_json.replace("'", "'\\''"),
    }

    def value(place: re.Match[str]) -> str:
        return _indented(as_json, int(place[2])) if place[1] == "json" else values[place[1]]

    return _PLACE.sub(value, code)


def first_call(model_id: str) -> dict[str, Any]:
    """The body of the simplest request."""
    return {"model": model_id, "messages": [{"role": "user", "content": "Hello"}]}


def try_now(model_id: str) -> str:
    """The same as the pages' script sends it, in JSON: with an answer that comes soon."""
    return json.dumps(first_call(model_id) | {"max_tokens": _FIRST_TOKENS_MAX})


def blocks(base_url: str, body: dict[str, Any], key: str = KEY_PLACEHOLDER) -> list[tuple[Dialect, Markup]]:
    """The program in every dialect, as HTML."""
    return [(dialect, code_block(write(dialect, base_url, body, key), dialect.language)) for dialect in dialects()]


def _arguments(body: dict[str, Any]) -> dict[str, Any]:
    extra = {name: body[name] for name in body if name in _EXTENSIONS}
    return {name: body[name] for name in body if name not in extra} | ({"extra_body": extra} if extra else {})


def _indented(text: str, spaces: int) -> str:
    """All lines but the first."""
    return text.replace("\n", "\n" + " " * spaces)


def _python(value: Any) -> str:
    """The Python literal of a JSON value; short ones on one line."""
    if isinstance(value, dict):
        return _block("{", [f"{_quoted(name)}: {_python(item)}" for name, item in value.items()], "}")
    if isinstance(value, list):
        return _block("[", [_python(item) for item in value], "]")
    if value is None or isinstance(value, bool):
        return str(value)
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # JSON's escapes are Python's, too


def _block(start: str, items: list[str], end: str) -> str:
    inline = start + ", ".join(items) + end
    if "\n" not in inline and len(inline) <= _INLINE_LENGTH_MAX:
        return inline
    return "\n".join([start, *(f"    {_indented(item, 4)}," for item in items), end])
