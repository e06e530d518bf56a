"""The fake upstreams by hand show what they are there to show: another route answers when they fail."""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.__main__ import KEYS, PUBLIC, SPOILS, TOML
from tests.fakes.faults import FAULTS, Reply
from tests.fakes.gemini import framed, usage
from tests.fakes.openai import USAGE, stream_reply
from tests.live import LOCAL_MODEL, LiveServer, serving

from tollway.catalog import load_configuration
from tollway.settings import Settings


@contextlib.contextmanager
def fake(*arguments: str) -> Iterator[str]:
    """The tollway.toml that a running one prints."""
    command = [sys.executable, "-m", "tests.fakes", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(TOML.count("\n"))]
        yield "".join(lines)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def ask(live: LiveServer) -> tuple[int, str, dict[str, object]]:
    """(status, route, body)."""
    body = {"model": PUBLIC, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    status, headers, raw = live.request("POST", "/v1/chat/completions", body)
    return status, headers.get("x-tollway-route", ""), json.loads(raw)


def test_another_route_answers_for_one_that_stalls(tmp_path: Path, models_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("FAKE_KEY", KEYS["openai"])
    with fake("--fault", "stall_before_first_byte") as toml:
        (home / "tollway.toml").write_text(toml.replace("first_token_seconds = 3", "first_token_seconds = 0.5"))
        with serving(home, models_path, engine_slots="1", engine_threads="1") as live:
            status, route, answer = ask(live)
    assert status == 200, answer
    assert answer["model"] == LOCAL_MODEL
    assert route.startswith("local/")
    assert route.endswith("attempts=2")


def test_a_port_that_somebody_has_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        command = [sys.executable, "-m", "tests.fakes", "--port", str(other.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, len(done.stderr.splitlines()), "--port 0" in done.stderr) == (1, 1, True), done.stderr


@pytest.mark.parametrize("dialect", KEYS)
def test_what_it_prints_is_a_configuration(dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_KEY", KEYS[dialect])
    with fake("--dialect", dialect) as toml:
        (tmp_path / "tollway.toml").write_text(toml)
        configuration = load_configuration(Settings(home=tmp_path))
    assert configuration.upstreams["fake"].dialect == dialect
    assert configuration.upstreams["fake"].api_key == KEYS[dialect]


def test_it_can_fail_in_every_way() -> None:
    assert SPOILS.keys() > FAULTS.keys()


@pytest.mark.parametrize("good", [stream_reply([{"usage": USAGE}]), framed({"usageMetadata": usage(7, 3)})], ids=list(KEYS))
def test_wrong_usage_is_wrong_in_either_dialect(good: Reply) -> None:
    steps = b"".join(step for step in SPOILS["wrong_usage"](good).steps if isinstance(step, bytes))
    assert steps.count(b"1000000000000") == 3
