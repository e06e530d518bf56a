"""`tollway people`: who may sign in on the pages, and a way back in for who lost the password. A running server may go on."""

from typing import TYPE_CHECKING, Annotated

import typer

from tollway import clock
from tollway.cli.house import on_database
from tollway.cli.terminal import AsJson, Home, out, print_json, print_table, settings_in_force

if TYPE_CHECKING:
    from tollway.accounts import Account
    from tollway.cli.house import House
    from tollway.people import User

app = typer.Typer(help="List who may sign in on the pages, and make links for a new password.", no_args_is_help=True)

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="With which they sign in.", show_default=False)]


@app.command(name="list")
def list_(as_json: AsJson = False, home: Home = None) -> None:
    """List the people with their accounts, oldest first."""
    from tollway.people import People

    async def work(house: "House") -> "tuple[list[User], list[Account]]":
        people = People(house.database, house.accounts, house.secret)
        return await people.list_users(), await house.accounts.list_accounts()

    users, accounts = on_database(home, work)
    names = {account.id: account.name for account in accounts}
    if as_json:
        print_json([_shown(user, names) for user in users])
        return
    rows = []
    for user in users:
        last = clock.iso(user.last_login_at)[:10] if user.last_login_at is not None else "never"
        rows.append((user.email, user.role, names[user.account_id], last, "yes" if user.disabled_at is None else "no"))
    nothing = "There is nobody yet. `tollway serve` prints the link that makes the first owner."
    print_table(("Email", "Role", "Account", "Signed in last", "May sign in"), rows, wrapped=("Account",), nothing=nothing)


@app.command(name="reset-link")
def reset_link(email: Email, as_json: AsJson = False, home: Home = None) -> None:
    """Print a link by which somebody sets a new password: an owner, too, whom nobody else could let in again.

    It works once, for an hour. Their other sessions end when it is used; until then the old password stays good.
    """
    from tollway.people import RESET_SECONDS, People

    async def work(house: "House") -> str:
        return await People(house.database, house.accounts, house.secret).reset_link(email)

    expires_at = clock.now() + RESET_SECONDS
    link = f"{settings_in_force(home=home).address}/welcome/{on_database(home, work)}"
    if as_json:
        print_json({"link": link, "expires_at": clock.iso(expires_at)})
        return
    out.print(link, markup=False)
    out.print("Whoever opens it sets a new password. It works once, for an hour.")


def _shown(user: "User", names: dict[str, str]) -> dict[str, str | None]:
    return {
        "id": user.id,
        "email": user.email,
        "role": user.role,
        "account": names[user.account_id],
        "created_at": clock.iso(user.created_at),
        "last_login_at": None if user.last_login_at is None else clock.iso(user.last_login_at),
        "disabled_at": None if user.disabled_at is None else clock.iso(user.disabled_at),
    }
