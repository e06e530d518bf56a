import pytest
from msgspec.structs import replace
from tests.desks import Bench

from tollway.accounts import Accounts, KeyChanges
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
