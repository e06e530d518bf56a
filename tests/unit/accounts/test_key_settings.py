"""What keys and accounts can be limited to, rotation, and whose keys are whose."""

import asyncio
from pathlib import Path
from typing import NamedTuple
from unittest.mock import ANY

import pytest
from msgspec import structs
from tests.installation import installed

from tollway import clock
from tollway.accounts import AccountChanges, ApiKey, Caller, KeyChanges, KeyKind, Limits, require
from tollway.api.services import Services
from tollway.errors import Forbidden, InvalidRequest, NotFound, Unauthorized
from tollway.settings import DatabaseUrl


class Where(NamedTuple):
    """An installation's home, and the URL of its database; None = a file in the home."""

    home: Path
    url: DatabaseUrl | None


@pytest.fixture
def where(tmp_path: Path, place: Path | DatabaseUrl) -> Where:
    return Where(tmp_path / "home", place if isinstance(place, DatabaseUrl) else None)


FULL = KeyChanges(
    name="full",
    expires_at=4_000_000_000.0,
    scopes=("model:speech", "model:chat", "model:chat"),
    models=("local/b", "a", "local/b"),
    spend_limit_credits=10_000_000,
    spend_window="week",
    requests_per_minute=60,
    tokens_per_minute=3_000_000_000 // 4,
    concurrency_max=2,
)


async def _caller(services: Services, secret: str) -> Caller:
    return await services.accounts.authenticate(f"Bearer {secret}")


async def _refusal(services: Services, secret: str) -> str:
    with pytest.raises(Unauthorized) as caught:
        await _caller(services, secret)
    assert secret not in caught.value.message
    return str((caught.value.data or {})["kind"])


async def test_everything_that_a_key_is_given_reaches_the_caller(where: Where) -> None:
    async with installed(where.home, database_url=where.url) as services:
        account = await services.accounts.create_account("acme")
        await services.accounts.update_account("acme", AccountChanges(requests_per_minute=5, concurrency_max=9))
        new = await services.accounts.create_key(account.id, settings=FULL)
        caller = await _caller(services, new.secret)
        assert (caller.management, caller.scopes, caller.models) == (
            False,
            frozenset({"model:chat", "model:speech"}),
            frozenset({"local/b", "a"}),
        )
        assert (caller.spend_limit_credits, caller.spend_window) == (10_000_000, "week")
        assert caller.limits == Limits(60, 750_000_000, 2)
        assert caller.account_limits == Limits(5, None, 9)
        assert (new.record.scopes, new.record.models) == (("model:chat", "model:speech"), ("local/b", "a"))
        assert await services.accounts.list_keys() == [structs.replace(new.record, last_used_at=ANY)]


async def test_a_key_without_settings_may_do_everything(where: Where) -> None:
    async with installed(where.home, database_url=where.url) as services:
        account = await services.accounts.first_account()
        new = await services.accounts.create_key(account.id)
        caller = await _caller(services, new.secret)
        assert (caller.scopes, caller.models, caller.spend_limit_credits, caller.spend_window) == (None, None, None, None)
        assert caller.limits == caller.account_limits == Limits()
        assert new.record.name == f"key {new.record.prefix}"
        management = await services.accounts.create_key(account.id, "boss", kind="management")
        assert (await _caller(services, management.secret)).management


async def test_changes_are_in_force_at_once_and_leave_the_rest(where: Where) -> None:
    async with installed(where.home, database_url=where.url) as services:
        account = await services.accounts.first_account()
        new = await services.accounts.create_key(account.id, settings=FULL)
        await _caller(services, new.secret)
        changed = await services.accounts.update_key(
            new.record.prefix, KeyChanges(models=None, concurrency_max=3, spend_limit_credits=None, spend_window=None)
        )
        caller = await _caller(services, new.secret)
        assert (caller.models, caller.limits, caller.spend_window) == (None, Limits(60, 750_000_000, 3), None)
        assert (changed.name, changed.scopes, changed.expires_at) == ("full", ("model:chat", "model:speech"), FULL.expires_at)
        assert changed.updated_at > new.record.updated_at
        await services.accounts.update_account(account.id, AccountChanges(name="renamed", tokens_per_minute=7))
        caller = await _caller(services, new.secret)
        assert (caller.account_name, caller.account_limits) == ("renamed", Limits(None, 7, None))


