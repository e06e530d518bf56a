"""Starts a service and lets real clients loose on it: `python -m tests.conformance.run [PART ...]`.

The clients live in environments of their own, because they do not agree with each other on the versions of what they need, and
know nothing of Tollway but a URL, a key and a model's name, in the environment.
"""

import os
import subprocess
import sys
import tempfile
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


def environment_for(server: LiveServer, folder: Path) -> dict[str, str]:
    """What a client is told. Nothing of the surroundings' own keys and settings comes along."""
    foreign = ("TOLLWAY_", "OPENAI_", "LANGCHAIN_", "LANGSMITH_", "AIMLAPI_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {
        "CLIENT_BASE_URL": server.base_url,
        "CLIENT_KEY": server.key,
        "CLIENT_MODEL": MODEL,
        "CLIENT_LOCAL_MODEL": LOCAL_MODEL,
        "CLIENT_FOLDER": str(folder),
    }


def main(names: list[str]) -> int:
    failed = []
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "home", engine_slots="4") as server:
        for name in names or PARTS:
            print(f"\n=== {name} ===", flush=True)
            environment = environment_for(server, Path(folder))
            if subprocess.run(PARTS[name], check=False, cwd=folder, env=environment).returncode:
                failed.append(name)
            ended = server.process.poll()
            assert ended is None, f"the service ended with {ended}:\n{server.home.with_suffix('.log').read_text()[-4000:]}"
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall clients are served")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
