"""API keys as text, and what is stored of them.

    tw_ + 30 random base62 characters + 6 characters of checksum

179 bits of randomness. The checksum (CRC-32 of what stands before it, in base62) tells a typo from an unknown key without a
query, and lets scanners recognise a leaked key. Stored are the first 12 characters, which stay visible, and the HMAC-SHA256
of the whole key under a secret that is not in the database: a copy of the database alone proves nothing.
"""

import hmac
import os
import re
import secrets
import tempfile
import zlib
from functools import lru_cache
from pathlib import Path

from tollway.ids import base62, random_text

KEY_START = "tw_"
PREFIX_LENGTH = 12
KEY_LENGTH = 39
_RANDOM_LENGTH = 30
_CHECKSUM_LENGTH = 6
_SHAPE = re.compile(rf"{KEY_START}[0-9A-Za-z]{{{_RANDOM_LENGTH + _CHECKSUM_LENGTH}}}")
_SECRET_BYTES = 32


def make_key() -> str:
    body = KEY_START + random_text(_RANDOM_LENGTH)
    return body + _checksum(body)


def looks_like_key(text: str) -> bool:
    """Whether it has the shape of a key; the checksum may still be wrong."""
    return _SHAPE.fullmatch(text) is not None


def checksum_fits(key: str) -> bool:
    return _checksum(key[:-_CHECKSUM_LENGTH]) == key[-_CHECKSUM_LENGTH:]


def prefix_of(key: str) -> str:
    """The part that may be shown."""
    return key[:PREFIX_LENGTH]


def digest_of(key: str, secret: bytes) -> bytes:
    """What is stored of a key: 32 bytes."""
    keyed = _keyed(secret).copy()
    keyed.update(key.encode())
    return keyed.digest()


@lru_cache(maxsize=4)
def _keyed(secret: bytes) -> hmac.HMAC:
    """Begun once: with OpenSSL 3 a new one costs several times as much as a copy."""
    return hmac.new(secret, digestmod="sha256")


def _checksum(body: str) -> str:
    return base62(zlib.crc32(body.encode()), _CHECKSUM_LENGTH)  # 62^6 > 2^32


def secret_path(home: Path) -> Path:
    return home / "secret.key"


def load_secret(home: Path) -> bytes:
    """The server secret, made at the first start.

    Processes that start together get the same one: each writes a file of its own and links it to the name, and only the first
    link succeeds. Losing the file makes every API key unknown. Raises ValueError for a file that is no secret.
    """
    path = secret_path(home)
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, draft = tempfile.mkstemp(dir=home, prefix=".secret.")  # mode 0600
        try:
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_hex(_SECRET_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first
        finally:
            Path(draft).unlink()
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError:
        secret = b""
    if len(secret) != _SECRET_BYTES:
        raise ValueError(
            f"{path} is damaged. Restore it from a backup; if there is none, delete it and run `tollway db adopt-secret`."
        )
    return secret
