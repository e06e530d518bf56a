import asyncio
import collections
import time
from collections.abc import AsyncGenerator, Callable

import pytest
from tests.unit.providers.scripted import (
    ANSWER,
    EMPTY,
    MODEL,
    REQUEST,
    ROLE,
    STOP,
    USAGE,
    Bench,
    Script,
    Scripted,
    answering,
    failing,
    limits,
    route,
    silent,
    text,
)

from tollway import clock
from tollway.catalog import Plan
from tollway.errors import (
    BadGateway,
    ContextLengthExceeded,
    GatewayTimeout,
    InternalError,
    InvalidRequest,
    PayloadTooLarge,
    RateLimited,
    ServiceUnavailable,
    TollwayError,
    UnsupportedParameter,
)
from tollway.providers import patience, routing
from tollway.providers.base import Item, Meter

RETRYABLE = [BadGateway("x"), ServiceUnavailable("x"), RateLimited("x")]


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "BACKOFF_SECONDS", 0.01)


async def test_an_answer_passes_through_whole() -> None:
    bench = Bench(Scripted(a=answering()), route("a", model="x y"))
    journey = bench.begin()
    assert (journey.answered, journey.attempts) == (False, 0)
    items: list[Item] = []
    await journey.answer(Meter(), items.append)
    assert items == list(ANSWER)
    assert journey.answered
    assert journey.label == "a/x%20y; attempts=1"
    assert journey.ignored == ("hint-of-a",)
    assert (bench.value("attempts_total", upstream="a"), bench.value("pending", upstream="a")) == (1, 0)
    assert bench.value("first_token_seconds_count", upstream="a") == 1


@pytest.mark.parametrize("error", RETRYABLE, ids=lambda error: type(error).__name__)
async def test_a_failure_before_content_goes_to_the_next_route_at_once(error: TollwayError) -> None:
    bench = Bench(Scripted(a=failing(error, ROLE, EMPTY), b=answering()), route("a"), route("b", priority=1))
    began = time.monotonic()
    journey = await bench.ask()
    assert time.monotonic() - began < 0.4
    assert bench.provider.calls == ["a", "b"]
    assert (journey.route.upstream.name, journey.label, journey.ignored) == ("b", "b/m; attempts=2", ("hint-of-b",))
    assert bench.value("failures_total", upstream="a", code=error.code) == 1


async def test_the_role_of_a_failed_attempt_is_not_passed_on() -> None:
    bench = Bench(Scripted(a=failing(BadGateway("x"), ROLE), b=answering()), route("a"), route("b", priority=1))
    items: list[Item] = []
    await bench.ask(items=items)
    assert items == list(ANSWER)


async def test_one_route_is_tried_three_times_and_no_more() -> None:
    bench = Bench(Scripted(a=failing(BadGateway("x"))), route("a"))
    with pytest.raises(BadGateway) as failure:
        await bench.ask()
    assert bench.provider.calls == ["a"] * 3
    assert failure.value.headers["x-tollway-route"] == "a/m; attempts=3"


async def test_three_attempts_are_all_there_are_however_many_routes() -> None:
    names = "abcd"
    scripts = {name: failing(BadGateway("x")) for name in names}
    bench = Bench(Scripted(**scripts), *(route(name, priority=at) for at, name in enumerate(names)))
    with pytest.raises(BadGateway):
        await bench.ask()
    assert bench.provider.calls == ["a", "b", "c"]


async def test_an_upstream_may_ask_for_fewer_attempts() -> None:
    bench = Bench(Scripted(a=failing(RateLimited("full"))), route("a", limits=limits(attempts_max=1)))
    with pytest.raises(RateLimited):
        await bench.ask()
    assert bench.provider.calls == ["a"]


@pytest.mark.parametrize(
    "error", [InvalidRequest("x"), InternalError("x"), ValueError("a bug")], ids=lambda error: type(error).__name__
)
async def test_what_another_attempt_would_not_mend_is_not_tried_again(error: Exception) -> None:
    bench = Bench(Scripted(a=failing(error), b=answering()), route("a"), route("b", priority=1))
    with pytest.raises(type(error)):
        await bench.ask()
    assert bench.provider.calls == ["a"]


