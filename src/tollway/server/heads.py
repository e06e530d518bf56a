"""The head of a request: read strictly, since whatever two readers may read in two ways is how requests are smuggled.

Refused, where others guess: line feeds alone, folded lines, blanks before a colon, two lengths, a length beside chunks,
transfer codings other than `chunked`, control characters anywhere.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

CHUNKED: Final = -1
"""The length of a body that comes in chunks."""
_FIELDS_MAX = 128
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_LINE = re.compile(rb"(" + _TOKEN + rb"++) ([!-~]++) HTTP/1\.([01])\r\n")
_FIELD = re.compile(rb"^(" + _TOKEN + rb"++):[\t ]*+([\t -~\x80-\xff]*+)\r\n", re.MULTILINE)
_BEGINNING = re.compile(_TOKEN + rb"++(?: [!-~]*+(?: [!-~]*+\r?)?)?")
_AUTHORITY = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://[^/?]*+")
_LENGTH_DIGITS_MAX = 18

Fields = list[tuple[bytes, bytes]]


class Refused(Exception):
    """What came is no request that is answered. The connection is of no further use: nobody knows where the next one begins."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class Head:
    """What the head of a request says."""

    __slots__ = ("expects", "fields", "is_1_1", "keeps", "length", "method", "path", "query", "raw_path")

    def __init__(self, method: str, target: bytes, fields: Fields, *, is_1_1: bool) -> None:
        self.method = method
        self.is_1_1 = is_1_1
        self.fields = fields
        """Names in lower case, in the order in which they came."""
        raw_path, _, self.query = target.partition(b"?")
        self.raw_path = raw_path
        self.path = raw_path.decode() if b"%" not in raw_path else unquote_to_bytes(raw_path).decode("utf-8", "replace")
        given = dict(fields)
        if len(given) != len(fields):
            _join_doubles(fields, given)
        self.length = _length(given, is_1_1=is_1_1)
        """Of the body in bytes, or CHUNKED."""
        self.keeps = is_1_1
        """Whether another request may follow."""
        if (connection := given.get(b"connection")) is not None:
            words = [word.strip() for word in connection.lower().split(b",")]
            self.keeps = b"close" not in words if is_1_1 else b"keep-alive" in words and b"close" not in words
        self.expects = is_1_1 and b"expect" in given and given[b"expect"].lower() == b"100-continue"
        """Whether the body comes only after a 100 Continue."""


def parse(data: bytes, end: int) -> Head:
    """The head that ends with the empty line at `end`. Raises Refused."""
    line = _LINE.match(data)
    if line is None:
        raise Refused("This is no request of HTTP/1.1: its first line must read `METHOD /path HTTP/1.1`.")
    method, target, minor = line.groups()
    begin, end = line.end(), end + 2
    lines = data.count(b"\n", begin, end)
    if lines > _FIELDS_MAX:
        raise Refused(f"The request has more than {_FIELDS_MAX} headers.", 431)
    # each match is a whole line, so as many matches as line feeds are all of it
    fields = [(name.lower(), value.rstrip()) for name, value in _FIELD.findall(data, begin, end)]
    if len(fields) != lines:
        raise Refused("A header is malformed; each must read `Name: value` on one line that ends in CR LF.")
    if target[0] != 0x2F:  # a slash
        target = _other_form(method, target)
    return Head(method.decode(), target, fields, is_1_1=minor == b"1")


def check_beginning(data: bytes) -> None:
    """Raises Refused when nothing that follows can make a head of it."""
    line = data.partition(b"\r\n")
    if not (_LINE.match(data) if line[1] else _BEGINNING.fullmatch(data)) or b"\n" in data.replace(b"\r\n", b""):
        raise Refused("This is no request of HTTP/1.1: its first line must read `METHOD /path HTTP/1.1`.")


def is_trailer(data: bytes, begin: int, end: int) -> bool:
    """Whether data[begin:end] is nothing but fields."""
    return len(_FIELD.findall(data, begin, end)) == data.count(b"\n", begin, end)


def _other_form(method: bytes, target: bytes) -> bytes:
    """The path and query of a target that begins with no slash (RFC 9112, 3.2)."""
    if (authority := _AUTHORITY.match(target)) is not None:
        rest = target[authority.end() :]
        return rest if rest.startswith(b"/") else b"/" + rest
    if (target == b"*" and method == b"OPTIONS") or method == b"CONNECT":
        return target
    raise Refused("The path of a request begins with a slash.")


def _join_doubles(fields: Fields, given: dict[bytes, bytes]) -> None:
    """Looks at fields that came more than once. Those that say where the body ends may not."""
    for name in (b"content-length", b"transfer-encoding", b"connection"):
        values = [value for each, value in fields if each == name]
        if len(values) > 1:
            if name != b"connection":
                raise Refused(f"The header {name.decode().title()} came {len(values)} times.")
            given[name] = b",".join(values)


def _length(given: dict[bytes, bytes], *, is_1_1: bool) -> int:
    length = given.get(b"content-length")
    coding = given.get(b"transfer-encoding")
    if coding is not None:
        if length is not None or not is_1_1:
            raise Refused("Transfer-Encoding is taken neither beside Content-Length nor in HTTP/1.0.")
        if coding.lower() != b"chunked":
            raise Refused("The only Transfer-Encoding that is taken is `chunked`.")
        return CHUNKED
    if length is None:
        return 0
    if not length.isdigit() or len(length) > _LENGTH_DIGITS_MAX:
        raise Refused("Content-Length must be a number of bytes.")
    return int(length)
