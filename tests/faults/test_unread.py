"""Callers who never read their answers: little memory each, nobody else notices, and they are cut off.

`UNREAD_CLIENTS` sets how many there are, `UNREAD_SECONDS` after how long they are cut; the suite makes a slice.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.faults.mortal import PUBLIC, Mortal, descendants, house_in, scripted_upstream
from tests.faults.reading import logged, open_holds, read, verified

from tollway.storage.tables import ledger_entries

CLIENTS = int(os.environ.get("UNREAD_CLIENTS", "25"))
SECONDS = float(os.environ.get("UNREAD_SECONDS", "4"))
BYTES_EACH_MAX = 256 * 1024 if CLIENTS >= 100 else 2**20  # few have to pay for what is there once
PATIENCE_SECONDS = 30.0 + CLIENTS / 5
OTHERS = 10
# far more than the buffers of both ends and of everything between them take
ENDLESS = {"pieces": 20_000, "words": 40}

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux cuts them")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Mortal]:
    settings = {"unread_seconds_max": str(SECONDS), "first_grant_credits": str(10**11)}
    with scripted_upstream() as port, house_in(tmp_path / "home", port, None, **settings) as house:
        house.start()
        yield house


def _asking(house: Mortal) -> socket.socket:
    """A connection on which an answer was asked for, and which takes as little of it as can be."""
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # the kernel sizes the sender's buffer by it
    caller.connect(("127.0.0.1", house.port))
    message = {"role": "user", "content": json.dumps(ENDLESS)}
    body = json.dumps({"model": PUBLIC, "messages": [message], "stream": True, "max_tokens": 1000}).encode()
    head = f"Host: x\r\nAuthorization: Bearer {house.key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    caller.sendall(f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n\r\n".encode() + body)
    return caller


def _memory(house: Mortal) -> int:
    """Bytes of the service's processes, what they share counted once."""
    assert house.process is not None
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in [house.process.pid, *descendants(house.process.pid)]]
    return sum(int(line.split()[1]) * 1024 for text in rollups for line in text.splitlines() if line.startswith("Pss:"))


def _connections(house: Mortal) -> int:
    """Those that the service's side has open: a client whose buffers are full does not even hear of its connection's end."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(fields[1].endswith(f":{house.port:04X}") and fields[3] == "01" for fields in lines)


def _until(condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


@pytest.mark.timeout(180 + 2 * (SECONDS + PATIENCE_SECONDS))
def test_callers_who_never_read(house: Mortal, record_property: Callable[[str, Any], None]) -> None:
    for _ in range(OTHERS):
        assert house.post({"pieces": 50}, max_tokens=100, stream=True).complete
    before = _memory(house)
    with contextlib.ExitStack() as callers:
        began = time.monotonic()
        for _ in range(CLIENTS):
            callers.enter_context(_asking(house))
        most = 0
        slowest = 0.0
        while _connections(house):
            assert time.monotonic() < began + 2 * SECONDS + PATIENCE_SECONDS, "some are not cut off"
            most = max(most, _memory(house))
            asked = time.monotonic()
            assert house.post({"pieces": 3}, max_tokens=10).complete, "somebody else was harmed"
            slowest = max(slowest, time.monotonic() - asked)
            time.sleep(0.1)
    each = (most - before) // CLIENTS
    assert each <= BYTES_EACH_MAX
    _until(lambda: not read(house, open_holds), 30, "a hold is still open")
    rows = logged(house)
    cut = [row for row in rows if row.status == "cancelled"]
    assert len(cut) == CLIENTS
    assert all(row.credits > 0 for row in cut), "what was made is charged"
    lasted = sorted(row.duration_ms / 1000 for row in cut)
    assert lasted[0] >= SECONDS
    query = sa.select(sa.func.count()).select_from(ledger_entries).where(ledger_entries.c.kind == "settle")
    assert read(house, lambda connection: connection.execute(query).scalar_one()) == len(rows)
    read(house, verified)
    record_property("callers who never read", CLIENTS)
    record_property("memory for each", f"{each // 1024} KiB")
    record_property("cut off after", f"{lasted[0]:.1f} to {lasted[-1]:.1f} s")
    record_property("others answered within", f"{slowest:.2f} s")
