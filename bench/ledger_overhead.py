"""What exact money costs: the same load through Tollway with durable billing and without, in one run.

    python -m bench.ledger_overhead [--seconds 5] [--rounds 3] [--connections 16] [--limits]

One worker on one core; the static upstream and the load (`wrk`, from your system's packages) on the other. The two
installations run at the same time and are asked in turn, so that drift of the machine hits both alike. Reported: the median of
each figure over the rounds, the processor time of the gateway for each request, and the ratio of requests per second (with /
without); and what a sync of the disk takes, which each settlement waits for. `--limits` adds rate limits to the key that is
billed.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.measuring import disk_sync, on, processor_seconds
from tests.fakes.openai import API_KEY
from tests.live import free_port

CORES = sorted(os.sched_getaffinity(0))
GATEWAY_CORE, LOAD_CORE = CORES[0], CORES[-1]
TOML = """
[upstreams.static]
dialect = "openai"
base_url = "http://127.0.0.1:{port}/v1"
key_variable = "STATIC_KEY"

[[models]]
id = "bench/static"
context_length = 100000
output_max = 1000
price = {{ prompt = "0.10", completion = "0.40" }}
routes = [{{ upstream = "static", model = "static" }}]
"""
BODY = {
    "model": "bench/static",
    "messages": [{"role": "user", "content": "Translate to French: good morning"}],
    "max_tokens": 64,
}


@dataclass
class Figures:
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Of all the gateway's processes, for each request; it hardly depends on what else the machine is doing."""
    errors: int


@contextlib.contextmanager
def static_upstream(chunks: int = 1) -> Iterator[int]:
    """The port of one that runs on the load's core."""
    command = [sys.executable, "-m", "bench.static_upstream", "--chunks-max", str(chunks)]
    process = subprocess.Popen(on([LOAD_CORE], command), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def gateway(home: Path, upstream_port: int, *, limits: bool = False, **settings: str) -> Iterator[tuple[int, str, int]]:
    """The port, a key and the process id of a Tollway with one worker on one core."""
    home.mkdir()
    (home / "tollway.toml").write_text(TOML.format(port=upstream_port))
    given = {"home": str(home), "local_models": "none", "stand_in": "false", "log_format": "json", **settings}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOLLWAY_")}
    environment |= {"STATIC_KEY": API_KEY, **{f"TOLLWAY_{name.upper()}": value for name, value in given.items()}}
    port = free_port()
    serve = [sys.executable, "-m", "tollway", "serve", "--port", str(port)]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(on([GATEWAY_CORE], serve), env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        create = [sys.executable, "-m", "tollway", "keys", "create", "--quiet", "--name", "bench"]
        create += ["--rpm", "10000000", "--tpm", "1000000000", "--concurrency", "1000"] if limits else []
        deadline = time.monotonic() + 30
        while "is ready" not in (home / "log").read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        key = subprocess.run(create, env=environment, check=True, capture_output=True, text=True).stdout.strip()
        yield port, key, process.pid
    finally:
        process.terminate()
        process.wait(30)


def load(port: int, key: str, process_id: int, connections: int, seconds: float, *, stream: bool = False) -> Figures:
    """What `wrk` measures on one core."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        body = json.dumps(BODY | ({"stream": True} if stream else {}))
        script.write(f"wrk.method = 'POST'\nwrk.body = [==[{body}]==]\nwrk.headers['Content-Type'] = 'application/json'\n")
        script.write(f"wrk.headers['Authorization'] = 'Bearer {key}'\n")
        script.write(
            "done = function(s, l) io.write(string.format('RESULT %f %f %f %d %d\\n', s.requests / s.duration * 1e6, "
            "l:percentile(50) / 1000, l:percentile(99) / 1000, s.errors.status + s.errors.read + s.errors.timeout, "
            "s.requests)) end\n"
        )
        script.flush()
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name, url]
        before = processor_seconds(process_id) or 0.0
        text = subprocess.run(on([LOAD_CORE], command), check=True, capture_output=True, text=True).stdout
        used = (processor_seconds(process_id) or 0.0) - before
    found = re.search(r"RESULT (\S+) (\S+) (\S+) (\d+) (\d+)", text)
    assert found, text
    return Figures(float(found[1]), float(found[2]), float(found[3]), used / int(found[5]) * 1e6, int(found[4]))


def median(figures: list[Figures]) -> Figures:
    columns = [[getattr(each, name) for each in figures] for name in ("requests_per_second", "p50_ms", "p99_ms", "cpu_us")]
    return Figures(*(statistics.median(column) for column in columns), errors=sum(each.errors for each in figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--limits", action="store_true")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    results: dict[str, dict[str, dict[str, float]]] = {"ratio": {}}
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed for the load: apt-get install wrk")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        results["disk"] = {"a sync of 32 kB": disk_sync(folder)}
        print("the disk: " + "  ".join(f"{name} {value:.2f}" for name, value in results["disk"]["a sync of 32 kB"].items()))
        upstream = stack.enter_context(static_upstream())
        billed = stack.enter_context(
            gateway(folder / "billed", upstream, limits=arguments.limits, first_grant_credits="1000000000000")
        )
        free = stack.enter_context(gateway(folder / "free", upstream, billing="false"))
        for connections in arguments.connections:
            seen: dict[str, list[Figures]] = {"durable billing": [], "billing off": []}
            for _ in range(arguments.rounds):
                for name, place in (("durable billing", billed), ("billing off", free)):
                    seen[name].append(load(*place, connections, arguments.seconds, stream=arguments.stream))
            medians = {name: median(figures) for name, figures in seen.items()}
            print(f"{connections} connections")
            for name, figures in medians.items():
                print(
                    f"  {name:16} {figures.requests_per_second:8,.0f} requests/s   p50 {figures.p50_ms:7.2f} ms   "
                    f"p99 {figures.p99_ms:7.2f} ms   {figures.cpu_us:5.0f} us of processor   {figures.errors} errors"
                )
            ratio = medians["durable billing"].requests_per_second / medians["billing off"].requests_per_second
            print(f"  ratio            {ratio:8.2f}", flush=True)
            results[f"c{connections}"] = {name: dataclasses.asdict(figures) for name, figures in medians.items()}
            results["ratio"][f"c{connections}"] = {"requests_per_second": ratio}
    if arguments.json:
        arguments.json.write_text(json.dumps({"results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
