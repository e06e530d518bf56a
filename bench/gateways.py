"""Tollway against other gateways: the same load through each and straight to the upstream, in one run.

    python -m bench.gateways [--quick] [--json FILE] [--only tollway nginx]

One core for the gateway, another for the load and the upstream. The gateways run at the same time and are asked in turn, round
by round, so that drift of the machine hits all alike; reported is the median over the rounds. The first run installs the other
gateways, which takes minutes. What is measured and how to read it: bench/README.md.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import aiohttp
import uvloop
from bench.measuring import Disturbance, load, memory_mib, processor_seconds
from bench.peers.install import NotInstalledError
from bench.services import GATEWAYS, START_SECONDS_MAX, TOLLWAY, TOLLWAY_TWO, Gateway, Running, Setup, running
from bench.static_upstream import StaticUpstream
from bench.stream_load import Place, StreamError, readers
from tests.live import free_port

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
GATEWAY_CORES, LOAD_CORES = CORES[:1], CORES[-1:]
ANSWER_TOKENS = 64
IDLE_STREAMS = 1000
DIRECT = "no gateway"
ONE_WORKER, TWO_WORKERS = "1 worker", "2 workers"

Figures = dict[str, float]
Results = dict[str, dict[str, Figures]]
"""By what was measured, then by gateway."""


class StartError(Exception):
    """A gateway did not answer; the message has the end of its log."""


class Bench:
    """One run: what is measured, and what has been found so far."""

    def __init__(self, upstream: StaticUpstream, upstream_port: int, folder: Path, rounds: int, seconds: int) -> None:
        self.upstream, self.upstream_port, self.folder = upstream, upstream_port, folder
        self.rounds, self.seconds = rounds, seconds
        self.failures: dict[str, str] = {}
        """By gateway: why it, or a part of it, was not measured."""
        self._samples: defaultdict[tuple[str, str], list[Figures]] = defaultdict(list)
        self._cases: dict[str, Callable[[Place, int | None], Awaitable[Figures]]] = {
            "c1": lambda place, process_id: self._answers(place, process_id, 1),
            "c16": lambda place, process_id: self._answers(place, process_id, 16),
            "c64": lambda place, process_id: self._answers(place, process_id, 64),
            "stream_c1": lambda place, process_id: self._streams(place, process_id, 1, stepwise=True),
            "stream_c16": lambda place, process_id: self._streams(place, process_id, 16, stepwise=True),
            "burst_c16": lambda place, process_id: self._streams(place, process_id, 16, stepwise=False),
        }

    @property
    def results(self) -> Results:
        """The median of each figure; of errors the sum."""
        found: Results = {}
        for (case, name), samples in self._samples.items():
            found.setdefault(case, {})[name] = medians(samples)
        return found

    def prepare(self, gateways: Sequence[Gateway]) -> dict[str, Setup]:
        """Installs what is missing."""
        setups = {}
        for gateway in gateways:
            say(f"{gateway.name}: preparing")
            folder = self.folder / gateway.name.replace(" ", "-")
            folder.mkdir()
            try:
                setups[gateway.name] = gateway.prepare(folder, free_port(), self.upstream_port)
            except NotInstalledError as error:
                self._failed(gateway.name, f"not installed: {error}")
        return setups

    async def footprint(self, name: str, setup: Setup) -> None:
        """Start-up and memory, of a gateway that runs alone and has done nothing before."""
        async with self._started(setup, GATEWAY_CORES) as (gateway, start_seconds):
            await asyncio.sleep(1)
            before = memory_mib(gateway.process_id)
            self._found("footprint", name, {"start_seconds": start_seconds, "memory_mib": before})
            async with readers(setup.place, self.upstream, IDLE_STREAMS, "[idle]"):
                await asyncio.sleep(1)
                held = memory_mib(gateway.process_id)
            self._found("footprint", name, {f"mib_for_{IDLE_STREAMS}_idle_streams": held - before})

    async def compare(self, setups: dict[str, Setup]) -> None:
        """The rounds."""
        places: dict[str, tuple[Place, int | None]] = {DIRECT: (Place(self.upstream_port), None)}
        async with contextlib.AsyncExitStack() as stack:
            for name, setup in setups.items():
                with self.telling(name):
                    gateway, start_seconds = await stack.enter_async_context(self._started(setup, GATEWAY_CORES))
                    self._found("footprint", name, {"start_seconds": start_seconds})
                    places[name] = setup.place, gateway.process_id
            for name, (place, _) in places.items():
                with self.telling(name):
                    await load(place.url, place.body(ANSWER_TOKENS), place.headers, 16, 1, LOAD_CORES)  # warm
            for number in range(self.rounds):
                say(f"round {number + 1} of {self.rounds}")
                for case, measure in self._cases.items():
                    for name in list(places) if number % 2 == 0 else reversed(places):
                        with self.telling(name):
                            self._found(case, name, await measure(*places[name]))

    async def two_workers(self, one: Setup, two: Setup) -> None:
        """Two workers on two cores against one on one, in turn. Where there are but two cores the load shares them."""
        cores = CORES[:2]
        async with (
            self._started(one, GATEWAY_CORES) as (first, _),
            self._started(two, cores) as (second, _),
        ):
            for _ in range(self.rounds + 1):
                for name, gateway, load_cores in ((ONE_WORKER, first, LOAD_CORES), (TWO_WORKERS, second, CORES[2:] or cores)):
                    os.sched_setaffinity(0, load_cores)
                    figures = await self._answers(gateway.place, gateway.process_id, 64, load_cores)
                    self._found("workers", name, figures)
            os.sched_setaffinity(0, LOAD_CORES)

    async def _answers(
        self, place: Place, process_id: int | None, connections: int, cores: Sequence[int] = LOAD_CORES
    ) -> Figures:
        before, began = _used(process_id), time.monotonic()
        asked = place.url, place.body(ANSWER_TOKENS), place.headers, connections
        found = await load(*asked, self.seconds, cores)
        if found.requests < 2 * connections:  # too slow for so short a time
            before, began = _used(process_id), time.monotonic()
            found = await load(*asked, 5 * self.seconds, cores)
        if not found.requests:
            raise StreamError(f"{place.url}: no answer has come for {5 * self.seconds} seconds")
        figures = {"requests_per_second": found.requests_per_second, "p50_ms": found.p50_ms, "p99_ms": found.p99_ms}
        used = _used(process_id) - before
        return figures | _cost("request", process_id, used, found.requests, time.monotonic() - began) | {"errors": found.errors}

    async def _streams(self, place: Place, process_id: int | None, connections: int, *, stepwise: bool) -> Figures:
        async with readers(place, self.upstream, connections, stepwise=stepwise) as opened:
            await asyncio.sleep(0.2)
            before, began, words = _used(process_id), time.monotonic(), sum(reader.words for reader in opened)
            await asyncio.sleep(self.seconds)
            took, used = time.monotonic() - began, _used(process_id) - before
            words = sum(reader.words for reader in opened) - words
            firsts = [seconds for reader in opened for seconds in reader.first_seconds]
        if not words:
            raise StreamError(f"{place.url}: no word has come for {self.seconds} seconds")
        figures = {"chunks_per_second": words / took, "first_chunk_p50_ms": statistics.median(firsts) * 1000}
        return figures | _cost("chunk", process_id, used, words, took)

    @contextlib.asynccontextmanager
    async def _started(self, setup: Setup, cores: Sequence[int]) -> AsyncIterator[tuple[Running, float]]:
        """(the gateway, seconds until it answered a chat completion)."""
        began = time.monotonic()
        with running(setup, cores) as gateway:
            async with aiohttp.ClientSession() as session:
                while not await _answers(session, setup.place):
                    if gateway.process.poll() is not None or time.monotonic() - began > START_SECONDS_MAX:
                        raise StartError(f"it did not start:\n{gateway.log.read_text(errors='replace')[-2000:]}")
                    await asyncio.sleep(0.01)
            yield gateway, time.monotonic() - began

    def _found(self, case: str, name: str, figures: Figures) -> None:
        self._samples[case, name].append(figures)
        told = "   ".join(f"{column.replace('_', ' ')} {value:,.2f}" for column, value in figures.items())
        say(f"  {case:10} {name:22} {told}")

    @contextlib.contextmanager
    def telling(self, name: str) -> Iterator[None]:
        """What goes wrong with one gateway is told in the report, and keeps no other from being measured."""
        try:
            yield
        except (StartError, StreamError, TimeoutError, OSError, ValueError) as error:
            self._failed(name, str(error) or type(error).__name__)

    def _failed(self, name: str, why: str) -> None:
        self.failures[name] = why
        say(f"  !! {name}: {why}")


def medians(samples: Sequence[Figures]) -> Figures:
    """Of each figure over the samples that have it; of errors the sum."""
    columns = dict.fromkeys(column for sample in samples for column in sample)
    values = {column: [sample[column] for sample in samples if column in sample] for column in columns}
    return {column: sum(each) if column == "errors" else statistics.median(each) for column, each in values.items()}


async def _answers(session: aiohttp.ClientSession, place: Place) -> bool:
    headers = {**place.headers, "Content-Type": "application/json"}
    with contextlib.suppress(aiohttp.ClientError):
        async with session.post(place.url, data=place.body(ANSWER_TOKENS), headers=headers) as response:
            return response.status == 200
    return False


def _used(process_id: int | None) -> float:
    return processor_seconds(process_id) or 0.0 if process_id else 0.0


def _cost(unit: str, process_id: int | None, used: float, count: int, took: float) -> Figures:
    """Processor time of the gateway; `cores_busy` shows whether it was what limited the figure."""
    return {f"cpu_us_per_{unit}": used / count * 1e6, "cores_busy": used / took} if process_id and count else {}


def compared(results: Results) -> Results:
    """What is told of Tollway in relation to each other gateway, and what it adds to the upstream's own time."""
    ratios: Results = {}
    for case, column, title in (
        ("c16", "requests_per_second", "requests_per_second"),
        ("stream_c16", "chunks_per_second", "chunks_per_second"),
        ("burst_c16", "chunks_per_second", "chunks_in_bursts_per_second"),
    ):
        rows = results.get(case, {})
        for name, row in rows.items():
            if TOLLWAY.name in rows and name not in (TOLLWAY.name, DIRECT):
                ratios.setdefault("ratios", {}).setdefault(name, {})[title] = rows[TOLLWAY.name][column] / row[column]
    for name, row in results.get("c16", {}).items():
        if name in ratios.get("ratios", {}) and row.get("cpu_us_per_request"):
            cost = row["cpu_us_per_request"] / results["c16"][TOLLWAY.name]["cpu_us_per_request"]
            ratios["ratios"][name]["requests_per_processor_second"] = cost
    for case in ("c1", "c16", "c64"):
        rows = results.get(case, {})
        for name, row in rows.items():
            if name != DIRECT and DIRECT in rows:
                added = row["p50_ms"] - rows[DIRECT]["p50_ms"]
                ratios.setdefault("added", {}).setdefault(name, {})[f"added_p50_ms_{case}"] = added
    if len(workers := results.get("workers", {})) == 2:
        one, two = workers[ONE_WORKER], workers[TWO_WORKERS]
        ratios["scaling"] = {
            f"{TWO_WORKERS} / {ONE_WORKER}": {
                "requests_per_second": two["requests_per_second"] / one["requests_per_second"],
                "requests_per_processor_second_times_2": 2 * one["cpu_us_per_request"] / two["cpu_us_per_request"],
            }
        }
    return ratios


