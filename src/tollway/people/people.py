"""Sign up, sign in, sign out, and who a cookie belongs to."""

import hmac
import re

import sqlalchemy as sa
from sqlalchemy import Connection

from tollway import clock
from tollway.accounts import Accounts, Caller, new_account
from tollway.errors import Forbidden, InvalidRequest, NotFound, Unauthorized
from tollway.ids import random_text
from tollway.people import links, sessions, throttle
from tollway.people.links import FIRST_OWNER_SECONDS, INVITATION_SECONDS, RESET_SECONDS, Link
from tollway.people.passwords import Passwords, checked_password
from tollway.people.records import Role, Session, User
from tollway.storage import Database
from tollway.storage.tables import accounts, users

_EMAIL = re.compile(r"[^\s\x00-\x1f\x7f@<>\"',;:\\]{1,64}@[^\s\x00-\x1f\x7f@<>\"',;:\\]{1,190}")
_WRONG = "The email address or the password is wrong."
_DISABLED = "Your way in was closed. Ask whoever runs this service."
PLAYGROUND = "playground"
"""What stands in the place of a key where a person calls with a session."""
_USER = tuple(users.c[name] for name in User.__struct_fields__)


class People:
    """Everything that is known of who may sign in. Tokens go out once, and only their digests stay."""

    def __init__(self, database: Database, accounts: Accounts, secret: bytes) -> None:
        self._database = database
        self._accounts = accounts
        self._secret = secret
        self._passwords = Passwords()

    # --- links --------------------------------------------------------------------------------------------------------

    async def first_owner_link(self) -> str | None:
        """The token of a link for the first owner, while there is none; links that were made before stop working."""
        link = Link("first_owner", None, "owner", None, clock.now() + FIRST_OWNER_SECONDS)
        return await self._database.write(
            lambda connection: None if _has_owner(connection) else links.insert(connection, link, self._secret)
        )

    async def invite(self, *, account_id: str | None = None, role: Role = "member") -> str:
        """The token of a link by which one person may sign up."""
        link = Link("invitation", account_id, role, None, clock.now() + INVITATION_SECONDS)
        return await self._database.write(lambda connection: links.insert(connection, link, self._secret))

    async def reset_link(self, email: str) -> str:
        """The token of a link by which a person sets a new password. Raises NotFound."""

        def work(connection: Connection) -> str:
            row = _by_email(connection, email)
            if row is None or row["disabled_at"] is not None:
                raise NotFound("There is nobody with this email address who may sign in.")
            link = Link("reset", row["account_id"], row["role"], row["id"], clock.now() + RESET_SECONDS)
            return links.insert(connection, link, self._secret)

        return await self._database.write(work)

    async def link(self, token: str) -> Link:
        """What a link is good for; it stays good. Raises NotFound."""
        return await self._database.read(lambda connection: links.find(connection, token, self._secret))

    async def has_owner(self) -> bool:
        return await self._database.read(_has_owner)

    # --- in and out ---------------------------------------------------------------------------------------------------

    async def sign_up(self, email: str, password: str, address: str, *, token: str | None) -> str:
        """A session's token for a new person, or for one who sets a new password by a link.

        Without a link (`token` None) the caller has made sure that sign-up is open. `address` is where the request comes from.
        Raises InvalidRequest, NotFound, RateLimited.
        """
        link: Link | None = None
        if token is None:
            await self._count_try("", address)
        else:
            await self._refuse_blocked(address)
            link = await self.link(token)
            if link.purpose == "reset":
                return await self._reset(token, link, password)
        email = _checked_email(email)
        hashed = await self._passwords.hash(checked_password(password, email))
        existing = await self._account_for(link)

        def work(connection: Connection) -> str:
            used = links.use(connection, token, self._secret) if token is not None else None
            account_id = existing or new_account(connection, _account_name(email)).id
            if used is not None and used.purpose == "first_owner":
                # nodes that started in the same moment printed a link each: their users take turns at the first account
                connection.execute(sa.select(accounts.c.id).where(accounts.c.id == account_id).with_for_update())
                if _has_owner(connection):
                    raise links.link_is_gone()
            user_id = _insert_user(connection, account_id, email, hashed, used.role if used else "member")
            return sessions.insert(connection, user_id, self._secret)

        try:
            return await self._database.write(work)
        except sa.exc.IntegrityError:
            if token is not None:  # who has a link does not get to ask for all the addresses there are
                await self._count_try("", address)
            raise _taken() from None

    async def sign_in(self, email: str, password: str, address: str, *, old_token: str | None = None) -> str:
        """A new session's token; the old one, if any, is over. Raises Unauthorized, RateLimited.

        `address` is where the request comes from. What is wrong is never told: neither that nobody has this email address.
        """
        email = email.strip().lower()[:300].replace("\0", "?")  # PostgreSQL takes no null characters
        await self._count_try(email, address)
        row = await self._database.read(lambda connection: _by_email(connection, email))
        if not await self._passwords.check(row["password_hash"] if row else None, password[:1000]) or row is None:
            raise Unauthorized(_WRONG, code="wrong_password")
        if row["disabled_at"] is not None:  # who knows the password may know that, too
            raise Unauthorized(_DISABLED, code="disabled")

        def work(connection: Connection) -> str:
            throttle.forget(connection, email, address)
            if old_token is not None:
                sessions.delete(connection, old_token, self._secret)
            connection.execute(sa.update(users).where(users.c.id == row["id"]).values(last_login_at=clock.now()))
            return sessions.insert(connection, row["id"], self._secret)

        return await self._database.write(work)

    async def sign_out(self, token: str) -> None:
        await self._database.write(lambda connection: sessions.delete(connection, token, self._secret))

    async def change_password(self, user: User, present: str, password: str, address: str) -> str:
        """The token of a new session; all others of the person are over. `present` is counted like a try to sign in.

        Raises InvalidRequest, RateLimited.
        """
        checked_password(password, user.email)
        await self._count_try(user.email, address)
        row = await self._database.read(lambda connection: _by_email(connection, user.email))
        known = row["password_hash"] if row else None
        if not await self._passwords.check(known, present[:1000]):
            raise InvalidRequest("This is not your present password.", param="present")
        hashed = await self._passwords.hash(password)

        def work(connection: Connection) -> str:
            mine = sa.update(users).where(users.c.id == user.id, users.c.password_hash == known)
            if connection.execute(mine.values(password_hash=hashed)).rowcount != 1:
                raise InvalidRequest("The password was changed in another window. Sign in again.")
            throttle.forget(connection, user.email, address)
            return self._anew(connection, user.id, user.email)

        return await self._database.write(work)

    async def sign_out_elsewhere(self, user: User) -> str:
        """The token of a new session; all others of the person are over."""
        return await self._database.write(lambda connection: self._anew(connection, user.id, user.email))

    async def sessions_of(self, user_id: str) -> int:
        """In how many browsers they are signed in."""
        return await self._database.read(lambda connection: sessions.count(connection, user_id))

    # --- who may come in: an owner's affair -----------------------------------------------------------------------------

    async def find_user(self, user_id: str) -> User:
        """Raises NotFound."""
        query = sa.select(*_USER).where(users.c.id == user_id)
        row = await self._database.read(lambda connection: connection.execute(query).mappings().first())
        if row is None:
            raise _nobody()
        return User(**row)

    async def set_disabled(self, user_id: str, disabled: bool, *, by: User) -> None:
        """Closes somebody's way in, or opens it again. Their sessions are over at once. Raises NotFound, Forbidden."""

        def work(connection: Connection) -> None:
            _refuse_oneself(connection, user_id, by)
            at = clock.now() if disabled else None
            if connection.execute(sa.update(users).where(users.c.id == user_id).values(disabled_at=at)).rowcount != 1:
                raise _nobody()
            sessions.delete_all(connection, user_id)
            links.delete_of(connection, user_id)

        await self._database.write(work)

    async def remove(self, user_id: str, *, by: User) -> None:
        """Somebody is gone, with their sessions; their account and its keys stay. Raises NotFound, Forbidden."""

        def work(connection: Connection) -> None:
            _refuse_oneself(connection, user_id, by)
            sessions.delete_all(connection, user_id)
            links.delete_of(connection, user_id)
            if connection.execute(sa.delete(users).where(users.c.id == user_id)).rowcount != 1:
                raise _nobody()

        await self._database.write(work)

    # --- who is it ----------------------------------------------------------------------------------------------------

    async def session(self, token: str | None) -> Session | None:
        """The person whom a cookie belongs to, or None."""
        if not token:
            return None
        return await self._database.read(lambda connection: sessions.find(connection, token, self._secret))

    async def caller(self, token: str | None, csrf: str) -> Caller:
        """The caller of a request that the playground sends with a session. Raises Unauthorized, Forbidden."""
        session = await self.session(token)
        if session is None:
            raise Unauthorized("Your session is over. Sign in again.", code="session_over")
        if not hmac.compare_digest(session.csrf.encode(), csrf.encode("utf-8", "replace")):
            raise Forbidden("This request did not come from one of our own pages. Reload the page and try again.")
        account = await self._accounts.find_account(session.user.account_id)
        return Caller(
            account_id=account.id,
            account_name=account.name,
            key_id="",
            key_prefix=PLAYGROUND,
            key_name=PLAYGROUND,
            account_limits=account.limits,
            low_balance_credits=account.low_balance_credits,
            origin="playground",
        )

    def csrf_for_visitor(self, visitor: str) -> str:
        """The token for the forms of somebody who is not signed in; `visitor` is what a cookie of theirs holds."""
        return sessions.csrf_of("visitor:" + visitor, self._secret)

    async def list_users(self) -> list[User]:
        """Oldest first."""
        query = sa.select(*_USER).order_by(users.c.created_at, users.c.id)
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [User(**row) for row in rows]

    def close(self) -> None:
        self._passwords.close()

    async def _count_try(self, email: str, address: str) -> None:
        """Raises RateLimited when there were too many."""
        await self._refuse_blocked(address)  # a flood writes nothing
        wait = await self._database.write(lambda connection: throttle.count(connection, email, address))
        if wait is not None:
            raise throttle.too_many(wait)

    async def _refuse_blocked(self, address: str) -> None:
        wait = await self._database.read(lambda connection: throttle.blocked(connection, address))
        if wait is not None:
            raise throttle.too_many(wait)

    async def _reset(self, token: str, link: Link, password: str) -> str:
        row = await self._database.read(
            lambda connection: connection.execute(sa.select(users).where(users.c.id == link.user_id)).mappings().first()
        )
        if row is None or row["disabled_at"] is not None:
            raise links.link_is_gone()
        hashed = await self._passwords.hash(checked_password(password, row["email"]))

        def work(connection: Connection) -> str:
            links.use(connection, token, self._secret)
            connection.execute(sa.update(users).where(users.c.id == row["id"]).values(password_hash=hashed))
            return self._anew(connection, row["id"], row["email"])

        return await self._database.write(work)

    def _anew(self, connection: Connection, user_id: str, email: str) -> str:
        """A new session's token, and the only one: whoever knew the old password, or had a link for it, is out."""
        sessions.delete_all(connection, user_id)
        links.delete_of(connection, user_id)
        throttle.forget(connection, email)
        return sessions.insert(connection, user_id, self._secret)

    async def _account_for(self, link: Link | None) -> str | None:
        """The first owner takes the first account, who is invited to one takes that, everybody else gets one of their own."""
        if link is not None and link.purpose == "first_owner":
            return (await self._accounts.first_account()).id
        return None if link is None else link.account_id


