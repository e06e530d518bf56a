import asyncio

import pytest
from msgspec.structs import replace
from tests.desks import Bench, limited, order

from tollway import clock
from tollway.accounts import Accounts, KeyChanges, Limits
from tollway.admission import Admitted
from tollway.errors import RateLimited, SpendLimitReached
from tollway.usage.filing import file_all


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


async def test_a_key_spends_no_more_than_its_own_limit(bench: Bench) -> None:
    bench.caller = replace(bench.caller, spend_limit_credits=100, spend_window="day")
    first = await bench.admit(60)
    with pytest.raises(SpendLimitReached, match="100 credits a day; 40 are left") as refusal:
        await bench.admit(60)
    assert refusal.value.data is not None
    assert refusal.value.data["credits_available"] == 40
    await bench.settle(first, 50)
    assert (await bench.admit(80, least=10)).hold.credits == 50


# --- idempotency ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_filed", [True, False])
async def test_what_was_spent_before_the_limit_was_set_counts(bench: Bench, is_filed: bool) -> None:
    free = bench.caller
    await bench.settle(await bench.admit(60), 60)
    if is_filed:
        await file_all(bench.database)
    for window in ("day", "week", "month", "no_reset"):
        bench.caller = replace(free, spend_limit_credits=100, spend_window=window)
        with pytest.raises(SpendLimitReached, match="40 are left"):
            await bench.admit(41)


async def test_what_was_spent_while_another_limit_was_in_force_counts(bench: Bench) -> None:
    free = bench.caller
    limited_caller = replace(free, spend_limit_credits=100, spend_window="day")
    for caller in (limited_caller, free):
        bench.caller = caller
        await bench.settle(await bench.admit(30), 30)
    accounts = Accounts(bench.database, b"secret")
    await accounts.update_key(free.key_id, KeyChanges(spend_limit_credits=100, spend_window="day"))
    await accounts.close()
    bench.caller = limited_caller
    with pytest.raises(SpendLimitReached, match="40 are left"):
        await bench.admit(41)
