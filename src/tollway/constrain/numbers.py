"""Numbers within bounds as grammar, digit by digit.

At most 15 significant digits are generated: that many survive a double exactly and in order, so what holds for the decimal
text holds for the number that any JSON parser reads. It also ends the run of digits that a small model may fall into.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor, gcd, lcm
from typing import Any

from tollway.constrain.charset import union
from tollway.constrain.flatten import Plain
from tollway.constrain.gbnf import Item, RuleSet, Seq, chars, seq, text
from tollway.constrain.literals import one_of_texts
from tollway.constrain.problems import TooLarge

DIGITS_MAX = 15
FRACTION_DIGITS = 10
OPEN_END_DIGITS = 9  # integer digits of a number that is bounded on one side only, if the bound itself is not longer
STATES_MAX = 1_000
ONE_BY_ONE_MAX = 64
DIGIT = ((0x30, 0x39),)
LEADING = ((0x31, 0x39),)


class NotEnforceable(Exception):
    """These bounds or this step cannot be generated; the first argument is the keyword, the second says why."""


@dataclass(frozen=True)
class Bounds:
    """An interval; None is no bound. `low_open` says that the bound itself is outside."""

    low: Fraction | None = None
    low_open: bool = False
    high: Fraction | None = None
    high_open: bool = False

    @property
    def empty(self) -> bool:
        if self.low is None or self.high is None:
            return False
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))

    def apart(self, other: "Bounds") -> bool:
        """Whether no number lies in both."""
        return self.meet(other).empty

    def meet(self, other: "Bounds") -> "Bounds":
        lows = [(b.low, b.low_open) for b in (self, other) if b.low is not None]
        highs = [(b.high, not b.high_open) for b in (self, other) if b.high is not None]
        low, low_open = max(lows) if lows else (None, False)
        high, high_closed = min(highs) if highs else (None, True)
        return Bounds(low, low_open, high, not high_closed)


def _exact(value: float) -> Fraction:
    # The shortest decimal that reads as this double: what the caller wrote, and below no number that compares as smaller.
    return Fraction(value) if isinstance(value, int) else Fraction(Decimal(repr(value)))


def bounds_of(plain: Plain) -> Bounds:
    out = Bounds()
    for keyword in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        for value in plain.values(keyword):
            is_open = keyword.startswith("exclusive")
            if keyword.lower().endswith("minimum"):
                out = out.meet(Bounds(low=_exact(value), low_open=is_open))
            else:
                out = out.meet(Bounds(high=_exact(value), high_open=is_open))
    return out


def step_of(plain: Plain) -> Fraction | None:
    """The least number of which all multiples satisfy every `multipleOf`, or None."""
    step: Fraction | None = None
    for value in plain.values("multipleOf"):
        one = _exact(value)
        step = one if step is None else Fraction(lcm(step.numerator, one.numerator), gcd(step.denominator, one.denominator))
    return step


def number(rules: RuleSet, plain: Plain, *, integer: bool) -> list[Seq]:
    """The alternatives for a number type. Raises NotEnforceable; no alternatives if no number fits."""
    bounds, step = bounds_of(plain), step_of(plain)
    if "int32" in plain.values("format"):
        bounds = bounds.meet(Bounds(low=Fraction(-(2**31)), high=Fraction(2**31 - 1)))
    if bounds.empty:
        return []
    if integer and step is not None:
        step = Fraction(step.numerator)  # an integer is a multiple of p/q, in lowest terms, just if it is one of p
    if step == 1:
        integer, step = True, None
    if bounds == Bounds() and step is None:
        return [(any_number(rules, integer=integer),)]
    if integer or step is not None:
        return _stepped(rules, bounds, step or Fraction(1))
    return _decimal(rules, bounds)


def any_number(rules: RuleSet, *, integer: bool) -> Item:
    digits = rules.add("integer", (Item("text", "-", 0, 1), _natural(rules)))
    if integer:
        return digits
    fraction = rules.add("fraction", seq(text("."), chars(DIGIT, 1, DIGITS_MAX)))
    signs = chars(((0x2B, 0x2B), (0x2D, 0x2D)), 0, 1)
    exponent = rules.add("exponent", seq(text("e"), signs, chars(DIGIT, 1, 2)))
    return rules.add("number", (digits, fraction._replace(low=0), exponent._replace(low=0)))


def _natural(rules: RuleSet) -> Item:
    return rules.add("natural", text("0"), seq(chars(LEADING), chars(DIGIT, 0, DIGITS_MAX - 1)))


def _stepped(rules: RuleSet, bounds: Bounds, step: Fraction) -> list[Seq]:
    """Multiples of a step that is an integer, or 1/q with q a divisor of a power of ten."""
    if step.denominator == 1:
        return _integers(rules, bounds, step.numerator)
    places = next((k for k in range(1, 7) if 10**k % step.denominator == 0), None)
    if places is None or step.numerator != 1:
        raise NotEnforceable("multipleOf", "only integers up to 100 and fractions such as 0.01 or 0.25 can be")
    return _signed(rules, bounds, places, 10**places // step.denominator, _integer_digits(bounds, DIGITS_MAX - places))


def _integers(rules: RuleSet, bounds: Bounds, step: int) -> list[Seq]:
    top = 10**DIGITS_MAX - 1
    low = -top if bounds.low is None else max(-top, _first(bounds.low, is_open=bounds.low_open))
    high = top if bounds.high is None else min(top, _last(bounds.high, is_open=bounds.high_open))
    if bounds.low is not None and bounds.low > top:
        raise NotEnforceable("minimum", "numbers beyond 15 digits are not generated")
    if bounds.high is not None and bounds.high < -top:
        raise NotEnforceable("maximum", "numbers beyond 15 digits are not generated")
    first, last = -(-low // step), high // step
    if first > last:
        return []
    if last - first < ONE_BY_ONE_MAX:
        return [one_of_texts(rules, "number", (str(n * step) for n in range(first, last + 1)))]
    zeros = 0
    while step % 10 == 0:
        step, zeros = step // 10, zeros + 1
    if step > 100:
        raise NotEnforceable("multipleOf", "only integers up to 100, times powers of ten, can be")
    longest = DIGITS_MAX - zeros if 10**6 % step == 0 else max(1, min(DIGITS_MAX - zeros, STATES_MAX // step))
    if longest < 1:
        raise NotEnforceable("multipleOf", "numbers beyond 15 digits are not generated")
    out: list[Seq] = []
    tail = text("0" * zeros)
    scale = 10**zeros
    negative = ("-", max(1, -(high // scale)), -low // scale)
    positive = ("", max(1, -(-low // scale)), high // scale)
    for sign, least, most in (negative, positive):
        if least <= most:
            out += [seq(text(sign), one, tail) for one in _Digits(rules, 0, step, least, most).run(longest)]
    if low <= 0 <= high:
        out.append(text("0"))
    return out


def _first(bound: Fraction, *, is_open: bool) -> int:
    least = ceil(bound)
    return least + 1 if is_open and least == bound else least


def _last(bound: Fraction, *, is_open: bool) -> int:
    most = floor(bound)
    return most - 1 if is_open and most == bound else most


def _integer_digits(bounds: Bounds, most: int) -> int:
    """How many digits to allow before the decimal point."""
    ends = [abs(end) for end in (bounds.low, bounds.high) if end is not None]
    needed = len(str(floor(max(ends)))) if ends else 1
    if len(ends) < 2:
        needed = max(needed, OPEN_END_DIGITS)
    return min(needed, most)


def _decimal(rules: RuleSet, bounds: Bounds) -> list[Seq]:
    digits = _integer_digits(bounds, DIGITS_MAX)
    for places in (min(FRACTION_DIGITS, DIGITS_MAX - digits), DIGITS_MAX - digits):
        out = _signed(rules, bounds, places, 1, digits)
        if out:
            return out
    raise NotEnforceable("minimum", "the bounds leave no number of up to 15 digits")


def _signed(rules: RuleSet, bounds: Bounds, places: int, step: int, digits: int) -> list[Seq]:
    """Numbers of up to so many digits before and `places` after the point, in units of 10**-places multiples of `step`."""
    unit = 10**places
    top = 10 ** (digits + places) - 1
    low = -top if bounds.low is None else max(-top, _first(bounds.low * unit, is_open=bounds.low_open))
    high = top if bounds.high is None else min(top, _last(bounds.high * unit, is_open=bounds.high_open))
    out: list[Seq] = []
    if low < 0:
        least, most = max(1, -high), -low
        if least <= most:
            out += [seq(text("-"), one) for one in _Digits(rules, places, step, least, most).run(digits)]
    if high >= 0:
        out += _Digits(rules, places, step, max(0, low), high).run(digits)
    return out


class _Digits:
    """An automaton for the decimal digits of numbers between `low` and `high` (in units of 10**-places).

    A state knows how many digits are left, whether the digits so far are those of a bound, and what they contribute to the
    remainder by `step`.
    """

    def __init__(self, rules: RuleSet, places: int, step: int, low: int, high: int) -> None:
        self.rules, self.places, self.step, self.low, self.high = rules, places, step, low, high
        self._known: dict[tuple[Any, ...], Item] = {}
        self._states = 0

    def run(self, digits: int) -> list[Seq]:
        """The alternatives, for numbers of up to `digits` digits before the point."""
        out: list[Seq] = []
        loose: list[int] = []
        for length in range(1, digits + 1):
            least = 0 if length == 1 else 10 ** (length - 1 + self.places)
            most = 10 ** (length + self.places) - 1
            low, high = max(least, self.low), min(most, self.high)
            if low > high:
                continue
            if (low, high, self.step) == (least, most, 1) and length > 1:
                loose.append(length)
                continue
            total = length + self.places
            state = self._state(total, f"{low:0{total}d}", f"{high:0{total}d}", 0)
            out.append((state,))
        if loose:
            out.append(seq(chars(LEADING), chars(DIGIT, loose[0] - 1, loose[-1] - 1), self._free_fraction()))
        return out

    def _free_fraction(self) -> Seq:
        if not self.places:
            return ()
        return (self.rules.add("fraction", seq(text("."), chars(DIGIT, 1, self.places)))._replace(low=0),)

    def _state(self, left: int, low: str | None, high: str | None, rest: int) -> Item:
        """What may follow with `left` digits to go; `low` and `high` are what is left of a bound that is still followed."""
        key = (left, low, high, rest)
        known = self._known.get(key)
        if known is not None:
            return known
        self._states += 1
        if self._states > 2 * STATES_MAX:
            raise TooLarge("the bounds of a number need too many grammar rules")
        rule = self._known[key] = self.rules.reserve("digits")
        self.rules.define(rule, *self._following(left, low, high, rest))
        return rule

    def _following(self, left: int, low: str | None, high: str | None, rest: int) -> list[Seq]:
        out: list[Seq] = []
        if left <= self.places and rest == 0 and (low is None or not low.strip("0")):
            out.append(())
        if not left:
            return out
        point = text(".") if left == self.places else ()
        if low is None and high is None and self.step == 1:
            if left <= self.places:
                return [(), seq(point, chars(DIGIT, 1, left))]
            return [seq(chars(DIGIT, left - self.places, left - self.places), self._free_fraction())]
        following: dict[Item | None, list[int]] = {}
        weight = 10 ** (left - 1)
        for digit in range(int(low[0]) if low else 0, (int(high[0]) if high else 9) + 1):
            next_low = low[1:] if low and digit == int(low[0]) else None
            next_high = high[1:] if high and digit == int(high[0]) else None
            if next_low is not None and not next_low.strip("0"):
                next_low = None  # whatever follows is at least that
            if next_high is not None and not next_high.strip("9"):
                next_high = None
            if left == 1:
                if (rest + digit) % self.step == 0:
                    following.setdefault(None, []).append(digit)
                continue
            state = self._state(left - 1, next_low, next_high, (rest + digit * weight) % self.step)
            following.setdefault(state, []).append(digit)
        for after, digits in following.items():
            out.append(seq(point, chars(union((0x30 + digit, 0x30 + digit) for digit in digits)), (after,) if after else ()))
        return out
