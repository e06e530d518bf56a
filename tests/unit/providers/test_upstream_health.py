"""What operators are told of an upstream's health."""

import asyncio

import pytest
from msgspec import structs
from structlog.testing import capture_logs
from tests.unit.providers.scripted import Bench, Scripted, answering, failing, limits, route

from tollway import clock
from tollway.catalog import Plan
from tollway.errors import BadGateway, RateLimited, ServiceUnavailable


async def test_the_log_says_once_when_an_upstream_is_left_alone_and_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    scripts = [*(failing(BadGateway("x")) for _ in range(3)), answering()]
    bench = Bench(Scripted(a=scripts), route("a", limits=limits(attempts_max=1, breaker_failures=2)))
    with capture_logs() as logs:
        for seconds in (0, 0, 0, 20, 20):  # two failures, a refusal, a probe that fails, and one that succeeds
            now[0] += seconds
            await asyncio.gather(bench.ask(), return_exceptions=True)
    events = [log["event"] for log in logs if log["event"] != "upstream_failed"]
    assert events == ["upstream_is_left_alone", "upstream_is_left_alone", "upstream_is_back"]
    first = next(log for log in logs if log["event"] == "upstream_is_left_alone")
    assert (first["upstream"], first["code"], first["log_level"]) == ("a", "upstream_error", "warning")
    assert 4 <= first["seconds"] <= 6


async def test_after_a_reload_an_upstream_that_was_left_alone_is_probed_at_once() -> None:
    failing_once = limits(attempts_max=1, breaker_failures=1)
    bench = Bench(Scripted(a=[failing(BadGateway("bad key")), answering()]), route("a", limits=failing_once))
    with pytest.raises(BadGateway):
        await bench.ask()
    with pytest.raises(ServiceUnavailable):
        await bench.ask()

    bench.plan = Plan(bench.plan.model, (route("a", limits=structs.replace(failing_once)),))  # the same, read anew
    assert (await bench.ask()).answered


async def test_after_a_reload_a_model_that_was_passed_over_is_asked_at_once() -> None:
    gone = RateLimited("full", retry_after_seconds=60)
    bench = Bench(Scripted(a=[failing(gone), answering()], b=answering()), route("a"), route("b", priority=1))
    await bench.ask()
    assert (await bench.ask()).route.upstream.name == "b"

    bench.plan = Plan(bench.plan.model, (route("a", limits=limits()), route("b", priority=1)))
    assert (await bench.ask()).route.upstream.name == "a"