BAD: list[tuple[KeyChanges, str]] = [
    (KeyChanges(name="x" * 101), "name"),
    (KeyChanges(name="line\u2028break"), "name"),
    (KeyChanges(scopes=()), "scopes"),
    (KeyChanges(scopes=("model:chat", "admin")), "scopes[1]"),
    (KeyChanges(models=()), "models"),
    (KeyChanges(models=("a", "")), "models[1]"),
    (KeyChanges(models=("a" * 201,)), "models[0]"),
    (KeyChanges(models=("a\x00b",)), "models[0]"),
    (KeyChanges(models=tuple(str(number) for number in range(101))), "models"),
    (KeyChanges(spend_limit_credits=5), "limit"),
    (KeyChanges(spend_window="day"), "limit"),
    (KeyChanges(spend_limit_credits=None, spend_window="day"), "limit"),
    (KeyChanges(spend_limit_credits=-1, spend_window="day"), "limit.threshold"),
    (KeyChanges(spend_limit_credits=2**63, spend_window="day"), "limit.threshold"),
    (KeyChanges(spend_limit_credits=1, spend_window="year"), "limit.retention"),  # type: ignore[arg-type]
    (KeyChanges(requests_per_minute=0), "requests_per_minute"),
    (KeyChanges(tokens_per_minute=-5), "tokens_per_minute"),
    (KeyChanges(concurrency_max=2**63), "concurrency_max"),
    (KeyChanges(expires_at=float("nan")), "expires_at"),
    (KeyChanges(expires_at=1e300), "expires_at"),
]


@pytest.mark.parametrize(("changes", "param"), BAD, ids=[f"{number}-{param}" for number, (_, param) in enumerate(BAD)])
async def test_what_cannot_be_is_refused_naming_the_field(where: Where, changes: KeyChanges, param: str) -> None:
    async with installed(where.home, database_url=where.url) as services:
        account = await services.accounts.first_account()
        new = await services.accounts.create_key(account.id)
        with pytest.raises(InvalidRequest) as created:
            await services.accounts.create_key(account.id, settings=changes)
        with pytest.raises(InvalidRequest) as updated:
            await services.accounts.update_key(new.record.id, changes)
        assert (created.value.param, updated.value.param) == (param, param)
        assert await services.accounts.list_keys() == [new.record]


async def test_names_are_unique_within_an_account_and_free_again_once_deleted(where: Where) -> None:
    async with installed(where.home, database_url=where.url) as services:
        one, two = [await services.accounts.create_account(name) for name in ("one", "two")]
        first = await services.accounts.create_key(one.id, "ci")
        await services.accounts.create_key(two.id, "ci")
        other = await services.accounts.create_key(one.id, "laptop")
        for attempt in (
            services.accounts.create_key(one.id, " ci ", kind="management"),
            services.accounts.update_key(other.record.id, KeyChanges(name="ci")),
        ):
            with pytest.raises(InvalidRequest, match="already") as caught:
                await attempt
            assert caught.value.param == "name"
        await services.accounts.update_key(first.record.id, KeyChanges(name="ci"))  # its own
        await services.accounts.delete_key(first.record.id)
        await services.accounts.create_key(one.id, "ci")
        with pytest.raises(InvalidRequest, match="already"):
            await services.accounts.update_account("two", AccountChanges(name="one"))


