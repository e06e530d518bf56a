"""Identifiers. Opaque to callers, made from the operating system's randomness."""

import os
from functools import lru_cache

from tollway import clock

_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LETTER_OF_BYTE = bytes(_ALPHABET[byte % 62] for byte in range(256))
_UNEVEN = bytes(range(248, 256))


def random_text(length: int) -> str:
    """`length` base62 characters, each worth 5.95 bits.

    One call for all bytes: bytes of 248 and more are dropped so that every character is equally likely.
    """
    text = b""
    while len(text) < length:
        text += os.urandom(length + 8).translate(_LETTER_OF_BYTE, _UNEVEN)
    return text[:length].decode()


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
    return _time_text(int(clock.now() * 100)) + random_text(14)


@lru_cache(maxsize=2)
def _time_text(hundredths: int) -> str:
    return base62(hundredths, 7)


def completion_id() -> str:
    return "chatcmpl-" + random_text(24)


def tool_call_id() -> str:
    return "call_" + random_text(24)
