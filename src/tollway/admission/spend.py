"""What a key has spent in the current day, week or month, for its own limit. Windows begin at 00:00 UTC, weeks on Monday."""

import datetime as dt
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from tollway.storage.tables import key_spend
from tollway.storage.upsert import insert_or_replace
from tollway.wire.keys import SpendWindow

Place = tuple[str, int]
"""A key's id, and when its window began in seconds since the epoch."""


def window_start(window: SpendWindow, now: float) -> int:
    """When the window that holds `now` began; 0 for a limit that never resets."""
    if window == "no_reset":
        return 0
    day = dt.datetime.fromtimestamp(now, dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "week":
        day -= dt.timedelta(days=day.weekday())
    elif window == "month":
        day = day.replace(day=1)
    return int(day.timestamp())


class KeySpend:
    """The windows of one transaction. Their accounts are locked, so nobody else changes them meanwhile."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: dict[Place, dict[str, Any]] = {}
        self._changed: set[Place] = set()

    def load(self, places: Iterable[Place]) -> None:
        wanted = set(places) - self._rows.keys()
        if not wanted:
            return
        query = sa.select(key_spend).where(sa.tuple_(key_spend.c.key_id, key_spend.c.starts_at).in_(wanted))
        found = {(row["key_id"], row["starts_at"]): dict(row) for row in self._connection.execute(query).mappings()}
        for place in wanted:
            empty = {"key_id": place[0], "starts_at": place[1], "spent": 0, "held": 0}
            self._rows[place] = found.get(place, empty)

    def used(self, place: Place) -> int:
        """Spent and held in the window, in credits."""
        row = self._rows[place]
        return int(row["spent"]) + int(row["held"])

    def change(self, place: Place, *, spent: int = 0, held: int = 0) -> None:
        row = self._rows[place]
        row["spent"] += spent
        row["held"] += held
        self._changed.add(place)

    def flush(self) -> None:
        if not self._changed:
            return
        insert_or_replace(self._connection, key_spend, [self._rows[place] for place in sorted(self._changed)])
        self._changed.clear()
