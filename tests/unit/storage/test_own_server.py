"""The PostgreSQL server that the tests start for themselves."""

import subprocess
import sys
from pathlib import Path

from tests.engines import is_alive, wait_until
from tests.postgres import PostgresServer

OWNER = """
import sys, time
from pathlib import Path
from tests.postgres import running_postgres

with running_postgres(Path(sys.argv[1])) as server:
    print(server.folder, flush=True)
    time.sleep(120)
"""


def test_it_ends_with_its_owner_however_that_ends(postgres: PostgresServer) -> None:
    command = [sys.executable, "-c", OWNER, str(postgres.bin)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        server = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        assert is_alive(server)
        owner.kill()
    wait_until(lambda: not is_alive(server) and not folder.exists(), 30)
