"""What is wired where: a span around each HTTP request, one around each answer, and `traceparent` on the way to upstreams."""

import asyncio
import threading
import uuid
from typing import Any

import structlog
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tollway import __version__, clock
from tollway.api.context import context_of
from tollway.providers.routing import Journey
from tollway.telemetry.chat_spans import ChatInstruments, TracedJourney

log = structlog.get_logger()

_NAME = "tollway"
_FLUSH_SECONDS_MAX = 5.0
# What supervisors and Prometheus ask every few seconds tells nobody anything.
_UNTRACED_PATHS = frozenset(("/healthz", "/readyz", "/metrics"))
# `traceparent` and `tracestate` alone: a caller's baggage is not for upstreams.
_propagator = TraceContextTextMapPropagator()


class Telemetry:
    """The traces and metrics of one process."""

    def __init__(self, traces: TracerProvider, metrics: MeterProvider, *, content: bool = False) -> None:
        """`content` puts prompts and answers into the spans."""
        self._traces = traces
        self._metrics = metrics
        self._tracer = traces.get_tracer(_NAME, __version__)
        self._instruments = ChatInstruments(self._tracer, metrics.get_meter(_NAME, __version__), content=content)

    @classmethod
    def exporting(cls, *, content: bool) -> "Telemetry":
        """Sends what there is by OTLP, as OpenTelemetry's own variables say (OTEL_EXPORTER_OTLP_ENDPOINT, ...)."""
        ours = {"service.name": _NAME, "service.version": __version__, "service.instance.id": str(uuid.uuid4())}
        resource = Resource.create(ours).merge(OTELResourceDetector().detect())  # the variables win
        traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
        return cls(traces, MeterProvider([reader], resource=resource, shutdown_on_exit=False), content=content)

    async def close(self) -> None:
        """Sends what has not been sent yet, unless its receiver dawdles."""
        # not of the event loop's executor, whose threads it waits for at its end
        closing = [threading.Thread(target=each.shutdown, daemon=True) for each in (self._traces, self._metrics)]
        for thread in closing:
            thread.start()
        deadline = clock.monotonic() + _FLUSH_SECONDS_MAX
        while any(thread.is_alive() for thread in closing):
            if clock.monotonic() >= deadline:
                log.warning("telemetry_not_sent", seconds=_FLUSH_SECONDS_MAX)
                return
            await asyncio.sleep(0.02)

    def journey(self, *arguments: Any) -> Journey:
        """A Journey with a span around its answer."""
        return TracedJourney(self._instruments, *arguments)

    @staticmethod
    def propagation() -> dict[str, str]:
        """The headers that carry the present trace on to an upstream."""
        headers: dict[str, str] = {}
        _propagator.inject(headers)
        return headers

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application with a span around each request, in the caller's trace where it names one.

        Neither the path nor the query is told, only the endpoint's template: one-time links have their secret in the path.
        """

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"] in _UNTRACED_PATHS:
                await app(scope, receive, send)
                return
            carrier = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name.startswith(b"trace")}
            span = self._tracer.start_span(
                scope["method"],
                _propagator.extract(carrier),
                SpanKind.SERVER,
                {"http.request.method": scope["method"], "url.scheme": scope["scheme"]},
            )

            async def watched_send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.set_attribute("http.response.status_code", status)
                    if status >= 500:
                        span.set_status(StatusCode.ERROR)
                        span.set_attribute("error.type", str(status))
                await send(message)

            token = context.attach(trace.set_span_in_context(span))
            try:
                await app(scope, receive, watched_send)
            finally:
                context.detach(token)
                request = context_of(scope)
                span.update_name(f"{scope['method']} {request.route}")
                span.set_attributes({"http.route": request.route, "tollway.request_id": request.request_id})
                span.end()

        return traced
