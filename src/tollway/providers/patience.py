"""Time limits on an upstream's stream that count content: heartbeats, empty deltas and single bytes buy it no time."""

import asyncio
import math
from typing import Any, Self

from tollway.catalog import Limits
from tollway.errors import GatewayTimeout
from tollway.providers.base import Item, Meter
from tollway.wire.chat import Usage

TOTAL_TIME_CODE = "total_time_exceeded"
SLOW_READER_CODE = "read_too_slowly"
"""The total ran out while the reader was waited for, or for the most part for that: what was made is charged."""
LOOK_SECONDS, SHORTEST_SECONDS = 0.5, 0.01


def has_content(item: Item) -> bool:
    """Whether it brings the answer forward: text, thought, refusal, call or end; not an empty delta or a mere role."""
    if isinstance(item, Usage) or item.finish_reason is not None or item.logprobs or item.delta.content:
        return True
    delta = item.delta
    return bool(delta.reasoning_content or delta.tool_calls or delta.refusal or delta.function_call)


class Patience:
    """A context around the reading of one stream, by one task; leaving it late is a GatewayTimeout.

    Only the time spent waiting for the upstream counts for the first and the next piece of content: a slow reader does not
    make its upstream fail. The total counts and ends everything. A timer looks twice a second, so that items cost no look at
    the clock.
    """

    def __init__(self, limits: Limits, total_at: float | None, meter: Meter) -> None:
        """`total_at` in the event loop's time."""
        self._meter, self._rounds = meter, meter.rounds
        self._is_waiting = True  # for the upstream, not for the reader
        self._room: asyncio.Future[Any] | None = None
        self._fresh = False
        self._between = limits.between_tokens_seconds
        self._first = self._limit = limits.first_token_seconds
        self._what = "to begin its answer"
        self._total_at = total_at
        self._loop = asyncio.get_running_loop()
        self._began_at = self._looked_at = self._heard_at = self._loop.time()
        self._reader_seconds = 0.0  # that the reader was waited for, by what was found at each look
        self._timer: asyncio.TimerHandle | None = None
        self._expired = False
        self._is_readers_fault = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (a coroutine of ours always runs in a task)
        self._task, self._cancelled_before = task, task.cancelling()
        if not (self._limit is None and self._between is None and self._total_at is None):
            self._timer = self._loop.call_at(min(self._heard_at + LOOK_SECONDS, self._limit_at()), self._look)
        return self

    def heard(self, item: Item) -> None:
        """Something has come; whether it counts is looked at once between two looks at the clock."""
        self._fresh = self._fresh or has_content(item)

    def rest_until(self, room: "asyncio.Future[Any]") -> None:
        """The reader is waited for, not the upstream."""
        self._is_waiting, self._room = False, room
        room.add_done_callback(self._go_on)

    def end(self) -> None:
        """The answer is whole: whatever its stream still does takes nothing from it."""
        if self._timer is not None:
            self._timer.cancel()

    def _go_on(self, room: object) -> None:
        if room is self._room:  # the reader may be waited for again by the time that this is called
            self._is_waiting = True

    def _look(self) -> None:
        now = self._loop.time()
        if not self._is_waiting:
            self._reader_seconds += now - self._looked_at
        self._looked_at = now
        if self._rounds != self._meter.rounds:
            self._rounds, self._fresh = self._meter.rounds, True
            self._limit, self._what = self._first, "to begin its answer"
        elif self._fresh:
            self._limit, self._what = self._between, "to go on with its answer"
        if self._fresh or not self._is_waiting:
            self._heard_at, self._fresh = now, False
        limit_at = self._limit_at()
        if now >= limit_at and (self._is_waiting or self._total_is_up(now)):
            self._expired = True
            # Else who reads up in the last moment what he has kept waiting for minutes would have it for nothing.
            has_dawdled = self._total_is_up(now) and 2 * self._reader_seconds > now - self._began_at
            self._is_readers_fault = not self._is_waiting or has_dawdled
            self._task.cancel()
        else:
            self._timer = self._loop.call_at(min(now + LOOK_SECONDS, max(limit_at, now + SHORTEST_SECONDS)), self._look)

    def _limit_at(self) -> float:
        """When time is up, unless something comes."""
        total_at = math.inf if self._total_at is None else self._total_at
        return total_at if self._limit is None else min(total_at, self._heard_at + self._limit)

    def __exit__(self, *_: object) -> None:
        self.end()
        # As asyncio's own timeouts do: a cancellation by anybody else goes before ours.
        if self._expired and self._task.uncancel() <= self._cancelled_before:
            raise self._timeout() from None

    def _total_is_up(self, now: float) -> bool:
        return self._total_at is not None and now >= self._total_at

    def _timeout(self) -> GatewayTimeout:
        if self._is_readers_fault:
            message = "The answer took longer than its time limit because it was read too slowly. What was made is charged."
            return GatewayTimeout(message, code=SLOW_READER_CODE)
        if self._total_is_up(self._loop.time()):
            return GatewayTimeout("The answer took longer than its time limit.", code=TOTAL_TIME_CODE)
        return GatewayTimeout(f"The model's upstream took longer than {self._limit:g} seconds {self._what}.")
