"""`tollway keys`: API keys. They work at once, on a running server too."""

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tollway import clock
from tollway.cli import values
from tollway.cli.accounts import limits_text
from tollway.cli.house import named_key, named_or_first, on_accounts
from tollway.cli.terminal import (
    AsJson,
    Home,
    InAccount,
    err,
    fail,
    moment,
    out,
    print_json,
    print_table,
    settings_in_force,
    warn,
)
from tollway.settings import SettingsError

if TYPE_CHECKING:
    from tollway.accounts import Account, Accounts, ApiKey, KeyChanges, NewKey

app = typer.Typer(help="Create, list, change, rotate, disable and delete API keys.", no_args_is_help=True)

Key = Annotated[
    str,
    typer.Argument(
        help="The key's visible prefix (`tollway keys list`), its name where no other has it, or its id.", show_default=False
    ),
]
Models = Annotated[str | None, typer.Option("--models", help="Models it may ask, separated by commas: ids or aliases; or all.")]
Scopes = Annotated[str | None, typer.Option("--scopes", help="What it may be used for, such as chat or image; or all.")]
SpendLimit = Annotated[
    str | None,
    typer.Option(
        "--spend-limit", help="The most it may spend: 5USD/day, /week or /month (UTC), 5USD or 500000credits for good; or none."
    ),
]
Rpm = Annotated[str | None, typer.Option("--rpm", help="Requests per minute, or none.")]
Tpm = Annotated[str | None, typer.Option("--tpm", help="Tokens per minute, or none.")]
Concurrency = Annotated[str | None, typer.Option("--concurrency", help="Requests at a time, or none.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the key.")]


