"""What the API costs on top of the engine: the same work through Tollway and straight to the engine's own port, in one run.

    python -m bench.engine_overhead [--scale 0.2]

Requests alternate between the two one by one (with 8 streams: round by round), so that drift of the machine hits both alike.
Each request has its own prompt of equal length, temperature 0, and a fixed number of tokens. Reported, each the median; what
the two are compared by is the median over neighbours in time, because the machine's own pace drifts by more than they differ:

- first_token: milliseconds to the first token, over answers of 2 tokens, and what the API adds
- tokens per second of one stream and of eight, and their ratio (API / engine, higher is better)
- the processor time that the API's process takes for a request of 2 tokens, and for each further token (Linux)

On a machine with few cores the client, the API and the engine compete; all three are in these figures.
"""

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from bench.measuring import machine, processor_seconds
from tests.live import free_port

from tollway.accounts import Accounts, load_secret
from tollway.app import WorkerConfig
from tollway.catalog import load_configuration
from tollway.cli.serve import serve_http
from tollway.engine import ModelStore, Supervisor
from tollway.ledger import Ledger
from tollway.settings import Settings, load
from tollway.storage import Database

TOKENS = 64


@dataclass
class Sample:
    """One answer: seconds to the first token and to the last."""

    first: float
    total: float
    tokens: int

    @property
    def rate(self) -> float:
        """Tokens per second after the first one: the stream's pace."""
        return (self.tokens - 1) / (self.total - self.first)


@dataclass
class Target:
    """Where requests go."""

    name: str
    url: str
    key: str
    model: str


_numbers = itertools.count()


async def ask(session: aiohttp.ClientSession, target: Target, tokens: int) -> Sample:
    text = f"Request {next(_numbers):06d}. Tell me about rivers, mountains and the sea, and how they came to be."
    body = {
        "model": target.model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "logit_bias": {"2": -100},  # never the end of the turn: each answer has exactly as many tokens as asked for
    }
    headers = {"Authorization": f"Bearer {target.key}"}
    began = time.perf_counter()
    first, last, count = 0.0, 0.0, 0
    async with session.post(target.url + "/v1/chat/completions", json=body, headers=headers) as response:
        response.raise_for_status()
        async for line in response.content:
            if line.startswith(b"data: {"):
                choices = json.loads(line[6:])["choices"]
                if choices and choices[0]["delta"].get("content"):
                    last = time.perf_counter() - began
                    first = first or last
                    count += 1
    return Sample(first, last, count)


async def alternating(
    session: aiohttp.ClientSession, targets: Sequence[Target], requests: int, tokens: int
) -> dict[str, list[Sample]]:
    """One request at a time, to each target in turn; the order of the turn changes too."""
    samples: dict[str, list[Sample]] = {target.name: [] for target in targets}
    for number in range(requests):
        for target in targets if number % 2 else reversed(targets):
            samples[target.name].append(await ask(session, target, tokens))
    return samples


async def round_of(session: aiohttp.ClientSession, target: Target, streams: int, requests: int) -> float:
    """Tokens per second of `requests` requests, `streams` at a time."""
    numbers = iter(range(requests))

    async def worker() -> None:
        for _ in numbers:
            await ask(session, target, TOKENS)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(streams)))
    return requests * TOKENS / (time.perf_counter() - began)


@dataclass
class Served:
    """A Tollway in front of an engine, and the two places where the model can be asked."""

    api: Target
    engine: Target
    process_id: int
    """Of the API."""


