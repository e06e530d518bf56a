"""When to leave a failing upstream alone, and when to ask it again."""

import random

PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 5.0, 60.0
CLOSED, HALF_OPEN, OPEN = 0, 1, 2


class Breaker:
    """Counts failures in a row. Enough of them open it: nobody asks, for a pause that doubles from 5 s to 60 s.

    After the pause it is half open: one call at a time is let through as a probe. The first piece of content closes it, a
    failure opens it again. Pauses vary by a fifth, so that worker processes do not all probe at once. Times are monotonic
    seconds.
    """

    def __init__(self, failures_max: int) -> None:
        self.failures_max = failures_max
        """0 = it never opens."""
        self._failures = 0
        self._open_until: float | None = None
        self._pause = PAUSE_SECONDS_MIN
        self._probing = False

    def state(self, now: float) -> int:
        if self._open_until is None:
            return CLOSED
        return OPEN if now < self._open_until else HALF_OPEN

    def admits(self, now: float) -> bool:
        """Whether a call may be made."""
        return self._open_until is None or (now >= self._open_until and not self._probing)

    def pause_left(self, now: float) -> float:
        """Seconds until it is worth asking again; 0 unless it is open."""
        return max(0.0, (self._open_until or now) - now)

    def enter(self) -> bool:
        """A call begins, which it admits. True: it is the probe, and must end with `answering`, `failed` or `abandoned`."""
        self._probing = self._open_until is not None
        return self._probing

    def answering(self, *, probe: bool) -> None:
        """The first content is there."""
        if probe:
            self._open_until, self._pause, self._failures, self._probing = None, PAUSE_SECONDS_MIN, 0, False

    def succeeded(self) -> None:
        """An answer came to its end."""
        self._failures = 0

    def mended(self) -> None:
        """What made it fail may be mended: it may be probed at once."""
        if self._open_until is not None:
            self._open_until = 0.0

    def abandoned(self, *, probe: bool) -> None:
        """A call ended without a verdict on the upstream: the caller left, or the upstream only asked for patience."""
        if probe:
            self._probing = False

    def failed(self, now: float, *, probe: bool) -> None:
        self._failures += 1
        if probe and self._probing:
            self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)
        elif self._open_until is not None or not self.failures_max or self._failures < self.failures_max:
            return
        self._probing = False
        self._open_until = now + self._pause * random.uniform(0.8, 1.2)  # noqa: S311
