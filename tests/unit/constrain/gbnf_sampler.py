"""An independent reader of GBNF: random texts of a grammar, and whether a grammar accepts a text.

It shares no code with what writes the grammars. Matching follows all stacks at a time as llama.cpp does, so that it also
tells how many of them a text keeps alive.
"""

import random
from functools import lru_cache
from typing import NamedTuple

SAMPLE_CHARS = 400


class Element(NamedTuple):
    """A text, a character set or a rule, `low` to `high` times."""

    kind: str
    text: str
    ranges: tuple[tuple[int, int], ...]
    low: int = 1
    high: int | None = 1


Alternative = tuple[Element, ...]
Stack = tuple[Element, "Stack | None"]


class Grammar:
    """A grammar read from its text; raises ValueError for what llama.cpp would not read."""

    def __init__(self, text: str) -> None:
        self.rules: dict[str, tuple[Alternative, ...]] = {}
        for line in text.splitlines():
            name, sign, body = line.partition(" ::= ")
            if not sign or not name.replace("-", "").isalnum() or name in self.rules:
                raise ValueError(f"bad rule: {line[:80]}")
            self.rules[name] = _Reader(body).alternatives()
        for alternatives in self.rules.values():
            for element in (one for alternative in alternatives for one in alternative):
                if element.kind == "rule" and element.text not in self.rules:
                    raise ValueError(f"no rule {element.text}")
        self._size: dict[str, int] = {}
        self._measure()
        self.stacks_max = 0
        self._left = 0

    # --- sampling ---

    def _measure(self) -> None:
        """The least number of characters of each rule."""
        changed = True
        while changed:
            changed = False
            for name, alternatives in self.rules.items():
                sizes = [size for size in map(self._least, alternatives) if size is not None]
                if sizes and min(sizes) < self._size.get(name, 1 << 60):
                    self._size[name] = min(sizes)
                    changed = True
        if len(self._size) < len(self.rules):
            raise ValueError(f"rules without end: {sorted(self.rules.keys() - self._size.keys())}")

    def _least(self, alternative: Alternative) -> int | None:
        total = 0
        for element in alternative:
            if not element.low:
                continue
            one = self._size.get(element.text) if element.kind == "rule" else max(len(element.text), 1)
            if one is None:
                return None
            total += one * element.low
        return total

    def sample(self, rng: random.Random) -> str:
        out: list[str] = []
        self._left = SAMPLE_CHARS
        self._sample_rule("root", rng, out, 0)
        return "".join(out)

    def _sample_rule(self, name: str, rng: random.Random, out: list[str], depth: int) -> None:
        alternatives = self.rules[name]
        if depth > 60 or self._left < 0:
            alternatives = (min(alternatives, key=lambda one: self._least(one) or 0),)
        for element in rng.choice(alternatives):
            high = element.low + (8 if rng.random() < 0.2 else 2) if element.high is None else element.high
            if depth > 60 or self._left < 0:
                high = element.low
            times = rng.choice((element.low, high, rng.randint(element.low, high)))
            if element.kind == "rule" and times > 50:
                times = max(element.low, 50)
            self._left -= times
            for _ in range(times):
                if element.kind == "text":
                    out.append(element.text)
                elif element.kind == "chars":
                    out.append(_some_char(element.ranges, rng))
                else:
                    self._sample_rule(element.text, rng, out, depth + 1)

    # --- matching ---

    def accepts(self, text: str) -> bool:
        stacks = self._advance([(Element("rule", "root", ()), None)])
        for char in text:
            code = ord(char)
            after: list[Stack | None] = []
            for stack in stacks:
                if stack is None:
                    continue
                top, rest = stack
                if top.kind == "chars" and _has(top.ranges, code):
                    after.append(rest)
                elif top.kind == "text" and top.text[0] == char:
                    after.append((top._replace(text=top.text[1:]), rest) if len(top.text) > 1 else rest)
            stacks = self._advance(after)
            self.stacks_max = max(self.stacks_max, len(stacks))
        return None in stacks

    def _advance(self, stacks: "list[Stack | None]") -> "set[Stack | None]":
        """The stacks with a character set or text on top; None is the end."""
        out: set[Stack | None] = set()
        seen: set[Stack | None] = set()
        todo = list(stacks)
        while todo:
            stack = todo.pop()
            if stack in seen:
                continue
            seen.add(stack)
            if stack is None:
                out.add(None)
                continue
            element, rest = stack
            if (element.low, element.high) != (1, 1):
                if element.low == 0:
                    todo.append(rest)
                if element.high is None or element.high > 0:
                    high = None if element.high is None else element.high - 1
                    again = element._replace(low=max(0, element.low - 1), high=high)
                    todo.append((element._replace(low=1, high=1), rest if high == 0 else (again, rest)))
            elif element.kind != "rule":
                out.add(stack)
            else:
                for alternative in self.rules[element.text]:
                    below = rest
                    for one in reversed(alternative):
                        below = (one, below)
                    todo.append(below)
        return out


