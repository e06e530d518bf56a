"""What the pages say of `tollway.toml` is what it takes."""

import re
from pathlib import Path

import pytest

from tollway.catalog import load_catalog, load_configuration
from tollway.settings import Settings

ROOT = Path(__file__).parents[2]
KEYS = {"OPENAI_API_KEY": "sk-x", "ACME_API_KEY": "sk-y"}


@pytest.mark.parametrize("page", ["README.md", "docs/configuration.md"])
def test_each_example_can_be_used(tmp_path: Path, page: str) -> None:
    examples = re.findall(r"^```toml\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert examples
    for example in examples:
        (tmp_path / "tollway.toml").write_text(example)
        configuration = load_configuration(Settings(home=tmp_path), KEYS)
        plan = load_catalog([], default_model="x", stand_in=True, configuration=configuration).resolve("acme/chat")
        assert len(plan.routes) >= 2
        assert plan.unusable == ()
