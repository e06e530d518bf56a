"""`tollway verify-ledger`: is every number in the books still what was written?"""

import time
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from tollway.cli.house import on_database
from tollway.cli.terminal import AsJson, Home, err, fail, out, print_json
from tollway.money import exact_usd

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tollway.cli.house import House
    from tollway.ledger.verify import Totals


def verify_ledger(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing when all is right.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Recompute every balance, hold and hash from the entries. Exit code 1 names the first row that is wrong.

    It reads one snapshot and writes nothing, so it may run beside a busy server, and every night.
    """
    totals, problem, seconds = on_database(home, lambda house: _verify(house, shows=not as_json and not quiet))
    if as_json:
        figures = None if totals is None else msgspec.structs.asdict(totals)
        print_json({"ok": problem is None, "problem": problem, "seconds": round(seconds, 3), "totals": figures})
        raise typer.Exit(0 if problem is None else 1)
    if problem is not None or totals is None:
        fail(f"The ledger is wrong: {problem}.")
    if not quiet:
        rate = totals.entries / max(seconds, 0.001)
        out.print(f"[green]right[/green] {totals.entries:,} entries of {totals.accounts:,} accounts, {rate:,.0f} a second")
        out.print(
            f"{totals.granted:,} granted + {totals.refunded:,} refunded {'+' if totals.adjusted >= 0 else '-'} "
            f"{abs(totals.adjusted):,} adjusted - {totals.charged:,} charged = {totals.posted:,} credits "
            f"({exact_usd(totals.posted)} USD), {totals.held:,} of them held"
        )


async def _verify(house: "House", *, shows: bool) -> "tuple[Totals | None, str | None, float]":
    """The totals, or what is wrong; and how many seconds it took. A progress bar where somebody watches."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from tollway.ledger.verify import Wrong, count_entries, verify

    rows = await house.database.read(count_entries)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not (shows and err.is_terminal)) as bar:
        task, began = bar.add_task("", total=rows, rate=""), time.monotonic()

        def progress(done: int) -> None:
            bar.update(task, completed=done, rate=f"{done / max(time.monotonic() - began, 0.001):,.0f} rows/s")

        def work(connection: "Connection") -> "tuple[Totals | None, str | None]":
            try:
                return verify(connection, progress), None
            except Wrong as wrong:
                return None, str(wrong)

        totals, problem = await house.database.read(work)
        return totals, problem, time.monotonic() - began
