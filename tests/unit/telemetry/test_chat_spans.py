"""What an answer looks like to OpenTelemetry, by the SDK's own exporters in memory."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.trace import SpanKind, StatusCode

from tollway import settings as settings_module
from tollway.catalog import LOCAL, Model, Plan, Price, Route, Upstream, shipped_providers
from tollway.errors import BadGateway, InvalidRequest
from tollway.observability import Metrics
from tollway.providers.base import Item, Meter, Take, hand_on
from tollway.providers.routing import Router
from tollway.telemetry import Telemetry
from tollway.wire.chat import (
    ChatRequest,
    ChunkChoice,
    CompletionTokensDetails,
    Delta,
    FunctionCallDelta,
    PromptTokensDetails,
    ToolCallDelta,
    Usage,
)
from tollway.wire.decode import decode_chat_request

PRICE = Price(prompt="1", completion="1", cached_prompt="1", audio_prompt="1")
MODEL = Model("house/model", "Model", "House", "", 100_000, 1000, PRICE)
SECRET = "the prompt that nobody else may read"
USAGE = Usage(
    10, 3, 13, CompletionTokensDetails(reasoning_tokens=1), PromptTokensDetails(cached_tokens=4)
)  # prompt, completion, total
END = ChunkChoice(0, Delta(), finish_reason="stop")
ANSWER = (ChunkChoice(0, Delta(role="assistant", content="")), ChunkChoice(0, Delta(content="Yes")), END, USAGE)


def route(upstream: Upstream = LOCAL, priority: int = 0) -> Route:
    return Route(MODEL, "answering/model", upstream, "m", PRICE, 100_000, 1000, frozenset(), stand_in=False, priority=priority)


@dataclass
class Script:
    """A provider: each call plays the next of `plays`."""

    plays: list[Iterable[ChunkChoice | Usage | Exception]]

    def check(self, request: ChatRequest, route: Route) -> list[str]:
        return []

    async def answer(self, request: ChatRequest, route: Route, meter: Meter, take: Take) -> None:
        await hand_on(self._items(meter), take)

    async def _items(self, meter: Meter) -> AsyncGenerator[Item]:
        meter.prompt_tokens, meter.prompt_tokens_details = 10, PromptTokensDetails(cached_tokens=4)
        for item in self.plays.pop(0):
            if isinstance(item, Exception):
                raise item
            yield item


@dataclass
class Told:
    """What telemetry has been told."""

    content: bool = False
    spans_in_memory: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def __post_init__(self) -> None:
        traces = TracerProvider()
        traces.add_span_processor(SimpleSpanProcessor(self.spans_in_memory))
        self.telemetry = Telemetry(traces, MeterProvider([self.reader]), content=self.content)

    @property
    def span(self) -> ReadableSpan:
        (span,) = self.spans_in_memory.get_finished_spans()
        return span

    @property
    def attributes(self) -> dict[str, Any]:
        return dict(self.span.attributes or {})

    def points(self) -> dict[str, list[tuple[dict[str, Any], int, float]]]:
        """(attributes, count, sum) of each histogram."""
        data = self.reader.get_metrics_data()
        found: dict[str, list[tuple[dict[str, Any], int, float]]] = {}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics if data else ():
            for point in metric.data.data_points:
                assert isinstance(point, HistogramDataPoint)
                found.setdefault(metric.name, []).append((dict(point.attributes or {}), point.count, point.sum))
        return found

    async def answer(self, script: Script, *routes: Route, leave_after: int | None = None, **fields: Any) -> None:
        body = {"model": MODEL.id, "messages": [{"role": "user", "content": SECRET}], **fields}
        request = decode_chat_request(json.dumps(body).encode())
        router = Router({"local": script, "openai": script}, Metrics(), journey=self.telemetry.journey)
        journey = router.begin(request, Plan(MODEL, routes or (route(),)), "req-1")
        journey.response_id = "chatcmpl-1"
        seen: list[Item] = []

        def take(item: Item) -> asyncio.Future[None] | None:
            seen.append(item)
            return asyncio.create_task(asyncio.sleep(9)) if len(seen) == leave_after else None

        answering = asyncio.create_task(journey.answer(Meter(), take))
        if leave_after is not None:
            while len(seen) < leave_after:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            answering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await answering


async def test_an_answer_is_a_span_in_the_conventions_words() -> None:
    told = Told()
    await told.answer(
        Script([ANSWER]),
        temperature=0.5,
        top_p=0.9,
        top_k=7,
        seed=3,
        max_tokens=20,
        stop="end",
        presence_penalty=1,
        stream=True,
    )
    assert (told.span.name, told.span.kind, told.span.status.status_code) == (
        "chat house/model",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    attributes = told.attributes
    assert attributes.pop("gen_ai.response.time_to_first_chunk") >= 0
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "tollway",
        "gen_ai.request.model": "house/model",
        "gen_ai.request.max_tokens": 20,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.top_k": 7,
        "gen_ai.request.presence_penalty": 1,
        "gen_ai.request.seed": 3,
        "gen_ai.request.stop_sequences": ("end",),
        "gen_ai.request.stream": True,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "answering/model",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 1,
        "tollway.attempts": 1,
        "tollway.request_id": "req-1",
    }


async def test_an_answer_is_counted_in_the_conventions_histograms() -> None:
    told = Told()
    await told.answer(Script([ANSWER]))
    points = told.points()
    assert set(points) == {
        "gen_ai.server.request.duration",
        "gen_ai.server.time_to_first_token",
        "gen_ai.server.time_per_output_token",
        "gen_ai.client.token.usage",
    }
    assert all(count == 1 for values in points.values() for _, count, _ in values)
    tokens = {labels["gen_ai.token.type"]: total for labels, _, total in points["gen_ai.client.token.usage"]}
    assert tokens == {"input": 10, "output": 3}
    ((labels, _, _),) = points["gen_ai.server.time_to_first_token"]
    assert labels == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "tollway",
        "gen_ai.request.model": "house/model",
        "gen_ai.response.model": "answering/model",
    }


async def test_every_name_is_one_of_the_conventions() -> None:
    known = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    known_metrics = {value for name, value in vars(gen_ai_metrics).items() if name.startswith("GEN_AI_")}
    told = Told(content=True)
    await told.answer(Script([ANSWER]), tools=[{"type": "function", "function": {"name": "f"}}], n=1, temperature=1)
    names = set(told.attributes) | {name for values in told.points().values() for labels, _, _ in values for name in labels}
    assert {name for name in names if name.startswith("gen_ai.")} <= known
    assert set(told.points()) <= known_metrics
    vendors = {member.value for member in gen_ai_attributes.GenAiProviderNameValues}
    rows = shipped_providers()
    assert {rows[name].vendor for name in ("openai", "gemini", "groq", "mistral", "deepseek")} <= vendors


async def test_a_failure_names_its_code_and_a_fallback_is_the_one_that_answered() -> None:
    failed, answered = Told(), Told()
    with pytest.raises(InvalidRequest):
        await failed.answer(Script([[InvalidRequest("No.", code="content_policy_violation")]]))
    assert failed.span.status.status_code is StatusCode.ERROR
    assert failed.attributes["error.type"] == "content_policy_violation"
    points = failed.points()
    assert "gen_ai.server.time_to_first_token" not in points
    assert points["gen_ai.server.request.duration"][0][0]["error.type"] == "content_policy_violation"

    first = route(Upstream("first", "openai", "https://first.example/v1", vendor="one"))
    second = route(Upstream("second", "openai", "http://second.example:8000/v1", vendor="two"), priority=1)
    await answered.answer(Script([[BadGateway("Down.")], ANSWER]), first, second)
    attributes = answered.attributes
    assert attributes["tollway.attempts"] == 2
    assert attributes["gen_ai.provider.name"] == "two"
    assert (attributes["server.address"], attributes["server.port"]) == ("second.example", 8000)
    assert "error.type" not in attributes


async def test_a_caller_who_leaves_is_no_error_and_what_is_known_is_told() -> None:
    told = Told()
    await told.answer(Script([ANSWER]), leave_after=2)
    assert told.span.status.status_code is StatusCode.UNSET
    assert (told.attributes["tollway.outcome"], told.attributes["gen_ai.usage.input_tokens"]) == ("cancelled", 10)
    assert told.attributes["gen_ai.usage.cache_read.input_tokens"] == 4


async def test_content_is_told_only_where_it_is_opted_in() -> None:
    silent, open_hearted = Told(), Told(content=True)
    call = ToolCallDelta(0, id="call_1", function=FunctionCallDelta(name="look", arguments='{"at": 1}'))
    answer = (ChunkChoice(0, Delta(content="Yes")), ChunkChoice(0, Delta(tool_calls=[call])), END, USAGE)
    data_url = "data:image/png;base64,AAAA"
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": SECRET}, {"type": "image_url", "image_url": {"url": data_url}}]},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "42"},
    ]
    for told in (silent, open_hearted):
        await told.answer(Script([answer]), messages=messages)
    assert SECRET not in silent.span.to_json()
    attributes = open_hearted.attributes
    assert json.loads(attributes["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief."}]
    assert json.loads(attributes["gen_ai.input.messages"]) == [
        {
            "role": "user",
            "parts": [
                {"type": "text", "content": SECRET},
                {"type": "uri", "modality": "image", "uri": "data:image/png;base64"},
            ],
        },
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c", "name": "f", "arguments": "{}"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c", "response": "42"}]},
    ]
    assert json.loads(attributes["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "Yes"},
                {"type": "tool_call", "id": "call_1", "name": "look", "arguments": '{"at": 1}'},
            ],
            "finish_reason": "stop",
        }
    ]


def test_what_is_off_is_not_even_imported() -> None:
    program = (
        "import sys, tollway.app as app; from tollway.settings import Settings; "
        "assert app._telemetry(Settings()) is None; "
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'tollway.telemetry'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_extra_the_setting_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(settings_module.SettingsError, match=r"requirements/otel\.txt"):
        settings_module.load(environ={"TOLLWAY_OPENTELEMETRY": "true"})


async def test_closing_does_not_wait_for_a_receiver_that_dawdles(monkeypatch: pytest.MonkeyPatch) -> None:
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Stuck(TracerProvider):
        def shutdown(self) -> None:
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

    stuck = Stuck(shutdown_on_exit=False)

    monkeypatch.setattr("tollway.telemetry.telemetry._FLUSH_SECONDS_MAX", 0.05)
    async with asyncio.timeout(10):
        await Telemetry(stuck, MeterProvider()).close()
    release.set()
