"""JSON Schema to a grammar of the embedded engine.

The one guarantee: **every complete text that a grammar accepts is JSON and validates against its schema.** The grammar may be
narrower than the schema: properties come in the order of their declaration and no others beside them, white space is fixed,
numbers have at most 15 digits. What cannot be guaranteed is refused with the keyword and its place; the engine's own
conversion ignores it silently.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from tollway.constrain.document import ANNOTATIONS, Document, Loc, Schema
from tollway.constrain.enums import listed
from tollway.constrain.exclusive import compare
from tollway.constrain.flatten import Conj, Plain, alternatives, types_of
from tollway.constrain.gbnf import Item, RuleSet, Seq, seq, text
from tollway.constrain.literals import dump, one_of_texts
from tollway.constrain.numbers import NotEnforceable, number
from tollway.constrain.problems import TooLarge, invalid, too_large, unsupported
from tollway.constrain.shapes import ArrayShape, ObjectShape, array_shape, object_shape
from tollway.constrain.strings import in_string, pattern_tree, string_seqs
from tollway.constrain.values import array, free_object, free_value, literals, mapping, string

PERMUTED_MAX = 5
INLINE_MAX = 40
ANY_KINDS = 6
RESOLVED = frozenset({"type", "$ref", "allOf", "anyOf", "oneOf"})
AN_OBJECT = Loc("(arguments)", {"type": "object"})


def compile_schema(schema: Schema, *, param: str, rules: RuleSet, arguments: bool = False) -> Item:
    """Add a schema's rules to a rule set and give the rule of its documents; with `arguments`, only of objects.

    `param` is the request parameter for errors, all of them 400s: InvalidRequest for a schema that is malformed,
    UnsupportedParameter for one that cannot be enforced or is over a limit. Whether any document exists at all is only
    known with the whole grammar; `RuleSet.text` tells.
    """
    try:
        doc = Document(schema, param=param)
        conj = (doc.root, AN_OBJECT) if arguments else (doc.root,)
        return _Compiler(doc, rules).run(conj)
    except TooLarge as limit:
        raise too_large(limit, param=param) from None


def schema_grammar(schema: Schema, *, param: str) -> str:
    """The grammar of the documents of one schema. Raises as `compile_schema`, and for a schema that no value satisfies."""
    rules = RuleSet()
    return _finish(rules, (compile_schema(schema, param=param, rules=rules),), param)


def _finish(rules: RuleSet, start: Seq, param: str) -> str:
    try:
        grammar = rules.text(start)
    except TooLarge as limit:
        raise too_large(limit, param=param) from None
    if grammar is None:
        raise invalid("no JSON value satisfies it.", "", param=param)
    return grammar


@lru_cache(maxsize=1)
def json_object_grammar() -> str:
    """The grammar of any JSON object of up to `FREE_DEPTH` levels."""
    rules = RuleSet()
    return _finish(rules, (free_object(rules),), "response_format")


def tool_calls_grammar(
    tools: Sequence[tuple[str, dict[str, Any] | None]],
    *,
    opening: str,
    separator: str,
    closing: str,
    calls_max: int,
    params: Sequence[str] | None = None,
    begun: str = "",
    otherwise: tuple[Schema, str] | None = None,
) -> str:
    """The grammar of one to `calls_max` calls, each `opening {"name": ..., "arguments": ...} closing`, apart by `separator`.

    `tools` are names with the schemas of their arguments; no schema is no arguments, `{}`. `params` are the request parameters
    of the schemas for errors, by default `tools[i].function.parameters`. `begun` is what the prompt already holds of the first
    call: every call must begin with it. `otherwise` is a schema, with its parameter, that may be answered instead of calls.
    """
    rules = RuleSet()
    whole = params[0].partition("[")[0] if params else "tools"
    calls: list[Seq] = []
    compiled: list[tuple[Item, str]] = []
    for index, (name, parameters) in enumerate(tools):
        param = params[index] if params else f"tools[{index}].function.parameters"
        if parameters is None:
            arguments = text("{}")
        else:
            item = compile_schema(parameters, param=param, rules=rules, arguments=True)
            compiled.append((item, param))
            arguments = (item,)
        calls.append(seq(text(f'{opening}{{"name": {dump(name)}, "arguments": '), arguments, text("}" + closing)))
    alternative = None
    if otherwise is not None:
        alternative = compile_schema(otherwise[0], param=otherwise[1], rules=rules)
        compiled.append((alternative, otherwise[1]))
    ending = rules.ending()
    for item, param in compiled:
        if item.value not in ending:
            raise invalid("no JSON value that could stand here satisfies it.", "", param=param)
    try:
        first = rules.one_of("first", [_without(call, begun) for call in calls])
        again = (rules.add("again", seq(text(separator), rules.one_of("call", calls))),)
        answer = seq(first, rules.counted("again", again, 0, calls_max - 1))
        if alternative is not None:
            answer = rules.one_of("answer", [answer, (alternative,)])
    except TooLarge as limit:
        raise too_large(limit, param=whole) from None
    return _finish(rules, answer, whole)


def _without(call: Seq, begun: str) -> Seq:
    """A call without the text that it begins with."""
    head = call[0]
    if not isinstance(head.value, str) or not head.value.startswith(begun):
        raise ValueError(f"no call begins with {begun!r}")
    return (*text(head.value.removeprefix(begun)), *call[1:])


class _Compiler:
    """Turns conjunctions into rules, one at a time from a queue: schemas may contain themselves."""

    def __init__(self, doc: Document, rules: RuleSet) -> None:
        self.doc, self.rules = doc, rules
        self._known: dict[tuple[str, ...], Item] = {}
        self._queue: deque[tuple[Item, Conj]] = deque()
        self._free: Item | None = None

    def run(self, conj: Conj) -> Item:
        root = self.rule(conj)
        while self._queue:
            rule, conj = self._queue.popleft()
            self.doc.spend(1)
            out: list[Seq] = []
            for plain in alternatives(self.doc, conj):
                out += self._plain(plain)
            self.rules.define(rule, *out)
        return root

    def rule(self, conj: Conj) -> Item:
        """The rule of a conjunction; its body may follow later."""
        conj = tuple({loc.pointer: loc for loc in conj if loc.schema is not True and loc.schema != {}}.values())
        if not conj:
            self._free = self._free or free_value(self.rules)
            return self._free
        key = tuple(loc.pointer for loc in conj)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self.rules.reserve("v")
            self._queue.append((known, conj))
        return known

    def _plain(self, plain: Plain) -> list[Seq]:
        values = listed(self.doc, plain)
        if values is not None:
            return [one_of_texts(self.rules, "one", map(dump, values))] if values else []
        plain = self._exclusive(plain)
        kinds = types_of(plain)
        if len(kinds) == ANY_KINDS and not _asserts(plain):
            return [(self.rule(()),)]
        out: list[Seq] = []
        for kind in kinds:
            out += self._kind(kind, plain)
        return out

    def _kind(self, kind: str, plain: Plain) -> list[Seq]:
        if kind == "string":
            return string_seqs(self.doc, self.rules, plain)
        if kind in {"number", "integer"}:
            try:
                return number(self.rules, plain, integer=kind == "integer")
            except NotEnforceable as problem:
                keyword, why = problem.args
                raise self._unsupported(keyword, plain, why) from None
        if kind == "object":
            return self._object(plain)
        if kind == "array":
            return self._array(plain)
        return literals("true", "false") if kind == "boolean" else literals("null")

    def _exclusive(self, plain: Plain) -> Plain:
        """The conjunction without what could satisfy a second branch of a `oneOf`."""
        for choice in plain.choices:
            for index, branch in enumerate(self.doc.children(choice.loc, "oneOf")):
                if index == choice.index:
                    continue
                for other in alternatives(self.doc, (branch,)):
                    verdict = compare(self.doc, plain, other)
                    if verdict.absent:
                        plain = replace(plain, absent=plain.absent | {min(verdict.absent)})
                    elif not verdict.apart:
                        why = f"its branches {choice.index} and {index} may hold for the same value; `anyOf` allows that"
                        raise unsupported("oneOf", choice.loc.pointer, param=self.doc.param, why=why)
        return plain

    def _unsupported(self, keyword: str, plain: Plain, why: str) -> Exception:
        pointer = next((loc.pointer for loc in plain.having(keyword)), plain.locs[0].pointer)
        return unsupported(keyword, pointer, param=self.doc.param, why=why)

    # --- objects ------------------------------------------------------------------------------------------------------

    def _object(self, plain: Plain) -> list[Seq]:
        shape = object_shape(self.doc, plain)
        if shape.high is not None and shape.high < shape.low:
            return []
        empty = not shape.properties and bool(plain.having("properties")) and not shape.others and not shape.low
        if empty:
            return [text("{}")]  # `properties: {}` says "no arguments"; free members would be noise
        return self._members(shape) if shape.properties else self._map(plain, shape)

    def _members(self, shape: ObjectShape) -> list[Seq]:
        """The declared properties in their order."""
        members = [
            (seq(text(f"{dump(name)}: "), (self.rule(conj),)), name in shape.required)
            for name, conj in shape.properties.items()
        ]
        return self._chain("{", members, "}", shape.low, shape.high)

    def _chain(self, opening: str, parts: list[tuple[Seq, bool]], closing: str, low: int, high: int | None) -> list[Seq]:
        """The parts in their order, each at most once and exactly once if it is marked as required.

        Built from the end, one rule per part and count of what came before, as far as the count matters: for the comma, and
        for `low` and `high`.
        """
        if low > len(parts):
            return []
        most = len(parts) if high is None else min(high, len(parts))
        top = max(1, low) if most == len(parts) else most
        self.doc.spend(len(parts) * (top + 1))
        after: list[Seq | None] = [text(closing) if count >= low else None for count in range(top + 1)]
        for part, required in reversed(parts):
            here: list[Seq | None] = []
            for count in range(top + 1):
                more = after[min(count + 1, top)] if count < most else None
                given = None if more is None else seq(text(", " if count else ""), part, more)
                here.append(self._either("members", given, None if required else after[count]))
            after = here
        return [] if after[0] is None else [seq(text(opening), after[0])]

    def _either(self, hint: str, *options: Seq | None) -> Seq | None:
        """One of the options that are there; None if there is none. Long ones become rules, so that nothing is copied often."""
        there = [option for option in options if option is not None]
        if not there:
            return None
        one = self.rules.one_of(hint, there)
        return one if len(one) <= INLINE_MAX else (self.rules.add(hint, one),)

    def _map(self, plain: Plain, shape: ObjectShape) -> list[Seq]:
        """Members of any name."""
        key: Seq = (string(self.rules, 1),)
        value = shape.others
        if shape.patterns:
            key, value = self._by_pattern(plain, shape)
        if shape.names:
            key = (self.rule((*shape.names, Loc("(name)", {"type": "string"}))),)
        if shape.low > 1:
            raise self._unsupported("minProperties", plain, "names that are not declared may be repeated")
        return mapping(self.rules, key, (self.rule(value),), shape.low, shape.high)

    def _by_pattern(self, plain: Plain, shape: ObjectShape) -> tuple[Seq, Conj]:
        """Names that match the one pattern, and the conjunction of their values."""
        if len(shape.patterns) > 1 or shape.names or plain.having("unevaluatedProperties"):
            why = "only one pattern, without `propertyNames`, can be"
            raise self._unsupported("patternProperties", plain, why)
        (loc,) = (loc for loc in plain.having("patternProperties") if loc.keyword("patternProperties"))
        (pattern,) = loc.keyword("patternProperties")
        where = (loc, "patternProperties")
        key = in_string(self.doc, self.rules, pattern_tree(self.doc, pattern, where), where)
        others = tuple(
            self.doc.child(one, "additionalProperties") for one in plain.having("additionalProperties") if one != loc
        )
        return seq(text('"'), key, text('"')), (*shape.patterns, *others)

    # --- arrays -------------------------------------------------------------------------------------------------------

    def _array(self, plain: Plain) -> list[Seq]:
        shape = array_shape(self.doc, plain)
        if shape.high is not None and shape.high < shape.low:
            return []
        if shape.unique and (shape.high is None or shape.high > 1):
            return self._unique(plain, shape)
        if not shape.prefix:
            return array(self.rules, (self.rule(shape.rest),), shape.low, shape.high)
        return self._tuple(shape)

    def _tuple(self, shape: ArrayShape) -> list[Seq]:
        """The first items each with a schema of its own, and others only as far as `items` or `minItems` ask for them."""
        length = len(shape.prefix)
        high = shape.high if shape.high is not None else None if shape.rest else max(length, shape.low)
        tail: Seq | None = None
        if high is None or high > length:
            more = (self.rules.add("more", seq(text(", "), (self.rule(shape.rest),))),)
            counted = self.rules.counted("more", more, max(0, shape.low - length), None if high is None else high - length)
            tail = seq(counted, text("]"))
        elif high == length:
            tail = text("]")
        for index in range(length - 1, -1, -1):
            item = seq(text(", " if index else ""), (self.rule(shape.prefix[index]),))
            given = None if tail is None or (high is not None and index >= high) else seq(item, tail)
            ended = text("]") if shape.low <= index else None
            tail = self._either("items", given, ended)
        return [] if tail is None else [seq(text("["), tail)]

    def _unique(self, plain: Plain, shape: ArrayShape) -> list[Seq]:
        """Items without repetition: a few in any order, more in the order in which the schema lists them."""
        values = None if shape.prefix else self._finite(shape.rest)
        if values is None:
            raise self._unsupported("uniqueItems", plain, "only for items with an `enum` of texts or numbers")
        if len(values) > PERMUTED_MAX:
            return self._chain("[", [(text(value), False) for value in values], "]", shape.low, shape.high)
        high = len(values) if shape.high is None else shape.high
        known: dict[frozenset[str], Seq | None] = {}

        def after(used: frozenset[str]) -> Seq | None:
            if used not in known:
                given = [
                    seq(text((", " if used else "") + value), more)
                    for value in values
                    if value not in used and len(used) < high and (more := after(used | {value})) is not None
                ]
                known[used] = self._either("items", *given, text("]") if len(used) >= shape.low else None)
            return known[used]

        items = after(frozenset())
        return [] if items is None else [seq(text("["), items)]

    def _finite(self, conj: Conj) -> list[str] | None:
        """All values of a conjunction as literals, no two of them equal as JSON, or None if there may be others."""
        out: dict[tuple[str, Any], str] = {}
        for plain in alternatives(self.doc, conj):
            values = listed(self.doc, plain)
            if values is None and types_of(plain, meant=False) == ["boolean"]:
                values = [True, False]
            if values is None or plain.choices:
                return None
            for value in values:
                if isinstance(value, dict | list):
                    return None
                kind = "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
                out.setdefault((kind, value), dump(value))
        return list(out.values())


def _asserts(plain: Plain) -> bool:
    """Whether there is more to satisfy than a type."""
    return any(
        key not in ANNOTATIONS and key not in RESOLVED and not key.startswith("x-")
        for loc in plain.locs
        if isinstance(loc.schema, dict)
        for key in loc.schema
    )
