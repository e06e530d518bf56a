"""What a running service takes: memory, descriptors, threads, disk."""

import contextlib
import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from tests.faults.mortal import descendants


class Process(Struct):
    """One process at one moment."""

    kind: str
    """"main", "worker", "engine" or "other"."""
    pss: int
    """Memory in bytes; what is shared counts in parts."""
    descriptors: int
    threads: int


class Sample(Struct):
    """Everything at one moment at which nobody calls."""

    seconds: float
    """Since the load began."""
    processes: dict[int, Process]
    database: int
    """Bytes of the database's files."""
    entries: int
    """Rows of the ledger."""
    answers: int
    """Complete answers so far."""


def processes_of(main: int) -> dict[int, Process]:
    """The service's processes by id, oldest first. One that ends just then is left out."""
    found: dict[int, Process] = {}
    for process_id in sorted({main, *descendants(main)}, key=_started):
        with contextlib.suppress(OSError):
            folder = Path(f"/proc/{process_id}")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            kind = "main" if process_id == main else "other"
            if "engine.child" in command:
                kind = "engine"
            elif process_id != main and "tollway serve" in command:
                kind = "worker"
            rollup = dict(line.split(":") for line in (folder / "smaps_rollup").read_text().splitlines()[1:])
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            pss = int(rollup["Pss"].split()[0]) * 1024
            found[process_id] = Process(kind, pss, len(list((folder / "fd").iterdir())), int(status["Threads"]))
    return found


def _started(process_id: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[19])
    return 2**63


def disk_bytes(home: Path) -> int:
    return sum(file.stat().st_size for file in home.glob("tollway.db*"))


class Verdict(Struct):
    """One promise, and whether it was held."""

    promise: str
    held: bool
    measured: str


def memory(samples: Sequence[Sample], drift_max: float) -> Verdict:
    """Of the processes that lived from the end of the warm-up to the end: medians of the first and the last third."""
    first, last, ids = _ends(samples)
    before, after = (statistics.median(sum(each.processes[i].pss for i in ids) for each in part) for part in (first, last))
    drift = after / before - 1
    kinds = ", ".join(sorted(samples[-1].processes[i].kind for i in ids))
    return Verdict(
        f"memory drifts by <= {drift_max:.0%}",
        drift <= drift_max,
        f"{before / 2**20:.1f} -> {after / 2**20:.1f} MiB ({drift:+.1%}) of {kinds}",
    )


def flat(samples: Sequence[Sample], what: str, more_max: int) -> Verdict:
    """`what` is "descriptors" or "threads"."""
    first, last, ids = _ends(samples)
    before, after = (
        statistics.median(sum(getattr(each.processes[i], what) for i in ids) for each in part) for part in (first, last)
    )
    return Verdict(f"{what} stay flat", after - before <= more_max, f"{before:.0f} -> {after:.0f}")


def _ends(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample], set[int]]:
    """The first fifth is the warm-up; of the rest the first and the last third, and the processes that are in all of it."""
    settled = samples[len(samples) // 5 :]
    third = max(1, len(settled) // 3)
    ids = set.intersection(*(set(sample.processes) for sample in settled))
    return settled[:third], settled[-third:], ids


def as_json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode()