def _checked_email(email: str) -> str:
    """As it is stored. Raises InvalidRequest."""
    email = email.strip().lower()
    if not _EMAIL.fullmatch(email) or not email.isprintable():
        raise InvalidRequest("This is no email address.", param="email")
    return email


def _refuse_oneself(connection: Connection, user_id: str, by: User) -> None:
    """So there is always an owner left. The lock keeps two owners from removing each other at the same moment."""
    owners = sa.select(users.c.id).where(users.c.role == "owner", users.c.disabled_at.is_(None)).order_by(users.c.id)
    if by.id not in connection.execute(owners.with_for_update()).scalars().all():
        raise Forbidden("This page is for the owner of this installation.")
    if user_id == by.id:
        raise Forbidden("Nobody can close their own way in. Another owner can.")


def _taken() -> InvalidRequest:
    return InvalidRequest("This email address cannot be used. If it is yours, sign in.", param="email")


def _nobody() -> NotFound:
    return NotFound("There is no such person any more.")


def _account_name(email: str) -> str:
    return f"{email[:80]} {random_text(4)}"


def _has_owner(connection: Connection) -> bool:
    return connection.execute(sa.select(users.c.id).where(users.c.role == "owner").limit(1)).first() is not None


def _by_email(connection: Connection, email: str) -> sa.RowMapping | None:
    return connection.execute(sa.select(users).where(users.c.email == email.strip().lower())).mappings().first()


def _insert_user(connection: Connection, account_id: str, email: str, hashed: str, role: Role) -> str:
    now = clock.now()
    row = {
        "id": "usr_" + random_text(21),
        "account_id": account_id,
        "email": email,
        "password_hash": hashed,
        "role": role,
        "created_at": now,
        "last_login_at": now,
    }
    connection.execute(sa.insert(users).values(row))
    return str(row["id"])
