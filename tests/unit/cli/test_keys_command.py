import asyncio
import json
from pathlib import Path

import pytest
from tests.installation import installed
from typer.testing import CliRunner, Result

from tollway.accounts import Caller
from tollway.cli import app

pytestmark = pytest.mark.usefixtures("both_databases")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOLLWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "home"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments])


def _authenticate(home: Path, key: str) -> Caller:
    async def work() -> Caller:
        async with installed(home) as services:
            return await services.accounts.authenticate(f"Bearer {key}")

    return asyncio.run(work())


def test_quiet_prints_only_the_key_and_the_key_works(home: Path) -> None:
    result = run("create", "--name", "laptop", "--quiet")
    assert result.exit_code == 0
    assert result.stderr == ""
    key = result.stdout.removesuffix("\n")
    assert key.startswith("tw_")
    assert len(key) == 39
    caller = _authenticate(home, key)
    assert (caller.key_name, caller.account_name) == ("laptop", "owner")


def test_the_key_is_shown_once(home: Path) -> None:
    created = run("create", "--name", "laptop")
    key = created.stdout.strip()
    assert "not shown again" in created.stderr
    for result in (run("list"), run("list", "--json"), run("disable", key), run("enable", key, "--json"), run("delete", key)):
        assert result.exit_code == 0
        assert key[:12] in result.stdout
        assert key[12:] not in result.output


def test_list_shows_what_there_is(home: Path) -> None:
    empty = run("list")
    assert (empty.exit_code, empty.stdout) == (0, "")
    assert "tollway keys create" in empty.stderr
    assert json.loads(run("list", "--json").stdout) == []

    run("create", "--name", "[red]laptop[/red]", "--expires-in", "30d")
    table = run("list").stdout
    assert "[red]laptop[/red]" in table
    (key,) = json.loads(run("list", "--json").stdout)
    assert set(key) == {"id", "prefix", "name", "state", "enabled", "created_at", "expires_at", "last_used_at"}
    assert (key["name"], key["state"], key["enabled"], key["last_used_at"]) == ("[red]laptop[/red]", "enabled", True, None)
    assert key["created_at"] < key["expires_at"]
    assert key["expires_at"][:10] in table


def test_json_of_create_has_the_key(home: Path) -> None:
    created = json.loads(run("create", "--json").stdout)
    assert created["key"].startswith(created["prefix"])
    assert _authenticate(home, created["key"]).key_id == created["id"]


@pytest.mark.parametrize("name_by", ["prefix", "id", "key"])
def test_a_key_is_named_by_prefix_id_or_itself(home: Path, name_by: str) -> None:
    created = json.loads(run("create", "--json").stdout)
    for command, state in (("disable", "disabled"), ("enable", "enabled"), ("disable", "disabled"), ("delete", "deleted")):
        result = run(command, created[name_by], "--json")
        assert (result.exit_code, json.loads(result.stdout)["state"]) == (0, state)


@pytest.mark.parametrize("name", ["tw_nothing", "", "'; DROP TABLE api_keys;--", "%", "key_"])
@pytest.mark.parametrize("command", ["disable", "enable", "delete"])
def test_an_unknown_key_is_said_so(home: Path, command: str, name: str) -> None:
    run("create")
    result = run(command, "--", name)
    assert result.exit_code == 1
    assert result.stderr.startswith("error There is no such API key")
    assert "tollway keys list" in result.stderr
    assert len(json.loads(run("list", "--json").stdout)) == 1


@pytest.mark.parametrize("text", ["30", "d", "-1d", "0d", "1.5h", "9999999999d", "30 days", ""])
def test_a_wrong_duration_is_said(home: Path, text: str) -> None:
    result = run("create", f"--expires-in={text}")
    assert result.exit_code == 2
    assert "30d" in result.stderr
    assert not home.exists(), "nothing was made"


def test_a_name_that_cannot_be_is_said(home: Path) -> None:
    result = run("create", "--name", "x" * 101)
    assert result.exit_code == 1
    assert "1 to 100 characters" in result.stderr


def test_a_damaged_secret_is_said_in_one_line(home: Path) -> None:
    home.mkdir()
    (home / "secret.key").write_text("damaged")
    result = run("create")
    assert result.exit_code == 1
    assert "secret.key is damaged" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_home_can_be_a_flag(tmp_path: Path, home: Path) -> None:
    assert run("create", "--home", str(tmp_path / "other")).exit_code == 0
    assert (tmp_path / "other" / "secret.key").exists()
    assert not home.exists()
