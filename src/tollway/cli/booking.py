"""`tollway credits`: what accounts have, and what is booked by hand. It works on a running server too, at once."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tollway import clock
from tollway.cli import values
from tollway.cli.house import named_or_first, on_database
from tollway.cli.terminal import AsJson, Home, InAccount, err, fail, moment, out, print_json, print_table
from tollway.money import exact_usd

if TYPE_CHECKING:
    from tollway.accounts import Account
    from tollway.cli.house import House
    from tollway.ledger import Balance, Entry

app = typer.Typer(
    help="""Grant, correct and refund credits; show balances and what moved them. 2,000,000 credits are one US dollar.

    An amount is whole credits, `500000`, or US dollars, `5USD` or `0.25USD`; never rounded.""",
    no_args_is_help=True,
)

Amount = Annotated[str, typer.Argument(metavar="AMOUNT", help="Such as 500000, or 5USD.", show_default=False)]
_NOTE = typer.Option("--note", help="Why, for whoever reads the ledger; at most 200 characters.")
Note = Annotated[str | None, _NOTE]
Reason = Literal["payment", "bonus"]


@app.command(context_settings={"ignore_unknown_options": True})
def grant(
    amount: Amount,
    account: InAccount = None,
    reason: Annotated[Reason, typer.Option("--reason", help="What it is: paid for, or given.")] = "payment",
    once: Annotated[
        str | None,
        typer.Option("--once", help="A name for this grant, such as an invoice's number: the same one again does nothing."),
    ] = None,
    note: Note = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Add credits to an account.

    `tollway credits grant 5USD --account acme --once invoice-4711`
    """
    if amount.startswith("-"):
        fail(f"A grant only adds. To take away: tollway credits adjust {amount} --note WHY", 2)
    credits_granted = values.credits_or_usd(amount, "AMOUNT")
    name = None if once is None else values.reference(once, "--once")

    async def work(house: "House", owner: "Account") -> "Entry | None":
        entry = await house.ledger.grant(owner.id, credits_granted, reason=reason, note=note, once=name)
        if entry is None and name is not None:
            await _tell_earlier(house, name, owner, credits_granted)
        return entry

    _report(*_booked(home, account, work), as_json)


@app.command(context_settings={"ignore_unknown_options": True})
def adjust(
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="Such as 500000, -500000 or -0.25USD.", show_default=False)],
    note: Annotated[str, _NOTE],
    account: InAccount = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Correct a balance, up or down; never below what running requests hold.

    `tollway credits adjust -0.25USD --account acme --note "granted twice"`
    """
    sign = -1 if amount.strip().startswith("-") else 1
    credits_added = sign * values.credits_or_usd(amount.strip().removeprefix("-"), "AMOUNT")

    async def work(house: "House", owner: "Account") -> "Entry | None":
        return await house.ledger.adjust(owner.id, credits_added, note=note)

    _report(*_booked(home, account, work), as_json)


@app.command()
def refund(
    request: Annotated[
        str, typer.Argument(metavar="REQUEST", help="The request id, as `tollway logs` shows it.", show_default=False)
    ],
    note: Note = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Give back what a request was charged: all of it, once."""

    async def work(house: "House") -> "tuple[Entry | None, Account, Balance]":
        entry = await house.ledger.refund(values.reference(request, "REQUEST"), note=note)
        owner = await house.accounts.find_account(entry.account_id)
        return entry, owner, await house.ledger.balance(owner.id)

    _report(*on_database(home, work), as_json)


