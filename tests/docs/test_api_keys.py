"""docs/api-keys.md is true: its snippets run, and its table names every limit."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from tests import snippets
from tests.live import LiveServer

from tollway.wire.keys import KeyCreate

PAGE = (Path(__file__).parents[2] / "docs" / "api-keys.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_there_are_snippets() -> None:
    assert len(BLOCKS) >= 7


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_each_snippet_runs(server: LiveServer, code: str) -> None:
    management = server.cli("keys", "create", "--management", "--quiet").strip()
    prefix = json.loads(server.cli("keys", "create", "--json"))["prefix"]
    code = code.replace("http://127.0.0.1:8080", server.url).replace("<YOUR_API_KEY>", server.key)
    code = code.replace("<MANAGEMENT_KEY>", management).replace("<PREFIX>", prefix)
    tollway = f'tollway() {{ TOLLWAY_HOME={shlex.quote(str(server.home))} {shlex.quote(sys.executable)} -m tollway "$@"; }}\n'

    output = snippets.run("sh", tollway + code)

    assert '"error"' not in output
    if "curl" in code:
        assert '"data"' in output


def test_the_table_names_every_limit() -> None:
    fields = set(re.findall(r"`(\w+)`", " ".join(line.split("|")[3] for line in PAGE.splitlines() if line.startswith("| "))))
    assert fields == set(KeyCreate.__struct_fields__) - {"name"}
