"""nginx and Caddy in front of the service, by the files in deploy/: streams come as they are made."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from tests.fakes.faults import Hang
from tests.fakes.openai import API_KEY, MODEL, FakeOpenAI, chunk, stream_reply
from tests.fakes.server import left_within
from tests.live import free_port, serving

DEPLOY = Path(__file__).parents[2] / "deploy"


def nginx(folder: Path, port: int, upstream: int) -> list[str]:
    """The command that runs it in front of `upstream`: the file as it is, but for addresses and the certificate."""
    text = (DEPLOY / "nginx" / "tollway.conf").read_text()
    text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{port}").replace("127.0.0.1:8080", f"127.0.0.1:{upstream}")
    text = re.sub(r"^ *ssl_certificate.*\n", "", text, flags=re.MULTILINE)
    temporary = "".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}} http {{ access_log off; {temporary} {text} }}"
    )
    return ["nginx", "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]


def caddy(folder: Path, port: int, upstream: int) -> list[str]:
    text = (DEPLOY / "caddy" / "Caddyfile").read_text()
    text = text.replace("ai.example.org", f"http://127.0.0.1:{port}").replace("127.0.0.1:8080", f"127.0.0.1:{upstream}")
    (folder / "Caddyfile").write_text("{\n\tadmin off\n}\n" + text)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", f"{folder}/Caddyfile"]


@pytest.fixture(params=[nginx, caddy], ids=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """(its port, the port that it asks)"""
    port, upstream = free_port(), free_port()
    monkeypatch.setenv("HOME", str(tmp_path))
    command = request.param(tmp_path, port, upstream)
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    yield port, upstream
    process.terminate()
    process.wait(20)


async def test_a_stream_comes_as_it_is_made_and_leaving_ends_the_work(tmp_path: Path, proxy: tuple[int, int]) -> None:
    port, tollway_port = proxy
    home = tmp_path / "home"
    home.mkdir()
    async with FakeOpenAI() as upstream:
        whole = stream_reply([chunk({"role": "assistant", "content": "first"})], done=False)
        upstream.queue(type(whole)([*whole.steps, Hang()]))
        (home / "key").write_text(API_KEY)
        (home / "tollway.toml").write_text(
            f'[upstreams.fake]\ndialect = "openai"\nbase_url = "{upstream.base_url}"\nkey_file = "key"\n[[models]]\n'
            'id = "acme/chat"\ncontext_length = 1000\nprice = { prompt = "1", completion = "1" }\n'
            f'routes = [{{ upstream = "fake", model = "{MODEL}" }}]\n'
        )
        service = serving(home, tmp_path / "models", port=str(tollway_port), local_models="none")
        live = await asyncio.to_thread(service.__enter__)
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                async with session.get("/metrics") as refused:
                    assert refused.status == 404
                body = {"model": "acme/chat", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
                headers = {"Authorization": f"Bearer {live.key}"}
                async with session.post("/v1/chat/completions", json=body, headers=headers) as response, asyncio.timeout(30):
                    assert response.status == 200
                    while b"first" not in await response.content.readline():
                        pass  # the upstream hangs from here on: what comes was not waited for
                assert await left_within(upstream.received[0], 30)
        finally:
            await asyncio.to_thread(service.__exit__, None, None, None)