async def test_a_new_secret_works_at_once_and_the_old_one_for_the_overlap(
    where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with installed(where.home, database_url=where.url) as services:
        account = await services.accounts.first_account()
        old = await services.accounts.create_key(account.id, settings=FULL)
        before = await _caller(services, old.secret)
        new = await services.accounts.rotate_key(old.record.prefix, overlap_seconds=60)
        assert new.secret != old.secret
        assert new.record.previous_prefix == old.record.prefix
        assert (new.record.id, new.record.name, new.record.models) == (old.record.id, "full", old.record.models)
        callers = [await _caller(services, secret) for secret in (old.secret, new.secret)]
        assert [caller.key_id for caller in callers] == [before.key_id] * 2
        assert [caller.key_prefix for caller in callers] == [old.secret[:12], new.secret[:12]]
        assert callers[1].limits == before.limits
        with pytest.raises(NotFound):
            await services.accounts.find_key(old.record.prefix)
        later = clock.now() + 61
        monkeypatch.setattr(clock, "now", lambda: later)
        assert await _refusal(services, old.secret) == "err_key_replaced"
        await _caller(services, new.secret)


async def test_an_overlap_does_not_outlast_the_key(where: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    async with installed(where.home, database_url=where.url) as services:
        account = await services.accounts.first_account()
        old = await services.accounts.create_key(account.id, settings=KeyChanges(expires_at=clock.now() + 60))
        new = await services.accounts.rotate_key(old.record.prefix, overlap_seconds=3600)
        later = clock.now() + 61
        monkeypatch.setattr(clock, "now", lambda: later)
        for key in (old, new):  # and nobody is sent from one that is over to another
            assert await _refusal(services, key.secret) == "err_key_expired"


async def test_no_overlap_ends_every_older_secret_at_once(where: Where) -> None:
    async with installed(where.home, database_url=where.url) as services:
        account = await services.accounts.first_account()
        keys = [await services.accounts.create_key(account.id)]
        for overlap in (3600, 3600, 0):
            keys.append(await services.accounts.rotate_key(keys[0].record.id, overlap_seconds=overlap))
            await _caller(services, keys[-1].secret)
            if overlap:
                await _caller(services, keys[-2].secret)
        assert [await _refusal(services, key.secret) for key in keys[:3]] == [
            "err_key_unknown",
            "err_key_unknown",
            "err_key_replaced",
        ]
        await services.accounts.set_enabled(keys[0].record.id, False)
        assert await _refusal(services, keys[3].secret) == "err_key_disabled"
        for seconds in (-1, 30 * 86_400 + 1):
            with pytest.raises(InvalidRequest) as caught:
                await services.accounts.rotate_key(keys[0].record.id, overlap_seconds=seconds)
            assert caught.value.param == "overlap_seconds"


async def test_rotations_that_meet_leave_the_last_two_secrets(where: Where) -> None:
    async with installed(where.home, database_url=where.url) as services:
        account = await services.accounts.first_account()
        key = await services.accounts.create_key(account.id)
        made = await asyncio.gather(*(services.accounts.rotate_key(key.record.id) for _ in range(10)))
        results = await asyncio.gather(*(_caller(services, new.secret) for new in made), return_exceptions=True)
        assert sum(isinstance(result, Caller) for result in results) == 2


async def test_nodes_that_start_together_make_one_first_account(where: Where) -> None:
    async with installed(where.home, database_url=where.url) as one, installed(where.home, database_url=where.url) as two:
        made = await asyncio.gather(*(services.accounts.bootstrap() for services in (one, two) for _ in range(5)))
        assert sum(new is not None for new in made) == 1
        assert len(await one.accounts.list_accounts()) == 1


async def test_nodes_that_make_keys_of_one_name_together_make_one(where: Where) -> None:
    async with installed(where.home, database_url=where.url) as one, installed(where.home, database_url=where.url) as two:
        account = await one.accounts.first_account()
        work = [services.accounts.create_key(account.id, "ci") for services in (one, two) for _ in range(5)]
        results = await asyncio.gather(*work, return_exceptions=True)
        refused = [result.param for result in results if isinstance(result, InvalidRequest)]
        assert (refused, len(results)) == (["name"] * 9, 10)


async def test_a_key_rotated_elsewhere_is_known_here_within_a_second(where: Where) -> None:
    async with installed(where.home, database_url=where.url) as one, installed(where.home, database_url=where.url) as two:
        account = await one.accounts.first_account()
        key = await one.accounts.create_key(account.id)
        await _caller(one, key.secret)
        new = await two.accounts.rotate_key(key.record.id, overlap_seconds=0)
        assert (await _caller(one, new.secret)).key_id == key.record.id
        await asyncio.sleep(1)
        assert await _refusal(one, key.secret) == "err_key_replaced"


@pytest.mark.parametrize("foreign", ["account", "kind"])
async def test_what_is_out_of_reach_is_not_told_from_what_is_not(where: Where, foreign: str) -> None:
    async with installed(where.home, database_url=where.url) as services:
        accounts = services.accounts
        one, two = [await accounts.create_account(name) for name in ("one", "two")]
        owner, kind = (two.id, "api") if foreign == "account" else (one.id, "management")
        target = await accounts.create_key(owner, kind=kind)  # type: ignore[arg-type]
        reach: KeyKind = "api"
        messages = set()
        for name in (target.record.prefix, target.record.id, target.secret, "tw_nothing00", "key_nothing"):
            for attempt in (
                accounts.find_key(name, account_id=one.id, kind=reach),
                accounts.update_key(name, KeyChanges(enabled=False), account_id=one.id, kind=reach),
                accounts.rotate_key(name, account_id=one.id, kind=reach),
                accounts.delete_key(name, account_id=one.id, kind=reach),
            ):
                with pytest.raises(NotFound) as caught:
                    await attempt
                messages.add(caught.value.message)
        assert len(messages) == 1
        assert await accounts.find_key(target.record.id) == target.record
        assert await accounts.list_keys(one.id, kind=reach) == []


def _allowed(caller: Caller, services: Services, model: str) -> bool:
    try:
        require(caller, "model:chat", services.catalog.get(model))
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        (KeyChanges(), True),
        (KeyChanges(scopes=("model:chat",)), True),
        (KeyChanges(scopes=("model:image", "model:ocr")), False),
        (KeyChanges(models=("local/smollm2-135m-instruct",)), True),
        (KeyChanges(models=("smollm2-135m-instruct",)), True),
        (KeyChanges(models=("x", "smollm2-135m-instruct")), True),
        (KeyChanges(models=("google/gemini-2.5-flash-lite-preview",)), False),
        (KeyChanges(models=("smollm2",)), False),
    ],
)
async def test_scopes_and_models_bind(where: Where, settings: KeyChanges, allowed: bool) -> None:
    async with installed(where.home, database_url=where.url) as services:
        account = await services.accounts.first_account()
        new = await services.accounts.create_key(account.id, settings=settings)
        caller = await _caller(services, new.secret)
        for name in ("local/smollm2-135m-instruct", "smollm2-135m-instruct"):
            assert _allowed(caller, services, name) == allowed
        management = await services.accounts.create_key(account.id, kind="management")
        assert not _allowed(await _caller(services, management.secret), services, name)


