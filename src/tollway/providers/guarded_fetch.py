"""Downloads from URLs that callers name, without lending them this machine's place in the network.

Anything that only this machine can reach (its own ports, the local network, a cloud's metadata service) must stay out of reach,
whatever the URL, the name servers and the servers on the way say. What makes that hold:

- A URL is taken apart once and strictly; the request goes to a URL built anew from the checked pieces, so there is no second
  parser that could read it differently.
- A name is resolved once. All its addresses must be public, and the connection may only go to those: what the name servers say
  a moment later (DNS rebinding) is never asked. The connector's socket factory checks each address again.
- Redirects start from the top.

Failures tell the caller nothing about the inside: no connection is ever tried to an address that is not public, and a name that
does not resolve reads the same as one that resolves to such an address. The log has the difference.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urljoin

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from tollway.errors import InvalidRequest

log = structlog.get_logger()

Address = IPv4Address | IPv6Address
Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""A host name to its addresses as text, all of them. Raises OSError when there are none."""

# The web's own port only. Other ports would make this machine a port scanner for hire, and a way to speak TLS at services that
# are no web servers; a caller whose image is elsewhere sends it as a data URL.
PORTS = frozenset({443})
URL_CHARS_MAX = 8192
CONNECTIONS_MAX = 32  # with images at the size cap this bounds what the downloads hold in memory
CONNECTIONS_PER_HOST_MAX = 8
# Of each family. A name with thousands of addresses must not make this machine knock at all of them; aiohttp starts over with
# one address less each time, so 4 addresses are up to 10 attempts.
ADDRESSES_MAX = 2
LOOKUPS_MAX = 8

_FORBIDDEN = "image_url_forbidden"
_NOT_PUBLIC = "its host has no public address. Use a URL that anyone on the internet can open, or send the image as a data URL."
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SHAPE = re.compile(r"https://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::([0-9]{0,5}))?", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"0x([0-9a-f]*)|(0[0-7]*)|([1-9][0-9]*)")
_URL_CHARACTERS = "%:/?#[]@!$&'()*+,;=-._~"


# --- addresses --------------------------------------------------------------------------------------------------------

