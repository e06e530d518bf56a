"""Money is integer credits. Nothing here or above ever holds money in a float."""

CREDITS_PER_USD = 2_000_000


def usd(credits_amount: int) -> float:
    """US dollars for display and for `meta.usage.usd_spent`; exact to the credit for any balance below 10^9 dollars."""
    return credits_amount / CREDITS_PER_USD
