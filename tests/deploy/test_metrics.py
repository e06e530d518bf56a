"""What is drawn and alerted upon is what a running service tells at /metrics."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families
from tests.fakes.faults import Reply
from tests.fakes.openai import API_KEY, MODEL, FakeOpenAI
from tests.faults.mortal import descendants
from tests.live import LiveServer, serving

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD = DEPLOY / "grafana" / "tollway.json"
TARGET_LABELS = {"job", "instance"}

Told = dict[str, set[str]]
"""Label names by the name of the series."""


def told_by(live: LiveServer) -> Told:
    status, _, raw = live.request("GET", "/metrics")
    assert status == 200
    told: Told = {"up": set()}
    for family in text_string_to_metric_families(raw.decode()):
        for sample in family.samples:
            told.setdefault(sample.name, set()).update(sample.labels)
    return told


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What a service tells that has answered, failed, and tried again."""
    return asyncio.run(_told(tmp_path_factory.mktemp("metrics")))


async def _told(folder: Path) -> Told:
    async with FakeOpenAI() as upstream:
        home = folder / "home"
        home.mkdir()
        half = b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{}}],'
        half += b'"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}\n\n'
        upstream.queue(Reply([half]), Reply(status=503, content_type="application/json"))
        (home / "key").write_text(API_KEY)
        (home / "tollway.toml").write_text(
            f'[upstreams.fake]\ndialect = "openai"\nbase_url = "{upstream.base_url}"\nkey_file = "key"\n[[models]]\n'
            f'id = "acme/chat"\ncontext_length = 1000\nprice = {{ prompt = "1", completion = "1" }}\n'
            f'routes = [{{ upstream = "fake", model = "{MODEL}" }}]\n'
        )
        body = {"model": "acme/chat", "messages": [{"role": "user", "content": "Hello"}]}

        def use() -> Told:
            with serving(home, folder / "models", local_models="none") as live:
                assert live.request("POST", "/v1/chat/completions", body)[0] == 200
                return told_by(live)

        return await asyncio.to_thread(use)


def rules() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def panels() -> Iterator[tuple[str, str]]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable["query"]


def problems_of(expression: str, told: Told) -> list[str]:
    """Series that nobody tells, and labels that theirs do not have."""
    series = re.findall(r"\b((?:tollway|process|python)_\w+|up)\b(?:\{([^}]*)\})?", expression)
    problems = [f"no series in: {expression}"] if not series else []
    labels: set[str] = set()
    for name, matchers in series:
        if name not in told:
            problems.append(f"{name} is not told")
        known = told.get(name, set()) | TARGET_LABELS
        labels |= known
        problems += [
            f"{name} has no {label}" for label in re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", matchers) if label not in known
        ]
    for names in re.findall(r"\bby \(([^)]*)\)", expression):
        problems += [f"no {label} to sum by" for label in names.replace(" ", "").split(",") if label not in labels]
    return problems


@pytest.mark.parametrize(("name", "expression"), [*rules(), *panels()])
def test_every_expression_is_about_what_is_told(name: str, expression: str, told: Told) -> None:
    assert problems_of(expression, told) == []


def test_an_expression_about_something_else_is_found(told: Told) -> None:
    assert problems_of('sum by (nobody) (rate(tollway_http_requests_total{colour="red"}[5m])) / tollway_absent', told) == [
        "tollway_http_requests_total has no colour",
        "tollway_absent is not told",
        "no nobody to sum by",
    ]


def test_alerts_say_what_to_do() -> None:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            assert set(rule["annotations"]) == {"summary", "action"}
            assert rule["labels"]["severity"] in {"critical", "warning"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("arguments", [["check", "rules", RULES], ["test", "rules", Path(__file__).parent / "rules_test.yml"]])
def test_prometheus_takes_the_rules_and_they_fire(arguments: list[Any]) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def eventually(what: Callable[[], bool]) -> None:
    """Waits for it; until the dead worker's place is taken, some connections are refused or reset."""
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError):
            if what():
                return
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_several_workers_count_together_also_when_one_is_killed(tmp_path: Path) -> None:
    def count(live: LiveServer, name: str, **labels: str) -> float:
        text = live.request("GET", "/metrics")[2].decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())

    with serving(tmp_path / "home", tmp_path / "models", local_models="none", workers="2") as live:
        workers = [pid for pid in descendants(live.process.pid) if b"tollway" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        for _ in range(40):
            assert live.request("GET", "/v1/models")[0] == 200
        seen = {count(live, "tollway_http_requests_total", route="/v1/models") for _ in range(10)}
        assert seen == {40}
        # the scrape itself; whoever has its answer may still be counted for a moment
        eventually(lambda: count(live, "tollway_http_requests_in_flight") == 1)
        assert count(live, "tollway_build_info") == 1
        assert count(live, "tollway_ready", check="database") == 1
        os.kill(workers[-1], signal.SIGKILL)
        eventually(lambda: [live.request("GET", "/v1/models")[0] for _ in range(10)] == [200] * 10)
        assert count(live, "tollway_http_requests_total", route="/v1/models") >= 50
        eventually(lambda: count(live, "tollway_http_requests_in_flight") == 1)
