import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from tollway import settings
from tollway.app import WorkerConfig
from tollway.catalog import shipped_configuration
from tollway.cli import app
from tollway.settings import DatabaseUrl, Settings, SettingsError

URL = "postgresql://tollway:s3cret%40%2Fword@db.example:5433/money?sslmode=require"


def test_the_database_is_a_file_in_the_home_folder_unless_a_url_is_given(tmp_path: Path) -> None:
    assert Settings(home=tmp_path).database == tmp_path / "tollway.db"
    assert settings.load(environ={"TOLLWAY_DATABASE_URL": URL}).database == DatabaseUrl(URL)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (URL, "postgresql://tollway:***@db.example:5433/money"),
        ("postgres://tollway@db/money", "postgresql://tollway@db/money"),
        ("postgresql://u:s3cret@[::1]:5432/money", "postgresql://u:***@[::1]:5432/money"),
        ("postgresql://u:s3cret@a:1,b:2/money", "postgresql://u:***@a,b:1,2/money"),
        ("postgresql:///money?host=/run/postgresql&password=s3cret", "postgresql://:***@/run/postgresql/money"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    in_force = settings.load(environ={"TOLLWAY_DATABASE_URL": url})
    assert str(in_force.database_url) == shown
    for text in (repr(in_force), str(in_force), f"{in_force.database}", str([in_force.database_url])):
        assert "s3cret" not in text
    assert in_force.database_url is not None
    assert in_force.database_url.reveal() == url


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_the_command_does_not_show_it_either(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLWAY_DATABASE_URL", URL)
    monkeypatch.setenv("COLUMNS", "300")
    result = CliRunner().invoke(app, ["settings", *arguments])
    assert "tollway:***@db.example" in result.stdout
    assert "s3cret" not in result.output


@pytest.mark.parametrize(
    "url",
    [
        "s3cret",
        "mysql://u:s3cret@host/money",
        "sqlite:////var/s3cret.db",
        "postgresql://u:s3cret@host",
        "postgresql://u:s3cret%zz@host/money",
        "postgresql://u:1@s3cret@host/money",
        "postgresql://u:1/s3cret@host/money",
        "postgresql://u:s3cret/1@host/money",
        "postgresql://u:pw@host/money/s3cret",
        "postgresql://u:pw@host/money?pasword=s3cret",
        "postgresql://u:pw@host:s3cret/money",
    ],
)
def test_a_url_that_cannot_be_is_refused_without_being_repeated(url: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"database_url = .*TOLLWAY_DATABASE_URL.*postgresql://") as caught:
        settings.load(environ={"TOLLWAY_DATABASE_URL": url, "TOLLWAY_HOME": str(tmp_path)})
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_home_below_the_users_own_has_its_file_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "tollway.toml").write_text("port = 8123\n")
    in_force = settings.load(environ={"TOLLWAY_HOME": "~/house"})
    assert (in_force.home, in_force.port) == (tmp_path / "house", 8123)


def test_the_home_of_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="home = '~nobody-at-all/house'"):
        settings.load(environ={"TOLLWAY_HOME": "~nobody-at-all/house"})
    with pytest.raises(SettingsError, match="models_dir"):
        settings.load(environ={"TOLLWAY_HOME": str(tmp_path), "TOLLWAY_MODELS_DIR": "~nobody-at-all/models"})


def test_workers_get_the_whole_url_in_a_private_file(tmp_path: Path) -> None:
    config = WorkerConfig(Settings(home=tmp_path, database_url=DatabaseUrl(URL)), [], shipped_configuration())
    with config.handed_out():
        (file,) = tmp_path.glob("workers-*.json")
        assert file.stat().st_mode & 0o077 == 0
        assert msgspec.structs.asdict(WorkerConfig.received().settings) == msgspec.structs.asdict(config.settings)
    assert not file.exists()


def test_the_file_of_a_server_that_was_killed_is_removed_by_the_next(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as killed:
        pass
    left = [tmp_path / f"workers-{killed.pid}{suffix}" for suffix in (".json", ".new")]
    others = [tmp_path / f"workers-{os.getppid()}.json", tmp_path / "workers-of-mine.json"]
    for file in (*left, *others):
        file.touch()
    with WorkerConfig(Settings(home=tmp_path), [], shipped_configuration()).handed_out():
        assert not any(file.exists() for file in left)
        assert all(file.exists() for file in others)


@pytest.mark.parametrize("number", ["1e400", "inf", "-inf", "nan"])
def test_a_number_beyond_all_numbers_is_refused(tmp_path: Path, number: str) -> None:
    (tmp_path / "tollway.toml").write_text(f"receive_seconds = {number}\n")
    with pytest.raises(SettingsError, match="receive_seconds = "):
        settings.load({}, {"TOLLWAY_HOME": str(tmp_path)})
    (tmp_path / "tollway.toml").unlink()
    with pytest.raises(SettingsError, match="receive_seconds = "):
        settings.load({}, {"TOLLWAY_HOME": str(tmp_path), "TOLLWAY_RECEIVE_SECONDS": number})


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("port = 99999", "port = 99999 (from {file}:3): must be at most 65535."),
        ("prot = 1", "{file}:3: `prot` is no setting. Did you mean `port`?"),
        ('signup = "Open"', "'Open' is no word for it. It may be `open`, `invitation`, `closed`."),
        ('drain_seconds = "soon"', "drain_seconds = 'soon' (from {file}:3): must be a number, not text."),
        ("drain_seconds = 0", "must be more than 0."),
        ("database_url = 5", "database_url = ... (from {file}:3): must be text, in quotation marks."),
        ("host = [1]", "must be text, not a list."),
        ('markup = "much"', "that cannot be. Factor on every price, a decimal."),
        ('image_fetch = "everything"', "must be `https`, `off`, or host names"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_with_its_line_in_plain_words(tmp_path: Path, wrong: str, says: str) -> None:
    file = tmp_path / "tollway.toml"
    file.write_text(f"# mine\nworkers = 2\n{wrong}\n[upstreams.vllm]\n")
    with pytest.raises(SettingsError) as caught:
        settings.load({}, {"TOLLWAY_HOME": str(tmp_path)})
    said = str(caught.value)
    assert says.format(file=file) in said
    assert f"{file}:3" in said
    for jargon in ("Expected", "enum", "regex", "str`", "int`", "float`"):
        assert jargon not in said
