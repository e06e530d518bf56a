"""Routing between real HTTP upstreams: every fault beside a healthy fallback, stalls within their limits, a third failing."""

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import structs
from tests.answers import chunks_of
from tests.contract.providers.openai_support import Gateway, route_to
from tests.contract.providers.test_openai_faults import GOOD, OUTCOMES, TEXT, outcome
from tests.fakes.faults import FAULTS, Drip, Heartbeats, Reply, Wait
from tests.fakes.openai import FakeOpenAI, chunk, stream_reply
from tests.unit.providers.test_images import png

from tollway.admission import OpenDesk
from tollway.catalog import Catalog, Limits, Plan, Route
from tollway.completions import Answer, Completions
from tollway.errors import GatewayTimeout, InvalidRequest, TollwayError
from tollway.observability import Metrics
from tollway.providers.http import HttpClient
from tollway.providers.images import ImageLoader
from tollway.providers.openai_compatible import OpenAIProvider
from tollway.providers.routing import Router
from tollway.settings import Settings

LIMITS = Limits(first_token_seconds=1, between_tokens_seconds=1, total_seconds=5)
TEXT_WHOLE = "".join(TEXT)


def named(route: Route, name: str, priority: int) -> Route:
    return structs.replace(route, priority=priority, upstream=structs.replace(route.upstream, name=name))


class SlowFetcher:
    """Downloads that take their time. `trouble` is what they end with, if not with an image."""

    def __init__(self, seconds: float, trouble: InvalidRequest | None = None) -> None:
        self.urls: list[str] = []
        self._seconds, self._trouble = seconds, trouble

    async def get(self, url: str, *, param: str) -> bytes:
        self.urls.append(url)
        await asyncio.sleep(self._seconds)
        if self._trouble is not None:
            raise self._trouble
        return png(4, 4)


def pictures(count: int) -> list[dict[str, object]]:
    urls = [f"https://pictures.test/{number}.png" for number in range(count)]
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}} for url in urls]}]


@asynccontextmanager
async def house_of(*routes: Route, fetcher: SlowFetcher | None = None) -> AsyncIterator[Gateway]:
    http = HttpClient(silence_seconds=600, connect_seconds=10)
    images = ImageLoader(fetcher)  # type: ignore[arg-type]
    provider = OpenAIProvider(images, http)
    router = Router({"openai": provider}, Metrics(), images=images)
    completions = Completions(Catalog([Plan(routes[0].model, routes)]), router, OpenDesk(), Settings())
    yield Gateway(completions, provider, routes[0], http)
    await completions.drain(0)
    http.close()


@pytest.fixture
async def pair() -> AsyncIterator[tuple[FakeOpenAI, FakeOpenAI]]:
    async with FakeOpenAI() as shaky, FakeOpenAI() as healthy:
        yield shaky, healthy


def routes_to(shaky: FakeOpenAI, healthy: FakeOpenAI, limits: Limits = LIMITS) -> tuple[Route, Route]:
    return (
        named(route_to(shaky.base_url, limits=limits), "shaky", 0),
        named(route_to(healthy.base_url, limits=limits), "healthy", 1),
    )


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_before_content_goes_to_the_fallback_and_one_after_it_to_the_caller(
    pair: tuple[FakeOpenAI, FakeOpenAI], fault: str
) -> None:
    shaky, healthy = pair
    kind, begun = OUTCOMES[fault]
    shaky.queue(FAULTS[fault](GOOD))
    async with house_of(*routes_to(shaky, healthy)) as house:
        answer = await house.start(stream=True)
        text, error = await outcome_of(answer)
    assert len(shaky.received) == 1
    if begun:
        assert type(error) is kind
        assert healthy.received == []
        assert answer.route_label == "shaky/fake-model; attempts=1"
    else:
        assert error is None
        assert text == "".join(FakeOpenAI.TEXT)
        assert len(healthy.received) == 1
        assert answer.route_label == "healthy/fake-model; attempts=2"


async def outcome_of(answer: Answer) -> tuple[str, TollwayError | None]:
    text = ""
    try:
        async for event in chunks_of(answer):
            for choice in event.choices:
                text += choice.delta.content or ""
    except TollwayError as error:
        return text, error
    return text, None


async def test_a_refused_connection_goes_to_the_fallback(pair: tuple[FakeOpenAI, FakeOpenAI]) -> None:
    shaky, healthy = pair
    await shaky.stop()
    async with house_of(*routes_to(shaky, healthy)) as house:
        text, error = await outcome(house)
    assert (error, "".join(text)) == (None, "".join(FakeOpenAI.TEXT))


STALLS = {
    "silent": FAULTS["stall_before_headers"](GOOD),
    "silent after headers": FAULTS["stall_before_first_byte"](GOOD),
    "heartbeats only": FAULTS["heartbeats_only"](GOOD),
    "empty deltas only": Reply([Heartbeats(0.02, b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m",'
                                b'"choices":[{"index":0,"delta":{"content":""},"finish_reason":null}]}\n\n')]),
    "midway": FAULTS["stall_after_first_event"](GOOD),
    "heartbeats midway": FAULTS["heartbeats_after_first_event"](GOOD),
    "a byte at a time": stream_reply([chunk({"content": "x" * 400})]),
}  # fmt: skip


