"""The conversation through the model's own template, most of the time without asking the engine.

What a template writes mostly depends on who speaks, not on what is said: for one sequence of roles it puts the same marks
around whatever the messages hold. So a new sequence is asked of the engine together with probes of known contents; when these
come back verbatim, once and in order, between the same marks, the marks are kept and further prompts are joined here.

That is the engine's own text as long as the contents decide nothing. Which contents could is read from the template's code:
any text that it compares, searches, splits or strips (`TemplateRules`). A message that holds such text, one that is empty or
has white space at an end, and every message of a template that knows the time, goes to the engine as ever.
"""

import asyncio
import re
import secrets
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from msgspec import Struct

from tollway.errors import TollwayError
from tollway.providers.engine_client import EngineClient

Messages = Sequence[dict[str, str]]

SHAPES_MAX = 512
"""Sequences of roles that are kept for one engine."""
_MESSAGES_MAX = 100
"""Longer conversations are asked for: their shapes hardly come again."""

# Words in its code: of time and chance, and of searches that our rules would miss.
_UNFOLLOWED = re.compile(r".*(date|time|now|random).*|lower|upper|title|capitalize", re.IGNORECASE)
_ROLES = frozenset(("system", "developer", "user", "assistant", "tool", "function", "model", "ipython"))
_TOKEN = re.compile(
    r"""\s*(?:(?P<end>[-+]?[%}]\})|(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<other>\w+|==|!=|[^\s'"]))""", re.DOTALL
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "/": "/"}
_OPENING, _CLOSING = "([{", ")]}"
# What filters and functions would change: each is used in a probe unless the template searches for it.
_DELICATE = (
    '"',
    "'",
    "\\",
    "<b>",
    "&amp;",
    "\n",
    "\t",
    "{x}",
    "%",
    "Üß",
    "日本",
    "😀",
    "  ",
    "- 1.",
    "/x",
    "#",
    "*",
    "[0]",
    "`",
    "A",
)


class TemplateRules(Struct, frozen=True):
    """What in a message could change how a template renders it."""

    inside: tuple[str, ...]
    """Texts that the template may search for."""
    edges: str
    """Characters that it may strip from the ends, besides white space."""

    def plain(self, text: str) -> bool:
        """Whether the template can do nothing with this text but write it down."""
        return (
            bool(text)
            and text == text.strip()
            and text[0] not in self.edges
            and text[-1] not in self.edges
            and not any(literal in text for literal in self.inside)
        )

    @classmethod
    def read(cls, template: str) -> "TemplateRules | None":
        """The rules of a Jinja template; None when its output is not steady, or its code cannot be followed here."""
        inside: set[str] = set()
        edges: set[str] = set()
        try:
            for tokens in _blocks(template):
                if any(_UNFOLLOWED.fullmatch(token) for token in tokens if not _is_string(token)):
                    return None
                for place, token in enumerate(tokens):
                    if not _is_string(token) or _is_only_written(tokens, place):
                        continue
                    text = _ESCAPE.sub(lambda match: _ESCAPED[match[1]], token[1:-1])
                    if tokens[place - 1] == "(" and tokens[place - 2] in {"strip", "lstrip", "rstrip"}:
                        edges.update(text)
                    elif text:  # every text holds the empty one; a message that is empty is never plain
                        inside.add(text)
        except (ValueError, KeyError):
            return None
        return cls(tuple(sorted(inside)), "".join(sorted(edges)))


