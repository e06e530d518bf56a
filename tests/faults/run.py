"""`make faults`: every promise of docs/reliability.md, driven with the full counts. One line a promise.

`python -m tests.faults.run [--rows 1,5] [--quick]`. A full run writes the rows that it ran into docs/reliability.md, with the
counts that were really made and the day. Variables that are set already, such as `CRASH_ROUNDS=20`, win over the full counts of
`rows.py`. `--quick` makes the slice that the test suite makes, and writes nothing.
"""

import argparse
import datetime as dt
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.rows import ROWS, Row

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
HEAD = """# What is promised under load, faults, bad input and attack

`make faults` drives every promise and writes this page: what was really run, and when. `make faults FAULTS_ARGS="--rows 1,5"`
runs some of them; the test suite (`make test`) runs a slice of each. *Held in part* says what of the promise has no test yet.

| # | what happens | what is promised | what was run | result | day |
|---|---|---|---|---|---|
"""
_LINE = re.compile(r"^\| *(\d+) \|.*$", re.MULTILINE)


@dataclass
class Result:
    row: Row
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """What the tests say that they have made, by `record_property`: numbers are added up over the tests."""
    measured: list[str] = field(default_factory=list)
    """Other properties, such as a time that was measured."""
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        if self.failed:
            return "not held"
        if not self.passed:
            return "not tested"
        return "held in part" if self.row.missing or self.skipped else "held"

    @property
    def ran(self) -> str:
        said = [f"{count:,} {what}" for what, count in self.counts.items()] + self.measured
        tests = self.passed + len(self.failed)
        return ", ".join([*said, f"{tests} test{'s' * (tests != 1)}"]) if tests else "nothing"

    @property
    def remark(self) -> str:
        remarks = [self.row.missing] if self.row.missing else []
        remarks += [f"failed: {', '.join(self.failed[:5])}"] if self.failed else []
        remarks += [f"{self.skipped} tests were skipped on that machine"] if self.skipped else []
        return "; ".join(remarks)


def run_row(row: Row, *, quick: bool) -> Result:
    """Runs the tests of one row in a process of their own."""
    result = Result(row)
    if not row.tests:
        return result
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", f"--junitxml={report}"]
        command += ["-o", "junit_family=xunit1"]  # the only one with properties
        environment = ({} if quick else row.full | {"FAULTS_FULL": "1"}) | os.environ
        arguments = ["--timeout=3600"] if not quick else []
        done = subprocess.run(
            [*command, *arguments, *row.tests], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if report.exists():
            _read(report, result)
        if done.returncode not in (0, 1):
            result.failed.append(f"pytest ended with {done.returncode}")
        if result.failed:
            print(done.stdout[-6000:], done.stderr[-2000:], file=sys.stderr)
    result.seconds = time.monotonic() - began
    return result


def _read(report: Path, result: Result) -> None:
    for case in ET.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            result.failed.append(str(case.get("name")))
        elif case.find("skipped") is not None:
            result.skipped += 1
        else:
            result.passed += 1
        for prop in case.iter("property"):
            name, value = str(prop.get("name")), str(prop.get("value"))
            if value.isdigit():
                result.counts[name] += int(value)
            else:
                result.measured.append(f"{name} {value}")


def write_page(results: list[Result], page: Path = PAGE) -> None:
    """Puts the rows that were run into the page, and leaves the others."""
    known = {int(found[1]): found[0] for found in _LINE.finditer(page.read_text(encoding="utf-8"))} if page.exists() else {}
    day = dt.datetime.now(dt.UTC).date().isoformat()
    for result in results:
        row = result.row
        verdict = f"{result.verdict}: {result.remark}" if result.remark else result.verdict
        known[row.number] = f"| {row.number} | {row.scenario} | {row.promise} | {result.ran} | {verdict} | {day} |"
    lines = [
        known.get(row.number, f"| {row.number} | {row.scenario} | {row.promise} | nothing | not run yet | |") for row in ROWS
    ]
    page.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", help="numbers, such as 1,5; without it all")
    parser.add_argument("--quick", action="store_true", help="the slice that the test suite makes; writes nothing")
    options = parser.parse_args()
    wanted = {int(number) for number in options.rows.split(",")} if options.rows else {row.number for row in ROWS}
    if unknown := wanted - {row.number for row in ROWS}:
        parser.error(f"there is no row {', '.join(map(str, sorted(unknown)))}")
    failed = False
    for row in ROWS:
        if row.number in wanted:
            result = run_row(row, quick=options.quick)
            print(f"{row.number:3} {result.verdict:13} {row.scenario}: {row.promise} [{result.ran}; {result.seconds:.0f} s]")
            if result.remark:
                print(f"{'':17} {result.remark}", flush=True)
            failed |= bool(result.failed)
            if not options.quick:
                write_page([result])
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
