"""The JSON contract of errors, stated in one place: every class of the tree must fit it."""

import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from tests.asgi import Reply, call
from tests.installation import app_of, endpoint, installed

from tollway import errors
from tollway.api.errors import error_body, error_event

TYPES = {
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "rate_limit_error",
    "server_error",
}


def _tree(error: type[errors.TollwayError] = errors.TollwayError) -> Iterator[type[errors.TollwayError]]:
    for child in error.__subclasses__():
        yield child
        yield from _tree(child)


def check_problem(reply: Reply, *, status: int, path: str) -> dict[str, Any]:
    """Asserts the whole contract of an error response; returns its `error` object."""
    assert reply.status == status
    assert reply.header("content-type") == "application/problem+json; charset=utf-8"
    assert reply.header("content-length") == str(len(reply.body))
    body = reply.json
    assert list(body) == ["title", "status", "message", "instance", "requestId", "timestamp", "error"]
    assert body["title"] == HTTPStatus(status).phrase
    assert body["status"] == status
    assert body["instance"] == path
    assert re.fullmatch(r"[0-9A-Za-z]{21}", body["requestId"])
    assert reply.header("x-request-id") == body["requestId"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["timestamp"])
    error = body["error"]
    assert [name for name in error if name != "data"] == ["name", "message", "type", "code", "param"]
    assert error["message"] == body["message"] != ""
    assert re.fullmatch(r"[A-Z][A-Za-z]+Exception", error["name"])
    assert error["type"] in TYPES
    assert error["code"] is None or re.fullmatch(r"[a-z_]+", error["code"])
    assert error["param"] is None or isinstance(error["param"], str)
    if status == 401:
        assert (reply.header("www-authenticate") or "").startswith("Bearer")
    if status == 405:
        assert reply.header("allow")
    assert isinstance(error, dict)
    return error


@pytest.mark.parametrize("kind", list(_tree()), ids=lambda kind: kind.__name__)
async def test_every_error_fits_the_contract(tmp_path: Path, kind: type[errors.TollwayError]) -> None:
    data = {"allowed": ["GET"]} if kind is errors.MethodNotAllowed else {"limit": 5}

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        error = kind.__new__(kind)  # some make their message themselves
        errors.TollwayError.__init__(error, 'What was "wrong" ✓', param="messages[0].content", data=data, retry_after_seconds=7)
        raise error

    async with installed(tmp_path) as services:
        reply = await call(app_of(services, [endpoint(fail)]), "GET", "/v1/test?secret=1")
    error = check_problem(reply, status=kind.status, path="/v1/test")
    assert reply.header("retry-after") == "7"
    assert error == {
        "name": kind.name,
        "message": 'What was "wrong" ✓',
        "type": kind.type,
        "code": kind.default_code,
        "param": "messages[0].content",
        "data": data,
    }


async def test_what_an_error_lacks_is_null_or_absent(tmp_path: Path) -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise errors.InvalidRequest("No.")

    async with installed(tmp_path) as services:
        reply = await call(app_of(services, [endpoint(fail)]), "GET", "/v1/test")
    error = check_problem(reply, status=400, path="/v1/test")
    assert error["param"] is None
    assert "data" not in error
    assert reply.header("retry-after") is None


async def test_an_unknown_exception_leaks_nothing_but_is_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("password=hunter2 at /home/somebody")

    async with installed(tmp_path) as services:
        reply = await call(app_of(services, [endpoint(fail)]), "GET", "/v1/test")
    error = check_problem(reply, status=500, path="/v1/test")
    assert error["code"] == "internal_error"
    assert b"hunter2" not in reply.body
    assert b"RuntimeError" not in reply.body
    logged = capsys.readouterr()
    assert "hunter2" in logged.out + logged.err, "the cause must be in the log"
    assert reply.json["requestId"] in logged.out + logged.err


async def test_an_exception_after_the_first_byte_cuts_the_connection(tmp_path: Path) -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("half-way")

    async with installed(tmp_path) as services:
        with pytest.raises(RuntimeError, match="half-way"):
            await call(app_of(services, [endpoint(fail)]), "GET", "/v1/test")


async def test_unknown_paths_and_methods_have_the_same_shape(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        app = app_of(services)
        for path in ("/", "/v1", "/v1/nothing", "/v1/chat/completions/", "/v1/%2e%2e/x%00", "/%F0%9F%94%91/\u007f"):
            check_problem(await call(app, "GET", path), status=404, path=path)
        for method in ("GET", "PUT", "DELETE", "TRACE", "BREW"):
            reply = await call(app, method, "/v1/chat/completions")
            check_problem(reply, status=405, path="/v1/chat/completions")
            assert reply.header("allow") == "POST"
        reply = await call(app, "POST", "/v1/models")
        assert reply.header("allow") == "GET, HEAD"


def test_half_a_surrogate_pair_breaks_no_error() -> None:
    error = errors.InvalidRequest("You sent \ud83d", param="a\udc00", data={"x\ud800": ["\ud800"]})
    body = json.loads(error_body(error, "/v1/test", "id"))
    assert body["error"]["message"] == body["message"] == "You sent ?"
    assert json.loads(error_event(error).removeprefix(b"data: "))["error"]["param"] == "a?"


def test_the_event_of_a_broken_stream_is_one_whole_event() -> None:
    event = error_event(errors.ServiceUnavailable("The engine\nis away."))
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    assert event.count(b"\n") == 2
    body = json.loads(event.removeprefix(b"data: "))
    assert list(body) == ["error"]
    assert body["error"]["code"] == "service_unavailable"


async def test_the_openai_sdk_shows_what_was_wrong(tmp_path: Path) -> None:
    """The SDK replaces the body with its `error` object, and reads code, type and param from it."""
    import httpx2
    from openai import NotFoundError, OpenAI

    def handle(request: httpx2.Request) -> httpx2.Response:
        error = errors.ModelNotFound("The model `x` does not exist.", param="model")
        headers = {"content-type": "application/problem+json; charset=utf-8"}
        return httpx2.Response(404, headers=headers, content=error_body(error, "/v1/models/x", "id"))

    client = OpenAI(api_key="k", base_url="http://test/v1", http_client=httpx2.Client(transport=httpx2.MockTransport(handle)))
    with pytest.raises(NotFoundError) as caught:
        client.models.retrieve("x")
    shown = caught.value
    assert (shown.code, shown.type, shown.param) == ("model_not_found", "invalid_request_error", "model")
    assert "The model `x` does not exist." in str(shown)
