"""An answer's stream as tests read it."""

from collections.abc import AsyncGenerator

from tollway.completions import Answer
from tollway.wire.chat import Chunk, ChunkChoice


async def chunks_of(answer: Answer) -> AsyncGenerator[Chunk]:
    """The events one by one, as `api/chat.py` sends them."""
    async for choices in handed_out(answer):
        for choice in choices:
            yield answer.chunk(choice)
    last = answer.last_chunks()
    await answer.durable()
    for chunk in last:
        yield chunk


async def handed_out(answer: Answer) -> AsyncGenerator[list[ChunkChoice]]:
    """What is handed out together, to a reader who takes it at once and then has no room until it is asked for the next."""
    given: list[list[ChunkChoice]] = []

    def write(choices: list[ChunkChoice]) -> bool:
        given.append(choices)
        return False

    while not await answer.hand_out(write):
        yield given.pop()
