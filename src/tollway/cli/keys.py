"""`tollway keys`: API keys. They work at once, on a running server too."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from tollway import clock
from tollway.cli.terminal import AsJson, Home, err, fail, out, print_json, settings_in_force

if TYPE_CHECKING:
    from tollway.accounts import Accounts, ApiKey

T = TypeVar("T")

app = typer.Typer(help="Create, list, disable, enable and delete API keys.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(help="The key's visible prefix (`tollway keys list`) or id.", show_default=False)]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@app.command()
def create(
    name: Annotated[str | None, typer.Option("--name", "-n", help="What the key is for; default: its prefix.")] = None,
    expires_in: Annotated[
        str | None, typer.Option("--expires-in", help="How long the key works: 90s, 15m, 12h, 30d or 8w; default: for good.")
    ] = None,
    management: Annotated[
        bool, typer.Option("--management", help="Make a management key: it manages API keys and asks no models.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the key.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Create an API key. It is shown this once; Tollway keeps only its hash."""
    expires_at = None if expires_in is None else clock.now() + _seconds(expires_in)

    async def work(accounts: "Accounts") -> tuple[str, "ApiKey"]:
        from tollway.accounts import KeyChanges

        account = await accounts.first_account()
        new = await accounts.create_key(
            account.id, name, KeyChanges(expires_at=expires_at), kind="management" if management else "api"
        )
        return new.secret, new.record

    secret, record = _run(home, work)
    if as_json:
        print_json(_shown(record) | {"key": secret})
        return
    print(secret)
    if not quiet:
        err.print("Keep it: it is not shown again.")


@app.command(name="list")
def list_(as_json: AsJson = False, home: Home = None) -> None:
    """List the API keys, without their secrets."""
    keys = _run(home, lambda accounts: accounts.list_keys())
    if as_json:
        print_json([_shown(key) for key in keys])
        return
    if not keys:
        err.print("There are no API keys. `tollway keys create` makes one.")
        return
    table = Table("Prefix", "Name", "State", "Created", "Expires", "Last used", box=None, pad_edge=False)
    for key in keys:
        name, times = Text(key.name), (key.created_at, key.expires_at, key.last_used_at)
        table.add_row(key.prefix, name, _state(key), *(_minute(at) for at in times))
    out.print(table)


@app.command()
def disable(key: Key, as_json: AsJson = False, home: Home = None) -> None:
    """Refuse a key from now on; `enable` takes it back."""
    _report(_run(home, lambda accounts: accounts.set_enabled(key, False)), as_json)


@app.command()
def enable(key: Key, as_json: AsJson = False, home: Home = None) -> None:
    """Accept a disabled key again."""
    _report(_run(home, lambda accounts: accounts.set_enabled(key, True)), as_json)


@app.command()
def delete(key: Key, as_json: AsJson = False, home: Home = None) -> None:
    """Refuse a key for good."""
    _report(_run(home, lambda accounts: accounts.delete_key(key)), as_json)


def _run(home: Path | None, work: Callable[["Accounts"], Awaitable[T]]) -> T:
    """`work` on the accounts of this installation; its refusals become one line and exit code 1."""
    from tollway.accounts import Accounts, load_secret
    from tollway.errors import TollwayError
    from tollway.storage import Database, SchemaError

    settings = settings_in_force(home=home)
    database = Database(settings.database)

    async def main() -> T:
        return await work(Accounts(database, load_secret(settings.home)))

    try:
        database.migrate()
        return asyncio.run(main())
    except TollwayError as error:
        fail(str(error))
    except (SchemaError, ValueError, OSError) as error:
        fail(str(error))
    finally:
        database.close()


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([1-9]\d{0,8})([smhdw])", text.strip())
    if match is None:
        fail(f"--expires-in {text!r} is no duration: write a number and s, m, h, d or w, such as 30d.", 2)
    return int(match[1]) * _SECONDS[match[2]]


def _report(key: "ApiKey", as_json: bool) -> None:
    if as_json:
        print_json(_shown(key))
        return
    out.print(f"{key.prefix} ", end="")
    out.print(key.name, markup=False, end=": ")
    out.print(_state(key))


def _state(key: "ApiKey") -> str:
    if key.deleted_at is not None:
        return "deleted"
    if not key.enabled:
        return "disabled"
    return "expired" if key.expires_at is not None and key.expires_at <= clock.now() else "enabled"


def _shown(key: "ApiKey") -> dict[str, Any]:
    times = {name: getattr(key, name) for name in ("created_at", "expires_at", "last_used_at")}
    return {
        "id": key.id,
        "prefix": key.prefix,
        "name": key.name,
        "state": _state(key),
        "enabled": key.enabled,
        **{name: None if at is None else clock.iso(at) for name, at in times.items()},
    }


def _minute(at: float | None) -> str:
    return "never" if at is None else clock.iso(at)[:16].replace("T", " ")
