"""What operators are told of an upstream's health."""

import asyncio

import pytest
from structlog.testing import capture_logs
from tests.unit.providers.scripted import Bench, Scripted, answering, failing, limits, route

from tollway import clock
from tollway.errors import BadGateway


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
