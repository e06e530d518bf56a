"""The generated pages are the code's, and the commands that make them work."""

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from tollway import errors
from tollway.cli import app
from tollway.settings import Settings
from tollway.web import generated

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("arguments", "page"),
    [
        (["settings", "--markdown"], "docs/settings.md"),
        (["errors", "--markdown"], "docs/errors.md"),
        (["openapi"], "openapi.json"),
        (["configuration"], "docs/configuration.md"),
    ],
)
def test_the_committed_page_is_what_the_command_prints(arguments: list[str], page: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert (ROOT / page).read_text(encoding="utf-8") == result.stdout, f"run `tollway {' '.join(arguments)} > {page}`"


def test_the_settings_page_has_every_setting_and_no_machine_in_it() -> None:
    page = generated.settings_page()
    for field in msgspec.structs.fields(Settings):
        assert f"| `{field.name}` | `TOLLWAY_{field.name.upper()}` |" in page
    assert str(Path.home()) not in page


def test_the_errors_page_has_every_error() -> None:
    page = generated.errors_page()
    for error in generated.error_tree():
        assert f"| {error.status} | `{error.type}` | `{error.default_code}` |" in page
    assert errors.GatewayTimeout in list(generated.error_tree())


def test_settings_say_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tollway.toml").write_text('engine_slots = 3\nhost = "0.0.0.0"\n')
    monkeypatch.setenv("TOLLWAY_HOME", str(tmp_path))
    monkeypatch.setenv("TOLLWAY_PORT", "9999")
    monkeypatch.setenv("TOLLWAY_HOST", "127.0.0.2")
    result = CliRunner().invoke(app, ["settings", "--json"])
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert {
        name: (rows[name]["value"], rows[name]["from"]) for name in ("home", "port", "host", "engine_slots", "workers")
    } == {
        "home": (str(tmp_path), "environment"),
        "port": (9999, "environment"),
        "host": ("127.0.0.2", "environment"),
        "engine_slots": (3, "tollway.toml"),
        "workers": (1, "default"),
    }
    assert all(row["help"] for row in rows.values())
    assert CliRunner().invoke(app, ["settings"]).exit_code == 0


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLWAY_PROT", "8080")
    result = CliRunner().invoke(app, ["settings"])
    assert result.exit_code == 2
    assert "TOLLWAY_PROT is no setting" in result.stderr
