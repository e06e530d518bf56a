"""An answer that is kept for its Idempotency-Key, to be given again."""

import msgspec
from msgspec import Struct

from tollway.wire.chat import ChunkChoice, Cost, Usage


class Kept(Struct, array_like=True):
    """All that its caller saw of it, and who made it. Written down by position."""

    id: str
    inference_id: str
    created: int
    answered_by: str
    stand_in: bool
    route_label: str
    ignored: list[str]
    choices: list[ChunkChoice]
    usage: Usage
    cost: Cost

    def encoded(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def decoded(cls, data: bytes) -> "Kept":
        return _decode(data)


_decode = msgspec.msgpack.Decoder(Kept).decode