@pytest.mark.parametrize("stall", STALLS)
async def test_a_stall_is_an_error_within_its_limit(stall: str) -> None:
    reply = STALLS[stall]
    if stall == "a byte at a time":
        reply = Reply([Drip(step, 0.02) if isinstance(step, bytes) else step for step in reply.steps])
    async with FakeOpenAI() as fake:
        fake.queue(reply)
        async with house_of(route_to(fake.base_url, limits=LIMITS)) as house:
            began = time.monotonic()
            _, error = await outcome(house)
            taken = time.monotonic() - began
            assert type(error) is GatewayTimeout
            assert taken < 1 + 1
            async with asyncio.timeout(1):
                await fake.received[0].left.wait()  # it is not left generating
        assert len(fake.received) == 1


async def test_with_a_third_of_the_calls_failing_and_one_healthy_fallback_all_are_answered(
    pair: tuple[FakeOpenAI, FakeOpenAI], record_property: Callable[[str, Any], None]
) -> None:
    """RELIABILITY row 14: 1,000 requests, 20 at a time; at least 999 answered, and falling back adds at most 200 ms."""
    shaky, healthy = pair
    dice = random.Random(14)
    early = [name for name, (_, begun) in OUTCOMES.items() if not begun and "stall" not in name and "heartbeats" not in name]
    shaky.queue(*(FAULTS[dice.choice(early)](GOOD) if dice.random() < 0.3 else GOOD for _ in range(1000)))
    seconds: dict[str, list[float]] = {"shaky": [], "healthy": []}
    answered = 0

    async with house_of(*routes_to(shaky, healthy, structs.replace(LIMITS, first_token_seconds=5.0))) as house:

        async def worker(count: int) -> None:
            nonlocal answered
            for _ in range(count):
                began = time.monotonic()
                answer = await house.start(stream=True)
                text, error = await outcome_of(answer)
                seconds[answer.route_label.partition("/")[0]].append(time.monotonic() - began)
                answered += error is None and text in (TEXT_WHOLE, "".join(FakeOpenAI.TEXT))

        await asyncio.gather(*(worker(50) for _ in range(20)))
    assert answered >= 999
    assert len(seconds["healthy"]) >= 200
    added = statistics.median(seconds["healthy"]) - statistics.median(seconds["shaky"])
    assert added < 0.2
    record_property("requests, 30 % of the first upstream's calls failing", 1000)
    record_property("answered", f"{answered / 10:.1f} %")
    record_property("added by falling back", f"{1000 * added:.0f} ms (median)")


async def test_while_one_route_waits_others_are_answered(pair: tuple[FakeOpenAI, FakeOpenAI]) -> None:
    shaky, healthy = pair
    shaky.queue(Reply([Wait(0.3), *GOOD.steps]))
    shaky_route, healthy_route = routes_to(shaky, healthy)
    async with house_of(shaky_route, structs.replace(healthy_route, priority=0)) as house:
        answers = await asyncio.gather(*(house.completion() for _ in range(6)))
    assert all(answer["choices"][0]["message"]["content"] for answer in answers)
    assert shaky.received
    assert healthy.received


async def test_images_are_downloaded_once_and_in_nobodys_time(pair: tuple[FakeOpenAI, FakeOpenAI]) -> None:
    """A caller's slow servers open no breaker, use up no time limit and take no place at an upstream."""
    shaky, healthy = pair
    brief = structs.replace(LIMITS, first_token_seconds=0.5, total_seconds=1.0, attempts_max=1)
    shaky.queue(*[FAULTS["503"](GOOD)] * 2)
    healthy.queue(*[GOOD] * 2)
    fetcher = SlowFetcher(0.4)
    async with house_of(*routes_to(shaky, healthy, brief), fetcher=fetcher) as house:
        answer = await house.start(messages=pictures(3), stream=True)
        await asyncio.sleep(0.6)
        health = house.completions._router.health(house.route)
        assert (len(fetcher.urls), health.pending, health.breaker._failures) == (2, 0, 0)
        text, error = await outcome_of(answer)
    assert (text, error) == (TEXT_WHOLE, None)
    assert len(fetcher.urls) == 3
    assert [part["image_url"]["url"][:15] for part in healthy.requests[0]["messages"][0]["content"]] == ["data:image/png;"] * 3


async def test_images_that_cannot_be_had_are_the_callers_400(
    pair: tuple[FakeOpenAI, FakeOpenAI], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tollway.providers.images.DOWNLOAD_SECONDS_MAX", 0.3)
    broken = InvalidRequest("`x`: not fetched", param="x", code="image_fetch_failed")
    for fetcher in (SlowFetcher(0.2), SlowFetcher(0, broken)):
        async with house_of(*routes_to(*pair), fetcher=fetcher) as house:
            with pytest.raises(InvalidRequest) as caught:
                await house.completion(messages=pictures(16))
        assert caught.value.code == "image_fetch_failed"
    assert (pair[0].requests, pair[1].requests) == ([], [])


async def test_all_images_of_a_request_together_have_a_limit(
    pair: tuple[FakeOpenAI, FakeOpenAI], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tollway.providers.images.IMAGES_BYTES_MAX", 2 * len(png(4, 4)))
    fetcher = SlowFetcher(0)
    async with house_of(*routes_to(*pair), fetcher=fetcher) as house:
        await house.completion(messages=pictures(2))
        with pytest.raises(InvalidRequest, match=r"larger than .* bytes together") as caught:
            await house.completion(messages=pictures(16))
    assert (caught.value.code, len(fetcher.urls)) == ("invalid_image", 5)
