"""A disk that is full or fails: never a 200 without its entry, no upstream is asked meanwhile, and all is well by itself.

`DISK_FAULTS` sets how many operations of SQLite's disk fail; the suite makes a slice of what `make faults` makes.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.server import in_a_thread
from tests.faults.mortal import Answered, Mortal, descendants, house_in
from tests.faults.reading import charges, open_holds, read, verified
from tests.faults.scripted_upstream import ScriptedOpenAI

FAULTS = int(os.environ.get("DISK_FAULTS", "60"))
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
    rounds = int(os.environ.get("DISK_ROUNDS", "2"))
    told: list[Answered] = [good]
    refused = 0
    for _ in range(rounds):
        _limit_files(house, 0)
        asked = upstream.asked
        for stream in (True, False, True):
            answered = house.post({"pieces": 3}, max_tokens=10, stream=stream)
            assert answered.status == 503, answered.body
            assert answered.json["error"]["code"] == "storage_unavailable"
            refused += 1
        assert upstream.asked == asked, "an upstream was asked although nothing could be written"
        _limit_files(house, resource.RLIM_INFINITY)
        deadline = time.monotonic() + 20
        while not (answered := house.post({"pieces": 3}, max_tokens=10)).complete:
            assert answered.status == 503
            assert time.monotonic() < deadline, "it did not recover by itself"
            time.sleep(0.1)
        told.append(answered)
    _fills_up_in_mid_stream(house)
    deadline = time.monotonic() + 30
    while read(house, open_holds):
        assert time.monotonic() < deadline, "a hold is still open"
        time.sleep(0.2)
    assert read(house, verified).held == 0
    charged = read(house, charges)
    for answered in told:
        assert len(charged[answered.inference_id]) == 1
    assert len(charged) == len(told)
    record_property("full disks under a running service", rounds + 1)
    record_property("requests refused meanwhile", refused)


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
