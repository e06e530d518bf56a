"""schemathesis finds no server error, and no answer that `/openapi.json` does not describe.

In the suite it thinks of the same requests every time, and walks through every bound of a schema (its coverage phase) once.
With `FUZZ_EXAMPLES=300`, as in `make conformance`, it makes that many for each operation, others every time, and walks
everywhere.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from tests.live import LiveServer

ROOT = Path(__file__).parents[2]
EXAMPLES = os.environ.get("FUZZ_EXAMPLES")
AMOUNT = ["--max-examples", EXAMPLES] if EXAMPLES else ["--max-examples", "12", "--seed", "1"]


def fuzz(
    server: LiveServer, folder: Path, *arguments: str, streams: bool = False, session: bool = False, coverage: bool = False
) -> int:
    """How many requests were made, all of them answered as the document says.

    `streams`: each asks for a stream. `session`: none has an Authorization header, of which the document knows nothing.
    """
    excluded = "positive_data_acceptance,negative_data_rejection"  # the hooks have checks in their places
    if session:
        excluded += ",ignored_auth,missing_required_header,invalid_requests_are_refused"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", server.url + "/openapi.json"),
        *("--checks", "all", "--exclude-checks", excluded),
        *("--phases", "examples,coverage,fuzzing" if EXAMPLES or coverage else "examples,fuzzing"),
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
    environment |= {"FUZZ_STREAMS": "yes" if streams else "", "FUZZ_SESSION": "yes" if session else ""}
    # From a folder of its own: it keeps what it learned in files.
    done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    generated = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert generated, done.stdout
    print(generated[0])
    return int(generated[1])


CHAT = ("--include-operation-id", "createChatCompletion")

pytestmark = pytest.mark.timeout(3600)


Record = Callable[[str, int], None]


def test_every_answer_is_as_the_document_says(server: LiveServer, tmp_path: Path, record_property: Record) -> None:
    made = fuzz(server, tmp_path, "--header", f"Authorization: Bearer {server.key}")
    record_property("requests", made)
    assert made > 100


def test_so_is_every_answer_to_those_who_manage_keys(server: LiveServer, tmp_path: Path, record_property: Record) -> None:
    """The management key itself is out of reach of these endpoints, and the other tests' keys are left alone."""
    key = server.cli("keys", "create", "--management", "--quiet").strip()
    kept = {row["id"]: row["state"] for row in json.loads(server.cli("keys", "list", "--json"))}
    made = fuzz(server, tmp_path, "--include-tag", "Keys", "--header", f"Authorization: Bearer {key}", coverage=True)
    record_property("requests", made)
    assert made > 50
    after = {row["id"]: row["state"] for row in json.loads(server.cli("keys", "list", "--json"))}
    assert {id_: after.get(id_) for id_ in kept} == kept
    assert len(after) > len(kept), "no key was made"
    assert any(row["previous_prefix"] for row in json.loads(server.cli("keys", "list", "--json"))), "no key was rotated"


def test_so_is_every_answer_about_money(server: LiveServer, tmp_path: Path, record_property: Record) -> None:
    key = server.cli("keys", "create", "--management", "--quiet").strip()
    made = fuzz(server, tmp_path, "--include-tag", "Billing", "--header", f"Authorization: Bearer {key}", coverage=True)
    record_property("requests", made)
    assert made > 100


def test_so_is_every_event_of_a_stream(server: LiveServer, tmp_path: Path, record_property: Record) -> None:
    made = fuzz(server, tmp_path, *CHAT, "--header", f"Authorization: Bearer {server.key}", streams=True, coverage=True)
    record_property("requests", made)
    assert made > 10


def test_so_is_every_answer_to_who_is_signed_in(server: LiveServer, tmp_path: Path, record_property: Record) -> None:
    with signed_in(server) as (session, csrf):
        cookie = "; ".join(f"{each.name}={each.value}" for each in session.cookies)
        headers = (f"Cookie: {cookie}", f"X-CSRF-Token: {csrf}", f"Origin: {server.url}")
        empty = session.post(server.base_url + "/chat/completions", json={}, headers={"X-CSRF-Token": csrf})
        assert empty.status_code == 400, "a 401 would mean that the session does not count"
        made = fuzz(server, tmp_path, *CHAT, *(part for header in headers for part in ("--header", header)), session=True)
    record_property("requests", made)
    assert made > 10


def test_so_is_every_answer_to_strangers(server: LiveServer, tmp_path: Path, record_property: Record) -> None:
    made = fuzz(server, tmp_path, *CHAT)
    record_property("requests", made)
    assert made > 10


@contextlib.contextmanager
def signed_in(server: LiveServer) -> Iterator[tuple[requests.Session, str]]:
    """The first owner's browser, and the token of the forms."""
    log = (server.home.parent / f"{server.home.name}.log").read_text(encoding="utf-8")
    link = re.findall(r"/welcome/\w{32}", log)[-1]
    with requests.Session() as session:
        session.headers["Origin"] = server.url
        fields = {
            "email": "owner@example.org",
            "password": "correct horse battery staple",
            "again": "correct horse battery staple",
        }
        form = session.get(server.url + link).text
        done = session.post(server.url + link, {**fields, "csrf": _csrf_of(form)})
        assert done.status_code == 200, done.text
        yield session, _csrf_of(session.get(server.url + "/playground").text)


def _csrf_of(page: str) -> str:
    found = re.search(r'csrf"[^>]*(?:value|content)="([^"]+)"', page)
    assert found, page
    return found[1]
