"""Server-sent events as upstreams send them: bytes in, the events' data out, the same however the bytes are split."""

from tollway.errors import BadGateway

# A chunk of an answer has a few hundred bytes; whole function calls and thought signatures have tens of kilobytes.
EVENT_BYTES_MAX = 8 * 2**20
STRAY_BYTES_MAX = 64 * 2**10

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventReader:
    """Reads one stream. Takes LF, CRLF and CR as line ends, also mixed, and does not wait for the LF after a CR.

    A line that ends in CR is over at once; a LF right after it belongs to it, also when it comes with the next bytes. Event
    names, ids and retry times are not kept: no dialect needs them.
    """

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self.stray = bytearray()
        """The lines that are no server-sent event, as sent (at most 64 KiB): an upstream's error in the midst of a stream can
        be plain JSON."""
        self._event_bytes_max = event_bytes_max
        self._line = bytearray()  # the line that is not over yet
        self._data = bytearray()  # the event that is not over yet: each line of data with a LF
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of each event that these bytes complete, never empty. Raises BadGateway for an event beyond all bounds."""
        if not (self._line or self._data or self._after_cr or b"\r" in chunk):
            if self._at_start and chunk.startswith(b"data: "):
                self._at_start = False
            if not self._at_start:
                return self._feed_plain(chunk)
        return self._feed(chunk)

    def _feed_plain(self, chunk: bytes) -> list[bytes]:
        """A chunk that begins with an event and has no CR, as nearly all do: whole events are split off at once."""
        if chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") and 6 < chunk.find(b"\n") == len(chunk) - 2:
            return [chunk[6:-2]]  # one event, as they come from a model
        *blocks, rest = chunk.split(b"\n\n")
        events: list[bytes] = []
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block and len(block) > 6:
                events.append(block[6:])
            else:
                events += self._feed(block + b"\n\n")
        if rest:
            events += self._feed(rest)
        return events

    def _feed(self, chunk: bytes) -> list[bytes]:
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        lines = chunk.splitlines()  # of bytes: at LF, CRLF and CR only
        if not lines:
            return []
        if chunk.endswith((b"\n", b"\r")):
            self._after_cr = chunk.endswith(b"\r")
            rest = b""
        else:
            rest = lines.pop()
        events: list[bytes] = []
        for line in lines:
            if self._line:
                self._line += line
                line = bytes(self._line)  # noqa: PLW2901
                self._line.clear()
            self._read(line, events)
        self._line += rest
        self._check_size()
        return events

    def finish(self) -> list[bytes]:
        """The stream has ended: the data of an event whose closing blank line never came, if there is one.

        The standard would drop it. Some upstreams leave the last line end out, and what was cut off is no whole JSON anyway.
        """
        return self.feed(b"\n\n" if not self._after_cr else b"\n\n\n")

    def _read(self, line: bytes, events: list[bytes]) -> None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            if len(self._data) > 1:
                events.append(bytes(self._data[:-1]))
            self._data.clear()
            return
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data += value.removeprefix(b" ")
            self._data += b"\n"
            self._check_size()
        elif field not in (b"", b"event", b"id", b"retry") and len(self.stray) + len(line) < STRAY_BYTES_MAX:
            self.stray += line
            self.stray += b"\n"

    def _check_size(self) -> None:
        if len(self._line) + len(self._data) > self._event_bytes_max:
            raise BadGateway("The upstream sent an event that is too large to be part of an answer.")
