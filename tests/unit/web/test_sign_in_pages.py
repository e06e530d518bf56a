"""Sign in and up through the pages, as a browser does it; and what others try."""

import asyncio
import re
from pathlib import Path
from urllib.parse import urlencode

import argon2
import pytest
from starlette.requests import Request
from tests.installation import installed, site_of
from tests.visitor import HOST, PASSWORD, Visitor, owner_of

from tollway import clock
from tollway.api.services import Services
from tollway.people import FIRST_OWNER_SECONDS, SESSION_SECONDS
from tollway.people.throttle import TRIES_PER_EMAIL_MAX, WINDOW_SECONDS
from tollway.web.frame import Visit

pytestmark = pytest.mark.usefixtures("both_databases")


async def first_link(services: Services) -> str:
    token = await services.people.first_owner_link()
    assert token is not None
    return token


async def test_the_link_makes_the_owner_once(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        app, token = site_of(services), await first_link(services)
        owner = await owner_of(app, token)
        assert "API keys" in owner.text
        (user,) = await services.people.list_users()
        assert (user.email, user.role) == ("owner@example.org", "owner")

        late = Visitor(app)
        assert (await late.get(f"/welcome/{token}")).status == 404
        assert await services.people.first_owner_link() is None


async def test_a_hundred_first_owners_at_once_are_one(tmp_path: Path) -> None:
    # two processes of one installation
    async with installed(tmp_path) as services, installed(tmp_path) as others:
        token = await first_link(services)
        for each in (services, others):
            each.people._passwords.hash = _fast_hash  # type: ignore[method-assign]
        visitors = [Visitor(site_of(each)) for each in (services, others) * 50]
        for visitor in visitors:
            await visitor.get(f"/welcome/{token}")

        async def sign_up(number: int, visitor: Visitor) -> int:
            fields = {"email": f"u{number}@example.org", "password": PASSWORD, "again": PASSWORD}
            return (await visitor.submit(f"/welcome/{token}", fields | {"csrf": visitor.csrf})).status

        statuses = await asyncio.gather(*(sign_up(number, visitor) for number, visitor in enumerate(visitors)))
        users = await services.people.list_users()
    assert sorted(set(statuses)) == [303, 404]
    assert statuses.count(303) == 1
    assert [user.role for user in users] == ["owner"]


async def _fast_hash(password: str) -> str:
    return "argon2"


async def test_the_newest_link_counts_and_not_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with installed(tmp_path) as services:
        app = site_of(services)
        old, new = await first_link(services), await first_link(services)
        assert (await Visitor(app).get(f"/welcome/{old}")).status == 404
        assert (await Visitor(app).get(f"/welcome/{new}")).status == 200
        later = clock.now() + FIRST_OWNER_SECONDS + 1
        monkeypatch.setattr(clock, "now", lambda: later)
        assert (await Visitor(app).get(f"/welcome/{new}")).status == 404


async def test_sign_in_and_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with installed(tmp_path) as services:
        app = site_of(services)
        owner = await owner_of(app, await first_link(services))
        first = owner.cookies["tollway_session"]
        await owner.get("/keys")
        await owner.post("/signout")
        assert "tollway_session" not in owner.cookies
        stale = Visitor(app, {"tollway_session": first})
        await stale.get("/keys")
        assert "Sign in" in stale.text, "a session that was signed out is over on the server, too"

        await owner.get("/keys/x?a=b")
        reply = await owner.submit(
            "/signin?next=/keys/x%3Fa%3Db", {"csrf": owner.csrf, "email": " Owner@Example.org ", "password": PASSWORD}
        )
        assert (reply.status, reply.header("location")) == (303, "/keys/x?a=b")
        cookie = next(value for name, value in reply.headers if name == "set-cookie")
        assert re.fullmatch(r"tollway_session=\w{43}; HttpOnly; Max-Age=1209600; Path=/; SameSite=lax", cookie)
        second = owner.cookies["tollway_session"]

        await owner.get("/signin")
        assert "API keys" in owner.text, "who is signed in is sent on"
        await owner.submit("/signin", {"csrf": owner.csrf, "email": "owner@example.org", "password": PASSWORD})
        assert owner.cookies["tollway_session"] not in {first, second}, "rotated"
        assert await services.people.session(second) is None

        later = clock.now() + SESSION_SECONDS + 1
        monkeypatch.setattr(clock, "now", lambda: later)
        await owner.get("/keys")
        assert "Sign in" in owner.text


@pytest.mark.parametrize(
    ("email", "password"), [("owner@example.org", "wrong password"), ("nobody@example.org", PASSWORD), ("", "")]
)
async def test_what_was_wrong_is_not_told(tmp_path: Path, email: str, password: str) -> None:
    async with installed(tmp_path) as services:
        app = site_of(services)
        await owner_of(app, await first_link(services))
        visitor = Visitor(app)
        await visitor.get("/signin")
        reply = await visitor.post("/signin", {"email": email, "password": password})
        assert reply.status == 400
        assert "The email address or the password is wrong." in visitor.text
        assert "tollway_session" not in visitor.cookies


async def test_guessing_is_throttled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with installed(tmp_path) as services:
        services.people._passwords._hasher = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)  # quick ones
        app = site_of(services)
        await owner_of(app, await first_link(services))
        visitor = Visitor(app)
        for email in ("owner@example.org", "nobody@example.org"):
            await visitor.get("/signin")
            for _ in range(TRIES_PER_EMAIL_MAX):
                assert (await visitor.post("/signin", {"email": email, "password": "x"})).status == 400
            reply = await visitor.post("/signin", {"email": email, "password": PASSWORD})
            assert reply.status == 429
            assert 0 < int(reply.header("retry-after") or 0) <= WINDOW_SECONDS + 1
            assert "Too many tries" in visitor.text
        later = clock.now() + WINDOW_SECONDS + 2
        monkeypatch.setattr(clock, "now", lambda: later)
        await visitor.get("/signin")
        assert (await visitor.post("/signin", {"email": "owner@example.org", "password": PASSWORD})).status == 200


