import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from tests.installation import installed, new_key, place_of
from tests.postgres import PASSWORD
from typer.testing import CliRunner, Result

from tollway.cli import app
from tollway.errors import StorageUnavailable
from tollway.settings import DatabaseUrl
from tollway.storage import Database, copies
from tollway.storage.tables import SCHEMA_VERSION, accounts, installation

pytestmark = pytest.mark.usefixtures("both_databases")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with one account and one key."""
    home = tmp_path / "home"
    monkeypatch.setenv("TOLLWAY_HOME", str(home))
    place_of(home)
    assert CliRunner().invoke(app, ["keys", "create"]).exit_code == 0
    return home


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, ["db", *(str(argument) for argument in arguments)])
    assert PASSWORD not in result.output
    return result


def names(place: Path | DatabaseUrl) -> list[str]:
    database = Database(place)
    try:
        query = sa.select(accounts.c.name).order_by(accounts.c.created_at, accounts.c.name)
        return list(asyncio.run(database.read(lambda connection: connection.execute(query).scalars().all())))
    finally:
        database.close()


def add(place: Path | DatabaseUrl, *added: str) -> None:
    database = Database(place)
    rows = [{"id": name, "name": name, "created_at": 9e9} for name in added]
    try:
        asyncio.run(database.write(lambda connection: connection.execute(sa.insert(accounts), rows)))
    finally:
        database.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_info_and_migrate_say_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLWAY_HOME", str(tmp_path / "home"))
    place = place_of(tmp_path / "home")
    if isinstance(place, Path):
        assert "tollway db migrate" in run("info").stderr
        assert json.loads(run("migrate", "--json").stdout) == {"where": str(place), "from": None, "to": SCHEMA_VERSION}
    assert f"is at schema {SCHEMA_VERSION} already" in run("migrate").stdout
    told = json.loads(run("info", "--check", "--json").stdout)
    assert told["software"].startswith("PostgreSQL 1" if isinstance(place, DatabaseUrl) else "SQLite 3.")
    assert told["bytes"] > 10_000
    assert (told["where"], told["schema"], told["integrity"]) == (str(place), SCHEMA_VERSION, "ok")
    assert SCHEMA_VERSION in run("info").stdout


def test_a_backup_is_put_back(home: Path, tmp_path: Path) -> None:
    place, backup = place_of(home), tmp_path / "backup"
    secret = (home / "secret.key").read_bytes()
    add(place, "kept")
    done = run("backup", backup, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["folder"] == str(backup)
    assert backup.stat().st_mode & 0o077 == 0
    assert [path.name for path in backup.iterdir() if path.stat().st_mode & 0o077] == []
    assert (backup / "secret.key").read_bytes() == secret

    add(place, "lost")
    (home / "secret.key").write_text("ab" * 32)
    refused = run("restore", backup)
    assert (refused.exit_code, "--force" in refused.stderr) == (1, True)
    assert names(place) == ["owner", "kept", "lost"]

    done = run("restore", backup, "--force", "--json")
    assert done.exit_code == 0, done.output
    assert names(place) == ["owner", "kept"]
    assert (home / "secret.key").read_bytes() == secret
    kept = Path(json.loads(done.stdout)["kept"])
    assert kept.parent == home / "backups"
    assert (kept / "secret.key").read_text() == "ab" * 32
    assert (kept / ("tollway.db" if isinstance(place, Path) else "tollway.dump")).stat().st_size > 5_000
    assert [path.name for path in kept.iterdir() if path.stat().st_mode & 0o077] == []
    assert [path.name for path in home.iterdir() if path.suffix in {".draft", ".restoring"}] == []


def test_what_was_replaced_is_a_backup(home: Path, tmp_path: Path) -> None:
    place = place_of(home)
    assert run("backup", tmp_path / "backup").exit_code == 0
    add(place, "newer")
    done = run("restore", tmp_path / "backup", "--force")
    (kept,) = (home / "backups").iterdir()
    assert str(kept) in done.stdout
    assert names(place) == ["owner"]
    assert run("restore", kept, "--force").exit_code == 0
    assert names(place) == ["owner", "newer"]
    assert (home / "secret.key").read_bytes() == (kept / "secret.key").read_bytes()


def test_a_damaged_database_is_kept_as_it_is_and_replaced(home: Path, tmp_path: Path) -> None:
    place = place_of(home)
    if isinstance(place, DatabaseUrl):
        return  # its files are the server's
    assert run("backup", tmp_path / "backup").exit_code == 0
    place.write_bytes(b"no database" * 1000)
    done = run("restore", tmp_path / "backup", "--force")
    assert (done.exit_code, "it is no backup" in done.stdout) == (0, True), done.output
    assert names(place) == ["owner"]
    (kept,) = (home / "backups").iterdir()
    assert contents(kept).keys() == {"tollway.db", "secret.key"}
    assert (kept / "tollway.db").read_bytes() == b"no database" * 1000


@pytest.mark.parametrize("damage", ["missing", "damaged", "foreign"])
def test_no_backup_is_made_with_a_secret_that_would_not_help(damage: str, home: Path, tmp_path: Path) -> None:
    secret = home / "secret.key"
    secret.unlink() if damage == "missing" else secret.write_text("" if damage == "damaged" else "cd" * 32)
    refused = run("backup", tmp_path / "backup")
    assert (refused.exit_code, "secret.key" in refused.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize("damage", ["missing", "damaged", "foreign"])
def test_a_backup_whose_secret_does_not_help_takes_the_homes_or_none(damage: str, home: Path, tmp_path: Path) -> None:
    backup, secret = tmp_path / "backup", (home / "secret.key").read_bytes()
    assert run("backup", backup).exit_code == 0
    manifest = json.loads((backup / "manifest.json").read_text())
    if damage == "missing":
        (backup / "secret.key").unlink()
        del manifest["files"]["secret.key"]
    else:
        content = b"" if damage == "damaged" else b"cd" * 32
        (backup / "secret.key").write_bytes(content)
        manifest["files"]["secret.key"]["sha256"] = hashlib.sha256(content).hexdigest()
    (backup / "manifest.json").write_text(json.dumps(manifest))

    add(place_of(home), "newer")
    assert run("restore", backup, "--force").exit_code == 0
    assert (home / "secret.key").read_bytes() == secret
    assert names(place_of(home)) == ["owner"]

    (home / "secret.key").write_text("ef" * 32)
    refused = run("restore", backup, "--force")
    assert (refused.exit_code, "--lost-secret" in refused.stderr) == (1, True)
    assert run("restore", backup, "--force", "--lost-secret").exit_code == 0
    assert (home / "secret.key").read_text() == "ef" * 32


def test_beside_a_server_the_secret_is_left_alone(home: Path, tmp_path: Path) -> None:
    assert run("backup", tmp_path / "backup").exit_code == 0
    (home / f"workers-{os.getpid()}.json").write_text('{"settings": {}}')  # of a container's killed one, whose number we have
    (handed_out := home / f"workers-{os.getppid()}.json").write_text('{"settings": {}}')
    secret = (home / "secret.key").read_bytes()
    for command in (("restore", tmp_path / "backup", "--force"), ("adopt-secret",)):
        refused = run(*command)
        assert (refused.exit_code, str(os.getppid()) in refused.stderr) == (1, True)
    assert (home / "secret.key").read_bytes() == secret
    handed_out.unlink()
    assert json.loads(run("adopt-secret", "--json").stdout)["secret"] == str(home / "secret.key")


def test_a_full_disk_is_what_a_restore_complains_of(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if isinstance(place_of(home), DatabaseUrl):
        return
    assert run("backup", tmp_path / "backup").exit_code == 0

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    refused = run("restore", tmp_path / "backup", "--force")
    assert (refused.exit_code, str(home) in refused.stderr, str(tmp_path / "backup") in refused.stderr) == (1, True, False)
    assert list((home / "backups").iterdir()) == []
    assert not (home / "tollway.db.restoring").exists()


def test_a_backup_moves_to_another_machine(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    async def with_a_key() -> str:
        async with installed(home) as services:
            return await new_key(services)

    async def works(key: str) -> bool:
        async with installed(tmp_path / "new", database_url=empty) as services:
            return (await services.accounts.authenticate(f"Bearer {key}")).account_name == "owner"

    key = asyncio.run(with_a_key())
    assert run("backup", tmp_path / "backup").exit_code == 0
    monkeypatch.setenv("TOLLWAY_HOME", str(tmp_path / "new"))
    empty = None
    if isinstance(place_of(home), DatabaseUrl):
        empty = request.getfixturevalue("postgres").new_database(migrated=False)
        monkeypatch.setenv("TOLLWAY_DATABASE_URL", empty.reveal())
    done = run("restore", tmp_path / "backup")
    assert done.exit_code == 0, done.output
    assert asyncio.run(works(key))


def test_a_backup_in_the_middle_of_writing_has_whole_transactions(home: Path, tmp_path: Path) -> None:
    place, stop, written = place_of(home), threading.Event(), list[int]()

    def write() -> None:
        while not stop.is_set():
            add(place, f"left {len(written)}", f"right {len(written)}")
            written.append(1)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        done = run("backup", tmp_path / "backup")
    finally:
        stop.set()
        writing.join(30)
    assert done.exit_code == 0, done.output
    assert written
    assert run("restore", tmp_path / "backup", "--force").exit_code == 0
    restored = names(place)
    left = sum(name.startswith("left") for name in restored)
    assert sum(name.startswith("right") for name in restored) == left <= len(written)


def test_nothing_is_put_back_while_somebody_uses_the_database(home: Path, tmp_path: Path) -> None:
    place = place_of(home)
    assert run("backup", tmp_path / "backup").exit_code == 0
    server = Database(place)
    asyncio.run(server.ping())
    refused = run("restore", tmp_path / "backup", "--force")
    assert (refused.exit_code, "in use" in refused.stderr) == (1, True)
    asyncio.run(server.ping())
    server.close()
    assert run("restore", tmp_path / "backup", "--force").exit_code == 0


async def test_nobody_opens_a_file_that_is_being_replaced(home: Path) -> None:
    place = place_of(home)
    if isinstance(place, DatabaseUrl):
        return  # there a restore is one transaction
    database = Database(place)
    with copies.copies_of(place).alone(), pytest.raises(StorageUnavailable, match="being replaced"):
        await database.ping()
    await database.ping()
    database.close()


@pytest.mark.parametrize("damage", ["database", "secret", "manifest", "no manifest", "name", "kind", "schema"])
def test_a_damaged_or_foreign_backup_changes_nothing(damage: str, home: Path, tmp_path: Path) -> None:
    place, backup = place_of(home), tmp_path / "backup"
    assert run("backup", backup).exit_code == 0
    manifest = json.loads((backup / "manifest.json").read_text())
    match damage:
        case "database" | "secret":
            name = "secret.key" if damage == "secret" else "tollway.db" if isinstance(place, Path) else "tollway.dump"
            content = bytearray((backup / name).read_bytes())
            content[len(content) // 2] ^= 1
            (backup / name).write_bytes(content)
        case "manifest":
            (backup / "manifest.json").write_text("{}")
        case "no manifest":
            (backup / "manifest.json").unlink()
        case "name":
            manifest["files"]["../elsewhere"] = manifest["files"]["secret.key"]
        case "kind":
            manifest["database"] = "postgresql" if isinstance(place, Path) else "sqlite"
        case "schema":
            manifest["schema"] = "9999"
    if "manifest" not in damage:
        (backup / "manifest.json").write_text(json.dumps(manifest))
    before = contents(home)
    result = run("restore", backup, "--force")
    assert result.exit_code in {1, 2}
    assert str(backup) in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert names(place) == ["owner"]
    assert {name: content for name, content in contents(home).items() if name in before} == before
    assert not (home / "backups").exists()


def test_a_copy_that_does_not_hold_what_its_hash_promises_is_noticed(home: Path, tmp_path: Path) -> None:
    """Such as one that was damaged before it was hashed."""
    place, backup = place_of(home), tmp_path / "backup"
    assert run("backup", backup).exit_code == 0
    manifest = json.loads((backup / "manifest.json").read_text())
    name = "tollway.db" if isinstance(place, Path) else "tollway.dump"
    (backup / name).write_bytes(b"no database" * 1000)
    manifest["files"][name]["sha256"] = hashlib.sha256(b"no database" * 1000).hexdigest()
    (backup / "manifest.json").write_text(json.dumps(manifest))
    assert run("restore", backup, "--force").exit_code == 1
    assert names(place) == ["owner"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device"), copies.CopyError("it broke")])
def test_a_backup_that_does_not_end_leaves_nothing(
    error: BaseException, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    for kind in (copies.SqliteCopies, copies.PostgresqlCopies):
        monkeypatch.setattr(kind, "check", fail)
    result = run("backup", tmp_path / "backup")
    assert result.exit_code in {1, 130}
    assert result.stderr.splitlines()[-1].startswith(("error", "Stopped"))
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_an_existing_folder_is_no_place_for_a_backup(home: Path, tmp_path: Path) -> None:
    result = run("backup", tmp_path)
    assert (result.exit_code, "there already" in result.stderr) == (2, True)


def test_two_backups_into_one_folder_do_not_harm_each_other(home: Path, tmp_path: Path) -> None:
    (draft := tmp_path / "b.partial").mkdir()
    (draft / "tollway.db").write_bytes(b"another's")
    refused = run("backup", tmp_path / "b")
    assert refused.exit_code == 2
    assert "another backup is being made" in refused.output
    assert (draft / "tollway.db").read_bytes() == b"another's"


def test_there_is_a_database_at_every_moment_of_a_restore(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts after it was killed half-way would begin an empty one."""
    place = place_of(home)
    if isinstance(place, DatabaseUrl):
        return  # it puts a copy back in one transaction
    assert run("backup", tmp_path / "b").exit_code == 0
    add(place, "new")
    rename = Path.rename

    def killed(path: Path, target: Path) -> Path:
        if path.name.endswith(".restoring"):
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    assert "Nothing was changed" in run("restore", tmp_path / "b", "--force").stderr
    monkeypatch.setattr(Path, "rename", rename)
    assert "new" in names(place)


