"""Sums and the log, against a plain count of the same rows, on both databases."""

import datetime as dt
import random
import zoneinfo
from collections.abc import Iterable, Sequence

import pytest
from tests.desks import opened, record, recorded

from tollway import clock
from tollway.storage import Database
from tollway.usage import LogFilter, RequestRecord, Scope, UsageQueries, Window

NOON = dt.datetime(2026, 3, 29, 12, tzinfo=dt.UTC).timestamp()
"""Of the day on which clocks go forward in Europe."""
DAY = 86_400.0


def at(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


def some_records(account_id: str, keys: Sequence[str | None], count: int = 300) -> list[RequestRecord]:
    """Requests over five days, many of them within seconds of a day's or a bucket's edge."""
    chance = random.Random(7)
    records = []
    for _ in range(count):
        created = NOON + chance.uniform(-2.5 * DAY, 2.5 * DAY)
        if chance.random() < 0.5:
            created = created // 900 * 900 + chance.choice([-0.001, 0.0, 0.5, 899.999])
        status = chance.choice(["succeeded", "succeeded", "failed", "cancelled"])
        records.append(
            recorded(
                account_id,
                chance.choice(keys),
                model=chance.choice(["m", "n/o", "z"]),
                status=status,
                credits=0 if status == "failed" else chance.randrange(1000),
                created_at=created,
            )
        )
    return records


def within(records: Iterable[RequestRecord], window: Window, key_id: str | None = None) -> list[RequestRecord]:
    return [
        each
        for each in records
        if (window.start is None or each.created_at >= window.start)
        and (window.end is None or each.created_at < window.end)
        and key_id in (None, each.key_id)
    ]


WINDOWS = [
    Window(),
    Window(NOON - DAY, NOON + DAY),
    Window(NOON - DAY + 1, NOON + DAY - 1),
    Window(NOON + 10, NOON + 300),
    Window(NOON + 899, NOON + 901),
    Window(NOON, NOON),
    Window(NOON + 450.5, NOON + 900),
    Window(start=NOON - 0.0005),
    Window(end=NOON + 77),
]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe"])
async def test_sums_are_those_of_the_rows(database: Database, zone: str) -> None:
    mine, other = await opened(database, 0), await opened(database, 0)
    key_id = mine.caller.key_id
    records = some_records(mine.caller.account_id, [key_id, "key_2", None])
    await record(database, *records, *some_records(other.caller.account_id, [other.caller.key_id]))
    queries, tz = UsageQueries(database), zoneinfo.ZoneInfo(zone)
    for window in WINDOWS:
        for scope in (Scope(mine.caller.account_id), Scope(mine.caller.account_id, key_id)):
            rows = within(records, window, scope.key_id)
            total = await queries.total(scope, window)
            assert (total.requests, total.credits) == (len(rows), sum(row.credits for row in rows))
            assert total.charged == sum(row.credits > 0 for row in rows)
            assert [total.succeeded, total.failed, total.cancelled] == [
                sum(row.status == status for row in rows) for status in ("succeeded", "failed", "cancelled")
            ]
            assert (total.prompt_tokens, total.completion_tokens) == (10 * len(rows), 5 * len(rows))
            if window.start is None or window.end is None:
                continue
            expected: dict[tuple[str, str], int] = {}
            for row in rows:
                place = dt.datetime.fromtimestamp(row.created_at, tz).date().isoformat(), row.model
                expected[place] = expected.get(place, 0) + row.credits
            groups = await queries.sums(scope, window, ("day", "model"), tz)
            assert {(group.day, group.model): group.credits for group in groups} == expected
            assert [(group.day, group.model) for group in groups] == sorted(expected)
    by_key = await queries.sums(Scope(mine.caller.account_id), Window(), ("key",))
    assert {group.key_id: group.requests for group in by_key} == {
        key or "": sum(row.key_id == key for row in records) for key in (key_id, "key_2", None)
    }


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("UTC", "2026-11-22T23:59:59Z", "2026-11-22"),
        ("UTC", "2026-11-23T00:00:00Z", "2026-11-23"),
        ("Pacific/Kiritimati", "2026-11-23T09:59:59Z", "2026-11-23"),
        ("Pacific/Kiritimati", "2026-11-23T10:00:00Z", "2026-11-24"),
        ("Asia/Kathmandu", "2026-11-22T18:14:59Z", "2026-11-22"),
        ("Asia/Kathmandu", "2026-11-22T18:15:00Z", "2026-11-23"),
        ("Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25"),  # the night in which the clocks go back:
        ("Europe/Berlin", "2026-10-25T22:59:59Z", "2026-10-25"),  # a day of 25 hours
        ("Europe/Berlin", "2026-10-25T23:00:00Z", "2026-10-26"),
        ("Africa/Cairo", "2026-04-23T21:59:59Z", "2026-04-23"),  # there is no 00:00 on the day after
        ("Africa/Cairo", "2026-04-23T22:00:00Z", "2026-04-24"),
        ("Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-29"),  # nor a 30 December 2011 here
        ("Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31"),
    ],
)
async def test_days_begin_at_local_midnight(database: Database, zone: str, moment: str, day: str) -> None:
    bench = await opened(database, 0)
    await record(database, recorded(bench.caller.account_id, created_at=at(moment)))
    window = Window(at(moment) - 45 * DAY, at(moment) + 45 * DAY)
    (group,) = await UsageQueries(database).sums(Scope(bench.caller.account_id), window, ("day",), zoneinfo.ZoneInfo(zone))
    assert group.day == day


