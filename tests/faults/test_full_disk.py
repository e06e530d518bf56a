"""A disk that is full or fails: never a 200 without its entry, no upstream is asked meanwhile, and all is well by itself.

`DISK_FAULTS` sets how many operations of SQLite's disk fail, and how many writes of PostgreSQL; `DISK_ROUNDS` how often a disk
fills up under a running service. The suite makes a slice of what `make faults` makes.
"""

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.fakes.server import in_a_thread
from tests.faults.load import Load
from tests.faults.mortal import Answered, Mortal, descendants, house_in
from tests.faults.reading import charges, open_holds, read, verified
from tests.faults.scripted_upstream import ScriptedOpenAI
from tests.postgres import PostgresServer

from tollway.storage.tables import ledger_entries

FAULTS = int(os.environ.get("DISK_FAULTS", "60"))
ROUNDS = int(os.environ.get("DISK_ROUNDS", "2"))
EVERY = (17, 41, 97, 199)


@pytest.mark.timeout(120 + FAULTS)
@pytest.mark.parametrize("every", EVERY)
def test_every_nth_operation_of_the_disk_fails(every: int, tmp_path: Path, record_property: Callable[[str, Any], None]) -> None:
    command = [sys.executable, "-m", "tests.faults.disk_work", "fail", str(tmp_path / "home"), str(every)]
    done = subprocess.run([*command, str(FAULTS // len(EVERY))], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["told_without_charge"] == said["charged_without_being_told"] == said["held"] == 0
    assert said["failed"] >= FAULTS // len(EVERY)
    assert said["told"] or every == EVERY[0], "nothing worked, so nothing was tested"
    record_property("failed operations of the disk", said["failed"])


@pytest.fixture
def upstream() -> Iterator[ScriptedOpenAI]:
    with in_a_thread(ScriptedOpenAI()) as fake:
        yield fake


@pytest.fixture
def house(tmp_path: Path, upstream: ScriptedOpenAI) -> Iterator[Mortal]:
    with house_in(tmp_path / "home", upstream.port, workers="2") as house:
        yield house


def _limit_files(house: Mortal, size: int) -> None:
    """No process of the service can write a file beyond this size; the log of the service is a pipe to us and not touched."""
    assert house.process is not None
    for process_id in [house.process.pid, *descendants(house.process.pid)]:
        resource.prlimit(process_id, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.timeout(240)
def test_a_full_disk_under_a_running_service(
    house: Mortal, upstream: ScriptedOpenAI, record_property: Callable[[str, Any], None]
) -> None:
    house.start()
    good = house.post({"pieces": 3}, max_tokens=10, stream=True)
    assert good.complete
    told: list[Answered] = [good]
    refused = 0
    for _ in range(ROUNDS):
        _limit_files(house, 0)
        asked = upstream.asked
        for stream in (True, False, True):
            answered = house.post({"pieces": 3}, max_tokens=10, stream=stream)
            assert answered.status == 503, answered.body
            assert answered.json["error"]["code"] == "storage_unavailable"
            refused += 1
        assert upstream.asked == asked, "an upstream was asked although nothing could be written"
        _limit_files(house, resource.RLIM_INFINITY)
        told.append(_recovered(house))
    _fills_up_in_mid_stream(house)
    assert len(_charged_once(house, told)) == len(told)
    record_property("full disks under a running service", ROUNDS + 1)
    record_property("requests refused meanwhile", refused)


def _recovered(house: Mortal) -> Answered:
    """The first answer that is given again, which must not take long."""
    deadline = time.monotonic() + 20
    while not (answered := house.post({"pieces": 3}, max_tokens=10)).complete:
        assert answered.status == 503
        assert time.monotonic() < deadline, "it did not recover by itself"
        time.sleep(0.1)
    return answered


def _charged_once(house: Mortal, told: list[Answered]) -> dict[str, list[int]]:
    """All charges, when no hold is open any more. Whoever was told that all is well is charged once."""
    deadline = time.monotonic() + 30
    while read(house, open_holds):
        assert time.monotonic() < deadline, "a hold is still open"
        time.sleep(0.2)
    assert read(house, verified).held == 0
    charged = read(house, charges)
    assert all(len(charged[answered.inference_id]) == 1 for answered in told)
    return charged


def _fills_up_in_mid_stream(house: Mortal) -> None:
    """The settlement cannot be written: the stream ends with an error, without `[DONE]`, and costs nothing."""
    import threading

    answers: list[Answered] = []
    caller = threading.Thread(
        target=lambda: answers.append(house.post({"pieces": 10, "pause": 0.1}, max_tokens=100, stream=True))
    )
    caller.start()
    time.sleep(0.5)
    _limit_files(house, 0)
    caller.join(60)
    _limit_files(house, resource.RLIM_INFINITY)
    assert not answers[0].complete
    assert b"storage_unavailable" in answers[0].body


# --- the disk of a PostgreSQL server ----------------------------------------------------------------------------------


class SmallDisk:
    """A file system of its own, that has room for `mib`."""

    def __init__(self, folder: Path, mib: int) -> None:
        folder.mkdir()
        self.folder = folder
        self._ballast = folder / "ballast"
        mount = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tollway-tests", str(folder)]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            folder.rmdir()
            pytest.skip(f"a small disk for PostgreSQL needs root: {done.stderr.strip()}")
        data = folder / "data"
        data.mkdir()
        owner = folder.parent.stat()
        os.chown(data, owner.st_uid, owner.st_gid)

    def fill(self) -> None:
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        subprocess.run(["umount", str(self.folder)], check=True)


@pytest.fixture
def small_disk(postgres: PostgresServer) -> Iterator[SmallDisk]:
    if shutil.which("mount") is None:
        pytest.skip("a small disk for PostgreSQL needs mount")
    disk = SmallDisk(postgres.folder / "small", 64)
    yield disk
    disk.free()
    postgres.sql("DROP DATABASE IF EXISTS on_small_disk WITH (FORCE)")
    postgres.sql("DROP TABLESPACE IF EXISTS small")
    disk.close()


@pytest.fixture
def house_on_postgres(
    postgres: PostgresServer, small_disk: SmallDisk, upstream: ScriptedOpenAI, tmp_path: Path
) -> Iterator[Mortal]:
    postgres.sql(f"CREATE TABLESPACE small LOCATION '{small_disk.folder / 'data'}'")
    postgres.sql("CREATE DATABASE on_small_disk OWNER tollway TEMPLATE migrated TABLESPACE small")
    with house_in(tmp_path / "home", upstream.port, postgres.url("on_small_disk"), workers="2") as house:
        yield house


def _holds_so_far(connection: sa.Connection) -> int:
    query = sa.select(sa.func.count()).select_from(ledger_entries).where(ledger_entries.c.kind == "hold")
    return connection.execute(query).scalar_one()


@pytest.mark.timeout(120 + 20 * ROUNDS)
def test_a_full_disk_under_postgresql(
    house_on_postgres: Mortal, small_disk: SmallDisk, upstream: ScriptedOpenAI, record_property: Callable[[str, Any], None]
) -> None:
    """Its log goes elsewhere; where that cannot be written PostgreSQL dies, as other tests have it do. Here a table cannot
    grow: what fits into its last page is still written, and everything else fails.
    """
    house = house_on_postgres
    house.start()
    told: list[Answered] = []
    refused = 0
    for _ in range(ROUNDS):
        with Load(house, clients=4) as load:
            time.sleep(0.3)
            small_disk.fill()
            time.sleep(1)
            deadline = time.monotonic() + 20
            while (answered := house.post({"pieces": 3}, max_tokens=10)).status != 503:
                assert answered.complete
                told.append(answered)
                assert time.monotonic() < deadline, "the disk never became full"
            assert answered.json["error"]["code"] == "storage_unavailable"
            refused += 1
            small_disk.free()
            told.append(_recovered(house))
        told += load.told
    assert _charged_once(house, told)
    assert upstream.asked <= read(house, _holds_so_far), "an upstream was asked for what was not held"
    record_property("full disks under PostgreSQL", ROUNDS)
    record_property("requests refused meanwhile", refused)


# As PostgreSQL tells it of a disk that fails while its own log can still be written: a statement fails with `io_error`, and now
# and then not before the COMMIT. Where its log cannot be written, it dies.
FAILING = """
CREATE SEQUENCE writes;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF nextval('writes') % {every} = 0 THEN
        RAISE EXCEPTION 'could not write block 1: Input/output error' USING ERRCODE = 'io_error';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER fail BEFORE INSERT ON ledger_entries FOR EACH STATEMENT EXECUTE FUNCTION fail();
CREATE TRIGGER fail BEFORE UPDATE ON balances FOR EACH STATEMENT EXECUTE FUNCTION fail();
CREATE TRIGGER fail BEFORE INSERT OR DELETE ON holds FOR EACH STATEMENT EXECUTE FUNCTION fail();
CREATE TRIGGER fail BEFORE INSERT ON unfiled_requests FOR EACH STATEMENT EXECUTE FUNCTION fail();
CREATE CONSTRAINT TRIGGER fail_at_commit AFTER INSERT ON ledger_entries DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION fail();
"""
POSTGRES_EVERY = (11, 61)


@pytest.mark.timeout(120 + FAULTS)
@pytest.mark.parametrize("every", POSTGRES_EVERY)
def test_every_nth_write_of_postgresql_fails(
    every: int, postgres: PostgresServer, upstream: ScriptedOpenAI, tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    place = postgres.new_database()
    name = place.reveal().rpartition("/")[2]
    wanted, failed = FAULTS // len(POSTGRES_EVERY), 0
    with house_in(tmp_path / "home", upstream.port, place, workers="2") as house:
        house.start()
        postgres.sql(FAILING.format(every=every), name)
        with Load(house, clients=6) as load:
            deadline = time.monotonic() + 60 + FAULTS / 2
            while failed < wanted or not load.told:
                assert time.monotonic() < deadline, f"{failed} writes have failed, {len(load.told)} answers were whole"
                time.sleep(0.2)
                ((failed,),) = postgres.sql(f"SELECT last_value / {every} FROM writes", name)
        postgres.sql("DROP FUNCTION fail CASCADE", name)
        told = [*load.told, _recovered(house)]
        charged = _charged_once(house, told)
        assert all(len(amounts) == 1 for amounts in charged.values())
        assert upstream.asked <= read(house, _holds_so_far), "an upstream was asked for what was not held"
    record_property("failed writes of PostgreSQL", failed)