@pytest.mark.parametrize(
    ("client", "forwarded", "address"),
    [
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["10.0.0.1"], "10.0.0.1"),
        ("127.0.0.1", ["6.6.6.6, 10.0.0.1"], "10.0.0.1"),
        ("127.0.0.1", ["6.6.6.6", "10.0.0.1"], "10.0.0.1"),
        ("192.0.2.1", ["10.0.0.1"], "192.0.2.1"),
    ],
)
async def test_where_a_visitor_is_throttled(tmp_path: Path, client: str, forwarded: list[str], address: str) -> None:
    """A proxy adds the caller's address to what the caller says, in the same line or in one of its own."""
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    request = Request({"type": "http", "headers": headers, "client": (client, 50000)})
    async with installed(tmp_path) as services:
        assert Visit(request, services, None).address == address


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.test"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": f"http://{HOST}.evil.test"},
        {"origin": f"http://evil.test@{HOST}.evil.test"},
        {"origin": "http://["},
    ],
)
async def test_no_form_is_taken_from_another_site(tmp_path: Path, headers: dict[str, str]) -> None:
    async with installed(tmp_path) as services:
        app = site_of(services)
        owner = await owner_of(app, await first_link(services))
        await owner.get("/keys")
        reply = await owner.post("/keys", {"name": "stolen"}, **headers)
        assert reply.status == 403
        assert [key.name for key in await services.accounts.list_keys()] == []


@pytest.mark.parametrize("token", ["", "0" * 40, "é", "x" * 5000])
async def test_no_form_is_taken_without_its_token(tmp_path: Path, token: str) -> None:
    async with installed(tmp_path) as services:
        app = site_of(services)
        owner = await owner_of(app, await first_link(services))
        await owner.get("/keys")
        assert (await owner.submit("/keys", {"name": "stolen", "csrf": token})).status == 403
        other = Visitor(app)
        await other.get("/signin")
        assert (await owner.submit("/keys", {"name": "stolen", "csrf": other.csrf})).status == 403
        assert (await other.submit("/signin", {"csrf": owner.csrf, "email": "a", "password": "b"})).status == 403
        json = await owner._call("POST", "/keys", {"origin": f"http://{HOST}", "content-type": "text/plain"}, b"csrf=1")
        assert json.status == 415
        assert [key.name for key in await services.accounts.list_keys()] == []


async def test_a_member_cannot_touch_the_keys_of_others(tmp_path: Path) -> None:
    async with installed(tmp_path, signup="open") as services:
        app = site_of(services)
        await owner_of(app, await first_link(services))
        key = (await services.accounts.create_key((await services.accounts.first_account()).id, "the owner's")).record
        member = Visitor(app)
        await member.get("/signup")
        await member.post("/signup", {"email": "m@example.org", "password": PASSWORD, "again": PASSWORD})
        assert "the owner's" not in member.text
        for name in (key.id, key.prefix):
            assert (await member.get(f"/keys/{name}")).status == 404
            await member.get("/keys")
            for action in ("", "/disable", "/enable", "/rotate", "/delete"):
                assert (await member.post(f"/keys/{name}{action}", {"name": "mine"})).status == 404
        assert (await services.accounts.find_key(key.id)) == key


