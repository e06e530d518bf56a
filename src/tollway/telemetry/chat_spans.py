"""One answer as a span `chat {model}` and as values in histograms, in the words of the GenAI semantic conventions."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import context, trace
from opentelemetry.metrics import Meter as OtelMeter
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from tollway import clock
from tollway.errors import TollwayError
from tollway.providers.base import Item, Meter, Take
from tollway.providers.patience import has_content
from tollway.providers.routing import Journey
from tollway.telemetry.content import input_attributes, output_attribute
from tollway.wire.chat import ChatRequest, JsonObjectFormat, JsonSchemaFormat, Usage
from tollway.wire.folding import Fold

# The buckets are the conventions'.
_DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST_TOKEN_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_PER_TOKEN_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKEN_BUCKETS = tuple(4**power for power in range(14))


class ChatInstruments:
    """What answers are told by. One instance serves one process."""

    def __init__(self, tracer: Tracer, meter: OtelMeter, *, content: bool) -> None:
        self.tracer = tracer
        self.content = content

        def seconds(name: str, description: str, buckets: tuple[float, ...]) -> Any:
            return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=buckets)

        self.duration = seconds("gen_ai.server.request.duration", "From the request to its last token.", _DURATION_BUCKETS)
        self.first_token = seconds(
            "gen_ai.server.time_to_first_token", "From the request to its first token; answers only.", _FIRST_TOKEN_BUCKETS
        )
        self.per_token = seconds(
            "gen_ai.server.time_per_output_token", "Between tokens after the first one; answers only.", _PER_TOKEN_BUCKETS
        )
        self.tokens = meter.create_histogram(
            "gen_ai.client.token.usage", "{token}", "Tokens used.", explicit_bucket_boundaries_advisory=_TOKEN_BUCKETS
        )


class TracedJourney(Journey):
    """A Journey whose answer is a span: the client side of the call to an upstream, with whatever attempts it took."""

    def __init__(self, instruments: ChatInstruments, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._instruments = instruments
        self._first_token_at: float | None = None
        self._usage: Usage | None = None
        self._folds: dict[int, Fold] = {}
        self._finish_reasons: dict[int, str] = {}

    async def answer(self, meter: Meter, take: Take) -> None:
        """See Journey."""
        began_at = clock.monotonic()
        model = self.route.model.id
        span = self._instruments.tracer.start_span(
            f"chat {model}", kind=SpanKind.CLIENT, attributes=_request_attributes(self._request, model)
        )
        if self._instruments.content and span.is_recording():
            span.set_attributes(input_attributes(self._request))
        token = context.attach(trace.set_span_in_context(span))
        failure: BaseException | None = None

        def seen(item: Item) -> asyncio.Future[Any] | None:
            self._see(item)
            return take(item)

        try:
            await super().answer(meter, seen)
        except BaseException as error:
            failure = error
            raise
        finally:
            context.detach(token)
            self._end(span, meter, clock.monotonic() - began_at, began_at, failure)

    def _see(self, item: Item) -> None:
        if isinstance(item, Usage):
            self._usage = item
            return
        if self._first_token_at is None and has_content(item):
            self._first_token_at = clock.monotonic()
        if item.finish_reason is not None:
            self._finish_reasons[item.index] = item.finish_reason
        if self._instruments.content:
            self._folds.setdefault(item.index, Fold()).add(item)

    def _end(self, span: Span, meter: Meter, seconds: float, began_at: float, failure: BaseException | None) -> None:
        common = self._common_attributes(failure)
        span.set_attributes(common)
        span.set_attributes({"tollway.attempts": self.attempts, "tollway.request_id": self._request_id})
        if self.response_id:
            span.set_attribute("gen_ai.response.id", self.response_id)
        usage = _usage_attributes(self._usage or meter)
        span.set_attributes(usage)
        if self._finish_reasons:
            reasons = [self._finish_reasons[index] for index in sorted(self._finish_reasons)]
            span.set_attribute("gen_ai.response.finish_reasons", reasons)
        if self._first_token_at is not None:
            span.set_attribute("gen_ai.response.time_to_first_chunk", self._first_token_at - began_at)
        if self._folds and failure is None:
            span.set_attributes(output_attribute([self._folds[index].choice(index) for index in sorted(self._folds)]))
        if "error.type" in common:
            span.set_status(StatusCode.ERROR)
        span.end()

        instruments = self._instruments
        instruments.duration.record(seconds, common)
        for kind in ("input", "output"):
            if (count := usage.get(f"gen_ai.usage.{kind}_tokens")) is not None:
                instruments.tokens.record(count, {**common, "gen_ai.token.type": kind})
        if failure is None and self._first_token_at is not None:
            first = self._first_token_at - began_at
            instruments.first_token.record(first, common)
            if (count := usage.get("gen_ai.usage.output_tokens", 0)) > 1:
                instruments.per_token.record((seconds - first) / (count - 1), common)

    def _common_attributes(self, failure: BaseException | None) -> dict[str, str | int]:
        """Those of the span and of the metrics: few values each."""
        route = self.route
        address = urlsplit(route.upstream.base_url)
        attributes: dict[str, str | int] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": route.upstream.vendor or route.upstream.name,
            "gen_ai.request.model": route.model.id,
            "gen_ai.response.model": route.answers_as,
        }
        if address.hostname:
            attributes["server.address"] = address.hostname
            attributes["server.port"] = address.port or (443 if address.scheme == "https" else 80)
        if isinstance(failure, TollwayError):
            attributes["error.type"] = failure.code
        elif isinstance(failure, Exception):
            attributes["error.type"] = type(failure).__qualname__
        elif isinstance(failure, asyncio.CancelledError):
            attributes["tollway.outcome"] = "cancelled"  # the caller's own will, and no fault of anybody's
        return attributes


def _request_attributes(request: ChatRequest, model: str) -> dict[str, Any]:
    """What was asked for; what was not given is left out."""
    given: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": model,
        "gen_ai.request.choice.count": request.n if request.choices_count > 1 else None,
        "gen_ai.request.max_tokens": request.output_tokens_max,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.top_p": request.top_p,
        "gen_ai.request.top_k": request.top_k,
        "gen_ai.request.frequency_penalty": request.frequency_penalty,
        "gen_ai.request.presence_penalty": request.presence_penalty,
        "gen_ai.request.seed": request.seed,
        "gen_ai.request.stop_sequences": request.stop_sequences or None,
        "gen_ai.request.stream": request.stream or None,
    }
    if isinstance(request.response_format, JsonObjectFormat | JsonSchemaFormat):
        given["gen_ai.output.type"] = "json"
    return {name: value for name, value in given.items() if value is not None}


def _usage_attributes(used: Usage | Meter) -> dict[str, int]:
    """What was used; of an answer that was broken off, as far as it is known."""
    prompt, completion = used.prompt_tokens_details, used.completion_tokens_details
    given = {
        "input_tokens": used.prompt_tokens,
        "output_tokens": used.completion_tokens,
        "cache_read.input_tokens": (prompt.cached_tokens or None) if prompt else None,
        "reasoning.output_tokens": (completion.reasoning_tokens or None) if completion else None,
    }
    return {f"gen_ai.usage.{name}": value for name, value in given.items() if value is not None}
