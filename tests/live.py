"""A real Tollway in processes of its own: `tollway serve` on a free port, with a fresh home and the model already pulled."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tollway import settings

MODEL = "google/gemini-2.5-flash-lite-preview"
LOCAL_MODEL = "local/smollm2-135m-instruct"
START_SECONDS_MAX = 120


@dataclass
class LiveServer:
    """A running service, and a key for it."""

    port: int
    key: str
    home: Path
    process: "subprocess.Popen[bytes]"
    environment: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return self.url + "/v1"

    def cli(self, *arguments: str) -> str:
        """What `tollway ARGUMENTS` prints in this server's home."""
        command = [sys.executable, "-m", "tollway", *arguments]
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers by lower-case name, body) of one request; a body that is not bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=sent)
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return response.status, {k.lower(): v for k, v in response.headers.items()}, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()

    def chat(self, content: str | list[dict[str, Any]] = "Hello", **fields: Any) -> dict[str, Any]:
        """The completion for one user message, or for a whole list of messages; fails on anything but a 200."""
        body = {"model": MODEL, "messages": _messages(content), **fields}
        status, _, raw = self.request("POST", "/v1/chat/completions", body)
        assert status == 200, raw.decode()
        completion: dict[str, Any] = json.loads(raw)
        return completion

    def events(self, content: str | list[dict[str, Any]] = "Hello", **fields: Any) -> list[dict[str, Any]]:
        """The data events of a stream, without `[DONE]`, which must be the last one."""
        body = {"model": MODEL, "messages": _messages(content), "stream": True, **fields}
        status, headers, raw = self.request("POST", "/v1/chat/completions", body)
        assert status == 200, raw.decode()
        assert headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in raw.decode().split("\n\n") if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        return [json.loads(line) for line in lines[:-1]]

    def error(self, path: str = "/v1/chat/completions", body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        """(status, problem) of a POST that must fail."""
        status, _, raw = self.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        assert status >= 400, raw.decode()
        return status, json.loads(raw)


def _messages(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}] if isinstance(content, str) else content


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(
    home: Path, models: Path | None = None, *, key_name: str | None = None, **settings_given: str
) -> Iterator[LiveServer]:
    """A service for the length of a `with`; `settings_given` by their names, such as `engine_slots="2"`.

    Its key is called `key_name`, or else by its prefix, so that several services may share a database.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOLLWAY_")}
    environment |= {"TOLLWAY_HOME": str(home), "TOLLWAY_MODELS_DIR": str(models or settings.load().models_path)}
    environment |= {f"TOLLWAY_{name.upper()}": value for name, value in settings_given.items()}
    port = int(settings_given.get("port") or free_port())
    log = (home.parent / f"{home.name}.log").open("wb")
    command = [sys.executable, "-m", "tollway", "serve", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    server = LiveServer(port, "", home, process, environment)
    try:
        wait_until_ready(server, Path(log.name))
        named = () if key_name is None else ("--name", key_name)
        server.key = server.cli("keys", "create", *named, "--quiet").strip()
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            log.close()


def wait_until_ready(server: LiveServer, log: Path) -> None:
    """Waits until the service takes requests; fails when it has ended, with the end of its log."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        assert server.process.poll() is None, f"tollway serve ended:\n{log.read_text()[-4000:]}"
        with contextlib.suppress(OSError):
            if server.request("GET", "/readyz")[0] == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"not ready after {START_SECONDS_MAX} s:\n{log.read_text()[-4000:]}")
