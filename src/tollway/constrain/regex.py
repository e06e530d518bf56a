"""Regular expressions as grammar: made to match whole strings, fitted to a length, and kept easy for the matcher."""

from collections.abc import Iterator
from itertools import pairwise

from tollway.constrain.charset import ESCAPES, one_char
from tollway.constrain.gbnf import RuleSet, Seq, seq, text
from tollway.constrain.regex_syntax import ANY, Alt, Anchor, Cat, Chars, HardPattern, Node, Rep

AMBIGUOUS_STATES_MAX = 600
NODES_MAX = 20_000
EDGES_MAX = 20_000
MEMBER_CHARS = 16  # what a repeated part of varying length may have each time, if the whole has a length limit

NOTHING = Cat(())


# --- whole strings ----------------------------------------------------------------------------------------------------


def whole(node: Node) -> Node:
    """The strings in which the pattern is found. Where it is not anchored, anything may stand before or after."""
    if isinstance(node, Alt):
        return Alt(tuple(whole(option) for option in node.options))
    body, at_start = _strip(node, "^", first=True)
    body, at_end = _strip(body, "$", first=False)
    if any(isinstance(one, Anchor) for one in _nodes(body)):
        raise HardPattern("it has an anchor in the middle")
    anything = Rep(ANY, 0, None)
    return Cat((*(() if at_start else (anything,)), body, *(() if at_end else (anything,))))


def _strip(node: Node, anchor: str, *, first: bool) -> tuple[Node, bool]:
    """The node without anchors at its one edge, and whether all its ways had one."""
    if node == Anchor(anchor):
        return NOTHING, True
    if isinstance(node, Alt):
        stripped = [_strip(option, anchor, first=first) for option in node.options]
        if all(anchored for _, anchored in stripped):
            return Alt(tuple(option for option, _ in stripped)), True
        return node, False
    if isinstance(node, Cat) and node.parts:
        edge, anchored = _strip(node.parts[0 if first else -1], anchor, first=first)
        rest = node.parts[1:] if first else node.parts[:-1]
        return Cat((edge, *rest) if first else (*rest, edge)), anchored
    return node, False


def _nodes(node: Node) -> Iterator[Node]:
    todo = [node]
    count = 0
    while todo:
        one = todo.pop()
        count += 1
        if count > NODES_MAX:
            raise HardPattern("it is too large")
        yield one
        todo.extend(_below(one))


def _below(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Cat):
        return node.parts
    if isinstance(node, Alt):
        return node.options
    return (node.node,) if isinstance(node, Rep) else ()


# --- length -----------------------------------------------------------------------------------------------------------


def span(node: Node) -> tuple[int, int | None]:
    """The least and the largest number of characters; None = without bound."""
    if isinstance(node, Chars):
        return 1, 1
    if isinstance(node, Rep):
        low, high = span(node.node)
        most = 0 if node.high == 0 or high == 0 else None if node.high is None or high is None else high * node.high
        return low * node.low, most
    spans = [span(one) for one in _below(node)]
    highs = [high for _, high in spans if high is not None]
    unbounded = len(highs) < len(spans)
    if isinstance(node, Cat):
        return sum(low for low, _ in spans), None if unbounded else sum(highs)
    return min((low for low, _ in spans), default=0), None if unbounded else max(highs, default=0)


def fit(node: Node, low: int, high: int | None) -> Node | None:
    """A part of what the node matches, of `low` to `high` characters; None if none was found."""
    least, most = span(node)
    if (high is not None and least > high) or (most is not None and most < low):
        return None
    if least >= low and (high is None or (most is not None and most <= high)):
        return node
    if isinstance(node, Alt):
        options = [one for option in node.options if (one := fit(option, low, high)) is not None]
        return Alt(tuple(options)) if options else None
    if isinstance(node, Rep):
        return _fit_repeated(node, low, high)
    return _fit_parts(node, low, high) if isinstance(node, Cat) else None


