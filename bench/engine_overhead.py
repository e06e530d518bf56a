"""What the API costs on top of the engine: the same work through Tollway and straight to the engine's own port, in one run.

    make bench

Rounds alternate between the two, so that drift of the machine hits both alike. Each request has its own prompt of equal
length, temperature 0, and a fixed number of tokens. Reported: throughput (API / engine, higher is better) and the time to the
first token that the API adds at the median.
"""

import argparse
import asyncio
import json
import multiprocessing
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
from tests.live import free_port

from tollway.accounts import Accounts, load_secret
from tollway.app import WorkerConfig
from tollway.catalog import load_configuration
from tollway.cli.serve import serve_http
from tollway.engine import EngineEndpoint, ModelStore, Supervisor
from tollway.settings import Settings, load
from tollway.storage import Database

TOKENS = 64


@dataclass
class Sample:
    """One answer: seconds to the first token, seconds in all, tokens."""

    first: float
    total: float
    tokens: int


@dataclass
class Target:
    """Where requests go."""

    name: str
    url: str
    key: str
    model: str


async def ask(session: aiohttp.ClientSession, target: Target, number: int) -> Sample:
    text = f"Request {number:06d}. Tell me about rivers, mountains and the sea, and how they came to be."
    body = {
        "model": target.model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": TOKENS,
        "temperature": 0,
        "stream": True,
        "logit_bias": {"2": -100},  # never the end of the turn: each answer has exactly TOKENS tokens
    }
    headers = {"Authorization": f"Bearer {target.key}"}
    began = time.perf_counter()
    first, tokens = 0.0, 0
    async with session.post(target.url + "/v1/chat/completions", json=body, headers=headers) as response:
        response.raise_for_status()
        async for line in response.content:
            if line.startswith(b"data: {"):
                choices = json.loads(line[6:])["choices"]
                if choices and choices[0]["delta"].get("content"):
                    first = first or time.perf_counter() - began
                    tokens += 1
    return Sample(first, time.perf_counter() - began, tokens)


async def round_of(
    session: aiohttp.ClientSession, target: Target, streams: int, requests: int, base: int
) -> tuple[float, list[Sample]]:
    """(requests per second, samples) of `requests` requests, `streams` at a time."""
    numbers = iter(range(base, base + requests))
    samples: list[Sample] = []

    async def worker() -> None:
        for number in numbers:
            samples.append(await ask(session, target, number))  # noqa: PERF401 - shared by the workers

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(streams)))
    return requests / (time.perf_counter() - began), samples


async def make_key(settings: Settings) -> str:
    database = Database(settings.database)
    database.migrate()
    key = await Accounts(database, load_secret(settings.home)).bootstrap()
    database.close()
    assert key
    return key.secret


async def measure(port: int, key: str, engine: EngineEndpoint, rounds: int) -> dict[str, dict[str, float]]:
    targets = [
        Target("engine", engine.url, engine.api_key, engine.model),
        Target("api", f"http://127.0.0.1:{port}", key, f"local/{engine.model}"),
    ]
    results: dict[str, dict[str, float]] = {}
    base = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
        while True:  # until the API is up
            try:
                (await session.get(targets[1].url + "/readyz")).raise_for_status()
                break
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
        for target in targets:
            await round_of(session, target, 2, 4, 900_000)  # warm
        for streams, requests in ((1, 6), (8, 24)):
            rates: dict[str, list[float]] = {target.name: [] for target in targets}
            firsts: dict[str, list[float]] = {target.name: [] for target in targets}
            for number in range(rounds):
                for target in targets if number % 2 else reversed(targets):
                    base += requests
                    rate, samples = await round_of(session, target, streams, requests, base)
                    rates[target.name].append(rate)
                    firsts[target.name] += [sample.first for sample in samples]
            api, direct = (statistics.median(rates[name]) for name in ("api", "engine"))
            added = statistics.median(firsts["api"]) - statistics.median(firsts["engine"])
            results[f"{streams} streams"] = {
                "engine_requests_per_second": round(direct, 3),
                "api_requests_per_second": round(api, 3),
                "throughput_ratio": round(api / direct, 3),
                "engine_first_token_ms_p50": round(statistics.median(firsts["engine"]) * 1000, 2),
                "added_first_token_ms_p50": round(added * 1000, 2),
            }
            print(f"{streams} streams: {json.dumps(results[f'{streams} streams'])}", flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="rounds for each side (default 10)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = msgspec.structs.replace(
            load(), home=Path(folder), models_dir=load().models_path, port=free_port(), log_format="json"
        )
        supervisor = Supervisor(settings, ModelStore(settings.models_path))
        supervisor.start()
        config = WorkerConfig(settings, supervisor.endpoints(), load_configuration(settings))
        api = multiprocessing.get_context("spawn").Process(target=serve_http, args=(config,))
        try:
            key = asyncio.run(make_key(settings))
            api.start()
            results = asyncio.run(measure(settings.port, key, supervisor.endpoints()[0], arguments.rounds))
        finally:
            api.terminate()
            api.join()
            supervisor.stop()
    report = {"machine": f"{platform.machine()}, {platform.processor() or platform.system()}", "results": results}
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
