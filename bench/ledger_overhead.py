"""What exact money costs: the same load through Tollway with durable billing and without, in one run.

    python -m bench.ledger_overhead [--seconds 5] [--rounds 3] [--connections 16]

One worker on one core; the static upstream and the load (`wrk`, from your system's packages) on the other. The installations
run at the same time and are asked in turn, so that drift of the machine hits all alike. Reported: the median of each figure
over the rounds, the processor time of the gateway for each request, and the ratio of requests per second (with / without); and
what a sync of the disk takes, which each settlement waits for. A third installation is billed, and its key has limits on
requests, tokens and concurrency, which are counted where credits are.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.gateways import Figures, Results, medians
from bench.measuring import disk_sync, load, on, processor_seconds
from bench.services import Running, of_tollway, running
from tests.live import free_port

CORES = sorted(os.sched_getaffinity(0))
GATEWAY_CORE, LOAD_CORE = CORES[0], CORES[-1]
ANSWER_TOKENS = 64
READY_SECONDS_MAX = 60.0


@contextlib.contextmanager
def static_upstream(chunks: int = 1) -> Iterator[int]:
    """The port of one that runs on the load's core."""
    command = [sys.executable, "-m", "bench.static_upstream", "--chunks-max", str(chunks)]
    process = subprocess.Popen(on([LOAD_CORE], command), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def gateway(folder: Path, upstream_port: int, *, limits: bool = False, **settings: str) -> Iterator[Running]:
    """A Tollway with one worker on one core, ready."""
    folder.mkdir()
    with running(of_tollway(limits=limits, **settings)(folder, free_port(), upstream_port), [GATEWAY_CORE]) as started:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while "is ready" not in (log := started.log.read_text(errors="replace")):
            assert started.process.poll() is None, log[-2000:]
            assert time.monotonic() < deadline, log[-2000:]
            time.sleep(0.1)
        yield started


async def measured(started: Running, connections: int, seconds: float, *, stream: bool = False) -> Figures:
    """`cpu_us` is the processor time of all its processes for each request; it hardly depends on what else the machine does."""
    place, before = started.place, processor_seconds(started.process_id) or 0.0
    body = place.body(ANSWER_TOKENS, stream=stream)
    found = await load(place.url, body, place.headers, connections, seconds, [LOAD_CORE])
    used = (processor_seconds(started.process_id) or 0.0) - before
    return {
        "requests_per_second": found.requests_per_second,
        "p50_ms": found.p50_ms,
        "p99_ms": found.p99_ms,
        "cpu_us": used / max(1, found.requests) * 1e6,
        "errors": found.errors,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    results: Results = {"ratio": {}}
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed for the load: apt-get install wrk")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        results["disk"] = {"a sync of 32 kB": disk_sync(folder)}
        print("the disk: " + "  ".join(f"{name} {value:.2f}" for name, value in results["disk"]["a sync of 32 kB"].items()))
        upstream = stack.enter_context(static_upstream())
        places = {
            "durable billing": stack.enter_context(gateway(folder / "billed", upstream)),
            "and limits": stack.enter_context(gateway(folder / "limited", upstream, limits=True)),
            "billing off": stack.enter_context(gateway(folder / "free", upstream, billing="false")),
        }
        for connections in arguments.connections:
            seen: dict[str, list[Figures]] = {name: [] for name in places}
            for _ in range(arguments.rounds):
                for name, place in places.items():
                    found = asyncio.run(measured(place, connections, arguments.seconds, stream=arguments.stream))
                    seen[name].append(found)
            case = {name: medians(samples) for name, samples in seen.items()}
            print(f"{connections} connections")
            for name, figures in case.items():
                told = "   ".join(f"{column.replace('_', ' ')} {value:,.2f}" for column, value in figures.items())
                print(f"  {name:16} {told}")
            pace = {name: figures["requests_per_second"] for name, figures in case.items()}
            ratios = {name: pace[name] / pace["billing off"] for name in ("durable billing", "and limits")}
            told = "   ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
            print(f"  {'ratio':16} {told}", flush=True)
            results[f"c{connections}"] = case
            results["ratio"][f"c{connections}"] = ratios
    if arguments.json:
        arguments.json.write_text(json.dumps({"results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
