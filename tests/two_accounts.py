"""A site with an owner and a member, each with an account, and what is written down of their requests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp
from tests.desks import record, recorded
from tests.installation import installed, site_of
from tests.visitor import PASSWORD, Visitor, owner_of

from tollway.api.services import Services

NASTY = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "שלום עולם",
    "{{ 7*7 }}",
    "=cmd|' /C calc'!A0",
    "\u200fgnp.exe",
)


@dataclass
class Site:
    """A site with an owner and a member, each with an account."""

    services: Services
    app: ASGIApp
    owner: Visitor
    member: Visitor
    owners_account: str
    members_account: str


async def _fast_hash(password: str) -> str:
    return "argon2"


@asynccontextmanager
async def site(home: Path, **changes: Any) -> AsyncIterator[Site]:
    async with installed(home, signup="open", **changes) as services:
        app = site_of(services)
        services.people._passwords.hash = _fast_hash  # type: ignore[method-assign]
        token = await services.people.first_owner_link()
        assert token
        owner = await owner_of(app, token)
        member = Visitor(app)
        await member.get("/signup")
        await member.post("/signup", {"email": "m@example.org", "password": PASSWORD, "again": PASSWORD})
        accounts = {user.role: user.account_id for user in await services.people.list_users()}
        yield Site(services, app, owner, member, accounts["owner"], accounts["member"])


async def use(it: Site, account_id: str, count: int, **details: Any) -> None:
    await record(it.services.database, *(recorded(account_id, **details) for _ in range(count)))
