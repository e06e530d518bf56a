"""Several choices that are made at the same time, as one stream."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from tollway.wire.chat import ChunkChoice

_WAITING_MAX = 64


async def merged(streams: Sequence[AsyncGenerator[ChunkChoice]]) -> AsyncGenerator[tuple[int, ChunkChoice | None]]:
    """(place of the stream, its chunk) as they come; None at a stream's end. The first failure is raised and ends all."""
    queue: asyncio.Queue[tuple[int, ChunkChoice | Exception | None]] = asyncio.Queue(_WAITING_MAX)

    async def pump(place: int) -> None:
        last: Exception | None = None
        try:
            async with aclosing(streams[place]) as chunks:
                async for chunk in chunks:
                    await queue.put((place, chunk))
        except Exception as error:  # noqa: BLE001  (raised by the reader)
            last = error
        await queue.put((place, last))

    tasks = [asyncio.create_task(pump(place)) for place in range(len(streams))]
    running = len(tasks)
    try:
        while running:
            place, item = await queue.get()
            if isinstance(item, Exception):
                raise item
            running -= item is None
            yield place, item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
