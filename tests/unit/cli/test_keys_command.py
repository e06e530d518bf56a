import asyncio
import json
from pathlib import Path

import pytest
from tests.installation import installed
from typer.testing import CliRunner, Result

from tollway.accounts import ApiKey, Caller, Limits
from tollway.cli import app, values
from tollway.errors import Unauthorized

pytestmark = pytest.mark.usefixtures("both_databases")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOLLWAY_HOME", str(tmp_path / "home"))
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


def test_a_model_that_nobody_serves_is_told_of(home: Path) -> None:
    known = "google/gemini-2.5-flash-lite-preview"
    made = run("create", "--models", f"{known},nosuch/model")
    assert (made.exit_code, "`nosuch/model` does not exist" in made.stderr, known in made.stderr) == (0, True, False)
    told = run("update", made.stdout[:12], "--models", "nosuch/other", "--json")
    assert (json.loads(told.stdout)["models"], "nosuch/other" in told.stderr) == (["nosuch/other"], True)
    assert run("update", made.stdout[:12], "--models", "all").stderr == ""


def test_the_key_is_shown_once(home: Path) -> None:
    created = run("create", "--name", "laptop")
    key = created.stdout.strip()
    assert "not shown again" in created.stderr
    for result in (run("list"), run("list", "--json"), run("disable", key), run("enable", key, "--json"), run("delete", key)):
        assert result.exit_code == 0
        assert key[:12] in result.stdout
        assert key[12:] not in result.output


def test_list_shows_what_there_is(home: Path) -> None:
    CliRunner().invoke(app, ["db", "migrate"])
    empty = run("list")
    assert (empty.exit_code, empty.stdout) == (0, "")
    assert "tollway keys create" in empty.stderr
    assert json.loads(run("list", "--json").stdout) == []

    run("create", "--name", "[red]laptop[/red]", "--expires-in", "30d")
    table = run("list").stdout
    assert "[red]laptop[/red]" in table
    (key,) = json.loads(run("list", "--json").stdout)
    assert set(key) == set(ApiKey.__struct_fields__) - {"deleted_at"} | {"account", "state"}
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


def test_a_key_gets_what_the_flags_say(home: Path) -> None:
    CliRunner().invoke(app, ["accounts", "create", "acme", "--rpm", "9"])
    arguments = "--account acme --name nightly --expires-in 90d --models a,b --scopes chat,model:image --spend-limit 2.5USD/day"
    key = run("create", *arguments.split(), "--rpm", "60", "--tpm", "1,000,000", "--concurrency", "4", "-q").stdout.strip()
    caller = _authenticate(home, key)
    assert (caller.account_name, caller.key_name, caller.management) == ("acme", "nightly", False)
    assert (caller.models, caller.scopes) == (frozenset({"a", "b"}), frozenset({"model:chat", "model:image"}))
    assert (caller.spend_limit_credits, caller.spend_window) == (5_000_000, "day")
    assert (caller.limits, caller.account_limits) == (Limits(60, 1_000_000, 4), Limits(9))
    table = run("list").stdout
    for text in (
        "acme",
        "nightly",
        "chat, image; with a, b; up to 2.5USD/day; 60 requests/min, 1,000,000 tokens/min, 4 at a time",
    ):
        assert text in table
    assert json.loads(run("list", "--account", "acme", "--json").stdout)[0]["account"] == "acme"

    updated = run("update", key[:12], "--models", "all", "--spend-limit", "none", "--tpm", "none", "--expires-in", "never")
    assert (updated.exit_code, "nightly: enabled; may chat, image; 60 requests/min, 4 at a time" in updated.stdout) == (0, True)
    caller = _authenticate(home, key)
    assert (caller.models, caller.spend_window, caller.limits) == (None, None, Limits(60, None, 4))
    assert caller.scopes == frozenset({"model:chat", "model:image"}), "what is not named stays"


def test_a_management_key_is_one(home: Path) -> None:
    key = run("create", "--management", "--quiet").stdout.strip()
    assert _authenticate(home, key).management
    assert "manage keys" in run("list").stdout