class Templates:
    """The template of one engine's model."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client
        self._rules: TemplateRules | None = None
        self._is_read = False
        self._marks: OrderedDict[tuple[str, ...], tuple[str, ...] | None] = OrderedDict()  # None = to be asked each time

    async def render(self, messages: Messages, *, thinks: bool) -> str:
        """The prompt, as `/apply-template` gives it with `enable_thinking`. Raises what the engine client does."""
        if not self._is_read:
            source = (await self._client.ask("/props")).get("chat_template")
            self._rules, self._is_read = TemplateRules.read(source) if isinstance(source, str) else None, True
        contents = [message["content"] for message in messages]
        if self._rules is None or len(messages) > _MESSAGES_MAX or not all(map(self._rules.plain, contents)):
            return await self._asked(messages, thinks)
        shape = ("thinks" if thinks else "", *(message["role"] for message in messages))
        if shape not in self._marks:
            return await self._learnt(self._rules, shape, messages, thinks)
        self._marks.move_to_end(shape)
        marks = self._marks[shape]
        return await self._asked(messages, thinks) if marks is None else _joined(marks, contents)

    async def _asked(self, messages: Messages, thinks: bool) -> str:
        question = {"messages": messages, "chat_template_kwargs": {"enable_thinking": thinks}}
        prompt: str = (await self._client.ask("/apply-template", question))["prompt"]
        return prompt

    async def _learnt(self, rules: TemplateRules, shape: tuple[str, ...], messages: Messages, thinks: bool) -> str:
        """The engine's rendering; if it and the probes agree, the shape's marks are known from now on."""
        contents = [message["content"] for message in messages]
        probes = [_probe(rules, len(messages), rich=rich) for rich in (False, True)]
        asked = await asyncio.gather(
            self._asked(messages, thinks),
            *(self._asked([{**m, "content": t} for m, t in zip(messages, p, strict=True)], thinks) for p in probes),
            return_exceptions=True,
        )
        for answer in asked:
            if isinstance(answer, BaseException):
                if answer is asked[0] or not isinstance(answer, TollwayError):
                    raise answer
                return str(asked[0])  # a probe failed, as the engine may at any time: next time again
        rendered, *others = map(str, asked)
        marks = _split(others[0], probes[0])
        if marks is not None and (_joined(marks, probes[1]) != others[1] or _joined(marks, contents) != rendered):
            marks = None
        self._marks[shape] = marks
        if len(self._marks) > SHAPES_MAX:
            self._marks.popitem(last=False)
        return rendered


def _probe(rules: TemplateRules, count: int, *, rich: bool) -> list[str]:
    """Contents for `count` messages that stand nowhere else; the rich ones are longer, and hold what filters would change."""
    delicate = "".join(f"{piece}b" for piece in _DELICATE if rules.plain(f"a{piece}b")) * 8 if rich else ""
    return [f"x{delicate}{secrets.token_hex(8)}y" for _ in range(count)]


def _split(rendered: str, contents: Sequence[str]) -> tuple[str, ...] | None:
    """What stands around the contents: one piece more than there are contents. None unless each stands there once, in order."""
    marks: list[str] = []
    for content in contents:
        before, found, rendered = rendered.partition(content)
        if not found or content in rendered:
            return None
        marks.append(before)
    return (*marks, rendered)


def _joined(marks: Sequence[str], contents: Sequence[str]) -> str:
    pieces = [marks[0]]
    for content, mark in zip(contents, marks[1:], strict=True):
        pieces += content, mark
    return "".join(pieces)


# --- reading the template's code --------------------------------------------------------------------------------------


def _blocks(template: str) -> Iterator[list[str]]:
    """The tokens of each `{{ }}` and `{% %}`, strings with their quotes. Raises ValueError where it does not end."""
    at = 0
    while (at := template.find("{", at)) >= 0:
        kind, at = template[at : at + 2], at + 1
        if kind == "{#":
            at = template.index("#}", at) + 2
        elif kind in {"{{", "{%"}:
            tokens = [kind]
            at += 2 if template[at + 1 : at + 2] in {"-", "+"} else 1
            depth = 0
            while match := _TOKEN.match(template, at):
                if match["end"] and (depth == 0 or match["end"] != "}}"):
                    break
                # of "}}" in a dictionary only the first brace is taken
                token = match["string"] or match["other"] or match["end"][0]
                at = match.start("end") + 1 if match["end"] else match.end()
                depth += {"{": 1, "}": -1}.get(token, 0)
                tokens.append(token)
            if match is None:
                raise ValueError("a block does not end")
            at = match.end()
            yield [*tokens, "end", "end"]


def _is_string(token: str) -> bool:
    return token[0] in {"'", '"'}


def _is_only_written(tokens: Sequence[str], place: int) -> bool:
    """Whether a string is a key, a role's name, or a part of a sum that is written out; when in doubt it is not."""
    before, after = tokens[place - 1], tokens[place + 1]
    if before == "[" and after == "]" and _ends_value(tokens[place - 2]):
        return True
    if tokens[place][1:-1] in _ROLES and (before in {"==", "!=", "[", ","} or after in {"==", "!=", "]", ","}):
        return True
    if tokens[0] != "{{" or not {"in", "==", "!="}.isdisjoint(tokens):
        return False
    depth = 0
    for index in range(place - 1, 0, -1):  # every parenthesis around it must only group
        depth += (tokens[index] in _CLOSING) - (tokens[index] in _OPENING)
        if depth < 0:
            if tokens[index] != "(" or _ends_value(tokens[index - 1]):
                return False
            depth = 0
    return before in {"{{", "+", "~", "(", "else"} and after in {"end", "+", "~", ")", "if", "else"}


def _ends_value(token: str) -> bool:
    """Whether a bracket after this token is a call or a subscript."""
    return token in {")", "]"} or (
        (token[0].isalnum() or token[0] == "_") and token not in {"in", "if", "else", "and", "or", "not"}
    )
