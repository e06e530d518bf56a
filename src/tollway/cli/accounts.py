"""`tollway accounts`: who owns keys and a balance. Changes work on a running server too, within a second."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tollway import clock
from tollway.cli import values
from tollway.cli.house import on_accounts
from tollway.cli.terminal import AsJson, Home, out, print_json, print_table
from tollway.money import exact_usd

if TYPE_CHECKING:
    from tollway.accounts import Account, AccountChanges, Accounts

app = typer.Typer(help="Create, list, rename and limit accounts. An account owns API keys and a balance.", no_args_is_help=True)

AccountName = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's name or id.", show_default=False)]
NewName = Annotated[str, typer.Argument(metavar="NAME", help="1 to 100 characters; unique.", show_default=False)]
Rpm = Annotated[str | None, typer.Option("--rpm", help="Requests per minute of all its keys together, or none.")]
Tpm = Annotated[str | None, typer.Option("--tpm", help="Tokens per minute of all its keys together, or none.")]
Concurrency = Annotated[str | None, typer.Option("--concurrency", help="Requests at a time, or none.")]
LowBalance = Annotated[
    str | None,
    typer.Option(
        "--low-balance", help="A balance below this is called low, such as 0.50USD or 10000credits; at first 0.005USD."
    ),
]


@app.command()
def create(
    name: NewName,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
    low_balance: LowBalance = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Create an account. `tollway keys create --account NAME` gives it keys."""
    changes = _changes(rpm, tpm, concurrency, low_balance)
    _report(on_accounts(home, lambda accounts: accounts.create_account(name, changes), first=True), as_json)


@app.command(name="list")
def list_(as_json: AsJson = False, home: Home = None) -> None:
    """List the accounts with their limits, oldest first."""
    accounts = on_accounts(home, lambda accounts: accounts.list_accounts())
    if as_json:
        print_json([_shown(account) for account in accounts])
        return
    rows = []
    for account in accounts:
        low = f"{exact_usd(account.low_balance_credits)}USD"
        rows.append((account.name, account.id, clock.iso(account.created_at)[:10], limits_text(account) or "none", low))
    nothing = "There are no accounts. `tollway serve` makes the first one, or `tollway accounts create`."
    print_table(("Name", "Id", "Created", "Limits", "Low below"), rows, wrapped=("Name", "Limits"), nothing=nothing)


@app.command()
def rename(account: AccountName, name: NewName, as_json: AsJson = False, home: Home = None) -> None:
    """Give an account another name. Its keys and its balance stay."""
    from tollway.accounts import AccountChanges

    _report(on_accounts(home, lambda accounts: accounts.update_account(account, AccountChanges(name=name))), as_json)


@app.command()
def limits(
    account: AccountName,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
    low_balance: LowBalance = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show what an account may use at a time, or change it: `tollway accounts limits acme --rpm 600 --tpm none`.

    The limits hold for all its keys together; a key may have limits of its own besides.
    """
    changes = _changes(rpm, tpm, concurrency, low_balance)
    given = changes != _changes(None, None, None, None)

    async def work(accounts: "Accounts") -> "Account":
        return await (accounts.update_account(account, changes) if given else accounts.find_account(account))

    _report(on_accounts(home, work), as_json)


def limits_text(limited: Any) -> str:
    """The rate limits of an account or a key, in one line; empty = none."""
    parts = (
        (limited.requests_per_minute, "requests/min"),
        (limited.tokens_per_minute, "tokens/min"),
        (limited.concurrency_max, "at a time"),
    )
    return ", ".join(f"{value:,} {unit}" for value, unit in parts if value is not None)


def _changes(rpm: str | None, tpm: str | None, concurrency: str | None, low_balance: str | None) -> "AccountChanges":
    """What the flags say; those that were not given are left out."""
    from tollway.accounts import AccountChanges

    changes: dict[str, Any] = dict(values.rates(rpm, tpm, concurrency))
    if low_balance is not None:
        changes["low_balance_credits"] = values.credits_amount(low_balance, "--low-balance")
    return AccountChanges(**changes)


def _report(account: "Account", as_json: bool) -> None:
    if as_json:
        print_json(_shown(account))
        return
    out.print(account.name, markup=False, end="")
    out.print(
        f" ({account.id}): limits {limits_text(account) or 'none'}; low below {exact_usd(account.low_balance_credits)}USD"
    )


def _shown(account: "Account") -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "created_at": clock.iso(account.created_at),
        "updated_at": clock.iso(account.updated_at),
        "requests_per_minute": account.requests_per_minute,
        "tokens_per_minute": account.tokens_per_minute,
        "concurrency_max": account.concurrency_max,
        "low_balance_credits": account.low_balance_credits,
    }
