"""Folders for counting: one for each server, and none of those that are no more."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tollway.cli.counting import counting_folder

SERVER = """
import sys, time
from pathlib import Path

import pytest
from tollway.cli.counting import counting_folder
with counting_folder(Path(sys.argv[1])) as folder:
    (folder / "counter_1.db").touch()
    print(folder.name, flush=True)
    time.sleep(600)
"""
WORKER = """
import os, sys, time
os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]
from tollway.observability import Metrics
metrics = Metrics()
print("counts", flush=True)
time.sleep(600)
"""


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _started(program: str, folder: Path) -> tuple["subprocess.Popen[str]", str]:
    """The process, and what it says first."""
    process = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def _killed(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_the_folder_of_a_server_that_was_killed_is_removed_at_the_next_start(tmp_path: Path) -> None:
    server, name = _started(SERVER, tmp_path)
    with counting_folder(tmp_path) as mine:
        assert _names(tmp_path) == {name, mine.name}, "a server that runs keeps its own"
    worker, said = _started(WORKER, tmp_path / name)
    assert said == "counts"
    _killed(server)
    with counting_folder(tmp_path):
        assert (tmp_path / name).is_dir(), "its worker still counts"
    _killed(worker)
    with counting_folder(tmp_path) as mine:
        assert _names(tmp_path) == {mine.name}
    assert _names(tmp_path) == set()


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    (tmp_path / "tollway-metrics-link").symlink_to(elsewhere)
    (tmp_path / "tollway-metrics-file").touch()
    with counting_folder(tmp_path):
        assert (elsewhere / "file").exists()
        assert (tmp_path / "tollway-metrics-file").exists()


SCRAPE = """
import os, sys, threading
os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]
from tollway.observability import Metrics
metrics = Metrics()
new = os.path.join(sys.argv[1], "counter_99.db")
open(new, "w").close()
if sys.argv[2] == "filled":
    threading.Timer(0.01, lambda: os.truncate(new, 65536)).start()
elif sys.argv[2] == "removed":
    threading.Timer(0.01, os.remove, [new]).start()
print("tollway_build_info" in metrics.render()[0].decode())
"""


@pytest.mark.parametrize("fate", ["filled", "removed", "neither"])
def test_a_file_that_is_just_being_made_keeps_nobody_from_the_figures(tmp_path: Path, fate: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRAPE, str(tmp_path), fate], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == ((0, "True\n") if fate != "neither" else (1, "")), done.stderr
