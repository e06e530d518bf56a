"""The body of a request, read with limits: how large it may be, and how long it may take to come."""

import asyncio
from collections.abc import Callable

from starlette.types import Receive, Scope

from tollway.errors import InvalidRequest, PayloadTooLarge, RequestTimeout
from tollway.server.exchange import BODY

BYTES_PER_SECOND_MIN = 10_000


async def read_body(scope: Scope, receive: Receive, bytes_max: int, seconds: float, *, what: str = "body") -> bytes:
    """The whole body. It has `seconds` to come, and one more for every 10 kB that have come: a large one may take its time.

    Raises PayloadTooLarge as soon as it is known, RequestTimeout, and InvalidRequest for a body that ends early.
    """
    take: Callable[[], bytes | None] | None = scope.get("extensions", {}).get(BODY)
    if take is not None and (body := take()) is not None:
        refuse_above(bytes_max, len(body), what)
        return body
    pieces: list[bytes] = []
    size = 0
    latest = asyncio.get_running_loop().time() + seconds
    try:
        async with asyncio.timeout_at(latest) as limit:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise InvalidRequest(f"The {what} ended early.")
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                refuse_above(bytes_max, size, what)
                if not message.get("more_body", False):
                    return b"".join(pieces)
                limit.reschedule(latest + size / BYTES_PER_SECOND_MIN)
    except TimeoutError:
        raise RequestTimeout(f"The {what} came too slowly: {size:,} bytes so far. Send it again.") from None


def refuse_above(bytes_max: int, size: int, what: str = "body") -> None:
    """Raises PayloadTooLarge."""
    if size > bytes_max:
        raise PayloadTooLarge(f"The {what} is larger than {bytes_max:,} bytes.")