def say(text: str) -> None:
    print(text, flush=True)


async def run(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    upstream = StaticUpstream()
    wanted = [gateway for gateway in GATEWAYS if not options.only or gateway.name in options.only]
    async with upstream.serving() as port:
        bench = Bench(upstream, port, folder, options.rounds, options.seconds)
        setups = bench.prepare(wanted)
        for name, setup in setups.items():
            with bench.telling(name):
                await bench.footprint(name, setup)
        await bench.compare(setups)
        if TOLLWAY.name in setups:
            with bench.telling(TOLLWAY_TWO.name):
                await bench.two_workers(setups[TOLLWAY.name], bench.prepare([TOLLWAY_TWO])[TOLLWAY_TWO.name])
    does = {gateway.name: gateway.does for gateway in wanted}
    about = {name: {"version": setup.version, "does": does[name], "settings": setup.settings} for name, setup in setups.items()}
    results = bench.results
    return {"about": about, "results": results | compared(results), "failures": bench.failures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of one second each: 2 to 3 minutes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=", ".join(gateway.name for gateway in GATEWAYS))
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    if options.quick:
        options.rounds = options.seconds = 1
    missing = [command for command in ("taskset", "setpriv", "wrk") if not shutil.which(command)]
    if missing or len(CORES) < 2:
        sys.exit(f"this needs Linux and two cores, and the commands taskset, setpriv and wrk; missing: {', '.join(missing)}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for the idle streams; inherited by the gateways
    os.sched_setaffinity(0, LOAD_CORES)
    disturbance = Disturbance()
    with tempfile.TemporaryDirectory() as folder:
        report = uvloop.run(run(options, Path(folder)))
    say(f"others used {disturbance.share:.0%} of the machine")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if report["failures"]:
        sys.exit(f"not all was measured: {json.dumps(report['failures'], indent=2)}")


if __name__ == "__main__":
    main()
