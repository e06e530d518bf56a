import json
import socket
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.postgres import PASSWORD, PostgresServer
from tests.tiny_gguf import write_tiny_model
from typer.testing import CliRunner

from tollway.cli import app, doctor
from tollway.cli.doctor import Finding, examine
from tollway.engine import ModelStore, memory
from tollway.engine.fetch import pull

CHECKS = ["python", "settings", "engine", "pip", "home", "disk", "memory", "database", "secret", "upstreams", "model", "port"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a database, a secret and one key; checks that start processes are cut short."""
    home = tmp_path / "home"
    monkeypatch.setenv("TOLLWAY_HOME", str(home))
    monkeypatch.setenv("TOLLWAY_PORT", "0")
    result = CliRunner().invoke(app, ["keys", "create"])
    assert result.exit_code == 0, result.output
    return home


@pytest.fixture(autouse=True)
def no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    done = subprocess.CompletedProcess([], 0, "pip 1.0 from somewhere", "")
    monkeypatch.setattr(doctor, "_python_child", lambda *_: done)


def finding(name: str, **options: Any) -> Finding:
    (found,) = [found for found in examine(**options) if found.check == name]
    return found


@pytest.mark.parametrize("missing", [None, "nobody"])
def test_it_checks_everything_and_says_how_to_mend_each_fault(
    home: Path, missing: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing:
        monkeypatch.setenv("TOLLWAY_DEFAULT_MODEL", missing)
    findings = list(examine())
    assert [found.check for found in findings] == CHECKS
    assert [found.check for found in findings if not found.ok] == (["model"] if missing else []), findings
    for found in findings:
        assert bool(found.mend) == (not found.ok), found


def test_the_exit_code_and_the_json_agree(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLWAY_DEFAULT_MODEL", "nobody")
    result = CliRunner().invoke(app, ["doctor", "--json"])
    told = json.loads(result.stdout)
    assert (result.exit_code, told["ok"]) == (1, False)
    assert [check["check"] for check in told["checks"]] == CHECKS
    plain = CliRunner().invoke(app, ["doctor"])
    assert plain.exit_code == 1
    assert "wrong model:" in plain.stdout
    assert "tollway models pull SOURCE --name nobody" in plain.stdout


def test_without_local_models_nothing_is_asked_that_they_need(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    monkeypatch.setenv("TOLLWAY_LOCAL_MODELS", "none")
    monkeypatch.setattr(doctor, "_python_child", lambda *_: subprocess.CompletedProcess([], -4, "", "No such thing"))
    monkeypatch.setattr(doctor, "_MEMORY_BYTES_MIN", 10**18)
    monkeypatch.setattr("shutil.which", lambda _: None)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output


def test_on_a_fresh_machine_all_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLWAY_PORT", "0")
    findings = {found.check: found for found in examine(home=tmp_path / "not" / "yet")}
    assert [found for found in findings.values() if not found.ok] == []
    assert "`tollway serve` fetches it" in findings["model"].detail
    assert not (tmp_path / "not").exists(), "looking must not change anything"


def test_each_model_that_is_to_be_served_is_looked_at(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ModelStore(home / "models")
    write_tiny_model(tmp_path / "tiny.gguf")
    pull(str(tmp_path / "tiny.gguf"), store)
    assert "tiny, " in finding("model").detail
    with store.model_path("tiny").open("r+b") as file:
        file.seek(-10, 2)
        file.write(b"x")
    assert finding("model").ok, "the size is the same"
    found = finding("model", deep=True)
    assert (found.ok, found.mend) == (False, "`tollway models remove tiny`, then pull it again.")
    store.model_path("tiny").unlink()
    assert not finding("model").ok
    monkeypatch.setenv("TOLLWAY_LOCAL_MODELS", "smollm2-135m-instruct, other")
    assert "tollway models pull SOURCE --name other" in finding("model").mend


def test_wrong_settings_end_the_examination(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLWAY_WORKERS", "many")
    findings = list(examine())
    assert [found.check for found in findings] == ["python", "settings"]
    assert "TOLLWAY_WORKERS" in findings[-1].detail


def test_a_secret_that_others_can_read(home: Path) -> None:
    (home / "secret.key").chmod(0o644)
    found = finding("secret")
    assert (found.ok, found.mend) == (False, f"Run `chmod 600 {home}/secret.key`.")


def test_a_secret_that_is_damaged_or_gone(home: Path) -> None:
    (home / "secret.key").write_text("damaged")
    assert "damaged" in finding("secret").detail
    (home / "secret.key").unlink()
    found = finding("secret")
    assert ("missing" in found.detail, "tollway db adopt-secret" in found.mend) == (True, True)
    assert not (home / "secret.key").exists()


def test_a_secret_that_cannot_be_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(home / "secret.key"))

    monkeypatch.setattr("tollway.accounts.load_secret", refuse)
    found = finding("secret")
    assert (found.ok, found.detail) == (False, f"{home}/secret.key: Permission denied")
    assert f"chown USER {home}/secret.key" in found.mend


def test_a_database_from_the_future_or_from_nowhere(home: Path) -> None:
    with sqlite3.connect(home / "tollway.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert "9999 is newer" in finding("database").detail
    for leftover in ("tollway.db-wal", "tollway.db-shm"):
        (home / leftover).unlink(missing_ok=True)
    (home / "tollway.db").write_bytes(b"this is no database" * 1000)
    found = finding("database")
    assert not found.ok
    assert "not a database" in found.detail


def test_a_postgresql_that_is_well_away_or_from_the_future(
    home: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.new_database()
    monkeypatch.setenv("TOLLWAY_DATABASE_URL", url.reveal())
    found = finding("database")
    assert (found.ok, found.detail.startswith(f"{url}, schema ")) == (True, True)
    (home / "secret.key").unlink()
    assert finding("secret").ok, "no key was ever made in this database: the first start makes its secret"
    assert not (home / "secret.key").exists()

    postgres.sql("UPDATE alembic_version SET version_num = '9999'", url.reveal().rpartition("/")[2])
    assert "9999 is newer" in finding("database").detail

    monkeypatch.setenv("TOLLWAY_DATABASE_URL", url.reveal().replace("/test_", "/absent_"))
    found = finding("database")
    assert (found.ok, "does not exist" in found.detail, "TOLLWAY_DATABASE_URL" in found.mend) == (False, True, True)
    assert PASSWORD not in f"{found}"

    monkeypatch.setenv("TOLLWAY_DATABASE_URL", "postgresql://tollway:wrong@127.0.0.1:1/tollway")
    assert "refused" in finding("database").detail


def test_a_home_on_a_full_disk_is_told_wherever_the_models_are(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLWAY_MODELS_DIR", str(tmp_path))
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=0 if place == home else 10**12))
    assert str(home) in finding("disk").detail


def test_a_home_of_somebody_else(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert "Make it a folder that you may write to" in finding("home").mend
    found = finding("home", home=Path("/nobody/has/this"))
    assert (found.detail, "TOLLWAY_HOME" in found.mend) == ("/nobody/has/this cannot be made: /: Permission denied", True)


def test_a_file_that_only_the_service_may_read_tells_whose_it_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    assert "Permission denied. Run it as the user that Tollway runs as" in finding("settings").detail


def test_too_little_disk_or_memory(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_DISK_BYTES_MIN", 10**18)
    monkeypatch.setattr(doctor, "_MEMORY_BYTES_MIN", 10**18)
    assert not finding("disk").ok
    assert not finding("memory").ok


def test_a_container_has_no_more_memory_than_it_may(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_CGROUP_LIMIT", limit)
    limit.write_text("max\n")
    of_the_machine = finding("memory").detail
    limit.write_text("300000000\n")
    found = finding("memory")
    assert (found.ok, found.detail) == (False, "0.3 GB available")
    assert found.detail != of_the_machine


def test_an_engine_that_does_not_load(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    def ended(code: int, said: str) -> None:
        monkeypatch.setattr(doctor, "_python_child", lambda *_: subprocess.CompletedProcess([], code, "", said))

    ended(-4, "")
    assert "Illegal instruction" in finding("engine").detail
    assert "TOLLWAY_LOCAL_MODELS=none" in finding("engine").mend
    ended(1, "Traceback\nImportError: libgomp.so.1: cannot open shared object file: No such file or directory")
    assert "libgomp.so.1" in finding("engine").detail
    assert "apt-get install libgomp1" in finding("engine").mend
    ended(1, "ImportError: something else")
    assert "make clean" in finding("engine").mend


def test_uv_does_where_pip_is_not_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    monkeypatch.setattr(doctor, "_python_child", lambda *_: subprocess.CompletedProcess([], 1, "", "No module named pip"))
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert "ensurepip" in finding("pip").mend
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert finding("pip").ok


def test_a_check_that_breaks_is_a_finding(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> Finding:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(doctor, "_disk", broken)
    found = finding("disk")
    assert not found.ok
    assert "ZeroDivisionError" in found.detail
    assert finding("port").ok, "and the others go on"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.01)
        yield other.getsockname()[1]


def test_a_port_that_somebody_else_has(home: Path, taken_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_ANSWER_SECONDS", 0.2)
    found = finding("port", port=taken_port)
    assert not found.ok
    assert "--port" in found.mend


@pytest.mark.parametrize(
    ("body", "ok", "says"),
    [
        (b'{"status": "ready", "checks": {"database": true}}', True, "is ready"),
        (b'{"status": "not_ready", "checks": {"database": true, "engine:smol": false}}', False, "engine:smol"),
        (b"<html>It works!</html>", False, "cannot be used"),
        (b"[]", False, "cannot be used"),
    ],
)
def test_a_port_that_answers(home: Path, body: bytes, ok: bool, says: str) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        found = finding("port", port=server.server_port)
        thread.join()
    assert found.ok == ok
    assert says in found.detail


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[upstreams.gpu]\nprovidr = 1\n", "tollway.toml:2: upstreams.gpu.providr"),
        ("[upstreams.openai]\n", "openai: OPENAI_API_KEY is not set"),
        (
            '[[models]]\nid = "google/gemini-2.5-flash-lite-preview"\nroutes = [{ upstream = "groq", model = "x" }]\n',
            "groq: GROQ_API_KEY",
        ),
    ],
)
def test_it_tells_what_upstreams_lack(home: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str) -> None:
    for variable in ("OPENAI_API_KEY", "GROQ_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    assert finding("upstreams").ok
    (home / "tollway.toml").write_text(text)
    found = finding("upstreams")
    assert not found.ok
    assert expected in found.detail
    assert found.mend
