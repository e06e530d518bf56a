"""Installs each peer into an environment of its own, pinned, in a cache folder outside the repository.

An environment is made anew when its lock file has changed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import platformdirs

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("BENCH_CACHE") or platformdirs.user_cache_path("tollway") / "bench")


class NotInstalledError(Exception):
    """A peer cannot be had on this machine; the message says why."""


def python_environment(name: str) -> Path:
    """The folder of the commands of a virtual environment made from `NAME.txt`."""
    lock, folder = HERE / f"{name}.txt", CACHE / name
    if not _is_current(folder, lock):
        _renew(folder)
        _run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        _run([*pip, "--require-hashes", "--no-deps", "-r", str(lock)])  # a lock has all that is needed
        _mark(folder, lock)
    return folder / "bin"


def node_modules(name: str) -> Path:
    """The folder `node_modules` made from `NAME/package-lock.json`."""
    lock, folder = HERE / name / "package-lock.json", CACHE / name
    if not _is_current(folder, lock):
        if not shutil.which("npm"):
            raise NotInstalledError("it needs Node 20 or newer, with npm")
        _renew(folder)
        for file in (HERE / name).iterdir():
            shutil.copy(file, folder)
        _run(["npm", "--prefix", str(folder), "ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        _mark(folder, lock)
    return folder / "node_modules"


def system_command(name: str) -> Path:
    """A command of the system; else, where there is `apt-get`, of its package, unpacked without being installed."""
    if found := shutil.which(name):
        return Path(found)
    folder = CACHE / name
    command = folder / "usr" / "sbin" / name
    if not command.exists():
        if not shutil.which("apt-get"):
            raise NotInstalledError(f"install {name} with this system's package manager")
        _renew(folder)
        _run(["apt-get", "-qq", "download", name], folder)
        for package in folder.glob("*.deb"):
            _run(["dpkg-deb", "--extract", str(package), str(folder)])
    return command


def version(environment: Path, package: str) -> str:
    """Of a Python package in an environment."""
    code = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return _run([str(environment / "python"), "-c", code]).strip()


def _is_current(folder: Path, lock: Path) -> bool:
    marker = folder / "installed"
    return marker.exists() and marker.read_text() == _digest(lock)


def _mark(folder: Path, lock: Path) -> None:
    (folder / "installed").write_text(_digest(lock))


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _renew(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _run(command: Sequence[str], folder: Path | None = None) -> str:
    """What it has printed. Raises NotInstalledError with the end of its output when it fails."""
    try:
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except OSError as error:
        raise NotInstalledError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode:
        raise NotInstalledError(f"`{' '.join(command[:6])} ...` failed:\n{done.stdout[-1500:]}")
    return done.stdout
