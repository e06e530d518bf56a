"""Requests and tokens per minute, and concurrency: counted in the database, so that they hold over all workers and nodes.

An allowance refills evenly: a limit of 60 a minute gives one a second, and at most a whole minute's worth may be used at once
(the generic cell rate algorithm). Of each subject only one number is stored: when its allowance will be full again.
"""

from collections.abc import Iterable, Set
from typing import Literal

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from tollway.errors import RateLimited
from tollway.storage.prepared import PreparedIn
from tollway.storage.tables import holds, rates
from tollway.storage.upsert import insert_or_replace

Unit = Literal["requests", "tokens"]
Subject = Literal["API key", "account"]
WINDOW_SECONDS = 60.0
_OWED_SECONDS_MAX: dict[Unit, float] = {"requests": WINDOW_SECONDS, "tokens": 3600.0}
"""How far ahead an allowance may be full again. More than a minute's tokens can be owed, where answers took more than was
expected of them; more than a minute's requests cannot.
"""
_SKEW_SECONDS_MAX = 60.0
"""By which nodes' clocks may differ. What is further ahead was stored before the clock was put back, and counts for nothing."""


class Rule(Struct, frozen=True):
    """One limit of one key or account."""

    subject: str
    """The key's or the account's id."""
    what: Subject
    unit: Unit
    per_minute: int


class Rates:
    """The rates of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._full_at: dict[str, dict[str, float]] = {}  # by subject, then by unit
        self._changed: set[tuple[str, str]] = set()

    def load(self, subjects: Set[str]) -> None:
        """Reads what is stored of the rules' subjects. Their accounts are locked, so nobody else changes it meanwhile.

        What is known from the connection's transaction before is not read again.
        """
        if unknown := subjects - self._full_at.keys():
            for subject in unknown:
                self._full_at[subject] = {}
            for row in _RATES(self._connection, sorted(unknown)).rows:
                self._full_at[row.subject][row.unit] = row.full_at

    def check(self, rule: Rule, amount: int, now: float) -> float:
        """When the allowance is full again once `amount` is taken, for `put`. Raises RateLimited if that is not covered."""
        full_at = self._full_at_with(rule, amount, now)
        wait = full_at - now - WINDOW_SECONDS
        if wait <= 1e-6:
            return full_at
        if amount > rule.per_minute:
            message = (
                f"This request counts as up to {amount:,} tokens, and this {rule.what} has {rule.per_minute:,} per minute. "
                "Shorten the messages or lower `max_tokens`."
            )
            seconds = int(WINDOW_SECONDS)
        else:
            seconds = max(1, int(-(-wait // 1)))
            message = f"This {rule.what} may use {rule.per_minute:,} {rule.unit} per minute. Try again in {seconds} s."
        left = allowance_headers([(rule, self._full_at_with(rule, 0, now))], now)
        raise RateLimited(message, retry_after_seconds=seconds, headers=left)

    def put(self, rule: Rule, full_at: float) -> None:
        """Takes what `check` has allowed."""
        self._full_at[rule.subject][rule.unit] = full_at
        self._changed.add((rule.subject, rule.unit))

    def correct(self, rule: Rule, amount: int, now: float) -> None:
        """Takes so much more, whether it is covered or not; a negative amount gives some back."""
        self.put(rule, min(self._full_at_with(rule, amount, now), now + _OWED_SECONDS_MAX[rule.unit]))

    def flush(self) -> None:
        if self._changed:
            places = sorted(self._changed)
            rows = [{"subject": each, "unit": unit, "full_at": self._full_at[each][unit]} for each, unit in places]
            insert_or_replace(self._connection, rates, rows)
            self._changed.clear()

    def _full_at_with(self, rule: Rule, amount: int, now: float) -> float:
        """When the allowance is full again with `amount` taken, whether it is covered or not."""
        full_at = self._full_at[rule.subject].get(rule.unit, 0.0)
        if not now < full_at <= now + _OWED_SECONDS_MAX[rule.unit] + _SKEW_SECONDS_MAX:
            full_at = now
        return full_at + amount * WINDOW_SECONDS / rule.per_minute


class Concurrency:
    """How many requests of a key or account are in work: its open holds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._open: dict[str, int] = {}

    def load(self, account_ids: Set[str], key_ids: Set[str]) -> None:
        for count, ids in ((_OPEN_OF_ACCOUNTS, account_ids), (_OPEN_OF_KEYS, key_ids)):
            if subjects := ids - self._open.keys():
                self._open |= dict.fromkeys(subjects, 0)
                for row in count(self._connection, sorted(subjects)).rows:
                    self._open[row.subject] = row.open

    def check(self, subject: str, what: Subject, concurrency_max: int) -> None:
        if self._open.get(subject, 0) >= concurrency_max:
            raise RateLimited(
                f"This {what} may have {concurrency_max} requests in work at a time. Wait for one to end.",
                retry_after_seconds=1,
            )

    def change(self, subject: str | None, by: int) -> None:
        """One more or less is open. Nothing for subjects that were not loaded: they have no limit."""
        if subject in self._open:
            self._open[subject] += by


def _open_by(column: "sa.Column[str] | sa.Column[str | None]") -> PreparedIn:
    return PreparedIn(
        lambda ids: sa.select(column.label("subject"), sa.func.count().label("open")).where(column.in_(ids)).group_by(column)
    )


_RATES = PreparedIn(lambda ids: sa.select(rates).where(rates.c.subject.in_(ids)))
_OPEN_OF_ACCOUNTS = _open_by(holds.c.account_id)
_OPEN_OF_KEYS = _open_by(holds.c.key_id)


def allowance_headers(taken: Iterable[tuple[Rule, float]], now: float) -> dict[str, str]:
    """The usual headers, from each rule and when its allowance is full again. Of two rules for one unit, the tighter one."""
    tightest: dict[Unit, tuple[int, float, int]] = {}
    for rule, full_at in taken:
        reset = full_at - now
        remaining = max(0, int((WINDOW_SECONDS - reset) / WINDOW_SECONDS * rule.per_minute + 1e-6))
        if rule.unit not in tightest or remaining <= tightest[rule.unit][0]:
            tightest[rule.unit] = remaining, reset, rule.per_minute
    headers: dict[str, str] = {}
    for unit, (remaining, reset, per_minute) in tightest.items():
        headers[f"x-ratelimit-limit-{unit}"] = str(per_minute)
        headers[f"x-ratelimit-remaining-{unit}"] = str(remaining)
        headers[f"x-ratelimit-reset-{unit}"] = f"{reset:.3f}s"
    return headers
