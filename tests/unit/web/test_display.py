"""Numbers as people read them, on both sides of each place at which they are written otherwise."""

import datetime as dt

import pytest

from tollway import clock
from tollway.web import display

NOW = dt.datetime(2026, 3, 4, 12, 0, 0, tzinfo=dt.UTC).timestamp()
MINUTE, HOUR, DAY = 60, 3600, 86_400


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10K"),
        (65_536, "65.5K"),
        (999_949, "999.9K"),
        (999_950, "1M"),
        (1_250_000, "1.2M"),
        (2_500_000_000, "2,500M"),
    ],
)
def test_counts_are_short(number: int, shown: str) -> None:
    assert display.short_count(number) == shown


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        (0, "$0.00"),
        ("0.10", "$0.10"),
        (0.001, "$0.001"),
        ("-0.0000005", "-$0.0000005"),
        ("1234567.5", "$1,234,567.50"),
    ],
)
def test_money_has_cents_at_the_least(usd: float | str, shown: str) -> None:
    assert display.money(usd) == shown


@pytest.mark.parametrize(
    ("credits_amount", "cost", "rest"),
    [
        (0, "$0.00", "$0.00"),
        (1, "$0.0000005", "$0.0000005"),
        (199_999, "$0.10", "$0.09999"),
        (1_999_999, "$1.00", "$0.9999"),
        (2_000_000, "$1.00", "$1.00"),
        (2_019_999, "$1.01", "$1.00"),
        (59_498_681, "$29.75", "$29.74"),
        (-3_000_000, "-$1.50", "-$1.50"),
        (-2_010_001, "-$1.01", "-$1.01"),
    ],
)
def test_what_it_cost_is_rounded_and_what_is_left_never_up(credits_amount: int, cost: str, rest: str) -> None:
    assert (display.cost(credits_amount), display.rest(credits_amount)) == (cost, rest)


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        (None, "–"),
        (0.4, "0 ms"),
        (999.4, "999 ms"),
        (999.5, "1.00 s"),
        (9_994, "9.99 s"),
        (9_995, "10.0 s"),
        (99_949, "99.9 s"),
        (99_950, "1.7 min"),
        (414_000, "6.9 min"),
    ],
)
def test_durations_have_three_figures(milliseconds: float | None, shown: str) -> None:
    assert display.duration(milliseconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (4, "just now"),
        (-4, "just now"),
        (5, "5 seconds ago"),
        (59.9, "59 seconds ago"),
        (MINUTE, "1 minute ago"),
        (2 * HOUR - 1, "1 hour ago"),
        (DAY, "1 day ago"),
        (31 * DAY - 1, "30 days ago"),
        (31 * DAY, "1 Feb 2026"),
        (-MINUTE, "in 1 minute"),
        (-(HOUR - 1), "in 60 minutes"),
        (-(30 * DAY - 1), "in 30 days"),
        (-31 * DAY, "4 Apr 2026"),
    ],
)
def test_times_are_told_from_now(seconds: float, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)

    assert display.ago(NOW - seconds) == shown


def test_a_moment_has_its_year_when_that_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)

    assert display.moment(NOW - HOUR) == "4 Mar, 11:00:00"
    assert display.moment(NOW - 100 * DAY) == "24 Nov 2025, 12:00:00"


def test_backticks_become_code_and_the_rest_stays_text() -> None:
    assert display.inline_code("a `b<c` <i>") == "a <code>b&lt;c</code> &lt;i&gt;"
