"""`kill -9` under mixed load: nothing lost, nothing minted, nothing doubled.

`CRASH_ROUNDS` sets how often; the suite makes a slice of what `make faults` makes.
"""

import asyncio
import http.client
import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.faults.mortal import Answered, Mortal, scripted_upstream

from tollway.ledger import Ledger
from tollway.ledger.verify import Totals, verify
from tollway.settings import DatabaseUrl
from tollway.storage import Database
from tollway.storage.tables import holds, ledger_entries

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "2"))
CLIENTS = 8
READY_SECONDS_MAX = 5.0 if ROUNDS > 2 else 15.0  # in the suite other tests may be using the machine


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    with scripted_upstream() as port:
        yield port


@pytest.fixture
def house(place: Path | DatabaseUrl, tmp_path: Path, upstream: int) -> Iterator[Mortal]:
    """Two workers on either database."""
    url = {"database_url": place.reveal()} if isinstance(place, DatabaseUrl) else {}
    mortal = Mortal(tmp_path / "home", upstream, {"workers": "2", "drain_seconds": "3", **url})
    mortal.prepare()
    yield mortal
    if mortal.process is not None and mortal.process.poll() is None:
        mortal.kill()


class Load:
    """Clients that call as people do: to the end, leaving early, into failures; and remember what they were told."""

    def __init__(self, house: Mortal) -> None:
        self.told: list[Answered] = []
        self._house = house
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(70)

    def _call(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._stop.is_set():
            script: dict[str, Any] = {"pieces": chance.randrange(1, 30), "pause": chance.choice((0, 0.002, 0.01))}
            script["fail"] = chance.choice(("", "", "", "status", "break"))
            leave = chance.choice((None, None, 1, 300))
            try:
                answered = self._house.post(script, read_bytes_max=leave, stream=chance.random() < 0.7, max_tokens=100)
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)  # it was killed
            else:
                if answered.complete:
                    self.told.append(answered)


def read(house: Mortal, work: Any) -> Any:
    """`work` on the service's database, from outside."""
    url = house.settings.get("database_url")
    database = Database(DatabaseUrl(url) if url else house.home / "tollway.db")
    try:
        return asyncio.run(database.read(work))
    finally:
        database.close()


def settlements(connection: sa.Connection) -> dict[str, list[int]]:
    """What was charged for each inference id."""
    charged: dict[str, list[int]] = {}
    query = sa.select(ledger_entries.c.reference, ledger_entries.c.posted).where(ledger_entries.c.kind == "settle")
    for reference, posted in connection.execute(query):
        charged.setdefault(reference, []).append(-posted)
    return charged


def open_holds(connection: sa.Connection) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(holds)).scalar_one()


@pytest.mark.timeout(60 + 20 * ROUNDS)
def test_nothing_is_lost_minted_or_doubled_when_everything_dies(house: Mortal) -> None:
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
        read(house, verify)
        charged = read(house, settlements)
        assert all(len(amounts) == 1 for amounts in charged.values())
        for answered in told:
            assert answered.inference_id in charged, "a caller was told that all is well, and nothing was charged"
            cost = _cost_told(answered)
            assert cost is None or charged[answered.inference_id] == [cost]
    assert told
    house.stop()
    totals: Totals = read(house, verify)
    assert totals.held == 0
    assert totals.posted == 10_000_000 - totals.charged


def _cost_told(answered: Answered) -> int | None:
    cost = answered.headers.get("x-tollway-credits-used")
    return None if cost is None else int(cost)


def test_a_stream_that_was_killed_is_not_charged_and_its_hold_is_given_back(house: Mortal) -> None:
    house.start()
    before = read(house, verify)
    caller = threading.Thread(target=_call_and_be_cut, args=(house,))
    caller.start()
    deadline = time.monotonic() + 10
    while not read(house, open_holds) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert read(house, verify).held > 0
    house.kill()
    caller.join(30)
    house.start()
    after = read(house, verify)
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
    account = read(house, lambda connection: connection.execute(sa.text("SELECT account_id FROM balances")).scalar_one())
    script = {"pieces": 1, "pause": 1.0}
    dry = house.post(script, headers={"x-tollway-dry-run": "true"}, max_tokens=100, stream=True)
    bound = dry.json["credits_max"]
    _grant(house, account, bound * 20 - 1)

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
    read(house, verify)


def _grant(house: Mortal, account: str, amount: int) -> None:
    url = house.settings.get("database_url")
    database = Database(DatabaseUrl(url) if url else house.home / "tollway.db")
    try:
        asyncio.run(Ledger(database).grant(account, amount))
    finally:
        database.close()
