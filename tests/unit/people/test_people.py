"""Who gets in when many try at once, on several nodes: one first owner, one use of a link, so many guesses and no more."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection
from tests.visitor import PASSWORD

from tollway import clock
from tollway.accounts import Accounts
from tollway.errors import InvalidRequest, NotFound, RateLimited, TollwayError
from tollway.people import SESSION_SECONDS, People
from tollway.people.throttle import TRIES_PER_ADDRESS_MAX, TRIES_PER_EMAIL_MAX, WINDOW_SECONDS
from tollway.settings import DatabaseUrl
from tollway.storage import Database
from tollway.storage.tables import links, metadata, users

SECRET = b"s" * 32
OWNER = "owner@example.org"
NODES = 3


class Node:
    """What one process has of people: connections of its own to the common database."""

    def __init__(self, place: Path | DatabaseUrl) -> None:
        self.database = Database(place)
        self.accounts = Accounts(self.database, SECRET)
        self.people = People(self.database, self.accounts, SECRET)

    async def close(self) -> None:
        self.people.close()
        await self.accounts.close()
        self.database.close()


@pytest.fixture
async def nodes(place: Path | DatabaseUrl) -> AsyncIterator[list[Node]]:
    made = [Node(place) for _ in range(NODES)]
    yield made
    for node in made:
        await node.close()


@pytest.fixture
async def people(nodes: list[Node]) -> People:
    return nodes[0].people


async def made_owner(people: People) -> str:
    """A session's token."""
    return await people.sign_up(OWNER, PASSWORD, "::1", token=await people.first_owner_link())


def without_hashing(nodes: list[Node]) -> None:
    """All come at once only if none has to wait for its hash."""

    async def hashed(password: str) -> str:
        return "argon2"

    for node in nodes:
        node.people._passwords.hash = hashed  # type: ignore[method-assign]


async def outcomes(tries: Sequence[Awaitable[str]]) -> Counter[str]:
    """How often each came to what: `ok`, or the name of an error."""
    results = await asyncio.gather(*tries, return_exceptions=True)
    unexpected = [each for each in results if isinstance(each, BaseException) and not isinstance(each, TollwayError)]
    assert not unexpected
    return Counter(type(each).__name__ if isinstance(each, TollwayError) else "ok" for each in results)


@pytest.mark.parametrize("links_count", [1, 4])
async def test_a_hundred_first_set_ups_at_once_make_exactly_one_owner(nodes: list[Node], links_count: int) -> None:
    without_hashing(nodes)
    # each start replaces the link; nodes that start in the same moment do not see each other's
    tokens = [await nodes[0].people.invite() for _ in range(links_count)]
    await nodes[0].database.write(lambda c: c.execute(sa.update(links).values(purpose="first_owner", role="owner")))

    def sign_up(number: int) -> Awaitable[str]:
        node, token = nodes[number % NODES], tokens[number % links_count]
        return node.people.sign_up(f"u{number}@example.org", PASSWORD, "::1", token=token)

    assert await outcomes([sign_up(number) for number in range(100)]) == {"ok": 1, "NotFound": 99}
    assert [user.role for user in await nodes[0].people.list_users()] == ["owner"]
    assert [await node.people.first_owner_link() for node in nodes] == [None] * NODES
    for token in tokens:
        with pytest.raises(NotFound):
            await nodes[0].people.sign_up("late@example.org", PASSWORD, "::1", token=token)


async def test_nodes_that_start_at_once_each_print_a_link_and_one_owner_comes_of_them(nodes: list[Node]) -> None:
    without_hashing(nodes)
    tokens = await asyncio.gather(*(node.people.first_owner_link() for node in nodes))
    tries = [node.people.sign_up(f"u{n}@example.org", PASSWORD, "::1", token=tokens[n]) for n, node in enumerate(nodes)]
    assert (await outcomes(tries))["ok"] == 1
    assert len(await nodes[0].people.list_users()) == 1


async def test_a_link_lets_one_person_in_however_many_use_it(nodes: list[Node]) -> None:
    without_hashing(nodes)
    await made_owner(nodes[0].people)
    token = await nodes[0].people.invite()
    tries = [nodes[n % NODES].people.sign_up(f"u{n}@example.org", PASSWORD, "::1", token=token) for n in range(30)]
    assert await outcomes(tries) == {"ok": 1, "NotFound": 29}
    assert len(await nodes[0].people.list_users()) == 2
    assert len(await nodes[0].accounts.list_accounts()) == 2, "who came too late has left none behind"


async def test_an_email_address_is_taken_once(nodes: list[Node]) -> None:
    without_hashing(nodes)
    tries = [node.people.sign_up("same@example.org", PASSWORD, "::1", token=None) for node in nodes * 5]
    assert await outcomes(tries) == {"ok": 1, "InvalidRequest": len(tries) - 1}
    assert len(await nodes[0].accounts.list_accounts()) == 1


async def test_a_link_does_not_tell_which_addresses_are_taken(nodes: list[Node]) -> None:
    without_hashing(nodes)
    people = nodes[0].people
    await made_owner(people)
    token = await people.invite()
    for _ in range(TRIES_PER_ADDRESS_MAX):
        with pytest.raises(InvalidRequest):
            await people.sign_up(OWNER, PASSWORD, "192.0.2.1", token=token)
    with pytest.raises(RateLimited):
        await people.sign_up(OWNER, PASSWORD, "192.0.2.1", token=token)
    assert await people.sign_up("new@example.org", PASSWORD, "192.0.2.2", token=token)


