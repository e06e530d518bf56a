"""`make soak`: mixed load and faults for a chosen time, and whether anything leaks or is lost.

`python -m tests.soak [--minutes 120] [--json] [--keep FOLDER]`. Two workers and two tiny models; callers of several accounts
who stream, leave, fail, force tools and schemas, and make and revoke keys; an upstream that refuses and breaks off. Meanwhile
one engine and one worker are killed again and again, and the configuration is reloaded; the other engine, the other worker and
the main process live through it, and their memory is compared. The exit status is 1 when a promise was not held.
"""

import argparse
import contextlib
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct
from tests.faults.mortal import Mortal, scripted_upstream
from tests.faults.reading import charges, open_holds, read, verified
from tests.soak.load import Load, People
from tests.soak.watch import Process, Sample, Verdict, as_json, disk_bytes, flat, memory, processes_of
from tests.tiny_gguf import write_tiny_model

from tollway.engine import ModelStore
from tollway.engine.fetch import pull
from tollway.ledger.verify import Wrong

SAMPLES_MAX = 240
RESOLVED_SECONDS_MAX = 90.0
"""Holds of a worker that was killed are given back within this."""


class Report(Struct):
    """What a run has to say."""

    minutes: float
    machine: str
    answers: int
    actions: dict[str, int]
    excused: dict[str, int]
    """Requests that failed while something had just been killed."""
    faults: dict[str, int]
    unexpected: list[str]
    verdicts: list[Verdict]
    samples: list[Sample]


