"""Many live streams while the service is told to stop, and while its engine is killed.

`STOP_ROUNDS` sets how often, `STOP_STREAMS` with how many streams; the suite makes a slice.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.load import crowd
from tests.faults.mortal import Answered, Mortal, house_in, scripted_upstream
from tests.faults.reading import charges, open_holds, read, verified
from tests.faults.test_service import LONG, TINY, kill_engine
from tests.live import LiveServer, serving
from tests.tiny_gguf import write_tiny_model

from tollway.engine import ModelStore
from tollway.engine.fetch import pull

FULL = bool(os.environ.get("FAULTS_FULL"))
ROUNDS = int(os.environ.get("STOP_ROUNDS", "1"))
STREAMS = int(os.environ.get("STOP_STREAMS", "40"))
DRAIN_SECONDS = 5.0
BACK_SECONDS_MAX = 5.0 if FULL else 20.0
SHORT = {"pieces": 10, "pause": 0.2}
ENDLESS = {"pieces": 3000, "pause": 0.2}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Mortal]:
    settings = {"workers": "2", "drain_seconds": str(DRAIN_SECONDS), "first_grant_credits": str(10**12)}
    with scripted_upstream() as port, house_in(tmp_path / "home", port, None, **settings) as house:
        yield house


def _error_of(answered: Answered) -> Any:
    """The code of the error that ended a stream."""
    events = [line for line in answered.body.decode().splitlines() if line.startswith("data: ")]
    assert "[DONE]" not in answered.body.decode()
    return json.loads(events[-1].removeprefix("data: "))["error"]["code"]


async def _until_it_stops(house: Mortal) -> list[Answered]:
    """Half of the streams would end in time; the service is told to stop as soon as all have begun."""
    assert house.process is not None
    async with crowd(house.port, house.key) as callers:
        scripts = [SHORT if number % 2 else ENDLESS for number in range(STREAMS)]
        asked = [asyncio.ensure_future(callers.ask(script, stream=True, max_tokens=1000)) for script in scripts]
        await callers.all_begun(STREAMS, 60)
        house.process.send_signal(signal.SIGTERM)
        return await asyncio.gather(*asked)


@pytest.mark.timeout(120 + 60 * ROUNDS)
def test_streams_end_well_or_with_an_error_when_the_service_stops(
    house: Mortal, record_property: Callable[[str, Any], None]
) -> None:
    done: set[str] = set()
    for _ in range(ROUNDS):
        house.start()
        answers = asyncio.run(_until_it_stops(house))
        assert house.process is not None
        assert house.process.wait(DRAIN_SECONDS + 30) == 0
        for number, answered in enumerate(answers):
            assert answered.status == 200
            if number % 2:
                assert answered.complete, answered.body[-300:]
                done.add(answered.inference_id)
            else:
                assert _error_of(answered) == "service_unavailable"
    charged = read(house, charges)
    assert charged.keys() == done, "who was told that all is well is charged, and nobody else"
    assert all(len(amounts) == 1 for amounts in charged.values())
    assert read(house, verified).held == 0
    record_property("stops of the service", ROUNDS)
    record_property("live streams at those", ROUNDS * STREAMS)


# --- the engine -------------------------------------------------------------------------------------------------------


@pytest.fixture
def service(tmp_path: Path) -> Iterator[LiveServer]:
    store = ModelStore(tmp_path / "models")
    pull(str(write_tiny_model(tmp_path / "tiny.gguf", context_tokens=8192)), store)
    given = {"engine_slots": "8", "engine_queue_max": str(STREAMS), "engine_threads": "1", "heartbeat_seconds": "0.5"}
    given |= {"default_model": "tiny", "first_grant_credits": str(10**15)}
    with serving(tmp_path / "home", store.path, **given) as live:
        yield live


async def _until_the_engine_dies(service: LiveServer) -> list[Answered]:
    """Eight are generating, the others wait for a slot."""
    async with crowd(service.port, service.key, TINY) as callers:
        fields = {name: value for name, value in LONG.items() if name != "model"}
        asked = [asyncio.ensure_future(callers.ask("Go on", stream=True, **fields)) for _ in range(STREAMS)]
        await callers.all_begun(STREAMS, 60)
        kill_engine(service)
        return await asyncio.gather(*asked)


def _ready(service: LiveServer) -> bool:
    return service.request("GET", "/readyz")[0] == 200


@pytest.mark.timeout(120 + 60 * ROUNDS)
def test_streams_end_with_an_error_when_the_engine_dies_and_it_comes_back(
    service: LiveServer, record_property: Callable[[str, Any], None]
) -> None:
    waits = []
    books = Mortal(service.home, 0)
    for _ in range(ROUNDS):
        answers = asyncio.run(_until_the_engine_dies(service))
        began = time.monotonic()
        while not _ready(service):
            assert time.monotonic() < began + BACK_SECONDS_MAX, "the engine is not back"
            time.sleep(0.02)
        waits.append(time.monotonic() - began)
        assert service.chat(model=TINY, max_tokens=2)["choices"]
        codes = {_error_of(answered) for answered in answers if not answered.complete}
        assert codes <= {"engine_away", "engine_interrupted"}
        assert codes
        while read(books, open_holds):
            assert time.monotonic() < began + 60, "a hold is still open"
            time.sleep(0.1)
        assert read(books, verified).held == 0
    record_property("kills of the engine", ROUNDS)
    record_property("streams at those", ROUNDS * STREAMS)
    record_property("engine back after", f"{max(waits):.1f} s at most")


def test_it_ends_with_its_terminal(tmp_path: Path) -> None:
    """Else a service that nobody sees any more would hold the port. SIGHUP from elsewhere is a reload, in a terminal, too."""
    terminal, theirs = os.openpty()
    script = f'exec "$0" -m tollway serve --port 0 <{os.ttyname(theirs)} >log 2>&1'  # the first terminal it opens is its own
    environment = os.environ | {"TOLLWAY_HOME": str(tmp_path / "home"), "TOLLWAY_LOCAL_MODELS": "none"}
    with subprocess.Popen(
        ["sh", "-c", script, sys.executable], env=environment, cwd=tmp_path, start_new_session=True
    ) as process:
        try:
            _logs(tmp_path / "log", "is ready")
            process.send_signal(signal.SIGHUP)
            _logs(tmp_path / "log", "configuration_reloaded")
            os.close(theirs)
            os.close(terminal)
            assert process.wait(30) == 0
        finally:
            process.kill()


def _logs(file: Path, text: str) -> None:
    deadline = time.monotonic() + 30
    while not file.exists() or text not in file.read_text():
        assert time.monotonic() < deadline, file.exists() and file.read_text()
        time.sleep(0.05)
