"""Five times what the upstream can take: what it can is answered all the same, the rest is refused quickly, and it passes.

`OVERLOAD_SECONDS` sets how long it lasts; the suite makes a slice, with more patience because other tests use the machine.
"""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.faults.load import Crowd, crowd
from tests.faults.mortal import Answered, Mortal, house_in, scripted_upstream
from tests.faults.reading import open_holds, read, verified

FULL = bool(os.environ.get("FAULTS_FULL"))
SECONDS = float(os.environ.get("OVERLOAD_SECONDS", "3"))
CAPACITY = 8
SCRIPT = {"pieces": 4, "pause": 0.05}
OVERLOAD = 5
GOODPUT_MIN = 0.9 if FULL else 0.3
REFUSED_SECONDS_MAX = 0.05 if FULL else 10.0
RECOVERED_SECONDS_MAX = 10.0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Mortal]:
    with scripted_upstream() as port, house_in(tmp_path / "home", port, None, first_grant_credits=str(10**14)) as house:
        file = house.home / "tollway.toml"
        file.write_text(file.read_text().replace("attempts_max = 1", f"attempts_max = 1\nconcurrency_max = {CAPACITY}"))
        house.start()
        yield house


@dataclass
class Phase:
    """What came of the requests of some seconds."""

    answered: int = 0
    refused: list[float] = field(default_factory=list)
    """How long each refusal took, in seconds."""
    other: list[Answered] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def goodput(self) -> float:
        return self.answered / self.seconds

    async def ask(self, callers: Crowd) -> None:
        began = time.monotonic()
        answered = await callers.ask(SCRIPT, max_tokens=50, stream=True)
        if answered.complete:
            self.answered += 1
        elif answered.status == 429 and answered.headers.get("retry-after", "").isdigit():
            self.refused.append(time.monotonic() - began)
        else:
            self.other.append(answered)


async def _as_many_as_fit(callers: Crowd, seconds: float) -> Phase:
    """Callers who each wait for their answer before they ask again."""
    phase, began = Phase(), time.monotonic()

    async def one() -> None:
        await phase.ask(callers)
        while time.monotonic() < began + seconds:
            await phase.ask(callers)

    await asyncio.gather(*(one() for _ in range(CAPACITY)))
    phase.seconds = time.monotonic() - began
    return phase


async def _at_a_rate(callers: Crowd, per_second: float, seconds: float) -> Phase:
    """Callers who come whether or not the ones before were answered."""
    phase, began = Phase(), time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in itertools.count():
            due = began + number / per_second
            if due > began + seconds:
                break
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            group.create_task(phase.ask(callers))
    phase.seconds = time.monotonic() - began
    return phase


async def _until_it_is_over(callers: Crowd) -> float:
    """Seconds until as many as fit are all answered again."""
    began = time.monotonic()
    while (await _as_many_as_fit(callers, 0.0)).answered < CAPACITY:
        assert time.monotonic() < began + RECOVERED_SECONDS_MAX, "it has not recovered"
    return time.monotonic() - began


async def _phases(house: Mortal) -> AsyncIterator[Any]:
    async with crowd(house.port, house.key) as callers:
        await _as_many_as_fit(callers, 1.0)
        peak = await _as_many_as_fit(callers, min(SECONDS, 60.0))
        yield peak
        yield await _at_a_rate(callers, OVERLOAD * peak.goodput, SECONDS)
        yield await _until_it_is_over(callers)
        yield await _as_many_as_fit(callers, min(SECONDS, 60.0))


@pytest.mark.timeout(180 + 4 * SECONDS)
def test_five_times_the_load(house: Mortal, record_property: Callable[[str, Any], None]) -> None:
    async def collected() -> list[Any]:
        return [phase async for phase in _phases(house)]

    peak, overload, recovered_seconds, after = asyncio.run(collected())
    assert not peak.refused
    assert [*peak.other, *overload.other, *after.other] == []
    assert len(overload.refused) > overload.answered, "it was no overload"
    assert overload.goodput >= GOODPUT_MIN * peak.goodput
    p99 = sorted(overload.refused)[int(len(overload.refused) * 0.99)]
    assert p99 <= REFUSED_SECONDS_MAX
    assert not after.refused
    assert after.goodput >= GOODPUT_MIN * peak.goodput
    deadline = time.monotonic() + 20
    while read(house, open_holds):
        assert time.monotonic() < deadline, "a hold is still open"
        time.sleep(0.1)
    read(house, verified)
    record_property("requests", overload.answered + len(overload.refused))
    record_property("seconds of it", round(overload.seconds))
    record_property("goodput", f"{100 * overload.goodput / peak.goodput:.0f} % of peak")
    record_property("refused within", f"{1000 * p99:.0f} ms (p99)")
    record_property("recovered after", f"{recovered_seconds:.1f} s")
