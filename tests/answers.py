"""An answer's stream as tests read it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from tollway.completions import Answer
from tollway.wire.chat import Chunk


async def chunks_of(answer: Answer) -> AsyncGenerator[Chunk]:
    """The events one by one; as `chunks_ready` else."""
    async with aclosing(answer.chunks_ready()) as ready:
        async for chunks in ready:
            for chunk in chunks:
                yield chunk
