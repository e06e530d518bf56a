import subprocess
import sys
from pathlib import Path

import pytest
from bench.measuring import machine, memory_mib, parsed, processor_seconds

WRK = """Running 2s test @ http://127.0.0.1:40039/v1/chat/completions
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.95ms    9.38ms  92.87ms   96.87%
    Req/Sec    15.42k     7.07k   28.33k    75.00%
  30894 requests in 2.02s, 21.77MB read
  Non-2xx or 3xx responses: 3
Requests/sec:  15322.98
Transfer/sec:     10.80MB
RESULT 15322.980000 0.436000 62.470000 3 30894
"""


def test_what_wrk_tells_is_read() -> None:
    load = parsed(WRK)

    assert (load.requests_per_second, load.p50_ms, load.p99_ms) == (15322.98, 0.436, 62.47)
    assert (load.errors, load.requests) == (3, 30894)


def test_wrk_without_a_result_is_an_error_that_shows_its_output() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        parsed("unable to connect to 127.0.0.1:1 Connection refused\n")


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells these")
def test_processor_time_and_memory_are_those_of_a_process_and_all_below_it() -> None:
    hungry = "x = b'x' * 50_000_000; import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
    child = f"{hungry}print('done', flush=True); input()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline() == b"done\n"
        used = processor_seconds(process.pid)
        assert used is not None
        assert 0.3 <= used < 5
        assert 47 < memory_mib(process.pid) < 200
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def test_the_machine_is_described() -> None:
    assert all(machine().values())
    assert set(machine()) == {"processor", "cores", "memory", "system", "Python"}
