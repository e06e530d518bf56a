"""What an account has used: spend over time, by model and by key, and how fast the answers were."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from starlette.responses import Response

from tollway import clock
from tollway.errors import InvalidRequest, NotFound
from tollway.money import usd
from tollway.usage import Scope, Sums, UsageGroup, Window
from tollway.web import charts, display
from tollway.web.frame import Visit

_HOUR, _DAY = 3600, 86_400
RANGES = {"24h": (_HOUR, 24), "7d": (_DAY, 7), "30d": (_DAY, 30), "90d": (_DAY, 90)}
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
    now: float

    @property
    def window(self) -> Window:
        return Window(self.starts[0], self.now)

    @property
    def labels(self) -> list[tuple[str, str]]:
        """Of each column, short and in full."""
        return [_label(start, self.step) for start in self.starts]

    def index(self, group: UsageGroup) -> int:
        text = group.hour if self.step == _HOUR else f"{group.day}T00"
        return (int(dt.datetime.fromisoformat(f"{text}+00:00").timestamp()) - self.starts[0]) // self.step


async def usage(visit: Visit) -> Response:
    period = _period(visit.query("range"))
    scope, key_name = await _scope(visit)
    queries = visit.services.usage
    by_time = await queries.sums(scope, period.window, ("hour" if period.step == _HOUR else "day", "model"))
    by_key = await queries.sums(scope, period.window, ("key",))
    names = await queries.key_names(visit.account_id, [group.key_id or "" for group in _largest(by_key)])
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
        keys=_shares({group.key_id or "": (_key_name(names, group.key_id), group) for group in _largest(by_key)}),
        keys_left=max(0, len(by_key) - _ROWS_MAX),
    )


def _period(name: str) -> Period:
    name = name or _RANGE
    if name not in RANGES:
        raise InvalidRequest(f"`range` is one of {', '.join(RANGES)}.", param="range")
    step, count = RANGES[name]
    now = clock.now()
    last = int(now) // step * step
    return Period(name, step, [last - step * (count - 1 - index) for index in range(count)], now)


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
    return (f"{moment:%H}:00", f"{day} {moment:%H}:00") if step == _HOUR else (day, day)


def _spend_chart(period: Period, groups: Sequence[UsageGroup], by_model: Mapping[str, Sums]) -> charts.Chart:
    """In dollars a column, by the models that cost most."""
    series = charts.top_names({name: sums.credits for name, sums in by_model.items() if sums.credits}, _SERIES_MAX)
    values: list[dict[str, int]] = [{} for _ in period.starts]
    for group in groups:
        name = group.model if group.model in series else charts.OTHERS
        parts = values[period.index(group)]
        parts[name or ""] = parts.get(name or "", 0) + group.credits
    return charts.stacked(period.labels, values, series, lambda amount: display.money(usd_rounded(amount)))


def usd_rounded(credits_amount: float) -> float:
    """Dollars for the scale of a chart; a tenth of a cent is fine enough where there are dollars."""
    amount = usd(round(credits_amount))
    return round(amount, 3) if amount >= 1 else amount


def _table(period: Period, groups: Sequence[UsageGroup]) -> list[tuple[str, Sums]]:
    """The same as the chart, in numbers: newest first, without columns of nothing."""
    sums = [Sums() for _ in period.starts]
    for group in groups:
        _add(sums[period.index(group)], group)
    rows = [(full, each) for (_, full), each in zip(period.labels, sums, strict=True) if each.requests]
    return rows[::-1]


def _merged(groups: Sequence[UsageGroup]) -> dict[str, Sums]:
    """By model."""
    merged: dict[str, Sums] = {}
    for group in groups:
        _add(merged.setdefault(group.model or "", Sums()), group)
    return merged


def _total(groups: Sequence[UsageGroup]) -> Sums:
    total = Sums()
    for group in groups:
        _add(total, group)
    return total


def _add(total: Sums, more: Sums) -> None:
    for name in Sums.__struct_fields__:
        setattr(total, name, getattr(total, name) + getattr(more, name))


def _largest(groups: Sequence[UsageGroup]) -> list[UsageGroup]:
    return sorted(groups, key=lambda group: (-group.credits, -group.requests, group.key_id or ""))[:_ROWS_MAX]


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
