"""`tollway serve` with the README's configuration, in front of fake upstreams."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gemini import KEY, FakeGemini
from tests.fakes.openai import API_KEY, MODEL, FakeOpenAI
from tests.live import MODEL as REFERENCE
from tests.live import LiveServer, serving

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
TEXT = "".join(FakeOpenAI.TEXT)
PUBLIC = "acme/chat"


@dataclass
class House:
    server: LiveServer
    gpu: FakeOpenAI
    openai: FakeOpenAI

    async def post(self, **fields: Any) -> tuple[int, dict[str, str], bytes]:
        body = {"model": PUBLIC, "messages": [{"role": "user", "content": "Hello"}], **fields}
        return await asyncio.to_thread(self.server.request, "POST", "/v1/chat/completions", body)

    async def cli(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "tollway", *arguments]
        return await asyncio.to_thread(
            subprocess.run, command, env=self.server.environment, capture_output=True, text=True, check=False
        )


@asynccontextmanager
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    (example,) = re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    async with FakeOpenAI(extra=["include_reasoning"]) as gpu, FakeOpenAI() as openai:
        text = example.replace("http://10.0.0.5:8000/v1", gpu.base_url)
        text = re.sub(r'model = "[^"]*"', f'model = "{MODEL}"', text)
        text += f'\n[upstreams.openai]\nbase_url = "{openai.base_url}"\n'
        home = tmp_path / "home"
        home.mkdir()
        (home / "tollway.toml").write_text(text)
        for variable in ("VLLM_API_KEY", "OPENAI_API_KEY"):
            monkeypatch.setenv(variable, API_KEY)
        with serving(home, tmp_path / "models", local_models="none", log_format="json") as server:
            yield House(server, gpu, openai)


async def test_the_readmes_configuration_answers_falls_back_and_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path, monkeypatch) as there:
        status, headers, body = await there.post()
        completion = json.loads(body)
        assert (status, headers["x-tollway-route"]) == (200, f"gpu/{MODEL}; attempts=1")
        assert "x-tollway-stand-in" not in headers
        assert completion["model"] == PUBLIC
        assert completion["choices"][0]["message"]["content"] == TEXT
        assert completion["meta"]["usage"]["credits_used"] > 0

        status, headers, body = await there.post(stream=True)
        assert (status, headers["x-tollway-route"]) == (200, f"gpu/{MODEL}; attempts=1")
        assert body.endswith(b"data: [DONE]\n\n")

        tested = await there.cli("models", "test", PUBLIC)
        assert tested.returncode == 0, tested.stdout + tested.stderr
        assert tested.stdout.count("ok ") == 2

        # Its streams are broken, its whole answers are not.
        there.gpu.spoil = lambda good: replace(good, steps=good.steps[:-1]) if len(good.steps) > 1 else good
        tested = await there.cli("models", "test", PUBLIC)
        assert (tested.returncode, tested.stdout.count("ok ")) == (1, 1)
        assert "done_marker = false" in tested.stderr

        await there.gpu.stop()
        status, headers, body = await there.post()
        assert (status, headers["x-tollway-route"]) == (200, f"openai/{MODEL}; attempts=2")
        tested = await there.cli("models", "test", PUBLIC)
        assert tested.returncode == 1
        assert re.search(r"wrong gpu/.*503 service_unavailable", tested.stdout)
        assert "upstream_away" in tested.stderr
        assert tested.stdout.count("ok ") == 1

        await there.openai.stop()  # nothing stands in for what is configured
        for stream in (True, False):
            status, headers, body = await there.post(stream=stream)
            assert status == 503
            assert re.fullmatch(rf"(gpu|openai)/{MODEL}; attempts=[1-3]", headers["x-tollway-route"])
            assert re.fullmatch(r"[0-9A-Za-z]{21}", headers["x-inference-id"])
            assert b"127.0.0.1" not in body
        logs = json.loads((await asyncio.to_thread(there.server.request, "GET", "/v2/logs"))[2])["data"]
        assert logs[0]["inference_id"] == headers["x-inference-id"]

        metrics = (await asyncio.to_thread(there.server.request, "GET", "/metrics"))[2].decode()
        assert 'tollway_upstream_failures_total{code="service_unavailable",upstream="gpu"}' in metrics
        assert 'tollway_upstream_attempts_total{upstream="openai"}' in metrics
        (workers_file,) = there.server.home.glob("workers-*.json")
        assert workers_file.stat().st_mode & 0o077 == 0

    log = (tmp_path / "home.log").read_text()
    assert '"upstream_failed"' in log
    told = {json.loads(line)["event"] for line in log.splitlines() if f'"{headers["x-request-id"]}"' in line}
    assert {"upstream_away", "upstream_failed", "request"} <= told
    assert API_KEY not in log
    assert list((tmp_path / "home").glob("workers-*")) == []


async def test_a_gemini_key_makes_the_reference_model_gemini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    home = tmp_path / "home"
    home.mkdir()
    async with FakeGemini() as gemini:
        (home / "tollway.toml").write_text(f'[upstreams.gemini]\nbase_url = "{gemini.base_url}"\n')
        with serving(home, tmp_path / "models", local_models="none") as server:
            body = {"model": REFERENCE, "messages": [{"role": "user", "content": "Hello"}]}
            status, headers, raw = await asyncio.to_thread(server.request, "POST", "/v1/chat/completions", body)
            listed = json.loads((await asyncio.to_thread(server.request, "GET", "/v1/models?include=pricing"))[2])["data"]
        completion = json.loads(raw)
        assert gemini.complaints == []
        assert (status, headers["x-tollway-route"]) == (200, "gemini/gemini-2.5-flash-lite; attempts=1")
        assert "x-tollway-stand-in" not in headers
        assert (completion["model"], completion["choices"][0]["message"]["content"]) == (REFERENCE, "Hello wörld")
        assert [item["id"] for item in listed] == [REFERENCE]
        assert "stand_in" not in listed[0]
        assert listed[0]["info"]["contextLength"] == 1_000_000
        assert [unit["price"] for unit in listed[0]["pricing"]["units"]] == [0.1, 0.4, 0.01, 0.3]
    assert KEY not in (tmp_path / "home.log").read_text()


def test_a_configuration_that_cannot_be_used_ends_the_start_and_says_where(tmp_path: Path) -> None:
    (tmp_path / "tollway.toml").write_text('port = 0\n\n[upstreams.gpu]\nprovidr = "vllm"\n')
    command = [sys.executable, "-m", "tollway", "serve", "--home", str(tmp_path), "--local-models", "none"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert re.search(r"tollway\.toml:4: upstreams\.gpu\.providr: .*Did you mean `provider`\?", " ".join(ended.stderr.split()))


def test_models_list_shows_what_is_missing(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (tmp_path / "tollway.toml").write_text(example)
    listing = [sys.executable, "-m", "tollway", "models", "list", "--home", str(tmp_path)]
    environment = {"PATH": "/usr/bin", "PYTHONPATH": ":".join(sys.path), "TOLLWAY_LOCAL_MODELS": "none"}
    shown = subprocess.run(listing, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "acme/chat  usable" in shown
    assert "-> gpu/meta-llama/Llama-3.1-8B-Instruct" in shown
    assert "openai/gpt-5-mini: OPENAI_API_KEY is not set" in shown
    rows = json.loads(subprocess.run([*listing, "--json"], env=environment, capture_output=True, check=True).stdout)
    by_id = {row["id"]: row for row in rows}
    assert by_id["acme/chat"]["usable"]
    assert by_id["acme/chat"]["price"]["completion"] == "0.40"
    assert [route["usable"] for route in by_id["acme/chat"]["routes"]] == [True, False]
    assert not by_id["google/gemini-2.5-flash-lite-preview"]["usable"]
    assert "GEMINI_API_KEY" in by_id["google/gemini-2.5-flash-lite-preview"]["routes"][0]["why_not"]
