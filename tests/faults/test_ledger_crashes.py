"""`kill -9` under mixed load: nothing lost, nothing minted, nothing doubled.

`CRASH_ROUNDS` sets how often; the suite makes a slice of what `make faults` makes.
"""

import http.client
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.faults.load import Load
from tests.faults.mortal import Answered, Mortal, house_in
from tests.faults.reading import charges, grant, open_holds, read, verified

from tollway.ledger.verify import Totals
from tollway.settings import DatabaseUrl
from tollway.storage.tables import ledger_entries

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "2"))
READY_SECONDS_MAX = 5.0 if ROUNDS > 2 else 15.0  # in the suite other tests may be using the machine


@pytest.fixture
def house(place: Path | DatabaseUrl, tmp_path: Path, upstream: int) -> Iterator[Mortal]:
    """Two workers on either database."""
    with house_in(tmp_path / "home", upstream, place, workers="2") as house:
        yield house


@pytest.mark.timeout(60 + 20 * ROUNDS)
def test_nothing_is_lost_minted_or_doubled_when_everything_dies(
    house: Mortal, record_property: Callable[[str, Any], None]
) -> None:
    chance = random.Random(1)
    told: list[Answered] = []
    house.start()
    for _ in range(ROUNDS):
        with Load(house) as load:
            time.sleep(chance.uniform(0.3, 1.5))
            house.kill()
        told += load.told
        seconds = house.start()

        assert read(house, open_holds) == 0, "a hold was left open although the service is ready again"
        assert seconds <= READY_SECONDS_MAX
        read(house, verified)
        charged = read(house, charges)
        assert all(len(amounts) == 1 for amounts in charged.values())
        for answered in told:
            assert answered.inference_id in charged, "a caller was told that all is well, and nothing was charged"
            cost = _cost_told(answered)
            assert cost is None or charged[answered.inference_id] == [cost]
    assert told
    record_property("kills", ROUNDS)
    record_property("complete answers compared with the ledger", len(told))
    house.stop()
    totals: Totals = read(house, verified)
    assert totals.held == 0
    assert totals.posted == 10_000_000 - totals.charged


def _cost_told(answered: Answered) -> int | None:
    cost = answered.headers.get("x-tollway-credits-used")
    return None if cost is None else int(cost)


def test_a_stream_that_was_killed_is_not_charged_and_its_hold_is_given_back(house: Mortal) -> None:
    house.start()
    before = read(house, verified)
    caller = threading.Thread(target=_call_and_be_cut, args=(house,))
    caller.start()
    deadline = time.monotonic() + 10
    while not read(house, open_holds) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert read(house, verified).held > 0
    house.kill()
    caller.join(30)
    house.start()
    after = read(house, verified)
    assert (after.posted, after.held) == (before.posted, 0)
    kinds = read(house, lambda connection: connection.execute(sa.select(ledger_entries.c.kind)).scalars().all())
    assert sorted(kinds) == ["expire", "grant", "hold"]


def _call_and_be_cut(house: Mortal) -> None:
    try:
        answered = house.post({"pieces": 1000, "pause": 0.05}, stream=True, max_tokens=1000)
    except (OSError, http.client.HTTPException):
        return
    assert not answered.complete


def test_two_workers_admit_exactly_what_there_are_funds_for(house: Mortal) -> None:
    house.settings["first_grant_credits"] = "1"
    house.start()
    script = {"pieces": 1, "pause": 1.0}
    dry = house.post(script, headers={"x-tollway-dry-run": "true"}, max_tokens=100, stream=True)
    bound = dry.json["credits_max"]
    grant(house, bound * 20 - 1)

    with ThreadPoolExecutor(60) as callers:
        calls = [callers.submit(house.post, script, max_tokens=100, stream=True) for _ in range(60)]
        answers = [call.result() for call in calls]
    statuses = [answered.status for answered in answers]
    assert (statuses.count(200), statuses.count(403)) == (20, 40)
    refused = next(answered for answered in answers if answered.status == 403)
    data = refused.json["error"]["data"]
    assert data["kind"] == "err_insufficent_credits"
    assert data["credits_needed"] == bound
    assert data["credits_available"] < bound
    read(house, verified)
