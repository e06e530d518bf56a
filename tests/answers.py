"""An answer's stream as tests read it."""

from collections.abc import AsyncGenerator

from tollway.completions import Answer
from tollway.wire.chat import Chunk


async def chunks_of(answer: Answer) -> AsyncGenerator[Chunk]:
    """The events one by one, as `api/chat.py` sends them."""
    while choices := await answer.choices_ready():
        for choice in choices:
            yield answer.chunk(choice)
    for chunk in answer.last_chunks():
        yield chunk
