"""The service while things die around it: its engine, its callers, itself."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.live import LiveServer, serving
from tests.tiny_gguf import write_tiny_model

from tollway.engine import ModelStore
from tollway.engine.fetch import pull

TINY = "local/tiny"
LONG: dict[str, Any] = {"model": TINY, "max_tokens": 3000, "temperature": 1, "logit_bias": {"0": -100, "1": -100, "2": -100}}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[LiveServer]:
    store = ModelStore(tmp_path / "models")
    pull(str(write_tiny_model(tmp_path / "tiny.gguf", context_tokens=8192)), store)
    with serving(tmp_path / "home", store.path, default_model="tiny", engine_slots="2", engine_threads="1") as live:
        yield live


class Stream:
    """A long stream. It is open once the headers of the answer have come."""

    def __init__(self, server: LiveServer) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        body = json.dumps({"messages": [{"role": "user", "content": "Go on"}], "stream": True, **LONG})
        headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
        self._connection.request("POST", "/v1/chat/completions", body, headers)
        self.response = self._connection.getresponse()
        assert self.response.status == 200
        self.first_line = self.response.readline()

    def rest(self) -> bytes:
        """Everything up to the end, which closes the connection."""
        with contextlib.closing(self):
            return self.response.read()

    def close(self) -> None:
        self.response.close()
        self._connection.close()


def kill_engine(server: LiveServer) -> None:
    listing = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    [engine] = [
        int(line.split()[0])
        for line in listing.splitlines()
        if "tollway.engine.child" in line and int(line.split()[1]) == server.process.pid
    ]
    os.kill(engine, signal.SIGKILL)


def test_a_killed_engine_is_a_503_and_comes_back(service: LiveServer) -> None:
    stream = Stream(service)
    kill_engine(service)
    rest = stream.rest().decode()
    status, problem = service.error(body={"model": TINY, "messages": [{"role": "user", "content": "hi"}]})

    events = [line for line in rest.splitlines() if line.startswith("data: ")]
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "engine_away"
    assert "[DONE]" not in rest
    assert '"finish_reason":"' not in rest
    assert status == 503
    assert problem["error"]["code"] == "engine_away"
    assert service.request("GET", "/healthz")[0] == 200
    assert service.request("GET", "/readyz")[0] == 503
    began = time.monotonic()
    while service.request("GET", "/readyz")[0] != 200:
        assert time.monotonic() - began < 15
        time.sleep(0.05)
    assert service.chat(model=TINY, max_tokens=2)["choices"]


def test_a_503_says_when_to_try_again(service: LiveServer) -> None:
    kill_engine(service)
    status, headers, _ = service.request(
        "POST", "/v1/chat/completions", {"model": TINY, "messages": [{"role": "user", "content": "hi"}]}
    )

    assert status == 503
    assert int(headers["retry-after"]) >= 1


def test_a_caller_who_leaves_frees_the_slot_at_once(service: LiveServer) -> None:
    waits = []
    for _ in range(5):
        for stream in [Stream(service), Stream(service)]:  # both slots
            stream.close()
        began = time.monotonic()
        service.chat(model=TINY, max_tokens=1)
        waits.append(time.monotonic() - began)

    assert sorted(waits)[2] < 1.0  # 3,000 tokens take longer


def test_running_answers_finish_when_the_service_is_told_to_stop(service: LiveServer) -> None:
    with ThreadPoolExecutor(2) as pool:
        reading = [pool.submit(Stream(service).rest) for _ in range(2)]
        service.process.send_signal(signal.SIGTERM)
        bodies = [future.result(40) for future in reading]

    assert service.process.wait(40) == 0
    assert all(body.endswith(b"data: [DONE]\n\n") or b'"error"' in body for body in bodies)


def test_a_silent_stream_has_heartbeats(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    pull(str(write_tiny_model(tmp_path / "tiny.gguf", context_tokens=8192)), store)
    fields = {"default_model": "tiny", "engine_slots": "1", "engine_threads": "1", "heartbeat_seconds": "0.1"}
    with serving(tmp_path / "home", store.path, **fields) as service:
        busy = Stream(service)  # takes the only slot
        waiting = Stream(service)
        busy.close()
        waiting.close()

    assert busy.first_line.startswith(b"data: ")
    assert waiting.first_line == b": heartbeat\n"