# The special-purpose registries of IANA, by hand: the `is_global` of Python's ipaddress has changed between releases.
_SPECIAL_V4 = [
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; some clouds keep their metadata service in it
        "127.0.0.0/8",
        "168.63.129.16/32",  # public by its looks, but inside Azure it is the host's own agent
        "169.254.0.0/16",  # link-local: the metadata service of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
]
_UNICAST_V6 = ip_network("2000::/3")
_SPECIAL_V6 = [
    ip_network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: wraps any IPv4 address; nothing public has lived there for years
        "3fff::/20",  # documentation
    )
]
_NAT64 = ip_network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether this is an address on the public internet, of one machine.

    IPv6 forms that stand for an IPv4 address (mapped, NAT64) count as that address: a network with IPv6 only reaches all of
    IPv4 through NAT64. Everything else outside of global unicast is not public, known or not.
    """
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        return address in _UNICAST_V6 and not any(address in network for network in _SPECIAL_V6)
    return not any(address in network for network in _SPECIAL_V4)


# --- URLs -------------------------------------------------------------------------------------------------------------


class _Failure(Exception):
    """Why there is no image; the message completes "the image URL was not fetched: ..."."""

    def __init__(self, message: str, code: str = "image_fetch_failed") -> None:
        super().__init__(message)
        self.code = code


class Target(NamedTuple):
    """A URL that has been taken apart. `address` is set where the host is one; otherwise `host` is a name in ASCII."""

    url: URL
    host: str
    address: Address | None


def parse_target(text: str, ports: frozenset[int] = PORTS) -> Target:
    """Takes a URL apart, or raises _Failure. Where browsers guess what was meant, this refuses."""
    if len(text) > URL_CHARS_MAX:
        raise _Failure(f"it is longer than {URL_CHARS_MAX:,} characters.", _FORBIDDEN)
    if "\\" in text or " " in text or not text.isprintable():
        raise _Failure("it holds spaces, control characters or backslashes. Percent-encode them.", _FORBIDDEN)
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise _Failure("only `https://` URLs are followed.", _FORBIDDEN)
    authority, path, query = shape[1], shape[2] or "/", shape[3] or ""
    if "@" in authority:
        raise _Failure("a URL with a user name or password is not followed.", _FORBIDDEN)
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise _Failure("its host cannot be read.", _FORBIDDEN)
    port = int(match[3] or 443)
    if port not in ports:
        raise _Failure("its port is not the one of https, 443.", _FORBIDDEN)
    try:
        host, address = _read_host(match[1], match[2])
    except ValueError:
        raise _Failure("its host cannot be read.", _FORBIDDEN) from None
    place = f"[{host}]" if isinstance(address, IPv6Address) else host
    if port != 443:
        place += f":{port}"
    return Target(URL(f"https://{place}{_quoted(path)}{_quoted(query)}", encoded=True), host, address)


def _quoted(text: str) -> str:
    """Encodes only what must not stand in a request line; signed URLs break when more is touched."""
    return quote(text, safe=_URL_CHARACTERS)


def _read_host(literal_v6: str | None, text: str) -> tuple[str, Address | None]:
    """The host in its one canonical spelling, and the address that it is, if any. Raises ValueError."""
    if literal_v6 is not None:
        address: Address = IPv6Address(literal_v6)
        return str(address), address
    # yarl applies IDNA with its compatibility mappings, so full-width digits and dots are plain ones from here on.
    name = (URL.build(scheme="https", host=unquote(text, errors="strict")).raw_host or "").removesuffix(".")
    if len(name) > 253 or _NAME.fullmatch(name) is None:
        raise ValueError("no host name")
    labels = name.split(".")
    # The rule of browsers: a last label that is a number makes the whole an IPv4 address, or an error.
    if labels[-1].isdigit() or re.fullmatch(r"0x[0-9a-f]*", labels[-1]):
        address = _read_ipv4(labels)
        return str(address), address
    return name, None


def _read_ipv4(labels: list[str]) -> IPv4Address:
    """One to four numbers, each decimal, octal (0...) or hexadecimal (0x...); the last one fills the bytes that are left."""
    numbers = []
    for label in labels:
        match = _NUMBER.fullmatch(label)
        if match is None:
            raise ValueError("no number")
        hexadecimal, octal, decimal = match.groups()
        numbers.append(int(decimal) if decimal else int(octal, 8) if octal else int(hexadecimal or "0", 16))
    *leading, last = numbers
    if len(leading) > 3 or any(number > 255 for number in leading) or last >= 256 ** (4 - len(leading)):
        raise ValueError("no IPv4 address")
    return IPv4Address(last + sum(number << 8 * (3 - place) for place, number in enumerate(leading)))


# --- fetching ---------------------------------------------------------------------------------------------------------

# The host of the request that this task is making, and the addresses that it may connect to.
_pinned: ContextVar[tuple[str, Sequence[Address]]] = ContextVar("pinned", default=("", ()))


class GuardedFetcher:
    """Fetches https URLs from public addresses only.

    Works in the event loop of its first `get`, on a session of its own: no cookies, credentials, proxies or referrer.
    `hosts` are the only ones that it goes to, `*.example.com` for all below one; None = all.
    `resolve`, `is_public`, `ports` and `ssl_context` are there for tests.
    """

    def __init__(
        self,
        *,
        bytes_max: int = 20_000_000,
        seconds_max: float = 10.0,
        redirects_max: int = 3,
        hosts: frozenset[str] | None = None,
        resolve: Resolve | None = None,
        is_public: Callable[[Address], bool] = is_public,
        ports: frozenset[int] = PORTS,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._bytes_max = bytes_max
        self._seconds_max = seconds_max
        self._redirects_max = redirects_max
        self._hosts = hosts
        self._names = _SystemNames()
        self._resolve: Resolve = resolve or self._names.resolve
        self._is_public = is_public
        self._ports = ports
        self._ssl_context = ssl_context
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str, *, param: str) -> bytes:
        """The body behind the URL; what it holds is not looked at.

        Raises InvalidRequest naming `param`: `image_url_forbidden` where no request was made for the rules above,
        `image_fetch_failed` where a public server did not deliver in time, in size or at all.
        """
        try:
            async with asyncio.timeout(self._seconds_max):  # all of it: lookups, redirects, a body that trickles in
                return await self._follow(url)
        except _Failure as failure:
            problem = failure
        except TimeoutError:
            problem = _Failure(f"it took longer than {self._seconds_max:g} seconds.")
        except aiohttp.ClientSSLError:
            problem = _Failure("its server has no valid certificate.")
        except (aiohttp.ClientError, OSError) as error:
            problem = _Failure("its server could not be reached or broke off.")
            log.info("image_server_failed", error=type(error).__name__)
        raise InvalidRequest(f"`{param}`: the image URL was not fetched: {problem}", param=param, code=problem.code)

    async def close(self) -> None:
        """Ends running downloads. Safe to call twice, and without a `get` before; no `get` may follow."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        self._names.close()

    async def _follow(self, text: str) -> bytes:
        for _ in range(self._redirects_max + 1):
            target = parse_target(text, self._ports)
            if not self._may_visit(target.host):
                raise _Failure("images are not fetched from its host here. Send the image as a data URL.", _FORBIDDEN)
            _pinned.set((target.host, await self._public_addresses(target)))
            async with self._client().get(target.url, allow_redirects=False) as response:
                if response.status not in _REDIRECTS:
                    return await self._body(response)
                location = response.headers.get("Location", "")
            try:
                text = urljoin(str(target.url), location) if location else ""
            except ValueError:
                text = ""
            if not text:
                raise _Failure("its server redirects to nowhere.")
        raise _Failure(f"it redirects more than {self._redirects_max} times.")

    def _may_visit(self, host: str) -> bool:
        if self._hosts is None or host in self._hosts:
            return True
        labels = host.split(".")
        return any(".".join(["*", *labels[start:]]) in self._hosts for start in range(1, len(labels)))

    async def _public_addresses(self, target: Target) -> list[Address]:
        """The addresses to connect to; raises _Failure when there are none, or when even one of them is not public."""
        if target.address is not None:
            addresses = [target.address]
        elif "." not in target.host:  # no such name is public; asking would send a local name to the name servers
            addresses = []
        else:
            try:
                addresses = [ip_address(text) for text in await self._resolve(target.host)]
            except (OSError, ValueError):
                addresses = []
        if not addresses or not all(self._is_public(address) for address in addresses):
            log.warning("image_url_forbidden", host=target.host, addresses=[str(address) for address in addresses])
            raise _Failure(_NOT_PUBLIC, _FORBIDDEN)
        kept: list[Address] = []
        for address in addresses:  # in the resolver's order of preference
            if sum(address.version == other.version for other in kept) < ADDRESSES_MAX:
                kept.append(address)
        return kept

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        if response.status != 200:
            raise _Failure(f"its server answered with status {response.status}.")
        encodings = ",".join(response.headers.getall("Content-Encoding", []))
        if encodings.strip().lower() not in ("", "identity"):
            raise _Failure("its server compressed the answer although it was asked not to.")
        too_large = _Failure(f"it is larger than {self._bytes_max:,} bytes.")
        if (response.content_length or 0) > self._bytes_max:
            raise too_large
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > self._bytes_max:
                raise too_large
        return bytes(body)

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=self._ssl_context or True,
                resolver=_PinnedResolver(),
                use_dns_cache=False,  # the cache would hand one request's addresses to the next
                socket_factory=self._open_socket,
                force_close=True,
                limit=CONNECTIONS_MAX,
                limit_per_host=CONNECTIONS_PER_HOST_MAX,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "Tollway", "Accept": "image/*", "Accept-Encoding": "identity"},
                timeout=aiohttp.ClientTimeout(total=None),  # `get` holds the clock
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    def _open_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """The last gate, for addresses of any origin: no socket, no connection."""
        family, kind, protocol, _, place = info
        if not self._is_public(ip_address(place[0])):
            raise PermissionError("not a public address")
        return socket.socket(family, kind, protocol)


class _PinnedResolver(AbstractResolver):
    """Answers the connector with the addresses that were checked for this request, and with nothing else."""

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - what was checked is all there is
    ) -> list[ResolveResult]:
        name, addresses = _pinned.get()
        if host != name:
            raise PermissionError("not the host that was checked")
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET6 if address.version == 6 else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


class _SystemNames:
    """The system's resolver, on threads of its own.

    A caller who runs slow name servers can hold a lookup's thread for half a minute; the event loop's shared threads must not
    be what they hold.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS_MAX, thread_name_prefix="image-names")  # starts none before it needs one

    async def resolve(self, name: str) -> list[str]:
        # The dot at the end makes it a full name, which is not tried within the local search domains.
        lookup = partial(socket.getaddrinfo, f"{name}.".encode(), None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        answers = await asyncio.get_running_loop().run_in_executor(self._threads, lookup)
        return [str(answer[4][0]) for answer in answers]

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
