import pytest
from msgspec.structs import replace
from tests.desks import Bench

from tollway.accounts import Accounts, KeyChanges, SpendWindow
from tollway.errors import SpendLimitReached
from tollway.usage.filing import file_all


async def test_a_key_spends_no_more_than_its_own_limit(bench: Bench) -> None:
    bench.caller = replace(bench.caller, spend_limit_credits=100, spend_window="day")
    first = await bench.admit(60)
    with pytest.raises(SpendLimitReached, match="100 credits a day; 40 are left") as refusal:
        await bench.admit(60)
    assert refusal.value.data is not None
    assert refusal.value.data["credits_available"] == 40
    await bench.settle(first, 50)
    assert (await bench.admit(80, least=10)).hold.credits == 50


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


async def test_what_is_left_of_a_lowered_limit_is_never_negative(bench: Bench) -> None:
    bench.caller = replace(bench.caller, spend_limit_credits=100, spend_window="day")
    await bench.settle(await bench.admit(100), 100)
    bench.caller = replace(bench.caller, spend_limit_credits=50)
    with pytest.raises(SpendLimitReached, match="0 are left") as refusal:
        await bench.admit(1)
    assert refusal.value.data is not None
    assert refusal.value.data["credits_available"] == 0


@pytest.mark.parametrize("before", [None, "no_reset"])
@pytest.mark.parametrize("others_come_first", [False, True])
async def test_what_runs_when_a_limit_is_set_counts(bench: Bench, before: SpendWindow | None, others_come_first: bool) -> None:
    free = bench.caller
    bench.caller = replace(free, spend_limit_credits=before and 500, spend_window=before)
    running = [await bench.admit(50), await bench.admit(10)]
    accounts = Accounts(bench.database, b"secret")
    await accounts.update_key(free.key_id, KeyChanges(spend_limit_credits=100, spend_window="day"))
    await accounts.close()
    if others_come_first:  # of a worker that has not heard of it yet
        bench.caller = free
        running.append(await bench.admit(5))
        await bench.settle(running.pop(0), 45)
    bench.caller = replace(free, spend_limit_credits=100, spend_window="day")
    held, spent = (15, 45) if others_come_first else (60, 0)
    with pytest.raises(SpendLimitReached, match=f"{100 - held - spent} are left"):
        await bench.admit(100 - held - spent + 1)
    await bench.verified()
    for admitted in running:
        await bench.settle(admitted, 3)
        spent += 3
    with pytest.raises(SpendLimitReached, match=f"{100 - spent} are left"):
        await bench.admit(100 - spent + 1)
    await bench.settle(await bench.admit(100 - spent), 1)
    await bench.verified()
