from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollway.money import CREDITS_PER_USD, USD_MAX, credits_of_usd, exact_usd


@given(st.integers(0, USD_MAX * CREDITS_PER_USD))
def test_every_credit_survives_the_way_to_text_and_back(amount: int) -> None:
    text = exact_usd(amount)
    assert credits_of_usd(Decimal(text)) == amount
    assert Decimal(text) * CREDITS_PER_USD == amount
    assert "e" not in text.lower()


@pytest.mark.parametrize(
    ("text", "amount"),
    [("5", 10_000_000), ("0.0000005", 1), ("0", 0), ("-0", 0), ("2.50", 5_000_000), ("1e3", 2 * 10**9)],
)
def test_amounts_are_exact(text: str, amount: int) -> None:
    assert credits_of_usd(Decimal(text)) == amount


@pytest.mark.parametrize(
    "text",
    [
        "-1",
        "-0.0000005",
        "0.0000004",
        "0.00000051",
        "1e-400",
        "0." + "1" * 70,
        "NaN",
        "Infinity",
        "1000000000.1",
        "1e999999999999",
    ],
)
def test_amounts_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="US dollars"):
        credits_of_usd(Decimal(text))
