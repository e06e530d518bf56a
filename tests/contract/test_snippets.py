"""The reference page's own snippets answer, with only the URL and the key changed. The files are as the page has them."""

import json
from pathlib import Path

import pytest
from tests import snippets
from tests.live import LOCAL_MODEL, LiveServer

SNIPPETS = Path(__file__).parent / "snippets"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", ["python", "javascript", "sh"])
def test_the_reference_snippet_answers(server: LiveServer, language: str) -> None:
    page = (SNIPPETS / f"{language}.txt").read_text(encoding="utf-8")
    assert page.count("https://api.aimlapi.com") == 1

    output = snippets.run(
        language, page.replace("https://api.aimlapi.com", server.url).replace("<YOUR_AIMLAPI_KEY>", server.key)
    )

    completion = json.loads(output)
    assert completion["object"] == "chat.completion"
    assert completion["model"] == LOCAL_MODEL
    assert completion["choices"][0]["message"]["content"]
    assert completion["meta"]["usage"]["credits_used"] > 0
