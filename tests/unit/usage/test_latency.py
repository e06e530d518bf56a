"""Percentiles against those of the same rows, on both databases; and the counting behind them."""

import asyncio
import random
import statistics
from pathlib import Path

import jsonschema
import pytest
from tests.asgi import call
from tests.desks import opened, record, recorded
from tests.installation import app_of, installed

from tollway import clock
from tollway.api import openapi
from tollway.api.endpoints import ENDPOINTS
from tollway.storage import Database
from tollway.storage.tables import ALL_MODELS
from tollway.usage import RequestRecord
from tollway.usage import latency as latencies
from tollway.usage.latency import LatencyCounter, latency_since, percentile, size_of
from tollway.usage.recording import DAY_SECONDS, HOUR_SECONDS

NOON = 1_774_785_600.0


def some_records(account_id: str, count: int) -> list[RequestRecord]:
    """Over three days, of two models, one of which is ten times as slow."""
    chance = random.Random(3)
    records = []
    for _ in range(count):
        model, factor = chance.choice([("fast", 1), ("slow", 10)])
        first = round(factor * chance.lognormvariate(5, 0.6))
        status = "failed" if chance.random() < 0.1 else "succeeded"
        records.append(
            recorded(
                account_id,
                model=model,
                status=status,
                created_at=NOON + chance.uniform(-1.4 * DAY_SECONDS, 1.4 * DAY_SECONDS),
                first_token_ms=None if status == "failed" else first,
                duration_ms=1 if status == "failed" else first + round(factor * chance.lognormvariate(7, 0.5)),
            )
        )
    return records


async def counted(database: Database) -> None:
    counter = LatencyCounter(database)
    await counter.count()
    await counter.count()


