"""What an account has used: spend over time, by model and by key."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct
from starlette.responses import Response

from tollway.errors import InvalidRequest, NotFound
from tollway.money import CREDITS_PER_USD, usd
from tollway.people import PLAYGROUND
from tollway.storage.tables import ALL_MODELS
from tollway.usage import CHAT, Scope, Sums
from tollway.usage.latency import Latency, Percentiles, latency_since
from tollway.usage.recording import HOUR_SECONDS
from tollway.usage.since import RANGES, Part, starts_of, sums_since
from tollway.web import charts, display
from tollway.web.frame import Visit
from tollway.web.stand_ins import stand_ins

_RANGE = "30d"
_SERIES_MAX = 5
_ROWS_MAX = 12


Counted = TypeVar("Counted", Sums, Latency)


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
    scope, only_key = await _scope(visit)
    database, first = visit.services.database, period.starts[0]
    by_time = await sums_since(database, scope, first, period.step, ("bucket", "model"))
    by_key = await _by_key(visit, scope, period)
    names = {CHAT: CHAT} | await visit.services.usage.key_names(visit.account_id, [group.key_id for group in _largest(by_key)])
    by_model = _merged(by_time)
    return visit.render(
        "usage.html",
        period=period,
        ranges=tuple(RANGES),
        scope=scope,
        key_name=only_key,
        balance=await visit.services.ledger.balance(visit.account_id),
        account=await visit.services.accounts.find_account(visit.account_id),
        total=_total(by_time),
        spend=_spend_chart(period, by_time, by_model),
        table=_table(period, by_time),
        models=_shares({name: (name, sums) for name, sums in by_model.items()}),
        keys=_shares({group.key_id: (key_name(names, group.key_id), group) for group in _largest(by_key)}),
        stand_ins=stand_ins(visit.services.catalog),
        chats=CHAT,
        keys_left=max(0, len(by_key) - _ROWS_MAX),
        **({} if scope.key_id else await _latency(visit, period, by_model)),
    )


async def _by_key(visit: Visit, scope: Scope, period: Period) -> list[Part]:
    """By key; all chats of `tollway chat` are one, which has the command's name for an id: each has left a key of its own."""
    groups = await sums_since(visit.services.database, scope, period.starts[0], period.step, ("key_id",))
    chats = set() if scope.key_id else await visit.services.usage.chat_keys(visit.account_id)
    of_chats = [group for group in groups if group.key_id in chats]
    if not of_chats:
        return groups
    together = Part(key_id=CHAT)
    for group in of_chats:
        together.add(group)
    return [group for group in groups if group.key_id not in chats] + [together]


async def _latency(visit: Visit, period: Period, by_model: Mapping[str, Sums]) -> dict[str, Any]:
    """How long requests took: by time, of all models or the chosen one, and by model. It is not kept by key."""
    database, first, step = visit.services.database, period.starts[0], period.step
    chosen = visit.query("model")
    models = [share.name for share in _shares({name: (name, sums) for name, sums in by_model.items()})]
    of_models = await latency_since(database, visit.account_id, first, step, by="model", models=models)
    by_time = await latency_since(database, visit.account_id, first, step, by="bucket", models=[chosen or ALL_MODELS])
    buckets = [by_time.get(start, Latency()) for start in period.starts]
    return {
        "chosen": chosen,
        "latencies": {model: of_models[model] for model in models if model in of_models},
        "first_token": _latency_chart(period, [bucket.first_token for bucket in buckets]),
        "duration": _latency_chart(period, [bucket.duration for bucket in buckets]),
        "latency_table": _newest_first(period, buckets),
    }


def _latency_chart(period: Period, percentiles: Sequence[Percentiles | None]) -> charts.Chart:
    levels = [() if each is None else (each.p50, each.p95) for each in percentiles]
    return charts.nested(period.labels, levels, ("half within", "95 % within"), display.duration)


def _period(name: str) -> Period:
    name = name or _RANGE
    if name not in RANGES:
        raise InvalidRequest(f"`range` is one of {', '.join(RANGES)}.", param="range")
    return Period(name, RANGES[name][0], starts_of(name))


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
    return charts.stacked(
        period.labels, values, series, lambda amount: display.money(_usd_rounded(amount)), unit=CREDITS_PER_USD
    )


def _usd_rounded(credits_amount: float) -> float:
    """Dollars for the scale of a chart; a tenth of a cent is fine enough where there are dollars."""
    amount = usd(round(credits_amount))
    return round(amount, 3) if amount >= 1 else amount


def _table(period: Period, groups: Sequence[Part]) -> list[tuple[str, Sums]]:
    """The same as the chart, in numbers."""
    sums = [Sums() for _ in period.starts]
    for group in groups:
        sums[period.index(group)].add(group)
    return _newest_first(period, sums)


def _newest_first(period: Period, columns: Sequence[Counted]) -> list[tuple[str, Counted]]:
    """The columns of a chart as rows of a table, without those of nothing."""
    rows = [(full, each) for (_, full), each in zip(period.labels, columns, strict=True) if each.requests]
    return rows[::-1]


def _merged(groups: Sequence[Part]) -> dict[str, Sums]:
    """By model."""
    merged: dict[str, Sums] = {}
    for group in groups:
        merged.setdefault(group.model, Sums()).add(group)
    return merged


def _total(groups: Sequence[Part]) -> Sums:
    total = Sums()
    for group in groups:
        total.add(group)
    return total


def _largest(groups: Sequence[Part]) -> list[Part]:
    return sorted(groups, key=lambda group: (-group.credits, -group.requests, group.key_id))[:_ROWS_MAX]


def _shares(named: Mapping[str, tuple[str, Sums]]) -> list[Share]:
    """Largest first."""
    most = max((sums.credits for _, sums in named.values()), default=0) or 1
    shares = [Share(key, name, sums, round(100 * sums.credits / most, 2)) for key, (name, sums) in named.items()]
    return sorted(shares, key=lambda share: (-share.sums.credits, -share.sums.requests, share.name))[:_ROWS_MAX]


def key_name(names: Mapping[str, str], key_id: str | None) -> str:
    """What people call a key, or what stands in its place."""
    return names.get(key_id, key_id) if key_id else PLAYGROUND
