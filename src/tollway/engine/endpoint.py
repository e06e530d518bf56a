"""What an API worker knows of an engine."""

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from tollway.engine.facts import read_vocabulary


class EngineEndpoint(Struct, frozen=True, kw_only=True):
    """Where one model answers, and what has to be known to ask it well. Good for the life of the server.

    Travels to the workers as JSON. Holds the engine's key: not for logs.
    """

    model: str
    title: str
    developer: str
    url: str
    api_key: str
    image_mark: str
    """Stands in a prompt where an image goes. Drawn at random, so that no text can hold it."""
    slots: int
    queue_max: int
    context_tokens: int
    """What one answer may take, prompt and completion together."""
    pool_tokens: int
    """What all running answers may take together. Where it is less than slots x context_tokens, llama.cpp fails all running
    answers at once when it runs out."""
    special_tokens: list[str]
    end_tokens: list[str]
    end_token_ids: list[int]
    silent_tokens: dict[str, int]
    """See ModelFacts."""
    thinks: bool
    sees: bool
    vocabulary_path: str

    def __repr__(self) -> str:
        return f"EngineEndpoint({self.model!r}, {self.url!r})"  # without the key


def load_vocabulary(endpoint: EngineEndpoint) -> Sequence[bytes]:
    """The bytes of each token by its id. Reads a file: do it once."""
    return read_vocabulary(Path(endpoint.vocabulary_path))
