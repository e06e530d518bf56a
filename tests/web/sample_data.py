"""A month of business for the screenshots: what desk, ledger and log would have written, at the times of the month."""

import asyncio
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection
from tests.desks import recorded
from tests.installation import installed

from tollway import clock
from tollway.accounts import Caller
from tollway.admission import Admitted, Desk, Order, Outcome
from tollway.api.services import Services
from tollway.catalog import Price
from tollway.ids import random_text, request_id
from tollway.metering import Tariff, credits_for, tariff_of
from tollway.storage.tables import api_keys
from tollway.usage import PriceList, RequestRecord, Status
from tollway.usage.latency import LatencyCounter
from tollway.wire.chat import PromptTokensDetails, Usage

DAYS, PER_DAY, IN_LAST_HOUR = 30, 45, 90


class Traffic(Struct):
    """One model's share, and how it behaves."""

    model: str
    route: str
    share: float
    price: Price
    first_token_ms: float
    tokens_per_second: float


TRAFFIC = (
    Traffic("google/gemini-2.5-flash-lite-preview", "gemini", 0.5, Price("0.10", "0.40", "0.01", "0.30"), 290, 210),
    Traffic("openai/gpt-5-mini", "openai", 0.3, Price("0.25", "2.00", "0.025", "0.25"), 610, 95),
    Traffic("meta-llama/llama-3.3-70b", "gpu", 0.2, Price("0.12", "0.36", "0.12", "0.12"), 170, 48),
)
KEYS = {"website": 0.6, "nightly evaluation": 0.28, "Ana's laptop": 0.12}


def fill(home: Path) -> None:
    """Into a home folder that no service has used."""
    asyncio.run(_fill(home))


async def _fill(home: Path) -> None:
    real, chance = clock.now, random.Random(5)
    now = real()
    then = _Then(now - (DAYS + 1) * 86_400)
    async with installed(home) as services:
        desk = Desk(services.database, "node_sample")
        try:
            clock.now = then
            caller_of = await _accounts(services)
            used: dict[str, float] = {}
            for at in _moments(now, chance):
                then.at = at
                caller = caller_of[chance.choices(list(KEYS), list(KEYS.values()))[0]]
                await _one(desk, caller, then, chance)
                used[caller.key_id] = at
            await services.database.write(lambda connection: _note_last_used(connection, used))
        finally:
            clock.now = real
            await desk.close()
        counter = LatencyCounter(services.database)
        await counter.count()
        await counter.count()


def _note_last_used(connection: Connection, used: dict[str, float]) -> None:
    for key_id, at in used.items():
        connection.execute(sa.update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=at))


class _Then:
    """The clock, at a time of the month."""

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


async def _accounts(services: Services) -> dict[str, Caller]:
    await services.accounts.bootstrap()
    account = await services.accounts.first_account()
    await PriceList(services.database, lambda: [_tariff(one) for one in TRAFFIC]).write()
    await services.ledger.grant(account.id, 10_000_000, reason="init", once=f"first_grant_{account.id}")
    await services.ledger.grant(account.id, 50_000_000, reason="payment", note="Invoice 2026-114")
    other = await services.accounts.create_account("research")
    await services.ledger.grant(other.id, 8_000_000, reason="bonus", note="To try things out")
    callers = {}
    for name in KEYS:
        key = (await services.accounts.create_key(account.id, name)).record
        callers[name] = Caller(account.id, account.name, key.id, key.prefix, key.name)
    return callers


def _moments(now: float, chance: random.Random) -> Iterator[float]:
    """More on working days, more each week; many in the last hour."""
    for day in range(DAYS, 0, -1):
        begin = (now // 86_400 - day + 1) * 86_400
        count = round(PER_DAY * (0.5 if day % 7 < 2 else 1) * (1.4 - day / DAYS) * chance.uniform(0.7, 1.3))
        yield from (at for at in sorted(begin + chance.gauss(13, 3.2) * 3600 for _ in range(count)) if at < now - 3700)
    yield from sorted(now - chance.uniform(40, 3600) for _ in range(IN_LAST_HOUR))


async def _one(desk: Desk, caller: Caller, then: _Then, chance: random.Random) -> None:
    """Held, answered, charged."""
    (traffic,) = chance.choices(TRAFFIC, [one.share for one in TRAFFIC])
    status: Status = chance.choices(("succeeded", "failed", "cancelled"), (0.965, 0.015, 0.02))[0]
    row = _row(caller, traffic, status, then.at + 0.004, chance)
    admitted = await desk.admit(Order(row.request_id, caller, row.model, row.price_version, row.held, row.held, 0))
    assert isinstance(admitted, Admitted)
    then.at = row.created_at + row.duration_ms / 1000 + 0.006
    await desk.finish(Outcome(admitted, row, row.prompt_tokens + row.completion_tokens, None))


def _row(caller: Caller, traffic: Traffic, status: Status, at: float, chance: random.Random) -> RequestRecord:
    tariff = _tariff(traffic)
    prompt, completion = round(chance.lognormvariate(8.6, 0.9)), round(chance.lognormvariate(6.4, 0.8))
    cached = prompt // 2 if chance.random() < 0.3 else 0
    first = traffic.first_token_ms * chance.lognormvariate(0, 0.35) * (1 + 0.25 * math.sin(at / 200_000))
    details: dict[str, Any] = {"status": status, "finish_reason": "stop"}
    if status == "failed":
        prompt = cached = completion = 0
        details |= {"finish_reason": None, "error_code": chance.choice(("upstream_timeout", "upstream_unavailable"))}
    usage = Usage(prompt, completion, prompt + completion, prompt_tokens_details=PromptTokensDetails(cached_tokens=cached))
    return recorded(
        caller.account_id,
        caller.key_id,
        request_id=request_id(),
        inference_id=random_text(21),
        model=traffic.model,
        answered_by=traffic.model,
        route=traffic.route,
        attempts=2 if status == "failed" else 1,
        stream=chance.random() < 0.8,
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=completion,
        held=credits_for(Usage(prompt or 1500, 4096, 0), tariff),
        credits=credits_for(usage, tariff) if status != "failed" else 0,
        price_version=tariff.version,
        created_at=at,
        first_token_ms=None if status == "failed" else round(first),
        duration_ms=round(first if status == "failed" else first + 1000 * completion / traffic.tokens_per_second),
        **details,
    )


def _tariff(traffic: Traffic) -> Tariff:
    return tariff_of(traffic.price, 1_000_000)
