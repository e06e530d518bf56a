"""`Idempotency-Key` over HTTP with two workers: one upstream call, one charge, one answer, whatever is killed between."""

import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.server import in_a_thread
from tests.faults.mortal import Answered, Mortal, house_in
from tests.faults.reading import charges, open_holds, read, verified
from tests.faults.scripted_upstream import ScriptedOpenAI

from tollway.settings import DatabaseUrl

DUPLICATES = 50


@pytest.fixture
def upstream() -> Iterator[ScriptedOpenAI]:
    with in_a_thread(ScriptedOpenAI()) as fake:
        yield fake


@pytest.fixture
def house(place: Path | DatabaseUrl, tmp_path: Path, upstream: ScriptedOpenAI) -> Iterator[Mortal]:
    with house_in(tmp_path / "home", upstream.port, place, workers="2") as house:
        house.start()
        yield house


def _ask(house: Mortal, key: str, pieces: int = 5, pause: float = 0.1, *, stream: bool = True) -> Answered:
    return house.post({"pieces": pieces, "pause": pause}, headers={"Idempotency-Key": key}, max_tokens=100, stream=stream)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("stream", [True, False])
def test_parallel_duplicates_are_one(
    house: Mortal, upstream: ScriptedOpenAI, stream: bool, record_property: Callable[[str, Any], None]
) -> None:
    with ThreadPoolExecutor(DUPLICATES) as callers:
        answers = list(callers.map(lambda _: _ask(house, "k", pause=0.3, stream=stream), range(DUPLICATES)))
    good = [answered for answered in answers if answered.status == 200]
    in_work = [answered for answered in answers if answered.status == 409]
    assert len(good) + len(in_work) == DUPLICATES
    assert in_work
    assert all(each.json["error"]["code"] == "idempotency_key_in_use" and each.headers["retry-after"] for each in in_work)
    made = [answered for answered in good if "x-tollway-idempotent-replayed" not in answered.headers]
    assert len(made) == upstream.asked == 1
    for _ in range(4):  # both workers
        again = _ask(house, "k", pause=0.3, stream=stream)
        assert again.headers["x-tollway-idempotent-replayed"] == "true"
        assert (again.body, again.inference_id) == (made[0].body, made[0].inference_id)
    other = _ask(house, "k", pieces=6, stream=stream)
    assert (other.status, other.json["error"]["code"]) == (422, "idempotency_key_reused")
    assert upstream.asked == 1
    assert read(house, charges) == {made[0].inference_id: [210]}
    read(house, verified)
    record_property("parallel duplicates", DUPLICATES)


@pytest.mark.timeout(120)
def test_killed_before_the_answer_it_is_made_anew_and_killed_after_it_is_replayed(
    house: Mortal, upstream: ScriptedOpenAI, record_property: Callable[[str, Any], None]
) -> None:
    def cut() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            assert not _ask(house, "k", pieces=40).complete

    caller = threading.Thread(target=cut)
    caller.start()
    deadline = time.monotonic() + 10
    while not upstream.asked:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    house.kill()
    caller.join(30)
    house.start()
    assert read(house, charges) == {}
    made = _ask(house, "k", pieces=40, pause=0.1)
    assert made.complete
    assert "x-tollway-idempotent-replayed" not in made.headers
    house.kill()
    house.start()
    again = _ask(house, "k", pieces=40, pause=0.1)
    assert again.body == made.body
    assert again.headers["x-tollway-idempotent-replayed"] == "true"
    assert upstream.asked == 2
    assert read(house, charges) == {made.inference_id: [280]}
    assert read(house, open_holds) == 0
    read(house, verified)
    record_property("kills between duplicates", 2)
