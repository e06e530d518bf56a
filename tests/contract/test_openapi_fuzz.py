"""schemathesis finds no server error, and no answer that `/openapi.json` does not describe.

In the suite it thinks of the same requests every time. With `FUZZ_EXAMPLES=300`, as in `make conformance`, it makes that many
for each operation, and others every time.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.live import LiveServer

ROOT = Path(__file__).parents[2]
EXAMPLES = os.environ.get("FUZZ_EXAMPLES")
AMOUNT = ["--max-examples", EXAMPLES] if EXAMPLES else ["--max-examples", "12", "--seed", "1"]


def fuzz(server: LiveServer, folder: Path, *arguments: str, streams: bool = False) -> int:
    """How many requests were made, all of them answered as the document says. `streams`: each asks for a stream."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", server.url + "/openapi.json"),
        *("--checks", "all", "--exclude-checks", "positive_data_acceptance"),  # the hooks have a check in its place
        *("--phases", "examples,coverage,fuzzing"),
        *AMOUNT,
        *(
            "--continue-on-failure",
            "--no-shrink",
            "--request-timeout",
            "120",
            "--max-response-time",
            "110",
            "--suppress-health-check",
            "all",
        ),
        *arguments,
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.contract.schemathesis_hooks"}
    environment["FUZZ_STREAMS"] = "yes" if streams else ""
    # From a folder of its own: it keeps what it learned in files.
    done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    generated = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert generated, done.stdout
    print(generated[0])
    return int(generated[1])


CHAT = ("--include-operation-id", "createChatCompletion")

pytestmark = pytest.mark.timeout(3600)


def test_every_answer_is_as_the_document_says(server: LiveServer, tmp_path: Path) -> None:
    assert fuzz(server, tmp_path, "--header", f"Authorization: Bearer {server.key}") > 100


def test_so_is_every_answer_to_those_who_manage_keys(server: LiveServer, tmp_path: Path) -> None:
    """The management key itself is out of reach of these endpoints, and the other tests' keys are left alone."""
    key = server.cli("keys", "create", "--management", "--quiet").strip()
    kept = {row["id"]: row["state"] for row in json.loads(server.cli("keys", "list", "--json"))}
    assert fuzz(server, tmp_path, "--include-tag", "Keys", "--header", f"Authorization: Bearer {key}") > 50
    after = {row["id"]: row["state"] for row in json.loads(server.cli("keys", "list", "--json"))}
    assert {id_: after.get(id_) for id_ in kept} == kept
    assert len(after) > len(kept), "no key was made"
    assert any(row["previous_prefix"] for row in json.loads(server.cli("keys", "list", "--json"))), "no key was rotated"


def test_so_is_every_answer_about_money(server: LiveServer, tmp_path: Path) -> None:
    key = server.cli("keys", "create", "--management", "--quiet").strip()
    assert fuzz(server, tmp_path, "--include-tag", "Billing", "--header", f"Authorization: Bearer {key}") > 100


def test_so_is_every_event_of_a_stream(server: LiveServer, tmp_path: Path) -> None:
    assert fuzz(server, tmp_path, *CHAT, "--header", f"Authorization: Bearer {server.key}", streams=True) > 10


def test_so_is_every_answer_to_strangers(server: LiveServer, tmp_path: Path) -> None:
    assert fuzz(server, tmp_path, *CHAT) > 10
