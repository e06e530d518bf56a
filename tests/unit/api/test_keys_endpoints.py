"""The key endpoints, in the platform's shapes."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import structlog
from starlette.types import ASGIApp
from tests.asgi import Reply, call
from tests.desks import record, recorded
from tests.installation import app_of, installed

from tollway import clock
from tollway.accounts import Account, Caller
from tollway.api import openapi
from tollway.api.endpoints import ENDPOINTS
from tollway.api.services import Services
from tollway.errors import Unauthorized

DOCUMENT = openapi.document(ENDPOINTS)
PLATFORM = {"name", "disabled", "prefix", "scopes", "limit", "created_at", "updated_at", "monthly_usage"}
OURS = {
    "kind",
    "models",
    "expires_at",
    "last_used_at",
    "requests_per_minute",
    "tokens_per_minute",
    "concurrency_max",
    "previous",
}
NAUGHTY = [
    "Robert'); DROP TABLE api_keys;--",
    '" OR ""="',
    "%s %(x)s :name ? $1 {0} {{7*7}}",
    "<script>alert(1)</script>",
    "ключ 🔑 ﷽",
    "../../etc/passwd",
    "null",
    "\u200fgnp.exe",
]


@dataclass
class Api:
    """The HTTP side, and a management key for it."""

    services: Services
    app: ASGIApp
    account: Account
    key: str

    async def request(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Reply:
        headers = {"Authorization": f"Bearer {key or self.key}"}
        return await call(self.app, method, path, headers=headers, json_body=body)

    async def made(self, **body: Any) -> dict[str, Any]:
        reply = await self.request("POST", "/v1/keys", body)
        assert reply.status == 201, reply.body
        data: dict[str, Any] = reply.json["data"]
        return data

    async def caller(self, secret: str) -> Caller:
        return await self.services.accounts.authenticate(f"Bearer {secret}")


@asynccontextmanager
async def api(home: Path, **changes: Any) -> AsyncIterator[Api]:
    async with installed(home, **changes) as services:
        account = await services.accounts.create_account("acme")
        new = await services.accounts.create_key(account.id, "boss", kind="management")
        yield Api(services, app_of(services), account, new.secret)


def _check(reply: Reply, schema: str) -> Any:
    """The answer's `data`; it must be as the document says, and is for nobody else."""
    assert reply.status in {200, 201}, reply.body
    assert reply.header("cache-control") == "no-store"
    jsonschema.validate(reply.json, {"$ref": f"#/components/schemas/{schema}", "components": DOCUMENT["components"]})
    return reply.json["data"]


