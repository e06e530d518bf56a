"""SIGHUP: another configuration for new requests, nothing for running ones."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.faults.test_service import TINY, Stream
from tests.live import LiveServer, serving
from tests.tiny_gguf import write_tiny_model

from tollway.engine import ModelStore
from tollway.engine.fetch import pull

SECONDS_MAX = 10.0
MODEL = '[[models]]\nid = "acme/{}"\nroutes = [{{ upstream = "local", model = "tiny" }}]\n'


@pytest.fixture
def service(tmp_path: Path) -> Iterator[LiveServer]:
    store = ModelStore(tmp_path / "models")
    pull(str(write_tiny_model(tmp_path / "tiny.gguf", context_tokens=8192)), store)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "tollway.toml").write_text(MODEL.format("first"))
    with serving(
        tmp_path / "home",
        store.path,
        default_model="tiny",
        engine_slots="2",
        engine_threads="1",
        workers="2",
        log_format="json",
    ) as live:
        yield live


def status(server: LiveServer, model: str) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    return server.request("POST", "/v1/chat/completions", body)[0]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def log_of(server: LiveServer) -> str:
    return (server.home.parent / f"{server.home.name}.log").read_text()


def test_a_reload_changes_the_models_and_cuts_no_stream(service: LiveServer) -> None:
    assert status(service, "acme/first") == 200
    with ThreadPoolExecutor(1) as pool:
        running = Stream(service)
        rest = pool.submit(running.rest)
        (service.home / "tollway.toml").write_text(MODEL.format("second"))
        service.process.send_signal(signal.SIGHUP)
        # of both workers: whichever takes the connection
        eventually(lambda: all(status(service, "acme/second") == 200 for _ in range(8)))
        assert {status(service, "acme/first") for _ in range(8)} == {404}
        assert rest.result(60).endswith(b"data: [DONE]\n\n")


def test_a_broken_file_changes_nothing_and_is_logged_with_its_line(service: LiveServer) -> None:
    (service.home / "tollway.toml").write_text(MODEL.format("second") + "weigth = 3\n")
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: "configuration_kept" in log_of(service))
    assert "tollway.toml:4: models[0].weigth: there is no such field" in log_of(service)
    assert status(service, "acme/first") == 200

    (service.home / "tollway.toml").write_text("prot = 3\n" + MODEL.format("second"))
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: "`prot` is no setting" in log_of(service))
    assert status(service, "acme/first") == 200

    (service.home / "tollway.toml").write_text('markup = "2"\n' + MODEL.format("third"))
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: status(service, "acme/third") == 200)
    (waiting,) = [line for line in log_of(service).splitlines() if "settings_wait_for_the_next_start" in line]
    assert json.loads(waiting)["settings"] == ["markup"]


def test_a_hangup_of_the_whole_group_ends_no_worker(service: LiveServer) -> None:
    listing = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    children = [line.split(maxsplit=2) for line in listing.splitlines() if line.split()[1] == str(service.process.pid)]
    workers = [int(pid) for pid, _, command in children if "engine.child" not in command]
    assert len(workers) >= 2
    (service.home / "tollway.toml").write_text(MODEL.format("second"))
    for pid in workers:
        os.kill(pid, signal.SIGHUP)
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: status(service, "acme/second") == 200)
    assert status(service, TINY) == 200
    assert "worker_died" not in log_of(service)