@app.command()
def balance(
    account: Annotated[str | None, typer.Option("--account", "-a", help="Only this account: name or id.")] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show what each account has, what running requests hold of it, and whether it is low."""

    async def work(house: "House") -> "list[tuple[Account, Balance]]":
        if account is not None:
            owners = [await house.accounts.find_account(account)]
        else:
            owners = await house.accounts.list_accounts()
        return [(owner, await house.ledger.balance(owner.id)) for owner in owners]

    found = on_database(home, work)
    if as_json:
        print_json([_balance(owner, each) for owner, each in found])
        return
    rows = []
    for owner, each in found:
        figures = (f"{figure:,}" for figure in (each.posted, each.held, each.available))
        low = "low" if owner.is_low(each.posted) else ""
        rows.append((owner.name, *figures, exact_usd(each.available), low))
    nothing = "There are no accounts. `tollway serve` makes the first one, or `tollway accounts create`."
    print_table(("Account", "Balance", "Held", "Available", "USD", ""), rows, wrapped=("Account",), nothing=nothing)


@app.command()
def transactions(
    account: InAccount = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many, newest first.")] = 20,
    direction: Annotated[
        Literal["in", "out"] | None, typer.Option("--direction", help="Only credits that came in, or that went out.")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """List what moved an account's balance, newest first."""
    wanted: Any = {"in": "TOPUP", "out": "CHARGE", None: None}[direction]

    async def work(house: "House") -> "list[Entry]":
        owner = await named_or_first(house.accounts, account)
        return await house.ledger.transactions(owner.id, direction=wanted, limit=limit)

    entries = on_database(home, work)
    if as_json:
        print_json([_entry(entry) for entry in entries])
        return
    columns = ("When (UTC)", "Type", "Credits", "USD", "Request", "Model", "Note")
    rows = []
    for entry in entries:
        texts = (text or "" for text in (entry.request_id, entry.model, entry.note))
        rows.append((moment(entry.at), _type(entry), f"{entry.posted:+,}", exact_usd(entry.posted), *texts))
    print_table(columns, rows, wrapped=("When (UTC)", "Model", "Note"), nothing="Nothing has moved this balance.")


async def _tell_earlier(house: "House", name: str, owner: "Account", credits_granted: int) -> None:
    """Says what the grant of that name was. One that was not the same is an error: somebody counts on what was not added."""
    earlier = next(entry for entry in await house.ledger.entries_of(name) if entry.kind == "grant")
    theirs = owner if earlier.account_id == owner.id else await house.accounts.find_account(earlier.account_id)
    amount = f"{earlier.posted:,} credits ({exact_usd(earlier.posted)} USD)"
    told = f"{name} was granted before: {amount} to {theirs.name}, {moment(earlier.at)} UTC. Nothing was added."
    if (earlier.account_id, earlier.posted) != (owner.id, credits_granted):
        fail(f"{told} A grant of another amount or account needs another name.")
    err.print(told, markup=False)


def _booked(
    home: Path | None, account: str | None, work: "Callable[[House, Account], Awaitable[Entry | None]]"
) -> "tuple[Entry | None, Account, Balance]":
    async def booked(house: "House") -> "tuple[Entry | None, Account, Balance]":
        owner = await named_or_first(house.accounts, account)
        entry = await work(house, owner)
        return entry, owner, await house.ledger.balance(owner.id)

    return on_database(home, booked)


def _report(entry: "Entry | None", owner: "Account", balance_after: "Balance", as_json: bool) -> None:
    if as_json:
        print_json({"entry": None if entry is None else _entry(entry), "balance": _balance(owner, balance_after)})
        return
    out.print(owner.name, markup=False, end=": ")
    if entry is not None:
        out.print(f"{entry.posted:+,} credits ({exact_usd(entry.posted)} USD); ", end="")
    out.print(f"{balance_after.posted:,} now, {balance_after.available:,} available ({exact_usd(balance_after.available)} USD)")


def _balance(owner: "Account", each: "Balance") -> dict[str, Any]:
    return {
        "account_id": owner.id,
        "account": owner.name,
        "balance": each.posted,
        "held": each.held,
        "available": each.available,
        "available_usd": exact_usd(each.available),
        "low_balance": owner.is_low(each.posted),
        "low_balance_credits": owner.low_balance_credits,
    }


def _entry(entry: "Entry") -> dict[str, Any]:
    return {
        "number": entry.number,
        "type": _type(entry),
        "kind": entry.kind,
        "credits": entry.posted,
        "usd": exact_usd(entry.posted),
        "created_at": clock.iso(entry.at),
        "request_id": entry.request_id,
        "key_id": entry.key_id,
        "model": entry.model,
        "reference": entry.reference,
        "loss": entry.loss,
        "note": entry.note,
    }


def _type(entry: "Entry") -> str:
    from tollway.ledger import transaction_type

    return transaction_type(entry)
