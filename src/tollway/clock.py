"""The clock, as a seam that tests replace."""

import datetime as dt
import time


def now() -> float:
    """Seconds since the epoch."""
    return time.time()


def monotonic() -> float:
    """Seconds, for measuring and for deadlines."""
    return time.monotonic()


def iso(at_seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds, such as `2026-11-23T01:02:03.004Z`."""
    moment = dt.datetime.fromtimestamp(at_seconds, dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
