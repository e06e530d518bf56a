"""`Idempotency-Key`: the same request sent again gets the same answer, is made once, and is charged once.

A row stands for a request in work (no answer yet) or answered. It begins in the transaction that holds the credits and ends in
the one that settles them, so it can say neither more nor less than the ledger.
"""

import hmac
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from tollway.admission.records import Idempotency
from tollway.errors import Conflict, UnprocessableRequest
from tollway.storage.tables import holds, idempotency
from tollway.storage.upsert import insert_or_replace

KEPT_SECONDS = 24 * 3600
ANSWER_BYTES_MAX = 4_000_000
"""A larger answer is not kept; its request is then refused instead of being answered twice."""

Place = tuple[str, str]
"""An account's id and the caller's key."""


class Answers:
    """The idempotent requests of one transaction. Their accounts are locked."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: dict[Place, dict[str, Any]] = {}
        self._in_work: set[str] = set()
        self._changed: set[Place] = set()
        self._dropped: set[Place] = set()

    def load(self, places: Iterable[Place]) -> None:
        wanted = set(places)
        self._rows.clear()  # of the transaction before: they may be large
        self._in_work.clear()
        if not wanted:
            return
        query = sa.select(idempotency).where(sa.tuple_(idempotency.c.account_id, idempotency.c.key).in_(wanted))
        self._rows = {(row["account_id"], row["key"]): dict(row) for row in self._connection.execute(query).mappings()}
        unanswered = [row["request_id"] for row in self._rows.values() if row["answer"] is None]
        if unanswered:
            query_open = sa.select(holds.c.request_id).where(holds.c.request_id.in_(unanswered))
            self._in_work = set(self._connection.execute(query_open).scalars())

    def look_up(self, account_id: str, asked: Idempotency, now: float) -> bytes | None:
        """The answer to replay; None = it must be made. Raises Conflict while it is, UnprocessableRequest for another body."""
        row = self._rows.get((account_id, asked.key))
        if row is None or row["at"] < now - KEPT_SECONDS:
            return None
        if row["answer"] is None and row["request_id"] not in self._in_work:
            return None  # the server that worked on it is gone, and its hold with it
        if not hmac.compare_digest(bytes(row["body_hash"]), asked.body_hash):
            raise UnprocessableRequest(
                "This Idempotency-Key was used for another request. Use a new key for a new request.",
                param="Idempotency-Key",
                code="idempotency_key_reused",
            )
        if row["answer"] is None:
            raise Conflict(
                "A request with this Idempotency-Key is being answered. Wait for it, and send it again for the same answer.",
                param="Idempotency-Key",
                code="idempotency_key_in_use",
                retry_after_seconds=1,
            )
        answer = bytes(row["answer"])
        if not answer:
            raise Conflict(
                "The request with this Idempotency-Key was answered and charged, and its answer is too large to be kept.",
                param="Idempotency-Key",
                code="idempotent_answer_too_large",
            )
        return answer

    def begin(self, account_id: str, asked: Idempotency, request_id: str, now: float) -> None:
        place = (account_id, asked.key)
        values = {"body_hash": asked.body_hash, "request_id": request_id, "answer": None, "at": now}
        self._rows[place] = {"account_id": account_id, "key": asked.key, **values}
        self._in_work.add(request_id)
        self._changed.add(place)

    def end(self, account_id: str, asked: Idempotency, answer: bytes | None) -> None:
        """Keeps the answer; without one the request may be sent again."""
        place = (account_id, asked.key)
        if answer is None:
            self._rows.pop(place, None)
            self._changed.discard(place)
            self._dropped.add(place)
        elif place in self._rows:  # else it took a day, and the row was swept away
            self._rows[place]["answer"] = answer if len(answer) <= ANSWER_BYTES_MAX else b""
            self._changed.add(place)

    def flush(self) -> None:
        if not self._changed and not self._dropped:
            return
        for account_id, key in sorted(self._dropped - self._changed):
            place = (idempotency.c.account_id == account_id, idempotency.c.key == key)
            self._connection.execute(sa.delete(idempotency).where(*place))
        insert_or_replace(self._connection, idempotency, [self._rows[place] for place in sorted(self._changed)])
        self._changed.clear()
        self._dropped.clear()


def is_kept(connection: Connection, account_id: str, asked: Idempotency, request_id: str) -> bool:
    """Whether the answer of that request is there to be given again."""
    place = (idempotency.c.account_id == account_id, idempotency.c.key == asked.key, idempotency.c.request_id == request_id)
    return connection.execute(sa.select(idempotency.c.at).where(*place, idempotency.c.answer.is_not(None))).first() is not None