def test_without_the_programs_of_postgresql_it_says_what_to_run(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[Any] = []
    popen = subprocess.Popen

    def noted(command: Any, **options: Any) -> Any:
        commands.append(command)
        return popen(command, **options)

    monkeypatch.setattr(subprocess, "Popen", noted)
    assert run("backup", tmp_path / "one").exit_code == 0
    assert PASSWORD not in repr(commands)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    result = run("backup", tmp_path / "two")
    if isinstance(place_of(home), DatabaseUrl):
        assert result.exit_code == 1
        assert "pg_dump --format=custom" in result.stderr
        assert "secret.key" in result.stderr
    else:
        assert result.exit_code == 0


def test_a_foreign_secret_is_refused_until_it_is_adopted(home: Path) -> None:
    def keys(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["keys", *arguments])

    own = (home / "secret.key").read_text()
    (home / "secret.key").write_text("cd" * 32)
    refused = keys("create")
    assert (refused.exit_code, "adopt-secret" in refused.stderr) == (1, True)
    finding = next(
        check
        for check in json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)["checks"]
        if check["check"] == "secret"
    )
    assert (finding["ok"], "another node" in finding["mend"]) == (False, True)

    assert run("adopt-secret").exit_code == 0
    assert keys("create").exit_code == 0
    (home / "secret.key").write_text(own)
    assert keys("create").exit_code == 1