async def test_guesses_that_come_at_once_are_counted_one_by_one(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    await made_owner(nodes[0].people)
    tries = [nodes[n % NODES].people.sign_in(OWNER, "a wrong guess", f"10.0.0.{n}") for n in range(40)]
    assert await outcomes(tries) == {"Unauthorized": TRIES_PER_EMAIL_MAX, "RateLimited": 40 - TRIES_PER_EMAIL_MAX}
    with pytest.raises(RateLimited):
        await nodes[1].people.sign_in(OWNER, PASSWORD, "10.0.1.1")
    later = clock.now() + WINDOW_SECONDS + 2
    monkeypatch.setattr(clock, "now", lambda: later)
    assert await nodes[1].people.sign_in(OWNER, PASSWORD, "10.0.1.1")


async def test_one_place_cannot_try_many_addresses(nodes: list[Node]) -> None:
    for node in nodes:

        async def never(hashed: str | None, password: str) -> bool:
            return False

        node.people._passwords.check = never  # type: ignore[method-assign]
    count = TRIES_PER_ADDRESS_MAX + 30
    tries = [nodes[n % NODES].people.sign_in(f"u{n}@example.org", "x", "10.0.0.1") for n in range(count)]
    assert await outcomes(tries) == {"Unauthorized": TRIES_PER_ADDRESS_MAX, "RateLimited": 30}


async def test_who_has_had_his_tries_keeps_nobody_else_out(people: People) -> None:
    await made_owner(people)
    check = people._passwords.check

    async def never(hashed: str | None, password: str) -> bool:
        return False

    people._passwords.check = never  # type: ignore[method-assign]
    guesses = [people.sign_in(f"u{n}@example.org", "x", f"2001:db8::{n:x}") for n in range(TRIES_PER_ADDRESS_MAX)]
    assert await outcomes(guesses) == {"Unauthorized": TRIES_PER_ADDRESS_MAX}
    more = [people.sign_in(OWNER, "x", f"2001:db8::1:{n:x}") for n in range(2 * TRIES_PER_EMAIL_MAX)]
    assert await outcomes(more) == {"RateLimited": len(more)}
    people._passwords.check = check  # type: ignore[method-assign]
    assert await people.sign_in(OWNER, PASSWORD, "2001:db8:0:1::1")


async def test_a_sign_in_that_succeeds_forgets_the_tries_before_it(people: People) -> None:
    await made_owner(people)
    for _ in range(2):
        tries = [people.sign_in(OWNER, "a wrong guess", "::1") for _ in range(TRIES_PER_EMAIL_MAX - 1)]
        assert await outcomes(tries) == {"Unauthorized": TRIES_PER_EMAIL_MAX - 1}
        assert await people.sign_in(OWNER, PASSWORD, "::1")


async def test_passwords_are_stored_as_argon2id_with_a_salt_and_nothing_else_is(nodes: list[Node]) -> None:
    people, database = nodes[0].people, nodes[0].database
    link = await people.first_owner_link()
    session = await people.sign_up(OWNER, PASSWORD, "::1", token=link)
    await people.sign_up("m@example.org", PASSWORD, "::1", token=None)
    hashes = await database.read(lambda c: c.execute(sa.select(users.c.password_hash)).scalars().all())
    assert len(set(hashes)) == 2, "salted"
    assert all(each.startswith("$argon2id$v=19$m=65536,t=3,p=4$") for each in hashes)
    everything = await database.read(_everything)
    for secret in (PASSWORD, session, link):
        assert secret
        assert secret not in everything


async def test_nobody_takes_as_long_as_somebody(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    await made_owner(people)
    verified = []
    verify = people._passwords._matches

    def noted(hashed: str, password: str) -> bool:
        verified.append(hashed)
        return verify(hashed, password)

    monkeypatch.setattr(people._passwords, "_matches", noted)
    for email in (OWNER, "nobody@example.org"):
        assert await outcomes([people.sign_in(email, "a wrong guess", "::1")]) == {"Unauthorized": 1}
    assert len(verified) == 2
    assert {hashed.rpartition("$")[0].rpartition("$")[0] for hashed in verified} == {"$argon2id$v=19$m=65536,t=3,p=4"}


async def test_a_new_password_ends_all_sessions_on_all_nodes(nodes: list[Node]) -> None:
    one, two = nodes[0].people, nodes[1].people
    old = await made_owner(one)
    token = await one.reset_link(OWNER)
    new = await two.sign_up("", "an entirely new one", "::1", token=token)
    assert [await node.people.session(old) for node in nodes] == [None] * NODES
    assert await one.session(new) is not None
    assert await outcomes([one.sign_in(OWNER, PASSWORD, "::1")]) == {"Unauthorized": 1}


async def test_a_session_ends_when_it_is_over_or_signed_out(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await made_owner(people)
    second = await people.sign_in(OWNER, PASSWORD, "::1", old_token=first)
    assert await people.session(first) is None, "rotated"
    assert await people.session(second) is not None
    assert await people.session(second[:-1]) is None
    assert await people.session("x" * 10_000) is None
    later = clock.now() + SESSION_SECONDS + 1
    with monkeypatch.context() as then:
        then.setattr(clock, "now", lambda: later)
        assert await people.session(second) is None
    await people.sign_out(second)
    assert await people.session(second) is None


def _everything(connection: Connection) -> str:
    return "".join(str(row) for table in metadata.sorted_tables for row in connection.execute(sa.select(table)))