def test_rotating_shows_the_new_secret_and_keeps_the_old_one_for_a_while(home: Path) -> None:
    old = json.loads(run("create", "--name", "ci", "--json").stdout)
    rotated = json.loads(run("rotate", old["prefix"], "--overlap", "1h", "--json").stdout)
    assert (rotated["id"], rotated["name"], rotated["previous_prefix"]) == (old["id"], "ci", old["prefix"])
    assert rotated["previous_expires_at"] > old["created_at"]
    assert _authenticate(home, old["key"]).key_id == _authenticate(home, rotated["key"]).key_id == old["id"]
    last = run("rotate", rotated["prefix"], "--overlap", "0", "-q").stdout.strip()
    assert _authenticate(home, last).key_id == old["id"]
    for key in (old["key"], rotated["key"]):
        with pytest.raises(Unauthorized):
            _authenticate(home, key)


WRONG = [
    ("create", "--rpm=0", "--rpm"),
    ("create", "--rpm=-1", "--rpm"),
    ("create", "--tpm=many", "--tpm"),
    ("create", "--concurrency=1.5", "--concurrency"),
    ("create", "--spend-limit=5EUR/day", "--spend-limit"),
    ("create", "--spend-limit=5USD/year", "--spend-limit"),
    ("create", "--spend-limit=-5USD", "--spend-limit"),
    ("create", "--spend-limit=0.0000001USD/day", "one credit"),
    ("create", "--spend-limit=5000000/day", "5000000USD/day or 5000000credits/day"),
    ("create", "--spend-limit=5", "5USD/day or 5credits/day"),
    ("create", "--spend-limit=1.5credits", "--spend-limit"),
    ("update tw_x", "", "Say what to change"),
    ("update tw_x", "--rpm=x", "--rpm"),
    ("rotate tw_x", "--overlap=24", "--overlap"),
    ("rotate tw_x", "--overlap=soon", "--overlap"),
]


@pytest.mark.parametrize(("command", "flag", "says"), WRONG)
def test_flags_that_are_wrong_are_told_before_anything_is_made(home: Path, command: str, flag: str, says: str) -> None:
    result = run(*command.split(), *filter(None, [flag]))
    assert (result.exit_code, says in result.stderr, len(result.stderr.splitlines())) == (2, True, 1)
    assert not home.exists()


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--scopes=everything", "model:audio"),
        ("--models=", "1 to 100 models"),
        ("--rpm=9999999999", "1,000,000,000"),
        ("--name=first", "already"),
        ("--account=nobody", "no such account"),
    ],
)
def test_what_the_service_refuses_is_told_in_one_line(home: Path, flag: str, says: str) -> None:
    run("create", "--name", "first")
    result = run("create", flag)
    assert (result.exit_code, says in result.stderr, len(result.stderr.splitlines())) == (1, True, 1), result.stderr
    assert len(json.loads(run("list", "--json").stdout)) == 1


def test_a_key_is_called_by_its_name_where_no_other_has_it() -> None:
    first = json.loads(run("create", "--name", "ci", "--json").stdout)
    for command in (("disable",), ("enable",), ("update", "--rpm", "5"), ("rotate",)):
        assert json.loads(run(command[0], "ci", *command[1:], "--json").stdout)["id"] == first["id"]
    assert json.loads(run("list", "--json").stdout)[0]["requests_per_minute"] == 5
    assert CliRunner().invoke(app, ["logs", "--key", "ci"]).exit_code == 0

    CliRunner().invoke(app, ["accounts", "create", "acme"])
    second = json.loads(run("create", "--name", "ci", "--account", "acme", "--json").stdout)
    named = json.loads(run("create", "--name", second["prefix"], "--json").stdout)
    refused = run("delete", "ci")
    assert (refused.exit_code, second["prefix"] in refused.stderr) == (1, True)
    assert json.loads(run("delete", second["prefix"], "--json").stdout)["id"] == second["id"], "a prefix comes first"
    assert json.loads(run("delete", second["prefix"], "--json").stdout)["id"] == named["id"]
    assert json.loads(run("delete", "ci", "--json").stdout)["id"] == first["id"]


def test_spend_limits_read_as_they_are_written() -> None:
    for text in ("5USD/day", "0.0000005USD/week", "20USD", "1000USD/month"):
        assert values.spend_text(*values.spend_limit(text, "--spend-limit")) == text
    assert values.spend_limit("$5 / day", "") == values.spend_limit("5usd/DAY", "") == (10_000_000, "day")
    assert values.spend_limit("5,000_000 credits/month", "") == (5_000_000, "month")
    assert values.spend_limit("none", "") == (None, None)
