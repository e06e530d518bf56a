"""A Tollway without an engine, in front of the scripted upstream, that can be killed and started again."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes.openai import API_KEY, MODEL
from tests.live import free_port

from tollway.settings import DatabaseUrl

PUBLIC = "house/scripted"
# 1 USD per million tokens of either kind: 2 credits a token
TOML = """
[upstreams.scripted]
dialect = "openai"
base_url = "http://127.0.0.1:{port}/v1"
key_variable = "SCRIPTED_KEY"
attempts_max = 1
breaker_failures = 0

[[models]]
id = "{public}"
context_length = 100000
output_max = 1000
price = {{ prompt = "1", completion = "1" }}
routes = [{{ upstream = "scripted", model = "{model}" }}]
"""
READY_SECONDS_MAX = 60.0


@contextlib.contextmanager
def scripted_upstream() -> Iterator[int]:
    """The port of a running one."""
    command = [sys.executable, "-m", "tests.faults.scripted_upstream"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@dataclass
class Mortal:
    """One installation over several lives of its service."""

    home: Path
    upstream_port: int
    settings: dict[str, str] = field(default_factory=dict)
    port: int = 0
    key: str = ""
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TOLLWAY_")}
        given = {"home": str(self.home), "local_models": "none", "stand_in": "false", **self.settings}
        return environment | {"SCRIPTED_KEY": API_KEY} | {f"TOLLWAY_{name.upper()}": value for name, value in given.items()}

    def prepare(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "tollway.toml").write_text(TOML.format(port=self.upstream_port, public=PUBLIC, model=MODEL))

    def start(self) -> float:
        """Starts the service; how many seconds it took until it was ready."""
        self.port = free_port()
        began = time.monotonic()
        with (self.home / "serve.log").open("ab") as log:
            command = [sys.executable, "-m", "tollway", "serve", "--port", str(self.port)]
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=subprocess.STDOUT)
        while time.monotonic() < began + READY_SECONDS_MAX:
            assert self.process.poll() is None, f"tollway serve ended:\n{(self.home / 'serve.log').read_text()[-4000:]}"
            with contextlib.suppress(OSError):
                if self.get("/readyz")[0] == 200:
                    if not self.key:
                        self.key = self.cli("keys", "create", "--name", "tests", "--quiet").strip()
                    return time.monotonic() - began
            time.sleep(0.02)
        raise AssertionError("not ready")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Kills everything that `tollway serve` started, and itself, in no order that anybody could rely on."""
        assert self.process is not None
        for process_id in [self.process.pid, *descendants(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, number)
        self.process.wait(60)

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def cli(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "tollway", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"tollway {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.key}"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def post(
        self, script: dict[str, Any], *, headers: dict[str, str] | None = None, read_bytes_max: int | None = None, **fields: Any
    ) -> "Answered":
        """One chat completion. With `read_bytes_max` the client leaves after so many bytes."""
        body = {"model": PUBLIC, "messages": [{"role": "user", "content": json.dumps(script)}], **fields}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **(headers or {})}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), sent)
            response = connection.getresponse()
            told = {name.lower(): value for name, value in response.getheaders()}
            return Answered(response.status, told, response.read(read_bytes_max))
        finally:
            connection.close()


@contextlib.contextmanager
def house_in(home: Path, upstream_port: int, place: Path | DatabaseUrl | None = None, **settings: str) -> Iterator[Mortal]:
    """A prepared house that is not started yet, and whose service is killed at the end. SQLite, unless `place` is a URL."""
    url = {"database_url": place.reveal()} if isinstance(place, DatabaseUrl) else {}
    house = Mortal(home, upstream_port, {"drain_seconds": "3", **url, **settings})
    house.prepare()
    try:
        yield house
    finally:
        if house.process is not None and house.process.poll() is None:
            house.kill()


@dataclass
class Answered:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def inference_id(self) -> str:
        return self.headers.get("x-inference-id", "")

    @property
    def complete(self) -> bool:
        """Whether the caller has been told that all is well: `[DONE]`, or the whole of a 200."""
        if self.status != 200:
            return False
        if self.headers["content-type"].startswith("text/event-stream"):
            return self.body.endswith(b"data: [DONE]\n\n")
        return len(self.body) == int(self.headers["content-length"])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def descendants(process_id: int) -> list[int]:
    """Children, their children and so on, as they are now."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found: list[int] = []
    waiting = [process_id]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found
