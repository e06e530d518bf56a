import datetime as dt

import pytest

from tollway.usage import window_start
from tollway.wire.keys import SpendWindow


@pytest.mark.parametrize(
    ("window", "at", "start"),
    [
        ("day", "2026-11-29T16:30", "2026-11-29T00:00"),
        ("week", "2026-11-29T16:30", "2026-11-23T00:00"),  # a Sunday belongs to the Monday before
        ("week", "2026-11-23T00:00", "2026-11-23T00:00"),
        ("week", "2026-12-01T10:00", "2026-11-30T00:00"),
        ("month", "2026-11-29T16:30", "2026-11-01T00:00"),
        ("no_reset", "2026-11-29T16:30", "1970-01-01T00:00"),
    ],
)
def test_a_window_begins_where_it_says(window: SpendWindow, at: str, start: str) -> None:
    now, expected = (dt.datetime.fromisoformat(f"{each}+00:00").timestamp() for each in (at, start))
    assert window_start(window, now) == expected