def _has(ranges: tuple[tuple[int, int], ...], code: int) -> bool:
    return any(low <= code <= high for low, high in ranges)


def _some_char(ranges: tuple[tuple[int, int], ...], rng: random.Random) -> str:
    """Mostly from a range's edges and from ASCII, where things go wrong."""
    low, high = rng.choice(ranges)
    if rng.random() < 0.3:
        return chr(rng.choice((low, high)))
    if low < 0x7F and rng.random() < 0.8:
        high = min(high, 0x7E)
    return chr(rng.randint(low, high))


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def alternatives(self) -> tuple[Alternative, ...]:
        out: list[Alternative] = []
        current: list[Element] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == " ":
                self.at += 1
            elif char == "|":
                self.at += 1
                out.append(tuple(current))
                current = []
            elif char in "*+?{":
                if not current:
                    raise ValueError("nothing to repeat")
                current[-1] = self._repeated(current[-1])
            else:
                current.append(self._element(char))
        out.append(tuple(current))
        # An empty literal is an element to the reader, but not one that anything may be repeated of.
        return tuple(tuple(one for one in alternative if one.kind != "text" or one.text) for alternative in out)

    def _element(self, char: str) -> Element:
        if char == '"':
            self.at += 1
            chars: list[str] = []
            while self._peek() != '"':
                chars.append(self._char())
            self.at += 1
            return Element("text", "".join(chars), ())
        if char == "[":
            return self._class()
        start = self.at
        while self._peek().isalnum() or self._peek() == "-":
            self.at += 1
        if start == self.at:
            raise ValueError(f"what is {self.text[self.at :][:20]!r}?")
        return Element("rule", self.text[start : self.at], ())

    def _class(self) -> Element:
        self.at += 1
        if self._peek() == "^":
            raise ValueError("negated classes are not used")
        ranges: list[tuple[int, int]] = []
        while self._peek() != "]":
            low = high = ord(self._char())
            if self._peek() == "-" and self.text[self.at + 1] != "]":
                self.at += 1
                high = ord(self._char())
            if high < low:
                raise ValueError("range out of order")
            ranges.append((low, high))
        self.at += 1
        if not ranges:
            raise ValueError("empty class")
        return Element("chars", "", tuple(ranges))

    def _repeated(self, element: Element) -> Element:
        if element[3:] != (1, 1) or (element.kind == "text" and not element.text):
            raise ValueError("repeated twice, or nothing repeated")
        char = self.text[self.at]
        if char != "{":
            self.at += 1
            low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
            return element._replace(low=low, high=high)
        end = self.text.index("}", self.at)
        first, comma, last = self.text[self.at + 1 : end].partition(",")
        self.at = end + 1
        high = int(first) if not comma else int(last) if last else None
        if max(int(first), high or 0) > 2000:
            raise ValueError("llama.cpp reads this count as unbounded")
        return element._replace(low=int(first), high=high)

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _char(self) -> str:
        char = self._peek()
        if not char:
            raise ValueError("ends too early")
        self.at += 1
        if char != "\\":
            return char
        kind = self._peek()
        self.at += 1
        digits = {"x": 2, "u": 4, "U": 8}.get(kind, 0)
        if digits:
            code = self.text[self.at : self.at + digits]
            self.at += digits
            return chr(int(code, 16))
        if kind not in '\\"[]-nrt':
            raise ValueError(f"unknown escape {kind}")
        return {"n": "\n", "r": "\r", "t": "\t"}.get(kind, kind)


@lru_cache(maxsize=64)
def read(text: str) -> Grammar:
    return Grammar(text)
