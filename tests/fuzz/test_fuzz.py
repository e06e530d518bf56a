"""A slice of `make fuzz`: everything that was ever found, and some cases of each target, the same every time.

With `FUZZ_SECONDS` each target has so long, and other cases every time.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.faults.run import ROOT
from tests.fuzz.run import run_target
from tests.fuzz.target import Target, World
from tests.fuzz.targets import SUITES, TARGETS

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
KEPT = [(target, why, case) for target in TARGETS for why, case in target.kept()]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("fuzz")) as world, structlog.testing.capture_logs():
        yield world


@pytest.mark.parametrize(("target", "why", "case"), KEPT, ids=[f"{target.name}: {why}" for target, why, _ in KEPT])
def test_what_was_found_stays_mended(target: Target, why: str, case: Any, world: World) -> None:
    target.check(case, world)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.timeout(600 + 10 * SECONDS)
def test_nothing_is_found(target: Target, world: World, record_property: Callable[[str, Any], None]) -> None:
    report = run_target(target, world, SECONDS, examples=target.examples)
    record_property("cases", report.cases)
    assert report.findings == {}
    assert report.cases >= target.examples // 2


def test_what_is_wrong_is_found_shrunk_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hypothesis import strategies as st

    def check(case: int, _: World) -> None:
        assert case < 1000, "too large"

    monkeypatch.setattr("tests.fuzz.target.CORPUS", tmp_path)
    target = Target("numbers", "numbers", st.integers(0, 100_000), check)
    with World(tmp_path) as nothing:
        report = run_target(target, nothing, 0.001)
    assert list(report.findings.values()) == ["1000"]
    assert [case for _, case in target.kept()] == [1000]
    with World(tmp_path) as nothing:
        assert run_target(target, nothing, 0.001).findings


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_its_tests_exist(suite: Any) -> None:
    assert all((ROOT / test).exists() for test in suite.tests)
