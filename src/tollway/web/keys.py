"""API keys of the account: make, show once, enable, disable, change, rotate, delete."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast, get_args

from msgspec import UNSET, UnsetType
from starlette.responses import Response

from tollway import clock
from tollway.accounts import ApiKey, KeyChanges, NewKey, SpendWindow
from tollway.catalog import Catalog
from tollway.errors import Conflict, InvalidRequest, ModelNotFound, NotFound, TollwayError
from tollway.usage import window_start
from tollway.usage.recording import DAY_SECONDS, HOUR_SECONDS
from tollway.web import dialects
from tollway.web.forms import Form, read_form
from tollway.web.frame import Visit
from tollway.wire.keys import LIMIT_MAX

_WINDOW_NAMES: dict[SpendWindow, str] = {"day": "Today", "week": "This week", "month": "This month", "no_reset": "In all"}

_EXPIRIES: dict[str, int | None] = {"never": None, **{str(days): days * DAY_SECONDS for days in (1, 7, 30, 90, 365)}}
"""What the form offers, in days -> seconds from now; None = never."""
_OVERLAPS = {"0": 0, "1": HOUR_SECONDS, "24": DAY_SECONDS, "168": 7 * DAY_SECONDS}
"""Hours -> seconds that the old secret goes on working after a rotation."""
_LIMITS = {
    "requests_per_minute": "Requests a minute",
    "tokens_per_minute": "Tokens a minute",
    "concurrency_max": "At the same time",
}
"""Fields of the form -> what people read there."""


async def keys(visit: Visit) -> Response:
    return await _list(visit)


async def create(visit: Visit) -> Response:
    form = await read_form(visit)
    try:
        new = await visit.services.accounts.create_key(visit.account_id, settings=_changes(form))
    except InvalidRequest as error:
        return await _list(visit, error=error, form=form)
    return _show_once(visit, new, "Your new key")


async def key(visit: Visit) -> Response:
    """One key, to be changed."""
    return _edit(visit, await _own(visit))


async def change(visit: Visit) -> Response:
    form = await read_form(visit)
    own = await _own(visit)
    try:
        await visit.services.accounts.update_key(own.id, _changes(form), account_id=visit.account_id)
    except InvalidRequest as error:
        if isinstance(error, NotFound):
            raise
        return _edit(visit, own, error=error, form=form)
    return _back_to(visit, own)


async def rotate(visit: Visit) -> Response:
    """A new secret for the one that the form names: sent again, the form would end the one that it replaced at first."""
    form = await read_form(visit)
    own = await _own(visit)
    if form.text("prefix") != own.prefix:
        raise Conflict("This key has got a new secret since the form was made; nothing was changed. Go back to the keys.")
    overlap = _OVERLAPS.get(form.text("overlap"))
    if overlap is None:
        raise InvalidRequest("Choose how long the old secret goes on working.", param="overlap")
    new = await visit.services.accounts.rotate_key(own.prefix, overlap_seconds=overlap, account_id=visit.account_id)
    return _show_once(visit, new, "The key's new secret")


def switching(enabled: bool) -> Callable[[Visit], Awaitable[Response]]:
    async def switch(visit: Visit) -> Response:
        await read_form(visit)
        own = await _own(visit)
        await visit.services.accounts.update_key(own.id, KeyChanges(enabled=enabled), account_id=visit.account_id)
        return _back_to(visit, own)

    return switch


async def delete(visit: Visit) -> Response:
    await read_form(visit)
    own = await _own(visit)
    await visit.services.accounts.delete_key(own.id, account_id=visit.account_id)
    return visit.redirect("/keys")


def _back_to(visit: Visit, own: ApiKey) -> Response:
    """The list, at the key: whoever works with the keyboard goes on where they were."""
    return visit.redirect(f"/keys#{own.id}")


async def _own(visit: Visit) -> ApiKey:
    """The key that the path names. Raises NotFound, also for keys of others."""
    try:
        return await visit.services.accounts.find_key(visit.request.path_params["id"], account_id=visit.account_id)
    except NotFound:
        raise NotFound("There is no such key any more. It may have been deleted in another window.") from None


async def _list(visit: Visit, *, error: TollwayError | None = None, form: Form | None = None) -> Response:
    own = await visit.services.accounts.list_keys(visit.account_id)
    now = clock.now()
    spent = await visit.services.usage.spent({one.id: window_start(one.spend_window or "month", now) for one in own})
    return visit.render(
        "keys.html",
        keys=[(one, spent.get(one.id, 0)) for one in own],
        window_names=_WINDOW_NAMES,
        error=error,
        form=form,
        **_choices(visit, form.all("models") if form else ()),
    )


def _edit(visit: Visit, own: ApiKey, *, error: TollwayError | None = None, form: Form | None = None) -> Response:
    named = (*(own.models or ()), *(form.all("models") if form else ()))
    return visit.render("key.html", key=own, error=error, form=form, **_choices(visit, named))


def _choices(visit: Visit, named: Iterable[str]) -> dict[str, Any]:
    """What can be chosen: the models that are served, and what else was `named`, which would be lost if it were not shown."""
    catalog = visit.services.catalog
    models = {model.id: "" for model in catalog.models}
    for name in named:
        models.setdefault(name, _said_of(catalog, name))
    return {"models": models, "windows": get_args(SpendWindow), "limits": _LIMITS, "now": clock.now()}


def _said_of(catalog: Catalog, name: str) -> str:
    """Of a name that is no served model's id."""
    try:
        return f"another name of {catalog.get(name).id}"
    except ModelNotFound:
        return "not served at present"


def _show_once(visit: Visit, new: NewKey, title: str) -> Response:
    models = visit.services.catalog.models
    model = new.record.models[0] if new.record.models else models[0].id if models else "MODEL"
    code = dialects.blocks(f"{visit.origin}/v1", dialects.first_call(model), new.secret)
    return visit.render("key_once.html", secret=True, title=title, new=new, code=code, call=dialects.try_now(model))


def _changes(form: Form) -> KeyChanges:
    """What the form says. Raises InvalidRequest for what cannot be."""
    chosen = tuple(form.all("models")) if form.text("which_models") == "some" else None
    if chosen is not None and not chosen:
        raise InvalidRequest("Choose at least one model, or all of them.", param="models")
    spend = form.credits("spend_limit")
    return KeyChanges(
        name=form.text("name"),
        expires_at=_expiry(form.text("expires")),
        models=chosen,
        spend_limit_credits=spend,
        spend_window=None if spend is None else cast("SpendWindow", form.text("spend_window")),  # checked as the API's is
        requests_per_minute=_limit(form, "requests_per_minute"),
        tokens_per_minute=_limit(form, "tokens_per_minute"),
        concurrency_max=_limit(form, "concurrency_max"),
    )


def _limit(form: Form, field: str) -> int | None:
    return form.number(field, _LIMITS[field], LIMIT_MAX)


def _expiry(choice: str) -> float | UnsetType | None:
    if choice in ("", "keep"):
        return UNSET
    if choice not in _EXPIRIES:
        raise InvalidRequest("Choose when the key expires.", param="expires")
    seconds = _EXPIRIES[choice]
    return None if seconds is None else clock.now() + seconds
