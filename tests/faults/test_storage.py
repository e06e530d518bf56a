"""A running service while its database goes away, and while somebody would replace it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.faults.mortal import descendants
from tests.live import LiveServer, serving, wait_until_ready
from tests.postgres import PASSWORD, PostgresServer

from tollway.settings import DatabaseUrl


def _until(live: LiveServer, path: str, status: int, seconds: float = 20) -> bytes:
    deadline = time.monotonic() + seconds
    while True:
        got, _, body = live.request("GET", path)
        if got == status:
            return body
        assert got in {200, 503}, body
        assert time.monotonic() < deadline, f"{path} is still {got}"
        time.sleep(0.05)


def test_postgresql_dies_and_comes_back_under_a_running_service(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.new_database()
    with serving(tmp_path / "home", database_url=url.reveal(), local_models="none", workers="2") as live:
        assert live.request("GET", "/v1/models")[0] == 200
        postgres.kill()
        try:
            assert json.loads(_until(live, "/readyz", 503))["checks"]["database"] is False
            problem = json.loads(_until(live, "/v1/key", 503))
            assert problem["error"]["code"] == "storage_unavailable"
            assert live.request("GET", "/v1/key")[1]["retry-after"] == "2"
            assert live.request("GET", "/healthz")[0] == 200
        finally:
            postgres.start()
        _until(live, "/readyz", 200)
        for _ in range(8):  # both workers
            assert live.request("GET", "/v1/key")[0] == 200
    log = (tmp_path / "home.log").read_text()
    assert "storage" in log or "database_unavailable" in log
    assert PASSWORD not in log
    assert url.reveal() not in log


def test_workers_that_start_while_postgresql_is_away_wait_for_it(postgres: PostgresServer, tmp_path: Path) -> None:
    log = tmp_path / "home.log"
    with serving(tmp_path / "home", database_url=postgres.new_database().reveal(), local_models="none", workers="2") as live:
        postgres.kill()
        try:
            for worker in descendants(live.process.pid):
                os.kill(worker, signal.SIGKILL)
            deadline = time.monotonic() + 30
            while (waiting := log.read_text().count("waiting_for_the_database")) < 2:
                assert live.process.poll() is None, log.read_text()[-4000:]
                assert time.monotonic() < deadline, log.read_text()[-4000:]
                time.sleep(0.05)
        finally:
            postgres.start()
        wait_until_ready(live, log)
        assert live.request("GET", "/v1/key")[0] == 200
        assert waiting == log.read_text().count("waiting_for_the_database") == 2  # once a worker, however long it takes


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_running_service_is_backed_up_but_not_replaced(kind: str, postgres: PostgresServer, tmp_path: Path) -> None:
    url: DatabaseUrl | None = postgres.new_database() if kind == "postgresql" else None
    given = {"database_url": url.reveal()} if url else {}
    with serving(tmp_path / "home", None, **given, local_models="none", workers="2") as live:
        backup = str(tmp_path / "backup")
        live.cli("db", "backup", backup)
        command = [sys.executable, "-m", "tollway", "db", "restore", backup, "--force"]
        refused = subprocess.run(command, env=live.environment, capture_output=True, text=True, check=False)
        assert (refused.returncode, "stop it first" in refused.stderr) == (1, True), refused.stderr
        assert live.request("GET", "/v1/key")[0] == 200
    assert subprocess.run(command, env=live.environment, check=False).returncode == 0
