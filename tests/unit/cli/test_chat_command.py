import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tests.live import free_port
from typer.testing import CliRunner

from tollway.cli import app

THOUGHT, SAID = "either [/dim] or [red] :key:", "[bold] it is"


class Answering(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        deltas = ({"reasoning_content": THOUGHT}, {"content": SAID})
        chunks = [{"model": "m", "choices": [{"delta": delta}]} for delta in deltas]
        body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLWAY_HOME", str(tmp_path))


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def test_thought_and_answer_are_shown_as_they_are(url: str) -> None:
    result = CliRunner().invoke(app, ["chat", "Hi", "--url", url, "--key", "tw_test"])
    assert result.exit_code == 0, result.output
    assert result.stdout == SAID
    assert result.stderr == THOUGHT


@pytest.mark.parametrize(("host", "here"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])
def test_the_service_of_this_machine_is_asked_wherever_it_listens(
    host: str, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("TOLLWAY_HOST", host)
    monkeypatch.setenv("TOLLWAY_PORT", str(port))
    result = CliRunner().invoke(app, ["chat", "Hi", "--key", "tw_test"])
    assert result.exit_code == 1
    assert f"Nothing answers at http://{here}:{port}/v1." in result.stderr
