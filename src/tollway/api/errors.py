"""From an exception to the bytes that say it, in one shape everywhere."""

from http import HTTPStatus
from urllib.parse import quote

import msgspec
from starlette.types import Scope, Send

from tollway import clock
from tollway.errors import InternalError, MethodNotAllowed, TollwayError, Unauthorized
from tollway.wire.errors import PROBLEM_JSON, ErrorDetail, ErrorEvent, Problem

Headers = list[tuple[bytes, bytes]]

_encode = msgspec.json.Encoder().encode
_INSTANCE_LENGTH_MAX = 2000


def as_tollway_error(error: Exception) -> TollwayError:
    """Itself, or a 500 with a fixed text: what an unknown exception says may hold a secret and stays in the log."""
    if isinstance(error, TollwayError):
        return error
    return InternalError("Something went wrong on our side. The request id leads to the cause in the server's log.")


def error_body(error: TollwayError, path: str, request_id: str) -> bytes:
    """The problem+json body. `path` is the request's own, still percent-encoded."""
    return _safely_encoded(
        Problem(
            title=HTTPStatus(error.status).phrase,
            status=error.status,
            message=error.message,
            instance=path,
            requestId=request_id,
            timestamp=clock.iso(clock.now()),
            error=_detail(error),
        )
    )


def error_event(error: TollwayError) -> bytes:
    """The server-sent event that ends a stream which broke: `data: {"error": {...}}` and a blank line."""
    return b"data: " + _safely_encoded(ErrorEvent(_detail(error))) + b"\n\n"


def error_headers(error: TollwayError) -> Headers:
    """Content type, and what the status asks for besides."""
    headers: Headers = [(b"content-type", PROBLEM_JSON.encode()), (b"cache-control", b"no-store")]
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", str(max(1, error.retry_after_seconds)).encode()))
    headers += [(name.encode(), value.encode()) for name, value in error.headers.items()]
    if isinstance(error, Unauthorized):
        headers.append((b"www-authenticate", b'Bearer realm="tollway"'))
    if isinstance(error, MethodNotAllowed) and error.data:
        headers.append((b"allow", ", ".join(error.data["allowed"]).encode()))
    return headers


async def send_error(send: Send, scope: Scope, error: TollwayError, request_id: str) -> None:
    """The whole response. Only before `http.response.start` was sent."""
    body = error_body(error, instance_of(scope), request_id)
    headers = [*error_headers(error), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def instance_of(scope: Scope) -> str:
    """The request's path as it was written: percent-encoded, without the query, which may hold a secret."""
    raw: bytes | None = scope.get("raw_path")
    path = raw.decode("latin-1").partition("?")[0] if raw else quote(scope["path"])
    return path[:_INSTANCE_LENGTH_MAX]


def _detail(error: TollwayError) -> ErrorDetail:
    return ErrorDetail(
        name=error.name,
        message=error.message,
        type=error.type,
        code=error.code,
        param=error.param,
        data=msgspec.UNSET if error.data is None else error.data,
    )


def _safely_encoded(value: Problem | ErrorEvent) -> bytes:
    """JSON of a value that quotes a caller: half of a surrogate pair, which UTF-8 cannot hold, becomes a question mark."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(_without_surrogates(msgspec.to_builtins(value)))


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(item) for name, item in value.items()}
    return [_without_surrogates(item) for item in value] if isinstance(value, list) else value
