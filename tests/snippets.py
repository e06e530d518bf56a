"""Runs code of documentation pages as a reader would: on its own, with nothing but the URL and the key changed."""

import os
import shutil
import subprocess
import sys

import pytest

COMMANDS = {"python": [sys.executable, "-c"], "javascript": ["node", "-e"], "sh": ["sh", "-ec"]}
_PROGRAMS = {"python": sys.executable, "javascript": "node", "sh": "curl"}
_SECONDS_MAX = 580  # a small model on a busy machine may ramble


def run(language: str, code: str, environment: dict[str, str] | None = None) -> str:
    """What the code prints, in an environment of its own or in ours.

    Skips where the language is not installed; fails then in CI, so that it is never left out there.
    """
    program = _PROGRAMS[language]
    if shutil.which(program) is None:
        message = f"{program} is not installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    done = subprocess.run(
        [*COMMANDS[language], code], check=False, capture_output=True, text=True, timeout=_SECONDS_MAX, env=environment
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
