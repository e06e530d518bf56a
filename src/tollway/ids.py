"""Identifiers. Opaque to callers, made from the operating system's randomness."""

import io
import os
from functools import lru_cache

from tollway import clock

_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LETTER_OF_BYTE = bytes(_ALPHABET[byte % 62] for byte in range(256))
_UNEVEN = bytes(range(248, 256))


def random_text(length: int) -> str:
    """`length` base62 characters, each worth 5.95 bits; good for secrets.

    One call for all bytes: bytes of 248 and more are dropped so that every character is equally likely.
    """
    text = b""
    while len(text) < length:
        text += _letters(length + 8)
    return text[:length].decode()


def _letters(count: int) -> bytes:
    """Base62 characters of so many random bytes, of which some are dropped."""
    return os.urandom(count).translate(_LETTER_OF_BYTE, _UNEVEN)


class _Stock:
    """Random characters for ids, fetched by the thousand: each request takes some, and each fetch is a system call.

    Secrets are not made of it: what is in stock is in memory before it is used. A fork begins with an empty one, or two
    processes would give out the same ids.
    """

    def __init__(self) -> None:
        self._characters = io.BytesIO()
        os.register_at_fork(after_in_child=self._empty)

    def take(self, count: int) -> str:
        """Up to a hundred of them. A read moves the place in one step, so that threads never get the same."""
        text = self._characters.read(count)
        while len(text) < count:
            self._characters = io.BytesIO(_letters(_STOCK_BYTES))
            text = self._characters.read(count)
        return text.decode()

    def _empty(self) -> None:
        self._characters = io.BytesIO()


_STOCK_BYTES = 4096
_stock = _Stock()


def base62(number: int, length: int) -> str:
    """A number in so many base62 digits; larger numbers lose their first ones. Texts sort as the numbers do."""
    text = ""
    for _ in range(length):
        number, digit = divmod(number, 62)
        text = chr(_ALPHABET[digit]) + text
    return text


def request_id() -> str:
    """21 characters, as the platform's own request and inference ids: 7 of the time and 14 random ones (83 bits).

    Later ids sort after earlier ones, to the hundredth of a second, so that a database adds them at the end of its indexes.
    """
    return _time_text(int(clock.now() * 100)) + _stock.take(14)


@lru_cache(maxsize=2)
def _time_text(hundredths: int) -> str:
    return base62(hundredths, 7)


def completion_id() -> str:
    return "chatcmpl-" + _stock.take(24)


def tool_call_id() -> str:
    return "call_" + _stock.take(24)
