"""What every command does with its output, and what `tollway` itself says."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tollway import __version__
from tollway.cli import app

FULL = Path("/dev/full")


def test_the_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"tollway {__version__}\n")


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("command", ["--version", "openapi", "settings --json", "--help"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_told_in_one_line(command: str, unbuffered: str) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tollway", *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "the output cannot be written: No space left on device" in done.stderr


def test_who_reads_no_further_is_told_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "tollway", "--version"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_the_terminal_has_no_letters_for_keeps_nothing_back(encoding: str, tmp_path: Path) -> None:
    def shown(*arguments: str) -> bytes:
        environment = os.environ | {"TOLLWAY_HOME": str(tmp_path), "PYTHONIOENCODING": encoding}
        command = [sys.executable, "-m", "tollway", "accounts", *arguments]
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout

    assert "Zoë 漢".encode(encoding, "backslashreplace") in shown("create", "Zoë 漢")
    assert "Zoë 漢".encode(encoding, "backslashreplace") in shown("list")
    assert json.loads(shown("list", "--json"))[0]["name"] == "Zoë 漢", "JSON is UTF-8"


def test_whoever_thinks_better_of_it_at_once_sees_no_traceback(tmp_path: Path) -> None:
    slow = tmp_path / "typer.py"
    slow.write_text("import os, time\nos.write(1, b'importing')\ntime.sleep(60)\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "tollway", "--version"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as done:
        assert done.stdout
        assert done.stdout.read(9) == b"importing"
        done.send_signal(signal.SIGINT)
        assert (done.wait(30), done.communicate()[1]) == (-signal.SIGINT, b"")
