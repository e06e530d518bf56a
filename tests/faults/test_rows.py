"""The table of promises names tests that exist, and a run of it says what was really run."""

from pathlib import Path

import pytest
from tests.faults.rows import ROWS, Row
from tests.faults.run import ROOT, Result, run_row, write_page

GOOD = """
def test_one(record_property):
    record_property("kills", 3)
    record_property("closed after", "5 ms")

def test_two(record_property):
    record_property("kills", 4)
"""
BAD = GOOD + "\ndef test_three():\n    assert False\n"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))
def test_its_tests_exist(row: Row) -> None:
    for each in row.tests:
        path, _, name = each.partition("::")
        assert (ROOT / path).exists()
        assert not name or f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")
    assert row.tests or row.missing


@pytest.mark.parametrize(("code", "verdict"), [(GOOD, "held"), (BAD, "not held")])
def test_what_was_run_is_what_is_said(code: str, verdict: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(code)
    result = run_row(Row(1, "s", "p", (str(tmp_path / "test_it.py"),)), quick=True)
    assert result.verdict == verdict
    assert result.ran == f"7 kills, closed after 5 ms, {2 if code == GOOD else 3} tests"


def test_a_page_keeps_the_rows_that_were_not_run(tmp_path: Path) -> None:
    page = tmp_path / "reliability.md"
    write_page([Result(ROWS[0], passed=1)], page)
    write_page([Result(ROWS[1], passed=1, failed=["test_x"])], page)
    lines = page.read_text().splitlines()
    assert "| held |" in next(line for line in lines if line.startswith("| 1 |"))
    assert "not held" in next(line for line in lines if line.startswith("| 2 |"))
    assert "not run yet" in next(line for line in lines if line.startswith("| 3 |"))
    assert sum(line.startswith("| ") and line[2].isdigit() for line in lines) == len(ROWS)


def test_the_tests_own_properties_reach_the_page() -> None:
    """With the suite's own settings, under which pytest is strict."""
    result = run_row(Row(1, "s", "p", ("tests/unit/test_metering.py::test_hostile_usage",)), quick=True)
    assert result.verdict == "held"
    assert result.ran.endswith(" hostile usages and prices, 1 test")
