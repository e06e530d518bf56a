"""Whom a request is not tried with again, and when it is given up."""

import asyncio
import random

import pytest
from tests.unit.providers.scripted import Bench, Scripted, answering, failing, limits, route, silent

from tollway import clock
from tollway.errors import BadGateway, ContextLengthExceeded, GatewayTimeout, TollwayError, UnsupportedParameter
from tollway.providers import routing
from tollway.providers.patience import TOTAL_TIME_CODE


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "BACKOFF_SECONDS", 0.01)


async def test_once_the_total_has_run_out_nobody_else_is_asked() -> None:
    brief = limits(first_token_seconds=None, total_seconds=0.2)
    routes = route("a", limits=brief), route("b", limits=limits(total_seconds=None), priority=1)
    bench = Bench(Scripted(a=silent(), b=answering()), *routes)
    with pytest.raises(GatewayTimeout) as failure:
        await bench.ask()
    assert failure.value.code == TOTAL_TIME_CODE
    assert bench.provider.calls == ["a"]


@pytest.mark.parametrize("error", [UnsupportedParameter("schema"), ContextLengthExceeded("long")])
async def test_a_route_for_which_it_is_too_much_is_not_tried_again(error: TollwayError) -> None:
    bench = Bench(Scripted(a=failing(error), b=failing(BadGateway("x"))), route("a"), route("b", priority=1))
    with pytest.raises(BadGateway):
        await bench.ask()
    assert bench.provider.calls == ["a", "b", "b"]


async def test_an_upstream_that_is_left_alone_meanwhile_leaves_the_retry_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(
        Scripted(a=failing(BadGateway("a")), b=[failing(BadGateway("b")), answering()]), route("a"), route("b", priority=1)
    )

    async def sleep(_: float) -> None:
        for _ in range(5):  # others' calls
            bench.router.health(bench.plan.routes[0]).breaker.failed(clock.monotonic(), probe=False)

    monkeypatch.setattr(random, "uniform", lambda low, high: 1.0)  # so that `a` would be the first to be tried again
    monkeypatch.setattr(asyncio, "sleep", sleep)
    journey = await bench.ask()
    assert (journey.route.upstream.name, bench.provider.calls) == ("b", ["a", "b", "b"])
