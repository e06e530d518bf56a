import base64
import contextlib
import os
import random
import socket
import stat
import struct
import subprocess
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.engines import answers, ask, engine_settings, is_alive, process_ids, wait_until
from tests.tiny_gguf import write_tiny_model

from tollway.engine import EngineEndpoint, EngineError, ModelStore, Supervisor, load_vocabulary, supervisor
from tollway.engine.facts import ModelFacts
from tollway.engine.fetch import pull
from tollway.engine.memory import plan_context

CANARY = "canary4711"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_eyes: Path) -> Iterator[Supervisor]:
    """Two engines: one that sees, one that does not."""
    home = tmp_path_factory.mktemp("home")
    store = ModelStore(home / "models")
    pull(str(tiny_model), store)
    pull(str(tiny_model), store, name="eyes", mmproj=str(tiny_eyes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLAMA_ARG_PORT", "1")
        patch.setenv("AIP_MODE", "PREDICTION")  # llama.cpp would listen on another port
        patch.setenv("SECRET_OF_OURS", CANARY)
        running = Supervisor(engine_settings(home, store.path), store)
        running.start()
    yield running
    running.stop()


@pytest.fixture
def endpoint(running: Supervisor) -> EngineEndpoint:
    return next(endpoint for endpoint in running.endpoints() if endpoint.model == "tiny")


def test_endpoints_say_what_a_worker_must_know(running: Supervisor, endpoint: EngineEndpoint) -> None:
    assert [each.model for each in running.endpoints()] == ["eyes", "tiny"]
    assert len({each.url for each in running.endpoints()}) == len({each.api_key for each in running.endpoints()}) == 2
    assert msgspec.json.decode(msgspec.json.encode(endpoint), type=EngineEndpoint) == endpoint
    assert (endpoint.title, endpoint.developer, endpoint.slots, endpoint.queue_max) == ("Tiny", "Tests", 2, 64)
    assert (endpoint.context_tokens, endpoint.pool_tokens) == (2048, 4096)
    assert (endpoint.thinks, endpoint.sees) == (False, False)
    assert dict(zip(endpoint.end_tokens, endpoint.end_token_ids, strict=True)) == {"<|endoftext|>": 0, "<|im_end|>": 2}
    vocabulary = load_vocabulary(endpoint)
    assert [vocabulary[token].decode() for token in endpoint.end_token_ids] == endpoint.end_tokens


def test_an_engine_answers_its_key_only(endpoint: EngineEndpoint) -> None:
    assert 1 <= ask(endpoint, "hello")["usage"]["completion_tokens"] <= 8
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(endpoint, "hello", key="wrong")
    assert refused.value.code == 401


def test_each_answer_may_take_the_whole_context(endpoint: EngineEndpoint) -> None:
    usage = ask(endpoint, "x" * 1900, tokens=100)["usage"]
    assert usage["total_tokens"] > 2000


def test_an_engine_that_sees_takes_an_image(running: Supervisor) -> None:
    eyes = next(endpoint for endpoint in running.endpoints() if endpoint.model == "eyes")
    assert eyes.sees
    image = "data:image/png;base64," + base64.b64encode(_png(40, 30)).decode()
    content = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": image}}]
    with_image, without = ask(eyes, content), ask(eyes, "What is it?")
    # LLaVA puts the image between two line breaks; it makes 4 tokens of it.
    assert with_image["usage"]["prompt_tokens"] >= without["usage"]["prompt_tokens"] + 4


def test_no_page_of_a_browser_is_let_in(endpoint: EngineEndpoint) -> None:
    for method, path in (("OPTIONS", "/v1/chat/completions"), ("GET", "/health")):
        request = urllib.request.Request(endpoint.url + path, method=method, headers={"Origin": "https://evil.example"})
        with urllib.request.urlopen(request, timeout=10) as response:
            assert not response.headers["Access-Control-Allow-Origin"]
            assert response.headers["Access-Control-Allow-Credentials"] in (None, "false")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(endpoint.url + "/", timeout=10)
    refused.value.close()
    assert refused.value.code in (401, 404)


def test_nothing_that_a_caller_sends_is_logged(running: Supervisor, endpoint: EngineEndpoint) -> None:
    ask(endpoint, CANARY)
    for bad in ({"grammar": f"root ::= {CANARY} (("}, {"temperature": CANARY}, {"response_format": {"type": CANARY}}):
        with pytest.raises(urllib.error.HTTPError):
            ask(endpoint, CANARY, **bad)
    home = Path(endpoint.vocabulary_path).parents[2]
    for log in home.glob("engine-*.log"):
        assert CANARY not in log.read_text(encoding="utf-8")
        assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_neither_keys_nor_our_secrets_are_seen_by_others(running: Supervisor, endpoint: EngineEndpoint) -> None:
    pid = process_ids(running)["tiny"]
    seen = subprocess.run(["ps", "eww", "-p", str(pid)], check=True, capture_output=True, text=True).stdout
    assert "tollway.engine.child" in seen
    assert endpoint.api_key not in seen
    assert CANARY not in seen


def test_a_file_that_is_no_model_to_llama_cpp_says_why(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "lame.gguf")
    path.write_bytes(path.read_bytes().replace(b"output_norm.weight", b"output_nxrm.weight"))
    store = ModelStore(tmp_path / "models")
    pull(str(path), store)
    lame = Supervisor(engine_settings(tmp_path, store.path), store)
    with pytest.raises(EngineError, match=r"engine of the model lame did not start \(exit status 1\).*output_norm"):
        lame.start()
    lame.stop()


def test_which_models_are_served(pulled: ModelStore, tmp_path: Path) -> None:
    def served(local_models: str) -> list[str]:
        chosen = Supervisor(engine_settings(tmp_path, pulled.path, local_models=local_models), pulled)
        try:
            return [endpoint.model for endpoint in chosen.endpoints()]
        finally:
            chosen.stop()

    (pulled.path / "broken").mkdir()
    assert served("none") == []
    assert served("all") == ["tiny"]
    assert served(" tiny, tiny,") == ["tiny"]
    with pytest.raises(EngineError, match=r"tinny is not on this machine. Did you mean tiny"):
        served("tiny,tinny")
    with pytest.raises(EngineError, match="The model broken is broken"):
        served("broken")


def test_stopping_is_quick_and_may_be_repeated(pulled: ModelStore, tmp_path: Path) -> None:
    brief = Supervisor(engine_settings(tmp_path, pulled.path), pulled)
    brief.start()
    (endpoint,) = brief.endpoints()
    began = time.monotonic()
    brief.stop()
    assert time.monotonic() - began < 5
    assert not answers(endpoint)
    brief.stop()


def test_a_port_that_was_taken_before_the_first_start_is_replaced(
    pulled: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_CAN_RESERVE_PORTS", False)
    late = Supervisor(engine_settings(tmp_path, pulled.path), pulled)
    port = _port_of(late)
    with socket.create_server(("127.0.0.1", port)):
        late.start()
    assert _port_of(late) != port
    assert answers(late.endpoints()[0])
    late.stop()


def _taken(port: int) -> socket.socket:
    """A server at the port as soon as the one that is dying there is gone."""
    ended = time.monotonic() + 5
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            assert time.monotonic() < ended
            time.sleep(0.01)


def test_a_port_that_was_taken_between_two_engines_is_waited_for(
    pulled: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_free_port", lambda: (None, _quiet_port()))  # not reserved
    monkeypatch.setattr(supervisor, "BACKOFF_SECONDS_MIN", 6.0)  # long enough to take the port meanwhile
    robbed = Supervisor(engine_settings(tmp_path, pulled.path), pulled)
    robbed.start()
    (endpoint,) = robbed.endpoints()
    first = process_ids(robbed)["tiny"]
    os.kill(first, 9)
    with _taken(_port_of(robbed)):
        wait_until(lambda: process_ids(robbed)["tiny"] != first, 20)
        second = process_ids(robbed)["tiny"]
        wait_until(lambda: not is_alive(second), 20)  # it found its port taken
    wait_until(lambda: answers(endpoint), 20)
    robbed.stop()


@pytest.mark.skipif(not supervisor._CAN_RESERVE_PORTS, reason="ports are reserved on Linux only")
def test_nobody_else_gets_the_port_while_no_engine_runs(pulled: ModelStore, tmp_path: Path) -> None:
    idle = Supervisor(engine_settings(tmp_path, pulled.path), pulled)
    with pytest.raises(OSError, match="in use"), socket.create_server(("127.0.0.1", _port_of(idle))):
        pass
    assert not answers(idle.endpoints()[0])  # the reservation takes no connections
    idle.stop()
    socket.create_server(("127.0.0.1", _port_of(idle))).close()


GIB = 1 << 30


@pytest.mark.parametrize(
    ("trained", "bytes_per_token", "slots", "wanted", "memory", "expected"),
    [
        (8192, 23_040, 8, 0, 16 * GIB, (8192, 23_301)),  # SmolLM2-135M: 512 MiB
        (8192, 23_040, 8, 0, 2 * GIB, (8192, 11_650)),  # an eighth of a small machine
        (8192, 23_040, 8, 0, GIB // 2, (8192, 8192)),  # one answer always fits
        (8192, 23_040, 2, 0, 16 * GIB, (8192, 16_384)),  # no more than the slots can fill
        (131_072, 131_072, 8, 0, 16 * GIB, (65_536, 65_536)),  # half of the memory bounds a long context
        (8192, 0, 8, 0, GIB, (8192, 8192)),  # nothing known of the architecture
        (8192, 23_040, 8, 4096, GIB, (4096, 4096)),
        (8192, 23_040, 8, 100_000, GIB, (8192, 100_000)),  # the operator's word
    ],
)
def test_the_pool_of_context(
    pulled: ModelStore, trained: int, bytes_per_token: int, slots: int, wanted: int, memory: int, expected: tuple[int, int]
) -> None:
    facts: ModelFacts = msgspec.structs.replace(pulled.get("tiny"), context_tokens=trained, kv_bytes_per_token=bytes_per_token)
    assert plan_context(facts, slots, wanted, memory) == expected
    assert plan_context(facts, slots, wanted)[0] <= trained


def test_a_library_that_is_missing_is_named_with_its_package(
    pulled: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    broken = Supervisor(engine_settings(tmp_path, pulled.path), pulled)
    with pytest.raises(EngineError, match=r"did not start \(exit status 1\).*libgomp\.so\.1.*apt-get install libgomp1"):
        broken.start()


@pytest.mark.parametrize(("signal_name", "hinted"), [("SIGILL", True), ("SIGKILL", False)])
def test_an_engine_that_is_killed_at_its_start_has_a_hint_where_there_is_one(
    pulled: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signal_name: str, hinted: bool
) -> None:
    (tmp_path / "xllamacpp.py").write_text(f"import os, signal\nos.kill(os.getpid(), signal.{signal_name})")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    broken = Supervisor(engine_settings(tmp_path, pulled.path), pulled)
    with pytest.raises(EngineError, match=f"killed by {signal_name}") as raised:
        broken.start()
    assert ("TOLLWAY_LOCAL_MODELS=none" in str(raised.value)) == hinted
    assert "make clean" not in str(raised.value)


def _quiet_port() -> int:
    """A free port that no system gives to whoever asks for any, as other tests do all the time."""
    for port in random.sample(range(20_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


def _port_of(some: Supervisor) -> int:
    return int(some.endpoints()[0].url.rpartition(":")[2])


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes((row * 3 + i) % 256 for i in range(3 * width)) for row in range(height))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
