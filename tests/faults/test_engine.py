"""Engines that die, and supervisors that die."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines import answers, ask, engine_settings, is_alive, process_ids, wait_until
from tests.tiny_gguf import write_tiny_model

from tollway.engine import ModelStore, Supervisor, supervisor
from tollway.engine.fetch import pull

DEFAULT_MODEL = "smollm2-135m-instruct"
# The promise is 5 s on a machine that has nothing else to do; a busy one may take longer.
BACK_SECONDS_MAX = 20.0
GONE_SECONDS_MAX = 5.0

# Starts an engine, says its process id, and waits. With FORK it leaves a child behind, which inherits whatever is open;
# HEEDLESS it does not end when it is told to.
PARENT = """
import os, signal, sys, time
from pathlib import Path
from tests.engines import engine_settings, process_ids
from tollway.engine import ModelStore, Supervisor

home = Path(sys.argv[1])
running = Supervisor(engine_settings(home, home / "models"), ModelStore(home / "models"))
running.start()
forked = 0
if sys.argv[2] == "HEEDLESS":
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda *_: None)
if sys.argv[2] == "FORK":
    forked = os.fork()
    if not forked:
        time.sleep(60)
print(process_ids(running)["tiny"], forked, flush=True)
time.sleep(60)
"""


@pytest.fixture
def tiny_store(tmp_path: Path) -> ModelStore:
    store = ModelStore(tmp_path / "models")
    pull(str(write_tiny_model(tmp_path / "tiny.gguf")), store)
    return store


@pytest.fixture
def running(tiny_store: ModelStore, tmp_path: Path) -> Iterator[Supervisor]:
    running = Supervisor(engine_settings(tmp_path, tiny_store.path), tiny_store)
    running.start()
    yield running
    running.stop()


def test_the_default_model_is_back_soon_after_a_kill(models_path: Path, tmp_path: Path) -> None:
    settings = engine_settings(tmp_path, models_path, local_models=DEFAULT_MODEL, engine_slots=8, engine_threads=0)
    running = Supervisor(settings, ModelStore(models_path))
    running.start()
    try:
        (before,) = running.endpoints()
        pid = process_ids(running)[DEFAULT_MODEL]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid), 5)
        wait_until(lambda: answers(before), BACK_SECONDS_MAX)
        assert running.endpoints() == [before]  # the same port and key
        assert process_ids(running)[DEFAULT_MODEL] != pid
    finally:
        running.stop()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_an_engine_that_ends_in_any_way_comes_back(running: Supervisor, sign: signal.Signals) -> None:
    (endpoint,) = running.endpoints()
    pid = process_ids(running)["tiny"]
    os.kill(pid, sign)
    wait_until(lambda: not is_alive(pid), 5)
    wait_until(lambda: answers(endpoint), 20)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_the_whole_group_is_told_is_not_for_the_engine(
    tiny_store: ModelStore, tmp_path: Path, sign: signal.Signals
) -> None:
    """Such as Ctrl-C on a terminal, or that it was closed: answers may finish."""
    assert tiny_store.get("tiny")
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PARENT, str(tmp_path), "HEEDLESS"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        assert parent.stdout
        engine = int(parent.stdout.readline().split()[0])
        os.killpg(parent.pid, sign)
        time.sleep(0.5)
        assert (is_alive(engine), parent.poll()) == (True, None)
        parent.kill()


def test_an_engine_that_keeps_dying_is_started_again_and_again(
    running: Supervisor, monkeypatch: pytest.MonkeyPatch, tiny_store: ModelStore
) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF_SECONDS_MAX", 0.4)
    (endpoint,) = running.endpoints()
    model = tiny_store.model_path("tiny")
    content = model.read_bytes()
    model.write_bytes(b"no model any more")
    os.kill(process_ids(running)["tiny"], signal.SIGKILL)
    seen: set[int] = set()

    def four_were_seen() -> bool:
        seen.add(process_ids(running)["tiny"])
        return len(seen) >= 4

    wait_until(four_were_seen, 30)
    assert not answers(endpoint)
    model.write_bytes(content)
    wait_until(lambda: answers(endpoint), 20)


def test_an_engine_that_was_ready_is_back_at_once_however_often_it_dies(
    running: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF_SECONDS_MAX", 600.0)
    (endpoint,) = running.endpoints()
    for _ in range(8):  # with pauses that double, the last one would be of 25 s
        os.kill(process_ids(running)["tiny"], signal.SIGKILL)
        wait_until(lambda: answers(endpoint), 15)
        time.sleep(0.5)  # the supervisor looks, too


def test_a_stop_in_the_middle_of_restarts_ends_them(running: Supervisor) -> None:
    killed: set[int] = set()
    for _ in range(2):
        wait_until(lambda: process_ids(running)["tiny"] not in killed, 20)
        killed.add(process_ids(running)["tiny"])
        os.kill(process_ids(running)["tiny"], signal.SIGKILL)
    running.stop()
    last = process_ids(running)["tiny"]
    time.sleep(1)
    assert process_ids(running)["tiny"] == last
    assert not is_alive(last)


@pytest.mark.parametrize("leaves", ["NOTHING", "FORK"])
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_an_engine_never_outlives_its_supervisor(
    tmp_path: Path, tiny_store: ModelStore, sign: signal.Signals, leaves: str
) -> None:
    assert tiny_store.get("tiny")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PARENT, str(tmp_path), leaves]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        engine, forked = map(int, parent.stdout.readline().split())
        try:
            assert is_alive(engine)
            parent.send_signal(sign)
            parent.wait(10)
            wait_until(lambda: not is_alive(engine), GONE_SECONDS_MAX)
        finally:
            if forked:
                os.kill(forked, signal.SIGKILL)


def test_two_supervisors_side_by_side_do_not_meet(tiny_store: ModelStore, tmp_path: Path) -> None:
    both = [Supervisor(engine_settings(tmp_path / home, tiny_store.path), tiny_store) for home in ("one", "two")]
    try:
        for each in both:
            each.start()
        (first,), (second,) = (each.endpoints() for each in both)
        assert first.url != second.url
        with pytest.raises(OSError, match="401"):
            ask(first, "hi", key=second.api_key)
        both[0].stop()
        assert answers(second)
    finally:
        for each in both:
            each.stop()