@pytest.mark.parametrize("first", [text("H"), STOP, USAGE], ids=["text", "finish", "usage"])
async def test_nothing_is_tried_again_after_the_first_content(first: object) -> None:
    bench = Bench(Scripted(a=failing(BadGateway("cut"), ROLE, first), b=answering()), route("a"), route("b", priority=1))  # type: ignore[arg-type]
    items: list[Item] = []
    with pytest.raises(BadGateway, match="cut"):
        await bench.ask(items=items)
    assert items == [ROLE, first]
    assert bench.provider.calls == ["a"]
    assert bench.value("failures_total", upstream="a", code="upstream_error") == 1


async def test_an_answer_without_anything_in_it_is_a_failure() -> None:
    bench = Bench(Scripted(a=answering(ROLE), b=answering()), route("a"), route("b", priority=1))
    assert (await bench.ask()).route.upstream.name == "b"


async def test_a_short_retry_after_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(Scripted(a=[failing(RateLimited("x", retry_after_seconds=1)), answering()]), route("a"))
    began = time.monotonic()
    assert (await bench.ask()).attempts == 2
    assert 1.0 <= time.monotonic() - began < 1.5


async def test_a_long_retry_after_is_the_callers() -> None:
    bench = Bench(Scripted(a=failing(RateLimited("x", retry_after_seconds=30))), route("a"))
    with pytest.raises(RateLimited) as caught:
        await bench.ask()
    assert caught.value.retry_after_seconds == 30
    assert bench.provider.calls == ["a"]


async def test_a_route_that_asked_for_patience_is_passed_over_while_there_is_another() -> None:
    bench = Bench(
        Scripted(a=failing(RateLimited("x", retry_after_seconds=30)), b=answering()), route("a"), route("b", priority=1)
    )
    for _ in range(3):
        await bench.ask()
    assert bench.provider.calls == ["a", "b", "b", "b"]


async def test_a_model_that_is_gone_takes_none_of_its_upstreams_others_with_it() -> None:
    gone = BadGateway("gone", retry_after_seconds=300)
    gone.of_model = True
    brief = limits(breaker_failures=2)
    bench = Bench(
        Scripted(a=[failing(gone), failing(gone), failing(gone), answering()], b=answering()),
        route("a", limits=brief, model="gone"),
        route("b", priority=1),
    )
    alone = Plan(MODEL, bench.plan.routes[:1])
    await bench.ask()
    for _ in range(2):
        with pytest.raises(BadGateway, match="gone"):
            await bench.router.begin(REQUEST, alone).answer(Meter(), list[Item]().append)
    assert (await bench.ask()).route.upstream.name == "b"  # it is passed over
    other = Plan(MODEL, (route("a", limits=brief, model="healthy"),))
    await bench.router.begin(REQUEST, other).answer(Meter(), list[Item]().append)
    assert bench.provider.calls == ["a", "b", "a", "a", "b", "a"]


async def test_tokens_of_failed_attempts_are_the_operators_loss() -> None:
    bench = Bench(Scripted(a=failing(BadGateway("x"), prompt_tokens=70), b=answering()), route("a"), route("b", priority=1))
    meter = Meter()
    await bench.ask(meter)
    assert meter.prompt_tokens is None
    assert bench.value("lost_tokens_total", upstream="a", kind="prompt") == 70


# --- what a route cannot do -------------------------------------------------------------------------------------------


async def test_a_route_that_cannot_honour_the_request_is_skipped() -> None:
    bench = Bench(Scripted(a=answering(), b=answering()), route("a"), route("b", priority=1))
    bench.provider.refused["a"] = UnsupportedParameter("no", param="logprobs")
    journey = await bench.ask()
    assert [each.upstream.name for each in journey.routes] == ["b"]
    assert bench.provider.calls == ["b"]


async def test_when_no_route_can_the_caller_gets_the_first_ones_400() -> None:
    bench = Bench(Scripted(a=answering(), b=answering()), route("a"), route("b", priority=1))
    bench.provider.refused |= {"a": UnsupportedParameter("a cannot"), "b": UnsupportedParameter("b cannot")}
    with pytest.raises(UnsupportedParameter, match="a cannot"):
        bench.begin()


