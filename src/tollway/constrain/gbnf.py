"""Rules in GBNF, the grammar notation of llama.cpp, and the limits of its matcher.

The notation's traps, all of which this module avoids by construction:

- A repetition `x{m,n}` with n above 2,000 becomes *unbounded*, silently. Larger counts are built from blocks here.
- A group that is repeated counts its inner rules against the same 2,000. There are no groups here, only named rules.
- An item that may be empty must not be repeated, and a rule must not begin with itself: the matcher would not end. The engine's
  own check for that takes exponential time on some harmless grammars, so it is costed here first.
- A grammar that the engine cannot read is dropped with a line in its log; the answer is then free text.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from tollway.constrain.problems import TooLarge

ENGINE_REPEAT_MAX = 2_000
BLOCK_ABOVE = 128  # counts above this are built from blocks, to keep the engine's number of rules small
COUNT_MAX = 100_000  # an upper bound above this is lowered to it: no answer is that long
COUNT_MIN_MAX = 10_000
RULES_MAX = 6_000
ELEMENTS_MAX = 200_000
TEXT_BYTES_MAX = 262_144
WALK_MAX = 1_000_000

Ranges = tuple[tuple[int, int], ...]


class Item(NamedTuple):
    """A literal text, one character of a set, or a rule by its name; `low` to `high` times (None = without bound)."""

    kind: Literal["text", "chars", "rule"]
    value: str | Ranges
    low: int = 1
    high: int | None = 1


Seq = tuple[Item, ...]


def text(value: str) -> Seq:
    """Exactly this text; nothing for the empty one."""
    return (Item("text", value),) if value else ()


def chars(ranges: Ranges, low: int = 1, high: int | None = 1) -> Seq:
    """One character of a non-empty set of inclusive code point ranges, possibly repeated."""
    return (Item("chars", ranges, low, high),)


def seq(*parts: Seq) -> Seq:
    """The parts one after another, with neighbouring literals joined."""
    out: list[Item] = []
    for part in parts:
        for item in part:
            if out and item.kind == "text" == out[-1].kind and item[2:] == (1, 1) == out[-1][2:]:
                out[-1] = Item("text", str(out[-1].value) + str(item.value))
            else:
                out.append(item)
    return tuple(out)


class RuleSet:
    """Named rules that several schemas may share; equal rules are kept once."""

    def __init__(self) -> None:
        self._bodies: dict[str, tuple[Seq, ...]] = {}
        self._named: dict[tuple[Seq, ...], Item] = {}

    def add(self, hint: str, *alternatives: Seq) -> Item:
        """A rule that is one of the alternatives, by a name of its own. No alternative: nothing matches."""
        known = self._named.get(alternatives)
        if known is None:
            known = self._named[alternatives] = self.reserve(hint)
            self._bodies[str(known.value)] = alternatives
        return known

    def reserve(self, hint: str) -> Item:
        """A name whose rule follows with `define`, for rules that contain themselves."""
        if len(self._bodies) >= RULES_MAX:
            raise TooLarge(f"it needs more than {RULES_MAX} grammar rules")
        name = f"{hint}-{len(self._bodies)}"
        self._bodies[name] = ()
        return Item("rule", name)

    def define(self, rule: Item, *alternatives: Seq) -> None:
        self._bodies[str(rule.value)] = tuple(dict.fromkeys(alternatives))

    def one_of(self, hint: str, alternatives: Iterable[Seq]) -> Seq:
        """The alternatives as a sequence: itself if there is only one."""
        unique = tuple(dict.fromkeys(alternatives))
        return unique[0] if len(unique) == 1 else (self.add(hint, *unique),)

    def counted(self, hint: str, item: Seq, low: int, high: int | None) -> Seq:
        """`item` between `low` and `high` times. It must not match the empty text.

        Blocks of about the square root of the count keep thousands of repetitions at some hundred rules, at the price of at
        most two matches under way at a time.
        """
        if low > COUNT_MIN_MAX:
            raise TooLarge(f"a minimum count above {COUNT_MIN_MAX}")
        high = None if high is None else min(high, max(low, COUNT_MAX))
        one = item[0] if len(item) == 1 and item[0][2:] == (1, 1) else self.add(hint, item)
        if high == 0:
            return ()
        if max(low, high or 0) <= BLOCK_ABOVE:
            return (one._replace(low=low, high=high),)
        size = max(2, int(max(low, high or 0) ** 0.5))
        block = self.add(f"{hint}-block", (one._replace(low=size, high=size),))
        out: list[Item] = []
        if low // size:
            out.append(block._replace(low=low // size, high=low // size))
        if low % size:
            out.append(one._replace(low=low % size, high=low % size))
        if high is None:
            out.append(one._replace(low=0, high=None))
        elif high > low:
            blocks = max(0, (high - low - size + 1) // size)
            if blocks:
                out.append(block._replace(low=0, high=blocks))
            out.append(one._replace(low=0, high=high - low - blocks * size))
        return tuple(out)

    def text(self, start: Seq) -> str | None:
        """The whole grammar with its `root`, or None if no text at all can match `start`."""
        good = self.ending()
        if not _can_end(start, good):
            return None
        # An alternative that can never end must go: a model that took it would be stuck in it.
        bodies: dict[str, tuple[Seq, ...]] = {"root": (_alive(start, good),)}
        for name, alternatives in self._bodies.items():
            bodies[name] = tuple(_alive(alternative, good) for alternative in alternatives if _can_end(alternative, good))
        bodies = _reachable(bodies)
        _cost(bodies)
        lines: list[str] = []
        size = 0
        for name, alternatives in bodies.items():
            line = f"{name} ::= " + " | ".join(_render(alternative) for alternative in alternatives)
            size += len(line.encode()) + 1
            if size > TEXT_BYTES_MAX:
                raise TooLarge(f"its grammar is larger than {TEXT_BYTES_MAX} bytes")
            lines.append(line)
        return "\n".join(lines) + "\n"

    def ending(self) -> set[str]:
        """The names of the rules that some text matches; in the others every alternative contains itself, or there is none."""
        waiting: dict[str, list[int]] = {}
        counts: list[int] = []
        owners: list[str] = []
        good: set[str] = set()
        ready: list[str] = []

        def learn(name: str) -> None:
            if name not in good:
                good.add(name)
                ready.append(name)

        for name, alternatives in self._bodies.items():
            for alternative in alternatives:
                needs = {str(item.value) for item in alternative if item.kind == "rule" and item.low}
                if not needs:
                    learn(name)
                    continue
                for need in needs:
                    waiting.setdefault(need, []).append(len(counts))
                counts.append(len(needs))
                owners.append(name)
        while ready:
            for index in waiting.get(ready.pop(), ()):
                counts[index] -= 1
                if not counts[index]:
                    learn(owners[index])
        return good


def _can_end(alternative: Seq, good: set[str]) -> bool:
    return all(item.kind != "rule" or not item.low or item.value in good for item in alternative)


def _alive(alternative: Seq, good: set[str]) -> Seq:
    return tuple(item for item in alternative if item.kind != "rule" or item.value in good)


def _reachable(bodies: dict[str, tuple[Seq, ...]]) -> dict[str, tuple[Seq, ...]]:
    """The rules that `root` needs, with rules that only name another one replaced by it."""
    alias: dict[str, str] = {}
    for name, alternatives in bodies.items():
        if name != "root" and len(alternatives) == 1 and len(alternatives[0]) == 1:
            only = alternatives[0][0]
            if only.kind == "rule" and only[2:] == (1, 1):
                alias[name] = str(only.value)

    def final(item: Item) -> Item:
        if item.kind != "rule" or item.value not in alias:
            return item
        name = str(item.value)
        while name in alias:  # ends: a circle of such rules can never end, and those are gone
            name = alias[name]
        return item._replace(value=name)

    out: dict[str, tuple[Seq, ...]] = {}
    todo = ["root"]
    while todo:
        name = todo.pop()
        if name in out:
            continue
        body = tuple(tuple(final(item) for item in alternative) for alternative in bodies[name])
        out[name] = tuple(dict.fromkeys(body))
        todo.extend(str(item.value) for alternative in reversed(body) for item in reversed(alternative) if item.kind == "rule")
    return out


def _nullable(bodies: dict[str, tuple[Seq, ...]]) -> set[str]:
    """The rules that match the empty text."""
    users: dict[str, list[str]] = {}
    for name, alternatives in bodies.items():
        for alternative in alternatives:
            for item in alternative:
                if item.kind == "rule":
                    users.setdefault(str(item.value), []).append(name)
    empty: set[str] = set()
    todo = list(bodies)
    while todo:
        name = todo.pop()
        if name not in empty and any(
            all(not item.low or item.value in empty for item in alternative) for alternative in bodies[name]
        ):
            empty.add(name)
            todo.extend(users.get(name, ()))
    return empty


def _cost(bodies: dict[str, tuple[Seq, ...]]) -> None:
    """Refuse what the engine could not load, or only slowly: the contract of the module's docstring, checked on the result."""
    elements = 0
    empty = _nullable(bodies)
    first: dict[str, list[tuple[str, int]]] = {}
    for name, alternatives in bodies.items():
        first[name] = []
        for alternative in alternatives:
            at_start = True
            for item in alternative:
                times = max(item.low, item.high or 1)
                elements += times * (len(item.value) if item.kind == "text" else 2)
                may_be_empty = not item.low
                if item.kind == "rule":
                    if at_start:
                        first[name].append((str(item.value), times))
                    if item.value in empty:
                        may_be_empty = True
                        if item[2:] != (1, 1):
                            raise AssertionError(f"rule {name} repeats {item.value}, which may be empty")
                at_start = at_start and may_be_empty
    if elements > ELEMENTS_MAX:
        raise TooLarge(f"its grammar has more than {ELEMENTS_MAX} elements")
    walk: dict[str, int] = {}
    for name in _children_first(first):
        walk[name] = 1 + sum(times * walk[other] for other, times in first[name])
    if sum(walk.values()) > WALK_MAX:
        raise TooLarge(f"checking its grammar takes more than {WALK_MAX} steps")


