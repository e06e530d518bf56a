"""`make fuzz`: cases at random for everything that reads what strangers send. One line a target.

`python -m tests.fuzz.run [--minutes 30] [--only NAME]`. The time is shared out evenly; what is in work comes to its end. Each
target begins with the cases in `corpus/`. What is found is shrunk, shown, and kept there, so that the test suite makes it from
then on; the exit status is 1.
"""

import argparse
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Flaky
from tests.fuzz.target import NotStarted, Suite, Target, World
from tests.fuzz.targets import SUITES, TARGETS

ROOT = Path(__file__).parents[2]
ROUND = 200
"""Cases between two looks at the clock."""


@dataclass
class Report:
    """What was done for one target."""

    cases: int = 0
    findings: dict[str, str] = field(default_factory=dict)
    """What was wrong -> the case, or the end of pytest's report."""
    seconds: float = 0.0


def run_target(target: Target, world: World, seconds: float, *, examples: int = ROUND) -> Report:
    """The corpus, and then cases at random until the time is up. With `seconds` = 0 one round, which is always the same."""
    report = Report()
    began = time.monotonic()
    for _why, case in target.kept():
        _make(target, world, case, report)
    while True:
        _round(target, world, examples, report, derandomize=not seconds)
        report.seconds = time.monotonic() - began
        if report.seconds >= seconds:
            return report


def _make(target: Target, world: World, case: Any, report: Report) -> None:
    report.cases += 1
    try:
        target.check(case, world)
    except NotStarted:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        report.findings.setdefault(_signature(error), repr(case))


def _round(target: Target, world: World, examples: int, report: Report, *, derandomize: bool) -> None:
    failed: list[tuple[str, Any]] = []
    """What was seen last: Hypothesis shrinks, so that it is the smallest."""

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=derandomize, suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False, phases=[Phase.generate, Phase.target, Phase.shrink],
    )  # fmt: skip
    @given(target.cases)
    def make(case: Any) -> None:
        report.cases += 1
        try:
            target.check(case, world)
        except NotStarted:
            raise
        except Exception as error:
            why = _signature(error)
            if why not in report.findings:  # what is known is passed over, or nothing else would be found
                failed[:] = [(why, case)]
                raise

    try:
        make()
    except Exception as error:
        if not failed:
            raise
        why, case = failed[0]
        flaky = isinstance(error, Flaky)
        report.findings[f"{why} (not every time)" if flaky else why] = repr(case)
        if not derandomize and not flaky:
            target.keep(f"found: {why}"[:200], case)


def _signature(error: BaseException) -> str:
    """What went wrong, and where: the same for all cases of one cause."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "hypothesis" not in frame.filename]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {place}: {re.sub(r'[0-9]+', '#', str(error))[:120]}"


def run_suite(suite: Suite, seconds: float) -> Report:
    """Runs its tests again and again until the time is up, or one fails."""
    report = Report()
    began = time.monotonic()
    while True:
        with tempfile.TemporaryDirectory() as folder:
            xml = Path(folder) / "report.xml"
            command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", f"--junitxml={xml}"]
            command += ["-o", "junit_family=xunit1", "--timeout=3600", *suite.tests]
            environment = os.environ | suite.environment
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            for case in ET.parse(xml).iter("testcase") if xml.exists() else ():
                counted = [int(str(p.get("value"))) for p in case.iter("property") if p.get("name") == suite.counts]
                report.cases += sum(counted) if suite.counts else 1
                if case.find("failure") is not None or case.find("error") is not None:
                    report.findings[str(case.get("name"))] = done.stdout[-6000:]
            if done.returncode not in (0, 1):
                report.findings[f"pytest ended with {done.returncode}"] = (done.stdout + done.stderr)[-6000:]
        report.seconds = time.monotonic() - began
        if report.findings or report.seconds >= seconds:
            return report


def main() -> int:
    every: tuple[Target | Suite, ...] = (*TARGETS, *SUITES)
    names = [each.name for each in every]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="for all together; default 30")
    parser.add_argument("--only", action="append", choices=names, help="this target alone; may be repeated")
    options = parser.parse_args()
    wanted = set(options.only or names)
    seconds = options.minutes * 60 / len(wanted)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    found = 0
    with tempfile.TemporaryDirectory() as folder, World(Path(folder)) as world:
        for each in every:
            if each.name not in wanted:
                continue
            report = run_target(each, world, seconds) if isinstance(each, Target) else run_suite(each, seconds)
            found += len(report.findings)
            counts = f"{report.cases:9,} cases {len(report.findings):3} findings {report.seconds:6.0f} s"
            print(f"{each.name:14} {counts}  {each.what}", flush=True)
            for why, case in report.findings.items():
                print(f"    {why}\n      {case}", flush=True)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
