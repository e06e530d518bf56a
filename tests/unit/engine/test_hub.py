"""Pulling from the Hugging Face Hub, through its own library, from a stand-in that answers as the hub does."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tollway.engine.store import file_sha256

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves `files` of the repository org/repo, at `main` and at COMMIT."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        """What the hub claims, where that is not the content's SHA-256."""
        self.stall_after: int | None = None
        self.stalled = threading.Event()
        self.go_on = threading.Event()
        self.gets = 0


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.server.gets += 1
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        parts = self.path.split("?")[0].split("/", 5)
        repository, revision, file = "/".join(parts[1:3]), parts[4] if len(parts) > 4 else "", parts[-1]
        content = self.server.files.get(file)
        if repository != "org/repo":
            return self.refuse("RepoNotFound", 401)
        if revision not in ("main", COMMIT):
            return self.refuse("RevisionNotFound", 404)
        if content is None:
            return self.refuse("EntryNotFound", 404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"' + self.server.etags.get(file, hashlib.sha256(content).hexdigest()) + '"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            self.send(content)
        return None

    def send(self, content: bytes) -> None:
        stall = self.server.stall_after
        if stall is None:
            self.wfile.write(content)
            return
        self.wfile.write(content[:stall])
        self.wfile.flush()
        self.server.stalled.set()
        self.server.go_on.wait(30)

    def refuse(self, code: str, status: int) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""


@pytest.fixture
def hub(tiny_model: Path, tiny_eyes: Path) -> Iterator[Hub]:
    with Hub() as server:
        server.files = {"Tiny.gguf": tiny_model.read_bytes(), "eyes/mmproj.gguf": tiny_eyes.read_bytes()}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.go_on.set()
        server.shutdown()


@pytest.fixture
def command(hub: Hub, tmp_path: Path) -> "Command":
    return Command(f"http://127.0.0.1:{hub.server_port}", tmp_path)


class Command:
    """`tollway models pull` in a process of its own: the hub's library reads HF_ENDPOINT once, when it is imported."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.models = folder / "home" / "models"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TOLLWAY_", "HF_"))}
        self.environment = kept | {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(folder / "hf"),
            "TOLLWAY_HOME": str(folder / "home"),
            "no_proxy": "127.0.0.1",
        }

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "tollway", "models", "pull", *arguments]
        # A suite that runs in the background ignores Ctrl-C, and would hand that down.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return subprocess.Popen(command, env=self.environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


def test_a_file_of_the_hub_and_its_projector(command: Command, hub: Hub, tiny_model: Path) -> None:
    arguments = ("hf:org/repo:Tiny.gguf", "--mmproj", "hf:org/repo:eyes/mmproj.gguf@main", "--json")
    status, out, err = command.run(*arguments)
    assert status == 0, err
    facts = json.loads(out)
    assert (facts["name"], facts["source"]) == ("tiny", f"hf:org/repo:Tiny.gguf@{COMMIT}")
    assert facts["sha256"] == file_sha256(tiny_model)
    assert facts["mmproj_sha256"] == hashlib.sha256(hub.files["eyes/mmproj.gguf"]).hexdigest()
    assert sorted(entry.name for entry in (command.models / "tiny").iterdir()) == [
        "mmproj.gguf",
        "model.gguf",
        "model.json",
        "vocabulary.msgpack",
    ]
    assert "Downloading Tiny.gguf" in err
    gets = hub.gets
    status, out, err = command.run(*arguments)
    assert (status, json.loads(out)["already_there"], hub.gets) == (0, True, gets), err


def test_other_bytes_than_the_hub_or_the_user_states_are_refused(command: Command, hub: Hub) -> None:
    hub.etags["Tiny.gguf"] = "0" * 64
    status, _, err = command.run("hf:org/repo:Tiny.gguf")
    assert status == 1
    assert "other bytes came than expected" in err
    hub.etags.clear()
    gets = hub.gets
    status, _, err = command.run("hf:org/repo:Tiny.gguf", "--sha256", "1" * 64)
    assert (status, hub.gets) == (1, gets)
    assert "not the file that --sha256 names" in err
    # Small files outside of the hub's large-file storage have no SHA-256 for an ETag: the user's own pin still counts.
    hub.etags["Tiny.gguf"] = "0" * 40
    status, _, err = command.run("hf:org/repo:Tiny.gguf", "--sha256", "1" * 64)
    assert status == 1
    assert "other bytes came than expected" in err
    assert list(command.models.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hf:org/other:Tiny.gguf", "no such repository, or it is private"),
        ("hf:org/repo:none.gguf", "no such file in the repository"),
        ("hf:org/repo:Tiny.gguf@v9", "no such revision"),
    ],
)
def test_what_the_hub_does_not_have_is_explained(command: Command, source: str, message: str) -> None:
    status, out, err = command.run(source)
    assert (status, out) == (1, "")
    assert message in err
    assert "Traceback" not in err


def test_a_hub_that_cannot_be_reached_is_a_clear_error(command: Command) -> None:
    command.environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    status, _, err = command.run("hf:org/repo:Tiny.gguf")
    assert status == 1
    assert "the hub cannot be reached; is there a network?" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_pull_that_is_stopped_leaves_no_half_model(command: Command, hub: Hub, sign: signal.Signals) -> None:
    hub.stall_after = 1000
    process = command.start("hf:org/repo:Tiny.gguf")
    assert hub.stalled.wait(30)
    process.send_signal(sign)
    _, err = process.communicate(timeout=30)
    if sign == signal.SIGINT:
        assert process.returncode == 130
        assert err.endswith("error Stopped. Nothing was kept.\n")
        assert list(command.models.iterdir()) == []
    hub.stall_after = None
    status, _, err = command.run("hf:org/repo:Tiny.gguf")
    assert status == 0, err
    assert [entry.name for entry in command.models.iterdir()] == ["tiny"]
