"""Numbers and words as people read them."""

import re
from decimal import Decimal

from markupsafe import Markup, escape

_CODE = re.compile(r"`([^`]+)`")


def count(number: int) -> str:
    """`1,000,000`"""
    return f"{number:,}"


def short_count(number: int) -> str:
    """`1M`, `65.5K`, `2,048`: three figures at most, but exact where it is short anyway."""
    for size, letter in ((1_000_000, "M"), (10_000, "K")):
        if number >= size:
            unit = 1_000_000 if letter == "M" else 1_000
            return f"{number / unit:.1f}".removesuffix(".0") + letter
    return count(number)


def money(usd: Decimal | float | str) -> str:
    """US dollars without zeros that say nothing, but at least cents: `$0.10`, `$0.001`."""
    text = f"{Decimal(str(usd)):.9f}".rstrip("0")
    whole, _, cents = text.partition(".")
    return f"${int(whole):,}.{cents:0<2}"


def inline_code(text: str) -> Markup:
    """Escaped text in which `backticks` become code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped in the same line
