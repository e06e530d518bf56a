"""`tollway usage` and `tollway logs`: what was used, for what, and each request."""

import re
import zoneinfo
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from tollway import clock
from tollway.cli import values
from tollway.cli.house import named_key, named_or_first, on_database
from tollway.cli.terminal import AsJson, Home, InAccount, fail, moment, print_json, print_table
from tollway.money import exact_usd

if TYPE_CHECKING:
    from tollway.cli.house import House
    from tollway.usage import LogRow, Scope, Window
    from tollway.usage.queries import By, UsageGroup

OfKey = Annotated[str | None, typer.Option("--key", "-k", help="Only this key: its prefix, name or id.")]
Period = Annotated[
    str, typer.Option("--period", "-p", help="The last so many hours or days, such as 24h or 30d; at most 366d.")
]
_DAYS_MAX = 366


def usage(
    by: Annotated[
        Literal["model", "key", "day", "day,model"], typer.Option("--by", help="What to sum by.", show_default=True)
    ] = "model",
    period: Period = "30d",
    tz: Annotated[str, typer.Option("--tz", help="Where days begin: an IANA name such as Europe/Berlin.")] = "UTC",
    account: InAccount = None,
    key: OfKey = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Sum up what an account has used: requests, tokens, credits, and what answers cost you beyond what was charged.

    `tollway usage --by day --tz Europe/Berlin --period 7d`
    """
    window, zone = _window(period), _zone(tz)
    keys: list[By] = by.split(",")  # type: ignore[assignment]

    async def work(house: "House") -> "tuple[list[UsageGroup], dict[str, str]]":
        scope = await _scope(house, account, key)
        names = {one.id: f"{one.prefix} {one.name}" for one in await house.accounts.list_keys(scope.account_id)}
        groups = await house.usage.sums(scope, window, keys, zone)
        gone = {group.key_id for group in groups if group.key_id} - names.keys()
        deleted = await house.usage.key_names(scope.account_id, gone)
        return groups, names | {key_id: f"{name} (deleted)" for key_id, name in deleted.items()}

    groups, names = on_database(home, work)
    if as_json:
        print_json([_shown(group) for group in groups])
        return
    columns = (by.capitalize(), "Requests", "Failed", "Cancelled", "Input", "Output", "Credits", "USD", "Loss")
    rows = []
    for group in groups:
        key_name = None if group.key_id is None else names.get(group.key_id, group.key_id or "none")
        what = " ".join(part for part in (group.day, group.model, key_name) if part)
        counts = (group.requests, group.failed, group.cancelled, group.prompt_tokens, group.completion_tokens, group.credits)
        rows.append((what, *(f"{count:,}" for count in counts), exact_usd(group.credits), f"{group.loss:,}"))
    print_table(columns, rows, wrapped=columns[:1], nothing=f"Nothing was used in the last {period}.")


def logs(
    request: Annotated[
        str | None,
        typer.Argument(help="Only requests with this request, inference or client request id.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many, newest first.")] = 20,
    period: Period = "30d",
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="Only this model's id; may be repeated.")] = None,
    status: Annotated[
        Literal["succeeded", "failed", "cancelled"] | None, typer.Option("--status", help="Only this outcome.")
    ] = None,
    account: InAccount = None,
    key: OfKey = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """List requests, newest first: when, how they ended, tokens, credits, time. What was said is not kept.

    `tollway logs --status failed --period 24h`
    """
    window = _window(period)

    async def work(house: "House") -> "list[LogRow]":
        from tollway.usage import LogFilter

        scope = await _scope(house, account, key)
        if request is not None:
            return (await house.usage.find(scope, request))[:limit]
        return await house.usage.log(scope, LogFilter(window, model or (), [status] if status else ()), limit=limit)

    rows = on_database(home, work)
    if as_json:
        print_json([msgspec.structs.asdict(row) | {"created_at": clock.iso(row.created_at)} for row in rows])
        return
    columns = ("When (UTC)", "Status", "Model", "Input", "Output", "Credits", "First ms", "All ms", "Request", "Route")
    lines = []
    for row in rows:
        figures = (f"{count:,}" for count in (row.prompt_tokens, row.completion_tokens, row.credits))
        ended = row.status if row.error_code is None else f"{row.status} ({row.error_code})"
        times = ("" if row.first_token_ms is None else f"{row.first_token_ms:,}", f"{row.duration_ms:,}")
        lines.append((moment(row.created_at), ended, row.model, *figures, *times, row.request_id, row.route))
    nothing = f"There were no such requests in the last {period}."
    if request is not None:
        nothing = f"This account has no request {request}; --account names another."
    print_table(columns, lines, wrapped=("When (UTC)", "Status", "Model", "Route"), nothing=nothing)


def _window(period: str) -> "Window":
    from tollway.usage import Window

    if re.fullmatch(r"[1-9][0-9]{0,3}[hd]", period, re.ASCII) is None:
        fail(f"--period {period!r} is no period: write hours or days, such as 24h or 30d.", 2)
    length = values.seconds(period, "--period")
    if length > _DAYS_MAX * 86_400:
        fail(f"--period {period!r} is too long: at most {_DAYS_MAX}d.", 2)
    now = clock.now()
    return Window(now - length, now)


def _zone(name: str) -> zoneinfo.ZoneInfo | None:
    from tollway.usage import time_zones

    if name != "UTC" and name not in time_zones():
        fail(f"--tz {name!r} is no time zone: write its IANA name, such as Europe/Berlin.", 2)
    return None if name == "UTC" else zoneinfo.ZoneInfo(name)


async def _scope(house: "House", account: str | None, key: str | None) -> "Scope":
    from tollway.usage import Scope

    if key is None:
        return Scope((await named_or_first(house.accounts, account)).id)
    owner = None if account is None else (await house.accounts.find_account(account)).id
    found = await house.accounts.find_key(await named_key(house.accounts, key), account_id=owner)
    return Scope(found.account_id, found.id)


def _shown(group: "UsageGroup") -> dict[str, Any]:
    return msgspec.structs.asdict(group) | {"cancelled": group.cancelled, "usd": exact_usd(group.credits)}
