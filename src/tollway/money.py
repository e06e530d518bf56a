"""Money is integer credits. Nothing here or above ever holds money in a float."""

import contextlib
from decimal import Context, Decimal, Inexact

CREDITS_PER_USD = 2_000_000
USD_MAX = 1_000_000_000
CREDITS_MAX = USD_MAX * CREDITS_PER_USD
"""The largest amount that can be named, granted or set as a limit: below 2^53, so that every JSON reader reads each credit."""

_EXACT = Context(prec=60, traps=[Inexact])


def usd(credits_amount: int) -> float:
    """US dollars for display and for `meta.usage.usd_spent`; exact to the credit for any balance below 10^9 dollars."""
    return credits_amount / CREDITS_PER_USD


def exact_usd(credits_amount: int) -> str:
    """US dollars as decimal text, exact, such as `0.0000005`."""
    return f"{_EXACT.divide(Decimal(credits_amount), CREDITS_PER_USD):f}"


def credits_of_usd(usd_amount: Decimal) -> int:
    """The credits that an amount is, exactly. Raises ValueError saying why there are none."""
    if not usd_amount.is_finite() or not 0 <= usd_amount <= USD_MAX:
        raise ValueError(f"an amount is 0 to {USD_MAX:,} US dollars.")
    with contextlib.suppress(Inexact):
        amount = _EXACT.multiply(usd_amount, CREDITS_PER_USD)
        if amount == amount.to_integral_value():
            return int(amount)
    raise ValueError("an amount is a multiple of 0.0000005 US dollars, which is one credit.")
