"""Numbers and words as people read them."""

import datetime as dt
import re
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from markupsafe import Markup, escape

from tollway import clock
from tollway.money import CREDITS_PER_USD

_STEPS = ((60.0, "second"), (3600.0, "minute"), (86_400.0, "hour"), (31 * 86_400.0, "day"))
_CODE = re.compile(r"`([^`]+)`")


def count(number: int) -> str:
    """`1,000,000`"""
    return f"{number:,}"


def short_count(number: int) -> str:
    """`1M`, `65.5K`, `2,048`: to a tenth of the unit, but exact where it is short anyway."""
    if number < 10_000:
        return count(number)
    amount, letter = (number / 1_000, "K") if number < 999_950 else (number / 1_000_000, "M")
    return f"{amount:,.1f}".removesuffix(".0") + letter


def money(usd: Decimal | float | str) -> str:
    """US dollars without zeros that say nothing, but at least cents: `$0.10`, `$0.001`."""
    text = f"{Decimal(str(usd)):.9f}".rstrip("0")
    whole, _, cents = text.lstrip("-").partition(".")
    return f"{'-' if text.startswith('-') else ''}${int(whole):,}.{cents:0<2}"


def cost(credits_amount: int, rounding: str = ROUND_HALF_EVEN) -> str:
    """US dollars to be looked at, not added up: cents where there are dollars, else four figures at most."""
    usd = Decimal(credits_amount) / CREDITS_PER_USD
    places = 2 if abs(usd) >= 1 or not usd else min(9, 3 - usd.adjusted())
    return money(usd.quantize(Decimal(1).scaleb(-places), rounding))


def rest(credits_amount: int) -> str:
    """What is left, as `cost` shows it, but never more than there is."""
    return cost(credits_amount, ROUND_FLOOR)


def duration(milliseconds: float | None) -> str:
    """`412 ms`, `4.12 s`, `41.2 s`, `6.9 min`."""
    if milliseconds is None:
        return "–"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds >= 99.95:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"


def date(at_seconds: float) -> str:
    """`23 Nov 2026`, in UTC."""
    moment = dt.datetime.fromtimestamp(at_seconds, dt.UTC)
    return f"{moment.day} {moment:%b %Y}"


def moment(at_seconds: float) -> str:
    """`23 Nov, 14:05:09`, in UTC; with the year when it is another one."""
    then, now = dt.datetime.fromtimestamp(at_seconds, dt.UTC), dt.datetime.fromtimestamp(clock.now(), dt.UTC)
    year = "" if then.year == now.year else f" {then.year}"
    return f"{then.day} {then:%b}{year}, {then:%H:%M:%S}"


def ago(at_seconds: float) -> str:
    """`5 minutes ago`, `in 3 days`; a date when it is more than a month away. What has passed is whole, what is left rounded:
    what was made for 30 days ends in 30 days.
    """
    seconds = clock.now() - at_seconds
    if abs(seconds) < 5:
        return "just now"
    size = 1.0
    for limit, unit in _STEPS:
        if abs(seconds) < limit:
            number = int(seconds // size) if seconds > 0 else round(-seconds / size)
            words = f"{number} {unit}{'s' if number != 1 else ''}"
            return f"{words} ago" if seconds > 0 else f"in {words}"
        size = limit
    return date(at_seconds)


def inline_code(text: str) -> Markup:
    """Escaped text in which `backticks` become code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped in the same line
