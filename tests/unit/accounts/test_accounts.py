import asyncio
import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.installation import installed, new_key, place_of
from tests.processes import race

from tollway import clock
from tollway.accounts import Accounts, KeyChanges, NewKey, authentication, load_secret
from tollway.api.services import Services
from tollway.errors import InvalidRequest, NotFound, Unauthorized
from tollway.settings import DatabaseUrl
from tollway.storage import Database
from tollway.storage.tables import api_keys, metadata

pytestmark = pytest.mark.usefixtures("both_databases")

NAUGHTY = [
    "Robert'); DROP TABLE api_keys;--",
    '" OR ""="',
    "%s %(x)s :name ? $1 {0}",
    "<script>alert(1)</script>",
    "[red]not red[/red]",
    "ключ 🔑 ﷽",
    "x" * 100,
    "../../etc/passwd",
]


async def _refused(services: Services, header: str | None) -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        await services.accounts.authenticate(header)
    return caught.value


def _kind(error: Unauthorized) -> str:
    assert error.data is not None
    return str(error.data["kind"])


async def test_a_key_proves_its_caller(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        account = await services.accounts.create_account("acme")
        new = await services.accounts.create_key(account.id, "laptop")
        for scheme in ("Bearer", "bearer", "BEARER"):
            caller = await services.accounts.authenticate(f"{scheme} {new.secret}")
            assert (caller.account_id, caller.account_name) == (account.id, "acme")
            assert (caller.key_id, caller.key_name, caller.key_prefix) == (new.record.id, "laptop", new.secret[:12])


@pytest.mark.parametrize(
    ("header", "kind", "says"),
    [
        (None, "missing", "Authorization: Bearer"),
        ("", "empty", "empty string"),
        ("Bearer", "empty", "empty string"),
        ("Bearer   ", "empty", "empty string"),
        ("Basic dXNlcjpwYXNz", "malformed", "Bearer <key>"),
        ("KEY", "malformed", "Bearer <key>"),
        ("Bearer sk-proj-1234567890", "malformed", "begin with `tw_`"),
        ("Bearer <YOUR_API_KEY>", "malformed", "begin with `tw_`"),
        ("Bearer KEY extra", "malformed", "begin with `tw_`"),
        ("Bearer KEY, Bearer KEY", "malformed", "begin with `tw_`"),
        ("Bearer TYPO", "typo", "typo"),
        ("Bearer " + "é" * 5000, "malformed", "begin with `tw_`"),
    ],
)
async def test_a_header_without_a_good_key_is_told_why(tmp_path: Path, header: str | None, kind: str, says: str) -> None:
    async with installed(tmp_path) as services:
        key = await new_key(services)
        if header is not None:
            header = header.replace("KEY", key).replace("TYPO", key[:-1] + ("a" if key[-1] != "a" else "b"))
        error = await _refused(services, header)
        assert (error.status, error.code, _kind(error)) == (401, "invalid_api_key", f"err_key_{kind}")
        assert says in error.message
        assert key[3:12] not in error.message
        assert "sk-proj" not in error.message


@pytest.mark.parametrize(
    "injection",
    ["' OR '1'='1", "' UNION SELECT digest FROM api_keys --", "'; DROP TABLE api_keys;--", "%", "tw_' OR 1=1 --".ljust(39)],
)
async def test_sql_in_the_place_of_a_key_proves_nobody(tmp_path: Path, injection: str) -> None:
    async with installed(tmp_path) as services:
        key = await new_key(services)
        assert _kind(await _refused(services, f"Bearer {injection}")) == "err_key_malformed"
        await services.accounts.authenticate(f"Bearer {key}")


async def test_an_unknown_key_is_told_so_without_being_repeated(tmp_path: Path) -> None:
    async with installed(tmp_path / "one") as one, installed(tmp_path / "two") as two:
        key = await new_key(one)
        error = await _refused(two, f"Bearer {key}")
        assert _kind(error) == "err_key_unknown"
        assert "tollway keys create" in error.message
        assert key[:12] not in error.message


async def test_withdrawn_keys_are_refused_at_once_each_with_its_reason(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        accounts, key = services.accounts, await new_key(services)
        header, prefix = f"Bearer {key}", key[:12]
        await accounts.authenticate(header)

        await accounts.set_enabled(prefix, False)
        error = await _refused(services, header)
        assert _kind(error) == "err_key_disabled"
        assert f"tollway keys enable {prefix}" in error.message
        assert key not in error.message

        await accounts.set_enabled(prefix, True)
        await accounts.authenticate(header)

        await accounts.update_key(prefix, KeyChanges(expires_at=clock.now() - 1))
        assert _kind(await _refused(services, header)) == "err_key_expired"
        await accounts.update_key(prefix, KeyChanges(expires_at=None))
        await accounts.authenticate(header)

        await accounts.delete_key(prefix)
        assert _kind(await _refused(services, header)) == "err_key_deleted"
        with pytest.raises(NotFound):
            await accounts.set_enabled(prefix, True)
        assert await accounts.list_keys() == []


async def test_a_keys_state_is_the_reason_for_which_it_is_refused(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        accounts, key = services.accounts, await new_key(services)
        past, prefix = clock.now() - 1, key[:12]
        assert (await accounts.find_key(prefix)).state == "enabled"
        for enabled, expires_at in ((False, None), (True, past), (False, past)):
            changed = await accounts.update_key(prefix, KeyChanges(enabled=enabled, expires_at=expires_at))
            assert _kind(await _refused(services, f"Bearer {key}")) == f"err_key_{changed.state}"
        deleted = await accounts.delete_key(prefix)
        assert _kind(await _refused(services, f"Bearer {key}")) == f"err_key_{deleted.state}"


async def test_a_key_expires_while_it_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with installed(tmp_path) as services:
        account = await services.accounts.first_account()
        new = await services.accounts.create_key(account.id, "brief", KeyChanges(expires_at=clock.now() + 60))
        header = f"Bearer {new.secret}"
        await services.accounts.authenticate(header)
        later = clock.now() + 61
        monkeypatch.setattr(clock, "now", lambda: later)
        assert _kind(await _refused(services, header)) == "err_key_expired"


async def test_a_past_expiry_is_no_expiry(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        account = await services.accounts.first_account()
        with pytest.raises(InvalidRequest, match="past"):
            await services.accounts.create_key(account.id, "late", KeyChanges(expires_at=clock.now() - 1))


async def test_another_process_disables_a_key_within_a_second(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        key = await new_key(services)
        header = f"Bearer {key}"

        async def until_refused() -> float:
            """Uses the key without a pause, so that the cache holds it; returns when it is refused."""
            with contextlib.suppress(Unauthorized):
                while True:
                    await services.accounts.authenticate(header)
                    await asyncio.sleep(0.005)
            return time.monotonic()

        using = asyncio.create_task(until_refused())
        command = [sys.executable, "-c", "from tollway.cli import main; main()"]
        arguments = ["keys", "disable", key[:12], "--home", str(tmp_path)]
        child = await asyncio.to_thread(subprocess.run, [*command, *arguments], capture_output=True, text=True, check=False)
        disabled = time.monotonic()
        assert child.returncode == 0, child.stderr
        assert await using - disabled < 1.0
        assert _kind(await _refused(services, header)) == "err_key_disabled"


async def test_a_new_key_works_although_it_was_unknown_a_moment_ago(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with installed(tmp_path) as services:
        account = await services.accounts.first_account()
        with monkeypatch.context() as patch:
            from tollway.accounts import service

            key = await new_key(services)
            await services.accounts.delete_key(key[:12])
            await services.database.write(lambda connection: connection.execute(sa.delete(api_keys)))
            services.accounts._authenticator.forget()
            assert _kind(await _refused(services, f"Bearer {key}")) == "err_key_unknown"
            patch.setattr(service, "make_key", lambda: key)
            await services.accounts.create_key(account.id, "again")
        assert (await services.accounts.authenticate(f"Bearer {key}")).key_name == "again"


def _counting(services: Services, monkeypatch: pytest.MonkeyPatch, kind: str) -> list[Any]:
    calls: list[Any] = []
    method = getattr(services.database, kind)

    async def counted(work: Any) -> Any:
        calls.append(work)
        return await method(work)

    monkeypatch.setattr(services.database, kind, counted)
    return calls


async def test_concurrent_misses_share_one_query_and_hits_need_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with installed(tmp_path) as services:
        header = f"Bearer {await new_key(services)}"
        reads = _counting(services, monkeypatch, "read")
        callers = await asyncio.gather(*(services.accounts.authenticate(header) for _ in range(50)))
        assert len(set(map(id, callers))) == 1
        assert len(reads) == 1
        await services.accounts.authenticate(header)
        assert len(reads) == 1


async def test_a_leaving_caller_does_not_take_the_others_query_along(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        header = f"Bearer {await new_key(services)}"
        first, second = (asyncio.create_task(services.accounts.authenticate(header)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).account_name == "owner"


async def test_a_typo_needs_no_query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with installed(tmp_path) as services:
        key = await new_key(services)
        reads = _counting(services, monkeypatch, "read")
        await _refused(services, f"Bearer {key[:20]}{'a' if key[20] != 'a' else 'b'}{key[21:]}")
        assert reads == []


async def test_the_cache_is_bounded_and_ignores_unknown_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "_CACHE_SIZE", 3)
    async with installed(tmp_path) as services:
        authenticator = services.accounts._authenticator
        for _ in range(6):
            await services.accounts.authenticate(f"Bearer {await new_key(services)}")
        assert len(authenticator._cache) == 3
        authenticator.forget()
        from tollway.accounts.keys import make_key

        for _ in range(5):
            await _refused(services, f"Bearer {make_key()}")
        assert authenticator._cache == {}
        assert authenticator._loading == {}


async def test_a_key_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with installed(tmp_path) as services:
        key = await new_key(services)
        read, was_read, release = services.database.read, asyncio.Event(), asyncio.Event()

        async def slow_read(work: Any) -> Any:
            row = await read(work)
            was_read.set()
            await release.wait()
            return row

        monkeypatch.setattr(services.database, "read", slow_read)
        early = asyncio.create_task(services.accounts.authenticate(f"Bearer {key}"))
        await was_read.wait()
        await services.accounts.set_enabled(key[:12], False)
        release.set()
        await early  # came before the change was made
        assert _kind(await _refused(services, f"Bearer {key}")) == "err_key_disabled"


async def test_keys_with_the_same_prefix_are_different_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tollway.accounts import keys, service

    async with installed(tmp_path) as services:
        account = await services.accounts.first_account()
        bodies = ["tw_" + "A" * 29 + last for last in "XY"]
        made = [body + keys._checksum(body) for body in bodies]
        for key in made:
            monkeypatch.setattr(service, "make_key", lambda key=key: key)
            await services.accounts.create_key(account.id, key[32])
        names = [(await services.accounts.authenticate(f"Bearer {key}")).key_name for key in made]
        assert names == ["X", "Y"]
        with pytest.raises(InvalidRequest, match="More than one"):
            await services.accounts.set_enabled(made[0][:12], False)
        by_id = (await services.accounts.list_keys())[0]
        assert not (await services.accounts.set_enabled(by_id.id, False)).enabled
        assert (await services.accounts.authenticate(f"Bearer {made[1]}")).key_name == "Y"


async def test_the_last_use_is_written_once_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with installed(tmp_path) as services:
        header = f"Bearer {await new_key(services)}"
        writes = _counting(services, monkeypatch, "write")
        for _ in range(5):
            services.accounts._authenticator.forget()
            await services.accounts.authenticate(header)
            await services.accounts.close()
        assert len(writes) == 1
        (key,) = await services.accounts.list_keys()
        assert key.last_used_at is not None
        assert abs(key.last_used_at - clock.now()) < 5


@pytest.mark.parametrize("name", NAUGHTY)
async def test_any_printable_name_is_kept_as_it_is(tmp_path: Path, name: str) -> None:
    async with installed(tmp_path) as services:
        account = await services.accounts.create_account(name)
        new = await services.accounts.create_key(account.id, name)
        assert [key.name for key in await services.accounts.list_keys()] == [name]
        assert (await services.accounts.authenticate(f"Bearer {new.secret}")).key_name == name
        assert await services.accounts.find_account(name) == account
        with pytest.raises(NotFound):
            await services.accounts.delete_key(name)


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\x1b[2Jb", "a\x00b", "a\nb", "\ud800"])
async def test_names_that_cannot_be_are_refused(tmp_path: Path, name: str) -> None:
    async with installed(tmp_path) as services:
        account = await services.accounts.first_account()
        with pytest.raises(InvalidRequest) as caught:
            await services.accounts.create_key(account.id, name)
        assert caught.value.param == "name"
        with pytest.raises(InvalidRequest):
            await services.accounts.create_account(name)


async def test_account_names_are_unique_and_accounts_must_exist(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        await services.accounts.create_account("acme")
        with pytest.raises(InvalidRequest, match="already"):
            await services.accounts.create_account("acme")
        with pytest.raises(NotFound):
            await services.accounts.create_key("acc_nobody", "key")


def _contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def _rows(connection: sa.Connection) -> bytes:
    values = [row for table in metadata.sorted_tables for row in connection.execute(sa.select(table)).all()]
    return b"".join(value if isinstance(value, bytes) else str(value).encode() for row in values for value in row)


async def test_no_secret_is_on_disk_or_in_a_repr(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        new = await services.accounts.bootstrap()
        assert new is not None
        await services.accounts.authenticate(f"Bearer {new.secret}")
        assert new.secret not in repr(new)
        await services.accounts.close()
        files = await asyncio.to_thread(_contents, tmp_path)
        files["tables"] = await services.database.read(_rows)
        assert new.secret[:12].encode() in b"".join(files.values()), "the visible prefix is expected on disk"
        for name, content in files.items():
            assert new.secret[12:].encode() not in content, f"the key is in {name}"
            if name != "secret.key":
                assert load_secret(tmp_path) not in content
                assert load_secret(tmp_path).hex().encode() not in content


def _bootstrap(home: Path, place: Path | DatabaseUrl) -> NewKey | None:
    database = Database(place)
    database.migrate()
    try:
        return asyncio.run(Accounts(database, load_secret(home)).bootstrap())
    finally:
        database.close()


async def test_processes_that_start_together_make_one_first_key(tmp_path: Path) -> None:
    made = [new for new in race(8, _bootstrap, tmp_path, place_of(tmp_path)) if new is not None]
    assert len(made) == 1
    async with installed(tmp_path) as services:
        assert [account.name for account in await services.accounts.list_accounts()] == ["owner"]
        assert len(await services.accounts.list_keys()) == 1
        caller = await services.accounts.authenticate(f"Bearer {made[0].secret}")
        assert caller.account_name == "owner"


async def test_tasks_that_start_together_make_one_first_key(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        made = await asyncio.gather(*(services.accounts.bootstrap() for _ in range(100)))
        assert sum(new is not None for new in made) == 1


async def test_verification_is_quick(tmp_path: Path) -> None:
    """20 us is the promise; a test on a shared machine can only notice when it is missed by far."""
    async with installed(tmp_path) as services:
        header = f"Bearer {await new_key(services)}"
        await services.accounts.authenticate(header)
        best = min([await _microseconds(services, header) for _ in range(5)])
        assert best < 100, f"{best:.1f} us"


async def _microseconds(services: Services, header: str) -> float:
    began = time.perf_counter()
    for _ in range(500):
        await services.accounts.authenticate(header)
    return (time.perf_counter() - began) / 500 * 1e6
