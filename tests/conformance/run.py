"""Starts a service and lets real clients loose on it: `python -m tests.conformance.run [--chain | --gemini] [PART ...]`.

With `--chain` they talk to a second service whose upstream is the first; with `--gemini` to one whose upstream is the fake
Gemini, which refuses what Google would refuse. The clients live in environments of their own, because they do not agree with
each other on the versions of what they need, and know nothing of Tollway but a URL, a key and a model's name, in the
environment.
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


@contextlib.contextmanager
def in_front_of_gemini(folder: Path) -> Iterator[tuple[LiveServer, str]]:
    """The same in front of the fake Gemini, which must not get to see a request that is not right."""
    from tests.fakes.gemini import KEY, FakeGemini
    from tests.fakes.server import in_a_thread

    home = folder / "home"
    home.mkdir()
    with in_a_thread(FakeGemini()) as gemini:
        (home / "tollway.toml").write_text(f'[upstreams.gemini]\nbase_url = "{gemini.base_url}"\n')
        os.environ["GEMINI_API_KEY"] = KEY
        with serving(home, folder / "models", local_models="none") as server:
            yield server, MODEL
        assert gemini.received, "nobody asked the upstream"
        assert gemini.complaints == []


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
    options = {name for name in names if name.startswith("--")}
    names = [name for name in names if name not in options]
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        gemini = "--gemini" in options
        started = in_front_of_gemini(Path(folder)) if gemini else service(Path(folder), chained="--chain" in options)
        server, answering = stack.enter_context(started)
        for name in names or PARTS:
            print(f"\n=== {name} ===", flush=True)
            environment = environment_for(server, answering, Path(folder))
            environment["CLIENT_WITHOUT"] = "logprobs" if gemini else ""
            if subprocess.run(PARTS[name], check=False, cwd=folder, env=environment).returncode:
                failed.append(name)
            ended = server.process.poll()
            assert ended is None, f"the service ended with {ended}:\n{server.home.with_suffix('.log').read_text()[-4000:]}"
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall clients are served")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
