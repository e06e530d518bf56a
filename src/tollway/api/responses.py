"""Answers in JSON for the caller alone."""

import msgspec
from msgspec import Struct
from starlette.responses import Response

from tollway.api.table import JSON

_encode = msgspec.json.Encoder().encode


def answer(value: Struct, *, status: int = 200) -> Response:
    """An answer that nobody on the way may keep."""
    return Response(_encode(value), status_code=status, media_type=JSON, headers={"cache-control": "no-store"})