def _fit_repeated(node: Rep, low: int, high: int | None) -> Node | None:
    inner = node.node
    least, most = span(inner)
    if high is not None and (most is None or least != most):
        each = max(least, MEMBER_CHARS, 1)
        if node.low * each > high:
            each = high // max(1, node.low)
        most = each if most is None else min(most, each)
        fitted = fit(inner, least, most)
        if fitted is None:
            return None
        inner = fitted
    times = node.high
    if high is not None and most:
        times = high // most if times is None else min(times, high // most)
    fewest = node.low
    if low > fewest * least:
        if not least:
            return None
        fewest = -(-low // least)
    return None if times is not None and fewest > times else Rep(inner, fewest, times)


def _fit_parts(node: Cat, low: int, high: int | None) -> Node | None:
    parts = list(node.parts)
    spans = [span(part) for part in parts]
    if high is not None:
        slack = high - sum(least for least, _ in spans)
        # Parts that need little first, so that what they leave goes to the others.
        order = sorted(range(len(parts)), key=lambda i: (spans[i][1] is None, (spans[i][1] or 0) - spans[i][0]))
        for place, i in enumerate(order):
            least, most = spans[i]
            share = slack // (len(order) - place)
            given = share if most is None else min(share, most - least)
            fitted = fit(parts[i], least, least + given)
            if fitted is None:
                return None
            parts[i] = fitted
            slack -= (span(fitted)[1] or 0) - least
        spans = [span(part) for part in parts]
    missing = low - sum(least for least, _ in spans)
    for i in sorted(range(len(parts)), key=lambda i: (spans[i][1] is not None, -(spans[i][1] or 0))):
        least, most = spans[i]
        more = missing if most is None else min(missing, most - least)
        if more > 0:
            fitted = fit(parts[i], least + more, most)
            if fitted is None:
                return None
            parts[i] = fitted
            missing -= span(fitted)[0] - least
    return None if missing > 0 else Cat(tuple(parts))


# --- grammar ----------------------------------------------------------------------------------------------------------


def emit(rules: RuleSet, node: Node) -> Seq:
    """The characters of a JSON string, without its quotes."""
    _check_ambiguity(node)
    return _emit(rules, node)


def _emit(rules: RuleSet, node: Node) -> Seq:
    if isinstance(node, Chars):
        return _emit_chars(rules, node)
    if isinstance(node, Cat):
        return seq(*(_emit(rules, part) for part in node.parts))
    if isinstance(node, Alt):
        return rules.one_of("either", [_emit(rules, option) for option in node.options])
    if not isinstance(node, Rep):
        raise HardPattern("it has an anchor in the middle")
    inner: Node | None = node.node
    low = node.low
    if span(node.node)[0] == 0:
        inner, low = _nonempty(node.node), 0
    if inner is None or node.high == 0:
        return ()
    return rules.counted("part", _emit(rules, inner), low, node.high)


def _emit_chars(rules: RuleSet, node: Chars) -> Seq:
    if len(node.inner) == 1 and node.inner[0][0] == node.inner[0][1]:
        char = chr(node.inner[0][0])
        if char in ESCAPES:
            return text("\\" + ESCAPES[char])
        if char >= " ":
            return text(char)
    if not node.inner:
        raise HardPattern("one of its character classes has no character that all dialects agree on")
    return one_char(rules, node.inner)


def _nonempty(node: Node) -> Node | None:
    """What the node matches but for the empty text. The engine must not repeat what may be empty."""
    if span(node)[0] > 0:
        return node
    if isinstance(node, Rep):
        inner = _nonempty(node.node)
        return None if inner is None or node.high == 0 else Rep(inner, 1, node.high)
    options: list[Node] = []
    if isinstance(node, Alt):
        options = [one for option in node.options if (one := _nonempty(option)) is not None]
    elif isinstance(node, Cat):
        for index, part in enumerate(node.parts):
            one = _nonempty(part)
            if one is not None:
                options.append(Cat((one, *node.parts[index + 1 :])))
    return Alt(tuple(options)) if options else None


# --- ambiguity --------------------------------------------------------------------------------------------------------


def _check_ambiguity(node: Node) -> None:
    """Refuse patterns that keep the matcher busy with too many readings of the same text.

    If at each character only one way leads on, any size is fine. Otherwise the number of states bounds the readings.
    """
    if states(node) > AMBIGUOUS_STATES_MAX and not _Follow().deterministic(node):
        raise HardPattern("it can match the same text in too many ways; use fewer or smaller repetitions")


def states(node: Node) -> int:
    """The places in the pattern where a match can be, with repetitions written out."""
    if isinstance(node, Rep):
        return states(node.node) * max(1, node.low + 1 if node.high is None else node.high)
    return 1 if isinstance(node, Chars) else sum(states(one) for one in _below(node))


class _Follow:
    """Which character sets may follow each other, by which way. (Glushkov's construction, ways counted.)"""

    def __init__(self) -> None:
        self.sets: list[Chars] = []
        self.next: list[list[int]] = []
        self.edges = 0

    def deterministic(self, node: Node) -> bool:
        try:
            _, first, _ = self._read(node)
        except OverflowError:
            return False
        return all(self._apart(places) for places in (first, *self.next))

    def _apart(self, places: list[int]) -> bool:
        taken: list[tuple[int, int]] = []
        for place in places:
            taken += self.sets[place].inner
        taken.sort()
        return all(left[1] < right[0] for left, right in pairwise(taken))

    def _read(self, node: Node) -> tuple[bool, list[int], list[int]]:
        """Whether it may be empty, where it may begin, and where it may end."""
        if isinstance(node, Chars):
            self.sets.append(node)
            self.next.append([])
            return False, [len(self.sets) - 1], [len(self.sets) - 1]
        if isinstance(node, Rep):
            empty, first, last = self._read(node.node)
            if node.high is None or node.high > 1:
                self._link(last, first)
            return empty or node.low == 0, first, last
        if isinstance(node, Alt):
            read = [self._read(option) for option in node.options]
            return any(r[0] for r in read), [p for r in read for p in r[1]], [p for r in read for p in r[2]]
        empty, first, last = True, [], []
        for part in _below(node):
            part_empty, part_first, part_last = self._read(part)
            self._link(last, part_first)
            first = first + part_first if empty else first
            last = last + part_last if part_empty else part_last
            empty = empty and part_empty
        return empty, first, last

    def _link(self, last: list[int], first: list[int]) -> None:
        self.edges += len(last) * len(first)
        if self.edges > EDGES_MAX:
            raise OverflowError
        for place in last:
            self.next[place] += first
