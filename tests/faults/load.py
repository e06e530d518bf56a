"""Clients of one or several nodes, with everything that callers do."""

import http.client
import random
import threading
import time
from typing import Any

from tests.faults.mortal import Answered, Mortal

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