async def test_a_fallback_that_could_not_have_been_asked_is_not_asked_when_the_first_fails() -> None:
    bench = Bench(Scripted(a=failing(ServiceUnavailable("away")), b=answering()), route("a"), route("b", priority=1))
    bench.provider.refused["b"] = UnsupportedParameter("no")
    with pytest.raises(ServiceUnavailable, match="away"):
        await bench.ask()
    assert set(bench.provider.calls) == {"a"}


@pytest.mark.parametrize("error", [UnsupportedParameter("schema"), ContextLengthExceeded("long"), PayloadTooLarge("big")])
async def test_what_turns_out_to_be_too_much_for_one_route_goes_to_the_next(error: TollwayError) -> None:
    bench = Bench(Scripted(a=failing(error), b=answering()), route("a"), route("b", priority=1))
    assert (await bench.ask()).route.upstream.name == "b"
    assert bench.value("failures_total", upstream="a", code=error.code) == 0


async def test_a_400_of_the_fallback_does_not_hide_the_failure() -> None:
    bench = Bench(
        Scripted(a=failing(ServiceUnavailable("away")), b=failing(ContextLengthExceeded("long"))),
        route("a", limits=limits(attempts_max=1)),
        route("b", priority=1),
    )
    with pytest.raises(ServiceUnavailable, match="away"):
        await bench.ask()


# --- balance ----------------------------------------------------------------------------------------------------------


async def test_weights_share_quiet_traffic() -> None:
    bench = Bench(Scripted(a=answering(STOP, USAGE), b=answering(STOP, USAGE)), route("a", weight=3), route("b"))
    for _ in range(400):
        await bench.ask()
    shares = collections.Counter(bench.provider.calls)
    assert 0.65 < shares["a"] / 400 < 0.85


async def test_the_least_busy_for_its_weight_is_asked() -> None:
    slow: Callable[[], Script] = lambda: answering(*ANSWER, every=0.02)  # noqa: E731
    bench = Bench(Scripted(a=slow(), b=slow()), route("a", weight=3), route("b"))
    await asyncio.gather(*(bench.ask() for _ in range(40)))
    assert collections.Counter(bench.provider.calls) == {"a": 30, "b": 10}


async def test_a_lower_priority_is_only_asked_when_the_higher_one_fails() -> None:
    bench = Bench(Scripted(a=answering(), b=answering()), route("a"), route("b", priority=1, weight=100))
    await asyncio.gather(*(bench.ask() for _ in range(20)))
    assert set(bench.provider.calls) == {"a"}


async def test_an_upstream_has_no_more_calls_than_it_may_and_the_rest_is_told_at_once() -> None:
    bench = Bench(Scripted(a=answering(*ANSWER, every=0.02)), route("a", limits=limits(concurrency_max=8)), workers=2)
    began = time.monotonic()
    answers = await asyncio.gather(*(bench.ask() for _ in range(10)), return_exceptions=True)
    refused = [each for each in answers if isinstance(each, RateLimited)]
    assert bench.provider.working_max == 4  # this worker's half
    assert len(refused) == 6
    assert {(each.code, each.retry_after_seconds) for each in refused} == {("upstream_busy", 1)}
    assert time.monotonic() - began < 1
    await bench.ask()


async def test_that_nobody_can_be_asked_is_known_before_anybody_is() -> None:
    bench = Bench(Scripted(a=silent()), route("a", limits=limits(concurrency_max=1)))
    bench.begin().check_room()
    busy = asyncio.create_task(bench.ask())
    await asyncio.sleep(0.02)
    with pytest.raises(RateLimited) as caught:
        bench.begin().check_room()
    assert caught.value.code == "upstream_busy"
    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)
    bench.begin().check_room()


async def test_a_full_upstream_hands_over_to_the_next_route() -> None:
    slow = answering(*ANSWER, every=0.02)
    bench = Bench(Scripted(a=slow, b=slow), route("a", limits=limits(concurrency_max=2)), route("b", priority=1))
    await asyncio.gather(*(bench.ask() for _ in range(6)))
    assert collections.Counter(bench.provider.calls) == {"a": 2, "b": 4}


# --- the breaker ------------------------------------------------------------------------------------------------------


class _Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        monkeypatch.setattr(clock, "monotonic", lambda: self.seconds)


