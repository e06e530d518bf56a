"""From the clone to the first answer, on a machine that has nothing yet: `python -m bench.first_start`.

Clones this repository into an empty folder, with a home and caches of its own that are empty too, runs `make serve`, and asks
the model. What was received meanwhile is read from the network interfaces, so nothing else should be loading; Linux tells it.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tests.live import MODEL, free_port

ROOT = Path(__file__).parents[1]
SECONDS_MAX = 1200
_INTERFACES = Path("/proc/net/dev")
_KEY = re.compile(rb"API key +(tw_[0-9A-Za-z]{36})")


def received_bytes() -> int | None:
    """By all interfaces but the loopback; None where the system does not say."""
    if not _INTERFACES.exists():
        return None
    rows = (line.partition(":") for line in _INTERFACES.read_text(encoding="ascii").splitlines()[2:])
    return sum(int(figures.split()[0]) for name, _, figures in rows if name.strip() != "lo")


def size_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def first_key(log: Path, service: "subprocess.Popen[bytes]") -> str:
    """The key that the first start prints once it answers."""
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline and service.poll() is None:
        if found := _KEY.search(log.read_bytes()):
            return found[1].decode()
        time.sleep(0.05)
    sys.exit(f"`make serve` printed no key:\n{log.read_text(errors='replace')}")


def answer(port: int, key: str) -> str:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=60) as response:
        text: str = json.load(response)["choices"][0]["message"]["content"]
    return text


def measured(folder: Path) -> dict[str, float | None]:
    clone, home, port = folder / "tollway", folder / "home", free_port()
    (home / "tmp").mkdir(parents=True)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("TOLLWAY_", "PYTHON", "VIRTUAL_ENV", "XDG_"))
    }
    nothing_yet = {"HOME": str(home), "TMPDIR": str(home / "tmp"), "PIP_NO_CACHE_DIR": "1"}
    environment = kept | nothing_yet | {"TOLLWAY_HOME": str(home / "tollway"), "TOLLWAY_PORT": str(port)}
    received_before, began = received_bytes(), time.monotonic()
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True, env=environment)
    log = folder / "serve.log"
    with log.open("wb") as output:
        service = subprocess.Popen(
            ["make", "serve"], cwd=clone, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        key = first_key(log, service)
        serving = time.monotonic()
        print("It says:", answer(port, key), file=sys.stderr)
        answered, received_after = time.monotonic(), received_bytes()
    finally:
        os.killpg(service.pid, signal.SIGTERM)
        service.wait(60)
    received = None if received_before is None or received_after is None else received_after - received_before
    return {
        "seconds_to_ready": round(serving - began, 1),
        "seconds_to_first_answer": round(answered - began, 1),
        "received_mb": None if received is None else round(received / 1e6),
        "on_disk_mb": round((size_bytes(clone) + size_bytes(home)) / 1e6),
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="tollway-first-start-") as folder:
        print(json.dumps(measured(Path(folder)), indent=2))


if __name__ == "__main__":
    main()
