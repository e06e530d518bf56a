"""Identifiers. Opaque to callers, made from the operating system's randomness."""

import secrets

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def random_text(length: int) -> str:
    """`length` base62 characters, each worth 5.95 bits.

    One call for all bytes: bytes of 248 and more are dropped so that every character is equally likely.
    """
    text = ""
    while len(text) < length:
        text += "".join(_ALPHABET[byte % 62] for byte in secrets.token_bytes(length + 8) if byte < 248)
    return text[:length]


def request_id() -> str:
    """21 characters, as the platform's own request and inference ids."""
    return random_text(21)


def completion_id() -> str:
    return "chatcmpl-" + random_text(24)


def tool_call_id() -> str:
    return "call_" + random_text(24)
