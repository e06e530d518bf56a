"""Three nodes with homes of their own on one PostgreSQL, while nodes and the database die and answers to COMMIT get lost.

`NODE_ROUNDS` sets how often, `FUNDS_ROUNDS` how often 1,000 requests meet funds for 100; the suite makes a slice.
"""

import asyncio
import contextlib
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.faults.load import Load
from tests.faults.mortal import PUBLIC, Answered, Mortal, house_in
from tests.faults.proxy import CuttingProxy, running_proxy
from tests.faults.reading import charges, grant, open_holds, read, verified
from tests.postgres import PostgresServer

from tollway.settings import DatabaseUrl

ROUNDS = int(os.environ.get("NODE_ROUNDS", "1"))
FUNDS_ROUNDS = int(os.environ.get("FUNDS_ROUNDS", "1"))
REQUESTS = int(os.environ.get("FUNDS_REQUESTS", "200"))
NODES = 3
SETTLED_SECONDS_MAX = 60.0


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[CuttingProxy]:
    with running_proxy(postgres.port) as proxy:
        yield proxy


@pytest.fixture
def nodes(postgres: PostgresServer, proxy: CuttingProxy, upstream: int, tmp_path: Path) -> Iterator[list[Mortal]]:
    place = DatabaseUrl(postgres.new_database().reveal().replace(f":{postgres.port}/", f":{proxy.port}/"))
    with contextlib.ExitStack() as open_houses:
        houses = [house_in(tmp_path / f"home{n}", upstream, place, first_grant_credits="1") for n in range(NODES)]
        nodes = [open_houses.enter_context(house) for house in houses]
        nodes[0].start()
        for node in nodes[1:]:
            shutil.copy(nodes[0].home / "secret.key", node.home / "secret.key")
            node.key = nodes[0].key
            node.start()
        yield nodes


def _disturb(kind: str, nodes: list[Mortal], postgres: PostgresServer, proxy: CuttingProxy, chance: random.Random) -> None:
    time.sleep(chance.uniform(0.2, 0.8))
    if kind == "node":
        node = chance.choice(nodes)
        node.kill()
        time.sleep(chance.uniform(0.0, 0.5))
        node.start()
    elif kind == "database":
        postgres.kill()
        try:
            time.sleep(chance.uniform(0.0, 1.0))
        finally:
            postgres.start()
    else:
        proxy.cut_every = chance.choice((3, 10, 30))
        time.sleep(1.5)
        proxy.cut_every = 0
    time.sleep(0.5)


@pytest.mark.timeout(180 + 60 * ROUNDS)
def test_nothing_is_lost_or_doubled_on_three_nodes(
    nodes: list[Mortal], postgres: PostgresServer, proxy: CuttingProxy, record_property: Callable[[str, Any], None]
) -> None:
    chance = random.Random(1)
    told: list[Answered] = []
    kinds = ["node", "database", "commit"]
    grant(nodes[0], 1_000_000_000)
    for number in range(ROUNDS * len(kinds)):
        with Load(*nodes, clients=6) as load:
            _disturb(kinds[number % len(kinds)], nodes, postgres, proxy, chance)
        told += load.told
        deadline = time.monotonic() + SETTLED_SECONDS_MAX
        while read(nodes[0], open_holds):
            assert time.monotonic() < deadline, "a hold is still open"
            time.sleep(0.3)
        assert read(nodes[0], verified).held == 0
        charged = read(nodes[0], charges)
        assert all(len(amounts) == 1 for amounts in charged.values())
        assert {answered.inference_id for answered in told} <= charged.keys()
    assert told
    assert proxy.cuts
    record_property("kills of a node", ROUNDS)
    record_property("kills of the database", ROUNDS)
    record_property("connections cut at COMMIT", proxy.cuts)
    record_property("complete answers compared with the ledger", len(told))


# --- 1,000 requests, funds for 100 ------------------------------------------------------------------------------------


async def _all_at_once(nodes: list[Mortal], count: int, body: dict[str, Any]) -> list[int]:
    headers = {"Authorization": f"Bearer {nodes[0].key}"}

    async def ask(session: aiohttp.ClientSession, number: int) -> int:
        url = f"http://127.0.0.1:{nodes[number % len(nodes)].port}/v1/chat/completions"
        async with session.post(url, json=body, headers=headers) as response:
            await response.read()
            return response.status

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(180)) as session:
        return await asyncio.gather(*(ask(session, number) for number in range(count)))


def _exactly_as_many_as_there_are_funds_for(nodes: list[Mortal]) -> None:
    """Each answer costs the whole of its hold, so that nothing of it comes back for another one."""
    funded = REQUESTS // 10
    usage = {"prompt_tokens": 90_000, "completion_tokens": 100, "total_tokens": 90_100}
    script = {"pieces": 1, "usage": usage}
    dry = nodes[0].post(script, headers={"x-tollway-dry-run": "true"}, max_tokens=100, stream=True)
    bound = dry.json["credits_max"]
    left = read(nodes[0], verified).posted
    grant(nodes[0], bound * funded + bound - 1 - left)

    message = {"role": "user", "content": json.dumps(script)}
    body = {"model": PUBLIC, "messages": [message], "max_tokens": 100, "stream": True}
    statuses = asyncio.run(_all_at_once(nodes, REQUESTS, body))
    assert {status: statuses.count(status) for status in set(statuses)} == {200: funded, 403: REQUESTS - funded}
    totals = read(nodes[0], verified)
    assert 0 <= totals.posted < bound
    assert totals.held == 0


@pytest.mark.timeout(120 + 60 * FUNDS_ROUNDS)
def test_three_nodes_admit_exactly_what_there_are_funds_for(
    nodes: list[Mortal], record_property: Callable[[str, Any], None]
) -> None:
    for _ in range(FUNDS_ROUNDS):
        _exactly_as_many_as_there_are_funds_for(nodes)
    record_property("requests against funds for a tenth of them, on three nodes", REQUESTS * FUNDS_ROUNDS)


@pytest.mark.timeout(120 + 60 * FUNDS_ROUNDS)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_one_node_with_two_workers_admits_exactly_what_there_are_funds_for(
    kind: str, upstream: int, tmp_path: Path, request: pytest.FixtureRequest, record_property: Callable[[str, Any], None]
) -> None:
    place = request.getfixturevalue("postgres").new_database() if kind == "postgresql" else None
    with house_in(tmp_path / "home", upstream, place, workers="2", first_grant_credits="1") as node:
        node.start()
        for _ in range(FUNDS_ROUNDS):
            _exactly_as_many_as_there_are_funds_for([node])
    record_property("requests against funds for a tenth of them, on one node with two workers", REQUESTS * FUNDS_ROUNDS)
