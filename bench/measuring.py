"""What the benchmarks have in common: processor time and memory of processes, the machine, and load by `wrk`."""

import asyncio
import contextlib
import os
import platform
import re
import resource
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.mortal import descendants

_RESULT = re.compile(r"^RESULT (\S+) (\S+) (\S+) (\d+) (\d+)$", re.MULTILINE)
_TELL_RESULT = """
done = function(summary, latency)
  local errors = summary.errors
  local failed = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("RESULT %f %f %f %d %d\\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, failed, summary.requests))
end
"""


@dataclass
class Load:
    """What `wrk` has measured."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    requests: int


def on(cores: Iterable[int], command: Sequence[str]) -> list[str]:
    """The command, bound to these cores."""
    return ["taskset", "-c", ",".join(map(str, cores)), *command]


def processor_seconds(process_id: int) -> float | None:
    """What a process and everything below it have used so far; None where the system does not say."""
    if not Path("/proc/self/stat").exists():
        return None
    ticks = 0
    for each in (process_id, *descendants(process_id)):
        with contextlib.suppress(OSError):  # it has just ended
            fields = Path(f"/proc/{each}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mib(process_id: int) -> float:
    """Of a process and everything below it, as the proportional set size: what they share is counted once."""
    kib = 0
    for each in (process_id, *descendants(process_id)):
        with contextlib.suppress(OSError):
            found = re.search(r"^Pss:\s+(\d+) kB$", Path(f"/proc/{each}/smaps_rollup").read_text(), re.MULTILINE)
            kib += int(found[1]) if found else 0
    return kib / 1024


def machine() -> dict[str, str]:
    """What a reader must know to judge figures."""
    cpu = re.search(r"^model name\s*: (.*)$", _read("/proc/cpuinfo"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", _read("/proc/meminfo"))
    system = re.search(r'^PRETTY_NAME="(.*)"$', _read("/etc/os-release"), re.MULTILINE)
    return {
        "processor": f"{cpu[1] if cpu else platform.processor()}, {platform.machine()}",
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "system": f"{system[1] if system else platform.system()}, kernel {platform.release()}",
        "Python": platform.python_version(),
    }


def disk_sync(folder: Path, times: int = 300) -> dict[str, float]:
    """What it takes until the disk of a folder has 32 kB: no answer that waits for its settlement can be faster."""
    pages, places = os.urandom(32 * 1024), 30
    sync = getattr(os, "fdatasync", os.fsync)
    seconds: list[float] = []
    handle = os.open(folder / "sync", os.O_CREAT | os.O_RDWR)
    try:
        os.pwrite(handle, pages * places, 0)  # written over below, as SQLite does with its log
        os.fsync(handle)
        processor = time.process_time()
        for number in range(times):
            began = time.perf_counter()
            os.pwrite(handle, pages, number % places * len(pages))
            sync(handle)
            seconds.append(time.perf_counter() - began)
        processor = time.process_time() - processor
    finally:
        os.close(handle)
    seconds.sort()
    p50, p99 = seconds[times // 2], seconds[times * 99 // 100]
    return {"p50_ms": p50 * 1000, "p99_ms": p99 * 1000, "cpu_us": processor / times * 1e6}


def _machine_seconds() -> float:
    """Processor time that all processes have used; 0 where the system does not say."""
    fields = _read("/proc/stat").partition("\n")[0].split()[1:]
    return sum(int(ticks) for number, ticks in enumerate(fields[:8]) if number not in (3, 4)) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8") if Path(path).exists() else ""


@dataclass
class Disturbance:
    """How much of the machine was used by others since this was made. Ask when all child processes have ended."""

    _began: float = field(default_factory=time.monotonic)
    _all: float = field(default_factory=_machine_seconds)
    _own: float = field(default_factory=_own_seconds)

    @property
    def share(self) -> float:
        """Of all cores together, 0 to 1. Other figures of a run with more than about 0.05 are no good, save processor times."""
        others = (_machine_seconds() - self._all) - (_own_seconds() - self._own)
        return max(0.0, others / ((time.monotonic() - self._began) * (os.cpu_count() or 1)))


async def load(url: str, body: str, headers: Mapping[str, str], connections: int, seconds: float, cores: Iterable[int]) -> Load:
    """POSTs as fast as the answers come."""
    script = [f"wrk.method = 'POST'\nwrk.body = [==[{body}]==]\nwrk.headers['Content-Type'] = 'application/json'"]
    script += [f"wrk.headers['{name}'] = '{value}'" for name, value in headers.items()]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write("\n".join([*script, _TELL_RESULT]))
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", file.name, url]
        process = await asyncio.create_subprocess_exec(
            *on(cores, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
    return parsed(output.decode())


def parsed(output: str) -> Load:
    """Raises ValueError, with the output, when `wrk` has not told a result."""
    found = _RESULT.search(output)
    if not found:
        raise ValueError(f"wrk has told no result:\n{output}")
    return Load(float(found[1]), float(found[2]), float(found[3]), int(found[4]), int(found[5]))
