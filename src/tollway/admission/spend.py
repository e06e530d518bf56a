"""What a key has spent in the current day, week or month, for its own limit."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from tollway.storage.tables import holds, key_spend
from tollway.storage.upsert import insert_or_replace
from tollway.usage import spent_since

Place = tuple[str, int]
"""A key's id, and when its window began in seconds since the epoch."""


class KeySpend:
    """The windows of one transaction. Their accounts are locked, so nobody else changes them meanwhile."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: dict[Place, dict[str, Any]] = {}
        self._changed: set[Place] = set()

    def load(self, places: Iterable[Place]) -> set[str]:
        """The keys whose open holds count in another window from now on: what is known of them must be read again."""
        wanted = set(places) - self._rows.keys()
        if not wanted:
            return set()
        query = sa.select(key_spend).where(sa.tuple_(key_spend.c.key_id, key_spend.c.starts_at).in_(wanted))
        found = {(row["key_id"], row["starts_at"]): dict(row) for row in self._connection.execute(query).mappings()}
        for place in wanted:
            self._rows[place] = found.get(place) or self._begun(place)
        return {place[0] for place in wanted - found.keys() if self._rows[place]["held"]}

    def _begun(self, place: Place) -> dict[str, Any]:
        """A window of which nothing is counted yet. What was spent in it before the key had this limit counts, too, and what is
        held for requests that have run since then.
        """
        key_id, starts_at = place
        spent = spent_since(self._connection, key_id, starts_at)
        uncounted = sa.and_(holds.c.key_id == key_id, holds.c.spend_window.is_(None))
        held = int(self._connection.execute(sa.select(sa.func.sum(holds.c.credits)).where(uncounted)).scalar() or 0)
        if held:
            self._connection.execute(sa.update(holds).where(uncounted).values(spend_window=starts_at))
            self._changed.add(place)
        return {"key_id": key_id, "starts_at": starts_at, "spent": spent, "held": held}

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
