import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tollway.cli import app


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOLLWAY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["accounts", *arguments])


def _listed() -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(run("list", "--json").stdout)
    return listed


def test_an_account_from_its_creation_to_its_new_name() -> None:
    created = json.loads(run("create", "[red]acme[/red]", "--rpm", "600", "--low-balance", "0.50USD", "--json").stdout)
    assert set(created) == {
        *("id", "name", "created_at", "updated_at", "requests_per_minute", "tokens_per_minute", "concurrency_max"),
        "low_balance_credits",
    }
    assert (created["requests_per_minute"], created["low_balance_credits"]) == (600, 1_000_000)
    assert _listed() == [created]
    table = run("list").stdout
    for text in ("[red]acme[/red]", "600 requests/min", "0.5USD"):
        assert text in table

    shown = run("limits", "[red]acme[/red]")
    assert "[red]acme[/red]" in shown.stdout
    assert _listed() == [created], "looking changes nothing"
    changed = json.loads(run("limits", created["id"], "--rpm", "none", "--tpm", "5_000", "--json").stdout)
    assert (changed["requests_per_minute"], changed["tokens_per_minute"]) == (None, 5000)
    assert json.loads(run("limits", created["id"], "--low-balance", "10000credits", "--json").stdout) == changed | {
        "low_balance_credits": 10_000,
        "updated_at": _listed()[0]["updated_at"],
    }
    renamed = json.loads(run("rename", "[red]acme[/red]", "acme", "--json").stdout)
    assert (renamed["id"], renamed["name"], renamed["tokens_per_minute"]) == (created["id"], "acme", 5000)


@pytest.mark.parametrize(
    ("arguments", "says", "exit_code"),
    [
        (("create", "taken"), "already", 1),
        (("create", "x" * 101), "1 to 100 characters", 1),
        (("create", "a\x1b[2J"), "control characters", 1),
        (("create", "new", "--rpm", "9999999999"), "1,000,000,000", 1),
        (("create", "new", "--low-balance", "much"), "--low-balance", 2),
        (("create", "new", "--low-balance", "10000"), "10000USD or 10000credits", 2),
        (("rename", "other", "taken"), "already", 1),
        (("rename", "nobody", "new"), "no such account", 1),
        (("limits", "nobody"), "no such account", 1),
        (("limits", "'; DROP TABLE accounts;--", "--rpm", "5"), "no such account", 1),
        (("limits", "taken", "--rpm", "0"), "--rpm", 2),
    ],
)
def test_what_cannot_be_is_told_in_one_line(arguments: tuple[str, ...], says: str, exit_code: int) -> None:
    run("create", "taken")
    run("create", "other")
    before = _listed()
    result = run(*arguments)
    assert (result.exit_code, says in result.stderr, len(result.stderr.splitlines())) == (exit_code, True, 1), result.stderr
    assert _listed() == before


@pytest.mark.parametrize("command", ["create", "list", "rename", "limits"])
def test_help_teaches(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout
