"""Which commands make a database, and what the others say where there is none, an old one, or a damaged one."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import structlog
from tests.damage import damage_page
from tests.postgres import PostgresServer
from typer.testing import CliRunner, Result

from tollway.app import WorkerConfig
from tollway.catalog import shipped_configuration
from tollway.cli import app, keep_log_quiet
from tollway.settings import DatabaseUrl, Settings
from tollway.storage.tables import SCHEMA_VERSION

OTHERS = [
    "keys list",
    "keys create --account acme",
    "keys disable tw_x",
    "accounts list",
    "accounts limits acme --rpm 5",
    "credits grant 5USD",
    "credits balance",
    "usage",
    "logs",
    "people list",
    "people reset-link ana@example.org",
    "verify-ledger",
    "db info",
    "db adopt-secret",
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOLLWAY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The log as commands have it."""
    before = structlog.get_config()
    keep_log_quiet()
    yield
    structlog.configure(**before)


def run(command: str) -> Result:
    return CliRunner().invoke(app, command.split())


def told(command: str) -> str:
    """The one line with which it refuses."""
    result = run(command)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1), result.output
    return result.stderr


def test_a_model_that_the_first_start_brings_is_told_of(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = run("models list")
    assert (listed.exit_code, "smollm2-135m-instruct is not here yet: `tollway serve` fetches it" in listed.stderr) == (0, True)
    monkeypatch.setenv("TOLLWAY_LOCAL_MODELS", "none")
    assert "not here yet" not in run("models list").stderr


@pytest.mark.parametrize("command", OTHERS)
def test_a_home_without_a_database_stays_one(home: Path, command: str) -> None:
    said = told(command)
    assert all(text in said for text in (f"no database in {home}", "TOLLWAY_HOME", "--home", "tollway serve"))
    assert not home.exists()


@pytest.mark.parametrize("command", ["keys create", "accounts create acme", "db migrate"])
def test_what_makes_the_first_thing_makes_the_database(home: Path, command: str) -> None:
    assert run(command).exit_code == 0
    assert run("keys list").exit_code == run("db info").exit_code == 0


def test_looking_makes_no_secret(home: Path) -> None:
    run("db migrate")
    for command in ("keys list", "credits balance", "verify-ledger"):
        assert run(command).exit_code == 0
    assert not (home / "secret.key").exists()
    assert run("keys create").exit_code == 0, "and what would be the first node's secret is its own"


@pytest.mark.parametrize("command", [*OTHERS[:-2], "keys create", "accounts create acme", "db adopt-secret"])
def test_an_older_schema_is_left_to_migrate(home: Path, command: str) -> None:
    run("keys create")
    with sqlite3.connect(home / "tollway.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0003'")
    connection.close()
    said = told(command)
    assert all(text in said for text in ("schema 0003", SCHEMA_VERSION, "tollway db migrate", "tollway db backup"))
    assert '"schema": "0003"' in run("db info --json").stdout


def test_where_there_is_no_model_to_verify_it_says_so(home: Path) -> None:
    result = run("models verify")
    assert (result.exit_code, "tollway models pull" in result.stderr) == (0, True)


def test_an_empty_postgresql_is_not_made_use_of(home: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    url = postgres.new_database(migrated=False)
    monkeypatch.setenv("TOLLWAY_DATABASE_URL", url.reveal())
    said = told("keys list")
    assert all(text in said for text in (str(url), "is empty", "tollway db migrate"))
    assert '"schema": null' in run("db info --json").stdout
    assert run("keys create").exit_code == 0
    assert run("keys list").exit_code == 0


@pytest.mark.parametrize("command", ["keys create", "keys list", "verify-ledger"])
def test_a_lost_secret_is_missed_and_none_is_left_in_its_place(home: Path, command: str) -> None:
    run("keys create")
    (home / "secret.key").unlink()
    said = told(command)
    assert all(text in said for text in (f"{home}/secret.key is missing", "tollway db adopt-secret"))
    assert not (home / "secret.key").exists()
    assert run("db adopt-secret").exit_code == 0
    assert run(command).exit_code == 0


@pytest.mark.parametrize("damage", ["all of it", "a page"])
def test_a_damaged_file_is_called_so(home: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLWAY_LOCAL_MODELS", "none")
    monkeypatch.setenv("TOLLWAY_PORT", "0")
    run("keys create")
    file = home / "tollway.db"
    if damage == "a page":
        damage_page(file, "api_keys")
    else:
        file.write_bytes(b"damage" * (file.stat().st_size // 6))
    commands = ["keys list", "keys create"]
    if damage == "all of it":
        commands += ["db info", "db info --check", "db migrate", "verify-ledger"]
    for command in commands:
        said = told(command)
        assert all(text in said for text in (f"{file} is damaged: ", "tollway db restore")), said
    if damage == "all of it":
        command_line = [sys.executable, "-m", "tollway", "serve"]
        served = subprocess.run(command_line, check=False, capture_output=True, text=True, timeout=60)
        assert (served.returncode, "restore it from a backup" in served.stderr.splitlines()[-1]) == (1, True)
    copied = run("db backup")
    assert (copied.exit_code, "tollway db restore" in copied.stderr.splitlines()[-1]) == (1, True)
    checked = run("db info --check")
    assert (checked.exit_code, len(checked.stderr.splitlines()), "tollway db restore" in checked.stderr) == (1, 1, True)


@pytest.mark.parametrize("command", ["keys list", "db info", "credits grant 5USD"])
def test_a_server_on_another_database_is_told_of(home: Path, command: str) -> None:
    url = DatabaseUrl("postgresql://tollway:s3cret@db.example/money")
    config = WorkerConfig(Settings(home=home, database_url=url), [], shipped_configuration())
    assert run("keys create").exit_code == 0
    with config.handed_out():
        result = run(command)
    assert result.exit_code == 0
    assert f"works with {url}, this command with {home}/tollway.db" in result.stderr
    assert "s3cret" not in result.output
    assert "warning" not in run(command).stderr

    left = home / "workers-999999999.json"
    left.write_bytes(msgspec.json.encode({"settings": {"database_url": url.reveal()}}))
    assert "warning" not in run(command).stderr, "of a server that was killed"
    with WorkerConfig(Settings(home=home), [], shipped_configuration()).handed_out():
        assert "warning" not in run(command).stderr


@pytest.mark.parametrize(("user", "owner", "warned"), [(0, "tollway", True), (0, "root", False), (1000, "tollway", False)])
def test_root_in_the_home_of_somebody_else_is_warned(
    home: Path, user: int, owner: str, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("keys create").exit_code == 0
    monkeypatch.setattr("os.geteuid", lambda: user)
    monkeypatch.setattr(Path, "owner", lambda _: owner)
    for command, exit_code in (("keys list", 0), ("db info", 0), ("serve --host 192.0.2.1 --local-models none", 1)):
        result = run(command)
        assert result.exit_code == exit_code
        assert (f"{home} belongs to {owner}" in result.stderr) == warned