@pytest.mark.parametrize("signup", ["closed", "invitation", "open"])
async def test_who_may_sign_up(tmp_path: Path, signup: str) -> None:
    async with installed(tmp_path, signup=signup) as services:
        app = site_of(services)
        owner = await owner_of(app, await first_link(services))
        visitor = Visitor(app)
        assert (await visitor.get("/signup")).status == (200 if signup == "open" else 403)

        await owner.get("/people")
        reply = await owner.post("/people/invite", {"account": "same"})
        if signup == "closed":
            assert reply.status == 400
            link = f"/welcome/{await services.people.invite()}"
        else:
            found = re.search(rf"http://{HOST}(/welcome/\w+)", owner.page)
            assert found
            link = found[1]
        guest = Visitor(app)
        await guest.get(link)
        reply = await guest.post(link, {"email": "g@example.org", "password": PASSWORD, "again": PASSWORD})
        assert reply.status == (403 if signup == "closed" else 200)
        if signup != "closed":
            users = await services.people.list_users()
            assert [user.role for user in users] == ["owner", "member"]
            assert users[0].account_id == users[1].account_id
            assert (await Visitor(app).get(link)).status == 404


@pytest.mark.parametrize(
    ("email", "password", "again", "told"),
    [
        ("nobody", PASSWORD, PASSWORD, "This is no email address."),
        ("a@b\x00c", PASSWORD, PASSWORD, "This is no email address."),
        ("<script>@x.org", PASSWORD, PASSWORD, "This is no email address."),
        ("a@example.org", "short", "short", "12 to 200 characters"),
        ("a@example.org", "aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaa", "too easy"),
        ("a@example.org", PASSWORD, "another", "differ"),
        ("a@example.org", "x" * 201, "x" * 201, "12 to 200 characters"),
    ],
)
async def test_what_cannot_be_is_said_and_nothing_is_lost(
    tmp_path: Path, email: str, password: str, again: str, told: str
) -> None:
    async with installed(tmp_path) as services:
        app, token = site_of(services), await first_link(services)
        visitor = Visitor(app)
        await visitor.get(f"/welcome/{token}")
        reply = await visitor.post(f"/welcome/{token}", {"email": email, "password": password, "again": again})
        assert reply.status == 400
        assert told in visitor.text
        assert "<script>@" not in visitor.page
        assert (await visitor.get(f"/welcome/{token}")).status == 200, "the link is still good"


async def test_a_lost_password_is_set_anew_and_everybody_else_is_out(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        app = site_of(services)
        thief = await owner_of(app, await first_link(services))
        link = f"/welcome/{await services.people.reset_link('owner@example.org')}"
        owner = Visitor(app)
        await owner.get(link)
        assert "A new password" in owner.text
        await owner.post(link, {"password": "an entirely new one", "again": "an entirely new one"})
        assert "API keys" in owner.text
        await thief.get("/keys")
        assert "Sign in" in thief.text
        await thief.post("/signin", {"email": "owner@example.org", "password": PASSWORD})
        assert "wrong" in thief.text


async def test_who_has_signed_in_in_another_tab_is_led_on(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        app = site_of(services)
        await owner_of(app, await first_link(services))
        visitor = Visitor(app)
        await visitor.get("/usage?range=7d")
        action = re.search(r'action="(/signin[^"]+)"', visitor.page)
        assert action
        form = {"csrf": visitor.csrf, "email": "owner@example.org", "password": PASSWORD}
        for _ in range(2):
            reply = await visitor.submit(action[1], form)
            assert (reply.status, reply.header("location")) == (303, "/usage?range=7d")


async def test_a_form_of_a_session_that_is_over_leads_to_the_sign_in(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        owner = await owner_of(site_of(services), await first_link(services))
        await owner.get("/keys")
        owner.cookies.clear()
        assert (await owner.post("/keys", {"name": "ci"})).status == 401
        assert 'href="/signin?next=/keys">Sign in' in owner.page


@pytest.mark.parametrize("path", ["//evil.test", "https://evil.test", "/\\evil.test", "javascript:alert(1)", "/é", "/a\r\nb:c"])
async def test_signing_in_leads_nowhere_else(tmp_path: Path, path: str) -> None:
    async with installed(tmp_path) as services:
        app = site_of(services)
        await owner_of(app, await first_link(services))
        visitor = Visitor(app)
        await visitor.get("/signin")
        fields = {"email": "owner@example.org", "password": PASSWORD}
        reply = await visitor.submit(f"/signin?{urlencode({'next': path})}", fields | {"csrf": visitor.csrf})
        assert (reply.status, reply.header("location")) == (303, "/keys")


async def test_behind_a_proxy_with_tls_cookies_are_secure(tmp_path: Path) -> None:
    async with installed(tmp_path, public_url="https://ai.example.org") as services:
        app, token = site_of(services), await first_link(services)
        visitor = Visitor(app)
        reply = await visitor.get(f"/welcome/{token}")
        assert all("; Secure" in value for name, value in reply.headers if name == "set-cookie")
        done = await visitor.submit(
            f"/welcome/{token}",
            {"csrf": visitor.csrf, "email": "o@example.org", "password": PASSWORD, "again": PASSWORD},
            origin="https://ai.example.org",
        )
        assert done.status == 303
        assert all("; Secure" in value for name, value in done.headers if name == "set-cookie")
        assert "https://ai.example.org/v1" in (await visitor.get("/")).body.decode()
