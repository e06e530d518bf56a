import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tollway.observability import HotCounter, HotGauge, HotHistogram, _forget_the_dead

PROGRAM = """
import resource, sys, structlog
from tollway.observability import configure_logging
configure_logging(sys.argv[1])
log = structlog.get_logger()
log.warning("before")
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
for _ in range(3):
    log.warning("meanwhile")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.warning("after")
print("went on")
"""


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    for log_format in ("json", "console"):
        with (tmp_path / log_format).open("wb") as log:
            done = subprocess.run([sys.executable, "-c", PROGRAM, log_format], stderr=log, stdout=subprocess.PIPE, check=False)
        assert done.stdout == b"went on\n"
        written = (tmp_path / log_format).read_text()
        assert "before" in written
        assert "after" in written


@pytest.mark.parametrize("error", [ProcessLookupError, PermissionError])
def test_workers_that_are_gone_are_forgotten_whoever_has_their_number(
    error: type[OSError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(pid: int, _: int) -> None:
        if pid == 1:
            raise error

    for file in ("gauge_livesum_1.db", "gauge_livemostrecent_1.db", "counter_1.db", "gauge_livesum_2.db"):
        (tmp_path / file).touch()
    monkeypatch.setattr(os, "kill", kill)
    _forget_the_dead(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["counter_1.db", "gauge_livesum_2.db"]


def test_what_is_counted_in_one_step_is_counted_as_the_library_does() -> None:
    hot, cold = CollectorRegistry(), CollectorRegistry()
    bounds = (0.1, 1, 10)
    for registry, counter, gauge, histogram in (
        (hot, HotCounter, HotGauge, HotHistogram),
        (cold, Counter, Gauge, Histogram),
    ):
        counted = counter("c", "", ("of",), registry=registry).labels("a")
        counted.inc()
        counted.inc(2)
        level = gauge("g", "", registry=registry)
        level.set(5)
        level.inc()
        level.dec(3)
        seen = histogram("h", "", ("of",), registry=registry, buckets=bounds).labels("a")
        for amount in (0, 0.1, 0.11, 1, 5, 10, 11, 1e9):
            seen.observe(amount)
    texts = [re.sub(r"(_created.*) .*", r"\1", generate_latest(registry).decode()) for registry in (hot, cold)]
    assert texts[0] == texts[1]
    assert 'h_bucket{le="10.0",of="a"} 6.0' in texts[0]