def _children_first(first: dict[str, list[tuple[str, int]]]) -> Iterator[str]:
    """The rules, each after those that it may begin with. Without recursion: chains are long."""
    done: set[str] = set()
    for start in first:
        stack = [(start, False)]
        active: set[str] = set()
        while stack:
            name, leaving = stack.pop()
            if leaving:
                active.discard(name)
                done.add(name)
                yield name
            elif name in active:
                raise AssertionError(f"rule {name} begins with itself")
            elif name not in done:
                active.add(name)
                stack.append((name, True))
                # A rule that is both a child and waiting on the stack is no circle, so only push what is not done.
                stack.extend((other, False) for other, _ in dict.fromkeys(first[name]) if other not in done)


_LITERAL = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_CLASS = {"\\": "\\\\", "]": "\\]", "[": "\\[", "-": "\\-", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escape(char: str, special: dict[str, str]) -> str:
    if char in special:
        return special[char]
    code = ord(char)
    if 0x20 <= code < 0x7F and char != "^":
        return char
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


def _render(alternative: Seq) -> str:
    return " ".join(_render_item(item) for item in alternative) or '""'


def _render_item(item: Item) -> str:
    low, high = item.low, item.high
    if max(low, high or 0) > ENGINE_REPEAT_MAX:
        raise AssertionError(f"{item.value} is repeated too often for the engine")
    if isinstance(item.value, tuple):
        parts = (
            _escape(chr(a), _CLASS) if a == b else f"{_escape(chr(a), _CLASS)}-{_escape(chr(b), _CLASS)}" for a, b in item.value
        )
        body = f"[{''.join(parts)}]"
    elif item.kind == "text":
        body = '"' + "".join(_escape(char, _LITERAL) for char in item.value) + '"'
    else:
        body = item.value
    if (low, high) == (1, 1):
        return body
    if high is None:
        return body + ("*" if low == 0 else "+" if low == 1 else f"{{{low},}}")
    if (low, high) == (0, 1):
        return body + "?"
    return body + (f"{{{low}}}" if low == high else f"{{{low},{high}}}")