async def test_a_key_for_the_shop_window_model_is_no_key_for_what_stands_in(where: Where) -> None:
    async with installed(where.home, database_url=where.url) as services:
        account = await services.accounts.first_account()
        public = "google/gemini-2.5-flash-lite-preview"
        new = await services.accounts.create_key(account.id, settings=KeyChanges(models=(public,)))
        caller = await _caller(services, new.secret)
        assert _allowed(caller, services, public)
        assert not _allowed(caller, services, "smollm2-135m-instruct")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        (AccountChanges(name=""), "name"),
        (AccountChanges(requests_per_minute=0), "requests_per_minute"),
        (AccountChanges(low_balance_credits=-1), "low_balance_credits"),
        (AccountChanges(low_balance_credits=2**63), "low_balance_credits"),
    ],
)
async def test_accounts_that_cannot_be_are_refused(where: Where, changes: AccountChanges, param: str) -> None:
    async with installed(where.home, database_url=where.url) as services:
        account = await services.accounts.first_account()
        with pytest.raises(InvalidRequest) as caught:
            await services.accounts.update_account(account.id, changes)
        assert caught.value.param == param
        assert await services.accounts.find_account(account.id) == account


async def test_unknown_accounts_are_not_found(where: Where) -> None:
    async with installed(where.home, database_url=where.url) as services:
        for name in ("nobody", "acc_nobody", "' OR 1=1 --", ""):
            with pytest.raises(NotFound):
                await services.accounts.update_account(name, AccountChanges(requests_per_minute=1))


def test_records_have_what_the_table_has() -> None:
    from tollway.storage.tables import api_keys

    hidden = {"digest", "previous_digest"}
    assert set(ApiKey.__struct_fields__) == {column.name for column in api_keys.columns} - hidden
