"""Starts a service and lets real clients loose on it: `python -m tests.conformance.run [--chain] [PART ...]`.

With `--chain` they talk to a second service whose upstream is the first. The clients live in environments of their own, because
they do not agree with each other on the versions of what they need, and know nothing of Tollway but a URL, a key and a model's
name, in the environment.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.live import LOCAL_MODEL, MODEL, LiveServer, serving

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTEST = ("-m", "pytest", "-c", str(HERE / "pytest.ini"), "--rootdir", str(HERE), "--confcutdir", str(HERE), "--tb=short")
PARTS = {
    "clients": [str(ROOT / ".venv-clients/bin/python"), *PYTEST, str(HERE / "clients")],
    "older": [str(ROOT / ".venv-clients-older/bin/python"), *PYTEST, str(HERE / "older")],
    "node": ["node", "--test", str(HERE / "node")],
}
CHAIN = f"""
[upstreams.inner]
provider = "tollway"
base_url = "{{base_url}}"
key_file = "inner.key"

[[models]]
id = "{MODEL}"
context_length = 8192
output_max = 8192
routes = [{{{{ upstream = "inner", model = "{LOCAL_MODEL}" }}}}]
"""


@contextlib.contextmanager
def service(folder: Path, *, chained: bool) -> Iterator[tuple[LiveServer, str]]:
    """A running service, and the name of the model that answers."""
    with serving(folder / "home", engine_slots="4") as inner:
        if not chained:
            yield inner, LOCAL_MODEL
            return
        home = folder / "outer"
        home.mkdir()
        (home / "tollway.toml").write_text(CHAIN.format(base_url=inner.base_url))
        (home / "inner.key").write_text(inner.key)
        with serving(home, local_models="none") as outer:
            yield outer, MODEL


def environment_for(server: LiveServer, answering: str, folder: Path) -> dict[str, str]:
    """What a client is told. Nothing of the surroundings' own keys and settings comes along."""
    foreign = ("TOLLWAY_", "OPENAI_", "LANGCHAIN_", "LANGSMITH_", "AIMLAPI_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {
        "CLIENT_BASE_URL": server.base_url,
        "CLIENT_KEY": server.key,
        "CLIENT_MODEL": MODEL,
        "CLIENT_LOCAL_MODEL": answering,
        "CLIENT_FOLDER": str(folder),
    }


def main(names: list[str]) -> int:
    failed = []
    chained = "--chain" in names
    names = [name for name in names if name != "--chain"]
    with tempfile.TemporaryDirectory() as folder, service(Path(folder), chained=chained) as (server, answering):
        for name in names or PARTS:
            print(f"\n=== {name} ===", flush=True)
            environment = environment_for(server, answering, Path(folder))
            if subprocess.run(PARTS[name], check=False, cwd=folder, env=environment).returncode:
                failed.append(name)
            ended = server.process.poll()
            assert ended is None, f"the service ended with {ended}:\n{server.home.with_suffix('.log').read_text()[-4000:]}"
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall clients are served")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
