"""The gateways that are compared: how each is installed, with which settings it runs, and what it does with a request."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.measuring import on
from bench.peers.install import HERE, NotInstalledError, node_modules, python_environment, system_command, version
from bench.stream_load import Place
from tests.fakes.openai import API_KEY
from tests.live import free_port

import tollway

START_SECONDS_MAX = 180.0
CONCURRENCY = 4096
"""Every gateway is allowed that many streams at a time."""


@dataclass
class Setup:
    """What it takes to start one gateway."""

    folder: Path
    command: list[str]
    place: Place
    version: str
    settings: str
    """What was set, for the report."""
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class Gateway:
    """One row of the comparison."""

    name: str
    does: str
    prepare: Callable[[Path, int, int], Setup]
    """From (an empty folder of its own, its port, the upstream's port). Raises NotInstalledError."""


def nginx(folder: Path, port: int, upstream_port: int) -> Setup:
    command = system_command("nginx")
    text = (HERE / "nginx.conf").read_text().format(folder=folder, port=port, upstream_port=upstream_port)
    (folder / "nginx.conf").write_text(text)
    told = subprocess.run([command, "-v"], capture_output=True, text=True, check=True).stderr
    start = [str(command), "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    return Setup(
        folder, start, Place(port), told.rpartition("/")[2].strip(), "bench/peers/nginx.conf: 1 worker, no buffering, no log"
    )


def vllm_router(folder: Path, port: int, upstream_port: int) -> Setup:
    environment = python_environment("vllm-router")
    settings = ["--policy", "round_robin", "--max-concurrent-requests", str(CONCURRENCY), "--log-level", "error"]
    command = [str(environment / "vllm-router"), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--worker-urls", f"http://127.0.0.1:{upstream_port}", "--prometheus-port", str(free_port()), *settings]
    return Setup(folder, command, Place(port), version(environment, "vllm-router"), " ".join(settings))


def portkey(folder: Path, port: int, upstream_port: int) -> Setup:
    node = shutil.which("node")
    if not node:
        raise NotInstalledError("it needs Node 20 or newer")
    package = node_modules("portkey") / "@portkey-ai" / "gateway"
    headers = {
        "Authorization": f"Bearer {API_KEY}",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{upstream_port}/v1",
    }
    told = subprocess.run(
        [node, "-p", f"require('{package}/package.json').version + ', Node ' + process.versions.node"],
        capture_output=True,
        text=True,
        check=True,
    )
    command = [node, str(package / "build" / "start-server.js"), "--headless", f"--port={port}"]
    settings = "NODE_ENV=production --headless, upstream by x-portkey-custom-host"
    return Setup(folder, command, Place(port, headers=headers), told.stdout.strip(), settings, {"NODE_ENV": "production"})


def litellm(folder: Path, port: int, upstream_port: int) -> Setup:
    environment = python_environment("litellm")
    (folder / "litellm.yaml").write_text((HERE / "litellm.yaml").read_text().format(upstream_port=upstream_port))
    command = [str(environment / "litellm"), "--config", str(folder / "litellm.yaml"), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--num_workers", "1", "--telemetry", "False"]
    # the last: from its own file of prices, not from the internet
    given = {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    given |= {name: str(CONCURRENCY) for name in ("AIOHTTP_CONNECTOR_LIMIT", "AIOHTTP_CONNECTOR_LIMIT_PER_HOST")}
    settings = "bench/peers/litellm.yaml: 1 worker, no database; " + " ".join(
        f"{name}={value}" for name, value in given.items()
    )
    key = f"sk-{secrets.token_hex(32)}"  # it does not start without one
    place = Place(port, headers={"Authorization": f"Bearer {key}"})
    return Setup(folder, command, place, version(environment, "litellm"), settings, given | {"LITELLM_MASTER_KEY": key})


TOLLWAY_TOML = """
[upstreams.static]
dialect = "openai"
base_url = "http://127.0.0.1:{port}/v1"
key_variable = "STATIC_KEY"
concurrency_max = 0

[[models]]
id = "bench/static"
context_length = 100000
output_max = 1000
price = {{ prompt = "0.10", completion = "0.40" }}
routes = [{{ upstream = "static", model = "static" }}]
"""


def of_tollway(*, limits: bool = True, **settings: str) -> Callable[[Path, int, int], Setup]:
    """One worker, unless `settings` say otherwise. `limits`: whether its key has limits, which are never reached."""

    def prepare(folder: Path, port: int, upstream_port: int) -> Setup:
        (folder / "tollway.toml").write_text(TOLLWAY_TOML.format(port=upstream_port))
        given = {"home": str(folder), "local_models": "none", "stand_in": "false", "log_format": "json"}
        given |= {"first_grant_credits": "1000000000000", **settings}
        environment = {"STATIC_KEY": API_KEY, **{f"TOLLWAY_{name.upper()}": value for name, value in given.items()}}
        create = [sys.executable, "-m", "tollway", "keys", "create", "--quiet", "--name", "bench"]
        create += ["--rpm", "10000000", "--tpm", "1000000000", "--concurrency", str(CONCURRENCY)] if limits else []
        key = subprocess.run(
            create, env=_environment() | environment, check=True, capture_output=True, text=True
        ).stdout.strip()
        command = [sys.executable, "-m", "tollway", "serve", "--port", str(port)]
        place = Place(port, "bench/static", headers={"Authorization": f"Bearer {key}"})
        told = ", ".join(f"{name}={value}" for name, value in {"workers": "1", "billing": "true", **settings}.items())
        return Setup(folder, command, place, tollway.__version__, f"{told}; SQLite", environment)

    return prepare


TOLLWAY = Gateway("tollway", "API keys, rate limits of the key, request log, durable billing", of_tollway())
TOLLWAY_TWO = Gateway("tollway, 2 workers", TOLLWAY.does, of_tollway(workers="2"))
GATEWAYS: Sequence[Gateway] = (
    TOLLWAY,
    Gateway("tollway, billing off", "API keys", of_tollway(billing="false")),
    Gateway("vllm-router", "routes", vllm_router),
    Gateway("portkey", "routes, translates", portkey),
    Gateway("litellm", "a master key, routes, translates, costs in memory", litellm),
    Gateway("nginx", "passes bytes on: the ceiling", nginx),
)


@dataclass
class Running:
    """A gateway's processes."""

    place: Place
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def process_id(self) -> int:
        return self.process.pid


@contextlib.contextmanager
def running(setup: Setup, cores: Sequence[int]) -> Iterator[Running]:
    """Started, whether it answers already or not."""
    log = setup.folder / "log"
    with log.open("ab") as file:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *on(cores, setup.command)],  # it ends with the bench, however that ends
            env=_environment() | setup.environment,
            cwd=setup.folder,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own, which is ended as a whole
        )
    try:
        yield Running(setup.place, process, log)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TOLLWAY_")}
