"""Clients of one or several nodes, with everything that callers do."""

import asyncio
import contextlib
import http.client
import json
import random
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from tests.faults.mortal import PUBLIC, Answered, Mortal

CLIENTS = 8


class Load:
    """Clients that call as people do: to the end, leaving early, into failures; and remember what they were told."""

    def __init__(self, *houses: Mortal, clients: int = CLIENTS) -> None:
        self.told: list[Answered] = []
        self._houses = houses
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(70)

    def _call(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._stop.is_set():
            script: dict[str, Any] = {"pieces": chance.randrange(1, 30), "pause": chance.choice((0, 0.002, 0.01))}
            script["fail"] = chance.choice(("", "", "", "status", "break"))
            leave = chance.choice((None, None, 1, 300))
            try:
                answered = chance.choice(self._houses).post(
                    script, read_bytes_max=leave, stream=chance.random() < 0.7, max_tokens=100
                )
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)  # it was killed
            else:
                if answered.complete:
                    self.told.append(answered)


class Crowd:
    """Callers of one service in one event loop, as many at a time as are wanted. Use it by `crowd`."""

    def __init__(self, session: aiohttp.ClientSession, url: str, model: str) -> None:
        self.begun = 0
        """Answers of which something has come."""
        self._session = session
        self._url = url
        self._model = model

    async def ask(self, script: Any, **fields: Any) -> Answered:
        """One chat completion; the body of an answer that breaks off is what came of it."""
        content = script if isinstance(script, str) else json.dumps(script)
        body = {"model": self._model, "messages": [{"role": "user", "content": content}], **fields}
        async with self._session.post(self._url, json=body) as response:
            told = {name.lower(): value for name, value in response.headers.items()}
            pieces: list[bytes] = []
            with contextlib.suppress(aiohttp.ClientPayloadError):
                while piece := await response.content.readany():
                    self.begun += not pieces
                    pieces.append(piece)
            return Answered(response.status, told, b"".join(pieces))

    async def all_begun(self, count: int, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while self.begun < count:  # noqa: ASYNC110 - plain, and quick enough
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def crowd(port: int, key: str, model: str = PUBLIC) -> AsyncIterator[Crowd]:
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=aiohttp.ClientTimeout(180)) as session:
        yield Crowd(session, f"http://127.0.0.1:{port}/v1/chat/completions", model)
