"""What this process knows of each upstream: how busy it is, whether it fails, and until when it asked to be left alone."""

import asyncio
from types import TracebackType
from typing import Literal, Self

import structlog
from msgspec import Struct
from prometheus_client import Counter, Gauge, Histogram

from tollway import clock
from tollway.catalog import Limits, Route
from tollway.errors import BadGateway, InvalidRequest, RateLimited, TollwayError
from tollway.metering import trusted_usage
from tollway.observability import HotCounter, HotGauge, HotHistogram, Metrics
from tollway.providers.base import Meter
from tollway.providers.breaker import OPEN, Breaker
from tollway.providers.patience import SLOW_READER_CODE, TOTAL_TIME_CODE
from tollway.wire.chat import Usage

log = structlog.get_logger()

REST_SECONDS_MAX = 60.0
_BREAKER_STATES: tuple[Literal["closed", "half open", "open"], ...] = ("closed", "half open", "open")
_FIRST_TOKEN_BUCKETS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class UpstreamMetrics:
    """What operators watch."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self.attempts = HotCounter(
            "tollway_upstream_attempts", "Calls made to an upstream, retries included.", ("upstream",), registry=registry
        )
        self.failures = Counter(
            "tollway_upstream_failures",
            "Calls that an upstream failed, by the code of the error.",
            ("upstream", "code"),
            registry=registry,
        )
        self.lost_tokens = Counter(
            "tollway_upstream_lost_tokens",
            "Tokens of failed calls that another call made up for: the operator's cost, charged to nobody.",
            ("upstream", "kind"),
            registry=registry,
        )
        self.tokens = HotCounter(
            "tollway_upstream_tokens",
            "Tokens of whole answers, as used by the upstream that gave them.",
            ("upstream", "kind"),
            registry=registry,
        )
        self.pending = HotGauge(
            "tollway_upstream_pending",
            "Calls to an upstream in work now.",
            ("upstream",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.breaker = Gauge(
            "tollway_upstream_breaker_state",
            "0 = closed (asked), 1 = half open (probed), 2 = open (left alone); the worst of all worker processes.",
            ("upstream",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.first_token = HotHistogram(
            "tollway_upstream_first_token_seconds",
            "Time from the call to the first content.",
            ("upstream",),
            buckets=_FIRST_TOKEN_BUCKETS_SECONDS,
            registry=registry,
        )


class UpstreamState(Struct):
    """One upstream as this process sees it now; the figures are since its start."""

    name: str
    breaker: Literal["closed", "half open", "open"]
    pause_seconds: float
    """Until it is asked again; 0 unless the breaker is open."""
    pending: int
    pending_max: int
    """0 = no limit."""
    resting: list[str]
    """Its models that asked for patience, or are not served."""
    attempts: int
    failures: dict[str, int]
    """By the code of the error."""
    first_token_seconds: float | None
    """From the call to the first content, the mean."""


class UpstreamHealth:
    """One upstream. Reloads of the configuration keep it, and bring new limits."""

    def __init__(self, name: str, metrics: UpstreamMetrics, workers: int) -> None:
        self.name = name
        self.pending = 0
        self.breaker = Breaker(0)
        self.limits: Limits | None = None
        self._pending_max = 0
        self._workers = workers
        self._resting: dict[str, float] = {}
        self._metrics = metrics
        self._attempts = metrics.attempts.labels(name)
        self._pending_gauge = metrics.pending.labels(name)
        self._first_token = metrics.first_token.labels(name)
        self._prompt_tokens = metrics.tokens.labels(name, "prompt")
        self._completion_tokens = metrics.tokens.labels(name, "completion")
        self._breaker_gauge = metrics.breaker.labels(name)

    def apply(self, limits: Limits) -> None:
        """At the start and after each reload, which is how keys, addresses and names of models are mended."""
        self.breaker.mended()
        self._resting.clear()
        self.limits = limits
        self.breaker.failures_max = limits.breaker_failures
        # Workers do not know of each other: each has its share, rounded up.
        self._pending_max = -(-limits.concurrency_max // self._workers)

    @property
    def full(self) -> bool:
        return 0 < self._pending_max <= self.pending

    def admits(self, now: float) -> bool:
        """Whether it may be called now."""
        return not self.full and self.breaker.admits(now)

    def rests(self, model: str, now: float) -> bool:
        """Whether it has asked for patience with this model or does not serve it, which is no verdict on its others."""
        return self._resting.get(model, 0.0) > now

    def rest(self, model: str, seconds: float) -> None:
        self._resting[model] = clock.monotonic() + min(seconds, REST_SECONDS_MAX)

    def lose(self, meter: Meter) -> None:
        """Books what a failed call had used, and clears the meter for the next."""
        for kind, tokens in (("prompt", meter.prompt_tokens), ("completion", meter.completion_tokens)):
            if tokens:
                self._metrics.lost_tokens.labels(self.name, kind).inc(tokens)
        meter.clear()

    def use(self, usage: Usage) -> None:
        """Books a whole answer, as far as its figures can be true."""
        usage, _ = trusted_usage(usage)
        self._prompt_tokens.inc(usage.prompt_tokens)
        self._completion_tokens.inc(usage.completion_tokens)

    def state(self) -> UpstreamState:
        now = clock.monotonic()
        (attempts,) = self._figures(self._metrics.attempts, "total")
        failures = {labels["code"]: int(value) for labels, value in self._figures(self._metrics.failures, "total")}
        (count,), (seconds,) = (self._figures(self._metrics.first_token, figure) for figure in ("count", "sum"))
        return UpstreamState(
            self.name,
            _BREAKER_STATES[self.breaker.state(now)],
            self.breaker.pause_left(now),
            self.pending,
            self._pending_max,
            sorted(model for model, until in self._resting.items() if until > now),
            int(attempts[1]),
            failures,
            seconds[1] / count[1] if count[1] else None,
        )

    def _figures(self, metric: Counter | Histogram, figure: str) -> list[tuple[dict[str, str], float]]:
        """What a metric has of this upstream under one figure, such as `sum`: labels and value."""
        samples = (sample for each in metric.collect() for sample in each.samples)
        return [
            (sample.labels, sample.value)
            for sample in samples
            if sample.labels["upstream"] == self.name and sample.name.endswith(f"_{figure}")
        ]

    # --- for Call -----------------------------------------------------------------------------------------------------

    def began(self) -> bool:
        self.pending += 1
        self._pending_gauge.set(self.pending)
        self._attempts.inc()
        probe = self.breaker.enter()
        if probe:
            self._show_breaker()
        return probe

    def answering(self, seconds: float, *, probe: bool) -> None:
        self._first_token.observe(seconds)
        self.breaker.answering(probe=probe)
        if probe:
            log.info("upstream_is_back", upstream=self.name)
            self._show_breaker()

    def ended(self) -> None:
        self.pending -= 1
        self._pending_gauge.set(self.pending)

    def failed(self, code: str, *, probe: bool) -> None:
        self._metrics.failures.labels(self.name, code).inc()
        now = clock.monotonic()
        was_open = self.breaker.state(now) == OPEN
        self.breaker.failed(now, probe=probe)
        if not was_open and self.breaker.state(now) == OPEN:
            log.warning("upstream_is_left_alone", upstream=self.name, seconds=round(self.breaker.pause_left(now)), code=code)
        self._show_breaker()

    def refused(self, code: str, *, probe: bool) -> None:
        """No answer, and no verdict on the upstream either."""
        self._metrics.failures.labels(self.name, code).inc()
        self.breaker.abandoned(probe=probe)

    def _show_breaker(self) -> None:
        self._breaker_gauge.set(self.breaker.state(clock.monotonic()))


class Call:
    """One attempt at one upstream, as a context: however it ends, the books of its health are right."""

    def __init__(self, health: UpstreamHealth, route: Route, attempt: int, request_id: str) -> None:
        self._health = health
        self._route = route
        self._attempt = attempt
        self._request_id = request_id
        self._began_at = 0.0
        self._probe = False
        self._answering = False

    def __enter__(self) -> Self:
        self._began_at = clock.monotonic()
        self._probe = self._health.began()
        return self

    def answering(self) -> None:
        """The first content is there."""
        self._answering = True
        self._health.answering(clock.monotonic() - self._began_at, probe=self._probe)
        self._probe = False

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        health = self._health
        health.ended()
        if error is None:
            health.breaker.succeeded()
        elif isinstance(error, asyncio.CancelledError | GeneratorExit | InvalidRequest):
            health.breaker.abandoned(probe=self._probe)
        else:
            code = error.code if isinstance(error, TollwayError) else "internal_error"
            if isinstance(error, RateLimited) or (isinstance(error, BadGateway) and error.of_model):
                health.refused(code, probe=self._probe)
                if error.retry_after_seconds:
                    health.rest(self._route.upstream_model, error.retry_after_seconds)
            elif (
                code in (TOTAL_TIME_CODE, SLOW_READER_CODE) and self._answering
            ):  # long, or slowly read: no failure of the upstream
                health.refused(code, probe=False)
            else:
                health.failed(code, probe=self._probe)
            log.warning(
                "upstream_failed",
                upstream=health.name,
                model=self._route.upstream_model,
                code=code,
                attempt=self._attempt,
                mid_answer=self._answering,
                duration_ms=round((clock.monotonic() - self._began_at) * 1000),
                request_id=self._request_id,
            )