@app.command()
def create(
    name: Annotated[str | None, typer.Option("--name", "-n", help="What the key is for; default: its prefix.")] = None,
    account: InAccount = None,
    expires_in: Annotated[
        str | None, typer.Option("--expires-in", help="How long the key works: 90s, 15m, 12h, 30d or 8w; default: for good.")
    ] = None,
    models: Models = None,
    scopes: Scopes = None,
    spend_limit: SpendLimit = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
    management: Annotated[
        bool, typer.Option("--management", help="Make a management key: it manages API keys over HTTP and asks no models.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Create an API key. It is shown this once; Tollway keeps only its hash.

    For example, a key for a nightly job that can do no harm:

    `tollway keys create --name nightly --expires-in 90d --models smollm2-135m-instruct --spend-limit 5USD/day --rpm 60`
    """
    settings = _changes(name, expires_in, models, scopes, spend_limit, (rpm, tpm, concurrency))

    async def work(accounts: "Accounts") -> "tuple[NewKey, Account]":
        owner = await named_or_first(accounts, account)
        return await accounts.create_key(owner.id, settings=settings, kind="management" if management else "api"), owner

    new, owner = on_accounts(home, work, first=account is None)
    _report_new(new, owner, as_json, quiet)
    _warn_of_unknown(settings, home)


@app.command(name="list")
def list_(
    account: Annotated[str | None, typer.Option("--account", "-a", help="Only keys of this account: name or id.")] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """List the API keys of all accounts, or of one, without their secrets."""

    async def work(accounts: "Accounts") -> "tuple[list[ApiKey], list[Account]]":
        owner = None if account is None else await accounts.find_account(account)
        return await accounts.list_keys(owner.id if owner else None), await accounts.list_accounts()

    keys, owners = on_accounts(home, work)
    owner_of = {owner.id: owner for owner in owners}
    if as_json:
        print_json([_shown(key, owner_of[key.account_id]) for key in keys])
        return
    columns = ("Prefix", "Name", "Account", "State", "May", "Created", "Expires", "Last used")
    nothing = "There are no API keys. `tollway keys create` makes one."
    rows = []
    for key in keys:
        times = (_minute(at) for at in (key.created_at, key.expires_at, key.last_used_at))
        rows.append((key.prefix, key.name, owner_of[key.account_id].name, key.state, _may(key), *times))
    print_table(columns, rows, wrapped=("Name", "Account", "May", "Created", "Expires", "Last used"), nothing=nothing)


@app.command()
def update(
    key: Key,
    name: Annotated[str | None, typer.Option("--name", "-n", help="What the key is for.")] = None,
    expires_in: Annotated[
        str | None, typer.Option("--expires-in", help="How long it works from now on: 12h, 30d, ...; or never, to let it live.")
    ] = None,
    models: Models = None,
    scopes: Scopes = None,
    spend_limit: SpendLimit = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Change a key; what is not named stays. A running server obeys within a second.

    `tollway keys update tw_9yAcVpQ2x --models all --spend-limit 20USD/month --rpm none`
    """
    changes = _changes(name, expires_in, models, scopes, spend_limit, (rpm, tpm, concurrency))
    if changes == _changes(None, None, None, None, None, (None, None, None)):
        fail("Say what to change: --name, --expires-in, --models, --scopes, --spend-limit, --rpm, --tpm or --concurrency.", 2)
    _report(*_on_key(home, key, lambda accounts, id_: accounts.update_key(id_, changes)), as_json)
    _warn_of_unknown(changes, home)


@app.command()
def rotate(
    key: Key,
    overlap: Annotated[
        str, typer.Option("--overlap", help="How long the old secret still works: 0, 15m, 24h, at most 30d.")
    ] = "24h",
    quiet: Quiet = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Give a key a new secret; name, limits and what it has spent stay. Both secrets work until the overlap is over.

    After a leak, `--overlap 0` ends all older secrets at once.
    """
    overlap_seconds = values.seconds(overlap, "--overlap", least=0)

    async def work(accounts: "Accounts") -> "tuple[NewKey, Account]":
        new = await accounts.rotate_key(await named_key(accounts, key), overlap_seconds=overlap_seconds)
        return new, await accounts.find_account(new.record.account_id)

    new, owner = on_accounts(home, work)
    _report_new(new, owner, as_json, quiet)


@app.command()
def disable(key: Key, as_json: AsJson = False, home: Home = None) -> None:
    """Refuse a key from now on; `enable` takes it back."""
    _report(*_on_key(home, key, lambda accounts, id_: accounts.set_enabled(id_, False)), as_json)


@app.command()
def enable(key: Key, as_json: AsJson = False, home: Home = None) -> None:
    """Accept a disabled key again."""
    _report(*_on_key(home, key, lambda accounts, id_: accounts.set_enabled(id_, True)), as_json)


@app.command()
def delete(key: Key, as_json: AsJson = False, home: Home = None) -> None:
    """Refuse a key for good."""
    _report(*_on_key(home, key, lambda accounts, id_: accounts.delete_key(id_)), as_json)


def _on_key(home: Path | None, named: str, work: "Callable[[Accounts, str], Awaitable[ApiKey]]") -> "tuple[ApiKey, Account]":
    """The key that `work` gives for the one that is `named`, and whose it is."""

    async def with_owner(accounts: "Accounts") -> "tuple[ApiKey, Account]":
        key = await work(accounts, await named_key(accounts, named))
        return key, await accounts.find_account(key.account_id)

    return on_accounts(home, with_owner)


def _changes(
    name: str | None,
    expires_in: str | None,
    models: str | None,
    scopes: str | None,
    spend_limit: str | None,
    rates: tuple[str | None, str | None, str | None],
) -> "KeyChanges":
    """What the flags say; those that were not given are left out."""
    from tollway.accounts import KeyChanges

    given: dict[str, Any] = {} if name is None else {"name": name}
    if expires_in is not None:
        never = expires_in.strip().lower() == "never"
        given["expires_at"] = None if never else clock.now() + values.seconds(expires_in, "--expires-in")
    if models is not None:
        given["models"] = values.words(models)
    if scopes is not None:
        given["scopes"] = values.scopes(scopes)
    if spend_limit is not None:
        given["spend_limit_credits"], given["spend_window"] = values.spend_limit(spend_limit, "--spend-limit")
    given |= values.rates(*rates)
    return KeyChanges(**given)


def _warn_of_unknown(changes: "KeyChanges", home: Path | None) -> None:
    """Says so of models that nobody serves: they may be there later, or be misspelt."""
    from tollway.cli.public_models import catalog_of_a_start
    from tollway.engine import EngineError
    from tollway.errors import ModelNotFound

    if not isinstance(changes.models, tuple):
        return
    with contextlib.suppress(SettingsError, EngineError):  # the start will tell
        catalog = catalog_of_a_start(settings_in_force(home=home))
        unserved = {name for plan in catalog.unserved for name in (plan.model.id, *plan.model.aliases)}
        for name in changes.models:
            try:
                if name not in unserved:
                    catalog.resolve(name)
            except ModelNotFound as error:
                warn(error.message)


def _report(key: "ApiKey", owner: "Account", as_json: bool) -> None:
    if as_json:
        print_json(_shown(key, owner))
        return
    out.print(f"{key.prefix} ", end="")
    out.print(key.name, markup=False, end=": ")
    out.print(key.state, end="; may ")
    out.print(_may(key), markup=False)


def _report_new(new: "NewKey", owner: "Account", as_json: bool, quiet: bool) -> None:
    if as_json:
        print_json(_shown(new.record, owner) | {"key": new.secret})
        return
    print(new.secret)
    if not quiet:
        err.print("Keep it: it is not shown again.")


def _may(key: "ApiKey") -> str:
    """What the key may do, in a line."""
    if key.kind == "management":
        return "manage keys"
    scopes = "everything" if key.scopes is None else ", ".join(scope.removeprefix("model:") for scope in key.scopes)
    parts = [scopes]
    if key.models is not None:
        parts.append("with " + (", ".join(key.models) if len(key.models) <= 2 else f"{len(key.models)} models"))
    if (spend := values.spend_text(key.spend_limit_credits, key.spend_window)) is not None:
        parts.append(f"up to {spend}")
    return "; ".join([*parts, *filter(None, [limits_text(key)])])


def _shown(key: "ApiKey", owner: "Account") -> dict[str, Any]:
    """For programs."""
    names = ("created_at", "updated_at", "expires_at", "last_used_at", "previous_expires_at")
    times = {name: getattr(key, name) for name in names}
    return {
        "id": key.id,
        "account_id": key.account_id,
        "account": owner.name,
        "kind": key.kind,
        "prefix": key.prefix,
        "name": key.name,
        "state": key.state,
        "enabled": key.enabled,
        "scopes": key.scopes,
        "models": key.models,
        "spend_limit_credits": key.spend_limit_credits,
        "spend_window": key.spend_window,
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
        "concurrency_max": key.concurrency_max,
        "previous_prefix": key.previous_prefix,
        **{name: None if at is None else clock.iso(at) for name, at in times.items()},
    }


def _minute(at: float | None) -> str:
    return "never" if at is None else moment(at)[:16]
