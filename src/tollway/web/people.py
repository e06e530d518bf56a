"""For the owner: who may sign in, invitations, and the way out. For everybody: their own password."""

from collections.abc import Awaitable, Callable

from starlette.responses import Response

from tollway.accounts import Account, ApiKey, KeyChanges
from tollway.errors import InvalidRequest, RateLimited, TollwayError
from tollway.people import User
from tollway.people.passwords import LENGTH_MAX, LENGTH_MIN
from tollway.web.forms import read_form
from tollway.web.frame import Visit

_DONE = {
    "password": "Your password is changed, and you are signed out everywhere else.",
    "signed-out": "You are signed out everywhere else.",
}


async def people(visit: Visit) -> Response:
    return await _people_page(visit)


async def invite(visit: Visit) -> Response:
    """Makes a link for one person; it is shown once."""
    form = await read_form(visit)
    if visit.services.settings.signup == "closed":
        raise InvalidRequest("Sign-up is closed: set `signup` to `invitation` to invite people.")
    account_id = visit.account_id if form.text("account") == "same" else None
    token = await visit.services.people.invite(account_id=account_id)
    return await _people_page(visit, link=f"{visit.origin}/welcome/{token}")


async def person(visit: Visit) -> Response:
    return await _person_page(visit, await _named(visit))


async def reset(visit: Visit) -> Response:
    """Makes a link by which the person sets a new password; it is shown once."""
    await read_form(visit)
    user = await _named(visit)
    token = await visit.services.people.reset_link(user.email)
    return await _person_page(visit, user, link=f"{visit.origin}/welcome/{token}")


def switching(disabled: bool) -> Callable[[Visit], Awaitable[Response]]:
    async def switch(visit: Visit) -> Response:
        form = await read_form(visit)
        user = await _named(visit)
        await visit.services.people.set_disabled(user.id, disabled, by=visit.signed_in.user)
        if disabled and form.text("keys"):
            await _disable_keys(visit, user)
        return visit.redirect(f"/people/{user.id}")

    return switch


async def remove(visit: Visit) -> Response:
    form = await read_form(visit)
    user = await _named(visit)
    await visit.services.people.remove(user.id, by=visit.signed_in.user)
    if form.text("keys"):
        await _disable_keys(visit, user)
    return visit.redirect("/people")


async def account(visit: Visit) -> Response:
    return await _account_page(visit)


async def change_password(visit: Visit) -> Response:
    form = await read_form(visit)
    user, password = visit.signed_in.user, form.secret("password")
    try:
        if password != form.secret("again"):
            raise InvalidRequest("The two new passwords differ.", param="again")
        token = await visit.services.people.change_password(user, form.secret("present"), password, visit.address)
    except (InvalidRequest, RateLimited) as error:
        return await _account_page(visit, error=error)
    return visit.signed(token, "/account?done=password")


async def sign_out_elsewhere(visit: Visit) -> Response:
    await read_form(visit)
    token = await visit.services.people.sign_out_elsewhere(visit.signed_in.user)
    return visit.signed(token, "/account?done=signed-out")


async def _named(visit: Visit) -> User:
    """The person that the path names. Raises NotFound."""
    return await visit.services.people.find_user(visit.request.path_params["id"])


async def _disable_keys(visit: Visit, user: User) -> None:
    for key in await _enabled_keys(visit, user.account_id):
        await visit.services.accounts.update_key(key.id, KeyChanges(enabled=False))


async def _enabled_keys(visit: Visit, account_id: str) -> list[ApiKey]:
    return [key for key in await visit.services.accounts.list_keys(account_id) if key.enabled]


async def _people_page(visit: Visit, link: str | None = None) -> Response:
    users = await visit.services.people.list_users()
    return visit.render(
        "people.html",
        secret=True,
        users=users,
        accounts=await _accounts(visit),
        link=link,
        signup=visit.services.settings.signup,
    )


async def _person_page(visit: Visit, user: User, link: str | None = None) -> Response:
    users = await visit.services.people.list_users()
    return visit.render(
        "person.html",
        secret=True,
        user=user,
        account=(await _accounts(visit))[user.account_id],
        others=[other for other in users if other.account_id == user.account_id and other.id != user.id],
        keys=await _enabled_keys(visit, user.account_id),
        sessions=await visit.services.people.sessions_of(user.id),
        link=link,
    )


async def _accounts(visit: Visit) -> dict[str, Account]:
    return {account.id: account for account in await visit.services.accounts.list_accounts()}


async def _account_page(visit: Visit, error: TollwayError | None = None) -> Response:
    return visit.render(
        "account.html",
        secret=True,
        error=error,
        done=_DONE.get(visit.query("done", 20)),
        sessions=await visit.services.people.sessions_of(visit.signed_in.user.id),
        length_min=LENGTH_MIN,
        length_max=LENGTH_MAX,
    )