async def test_a_key_from_its_creation_to_its_end(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        created = await it.request(
            "POST",
            "/v1/keys",
            {"name": "ci", "limit": {"retention": "week", "threshold": 0.0000005}, "scopes": ["model:chat"], "models": ["m"]},
        )
        data = _check(created, "NewKeyAnswer")
        assert set(data) == PLATFORM | OURS | {"key"}
        assert (data["name"], data["disabled"], data["scopes"], data["models"]) == ("ci", False, ["model:chat"], ["m"])
        assert data["limit"] == {"retention": "week", "threshold": 0.0000005}
        assert (data["monthly_usage"], data["expires_at"], data["previous"]) == (0, None, None)
        secret, prefix = data.pop("key"), data["prefix"]
        caller = await it.caller(secret)
        assert (caller.account_id, caller.spend_limit_credits, caller.spend_window) == (it.account.id, 1, "week")
        await it.services.accounts.close()

        other = await it.made()
        listed = _check(await it.request("GET", "/v1/keys"), "KeyList")
        assert [item["prefix"] for item in listed] == [prefix, other["prefix"]], "oldest first, no management keys"
        assert secret[12:] not in json.dumps(listed)

        patched = await it.request("PATCH", f"/v1/keys/{prefix}", {"disabled": True, "limit": None, "name": "ci 2"})
        data = _check(patched, "KeyAnswer")
        assert (data["disabled"], data["limit"], data["name"], data["scopes"]) == (True, None, "ci 2", ["model:chat"])
        with pytest.raises(Unauthorized, match="disabled"):
            await it.caller(secret)
        _check(await it.request("PATCH", f"/v1/keys/{prefix}", {"disabled": False}), "KeyAnswer")

        own = _check(await it.request("GET", "/v1/key", key=secret), "KeyAnswer")
        assert (own["prefix"], own["kind"]) == (prefix, "api")

        deleted = await it.request("DELETE", f"/v1/keys/{prefix}")
        assert (deleted.status, deleted.json) == (200, {"data": {"prefix": prefix, "deleted": True}})
        with pytest.raises(Unauthorized, match="deleted"):
            await it.caller(secret)
        for method, path in (("DELETE", ""), ("PATCH", ""), ("POST", "/rotate")):
            gone = await it.request(method, f"/v1/keys/{prefix}{path}", {})
            assert (gone.status, gone.json["error"]["code"]) == (404, "not_found")


async def test_rotation_over_http(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        old = await it.made(name="ci")
        reply = await it.request("POST", f"/v1/keys/{old['prefix']}/rotate", {"overlap_seconds": 60})
        new = _check(reply, "NewKeyAnswer")
        assert new["previous"]["prefix"] == old["prefix"]
        assert new["previous"]["expires_at"] > new["created_at"]
        for secret in (old["key"], new["key"]):
            assert _check(await it.request("GET", "/v1/key", key=secret), "KeyAnswer")["prefix"] == new["prefix"]
        last = _check(await it.request("POST", f"/v1/keys/{new['prefix']}/rotate", {"overlap_seconds": 0}), "NewKeyAnswer")
        for secret in (old["key"], new["key"]):
            assert (await it.request("GET", "/v1/key", key=secret)).status == 401
        assert (await it.request("GET", "/v1/key", key=last["key"])).status == 200


async def test_the_months_usage_comes_from_the_ledger(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        first, _ = await it.made(), await it.made()
        key = await it.services.accounts.find_key(first["prefix"])
        last_month = clock.now() - 32 * 86_400
        past = recorded(it.account.id, key.id, credits=1_000_000, created_at=last_month)
        await record(it.services.database, past, *(recorded(it.account.id, key.id, credits=spent) for spent in (480, 2_000)))
        listed = (await it.request("GET", "/v1/keys")).json["data"]
        assert [item["monthly_usage"] for item in listed] == [0.00124, 0]


async def test_a_management_key_describes_itself_and_is_out_of_its_own_reach(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        own = _check(await it.request("GET", "/v1/key"), "KeyAnswer")
        assert (own["kind"], own["name"]) == ("management", "boss")
        assert (await it.request("DELETE", f"/v1/keys/{own['prefix']}")).status == 404
        assert (await it.request("GET", "/v1/keys")).json == {"data": []}


PAST = [{"expires_at": "2020-01-01T00:00:00Z"}, {"expires_at": "1970-01-01T00:00:00Z"}]
BAD: list[tuple[dict[str, Any] | list[Any] | str, str | None]] = [
    ({"name": ""}, "name"),
    ({"name": "   "}, "name"),
    ({"name": "x" * 101}, "name"),
    ({"name": "x" * 90_000}, "name"),
    ({"name": "a\u0000b"}, "name"),
    ({"name": "a\u001b[2J"}, "name"),
    ({"name": 5}, "name"),
    ({"names": "a"}, "names"),
    ({"kind": "management"}, "kind"),
    ({"account_id": "acc_other"}, "account_id"),
    ({"limit": 5}, "limit"),
    ({"limit": {}}, "limit.retention"),
    ({"limit": {"retention": "day"}}, "limit.threshold"),
    ({"limit": {"retention": "year", "threshold": 1}}, "limit.retention"),
    ({"limit": {"retention": "day", "threshold": -1}}, "limit.threshold"),
    ({"limit": {"retention": "day", "threshold": 0.0000001}}, "limit.threshold"),
    ({"limit": {"retention": "day", "threshold": 1e10}}, "limit.threshold"),
    ({"limit": {"retention": "day", "threshold": 10**60}}, "limit.threshold"),
    ({"limit": {"retention": "day", "threshold": "5"}}, "limit.threshold"),
    ({"limit": {"retention": "day", "threshold": None}}, "limit.threshold"),
    ({"limit": {"retention": "day", "threshold": [1]}}, "limit.threshold"),
    ({"limit": {"retention": "day", "threshold": 1, "currency": "EUR"}}, "limit.currency"),
    ({"scopes": []}, "scopes"),
    ({"scopes": ["model:chat", "root"]}, "scopes[1]"),
    ({"scopes": "model:chat"}, "scopes"),
    ({"models": []}, "models"),
    ({"models": ["a" * 201]}, "models[0]"),
    ({"models": ["a\nb"]}, "models[0]"),
    ({"models": ["m"] * 101}, "models"),
    *((past, "expires_at") for past in PAST),
    ({"expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
    ({"expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"),
    ({"expires_at": "2030-01-01T00:00:00"}, "expires_at"),
    ({"expires_at": 4_000_000_000}, "expires_at"),
    ({"requests_per_minute": 0}, "requests_per_minute"),
    ({"tokens_per_minute": -1}, "tokens_per_minute"),
    ({"tokens_per_minute": 2**70}, "tokens_per_minute"),
    ({"concurrency_max": 1.5}, "concurrency_max"),
    ([], None),
    ("", None),
]


@pytest.mark.parametrize(("body", "param"), BAD, ids=[f"{number}-{param}" for number, (_, param) in enumerate(BAD)])
async def test_bodies_that_cannot_be_name_the_field(tmp_path: Path, body: Any, param: str | None) -> None:
    async with api(tmp_path) as it:
        reply = await it.request("POST", "/v1/keys", body)
        assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body
        key = await it.made(name="kept")
        if body not in PAST:  # a key may be made to expire now
            reply = await it.request("PATCH", f"/v1/keys/{key['prefix']}", body)
            assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body
        key.pop("key")
        assert (await it.request("GET", "/v1/keys")).json["data"] == [key], "nothing has changed"


@pytest.mark.parametrize("raw", [b"", b"{", b'{"name": "\\ud800"}', b"\xff", b"[" * 100_000, b'{"limit": ' * 50_000])
async def test_bytes_that_are_no_json_are_refused(tmp_path: Path, raw: bytes) -> None:
    async with api(tmp_path) as it:
        headers = {"Authorization": f"Bearer {it.key}", "Content-Type": "application/json"}
        for method, path in (("POST", "/v1/keys"), ("PATCH", "/v1/keys/tw_000000000"), ("POST", "/v1/keys/x/rotate")):
            reply = await call(it.app, method, path, headers=headers, body=raw)
            assert reply.status in {400, 413}, reply.body


@pytest.mark.parametrize("text", NAUGHTY)
async def test_naughty_text_is_only_text(tmp_path: Path, text: str) -> None:
    async with api(tmp_path) as it:
        made = await it.made(name=text, models=[text])
        assert (made["name"], made["models"]) == (text, [text])
        (listed,) = (await it.request("GET", "/v1/keys")).json["data"]
        assert (listed["name"], listed["models"]) == (text, [text])
        reply = await it.request("POST", "/v1/keys", {"name": text})
        assert (reply.status, reply.json["error"]["param"]) == (400, "name")


@pytest.mark.parametrize(
    "text", ["'", "%00", "%", "..%2F..", "%ED%A0%80", "%0A", "x" * 5000, "tw_" + "0" * 9, "%22%20OR%201=1"]
)
@pytest.mark.parametrize(("method", "tail"), [("PATCH", ""), ("DELETE", ""), ("POST", "/rotate")])
async def test_prefixes_that_nothing_has_are_not_found(tmp_path: Path, text: str, method: str, tail: str) -> None:
    async with api(tmp_path) as it:
        await it.made()
        reply = await it.request(method, f"/v1/keys/{text}{tail}", {})
        assert (reply.status, reply.json["error"]["code"]) == (404, "not_found")
        assert len((await it.request("GET", "/v1/keys")).json["data"]) == 1


async def test_a_path_with_half_a_character_is_not_found(tmp_path: Path) -> None:
    """Some servers decode paths so that what is no UTF-8 becomes lone surrogates."""
    async with api(tmp_path) as it:

        async def mangled(scope: Any, receive: Any, send: Any) -> None:
            await it.app(scope | {"path": "/v1/keys/\udcff\x00"}, receive, send)

        reply = await call(mangled, "DELETE", "/v1/keys/x", headers={"Authorization": f"Bearer {it.key}"})
        assert reply.status == 404


async def test_an_account_has_so_many_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tollway.accounts import service

    async with api(tmp_path) as it:
        monkeypatch.setattr(service, "KEYS_MAX", 3)
        made = [await it.made() for _ in range(2)]
        reply = await it.request("POST", "/v1/keys", {})
        assert (reply.status, "3 keys" in reply.json["message"]) == (400, True)
        await it.request("DELETE", f"/v1/keys/{made[0]['prefix']}")
        await it.made()


async def test_no_secret_is_in_the_log(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        with structlog.testing.capture_logs() as logs:
            made = await it.made(name="ci")
            rotated = (await it.request("POST", f"/v1/keys/{made['prefix']}/rotate", {})).json["data"]
            await it.request("POST", "/v1/keys", {"name": made["key"], "limit": rotated["key"]})
        assert len(logs) >= 3
        for secret in (made["key"], rotated["key"], it.key):
            assert secret[12:] not in repr(logs)


async def test_expiry_is_told_in_utc(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        made = await it.made(expires_at="2100-01-01T02:00:00.5+02:00")
        assert made["expires_at"] == "2100-01-01T00:00:00.500Z"
        now = clock.iso(clock.now() - 1)
        assert (await it.request("PATCH", f"/v1/keys/{made['prefix']}", {"expires_at": now})).status == 200
        assert (await it.request("GET", "/v1/key", key=made["key"])).status == 401
