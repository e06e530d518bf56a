"""What many write in one round of the event loop, written together after it."""

import asyncio

FEW = 5
"""Where the last round had so many writes at the most, each is done at once: the far end then works while the next one is made
ready."""


class Outbox:
    """A write wakes whoever waits for it. Between the steps of many exchanges that happens again and again, each time to be put
    to sleep once more; written one after the other, most of them find the far end awake (ADR 15).
    """

    def __init__(self) -> None:
        self._due: list[tuple[asyncio.WriteTransport, bytes]] = []
        self._written = self._together = 0  # in this round; in the last one that had any
        self._is_counting = False

    def write(self, transport: asyncio.WriteTransport, data: bytes) -> None:
        """Now, or after this round. What is done to the transport meanwhile but by callbacks and tasks to come, such as closing
        it, needs a `flush` first.
        """
        if not self._is_counting:
            self._is_counting = True
            asyncio.get_running_loop().call_soon(self._end_round)
        self._written += 1
        if self._together > FEW:
            self._due.append((transport, data))
        else:
            transport.write(data)

    def flush(self) -> None:
        """Writes what waits. Nothing to those whose far end has left."""
        due, self._due = self._due, []
        for transport, data in due:
            if not transport.is_closing():
                transport.write(data)

    def _end_round(self) -> None:
        self.flush()
        self._together, self._written = self._written, 0
        self._is_counting = False
