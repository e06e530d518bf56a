"""The documentation is true: every snippet in it runs."""

import os
import re
import sys
from pathlib import Path

import pytest
from tests import snippets
from tests.live import LiveServer

from tollway.web import dialects, docs

_BLOCK = re.compile(r"^```(python|javascript|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_GUIDE = Path(docs.__file__).parent / "guide"
# What is in the files of `docs/` needs more than a server, so each has a test of its own.
HANDBOOK = sorted((Path(__file__).parents[2] / "docs").glob("*.md"))
SNIPPETS = [
    pytest.param(language, code, id=f"{document.name}-{number}-{language}")
    for document in docs.documents().values()
    if (_GUIDE / f"{document.name}.md").is_file()
    for number, (language, code) in enumerate(_BLOCK.findall(document.markdown))
]
BODY = {
    "model": "google/gemini-2.5-flash-lite-preview",
    "messages": [{"role": "user", "content": 'It\'s "quoted" – say hi\\n'}],
    "max_tokens": 8,
    "temperature": 0.5,
    "stop": ["\n\n"],
    "top_k": 20,
}
_NODE_MODULES = Path(__file__).parents[1] / "conformance" / "node_modules"


def _environment(server: LiveServer) -> dict[str, str]:
    """With the `tollway` of this environment on the path, and this server's home."""
    return server.environment | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize(("language", "code"), SNIPPETS)
def test_each_snippet_of_the_guide_runs(server: LiveServer, language: str, code: str) -> None:
    code = code.replace(docs.WRITTEN_FOR, server.url).replace(dialects.KEY_PLACEHOLDER, server.key)

    output = snippets.run(language, code, _environment(server))

    assert output.strip()
    assert '"error"' not in output


@pytest.mark.parametrize("path", HANDBOOK, ids=lambda path: path.stem)
def test_each_page_of_the_handbook_with_snippets_has_a_test_of_its_own(path: Path) -> None:
    has_snippets = _BLOCK.search(path.read_text(encoding="utf-8")) is not None
    assert not has_snippets or (Path(__file__).parent / f"test_{path.stem.replace('-', '_')}.py").exists()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", dialects.dialects(), ids=lambda dialect: dialect.id)
def test_each_dialect_writes_code_that_runs(server: LiveServer, dialect: dialects.Dialect, stream: bool) -> None:
    environment = dict(os.environ)
    if dialect.id == "javascript-openai":
        if not (_NODE_MODULES / "openai").exists():
            pytest.skip("the openai package for Node comes with `make conformance`")
        environment["NODE_PATH"] = str(_NODE_MODULES)
    body = BODY | ({"stream": True} if stream else {})

    output = snippets.run(dialect.language, dialects.write(dialect, server.base_url, body, server.key), environment)

    assert output.strip() or "print" in dialect.code, output
    assert '"error"' not in output
