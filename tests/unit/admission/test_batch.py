import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

import pytest
from structlog.testing import capture_logs
from tests.desks import Bench

from tollway.admission import Desk
from tollway.errors import ServiceUnavailable, StorageUnavailable
from tollway.storage import Database
from tollway.storage.database import WorkAtOnce
from tollway.usage.filing import file_all

T = TypeVar("T")


class LosesTheFirstAnswer:
    """A database whose first commit happens and is told as a failure, be it at once or in the writer's thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._has_lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def at_once(self, work: WorkAtOnce[T]) -> T:
        result = self._database.at_once(work)
        self._lose()
        return result

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Any]:
        with self._database.transaction(durable=durable) as connection:
            yield connection
        self._lose()

    def _lose(self) -> None:
        if not self._has_lost:
            self._has_lost = True
            raise StorageUnavailable(reason="the answer was lost")


@pytest.mark.parametrize(("cost", "status"), [(30, "succeeded"), (0, "failed")])
async def test_a_settlement_whose_commit_was_in_doubt_is_found_done(bench: Bench, cost: int, status: str) -> None:
    admitted = await bench.admit(100)
    bench.desk = Desk(LosesTheFirstAnswer(bench.database), "node_test")  # type: ignore[arg-type]
    settled = await bench.settle(admitted, cost, status=status)
    assert (settled.credits, settled.available, settled.posted) == (cost, 1000 - cost, 1000 - cost)
    assert await bench.balance() == (1000 - cost, 0)
    await bench.verified()


async def test_a_cut_hold_whose_commit_was_in_doubt_is_found_as_it_is(bench: Bench) -> None:
    bench.desk = Desk(LosesTheFirstAnswer(bench.database), "node_test")  # type: ignore[arg-type]
    assert (await bench.admit(5000, least=10)).hold.credits == 1000
    await bench.verified()


async def test_an_answer_that_succeeded_and_costs_nothing_is_settled(bench: Bench) -> None:
    admitted = await bench.admit(100)
    await bench.settle(admitted, 0)
    assert [entry.kind for entry in await bench.ledger.entries_of(admitted.hold.request_id)] == ["hold", "settle"]


async def test_who_ends_twice_is_in_the_log_once(bench: Bench) -> None:
    admitted = await bench.admit(100)
    await bench.settle(admitted, 30)
    with pytest.raises(ServiceUnavailable):
        await bench.settle(admitted, 30)
    with capture_logs() as logs:
        await file_all(bench.database)
    assert logs == []  # filing tells of a request that it has already
