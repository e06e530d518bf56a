"""`tollway serve` with the setting `opentelemetry`, between a fake upstream and a fake collector."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.fakes.faults import Hang, Received, Reply
from tests.fakes.openai import API_KEY, MODEL, FakeOpenAI
from tests.fakes.server import FakeServer
from tests.live import LiveServer, serving

TRACE, CALLERS_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "the prompt that nobody else may read"


class FakeCollector(FakeServer):
    """Takes OTLP over HTTP."""

    async def answer(self, received: Received) -> Reply:
        return self.next_queued() or Reply(content_type="application/x-protobuf")

    def spans(self) -> dict[str, Span]:
        """By name; a name that comes twice keeps the last."""
        found: dict[str, Span] = {}
        for received in self.received:
            if received.path == "/v1/traces":
                for resource in ExportTraceServiceRequest.FromString(received.body).resource_spans:
                    assert _attributes(resource.resource.attributes)["service.name"] == "gateway"
                    found |= {span.name: span for scope in resource.scope_spans for span in scope.spans}
        return found

    def metric_names(self) -> set[str]:
        return {
            metric.name
            for received in self.received
            if received.path == "/v1/metrics"
            for resource in ExportMetricsServiceRequest.FromString(received.body).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}


@asynccontextmanager
async def house(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collector: FakeCollector, **settings: str
) -> AsyncIterator[tuple[LiveServer, FakeOpenAI]]:
    async with FakeOpenAI() as upstream:
        home = tmp_path / "home"
        home.mkdir()
        (home / "tollway.toml").write_text(
            f'[upstreams.openai]\nbase_url = "{upstream.base_url}"\n[[models]]\nid = "acme/chat"\ncontext_length = 1000\n'
            f'price = {{ prompt = "1", completion = "1" }}\nroutes = [{{ upstream = "openai", model = "{MODEL}" }}]\n'
        )
        monkeypatch.setenv("OPENAI_API_KEY", API_KEY)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "gateway")
        server = serving(home, tmp_path / "models", local_models="none", opentelemetry="true", **settings)
        live = await asyncio.to_thread(server.__enter__)
        try:
            yield live, upstream
        finally:
            await asyncio.to_thread(server.__exit__, None, None, None)


async def _chat(live: LiveServer, **headers: str) -> tuple[int, dict[str, str], bytes]:
    body = {"model": "acme/chat", "messages": [{"role": "user", "content": SECRET}]}
    return await asyncio.to_thread(live.request, "POST", "/v1/chat/completions", body, headers)


async def test_a_trace_goes_from_the_caller_through_tollway_to_the_upstream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeCollector() as collector:
        async with house(tmp_path, monkeypatch, collector) as (live, upstream):
            status, headers, body = await _chat(live, traceparent=f"00-{TRACE}-{CALLERS_SPAN}-01", baggage="user=alice")
            assert status == 200
            await asyncio.to_thread(live.request, "GET", "/welcome/a-secret-of-one-time")
            await asyncio.to_thread(live.request, "GET", "/healthz")
        spans = collector.spans()  # whatever had not been sent was sent at the end
        server, chat = spans["POST /v1/chat/completions"], spans["chat acme/chat"]
        assert (server.trace_id.hex(), server.parent_span_id.hex(), server.kind) == (TRACE, CALLERS_SPAN, Span.SPAN_KIND_SERVER)
        assert (chat.trace_id.hex(), chat.parent_span_id, chat.kind) == (TRACE, server.span_id, Span.SPAN_KIND_CLIENT)
        assert _attributes(server.attributes) == {
            "http.request.method": "POST",
            "http.response.status_code": 200,
            "http.route": "/v1/chat/completions",
            "tollway.request_id": headers["x-request-id"],
            "url.scheme": "http",
        }
        told = _attributes(chat.attributes)
        assert (told["gen_ai.provider.name"], told["gen_ai.usage.output_tokens"]) == ("openai", 4)
        assert told["gen_ai.response.id"] == json.loads(body)["id"]
        (asked,) = upstream.received
        assert asked.headers["traceparent"] == f"00-{TRACE}-{chat.span_id.hex()}-01"
        assert "baggage" not in asked.headers
        assert not any("health" in name for name in spans)
        assert {"gen_ai.server.time_to_first_token", "gen_ai.client.token.usage"} <= collector.metric_names()
        sent = b"".join(received.body for received in collector.received)
        for secret in (SECRET, live.key, API_KEY, "a-secret-of-one-time"):
            assert secret.encode() not in sent


async def test_content_that_is_opted_in_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeCollector() as collector:
        async with house(tmp_path, monkeypatch, collector, opentelemetry_content="true") as (live, _):
            assert (await _chat(live))[0] == 200
        told = _attributes(collector.spans()["chat acme/chat"].attributes)
        assert json.loads(told["gen_ai.input.messages"])[0]["parts"] == [{"type": "text", "content": SECRET}]
        assert json.loads(told["gen_ai.output.messages"])[0]["finish_reason"] == "stop"


async def test_a_collector_that_hangs_holds_up_neither_answers_nor_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeCollector() as collector:
        collector.queue(*[Reply(before=[Hang()])] * 1000)
        async with house(tmp_path, monkeypatch, collector, drain_seconds="1") as (live, _):
            for _ in range(3):
                assert (await _chat(live))[0] == 200
            began = time.monotonic()
        assert live.process.returncode == 0
        assert time.monotonic() - began < 9, "it waits for longer than the 5 seconds that telemetry is given"