def soak(
    folder: Path,
    minutes: float,
    *,
    fault_seconds: float = 20.0,
    drift_max: float = 0.02,
    descriptors_more_max: int = 4,
    say: Callable[[str], None] = print,
) -> Report:
    """Runs it in an empty folder."""
    with service(folder) as (house, people):
        load = Load(house, people)
        faults = Faults(house, load)
        samples: list[Sample] = []
        books: list[str] = []
        said = 0
        began = time.monotonic()
        end = began + minutes * 60
        pace = max(2.0, minutes * 60 / SAMPLES_MAX)
        next_sample, next_fault = began + pace, began + fault_seconds
        with load:
            while time.monotonic() < end:
                time.sleep(min(0.5, fault_seconds / 4))
                if time.monotonic() >= next_fault:
                    faults.make()
                    next_fault = time.monotonic() + fault_seconds
                if time.monotonic() >= next_sample:
                    with load.paused():
                        samples.append(_sample(house, load, began, books))
                    say(_line(samples[-1], load, faults))
                    for line in load.unexpected[said:]:
                        say(f"           {line}")
                    said = len(load.unexpected)
                    next_sample = time.monotonic() + pace
        verdicts = [
            memory(samples, drift_max),
            flat(samples, "descriptors", descriptors_more_max),
            flat(samples, "threads", descriptors_more_max // 2),
        ]
        verdicts += _books(house, load, books)
        return Report(
            minutes, f"{os.cpu_count()} cores, Python {platform.python_version()}", len(load.told), dict(load.done),
            dict(load.excused), faults.made, load.unexpected, verdicts, samples,
        )  # fmt: skip


@contextlib.contextmanager
def service(folder: Path) -> Iterator[tuple[Mortal, People]]:
    """A running service, and callers of four accounts."""
    store = ModelStore(folder / "models")
    for name in ("tiny", "spare"):
        pull(str(write_tiny_model(folder / f"{name}.gguf", name=name.title(), context_tokens=4096)), store)
    given = {"models_dir": str(store.path), "local_models": "all", "default_model": "tiny", "engine_slots": "4"}
    given |= {"engine_threads": "1", "workers": "2", "log_format": "json"}
    with scripted_upstream() as port:
        house = Mortal(folder / "home", port, given)
        house.prepare()
        try:
            house.start()
            rich = [house.key]
            for name in ("second", "third", "poor"):
                house.cli("accounts", "create", name)
                if name != "poor":
                    house.cli("credits", "grant", "1000USD", "--account", name)
                rich.append(house.cli("keys", "create", "--account", name, "--quiet").strip())
            house.cli("credits", "grant", "1000USD")
            yield house, People(rich[:3], rich[3], house.cli("keys", "create", "--management", "--quiet").strip())
        finally:
            house.stop()


class Faults:
    """Kills the younger engine, kills the younger worker, reloads the configuration; and again."""

    def __init__(self, house: Mortal, load: Load) -> None:
        assert house.process is not None
        self.made = {"engine killed": 0, "worker killed": 0, "configuration reloaded": 0}
        self._house, self._load, self._main = house, load, house.process.pid
        self._kept = {kind: self._of(kind)[0] for kind in ("engine", "worker")}
        self._toml = (house.home / "tollway.toml").read_text(encoding="utf-8")

    def make(self) -> None:
        what = min(self.made, key=lambda name: self.made[name])
        if what == "configuration reloaded":
            extra = (
                f"\n[[models]]\nid = 'house/extra-{self.made[what] % 2}'\nroutes = [{{ upstream = 'local', model = 'tiny' }}]\n"
            )
            (self._house.home / "tollway.toml").write_text(self._toml + extra, encoding="utf-8")
            os.kill(self._main, signal.SIGHUP)
        else:
            young = [each for each in self._of(what.split()[0]) if each not in self._kept.values()]
            if not young:
                return  # it is not back yet
            self._load.last_fault = time.monotonic() + 1.0  # also for what is called while it dies
            os.kill(young[-1], signal.SIGKILL)
            self._load.last_fault = time.monotonic()
        self.made[what] += 1

    def _of(self, kind: str) -> list[int]:
        return [process_id for process_id, each in processes_of(self._main).items() if each.kind == kind]


def _sample(house: Mortal, load: Load, began: float, books: list[str]) -> Sample:
    assert house.process is not None
    time.sleep(0.5)  # what callers left behind is put away
    entries = 0
    try:
        entries = read(house, verified).entries
    except Wrong as wrong:
        books.append(str(wrong))
    processes: dict[int, Process] = processes_of(house.process.pid)
    return Sample(time.monotonic() - began, processes, disk_bytes(house.home), entries, len(load.told))


def _line(sample: Sample, load: Load, faults: Faults) -> str:
    memory_mib = sum(each.pss for each in sample.processes.values()) / 2**20
    descriptors = sum(each.descriptors for each in sample.processes.values())
    return "  ".join(
        [
            f"{sample.seconds / 60:6.1f} min",
            f"{memory_mib:7.1f} MiB",
            f"{descriptors:4} descriptors",
            f"{sample.database / 2**20:7.1f} MiB on disk",
            f"{sample.entries:8,} entries",
            f"{load.done.total():8,} actions",
            f"{sum(faults.made.values()):4} faults",
            f"{len(load.unexpected)} unexpected",
        ]
    )


def _books(house: Mortal, load: Load, books: list[str]) -> list[Verdict]:
    """Whether every credit is where it belongs, and nothing was lost."""
    deadline = time.monotonic() + RESOLVED_SECONDS_MAX
    while (left := read(house, open_holds)) and time.monotonic() < deadline:
        time.sleep(1)
    try:
        totals: Any = read(house, verified)
        balance = f"{totals.entries:,} entries, {totals.charged:,} credits charged"
    except Wrong as wrong:
        books.append(str(wrong))
        balance = ""
    charged = read(house, charges)
    wrong_charges = [
        name for name, cost in load.told.items() if len(charged.get(name, ())) != 1 or cost not in (None, *charged[name])
    ]
    twice = sum(len(amounts) != 1 for amounts in charged.values())
    return [
        Verdict("the books balance", not books, "; ".join(books) or balance),
        Verdict("no hold is left open", not left, f"{left} open"),
        Verdict(
            "every complete answer has exactly one charge, of what was told",
            not wrong_charges and not twice,
            f"{len(load.told):,} answers, {len(wrong_charges) + twice} wrong",
        ),
        Verdict(
            "no request is lost",
            not load.unexpected,
            f"{load.done.total():,} as expected, {load.excused.total():,} cut by a fault, {len(load.unexpected)} not",
        ),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--json", action="store_true", help="print everything as JSON, samples included")
    parser.add_argument("--keep", type=Path, help="an empty folder for database and log, which stays")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        report = soak(folder, options.minutes, say=lambda line: print(line, file=sys.stderr, flush=True))
    if options.json:
        print(as_json(report))
    else:
        print(f"{report.minutes:g} minutes on {report.machine}: {report.answers:,} complete answers, {report.faults}")
        for verdict in report.verdicts:
            print(f"{'held' if verdict.held else 'NOT HELD':8} {verdict.promise}: {verdict.measured}")
        for line in report.unexpected[:20]:
            print(f"    {line}")
    return int(not all(verdict.held for verdict in report.verdicts))


if __name__ == "__main__":
    sys.exit(main())
