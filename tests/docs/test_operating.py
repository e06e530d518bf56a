"""The commands of docs/operating.md do what the page says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.installation import place_of
from tests.postgres import PostgresServer

from tollway.settings import DatabaseUrl

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")
# how to back up, how to restore, how to begin with PostgreSQL
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def sh(code: str, bin_folder: Path, **environment: str) -> str:
    """What the commands print, with `tollway` and `sudo -u postgres` standing for the tests' own."""
    bin_folder.mkdir(exist_ok=True)
    for name, line in {"tollway": f'exec {sys.executable} -m tollway "$@"', "sudo": 'shift 2; exec "$@"'}.items():
        (bin_folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (bin_folder / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}"} | environment
    done = subprocess.run(["sh", "-ec", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.usefixtures("both_databases")
def test_backup_and_restore(tmp_path: Path) -> None:
    home, backup = tmp_path / "home", str(tmp_path / "monday")
    environment = {"TOLLWAY_HOME": str(home)}
    place = place_of(home)
    if isinstance(place, DatabaseUrl):
        environment["TOLLWAY_DATABASE_URL"] = place.reveal()
    back_up, restore = (block.replace("/var/backups/tollway/monday", backup) for block in BLOCKS[:2])
    sh("tollway keys create --name kept", tmp_path / "bin", **environment)
    assert "integrity      ok" in sh(back_up, tmp_path / "bin", **environment)
    sh("tollway keys create --name gone", tmp_path / "bin", **environment)
    assert "is as it was at" in sh(restore, tmp_path / "bin", **environment)
    keys = sh("tollway keys list", tmp_path / "bin", **environment)
    assert ("kept" in keys, "gone" in keys) == (True, False)


def test_a_new_postgresql_database(tmp_path: Path, postgres: PostgresServer) -> None:
    code = BLOCKS[2].replace("ROLE tollway", "ROLE manual").replace("owner tollway", "owner manual")
    code = code.replace("template0 tollway", "template0 manual")
    code = code.replace("tollway:PASSWORD@127.0.0.1:5432/tollway", f"manual:PASSWORD@127.0.0.1:{postgres.port}/manual")
    server = {"PGHOST": str(postgres.folder), "PGPORT": str(postgres.port), "PGUSER": "postgres"}
    path = f"{postgres.bin}:{os.environ['PATH']}"
    home = {"TOLLWAY_HOME": str(tmp_path / "home"), "TOLLWAY_PORT": "0"}
    printed = sh(f"PATH=$PATH:{path}\n{code}", tmp_path / "bin", **server, **home)
    assert f"postgresql://manual:***@127.0.0.1:{postgres.port}/manual went from schema none to" in printed
    assert re.search(r"ok +database: postgresql://manual:\*\*\*@\S+, schema \d+\n", printed)
    assert "PASSWORD" not in printed
