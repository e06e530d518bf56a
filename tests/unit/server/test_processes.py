"""The main process and its workers, as they are started, killed and stopped."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.faults.mortal import descendants
from tests.live import free_port
from tests.unit.server.small_server import DRAIN_SECONDS

ROOT = Path(__file__).parents[3]
SECONDS_MAX = 20.0


@dataclass
class Small:
    port: int
    process: "subprocess.Popen[str]"
    open: list[http.client.HTTPConnection] = field(default_factory=list)

    @property
    def workers(self) -> list[int]:
        return sorted(descendants(self.process.pid))

    def ask(self, path: str = "/") -> http.client.HTTPResponse:
        """The beginning of the answer; its connection stays open."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS_MAX)
        self.open.append(connection)
        connection.request("GET", path)
        return connection.getresponse()

    def pid(self) -> int:
        """Of the worker that answers on a connection that is closed afterwards."""
        answer = self.ask()
        try:
            return int(answer.read())
        finally:
            answer.close()
            self.open.pop().close()

    def ends(self) -> tuple[int, str]:
        said, _ = self.process.communicate(timeout=SECONDS_MAX)
        return self.process.returncode, said


@contextlib.contextmanager
def small(workers: int, how: str = "runs") -> Iterator[Small]:
    port = free_port()
    command = [sys.executable, "-m", "tests.unit.server.small_server", str(port), str(workers), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT) as process:
        server = Small(port, process)
        try:
            if how not in {"fails", "hangs"}:
                eventually(lambda: answers(server))
                eventually(lambda: len(server.workers) == workers)
            yield server
        finally:
            for connection in server.open:
                connection.close()
            for process_id in (*server.workers, process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGKILL)


def answers(server: Small) -> bool:
    with contextlib.suppress(OSError):
        return server.pid() > 0
    return False


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_connections_are_shared_out() -> None:
    with small(2) as server:
        eventually(lambda: len({server.pid() for _ in range(10)}) == 2)
        kept = [server.ask() for _ in range(40)]
        counts = Counter(int(answer.read()) for answer in kept)
        assert counts.keys() == set(server.workers)
        assert min(counts.values()) >= 12


def test_a_worker_that_is_killed_is_back_and_nothing_that_waits_is_lost() -> None:
    with small(1) as server:
        (before,) = server.workers
        os.kill(before, signal.SIGSTOP)
        with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS_MAX) as waiting:
            waiting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            os.kill(before, signal.SIGKILL)
            assert waiting.recv(1000).startswith(b"HTTP/1.1 200")
        (after,) = server.workers
        assert after != before


@pytest.mark.parametrize("how", ["children-ignored", "no-room"])
def test_a_worker_is_replaced_where_that_is_hard(how: str) -> None:
    with small(1, how) as server:
        dead: set[int] = set()

        def another_answers() -> bool:
            return answers(server) and dead.isdisjoint(server.workers)

        for _ in range(2):
            (worker,) = server.workers
            os.kill(worker, signal.SIGKILL)
            dead.add(worker)
            eventually(another_answers)


def test_a_worker_that_hangs_keeps_nobody_waiting() -> None:
    with small(2) as server:
        os.kill(server.workers[0], signal.SIGSTOP)
        began = time.monotonic()
        assert {server.pid() for _ in range(20)} == {server.workers[1]}
        assert time.monotonic() - began < SECONDS_MAX / 4


def test_answers_end_when_it_is_told_to_stop_and_nobody_new_is_let_in() -> None:
    with small(2) as server:
        idle = [server.ask() for _ in range(4)]
        running = [server.ask("/until-stopped") for _ in range(4)]
        server.process.send_signal(signal.SIGTERM)
        assert all(answer.read() == b"stopped" for answer in running)
        del idle
        code, said = server.ends()
        assert (code, said.count("ended"), said.count("Traceback")) == (0, 2, 0)
        assert not answers(server)


def test_an_interrupt_of_the_whole_group_is_no_second_signal() -> None:
    with small(2) as server:
        running = server.ask("/until-stopped")
        for process_id in (*server.workers, server.process.pid, server.process.pid):
            os.kill(process_id, signal.SIGINT)
        assert running.read() == b"stopped"
        assert server.ends()[0] == 0


def test_what_runs_on_is_cut_after_the_drain_window() -> None:
    with small(1) as server:
        running = server.ask("/endless")
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            running.read()
        assert DRAIN_SECONDS < time.monotonic() - began < DRAIN_SECONDS + 10
        code, said = server.ends()
        assert code == 0
        assert "ended" in said


def test_a_second_signal_ends_it_at_once() -> None:
    with small(2) as server:
        server.ask("/endless")
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1.1)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.ends()[0] == 0
        assert time.monotonic() - began < 2


def test_workers_end_when_the_main_process_is_killed() -> None:
    with small(2) as server:
        workers = server.workers
        server.process.kill()
        server.process.wait()
        eventually(lambda: not any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers))


def test_workers_that_cannot_start_end_it() -> None:
    with small(2, "fails") as server:
        code, said = server.ends()
        assert code == 1
        assert said.endswith("cannot start\n")
        assert "as it was told" in said


def test_a_worker_that_is_not_ready_yet_can_be_stopped() -> None:
    with small(1, "hangs") as server:
        assert server.process.stdout is not None
        assert server.process.stdout.readline() == "hangs\n"
        server.process.send_signal(signal.SIGTERM)
        assert server.ends()[0] == 0


def test_a_hang_up_is_the_main_processes_affair() -> None:
    with small(1) as server:
        workers = server.workers
        for process_id in (*workers, server.process.pid):
            os.kill(process_id, signal.SIGHUP)
        assert server.process.stdout is not None
        assert server.process.stdout.readline() == "hang up\n"
        assert answers(server)
        assert server.workers == workers


def test_descriptors_do_not_leak() -> None:
    with small(2) as server:

        def descriptors() -> list[int]:
            return [len(list(Path(f"/proc/{process_id}/fd").iterdir())) for process_id in (server.process.pid, *server.workers)]

        def both_have_answered() -> bool:
            # a worker opens what it keeps as it starts, and libuv one in reserve with its first connection
            with contextlib.suppress(OSError):
                return len(server.workers) == 2 and {server.pid() for _ in range(10)} == set(server.workers)
            return False

        eventually(both_have_answered)
        before = descriptors()
        for _ in range(50):
            server.pid()
        os.kill(server.workers[0], signal.SIGKILL)
        eventually(both_have_answered)
        eventually(lambda: sum(descriptors()) <= sum(before))
