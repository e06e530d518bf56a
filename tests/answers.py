"""An answer's stream as tests read it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from tollway.completions import Answer
from tollway.wire.chat import Chunk


async def chunks_of(answer: Answer) -> AsyncGenerator[Chunk]:
    """The events one by one, as `api/chat.py` sends them."""
    async with aclosing(answer.choices_ready()) as ready:
        async for choices in ready:
            for choice in choices:
                yield answer.chunk(choice)
    for chunk in answer.last_chunks():
        yield chunk
