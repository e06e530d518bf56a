"""What an account has used: spend over time, by model and by key."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from starlette.responses import Response

from tollway import clock
from tollway.errors import InvalidRequest, NotFound
from tollway.money import usd
from tollway.usage import Scope, Sums
from tollway.usage.recording import DAY_SECONDS, HOUR_SECONDS
from tollway.usage.since import Part, sums_since
from tollway.web import charts, display
from tollway.web.frame import Visit

RANGES = {"24h": (HOUR_SECONDS, 24), "7d": (DAY_SECONDS, 7), "30d": (DAY_SECONDS, 30), "90d": (DAY_SECONDS, 90)}
"""What can be chosen -> seconds of a column, and how many columns."""
_RANGE = "30d"
_SERIES_MAX = 5
_ROWS_MAX = 12
PLAYGROUND = "playground"


class Share(Struct):
    """What one model or one key has of the whole."""

    id: str
    name: str
    sums: Sums
    percent: float
    """Of the largest."""


class Period(Struct):
    """The columns of a chart: where each begins, in seconds since the epoch."""

    name: str
    step: int
    starts: list[int]

    @property
    def labels(self) -> list[tuple[str, str]]:
        """Of each column, short and in full."""
        return [_label(start, self.step) for start in self.starts]

    def index(self, part: Part) -> int:
        """Of the column; a clock that was ahead must not lose what was counted."""
        return min((part.bucket - self.starts[0]) // self.step, len(self.starts) - 1)


async def usage(visit: Visit) -> Response:
    period = _period(visit.query("range"))
    scope, key_name = await _scope(visit)
    database, first = visit.services.database, period.starts[0]
    by_time = await sums_since(database, scope, first, period.step, ("bucket", "model"))
    by_key = await sums_since(database, scope, first, period.step, ("key_id",))
    names = await visit.services.usage.key_names(visit.account_id, [group.key_id for group in _largest(by_key)])
    by_model = _merged(by_time)
    return visit.render(
        "usage.html",
        period=period,
        ranges=tuple(RANGES),
        scope=scope,
        key_name=key_name,
        balance=await visit.services.ledger.balance(visit.account_id),
        account=await visit.services.accounts.find_account(visit.account_id),
        total=_total(by_time),
        spend=_spend_chart(period, by_time, by_model),
        table=_table(period, by_time),
        models=_shares({name: (name, sums) for name, sums in by_model.items()}),
        keys=_shares({group.key_id: (_key_name(names, group.key_id), group) for group in _largest(by_key)}),
        keys_left=max(0, len(by_key) - _ROWS_MAX),
    )


def _period(name: str) -> Period:
    name = name or _RANGE
    if name not in RANGES:
        raise InvalidRequest(f"`range` is one of {', '.join(RANGES)}.", param="range")
    step, count = RANGES[name]
    last = int(clock.now()) // step * step
    return Period(name, step, [last - step * (count - 1 - index) for index in range(count)])


async def _scope(visit: Visit) -> tuple[Scope, str]:
    """The account, or one of its keys, with the key's name. Raises NotFound for a key that is not theirs."""
    key_id = visit.query("key", 40)
    if not key_id:
        return Scope(visit.account_id), ""
    names = await visit.services.usage.key_names(visit.account_id, [key_id])
    if key_id not in names:
        raise NotFound("There is no such key.")
    return Scope(visit.account_id, key_id), names[key_id]


def _label(start: int, step: int) -> tuple[str, str]:
    moment = dt.datetime.fromtimestamp(start, dt.UTC)
    day = f"{moment.day} {moment:%b}"
    return (f"{moment:%H}:00", f"{day} {moment:%H}:00") if step == HOUR_SECONDS else (day, day)


def _spend_chart(period: Period, groups: Sequence[Part], by_model: Mapping[str, Sums]) -> charts.Chart:
    """In dollars a column, by the models that cost most."""
    series = charts.top_names({name: sums.credits for name, sums in by_model.items() if sums.credits}, _SERIES_MAX)
    values: list[dict[str, int]] = [{} for _ in period.starts]
    for group in groups:
        name = group.model if group.model in series else charts.OTHERS
        parts = values[period.index(group)]
        parts[name] = parts.get(name, 0) + group.credits
    return charts.stacked(period.labels, values, series, lambda amount: display.money(usd_rounded(amount)))


def usd_rounded(credits_amount: float) -> float:
    """Dollars for the scale of a chart; a tenth of a cent is fine enough where there are dollars."""
    amount = usd(round(credits_amount))
    return round(amount, 3) if amount >= 1 else amount


def _table(period: Period, groups: Sequence[Part]) -> list[tuple[str, Sums]]:
    """The same as the chart, in numbers: newest first, without columns of nothing."""
    sums = [Sums() for _ in period.starts]
    for group in groups:
        _add(sums[period.index(group)], group)
    rows = [(full, each) for (_, full), each in zip(period.labels, sums, strict=True) if each.requests]
    return rows[::-1]


def _merged(groups: Sequence[Part]) -> dict[str, Sums]:
    """By model."""
    merged: dict[str, Sums] = {}
    for group in groups:
        _add(merged.setdefault(group.model, Sums()), group)
    return merged


def _total(groups: Sequence[Part]) -> Sums:
    total = Sums()
    for group in groups:
        _add(total, group)
    return total


def _add(total: Sums, more: Sums) -> None:
    for name in Sums.__struct_fields__:
        setattr(total, name, getattr(total, name) + getattr(more, name))


def _largest(groups: Sequence[Part]) -> list[Part]:
    return sorted(groups, key=lambda group: (-group.credits, -group.requests, group.key_id))[:_ROWS_MAX]


def _shares(named: Mapping[str, tuple[str, Sums]]) -> list[Share]:
    """Largest first."""
    most = max((sums.credits for _, sums in named.values()), default=0) or 1
    shares = [Share(key, name, sums, round(100 * sums.credits / most, 2)) for key, (name, sums) in named.items()]
    return sorted(shares, key=lambda share: (-share.sums.credits, -share.sums.requests, share.name))[:_ROWS_MAX]


def _key_name(names: Mapping[str, str], key_id: str | None) -> str:
    return names.get(key_id, key_id) if key_id else PLAYGROUND


def key_names_of(names: Mapping[str, str], rows: Sequence[Any]) -> dict[str, str]:
    """Of each row's key, what people call it."""
    return {row.key_id or "": _key_name(names, row.key_id) for row in rows}
