import asyncio
from pathlib import Path

import pytest
from tests.asgi import call
from tests.installation import app_of, installed


async def test_the_process_lives_even_when_nothing_else_does(tmp_path: Path) -> None:
    async def broken() -> dict[str, bool]:
        raise AssertionError("liveness must not ask the engines")

    async with installed(tmp_path, engine_health=broken) as services:
        services.database.close()
        reply = await call(app_of(services), "GET", "/healthz")
    assert (reply.status, reply.json) == (200, {"status": "ok"})
    assert reply.header("cache-control") == "no-store"


@pytest.mark.parametrize(
    ("engines", "status", "expected"),
    [
        ({}, 200, {"status": "ready", "checks": {"database": True}}),
        ({"smol": True}, 200, {"status": "ready", "checks": {"database": True, "engine:smol": True}}),
        (
            {"smol": False, "other": True},
            503,
            {"status": "not_ready", "checks": {"database": True, "engine:smol": False, "engine:other": True}},
        ),
    ],
)
async def test_readiness_names_what_is_missing(
    tmp_path: Path, engines: dict[str, bool], status: int, expected: dict[str, object]
) -> None:
    async def health() -> dict[str, bool]:
        return engines

    async with installed(tmp_path, engine_health=health) as services:
        reply = await call(app_of(services), "GET", "/readyz")
    assert (reply.status, reply.json) == (status, expected)


async def test_a_database_that_is_gone_is_not_ready(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        services.database._backend.close()
        for file in await asyncio.to_thread(lambda: list(tmp_path.glob("tollway.db*"))):
            await asyncio.to_thread(file.unlink)
        reply = await call(app_of(services), "GET", "/readyz")
    assert (reply.status, reply.json["checks"]) == (503, {"database": False})


async def test_a_database_that_does_not_answer_in_time_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tollway.api import health

    monkeypatch.setattr(health, "_CHECK_SECONDS", 0.05)
    async with installed(tmp_path) as services:

        async def stalled() -> None:
            await asyncio.sleep(60)

        monkeypatch.setattr(services.database, "ping", stalled)
        reply = await call(app_of(services), "GET", "/readyz")
    assert (reply.status, reply.json["checks"]) == (503, {"database": False})


async def test_metrics_are_in_prometheus_format(tmp_path: Path) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    async with installed(tmp_path) as services:
        app = app_of(services)
        await call(app, "GET", "/healthz")
        reply = await call(app, "GET", "/metrics")
    assert (reply.header("content-type") or "").startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(reply.body.decode())}
    assert {"tollway_http_requests", "tollway_http_request_duration_seconds", "tollway_http_requests_in_flight"} <= set(
        families
    )
