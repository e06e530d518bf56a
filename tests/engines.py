"""Engines for tests: asking one, and waiting for what happens to its process."""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tollway.engine import EngineEndpoint, Supervisor
from tollway.settings import Settings


def engine_settings(home: Path, models: Path, **changes: Any) -> Settings:
    """Settings for a Supervisor: two slots and two threads, so that many fit on one machine."""
    return msgspec.structs.replace(Settings(home=home, models_dir=models, engine_slots=2, engine_threads=2), **changes)


def process_ids(running: Supervisor) -> dict[str, int]:
    """The engine processes of this moment, by model."""
    return {engine.facts.name: engine.process.pid for engine in running._engines if engine.process}


def ask(endpoint: EngineEndpoint, content: Any, *, tokens: int = 8, key: str | None = None, **fields: Any) -> dict[str, Any]:
    """The engine's own completion. Raises OSError (HTTPError is one) when there is none."""
    body = {"messages": [{"role": "user", "content": content}], "max_tokens": tokens, "temperature": 0, **fields}
    headers = {"Authorization": f"Bearer {key or endpoint.api_key}", "Content-Type": "application/json"}
    request = urllib.request.Request(endpoint.url + "/v1/chat/completions", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        error.close()
        raise


def answers(endpoint: EngineEndpoint) -> bool:
    try:
        ask(endpoint, "hi", tokens=1)
    except OSError:
        return False
    return True


def wait_until(true: Callable[[], bool], seconds: float) -> float:
    """How long it took until `true()` held; fails when it took longer than `seconds`."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - began


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # it has ended since, or the system has no such files
        return not Path("/proc/self").exists()
    return state != "Z"
