"""A slice of `make soak`, and that it sees what leaks. `SOAK_MINUTES` makes it a whole one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.soak.__main__ import soak
from tests.soak.watch import Process, Sample, flat, memory

MINUTES = float(os.environ.get("SOAK_MINUTES", "0.4"))
FULL = MINUTES > 10
# In half a minute everything still fills its pools; what leaks with each answer is hundreds by then.
DRIFT_MAX = 0.02 if FULL else 0.5
DESCRIPTORS_MORE_MAX = 4 if FULL else 24


@pytest.mark.timeout(600 + 120 * MINUTES)
def test_nothing_leaks_and_nothing_is_lost(tmp_path: Path, record_property: Callable[[str, Any], None]) -> None:
    report = soak(
        tmp_path,
        MINUTES,
        fault_seconds=20.0 if FULL else 5.0,
        drift_max=DRIFT_MAX,
        descriptors_more_max=DESCRIPTORS_MORE_MAX,
    )
    record_property("complete answers", report.answers)
    record_property("faults", sum(report.faults.values()))
    for verdict in report.verdicts:
        assert verdict.held, (verdict, report.unexpected[:5])
    assert report.answers > 10
    assert sum(report.faults.values()) >= 2


MIB = 2**20


def samples(grow: Callable[[int], int], descriptors: Callable[[int], int] = lambda _: 40) -> list[Sample]:
    """A main process, and a worker that is replaced by a larger one now and then, which means nothing."""
    return [
        Sample(
            seconds=float(number),
            processes={
                1: Process("main", 100 * MIB + grow(number), descriptors(number), 8),
                100 + number // 7: Process("worker", number * 50 * MIB, number * 10, number),
            },
            database=0,
            entries=0,
            answers=number,
        )
        for number in range(60)
    ]


@pytest.mark.parametrize(
    ("grow", "held"),
    [
        (lambda _: 0, True),
        (lambda number: (number % 5) * MIB, True),
        (lambda number: min(number, 10) * 5 * MIB, True),  # the warm-up
        (lambda number: number * MIB // 8, False),
    ],
)
def test_memory_that_grows_is_seen(grow: Callable[[int], int], held: bool) -> None:
    verdict = memory(samples(grow), 0.02)
    assert verdict.held is held, verdict
    assert verdict.measured.endswith(" of main")


def test_descriptors_that_grow_are_seen() -> None:
    assert flat(samples(lambda _: 0), "descriptors", 4).held
    assert flat(samples(lambda _: 0, lambda number: 40 + number % 3), "descriptors", 4).held
    assert not flat(samples(lambda _: 0, lambda number: 40 + number // 4), "descriptors", 4).held
