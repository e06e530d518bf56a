import asyncio

import pytest
from tests.desks import Bench, limited, order

from tollway import clock
from tollway.accounts import Limits
from tollway.admission import Admitted, Desk
from tollway.errors import RateLimited


async def test_requests_per_minute(bench: Bench) -> None:
    bench.caller = limited(bench.caller, key=Limits(requests_per_minute=3))
    headers = [(await bench.admit(1)).headers for _ in range(3)]
    assert [each["x-ratelimit-remaining-requests"] for each in headers] == ["2", "1", "0"]
    assert headers[0]["x-ratelimit-limit-requests"] == "3"
    with pytest.raises(RateLimited, match="3 requests per minute") as refusal:
        await bench.admit(1)
    assert refusal.value.code == "rate_limit_exceeded"  # OpenAI's; the message says which limit
    assert refusal.value.retry_after_seconds == 20  # one of three comes back every 20 s
    assert refusal.value.headers["x-ratelimit-remaining-requests"] == "0"
    assert await bench.balance() == (1000, 3)


async def test_tokens_per_minute_count_what_was_really_used(bench: Bench) -> None:
    bench.caller = limited(bench.caller, account=Limits(tokens_per_minute=1000))
    admitted = await bench.admit(1, tokens=900)
    with pytest.raises(RateLimited, match="1,000 tokens per minute") as refusal:
        await bench.admit(1, tokens=200)
    assert refusal.value.code == "rate_limit_exceeded"
    await bench.settle(admitted, 1, tokens=100)
    assert int((await bench.admit(1, tokens=200)).headers["x-ratelimit-remaining-tokens"]) in range(700, 760)
    with pytest.raises(RateLimited, match="counts as up to 2,000 tokens") as refusal:
        await bench.admit(1, tokens=2000)
    assert refusal.value.code == "rate_limit_exceeded"


async def test_more_tokens_than_the_limit_are_owed_for_an_hour_at_most(bench: Bench) -> None:
    bench.caller = limited(bench.caller, key=Limits(tokens_per_minute=100))
    await bench.settle(await bench.admit(1, tokens=50), 1, tokens=50_000)
    with pytest.raises(RateLimited, match="tokens per minute") as refusal:
        await bench.admit(1, tokens=1)
    assert refusal.value.retry_after_seconds in range(3500, 3601)


@pytest.mark.parametrize(("hours_back", "is_locked"), [(0.005, True), (1.1, False), (24 * 365, False)])
async def test_a_clock_that_is_put_back_locks_nobody_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, hours_back: float, is_locked: bool
) -> None:
    bench.caller = limited(bench.caller, key=Limits(requests_per_minute=2, tokens_per_minute=100))
    for _ in range(2):
        await bench.settle(await bench.admit(1, tokens=50), 1, tokens=50)
    then = clock.now() - hours_back * 3600
    monkeypatch.setattr(clock, "now", lambda: then)
    if not is_locked:
        for remaining in ("1", "0"):
            headers = (await bench.admit(1, tokens=50)).headers
            assert headers["x-ratelimit-remaining-requests"] == remaining
    with pytest.raises(RateLimited, match="per minute") as refusal:
        await bench.admit(1, tokens=1)
    assert refusal.value.retry_after_seconds in range(1, 61)


async def test_concurrency_is_the_number_of_open_holds(bench: Bench) -> None:
    bench.caller = limited(bench.caller, key=Limits(concurrency_max=2))
    results = await asyncio.gather(*(bench.desk.admit(order(bench.caller, 1)) for _ in range(5)), return_exceptions=True)
    admitted = [result for result in results if isinstance(result, Admitted)]
    assert len(admitted) == 2
    with pytest.raises(RateLimited, match="2 requests in work") as refusal:
        await bench.admit(1)
    assert refusal.value.code == "rate_limit_exceeded"
    await bench.settle(admitted[0], 1)
    await bench.admit(1)


async def test_a_limit_holds_beside_a_request_that_came_when_the_key_had_none(bench: Bench) -> None:
    admitted = await bench.admit(1)
    limited_caller = limited(bench.caller, key=Limits(concurrency_max=1))
    orders = (order(limited_caller, 1), order(bench.caller, 1))
    refused, let_in = await asyncio.gather(*map(bench.desk.admit, orders), return_exceptions=True)
    assert isinstance(refused, RateLimited)
    assert isinstance(let_in, Admitted)
    await bench.settle(admitted, 1)


async def test_a_minutes_allowance_is_exact(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    bench.caller = limited(bench.caller, key=Limits(requests_per_minute=120))
    for _ in range(120):
        await bench.admit(1)
    with pytest.raises(RateLimited):
        await bench.admit(1)


async def test_rates_hold_over_processes(bench: Bench) -> None:
    bench.caller = limited(bench.caller, key=Limits(requests_per_minute=2))
    for _ in range(2):
        await bench.admit(1)
    bench.desk = Desk(bench.database, "node_other")
    with pytest.raises(RateLimited):
        await bench.admit(1)


@pytest.mark.parametrize(("of_key", "of_account", "told"), [(3, 100, "3"), (100, 9, "9")])
async def test_of_two_limits_the_tighter_is_told(bench: Bench, of_key: int, of_account: int, told: str) -> None:
    key, account = Limits(requests_per_minute=of_key), Limits(requests_per_minute=of_account)
    bench.caller = limited(bench.caller, key=key, account=account)
    assert (await bench.admit(1)).headers["x-ratelimit-limit-requests"] == told
