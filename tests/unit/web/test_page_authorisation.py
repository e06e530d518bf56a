"""Who may see and do what: every page, for everybody, with cookie, key or nothing. A page without an expectation fails."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection
from starlette.types import ASGIApp
from tests.asgi import Reply, call
from tests.desks import record, recorded
from tests.installation import installed, site_of
from tests.visitor import HOST, PASSWORD

from tollway import clock
from tollway.accounts import ApiKey
from tollway.api.services import Services
from tollway.people import SESSION_SECONDS
from tollway.storage import tables
from tollway.web.pages import PAGES
from tollway.web.table import Access, Page

pytestmark = pytest.mark.usefixtures("both_databases")

MODEL = "local/smollm2-135m-instruct"
REQUEST = "req_of_the_first_account"

OUTSIDE = ("nobody", "key", "management key", "forged", "signed out", "over")
"""A key opens no page; neither does a cookie that was made up, signed out, or is too old."""
PEOPLE = ("owner", "colleague", "member")
"""The owner; a member of the same account; a member of another account."""
EVERYBODY = (*OUTSIDE, *PEOPLE)


def expected(outside: int, owner: int, colleague: int, member: int) -> dict[str, int]:
    return dict.fromkeys(OUTSIDE, outside) | {"owner": owner, "colleague": colleague, "member": member}


ALL = expected(200, 200, 200, 200)
SIGNED_IN = expected(303, 200, 200, 200)
"""303 = to the sign-in."""
OWN = SIGNED_IN | {"member": 404}
"""The path names a key or a request of the first account."""
OWNERS = expected(303, 200, 403, 403)
BAD_FORM = expected(400, 400, 400, 400)
"""Everybody may send it; what is in it is wrong."""
CHANGES_OWN = expected(401, 303, 303, 404)

EXPECTED: dict[str, dict[str, int]] = {
    **dict.fromkeys(("start", "catalog", "model", "docs", "document", "search", "llms", "robots", "welcome", "static"), ALL),
    "signin": expected(200, 303, 303, 303),
    "signinPost": BAD_FORM,
    "signoutPost": expected(303, 303, 303, 303),
    "back": expected(303, 303, 303, 303),
    "signup": ALL,
    "signupPost": BAD_FORM,
    "welcomePost": BAD_FORM,
    "people": OWNERS,
    "peopleInvite": expected(401, 200, 403, 403),
    "person": OWNERS,
    "personLink": expected(401, 200, 403, 403),
    **dict.fromkeys(("personDisable", "personEnable", "personRemove", "bookPost"), expected(401, 303, 403, 403)),
    "account": SIGNED_IN,
    "accountPassword": expected(401, 400, 400, 400),
    "accountSignout": expected(401, 303, 303, 303),
    "keys": SIGNED_IN,
    "keysCreate": expected(401, 200, 200, 200),
    "key": OWN,
    "keyChange": CHANGES_OWN,
    "keyEnable": CHANGES_OWN,
    "keyDisable": CHANGES_OWN,
    "keyRotate": expected(401, 200, 200, 404),
    "keyDelete": CHANGES_OWN,
    "playground": SIGNED_IN,
    "usage": SIGNED_IN,
    "billing": SIGNED_IN,
    "billingExport": SIGNED_IN,
    "requests": SIGNED_IN,
    "requestsNew": SIGNED_IN,
    "receipt": OWN,
    "operator": OWNERS,
    "book": OWNERS,
}
FORMS: dict[str, dict[str, str]] = {
    "signinPost": {"email": "owner@example.org", "password": "wrong"},
    "signupPost": {"email": "new@example.org", "password": PASSWORD, "again": "another"},
    "welcomePost": {"email": "new@example.org", "password": PASSWORD, "again": "another"},
    "peopleInvite": {"account": "same"},
    "accountPassword": {"present": "wrong", "password": PASSWORD, "again": PASSWORD},
    "personRemove": {"keys": "yes"},
    "keysCreate": {"name": "new of WHO", "expires": "never"},
    "keyChange": {"name": "renamed by WHO", "expires": "keep"},
    "keyRotate": {"overlap": "24", "prefix": "PREFIX"},
    "bookPost": {"account": "owner", "amount": "5", "kind": "payment", "confirmed": "yes", "once": "byhand_" + "a" * 21},
}
"""What is sent: a form that is good, but for who sends it. One that is not here has no fields."""
ENDS_SESSIONS = ("accountSignout", "signoutPost")

_numbers = itertools.count()
_KEPT = (tables.api_keys, tables.users, tables.links, tables.accounts, tables.ledger_entries)


@dataclass
class House:
    """An installation with two accounts, and what everybody sends along."""

    services: Services
    app: ASGIApp
    key: ApiKey
    """Of the first account; paths name it, or a person of that account."""
    person_id: str
    invitation: str
    sent: dict[str, dict[str, str]] = field(default_factory=dict)
    """By who it is: headers."""
    csrf: dict[str, str] = field(default_factory=dict)
    """By who it is: what their own forms carry."""

    def path(self, page: Page) -> str:
        path = page.paths[0]
        for prefix, target in (("/keys/", self.key.id), ("/people/", self.person_id), ("/usage/requests/", REQUEST)):
            path = path.replace(f"{prefix}{{id}}", prefix + target)
        for name, value in (("{id:path}", MODEL), ("{name:path}", "quickstart"), ("{token}", self.invitation)):
            path = path.replace(name, value)
        path = path.replace("{version}", "x").replace("{name}", "tollway.css")
        assert "{" not in path, f"say here what goes into {path}"
        return path + ("?after=0" if page.name == "requestsNew" else "?")

    async def fresh_targets(self) -> None:
        self.key = (await self.services.accounts.create_key(self.key.account_id, f"key {next(_numbers)}")).record
        people = self.services.people
        link = await people.invite(account_id=self.key.account_id)
        session = await people.session(await people.sign_up(f"u{next(_numbers)}@example.org", PASSWORD, "::1", token=link))
        assert session
        self.person_id = session.user.id

    async def ask(
        self, page: Page, who: str, *, csrf: str | None = None, origin: str = f"http://{HOST}", query: str = ""
    ) -> Reply:
        headers = {"host": HOST, "accept": "text/html"} | self.sent[who]
        if page.method == "GET":
            return await call(self.app, "GET", self.path(page) + query, headers=headers)
        form = {
            name: value.replace("WHO", who).replace("PREFIX", self.key.prefix)
            for name, value in FORMS.get(page.name, {}).items()
        }
        fields = form | {"csrf": self.csrf[who] if csrf is None else csrf}
        body = urlencode(fields).encode()
        headers |= {"origin": origin, "content-type": "application/x-www-form-urlencoded"}
        return await call(self.app, "POST", self.path(page), headers=headers, body=body)

    async def state(self) -> list[Any]:
        """All that a page could change, but sessions."""

        def work(connection: Connection) -> list[Any]:
            return [sorted(map(str, connection.execute(sa.select(table)))) for table in _KEPT]

        return await self.services.database.read(work)


async def _no_hash(password: str) -> str:
    return "argon2"


async def _never(hashed: str | None, password: str) -> bool:
    return False


@asynccontextmanager
async def house(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    async with installed(home, signup="open") as services:
        people, accounts = services.people, services.accounts
        monkeypatch.setattr(people._passwords, "hash", _no_hash)
        monkeypatch.setattr(people._passwords, "check", _never)
        first = (await accounts.first_account()).id
        tokens = {"forged": "a" * 43}
        link = await people.first_owner_link()
        tokens["owner"] = await people.sign_up("owner@example.org", PASSWORD, "::1", token=link)
        invitation = await people.invite(account_id=first)
        tokens["colleague"] = await people.sign_up("colleague@example.org", PASSWORD, "::1", token=invitation)
        tokens["member"] = await people.sign_up("member@example.org", PASSWORD, "::1", token=None)
        tokens["signed out"] = await people.sign_up("left@example.org", PASSWORD, "::1", token=None)
        await people.sign_out(tokens["signed out"])
        now = clock.now()
        with monkeypatch.context() as then:
            then.setattr(clock, "now", lambda: now - SESSION_SECONDS - 1)
            tokens["over"] = await people.sign_up("over@example.org", PASSWORD, "::1", token=None)

        secrets = {}
        for who, kind in (("key", "api"), ("management key", "management")):
            secrets[who] = await accounts.create_key(first, f"first-{kind}", kind=kind)  # type: ignore[arg-type]
        await record(services.database, recorded(first, secrets["key"].record.id, request_id=REQUEST, model="first-model"))
        it = House(services, site_of(services), secrets["key"].record, "usr_x", await people.invite())
        it.sent = {"nobody": {}} | {who: {"authorization": f"Bearer {new.secret}"} for who, new in secrets.items()}
        it.sent |= {who: {"cookie": f"tollway_session={token}"} for who, token in tokens.items()}
        for who in EVERYBODY:
            session = await people.session(tokens.get(who))
            it.csrf[who] = session.csrf if session else people.csrf_for_visitor("v")
            if session is None:
                it.sent[who]["cookie"] = f"{it.sent[who].get('cookie', 'a=b')}; tollway_visitor=v"
        yield it


def test_every_page_has_an_expectation_for_everybody() -> None:
    assert {page.name for page in PAGES} == set(EXPECTED), "say what everybody may do with a new page"
    for page in PAGES:
        wanted = EXPECTED[page.name]
        assert set(wanted) == set(EVERYBODY)
        if page.access is not Access.PUBLIC:
            assert {wanted[who] for who in OUTSIDE} == {303 if page.method == "GET" else 401}
        if page.access is Access.OWNER:
            assert (wanted["colleague"], wanted["member"]) == (403, 403)


def test_what_only_takes_forms_leads_back_when_it_is_looked_at() -> None:
    """Its path stays in the address line, where people press Enter."""
    looked_at = {path for page in PAGES if page.method == "GET" for path in page.paths}
    assert {path for page in PAGES for path in page.paths} == looked_at


async def test_nobody_gets_more_than_is_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    got: dict[str, dict[str, int]] = {}
    for alone in (None, *ENDS_SESSIONS):
        async with house(tmp_path / str(alone), monkeypatch) as it:
            for page in PAGES:
                if (page.name == alone) if alone else (page.name not in ENDS_SESSIONS):
                    got[page.name] = {who: await _status(it, page, who) for who in EVERYBODY}
    assert got == EXPECTED


async def _status(it: House, page: Page, who: str) -> int:
    await it.fresh_targets()
    before = await it.state()
    reply = await it.ask(page, who)
    turned_away = page.access is not Access.PUBLIC and who in OUTSIDE
    if turned_away and page.method == "GET":
        assert (reply.header("location") or "").startswith("/signin?next=")
    if turned_away or reply.status >= 400:
        assert await it.state() == before, f"{page.name} has turned {who} away, but something has changed"
    return reply.status


async def test_no_form_is_taken_from_anywhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house(tmp_path, monkeypatch) as it:
        before = await it.state()
        for page in PAGES:
            for who in PEOPLE if page.method == "POST" else ():
                refused = {403, EXPECTED[page.name][who]} - {200, 303, 400}
                led_on = {303} if page.name == "signinPost" else set()  # who is signed in needs no form for it
                for csrf in ("", "0" * 40, it.csrf["nobody"], it.csrf["owner" if who != "owner" else "member"]):
                    assert (await it.ask(page, who, csrf=csrf)).status in refused | led_on, page.name
                for origin in ("http://evil.test", "null", f"http://{HOST}.evil.test"):
                    assert (await it.ask(page, who, origin=origin)).status in refused, page.name
        assert await it.state() == before


async def test_members_see_nothing_of_other_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house(tmp_path, monkeypatch) as it:
        marks = (b"first-api", b"first-management", b"first-model", REQUEST.encode())
        seen = dict.fromkeys(PEOPLE, 0)
        first = (await it.services.accounts.list_keys(it.key.account_id))[0]
        for page in PAGES:
            for who in PEOPLE if page.method == "GET" and page.access is Access.PERSON else ():
                for query in ("", f"&key={first.id}"):
                    text = (await it.ask(page, who, query=query)).body
                    seen[who] += sum(text.count(mark) for mark in marks)
        assert seen["member"] == 0
        assert min(seen["owner"], seen["colleague"]) > 5
