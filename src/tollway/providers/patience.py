"""Time limits on an upstream's stream that count content: heartbeats, empty deltas and single bytes buy it no time."""

import asyncio
from collections.abc import AsyncGenerator

from tollway.catalog import Limits
from tollway.errors import GatewayTimeout
from tollway.wire.chat import ChunkChoice, Usage

Item = ChunkChoice | Usage

TOTAL_TIME_CODE = "total_time_exceeded"


def has_content(item: Item) -> bool:
    """Whether it brings the answer forward: text, thought, refusal, call or end; not an empty delta or a mere role."""
    if isinstance(item, Usage) or item.finish_reason is not None or item.logprobs:
        return True
    delta = item.delta
    return bool(delta.content or delta.reasoning_content or delta.tool_calls or delta.refusal or delta.function_call)


class Patience:
    """Waits for the items of one stream. One timer serves the whole stream; an item costs two looks at the clock.

    Only the time spent waiting for the upstream counts for the first and the next piece of content: a slow reader does not
    make its upstream fail. The total counts everything.
    """

    def __init__(self, limits: Limits, total_at: float | None) -> None:
        """`total_at` in the event loop's time."""
        self._loop = asyncio.get_running_loop()
        self._between = limits.between_tokens_seconds
        self._total_at = total_at
        self._limit, self._what = limits.first_token_seconds, "to begin its answer"
        self._left_at = self._loop.time()
        self._content_due_at = None if self._limit is None else self._left_at + self._limit
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._expired = False

    async def next(self, stream: AsyncGenerator[Item]) -> Item:
        """The next item. Raises StopAsyncIteration at the end, GatewayTimeout when a limit is over, closing the stream."""
        now = self._loop.time()
        if self._content_due_at is not None:
            self._content_due_at += now - self._left_at
        due_at = self._due_at()
        if due_at is None:
            return await anext(stream)
        if now >= due_at:
            raise self._timeout()
        if self._timer is None:
            self._timer = self._loop.call_at(due_at, self._ring)
        task = self._task = asyncio.current_task()
        assert task is not None  # noqa: S101  (a coroutine of ours always runs in a task)
        cancelled_before = task.cancelling()
        try:
            item = await anext(stream)
        except BaseException:
            if self._expired and task.uncancel() <= cancelled_before:
                raise self._timeout() from None
            raise
        finally:
            self._task = None
        if self._expired:  # the stream would not be stopped
            task.uncancel()
            raise self._timeout()
        self._left_at = self._loop.time()
        if has_content(item):
            self._limit, self._what = self._between, "to go on with its answer"
            self._content_due_at = None if self._between is None else self._left_at + self._between
        return item

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due_at(self) -> float | None:
        if self._content_due_at is None:
            return self._total_at
        return self._content_due_at if self._total_at is None else min(self._content_due_at, self._total_at)

    def _ring(self) -> None:
        """Content moves the limit without touching the timer: it may have rung too early."""
        self._timer = None
        due_at = self._due_at()
        if self._task is None or due_at is None:
            return
        if self._loop.time() < due_at:
            self._timer = self._loop.call_at(due_at, self._ring)
            return
        self._expired = True
        self._task.cancel()

    def _timeout(self) -> GatewayTimeout:
        if self._total_at is not None and self._loop.time() >= self._total_at:
            return GatewayTimeout("The answer took longer than its time limit.", code=TOTAL_TIME_CODE)
        return GatewayTimeout(f"The model's upstream took longer than {self._limit:g} seconds {self._what}.")