async def test_nodes_that_start_together_agree_on_a_secret(home: Path) -> None:
    from tollway.accounts import SecretError, check_secret

    nodes = [Database(place_of(home)) for _ in range(4)]
    await nodes[0].write(lambda connection: connection.execute(sa.delete(installation)))
    secrets = [bytes([number]) * 32 for number in range(4)]
    told = await asyncio.gather(*(check_secret(*node) for node in zip(nodes, secrets, strict=True)), return_exceptions=True)
    assert told.count(None) == 1
    assert sum(isinstance(outcome, SecretError) for outcome in told) == 3
    for node in nodes:
        node.close()


def test_without_checksums_postgresql_is_not_called_sound(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tollway.storage.postgresql import Postgresql

    class NoChecksums:
        def exec_driver_sql(self, _: str) -> "NoChecksums":
            return self

        def scalar(self) -> None:
            return None

    async def integrity(_: Database) -> str:
        return Postgresql.integrity(cast("Any", None), cast("Any", NoChecksums()))

    monkeypatch.setattr(Database, "integrity", integrity)
    told = run("info", "--check")
    assert (told.exit_code, "not checked: " in told.stdout) == (0, True)
    (finding,) = [
        check
        for check in json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)["checks"]
        if check["check"] == "database"
    ]
    assert finding["ok"]
