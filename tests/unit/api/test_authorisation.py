"""Who may call what: every endpoint, with every kind of key, a cookie or nothing. An endpoint without an expectation fails."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp
from tests.asgi import call
from tests.desks import record, recorded
from tests.installation import app_of, installed
from tests.visitor import PASSWORD

from tollway import clock
from tollway.accounts import Account, KeyChanges, KeyKind
from tollway.admission import OpenDesk
from tollway.api.endpoints import ENDPOINTS
from tollway.api.services import Services
from tollway.api.table import Auth, Endpoint
from tollway.catalog import Route
from tollway.completions import Completions
from tollway.providers.base import Item, Meter, Take, hand_on
from tollway.providers.routing import Router
from tollway.wire.chat import ChatRequest, ChunkChoice, Delta, Usage

MODEL = "local/smollm2-135m-instruct"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}

REQUEST = "V1StGXR8Z5jdHi6BmyT8k"

GOOD_ROLES = ("api", "management", "other management", "other scope", "other model")
BAD_ROLES = ("nobody", "disabled", "expired", "deleted", "replaced", "disabled management", "expired management")
COOKIES = ("owner's page", "member's page", "other site", "forged cookie")
"""A session's cookie instead of a key: sent by a page of ours with its token, by another site, or made up."""

PUBLIC: dict[str, int] = dict.fromkeys(GOOD_ROLES + BAD_ROLES + COOKIES, 200)
"""The same for everybody: a bad key does no harm where none is needed."""
ANY_KEY: dict[str, int] = dict.fromkeys(GOOD_ROLES, 200) | dict.fromkeys(BAD_ROLES + COOKIES, 401)
MANAGEMENT = ANY_KEY | {"api": 403, "other scope": 403, "other model": 403}
OTHERS_KEY = MANAGEMENT | {"other management": 404}
"""The path names a key of the first account."""
OTHERS_REQUEST = ANY_KEY | {"other management": 404, "other scope": 404, "other model": 404}
"""The path names a request that the role "api" has made."""

# What each operation answers to each role, and what is sent to it: a request that is good but for the key.
EXPECTED: dict[str, dict[str, int]] = {
    "createChatCompletion": ANY_KEY
    | {"management": 403, "other management": 403, "other scope": 403, "other model": 403}
    | {"owner's page": 200, "member's page": 200, "other site": 403},
    "listModels": PUBLIC,
    "listModelDeprecations": PUBLIC,
    "retrieveModel": PUBLIC,
    "showModel": PUBLIC,
    "createKey": MANAGEMENT | {"management": 201, "other management": 201},
    "listKeys": MANAGEMENT,
    "updateKey": OTHERS_KEY,
    "deleteKey": OTHERS_KEY,
    "rotateKey": OTHERS_KEY,
    "showOwnKey": ANY_KEY,
    "showBalance": ANY_KEY,
    "showBilling": ANY_KEY,
    "showBillingDetail": ANY_KEY,
    "listTransactions": ANY_KEY,
    "showUsage": ANY_KEY,
    "showUsageDetail": ANY_KEY,
    "showLatency": MANAGEMENT,
    "listLogs": ANY_KEY,
    "showReceipt": OTHERS_REQUEST,
    "healthz": PUBLIC,
    "readyz": PUBLIC,
    "metrics": PUBLIC,
    "openapi": PUBLIC,
}
BODIES: dict[str, Any] = {"createChatCompletion": CHAT, "createKey": {}, "updateKey": {"disabled": True}, "rotateKey": {}}


class Parrot:
    """A provider that says one word."""

    def check(self, request: ChatRequest, route: Route) -> list[str]:
        return []

    async def answer(self, request: ChatRequest, route: Route, meter: Meter, take: Take) -> None:
        await hand_on(self._items(), take)

    async def _items(self) -> AsyncGenerator[Item]:
        yield ChunkChoice(index=0, delta=Delta(content="Hello"))
        yield ChunkChoice(index=0, delta=Delta(), finish_reason="stop")
        yield Usage(prompt_tokens=1, completion_tokens=1, total_tokens=2)


@dataclass
class House:
    """Two accounts, and what every role sends along."""

    services: Services
    app: ASGIApp
    account: Account
    keys: dict[str, str]
    sent: dict[str, dict[str, str]]
    """By role: headers."""

    async def status(self, row: Endpoint, path: str, role: str) -> int:
        """Of the request; the key that its path names is a fresh one of the first account."""
        target = await self.services.accounts.create_key(self.account.id)
        path = path.replace("{id:path}", MODEL).replace("{prefix}", target.record.prefix).replace("{request_id}", REQUEST)
        assert "{" not in path, f"say here what goes into {path}"
        reply = await call(self.app, row.method, path, headers=self.sent[role], json_body=BODIES.get(row.operation))
        if reply.status >= 400:
            assert reply.json["status"] == reply.status
            kept = await self.services.accounts.find_key(target.record.id)
            assert kept == target.record, f"{role} was refused, but the key has changed"
        return reply.status