@pytest.mark.parametrize("span", [HOUR_SECONDS, DAY_SECONDS])
async def test_percentiles_are_those_of_the_rows(database: Database, span: int) -> None:
    mine, other = await opened(database, 0), await opened(database, 0)
    account_id, records = mine.caller.account_id, some_records(mine.caller.account_id, 3000)
    await record(database, *records, recorded(other.caller.account_id, duration_ms=10**9, created_at=NOON))
    await counted(database)
    start = int(NOON - DAY_SECONDS) // span * span
    rows = [row for row in records if row.status == "succeeded" and row.created_at >= start]
    by_model = await latency_since(database, account_id, start, span, by="model", models=["fast", "slow", "none"])
    by_time = await latency_since(database, account_id, start, span, by="bucket")
    (day,) = await latency_since(database, account_id, start, span, by="bucket", models=["none"]) or [None]
    assert day is None
    assert set(by_model) == {"fast", "slow"}
    assert sum(each.requests for each in by_time.values()) == len(rows)
    groups = [(by_model[model], [row for row in rows if row.model == model]) for model in by_model]
    groups += [(found, [row for row in rows if int(row.created_at) // span * span == at]) for at, found in by_time.items()]
    for found, of_it in groups:
        assert found.requests == len(of_it)
        for measured, times in (
            (found.first_token, [row.first_token_ms for row in of_it]),
            (found.duration, [row.duration_ms for row in of_it]),
        ):
            assert measured is not None
            if len(of_it) >= 200:  # in small groups it depends on what is meant by a percentile
                cuts = statistics.quantiles([time for time in times if time is not None], n=20)
                assert measured.p50 == pytest.approx(cuts[9], rel=0.08)
                assert measured.p95 == pytest.approx(cuts[18], rel=0.15)


async def test_the_last_second_of_an_hour_is_not_the_next_one(database: Database) -> None:
    """The databases round in ways of their own."""
    mine = await opened(database, 0)
    account_id, times = mine.caller.account_id, (NOON - 0.5, NOON - 0.1, NOON, NOON + 0.6, NOON + HOUR_SECONDS)
    await record(database, *(recorded(account_id, created_at=time, duration_ms=5) for time in times))
    await counted(database)
    by_time = await latency_since(database, account_id, int(NOON) - HOUR_SECONDS, HOUR_SECONDS, by="bucket")
    assert {at - int(NOON): found.requests for at, found in by_time.items()} == {-HOUR_SECONDS: 2, 0: 2, HOUR_SECONDS: 1}


async def test_nothing_is_counted_twice_or_left_out(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows come while others count, in several processes, a few rows at a time."""
    monkeypatch.setattr(latencies, "_ROWS_AT_ONCE", 7)
    bench = await opened(database, 0)
    counters = [LatencyCounter(database) for _ in range(3)]
    written = 0
    for more in (1, 40, 0, 13, 200, 0, 0):
        await record(database, *(recorded(bench.caller.account_id, created_at=NOON) for _ in range(more)))
        written += more
        await asyncio.gather(*(counter.count() for counter in counters))
    for _ in range(3):
        await counters[0].count()
    found = await latency_since(database, bench.caller.account_id, 0, DAY_SECONDS, by="bucket", models=[ALL_MODELS])
    assert [each.requests for each in found.values()] == [written]


async def test_a_row_is_counted_one_look_after_it_was_seen(database: Database) -> None:
    bench, counter = await opened(database, 0), LatencyCounter(database)

    async def seen() -> int:
        await counter.count()
        found = await latency_since(database, bench.caller.account_id, 0, DAY_SECONDS, by="model")
        return sum(each.requests for each in found.values())

    await record(database, recorded(bench.caller.account_id))
    assert [await seen(), await seen(), await seen()] == [0, 1, 1]


@pytest.mark.parametrize("milliseconds", [0, 1, 2, 3, 7, 100, 12_345, 3_600_000, 2**31 - 1])
def test_a_time_lies_within_its_size(milliseconds: int) -> None:
    size = size_of(milliseconds)
    assert percentile({size: 1}, 0) <= max(1, milliseconds) * 1.0001
    assert max(1, milliseconds) < percentile({size: 1}, 1) * 1.0001


def test_percentiles_rise_and_do_not_care_for_empty_sizes() -> None:
    sizes = {20: 90, 30: 0, 40: 10}
    assert percentile(sizes, 0.5) < percentile(sizes, 0.9) <= percentile({20: 1}, 1) < percentile(sizes, 0.95)
    with pytest.raises(ValueError, match="nothing"):
        percentile({}, 0.5)


async def test_the_endpoint(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        account = await services.accounts.create_account("acme")
        plain = (await services.accounts.create_key(account.id, "plain")).secret
        boss = (await services.accounts.create_key(account.id, "boss", kind="management")).secret
        now = clock.now()
        rows = [recorded(account.id, model=model, created_at=now, first_token_ms=50, duration_ms=400) for model in "aab"]
        await record(services.database, *rows, recorded(account.id, created_at=now - 40 * DAY_SECONDS))
        await counted(services.database)
        app = app_of(services)

        async def ask(query: str, key: str = boss) -> tuple[int, dict]:  # type: ignore[type-arg]
            reply = await call(app, "GET", f"/v2/usage/latency{query}", headers={"Authorization": f"Bearer {key}"})
            return reply.status, reply.json

        schema = openapi.document(ENDPOINTS)
        content = schema["paths"]["/v2/usage/latency"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        for query, spans in (("", 3600), ("?period=30d", 86_400), ("?period=90d", 86_400)):
            status, body = await ask(query)
            jsonschema.validate(body, content | {"components": schema["components"]})
            assert (status, body["span_seconds"], body["model"]) == (200, spans, None)
            assert [each["requests"] for each in body["times"]] == ([1, 3] if "90d" in query else [3])
            assert [(each["model"], each["requests"]) for each in body["models"]][:1] == [("a", 2)]
        figures = body["times"][-1]
        assert 45 < figures["first_token_ms"]["p50"] < 60
        assert 380 < figures["duration_ms"]["p95"] < 480
        _, body = await ask("?period=7d&model=b")
        assert [each["requests"] for each in body["times"]] == [1]
        assert [each["model"] for each in body["models"]] == ["b"]
        assert (await ask("?model=unknown"))[1]["times"] == []
        for bad, param in (("?period=5d", "period"), ("?model=", "model"), ("?model=%C3%A9", "model"), ("?tz=UTC", "tz")):
            status, body = await ask(bad)
            assert (status, body["error"]["param"]) == (400, param)
        assert (await ask("", plain))[0] == 403
