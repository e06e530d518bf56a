"""Callers who do everything at once, for hours, and say what they did not expect."""

import contextlib
import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.faults.mortal import Answered, Mortal

LOCAL_MODELS = ("local/tiny", "local/spare")
GRACE_SECONDS = 20.0
"""After something was killed, requests may fail for so long; none may vanish without an answer or a closed connection."""
REVOKED_SECONDS_MAX = 5.0
_TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"a": {"type": "boolean"}}}},
}
_SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
_PATHS = ("/v1/models", "/v2/usage?period=24h", "/v2/logs?limit=20", "/v1/billing/balance", "/docs", "/metrics")


class Unexpected(Exception):
    """An answer that no promise allows."""


@dataclass
class People:
    """The keys that the load uses."""

    rich: list[str]
    """API keys of accounts with credits."""
    poor: str
    """The API key of one without."""
    management: str


@dataclass
class Load:
    """`callers` threads, each doing one thing after another."""

    house: Mortal
    people: People
    callers: int = 8
    told: dict[str, int | None] = field(default_factory=dict)
    """Answers that were complete: inference id -> what they cost, where that was told."""
    done: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    last_fault: float = float("-inf")

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._go = threading.Event()
        self._busy = 0
        self._lock = threading.Condition()
        self._threads = [threading.Thread(target=self._call, args=(seed,), daemon=True) for seed in range(self.callers)]
        self._actions: dict[Callable[[random.Random], None], int] = {
            self._whole: 4, self._stream: 6, self._leave: 3, self._upstream_refuses: 2, self._upstream_breaks: 2,
            self._twice: 1, self._dry_run: 1, self._nonsense: 2, self._without_credits: 1, self._local: 2,
            self._local_leave: 1, self._tool: 1, self._schema: 1, self._key_of_a_moment: 1, self._look_around: 2,
        }  # fmt: skip

    def __enter__(self) -> "Load":
        self._go.set()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._go.set()
        for thread in self._threads:
            thread.join(90)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Nobody calls: whoever is at it comes to an end first."""
        self._go.clear()
        with self._lock:
            quiet = self._lock.wait_for(lambda: not self._busy, 90)
        if not quiet:
            self.unexpected.append(f"{self._busy} requests had no end within 90 s")
        try:
            yield
        finally:
            self._go.set()

    def _call(self, seed: int) -> None:
        chance = random.Random(seed)
        actions, weights = list(self._actions), list(self._actions.values())
        while not self._stop.is_set():
            self._go.wait()
            with self._lock:
                self._busy += 1
            [action] = chance.choices(actions, weights)
            name = action.__name__.strip("_")
            began = time.monotonic()
            try:
                action(chance)
            except (Unexpected, OSError, http.client.HTTPException, ValueError) as error:
                if began - self.last_fault < GRACE_SECONDS or self.last_fault >= began:
                    self.excused[name] += 1
                else:
                    self.unexpected.append(f"{name}: {type(error).__name__} {str(error)[:300]}")
            else:
                self.done[name] += 1
            with self._lock:
                self._busy -= 1
                self._lock.notify_all()
            self._stop.wait(chance.uniform(0, 0.1))

    # --- what callers do ----------------------------------------------------------------------------------------------

    def _ask(self, chance: random.Random, script: dict[str, Any], *, key: str = "", **fields: Any) -> Answered:
        headers = {"Authorization": f"Bearer {key or chance.choice(self.people.rich)}", **fields.pop("headers", {})}
        answered = self.house.post(script, headers=headers, **({"max_tokens": 100} | fields))
        if answered.complete and answered.inference_id:
            cost = answered.headers.get("x-tollway-credits-used")
            self.told[answered.inference_id] = None if cost is None else int(cost)
        return answered

    def _complete(self, answered: Answered) -> Answered:
        if not answered.complete:
            raise Unexpected(f"{answered.status} {answered.body[-300:]!r}")
        return answered

    def _refused(self, answered: Answered, *statuses: int) -> None:
        if answered.status not in statuses:
            raise Unexpected(f"{answered.status}, not {statuses}: {answered.body[-300:]!r}")

    def _script(self, chance: random.Random, **more: Any) -> dict[str, Any]:
        return {"pieces": chance.randrange(1, 30), "pause": chance.choice((0, 0.002, 0.01)), **more}

    def _whole(self, chance: random.Random) -> None:
        self._complete(self._ask(chance, self._script(chance)))

    def _stream(self, chance: random.Random) -> None:
        self._complete(self._ask(chance, self._script(chance), stream=True))

    def _leave(self, chance: random.Random) -> None:
        self._ask(chance, self._script(chance, pause=0.02), stream=True, read_bytes_max=chance.choice((1, 300, 2000)))

    def _upstream_refuses(self, chance: random.Random) -> None:
        self._refused(self._ask(chance, self._script(chance, fail="status"), stream=chance.random() < 0.5), 502, 503)

    def _upstream_breaks(self, chance: random.Random) -> None:
        answered = self._ask(chance, self._script(chance, pieces=10, fail="break"), stream=chance.random() < 0.5)
        if answered.complete:
            raise Unexpected("an answer that was broken off is called complete")

    def _twice(self, chance: random.Random) -> None:
        key, script = chance.choice(self.people.rich), self._script(chance)
        headers = {"Idempotency-Key": f"{chance.getrandbits(128):x}"}
        first = self._complete(self._ask(chance, script, key=key, headers=headers))
        second = self._complete(self._ask(chance, script, key=key, headers=headers))
        if first.json["id"] != second.json["id"]:
            raise Unexpected("the same Idempotency-Key got another answer")

    def _dry_run(self, chance: random.Random) -> None:
        self._complete(self._ask(chance, self._script(chance), headers={"x-tollway-dry-run": "true"}))

    def _nonsense(self, chance: random.Random) -> None:
        fields: dict[str, Any] = chance.choice([{"temperature": 9}, {"messages": []}, {"model": "none"}, {"tools": 3}])
        self._refused(self._ask(chance, {}, **fields), 400, 404)
        self._refused(self._ask(chance, {}, key="tw_nobody"), 401)

    def _without_credits(self, chance: random.Random) -> None:
        self._refused(self._ask(chance, {}, key=self.people.poor), 403)

    def _local(self, chance: random.Random) -> None:
        fields: dict[str, Any] = {"model": chance.choice(LOCAL_MODELS), "stream": chance.random() < 0.5, "max_tokens": 20}
        fields["n"] = chance.choice((1, 1, 2))
        self._complete(self._ask(chance, {"say": chance.randrange(8)}, **fields))

    def _local_leave(self, chance: random.Random) -> None:
        self._ask(chance, {}, model=chance.choice(LOCAL_MODELS), stream=True, read_bytes_max=400, max_tokens=500)

    def _tool(self, chance: random.Random) -> None:
        answered = self._complete(
            self._ask(chance, {}, model=chance.choice(LOCAL_MODELS), tools=[_TOOL], tool_choice="required", max_tokens=200)
        )
        [call] = answered.json["choices"][0]["message"]["tool_calls"]
        if call["function"]["name"] != "look":
            raise Unexpected(str(call))

    def _schema(self, chance: random.Random) -> None:
        wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": _SCHEMA}}
        answered = self._complete(
            self._ask(chance, {}, model=chance.choice(LOCAL_MODELS), response_format=wanted, max_tokens=200)
        )
        [choice] = answered.json["choices"]
        if choice["finish_reason"] == "stop" and set(json.loads(choice["message"]["content"])) != {"ok"}:
            raise Unexpected(str(choice))

    def _key_of_a_moment(self, chance: random.Random) -> None:
        created = self._manage("POST", "/v1/keys", {"name": f"{chance.getrandbits(64):x}"})
        item = json.loads(created)["data"]
        self._complete(self._ask(chance, self._script(chance), key=item["key"]))
        self._manage("DELETE", f"/v1/keys/{item['prefix']}")
        deadline = time.monotonic() + REVOKED_SECONDS_MAX
        while self._ask(chance, {"pieces": 1}, key=item["key"]).status != 401:
            if time.monotonic() > deadline:
                raise Unexpected("a deleted key still works")
            time.sleep(0.05)

    def _look_around(self, chance: random.Random) -> None:
        path = chance.choice(_PATHS)
        self._manage("GET", path)

    def _manage(self, method: str, path: str, body: Any = None) -> bytes:
        """Raises Unexpected for anything but a 2xx."""
        connection = http.client.HTTPConnection("127.0.0.1", self.house.port, timeout=60)
        headers = {"Authorization": f"Bearer {self.people.management}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        if not 200 <= response.status < 300:
            raise Unexpected(f"{method} {path}: {response.status} {raw[-300:]!r}")
        return raw
