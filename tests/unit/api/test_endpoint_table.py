"""The table of endpoints is the whole of what is served, and decides who may use it."""

import re
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send
from tests.asgi import call
from tests.installation import app_of, endpoint, installed, new_key

from tollway.api.context import context_of
from tollway.api.endpoints import ENDPOINTS
from tollway.api.table import Auth, Endpoint

# What may be called without a key. An endpoint that is not listed here must refuse; add to this only on purpose.
PUBLIC = {
    "listModels",
    "listModelDeprecations",
    "retrieveModel",
    "showModel",
    "healthz",
    "readyz",
    "metrics",
    "openapi",
}


def test_every_endpoint_that_is_not_listed_as_public_needs_a_key() -> None:
    assert {row.operation for row in ENDPOINTS if row.auth is Auth.NONE} == PUBLIC


def test_a_row_without_a_decision_about_keys_is_no_row() -> None:
    with pytest.raises(TypeError, match="auth"):
        Endpoint(operation="x", method="GET", paths=("/x",), handler=None, tag=None, summary="", answers=())  # type: ignore[call-arg,arg-type]


def test_no_two_rows_claim_the_same() -> None:
    claims = [(row.method, path) for row in ENDPOINTS for path in row.paths]
    assert len(claims) == len(set(claims))
    operations = [row.operation for row in ENDPOINTS]
    assert len(operations) == len(set(operations))


@pytest.mark.parametrize("row", [row for row in ENDPOINTS if row.auth is not Auth.NONE], ids=lambda row: row.operation)
@pytest.mark.parametrize("header", [None, "", "Bearer tw_" + "a" * 36, "Basic eDp5", "Bearer null"])
async def test_no_key_no_entry(tmp_path: Path, row: Endpoint, header: str | None) -> None:
    async with installed(tmp_path) as services:
        app = app_of(services)
        for path in row.paths:
            target = re.sub(r"{\w+(:path)?}", "x", path)
            headers = {} if header is None else {"Authorization": header}
            headers |= {"Cookie": "session=1", "X-Api-Key": await new_key(services)}
            reply = await call(app, row.method, target, headers=headers, json_body={})
            assert reply.status == 401
            assert reply.json["error"]["code"] == "invalid_api_key"


async def test_two_authorization_headers_are_refused(tmp_path: Path) -> None:
    async def ok(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("reached")

    async with installed(tmp_path) as services:
        key = await new_key(services)
        app = app_of(services, [endpoint(ok, auth=Auth.KEY)])

        async def doubled(scope: Scope, receive: Receive, send: Send) -> None:
            scope["headers"] = [(b"authorization", f"Bearer {key}".encode())] * 2
            await app(scope, receive, send)

        assert (await call(doubled, "GET", "/v1/test")).status == 401


async def test_an_endpoint_sees_its_caller_only_behind_a_key(tmp_path: Path) -> None:
    async def who(scope: Scope, receive: Receive, send: Send) -> None:
        name = context_of(scope).caller.account_name
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": name.encode()})

    async with installed(tmp_path) as services:
        app = app_of(services, [endpoint(who, "/closed", auth=Auth.KEY), endpoint(who, "/open")])
        headers = {"Authorization": f"Bearer {await new_key(services)}"}
        assert (await call(app, "GET", "/closed", headers=headers)).body == b"owner"
        assert (await call(app, "GET", "/open", headers=headers)).status == 500
