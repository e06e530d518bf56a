"""What happened when, as a receipt tells it."""

from typing import Any

import msgspec
import pytest
from tests.desks import recorded

from tollway.catalog import Price
from tollway.ledger import Entry
from tollway.usage import LogRow
from tollway.web import receipt

HELD_AT = 1_700_000_000.0


def row(**details: Any) -> LogRow:
    usual = {"created_at": HELD_AT + 0.005, "first_token_ms": 250, "duration_ms": 1250}
    return LogRow(**msgspec.structs.asdict(recorded("acc_1", **usual | details)), id=1)


def entry(kind: Any, seconds: float, *, posted: int = 0, held: int = 0) -> Entry:
    return Entry("acc_1", 1, kind, "req", posted, held, 0, HELD_AT + seconds, None, "m", None, "v", None)


HOLD = entry("hold", 0, held=100)


@pytest.mark.parametrize(
    ("details", "last", "told"),
    [
        (
            {},
            entry("settle", 1.26, posted=-30, held=-100),
            [(0, "Held", 100), (5, "Asked", None), (255, "First token", None), (1255, "Answered", None), (1260, "Charged", 30)],
        ),
        (
            {"status": "failed", "error_code": "upstream_timeout", "first_token_ms": None, "duration_ms": 0},
            entry("release", 0.005, held=-100),
            [(0, "Held", 100), (5, "Asked", None), (5, "Failed", None), (5, "Given back", 0)],
        ),
    ],
)
def test_moments_come_in_their_order(details: dict[str, Any], last: Entry, told: list[tuple[int, str, int | None]]) -> None:
    events = receipt._events(row(**details), [HOLD, last])
    assert [(event.at, event.title, event.credits) for event in events] == told


def test_what_a_moment_says() -> None:
    events = receipt._events(row(attempts=2, status="cancelled", finish_reason=None), [HOLD])
    assert [event.detail for event in events] == ["The most that it could cost was set aside.", "u/m, attempt 2", "", ""]


def test_the_bar_is_whole_and_in_proportion() -> None:
    bands = receipt._bands(row(created_at=HELD_AT + 0.75, first_token_ms=250, duration_ms=1250), [HOLD])
    assert bands == [("held", 0.0, 37.5), ("waiting", 37.5, 12.5), ("answering", 50.0, 50.0)]
    assert receipt._bands(row(first_token_ms=None), [])[0][0] == "waiting"
    assert receipt._bands(row(duration_ms=0), [HOLD]) == []
    assert receipt._bands(None, [HOLD]) == []


@pytest.mark.parametrize(
    ("millionths", "shown"),
    [(1_000_000, ""), (1_250_000, "1.25"), (0, "0"), (1_000_001, "1.000001"), (9_999_999_999, "9999.999999")],
)
def test_the_markup_is_told_where_there_is_one(millionths: int, shown: str) -> None:
    assert receipt._markup(receipt.Terms(Price("1", "1", "1", "1"), millionths)) == shown
