"""The first start on a machine that has nothing: the model is fetched, a key is made, and the page's own model answers."""

import re
from pathlib import Path

from tests.live import MODEL, serving


def test_the_first_start_ends_with_an_answer(tmp_path: Path) -> None:
    with serving(tmp_path / "home", tmp_path / "models") as first:
        assert first.chat("Hello", model=MODEL, max_tokens=5)["model"] == "local/smollm2-135m-instruct"
        printed = (tmp_path / "home.log").read_text()
        [key] = set(re.findall(r"tw_[0-9A-Za-z]{36}", printed))
        first.key = key
        assert first.chat("Hello", max_tokens=2)["choices"]

    with serving(tmp_path / "home", tmp_path / "models") as second:
        second.key = key
        assert second.chat("Hello", max_tokens=2)["choices"]
        assert re.findall(r"tw_[0-9A-Za-z]{36}", (tmp_path / "home.log").read_text()) == []
