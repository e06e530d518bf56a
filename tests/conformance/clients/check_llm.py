"""The `llm` command with a model of ours in `extra-openai-models.yaml`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llm")
    model = {
        "model_id": "tollway",
        "model_name": os.environ["CLIENT_MODEL"],
        "api_base": os.environ["CLIENT_BASE_URL"],
        "api_key_name": "tollway",
        "supports_schema": True,
        "supports_tools": True,
    }
    (folder / "extra-openai-models.yaml").write_text(json.dumps([model]))  # JSON is YAML
    llm(folder, "keys", "set", "tollway", "--value", os.environ["CLIENT_KEY"])
    return folder


def llm(home: Path, *arguments: str, may_say: str = "") -> str:
    """What the command prints. It must succeed, or fail with what it `may_say`."""
    environment = os.environ | {"LLM_USER_PATH": str(home)}
    command = [sys.executable, "-m", "llm", *arguments]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0 or (may_say and may_say in done.stderr), done.stderr
    return done.stdout


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt(home: Path, stream: bool) -> None:
    assert llm(home, "-m", "tollway", "-o", "max_tokens", "8", *([] if stream else ["--no-stream"]), "Say hello.").strip()


def test_a_conversation_goes_on(home: Path) -> None:
    assert llm(home, "-m", "tollway", "-c", "-o", "max_tokens", "8", "And again.").strip()


@pytest.mark.parametrize("stream", [True, False])
def test_a_schema(home: Path, stream: bool) -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"big": {"type": "boolean"}}, "required": ["big"]}
    schema["additionalProperties"] = False

    answer = llm(home, "-m", "tollway", *([] if stream else ["--no-stream"]), "--schema", json.dumps(schema), "Is Paris big?")

    assert isinstance(json.loads(answer)["big"], bool)


def test_a_tool_is_offered(home: Path) -> None:
    code = "def weather(city: str) -> str:\n    'The weather of a city.'\n    return 'sunny'"
    options = ["-m", "tollway", "-o", "max_tokens", "40", "--functions", code, "--chain-limit", "2"]

    # whether the model calls it, and ever stops, is up to the model
    llm(home, *options, "Is Paris sunny?", may_say="Chain limit")