async def test_an_upstream_that_keeps_failing_is_left_alone_then_probed_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = _Clock(monkeypatch)
    healthy = answering(*ANSWER, every=0.02)
    failures = [failing(BadGateway("x")) for _ in range(5)]
    bench = Bench(Scripted(a=[*failures, healthy]), route("a", limits=limits(attempts_max=1)))
    for _ in range(5):
        with pytest.raises(BadGateway):
            await bench.ask()
    with pytest.raises(ServiceUnavailable) as caught:
        await bench.ask()
    assert caught.value.code == "upstream_unavailable"
    assert 1 <= (caught.value.retry_after_seconds or 0) <= 6
    assert len(bench.provider.calls) == 5
    assert bench.value("breaker_state", upstream="a") == 2

    now.seconds += 7
    answers = await asyncio.gather(*(bench.ask() for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(each, ServiceUnavailable) for each in answers) == 4  # one probe at a time
    assert len(bench.provider.calls) == 6
    assert bench.value("breaker_state", upstream="a") == 0
    await asyncio.gather(*(bench.ask() for _ in range(5)))


async def test_a_failed_probe_doubles_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    now = _Clock(monkeypatch)
    bench = Bench(Scripted(a=failing(BadGateway("x"))), route("a", limits=limits(attempts_max=1, breaker_failures=1)))
    pauses = []
    for _ in range(6):
        with pytest.raises(BadGateway):
            await bench.ask()
        with pytest.raises(ServiceUnavailable) as caught:
            await bench.ask()
        pauses.append(caught.value.retry_after_seconds or 0)
        now.seconds += 100
    assert all(abs(pause - about) <= about * 0.2 + 1 for pause, about in zip(pauses, (5, 10, 20, 40, 60, 60), strict=True))


async def test_a_probe_whose_caller_leaves_makes_room_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    now = _Clock(monkeypatch)
    bench = Bench(
        Scripted(a=[failing(BadGateway("x")), silent(), answering()]),
        route("a", limits=limits(attempts_max=1, breaker_failures=1)),
    )
    with pytest.raises(BadGateway):
        await bench.ask()
    now.seconds += 7
    probe = asyncio.create_task(bench.ask())
    await asyncio.sleep(0.02)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    assert (await bench.ask()).answered
    assert bench.provider.working == 0


async def test_errors_that_are_the_callers_open_nothing() -> None:
    bench = Bench(Scripted(a=failing(InvalidRequest("x"))), route("a", limits=limits(breaker_failures=1)))
    for _ in range(3):
        with pytest.raises(InvalidRequest):
            await bench.ask()


# --- time -------------------------------------------------------------------------------------------------------------

STALLS: dict[str, Script] = {
    "silent": silent(),
    "only a role": silent(ROLE),
    "heartbeats only": answering(*[EMPTY] * 400, every=0.01),
    "after the first": silent(ROLE, text("Hi")),
    "empty deltas after the first": answering(text("Hi"), *[EMPTY] * 400, every=0.01),
    "a trickle beyond the total": answering(*[text("x")] * 400, every=0.05),
}


@pytest.mark.parametrize("stall", STALLS)
async def test_a_stalling_upstream_is_an_error_within_its_limit(stall: str) -> None:
    bench = Bench(Scripted(a=STALLS[stall]), route("a", limits=limits(total_seconds=0.5)))
    began = time.monotonic()
    with pytest.raises(GatewayTimeout):
        await bench.ask()
    assert time.monotonic() - began < 0.5 + 1
    assert bench.provider.calls == ["a"]  # it had its time
    assert bench.provider.working == 0
    assert bench.value("pending", upstream="a") == 0


async def test_a_silent_upstream_falls_back_once_its_time_is_over() -> None:
    bench = Bench(Scripted(a=silent(ROLE), b=answering()), route("a"), route("b", priority=1))
    journey = await bench.ask()
    assert (journey.route.upstream.name, journey.attempts) == ("b", 2)
    assert bench.value("failures_total", upstream="a", code="upstream_timeout") == 1


async def test_content_that_keeps_coming_may_take_longer_than_either_limit() -> None:
    bench = Bench(Scripted(a=answering(*[text("x")] * 12, STOP, USAGE, every=0.1)), route("a"))
    assert (await bench.ask()).answered


async def test_a_slow_reader_is_not_held_against_the_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LOOK_SECONDS", 0.01)  # up to so much of the reader's time may count
    brief = limits(first_token_seconds=0.5, between_tokens_seconds=0.5, total_seconds=None)
    bench = Bench(Scripted(a=answering(ROLE, text("a"), text("b"), STOP, USAGE, every=0.03)), route("a", limits=brief))
    items: list[Item] = []

    def take(item: Item) -> asyncio.Future[None]:
        items.append(item)
        return asyncio.create_task(asyncio.sleep(0.6))

    await bench.begin().answer(Meter(), take)
    assert len(items) == 5


@pytest.mark.parametrize(("seconds", "is_patient"), [(0.6, True), (1.6, False)])
async def test_choices_that_are_made_later_may_begin_as_late_as_the_first(seconds: float, is_patient: bool) -> None:
    async def in_rounds(meter: Meter) -> AsyncGenerator[Item]:
        yield text("one")
        meter.rounds += 1
        await asyncio.sleep(seconds)
        for item in (text("two"), STOP, USAGE):
            yield item

    brief = limits(first_token_seconds=1.0, between_tokens_seconds=0.2, total_seconds=None)
    asking = Bench(Scripted(a=in_rounds), route("a", limits=brief)).ask()
    if is_patient:
        assert (await asking).answered
    else:
        with pytest.raises(GatewayTimeout, match="to begin"):
            await asking


async def test_what_follows_a_whole_answer_does_not_make_it_fail() -> None:
    brief = limits(first_token_seconds=0.2, between_tokens_seconds=0.2, total_seconds=0.2)

    async def lingering(_: Meter) -> AsyncGenerator[Item]:
        for item in ANSWER:
            yield item
        await asyncio.sleep(0.8)

    assert (await Bench(Scripted(a=lingering), route("a", limits=brief)).ask()).answered


async def test_an_earlier_rooms_end_is_not_taken_for_the_present_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is told a round of the event loop later, when there may be no room again."""
    monkeypatch.setattr(patience, "LOOK_SECONDS", 0.01)
    loop = asyncio.get_running_loop()
    brief = limits(first_token_seconds=0.1, between_tokens_seconds=0.1, total_seconds=None)
    with patience.Patience(brief, None, Meter()) as waiting:
        first = loop.create_future()
        waiting.rest_until(first)
        first.set_result(True)
        waiting.rest_until(loop.create_future())
        await asyncio.sleep(0.4)


async def test_without_limits_an_upstream_has_all_the_time() -> None:
    unlimited = limits(first_token_seconds=None, between_tokens_seconds=None, total_seconds=None)
    bench = Bench(Scripted(a=answering(*ANSWER, every=0.6)), route("a", limits=unlimited))
    assert (await bench.ask()).answered


@pytest.mark.parametrize("script", [silent(), silent(text("Hi"))], ids=["before", "after content"])
async def test_leaving_closes_the_upstream_and_is_no_failure(script: Script) -> None:
    bench = Bench(Scripted(a=script), route("a", limits=limits(first_token_seconds=9, between_tokens_seconds=9)))
    task = asyncio.create_task(bench.ask())
    await asyncio.sleep(0.02)
    assert bench.provider.working == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.provider.working == 0
    assert "failures_total{" not in bench.metrics.render()[0].decode()


async def test_leaving_while_there_is_no_room_closes_the_upstream() -> None:
    bench = Bench(Scripted(a=answering()), route("a"))
    task = asyncio.create_task(bench.begin().answer(Meter(), lambda _: asyncio.create_task(asyncio.sleep(9))))
    await asyncio.sleep(0.02)
    assert bench.provider.working == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.provider.working == 0


# --- row 14 -----------------------------------------------------------------------------------------------------------


async def test_with_a_third_failing_and_one_healthy_fallback_all_are_answered() -> None:
    scripts = [failing(ServiceUnavailable("x")) if at % 10 in {0, 3, 7} else answering() for at in range(1000)]
    bench = Bench(Scripted(a=scripts, b=answering()), route("a"), route("b", priority=1))
    seconds = []
    for _ in range(1000):
        began = time.monotonic()
        assert (await bench.ask()).attempts <= 2
        seconds.append(time.monotonic() - began)
    shares = collections.Counter(bench.provider.calls)
    assert (shares["a"], shares["b"]) == (1000, 300)
    assert sorted(seconds)[990] < 0.2
