"""A body that comes in chunks (RFC 9112, 7.1), read strictly. Extensions and trailers are passed over."""

import re

from tollway.server.heads import Refused, is_trailer

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t -~\x80-\xff]*+)?")
_LINE_BYTES_MAX = 256
_TRAILER_BYTES_MAX = 8192


class Chunks:
    """Feed it what comes; `rest` is what belongs to the next request, once the body is whole."""

    __slots__ = ("_held", "_in_trailer", "_left", "rest")

    def __init__(self) -> None:
        self._held = b""
        self._left = 0  # of the chunk with the line end behind it; 0 = a size follows
        self._in_trailer = False
        self.rest: bytes | None = None

    def feed(self, data: bytes) -> bytes:
        """The part of the body in it. Raises Refused."""
        if self._held:
            data, self._held = self._held + data, b""
        pieces: list[bytes] = []
        at = 0
        while self.rest is None:
            if self._in_trailer:
                after = self._trailer(data, at)
            elif self._left:
                after = self._chunk(data, at, pieces)
            else:
                after = self._size(data, at)
            if after < 0:
                self._held = data[at:]
                break
            at = after
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _size(self, data: bytes, at: int) -> int:
        end = data.find(b"\r\n", at, at + _LINE_BYTES_MAX)
        if end < 0:
            if len(data) - at >= _LINE_BYTES_MAX or b"\n" in data[at:]:
                raise Refused("The size of a chunk is malformed.")
            return -1
        size = _SIZE.fullmatch(data, at, end)
        if size is None:
            raise Refused("The size of a chunk is malformed.")
        length = int(size[1], 16)
        if length:
            self._left = length + 2
        else:
            self._in_trailer = True
        return end + 2

    def _chunk(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        there = len(data) - at
        wanted = self._left - 2
        if there < self._left:
            take = min(there, wanted)
            if take <= 0:
                if data[at:] not in {b"", b"\r"}:
                    raise Refused("A chunk is longer than it says.")
                return -1
            pieces.append(data[at : at + take])
            self._left -= take
            return at + take
        end = at + wanted
        if data[end : end + 2] != b"\r\n":
            raise Refused("A chunk is longer than it says.")
        if wanted:
            pieces.append(data[at:end])
        self._left = 0
        return end + 2

    def _trailer(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            end = at
        else:
            end = data.find(b"\r\n\r\n", at, at + _TRAILER_BYTES_MAX) + 2
            if end < 2:
                if len(data) - at >= _TRAILER_BYTES_MAX:
                    raise Refused("The trailer is too long.", 431)
                return -1
            if not is_trailer(data, at, end):
                raise Refused("The trailer is malformed.")
        self.rest = data[end + 2 :]
        return end + 2