async def test_pages_of_the_log_have_every_row_once(database: Database) -> None:
    bench, queries = await opened(database, 0), UsageQueries(database)
    records = some_records(bench.caller.account_id, [bench.caller.key_id, "key_2"], 120)
    records += [recorded(bench.caller.account_id, "key_2", created_at=NOON) for _ in range(30)]  # at the same moment
    await record(database, *records)
    for scope in (Scope(bench.caller.account_id), Scope(bench.caller.account_id, "key_2")):
        for which in (
            LogFilter(),
            LogFilter(Window(NOON - DAY + 7, NOON + DAY)),
            LogFilter(models=["m", "z"], statuses=["failed", "cancelled"]),
            LogFilter(Window(NOON, NOON + 1), ["m"]),
            LogFilter(models=["no such model"]),
        ):
            wanted = [
                row.request_id
                for row in within(records, which.window, scope.key_id)
                if (not which.models or row.model in which.models) and (not which.statuses or row.status in which.statuses)
            ]
            got, before = [], None
            while page := await queries.log(scope, which, limit=7, before=before):
                got += page
                before = page[-1].created_at, page[-1].id
            assert sorted(row.request_id for row in got) == sorted(wanted)
            assert [row.created_at for row in got] == sorted((row.created_at for row in got), reverse=True)
            assert await queries.count(scope, which) == len(wanted)
            assert [row.id for row in await queries.log(scope, which, limit=7, offset=7)] == [row.id for row in got[7:14]]


async def test_a_request_is_found_by_each_of_its_ids(database: Database) -> None:
    mine, other, queries = await opened(database, 0), await opened(database, 0), UsageQueries(database)
    account_id = mine.caller.account_id
    first = recorded(account_id, "key_1", client_request_id="order-7", created_at=NOON)
    again = recorded(account_id, "key_2", client_request_id="order-7", created_at=NOON + 1)
    foreign = recorded(other.caller.account_id, client_request_id="order-7")
    await record(database, first, again, foreign)

    async def found(scope: Scope, any_id: str) -> list[str]:
        return [row.request_id for row in await queries.find(scope, any_id)]

    for scope in (Scope(account_id), Scope(account_id, "key_1")):
        assert await found(scope, first.request_id) == await found(scope, first.inference_id) == [first.request_id]
        assert await found(scope, foreign.request_id) == await found(scope, "") == []
    assert await found(Scope(account_id), "order-7") == [again.request_id, first.request_id]
    assert await found(Scope(account_id, "key_1"), "order-7") == [first.request_id]
    assert await found(Scope(account_id, "key_1"), again.inference_id) == []


async def test_a_row_of_the_log_is_the_record_as_it_was(database: Database) -> None:
    bench = await opened(database, 0)
    written = recorded(
        bench.caller.account_id, "k", first_token_ms=None, flags="usage_missing", stream=True, loss=7, prompt_tokens=2**40
    )
    await record(database, written)
    (row,) = await UsageQueries(database).log(Scope(bench.caller.account_id))
    assert {name: getattr(row, name) for name in RequestRecord.__struct_fields__} == {
        name: getattr(written, name) for name in RequestRecord.__struct_fields__
    }


async def test_the_month_begins_at_its_first_day_in_utc(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = await opened(database, 0)
    monkeypatch.setattr(clock, "now", lambda: at("2026-11-30T23:59:00Z"))
    other = await opened(database, 0)
    for caller in (bench.caller, other.caller):
        await record(database, recorded(caller.account_id, caller.key_id, created_at=at("2026-10-31T23:59:59Z")))
    key_id = bench.caller.key_id
    await record(database, recorded(bench.caller.account_id, key_id, created_at=at("2026-11-01T00:00:00Z")))
    assert await UsageQueries(database).monthly([key_id, other.caller.key_id, "unknown"]) == {key_id: 30}
    assert await UsageQueries(database).monthly([]) == {}
    since = {key_id: 0, other.caller.key_id: int(at("2026-11-01T00:00:00Z"))}
    assert await UsageQueries(database).spent(since) == {key_id: 60}
