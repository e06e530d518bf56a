"""Processes that do the same thing at the same moment."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from typing import Any, TypeVar

T = TypeVar("T")


def race(count: int, work: Callable[..., T], *arguments: Any) -> list[T]:
    """What `work(*arguments)` returned in each of `count` processes that began together; no process may fail."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tollway.accounts", "alembic.command"])  # so that each child starts in milliseconds
    barrier, results = context.Barrier(count), context.SimpleQueue()
    processes = [context.Process(target=_run, args=(barrier, results, work, arguments)) for _ in range(count)]
    for process in processes:
        process.start()
    outcomes = [results.get() for _ in processes]
    for process in processes:
        process.join(30)
    problems = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert not problems, problems
    return outcomes


def _run(barrier: Barrier, results: "SimpleQueue[Any]", work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        barrier.wait(30)
        results.put(work(*arguments))
    except Exception as error:  # noqa: BLE001 - carried to the test
        results.put(error)