@contextmanager
def tollway_with_an_engine(**changes: Any) -> Iterator[Served]:
    """In processes of their own, with the settings in force but for an empty home, a free port, and `changes`."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        found = load()
        given = {"home": Path(folder), "models_dir": found.models_path, "port": free_port(), "log_format": "json"} | changes
        settings = msgspec.structs.replace(found, **given)
        supervisor = Supervisor(settings, ModelStore(settings.models_path))
        stack.callback(supervisor.stop)
        supervisor.start()
        key = asyncio.run(make_key(settings))
        config = WorkerConfig(settings, supervisor.endpoints(), load_configuration(settings))
        api = multiprocessing.get_context("spawn").Process(target=serve_quietly, args=(config,))
        api.start()
        stack.callback(api.join)
        stack.callback(api.terminate)
        engine = supervisor.endpoints()[0]
        yield Served(
            Target("api", f"http://127.0.0.1:{settings.port}", key, f"local/{engine.model}"),
            Target("engine", engine.url, engine.api_key, engine.model),
            api.pid or 0,
        )


def serve_quietly(config: WorkerConfig) -> None:
    """The API, without the log of its requests."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    serve_http(config)


async def make_key(settings: Settings) -> str:
    """The key of an account that can pay for the whole run."""
    database = Database(settings.database)
    database.migrate()
    accounts = Accounts(database, load_secret(settings.home))
    key = await accounts.bootstrap()
    await Ledger(database).grant((await accounts.first_account()).id, 10**9, reason="bonus", once="benchmark")
    database.close()
    assert key
    return key.secret


async def measure(served: Served, scale: float) -> dict[str, dict[str, float]]:
    targets, pid = [served.engine, served.api], served.process_id
    results: dict[str, dict[str, float]] = {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
        while True:  # until the API is up
            try:
                (await session.get(served.api.url + "/readyz")).raise_for_status()
                break
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
        await alternating(session, targets, 10, 2)  # warm

        few, many = round(300 * scale), round(30 * scale)
        before = processor_seconds(pid)
        samples = await alternating(session, targets, few, 2)
        used = processor_seconds(pid)
        firsts = {name: statistics.median(sample.first for sample in each) * 1000 for name, each in samples.items()}
        added = [api.first - engine.first for engine, api in zip(samples["engine"], samples["api"], strict=True)]
        results["first_token"] = {
            "engine_ms_p50": round(firsts["engine"], 2),
            "api_ms_p50": round(firsts["api"], 2),
            "added_ms_p50": round(statistics.median(added) * 1000, 2),
        }
        if before is not None and used is not None:
            results["first_token"]["api_processor_ms"] = round((used - before) / few * 1000, 2)
        print(f"first token: {json.dumps(results['first_token'])}", flush=True)

        before = processor_seconds(pid)
        samples = await alternating(session, targets, many, TOKENS)
        used = processor_seconds(pid)
        results["1 stream"] = compared({name: [sample.rate for sample in each] for name, each in samples.items()})
        if before is not None and used is not None:
            each = ((used - before) / many - results["first_token"]["api_processor_ms"] / 1000) / (TOKENS - 2)
            results["1 stream"]["api_processor_ms_per_token"] = round(each * 1000, 3)
        print(f"1 stream: {json.dumps(results['1 stream'])}", flush=True)

        rounds: dict[str, list[float]] = {target.name: [] for target in targets}
        for number in range(round(16 * scale)):
            for target in targets if number % 2 else reversed(targets):
                rounds[target.name].append(await round_of(session, target, 8, 16))
        results["8 streams"] = compared(rounds)
        print(f"8 streams: {json.dumps(results['8 streams'])}", flush=True)
    return results


def compared(rates: dict[str, list[float]]) -> dict[str, float]:
    """`rates`: tokens per second of each, neighbours at the same place."""
    return {
        "engine_tokens_per_second": round(statistics.median(rates["engine"]), 1),
        "api_tokens_per_second": round(statistics.median(rates["api"]), 1),
        "ratio": round(statistics.median(api / engine for engine, api in zip(rates["engine"], rates["api"], strict=True)), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="how many requests, as a factor (default 1: about 5 minutes)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    with tollway_with_an_engine() as served:
        results = asyncio.run(measure(served, arguments.scale))
    report = {"machine": machine(), "results": results}
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