@asynccontextmanager
async def house(home: Path) -> AsyncIterator[House]:
    async with installed(home) as parts:
        completions = Completions(parts.catalog, Router({"local": Parrot()}, parts.metrics), OpenDesk(), parts.settings)
        services = replace(parts, completions=completions)
        accounts = services.accounts
        one, two = [await accounts.create_account(name) for name in ("one", "two")]
        keys: dict[str, str] = {}

        async def make(role: str, account: Account = one, kind: KeyKind = "api", **settings: Any) -> str:
            new = await accounts.create_key(account.id, role, KeyChanges(**settings), kind=kind)
            keys[role] = new.secret
            return new.record.id

        await record(services.database, recorded(one.id, await make("api"), request_id=REQUEST))
        await make("management", kind="management")
        await make("other management", two, "management")
        await make("other scope", scopes=("model:image",))
        await make("other model", models=("google/gemini-2.5-flash-lite-preview",))
        await accounts.set_enabled(await make("disabled"), False)
        await accounts.update_key(await make("expired"), KeyChanges(expires_at=clock.now() - 1))
        await accounts.delete_key(await make("deleted"))
        await accounts.rotate_key(await make("replaced"), overlap_seconds=0)
        await accounts.set_enabled(await make("disabled management", kind="management"), False)
        await accounts.update_key(await make("expired management", kind="management"), KeyChanges(expires_at=clock.now() - 1))
        sent: dict[str, dict[str, str]] = {"nobody": {}} | {
            role: {"Authorization": f"Bearer {secret}"} for role, secret in keys.items()
        }
        yield House(services, app_of(services), one, keys, sent | await _cookies(services))


async def _no_hash(password: str) -> str:
    return "argon2"


async def _cookies(services: Services) -> dict[str, dict[str, str]]:
    people = services.people
    people._passwords.hash = _no_hash  # type: ignore[method-assign]
    owner = await people.sign_up("o@example.org", PASSWORD, "::1", token=await people.first_owner_link())
    member = await people.sign_up("m@example.org", PASSWORD, "::1", token=None)
    page = {"host": "tollway.test", "origin": "http://tollway.test"}

    async def from_page(token: str) -> dict[str, str]:
        session = await people.session(token)
        assert session is not None
        return page | {"cookie": f"tollway_session={token}", "x-csrf-token": session.csrf}

    owners = await from_page(owner)
    return {
        "owner's page": owners,
        "member's page": await from_page(member),
        "other site": owners | {"origin": "http://evil.test"},
        "forged cookie": owners | {"cookie": f"tollway_session={'a' * 43}"},
    }


def test_every_endpoint_has_an_expectation_for_every_role() -> None:
    assert {row.operation for row in ENDPOINTS} == set(EXPECTED), "say what each kind of key may do with a new endpoint"
    for expected in EXPECTED.values():
        assert set(expected) == {*GOOD_ROLES, *BAD_ROLES, *COOKIES}


@pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: row.operation)
async def test_nobody_gets_more_than_is_theirs(tmp_path: Path, row: Endpoint) -> None:
    async with house(tmp_path) as it:
        for path in row.paths:
            got = {role: await it.status(row, path, role) for role in it.sent}
            assert got == EXPECTED[row.operation]


@pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: row.operation)
def test_expectations_fit_the_table(row: Endpoint) -> None:
    """What the table says of keys in a word, and the matrix in numbers, is the same."""
    expected = EXPECTED[row.operation]
    refused = {role for role in BAD_ROLES if expected[role] == 401}
    assert {expected[role] for role in COOKIES} == {200, 403, 401} if row.sessions else {200 if row.auth is Auth.NONE else 401}
    assert refused == (set() if row.auth is Auth.NONE else set(BAD_ROLES))
    if row.auth is Auth.MANAGEMENT:
        assert {expected[role] for role in ("api", "other scope", "other model")} == {403}


async def test_lists_hold_nothing_of_others(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        headers = {"Authorization": f"Bearer {it.keys['other management']}"}
        assert (await call(it.app, "GET", "/v1/keys", headers=headers)).json == {"data": []}
        headers = {"Authorization": f"Bearer {it.keys['management']}"}
        names = {item["name"] for item in (await call(it.app, "GET", "/v1/keys", headers=headers)).json["data"]}
        assert names == {"api", "other scope", "other model", "disabled", "expired", "replaced"}


async def test_a_refusal_says_what_would_be_allowed(tmp_path: Path) -> None:
    async with house(tmp_path) as it:

        async def refusal(role: str, path: str = "/v1/chat/completions", body: Any = CHAT) -> tuple[str, str]:
            reply = await call(it.app, "POST", path, headers={"Authorization": f"Bearer {it.keys[role]}"}, json_body=body)
            assert (reply.status, reply.json["error"]["code"]) == (403, "permission_denied")
            return reply.json["error"]["data"]["kind"], reply.json["message"]

        kind, message = await refusal("other scope")
        assert (kind, "`model:chat`" in message, "model:image" in message) == ("err_key_scope", True, True)
        kind, message = await refusal("other model")
        assert (kind, "google/gemini-2.5-flash-lite-preview" in message) == ("err_key_model", True)
        kind, message = await refusal("management")
        assert (kind, "manages API keys" in message) == ("err_key_management", True)
        kind, message = await refusal("api", "/v1/keys", {})
        assert (kind, "--management" in message) == ("err_management_key_required", True)
