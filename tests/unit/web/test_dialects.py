"""Requests as code. That the code runs is shown in tests/docs; that the browser writes the same code is shown here."""

import ast
import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tollway.web import assets
from tollway.web.dialects import Dialect, dialects, write

BODIES: list[dict[str, Any]] = [
    {"model": "m", "messages": [{"role": "user", "content": "Hello"}]},
    {"model": "m", "messages": [], "stream": True, "temperature": 0.5, "n": 2, "stop": ["a", "'b'", '"c"'], "logprobs": False},
    {
        "model": "it's",
        "messages": [{"role": "user", "content": "line\nline \\ “quotes” $HOME `x` 日本 \u2028 {{key}}"}],
        "top_k": 1,
    },
    {
        "model": "m",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x" * 90}]}],
        "metadata": {},
        "user": None,
    },
]


def _by_id(name: str) -> Dialect:
    return next(dialect for dialect in dialects() if dialect.id == name)


@pytest.mark.parametrize("body", BODIES)
def test_python_reads_back_what_was_written(body: dict[str, Any]) -> None:
    tree = ast.parse(write(_by_id("python-requests"), "http://h/v1", body))
    literals = [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "json"]
    assert [ast.literal_eval(literal) for literal in literals] == [body]


@pytest.mark.parametrize("body", BODIES)
def test_the_shell_reads_back_what_was_written(body: dict[str, Any]) -> None:
    code = write(_by_id("curl"), "http://h/v1", body, "tw_key")
    shown = subprocess.run(
        ["sh", "-c", f'curl() {{ for last; do :; done; printf %s "$last"; }}\n{code}'], capture_output=True, check=True
    )
    assert json.loads(shown.stdout) == body


class _Fails(BaseHTTPRequestHandler):
    """Refuses who has no key, and breaks off in front of everybody else."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        refused = self.headers["authorization"] != "Bearer good"
        self.send_response(401 if refused else 200)
        self.end_headers()
        events = ('{"id": "x"}', '{"choices": [{"delta": {"content": "Hel"}}]}', '{"error": {"message": "It broke off."}}')
        broken = "".join(f"data: {event}\n\n" for event in events).encode()
        self.wfile.write(b'{"message": "Who are you?"}' if refused else broken)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize(("key", "told"), [("bad", "Who are you?"), ("good", "It broke off.")])
@pytest.mark.parametrize("name", ["python-requests", "javascript-fetch"])
def test_a_stream_that_fails_is_told(name: str, key: str, told: str) -> None:
    program = [sys.executable, "-c"] if name.startswith("python") else ["node", "-e"]
    if shutil.which(program[0]) is None:
        pytest.skip("Node is not installed")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Fails) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code = write(_by_id(name), f"http://127.0.0.1:{server.server_port}", BODIES[1], key)
        done = subprocess.run([*program, code], check=False, capture_output=True, text=True, timeout=60)
        server.shutdown()
    assert done.returncode == 1
    assert done.stdout == ("Hel" if key == "good" else "")
    assert told in done.stderr
    assert "KeyError" not in done.stderr


def test_parameters_that_the_sdk_does_not_know_travel_in_extra_body() -> None:
    code = write(_by_id("python-openai"), "http://h/v1", {"model": "m", "messages": [], "top_k": 3})
    assert 'extra_body={"top_k": 3}' in code


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
@pytest.mark.parametrize("body", BODIES)
def test_the_browser_writes_the_same_code(tmp_path: Path, body: dict[str, Any]) -> None:
    (tmp_path / "dialects.mjs").write_bytes(assets._files()["dialects.js"])
    script = (
        "import { write } from './dialects.mjs';\n"
        "const [dialects, body] = JSON.parse(process.argv[1]);\n"
        "console.log(JSON.stringify(dialects.map((d) => write(d.code, 'http://h/v1', body, 'tw_key'))));"
    )
    given = json.dumps([[{"code": dialect.code} for dialect in dialects()], body])
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script, given], cwd=tmp_path, capture_output=True, check=True, text=True
    )
    assert json.loads(done.stdout) == [write(dialect, "http://h/v1", body, "tw_key") for dialect in dialects()]
