"""One's own password, and the way in that an owner closes: sessions, links, keys, guesses, and who may."""

import asyncio
import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.two_accounts import Site, site
from tests.visitor import PASSWORD, Visitor

from tollway import clock
from tollway.people import User
from tollway.people.throttle import TRIES_PER_ADDRESS_MAX, TRIES_PER_EMAIL_MAX, WINDOW_SECONDS

NEW = "a new horse, another battery"
MEMBER = "m@example.org"


@asynccontextmanager
async def people(home: Path) -> AsyncIterator[Site]:
    """A site whose passwords are compared, but not slowly."""
    async with site(home) as it:
        passwords = it.services.people._passwords

        async def hash_of(password: str) -> str:
            return f"hash of {password}"

        async def check(hashed: str | None, password: str) -> bool:
            return hashed in (f"hash of {password}", "argon2" if password == PASSWORD else "")

        passwords.hash = hash_of  # type: ignore[method-assign]
        passwords.check = check  # type: ignore[method-assign]
        yield it


async def user_of(it: Site, email: str = MEMBER) -> User:
    return next(user for user in await it.services.people.list_users() if user.email == email)


async def signed_in(it: Site, password: str = PASSWORD, email: str = MEMBER) -> Visitor:
    visitor = Visitor(it.app)
    await visitor.get("/signin")
    await visitor.post("/signin", {"email": email, "password": password})
    return visitor


def is_in(visitor: Visitor) -> bool:
    return "API keys" in visitor.text


async def still_in(visitor: Visitor) -> bool:
    await visitor.get("/keys")
    return is_in(visitor)


async def test_a_password_is_changed_and_other_sessions_end(tmp_path: Path) -> None:
    async with people(tmp_path) as it:
        elsewhere, old = await signed_in(it), dict(it.member.cookies)
        link = await it.services.people.reset_link(MEMBER)
        await it.member.get("/account")
        assert "In 2 browsers" in it.member.text
        await it.member.post("/account/password", {"present": PASSWORD, "password": NEW, "again": NEW})
        assert "Your password is changed" in it.member.text
        assert "Only in this browser" in it.member.text
        assert it.member.cookies["tollway_session"] != old["tollway_session"]
        assert await still_in(it.member)
        assert not await still_in(elsewhere)
        assert not await still_in(Visitor(it.app, old))
        assert (await Visitor(it.app).get(f"/welcome/{link}")).status == 404, "who had a link for it is out, too"
        assert not is_in(await signed_in(it))
        assert is_in(await signed_in(it, NEW))
        assert await still_in(it.owner)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"present": "wrong", "password": NEW, "again": NEW}, "not your present password"),
        ({"present": "", "password": NEW, "again": NEW}, "not your present password"),
        ({"present": PASSWORD, "password": NEW, "again": NEW + "."}, "two new passwords differ"),
        ({"present": PASSWORD, "password": "short", "again": "short"}, "12 to 200 characters"),
        ({"present": PASSWORD, "password": "aaaaaaaaaaaaaa", "again": "aaaaaaaaaaaaaa"}, "too easy"),
    ],
)
async def test_a_change_that_is_refused_changes_nothing(tmp_path: Path, fields: dict[str, str], told: str) -> None:
    async with people(tmp_path) as it:
        elsewhere = await signed_in(it)
        await it.member.get("/account")
        assert (await it.member.post("/account/password", fields)).status == 400
        assert told in it.member.text
        assert await still_in(it.member)
        assert await still_in(elsewhere)
        assert is_in(await signed_in(it))


async def test_guessing_the_present_password_is_throttled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with people(tmp_path) as it:
        await it.member.get("/account")
        right = {"present": PASSWORD, "password": NEW, "again": NEW}
        for _ in range(TRIES_PER_EMAIL_MAX):
            assert (await it.member.post("/account/password", right | {"present": "guess"})).status == 400
        reply = await it.member.post("/account/password", right)
        assert reply.status == 429
        assert int(reply.header("retry-after") or 0) > 0
        assert "Too many tries" in it.member.text
        later = clock.now() + WINDOW_SECONDS + 2
        monkeypatch.setattr(clock, "now", lambda: later)
        assert (await it.member.post("/account/password", right)).status == 200


async def test_many_may_sign_in_from_one_place_but_not_guess(tmp_path: Path) -> None:
    async with people(tmp_path) as it:
        for _ in range(TRIES_PER_ADDRESS_MAX + 5):
            await signed_in(it)
        assert is_in(await signed_in(it))
        for number in range(TRIES_PER_ADDRESS_MAX + 1):
            await signed_in(it, "x", f"guess{number}@example.org")
        assert not is_in(await signed_in(it))


async def test_signing_out_everywhere_else(tmp_path: Path) -> None:
    async with people(tmp_path) as it:
        elsewhere = [await signed_in(it) for _ in range(3)]
        await it.member.get("/account")
        assert "In 4 browsers" in it.member.text
        await it.member.post("/account/signout")
        assert "signed out everywhere else" in it.member.text
        assert await still_in(it.member)
        assert [await still_in(each) for each in elsewhere] == [False] * 3


