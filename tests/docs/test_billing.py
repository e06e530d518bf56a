"""docs/billing.md is true: its snippets run."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from tests import snippets
from tests.live import LiveServer

PAGE = (Path(__file__).parents[2] / "docs" / "billing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_there_are_snippets() -> None:
    assert len(BLOCKS) >= 5


@pytest.mark.parametrize(("language", "code"), BLOCKS, ids=range(len(BLOCKS)))
def test_each_snippet_runs(server: LiveServer, language: str, code: str) -> None:
    code = code.replace("http://127.0.0.1:8080", server.url).replace("<YOUR_API_KEY>", server.key)
    if language == "sh":
        home, python = shlex.quote(str(server.home)), shlex.quote(sys.executable)
        code = f'tollway() {{ TOLLWAY_HOME={home} {python} -m tollway "$@"; }}\n{code}'

    output = snippets.run(language, code)

    assert '"error"' not in output
    assert output
