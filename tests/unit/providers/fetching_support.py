"""What the tests of guarded fetching share: a resolver of their own, and an ear on what this process asks of the network."""

import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import pytest

from tollway.errors import InvalidRequest
from tollway.providers.guarded_fetch import GuardedFetcher

PARAM = "messages[0].content[1].image_url.url"
PUBLIC = "93.184.216.34"

NAMES = {
    "public.test": [PUBLIC],
    "loopback.test": ["127.0.0.1"],
    "metadata.test": ["169.254.169.254"],
    "metadata.google.internal": ["169.254.169.254"],
    "mixed.test": [PUBLIC, "10.0.0.1"],
    "mixed-v6.test": ["2606:4700::1111", "fe80::1%eth0"],
    "mapped.test": ["::ffff:169.254.169.254"],
    "nat64.test": ["64:ff9b::a00:1"],
    "teredo.test": ["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "6to4.test": ["2002:7f00:1::"],
    "ula.test": ["fd00:ec2::254"],
    "empty.test": [],
    "nonsense.test": ["not an address"],
    "localhost": ["127.0.0.1"],
    "localhost.localdomain": ["127.0.0.1"],
    "xn--bcher-kva.test": ["192.168.0.1"],
}

_heard: list[tuple[str, Any]] | None = None


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _heard is not None and event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        _heard.append((event, arguments[1] if event == "socket.connect" else arguments[0]))


sys.addaudithook(_hear)


@contextlib.contextmanager
def listening() -> Iterator[list[tuple[str, Any]]]:
    """What this process asks of the network meanwhile, heard from the interpreter itself: connections and lookups."""
    global _heard  # noqa: PLW0603 - an audit hook cannot be taken out again
    _heard = []
    yield _heard
    _heard = None


class Resolver:
    """Names as given; each call is noted."""

    def __init__(self, names: Mapping[str, Sequence[str]] | None = None) -> None:
        self.names = dict(names or NAMES)
        self.asked: list[str] = []

    async def __call__(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        if name not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.names[name]


@contextlib.asynccontextmanager
async def fetcher(**options: Any) -> AsyncIterator[GuardedFetcher]:
    guarded = GuardedFetcher(**{"resolve": Resolver(), **options})
    try:
        yield guarded
    finally:
        await guarded.close()


async def refusal(guarded: GuardedFetcher, url: str) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        await guarded.get(url, param=PARAM)
    error = caught.value
    assert (error.status, error.param) == (400, PARAM)
    assert error.code in ("image_url_forbidden", "image_fetch_failed")
    assert PARAM in error.message
    assert error.message.endswith(".")
    return error
