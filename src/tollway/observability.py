"""Logs and metrics.

Logs are events with fields, on stderr: lines for people on a terminal, JSON for machines. What a caller sends (bodies, prompts,
headers, keys) is never logged.
"""

import datetime as dt
import fcntl
import logging
import os
import struct
import sys
import time
from bisect import bisect_left
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TextIO

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest, multiprocess
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from tollway import __version__

LogFormat = Literal["auto", "console", "json"]

asking_for: ContextVar[str] = ContextVar("asking_for", default="")
"""The id of the request that the present task asks upstreams for: it is in every line that is logged meanwhile."""

_READINGS_MAX = 10
_READING_PAUSE_SECONDS = 0.005
_DURATION_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


def configure_logging(log_format: LogFormat) -> None:
    """Sends our own events and those of every library to stderr, in one format. Call it once per process, before logging."""
    console = sys.stderr.isatty() if log_format == "auto" else log_format == "console"
    renderer: structlog.typing.Processor = _json_line
    if console:
        # not structlog's own way of showing tracebacks: it prints the values of variables, keys and prompts among them
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    structlog.configure(
        processors=[_stamp, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _Lines(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_stamp, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # libraries: only what somebody should look at


def request_logger() -> Callable[..., None]:
    """What writes the line that each request leaves: as `log.info("request", ...)` would, without structlog's steps where the
    line is for machines. Make it after `configure_logging`.
    """
    log = structlog.get_logger().bind()
    processors, write = structlog.get_config()["processors"], _Lines(sys.stderr).msg

    def line(**fields: Any) -> None:
        if processors != _FOR_MACHINES:  # for people, or for a test that looks at it
            log.info("request", **fields)
            return
        fields["event"] = "request"
        write(_json_line(None, "info", _stamp(None, "info", fields)))

    return line


class _Lines:
    """Writes log lines. Where one cannot be written, as on a full disk, it is lost, and never a request."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except OSError:
            pass

    debug = info = warning = error = critical = msg


def _stamp(_: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Adds level, time and whose request it is. One processor for what are three in structlog: every request passes here."""
    event["level"] = method
    if "request_id" not in event and (request_id := asking_for.get()):
        event["request_id"] = request_id
    seconds, fraction = divmod(time.time(), 1)
    event["timestamp"] = f"{_second(int(seconds))}.{int(fraction * 1e6):06d}Z"
    return event


@lru_cache(maxsize=1)
def _second(at: int) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _json_line(logger: Any, method: str, event: structlog.typing.EventDict) -> str:
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, method, event)
    return _encode(event).decode()


_encode = msgspec.json.Encoder(enc_hook=repr).encode
_FOR_MACHINES = [_stamp, _json_line]


class HotCounter(Counter):
    """A Counter for what every request counts: what the library looks at each time, such as exemplars, is not used here."""

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:  # noqa: ARG002
        self._value.inc(amount)


class HotGauge(Gauge):
    """As HotCounter."""

    def inc(self, amount: float = 1) -> None:
        self._value.inc(amount)

    def dec(self, amount: float = 1) -> None:
        self._value.inc(-amount)

    def set(self, value: float) -> None:
        self._value.set(value)


class HotHistogram(Histogram):
    """As HotCounter."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:  # noqa: ARG002
        self._sum.inc(amount)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)


class Metrics:
    """What is counted. Others register theirs with `registry`; every name begins with `tollway_`.

    A scrape reaches only one of several worker processes, so they count in files that all of them read, in the folder that
    prometheus_client finds in its variable (`tollway serve` sets it before anything is counted). What the figures of a gauge
    come to together is its `multiprocess_mode`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if self._folder is None:
            ProcessCollector(registry=self.registry)
        else:
            fcntl.flock(os.open(self._folder, os.O_RDONLY), fcntl.LOCK_SH)  # says that it is in use, until this process ends
        build = Gauge(
            "tollway_build_info", "The running version.", ("version",), registry=self.registry, multiprocess_mode="livemax"
        )
        build.labels(__version__).set(1)
        self.requests = HotCounter(
            "tollway_http_requests",
            "Requests answered, by the path template of the endpoint, method and status.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self.duration = HotHistogram(
            "tollway_http_request_duration_seconds",
            "Time from a request's arrival to the last byte of its answer.",
            ("route",),
            buckets=_DURATION_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.in_flight = HotGauge(
            "tollway_http_requests_in_flight",
            "Requests that are being answered now.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.ready = Gauge(
            "tollway_ready",
            "Whether each thing is there that /readyz asks for, the database and the engines: 1 or 0.",
            ("check",),
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )
        # The files for all counters and histograms are made with the first of each: at the start, not while the disk is full.
        self.requests.labels("/healthz", "GET", "200")
        self.duration.labels("/healthz")

    def render(self) -> tuple[bytes, str]:
        """The Prometheus text format, and its content type. Of all worker processes together."""
        if self._folder is None:
            return generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4
        readings = 0
        while True:
            try:
                return _of_all_workers(self._folder), CONTENT_TYPE_PLAIN_0_0_4
            except (FileNotFoundError, struct.error):
                # a worker has made a file and not filled it yet, or another scrape has removed one that this one was to read
                readings += 1
                if readings == _READINGS_MAX:
                    raise
                time.sleep(_READING_PAUSE_SECONDS)


def _of_all_workers(folder: str) -> bytes:
    _forget_the_dead(Path(folder))
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _forget_the_dead(folder: Path) -> None:
    """What a worker that is gone had in work is in work no more; what it had counted stays."""
    for pid in {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*.db")}:
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, PermissionError):  # its number is another user's process by now
            multiprocess.mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