async def test_a_way_in_is_closed_at_once_and_opened_again(tmp_path: Path) -> None:
    async with people(tmp_path) as it:
        user, second = await user_of(it), await signed_in(it)
        csrf = (await it.services.people.session(second.cookies["tollway_session"])).csrf  # type: ignore[union-attr]
        link = await it.services.people.reset_link(MEMBER)
        await it.owner.get(f"/people/{user.id}")
        assert "now in 2 browsers" in it.owner.text
        await it.owner.post(f"/people/{user.id}/disable")
        assert "Way in closed" in it.owner.text
        assert not await still_in(it.member)
        assert not await still_in(second)
        with pytest.raises(Exception, match="session is over"):
            await it.services.people.caller(second.cookies["tollway_session"], csrf)
        assert (await Visitor(it.app).get(f"/welcome/{link}")).status == 404
        refused = await signed_in(it)
        assert "Your way in was closed" in refused.text
        wrong = await signed_in(it, "not the password")
        assert "The email address or the password is wrong" in wrong.text, "only who knows the password is told"
        assert "tollway_session" not in refused.cookies
        await it.owner.get("/people")
        assert re.search(r"m@example\.org .* closed", it.owner.text)

        await it.owner.get(f"/people/{user.id}")
        await it.owner.post(f"/people/{user.id}/enable")
        assert not await still_in(second), "old sessions do not come back"
        assert is_in(await signed_in(it))


@pytest.mark.parametrize("action", ["disable", "remove"])
@pytest.mark.parametrize("keys_too", [True, False])
async def test_keys_go_on_or_are_disabled_as_the_owner_says(tmp_path: Path, action: str, keys_too: bool) -> None:
    async with people(tmp_path) as it:
        user = await user_of(it)
        keys = [await it.services.accounts.create_key(it.members_account, name) for name in ("one", "two")]
        theirs = await it.services.accounts.create_key(it.owners_account, "the owner's")
        await it.owner.get(f"/people/{user.id}")
        assert "Disable the account's 2 API keys" in it.owner.text
        assert 'name="keys" value="yes" checked' in it.owner.page, "nobody else looks after them"
        await it.owner.post(f"/people/{user.id}/{action}", {"keys": "yes"} if keys_too else {})
        assert [(await it.services.accounts.find_key(key.record.id)).enabled for key in keys] == [not keys_too] * 2
        assert (await it.services.accounts.find_key(theirs.record.id)).enabled
        assert not await still_in(it.member)
        assert (await it.services.accounts.find_account(it.members_account)).id == it.members_account


async def test_keys_of_a_shared_account_go_on_by_default(tmp_path: Path) -> None:
    async with people(tmp_path) as it:
        await it.services.accounts.create_key(it.members_account, "shared")
        link = await it.services.people.invite(account_id=it.members_account)
        other = Visitor(it.app)
        await other.get(f"/welcome/{link}")
        await other.post(f"/welcome/{link}", {"email": "o@example.org", "password": PASSWORD, "again": PASSWORD})
        await it.owner.get(f"/people/{(await user_of(it)).id}")
        assert "Somebody else uses this account" in it.owner.text
        assert 'name="keys" value="yes" checked' not in it.owner.page


async def test_who_is_removed_is_gone_and_may_be_invited_again(tmp_path: Path) -> None:
    async with people(tmp_path) as it:
        user = await user_of(it)
        await it.services.people.reset_link(MEMBER)
        await it.owner.get(f"/people/{user.id}")
        await it.owner.post(f"/people/{user.id}/remove")
        assert MEMBER not in it.owner.text
        assert not await still_in(it.member)
        assert not is_in(await signed_in(it))
        for path in ("", "/link", "/disable", "/enable", "/remove"):
            await it.owner.get("/people")
            reply = await (it.owner.post(f"/people/{user.id}{path}") if path else it.owner.get(f"/people/{user.id}"))
            assert reply.status == 404, path
        again = Visitor(it.app)
        await again.get("/signup")
        await again.post("/signup", {"email": MEMBER, "password": PASSWORD, "again": PASSWORD})
        assert is_in(again)
        assert (await user_of(it)).account_id != user.account_id


async def test_an_owner_makes_a_link_for_a_new_password(tmp_path: Path) -> None:
    async with people(tmp_path) as it:
        await it.owner.get(f"/people/{(await user_of(it)).id}")
        await it.owner.post(f"/people/{(await user_of(it)).id}/link")
        link = re.search(r"/welcome/\w{32}", html.unescape(it.owner.page))
        assert link
        member = Visitor(it.app)
        await member.get(link[0])
        await member.post(link[0], {"password": NEW, "again": NEW})
        assert is_in(member)
        assert not await still_in(it.member)


async def test_there_is_always_an_owner_left(tmp_path: Path) -> None:
    async with people(tmp_path) as it:
        first = await user_of(it, "owner@example.org")
        await it.owner.get(f"/people/{first.id}")
        assert "This is you" in it.owner.text
        await it.owner.get("/people")
        for action in ("disable", "remove"):
            assert (await it.owner.post(f"/people/{first.id}/{action}")).status == 403
        link = await it.services.people.invite(role="owner")
        second_owner = Visitor(it.app)
        await second_owner.get(f"/welcome/{link}")
        await second_owner.post(f"/welcome/{link}", {"email": "o@example.org", "password": PASSWORD, "again": PASSWORD})
        second = await user_of(it, "o@example.org")
        await it.owner.get("/people")
        await second_owner.get("/people")
        replies = await asyncio.gather(
            it.owner.submit(f"/people/{second.id}/remove", {"csrf": it.owner.csrf}),
            second_owner.submit(f"/people/{first.id}/remove", {"csrf": second_owner.csrf}),
        )
        assert min(reply.status for reply in replies) == 303
        owners = [user for user in await it.services.people.list_users() if user.role == "owner"]
        assert len(owners) == 1
