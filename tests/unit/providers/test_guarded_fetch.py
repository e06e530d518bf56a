"""The guard of image URLs: everything that must be refused before a packet leaves."""

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.providers.fetching_support import NAMES, PARAM, Resolver, fetcher, listening, refusal

from tollway.errors import InvalidRequest
from tollway.providers.guarded_fetch import Address, GuardedFetcher, _PinnedResolver, is_public, parse_target
from tollway.providers.images import ImageLoader

# Everything that must end before a packet leaves. Names resolve as above; other names do not exist.
# fmt: off
HOSTILE = [
    # not https, or not plainly so
    "http://public.test/cat.png", "HTTP://public.test/", "file:///etc/passwd", "ftp://public.test/cat.png",
    "gopher://127.0.0.1:6379/_FLUSHALL", "javascript:alert(1)", "ws://public.test/", "unix:///run/docker.sock", "",
    "//public.test/cat.png", "/etc/passwd", "https:public.test/cat.png", "https:/public.test/", "https://", "https:///a",
    " https://public.test/", "https://public.test/ ", "https://?public.test/", "https://#public.test/",
    "view-source:https://a.b/",
    # plainly inside
    "https://127.0.0.1/", "https://127.0.0.2/", "https://localhost/", "https://LOCALHOST/", "https://localhost./",
    "https://localhost.localdomain/", "https://loopback.test/", "https://10.0.0.1/", "https://172.16.0.1/",
    "https://172.31.255.255/", "https://192.168.1.1/", "https://100.64.0.1/", "https://100.100.100.200/latest/meta-data/",
    "https://192.0.0.192/", "https://169.254.169.254/latest/meta-data/", "https://metadata.test/",
    "https://metadata.google.internal/computeMetadata/v1/", "https://168.63.129.16/machine", "https://0.0.0.0/", "https://0/",
    "https://255.255.255.255/", "https://224.0.0.1/", "https://240.0.0.1/", "https://192.0.2.1/", "https://198.51.100.1/",
    "https://203.0.113.1/", "https://198.18.0.1/",
    # the same in other spellings
    "https://2130706433/", "https://0x7f000001/", "https://0X7F.0.0.1/", "https://017700000001/", "https://0177.0.0.1/",
    "https://127.1/", "https://127.0.1/", "https://127.0.0.1./", "https://0x7f.1/", "https://0x/", "https://00000000000/",
    "https://2852039166/", "https://0xa9fea9fe/", "https://0251.0376.0251.0376/", "https://169.254.43518/",
    "https://0xA9.0376.43518/", "https://127.0.0.1:443/", "https://%31%32%37.0.0.1/", "https://127%2e0%2e0%2e1/",
    "https://%6cocalhost/", "https://127.0.0.%31/", "https://１２７.０.０.１/", "https://127。0。0。1/", "https://①②⑦.⓪.⓪.①/",
    "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "https://ｌocalhost/", "https://0x7f。1/", "https://loopback。test/", "https://LOOPBACK.TEST/",
    "https://loopback.test./", "https://bücher.test/",
    "https://0300.0250.0.1/", "https://3232235521/", "https://0xc0a80001/", "https://192.168.257/", "https://0xac.0x10.1/",
    "https://012.1/", "https://169.254.169.254./latest/", "https://169.254.169.254\u3002/", "https://169\uff0e254\uff0e43518/",
    "https://127.0.0.1?@public.test/", "https://127.0.0.1#@public.test/", "https://127.0.0.1/@public.test/",
    "https://127.0.0.1;public.test/", "https://public.test;@127.0.0.1/", "https://loc\u00adalhost/", "https://localhost\uff61/",
    # numbers that are no address
    "https://256.0.0.1/", "https://127.0.0.08/", "https://1.2.3.4.5/", "https://4294967296/", "https://127.0.0.0x/g",
    "https://a.1/", "https://127..1/", "https://.127.0.0.1/", "https://127.0.0.1../", "https://99999999999999999999/",
    "https://1_0.0.0.1/",
    # IPv6
    "https://[::1]/", "https://[::]/", "https://[0:0:0:0:0:0:0:1]/", "https://[::127.0.0.1]/", "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/", "https://[::FFFF:169.254.169.254]/", "https://[::ffff:0:127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/", "https://[64:ff9b::169.254.169.254]/", "https://[64:ff9b:1::a00:1]/",
    "https://[2002:7f00:1::]/", "https://[2002:a9fe:a9fe::1]/", "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[fd00:ec2::254]/",
    "https://[fc00::1]/", "https://[fec0::1]/", "https://[ff02::1]/", "https://[2001:db8::1]/", "https://[3fff::1]/",
    "https://[100::1]/", "https://[5f00::1]/", "https://[::1", "https://::1/", "https://[::1]x/", "https://[127.0.0.1]/",
    "https://[::ffff:127.1]/", "https://[0:0:0:0:0:ffff:127.0.0.1]/", "https://[::ffff:0x7f000001]/", "https://[fd20:ce::254]/",
    "https://[64:ff9b::a9fe:a9fe]/", "https://[64:ff9b::10.0.0.1]/", "https://[2002:c0a8:1::1]/", "https://[::ffff:a00:1]/",
    "https://[localhost]/", "https://[v1.a]/", "https://%5B::1%5D/", "https://[2606:4700::1111%251]/",
    # names that lead inside
    "https://mixed.test/", "https://mixed-v6.test/", "https://mapped.test/", "https://nat64.test/", "https://teredo.test/",
    "https://6to4.test/", "https://ula.test/", "https://empty.test/", "https://nonsense.test/", "https://unknown.test/",
    # two parsers, two hosts
    "https://public.test@127.0.0.1/", "https://127.0.0.1@public.test/", "https://user:password@public.test/",
    "https://@public.test/", "https://public.test\\@127.0.0.1/", "https://127.0.0.1\\@public.test/", "https:\\\\public.test/",
    "https://public.test\\.a.b/", "https://127.0.0.1%2523@public.test/", "https://public.test%40127.0.0.1/",
    "https://public.test%2F@127.0.0.1/", "https://127.0.0.1＠public.test/",
    "https://public.test／.a.b/", "https://public.test％2e/", "https://public.test%23.a.b/", "https://public.test%00.a.b/",
    "https://public.test\x00.a.b/", "https://pub\tlic.test/", "https://public.test\n/",
    "https://public.test/\r\nHost: 127.0.0.1", "https://public.test/%\x0d\x0a", "ht\ntps://public.test/",
    "https://pub lic.test/", "https://public.test/a b", "https://public.test\u2028/", "https://public\u200b.test/",
    "https://\udc80.test/", "https://public.test%ff/", "https://public.test%/", "https://public.test:443:22/",
    "https://public!.test/", "https://a..b/", "https://-._.test" + ".a" * 200, "https://" + "a" * 64 + ".test/",
    "https://public.test/" + "a" * 8192,
    # ports
    "https://public.test:22/", "https://public.test:80/", "https://public.test:8443/", "https://public.test:0/",
    "https://public.test:6379/", "https://public.test:65979/", "https://public.test:4430000/", "https://public.test:-443/",
    "https://public.test:４４３/", "https://public.test:+443/", "https://public.test:443a/", "https://public.test:0x1bb/",
    "https://public.test: 443/",
]
# fmt: on


@pytest.fixture
def network() -> Iterator[list[tuple[str, Any]]]:
    with listening() as heard:
        yield heard


# --- nothing leaves ---------------------------------------------------------------------------------------------------


def test_the_table_is_long() -> None:
    assert len(HOSTILE) == len(set(HOSTILE)) >= 200


@pytest.mark.parametrize("url", HOSTILE)
async def test_hostile_url_reaches_nothing(url: str, network: list[tuple[str, Any]]) -> None:
    resolver = Resolver()
    async with fetcher(resolve=resolver) as guarded:
        assert (await refusal(guarded, url)).code == "image_url_forbidden"
        assert network == []
        assert set(resolver.asked) <= {*NAMES, "unknown.test"}
        with pytest.raises(InvalidRequest):
            await ImageLoader(guarded).load(url, param=PARAM)
        assert network == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://public.test/", "only `https://` URLs are followed."),
        ("https://user:password@public.test/", "user name or password"),
        ("https://public.test:8443/", "its port is not the one of https, 443."),
        ("https://public.test/a b", "Percent-encode them."),
        ("https://256.0.0.1/", "its host cannot be read."),
        ("https://10.0.0.1/", "its host has no public address."),
    ],
)
async def test_refusal_says_why(url: str, message: str) -> None:
    async with fetcher() as guarded:
        error = await refusal(guarded, url)
    assert message in error.message
    assert "password@" not in error.message


async def test_inside_and_unknown_look_alike() -> None:
    """Otherwise the answers would map the names and addresses of the inside."""
    async with fetcher() as guarded:
        urls = (
            "https://metadata.test/",
            "https://unknown.test/",
            "https://10.0.0.1/",
            "https://intranet/",
            "https://mixed.test/",
        )
        assert len({(await refusal(guarded, url)).message for url in urls}) == 1


async def test_local_names_are_not_looked_up() -> None:
    resolver = Resolver()
    async with fetcher(resolve=resolver) as guarded:
        await refusal(guarded, "https://localhost/")
    assert resolver.asked == []


async def test_the_last_gate_is_at_the_socket(network: list[tuple[str, Any]]) -> None:
    """An address that passes the check and is not public any more when the socket opens gets no connection."""
    verdicts = iter([True])
    async with fetcher(is_public=lambda _: next(verdicts, False)) as guarded:
        assert (await refusal(guarded, "https://public.test/")).code == "image_fetch_failed"
    assert network == []


async def test_the_connector_gets_addresses_of_the_checked_host_only() -> None:
    with pytest.raises(PermissionError):
        await _PinnedResolver().resolve("other.test")


async def test_the_system_resolver_is_asked_for_the_full_name(
    monkeypatch: pytest.MonkeyPatch, network: list[tuple[str, Any]]
) -> None:
    asked: list[Any] = []

    def getaddrinfo(host: Any, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    guarded = GuardedFetcher()
    try:
        assert (await refusal(guarded, "https://intern.example/")).code == "image_url_forbidden"
    finally:
        await guarded.close()
        await guarded.close()
    assert asked == [b"intern.example."]
    assert network == []


# --- reading URLs and addresses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://public.test", "https://public.test/"),
        ("HTTPS://Public.TEST:443/A?b#c", "https://public.test/A?b"),
        ("https://public.test./a", "https://public.test/a"),
        ("https://public.test:/a", "https://public.test/a"),
        ("https://p%75blic.test/a", "https://public.test/a"),
        ("https://public.test#@127.0.0.1:22/@", "https://public.test/"),
        ("https://public.test?url=https://127.0.0.1@x", "https://public.test/?url=https://127.0.0.1@x"),
        ("https://public.test/@127.0.0.1", "https://public.test/@127.0.0.1"),
        ("https://faß.test/größe.png?ä=%C3%A4", "https://xn--fa-hia.test/gr%C3%B6%C3%9Fe.png?%C3%A4=%C3%A4"),
        ("https://a_b.test/a%2Fb+c%20d;e=f?X-Sig=a%2Bb%2F%3d&&x", "https://a_b.test/a%2Fb+c%20d;e=f?X-Sig=a%2Bb%2F%3d&&x"),
        ('https://public.test/a/../b//c?{"}', "https://public.test/a/../b//c?%7B%22%7D"),
        ("https://134744072/", "https://8.8.8.8/"),
        ("https://0x08.010.2056/", "https://8.8.8.8/"),
        ("https://８.８.８.８/", "https://8.8.8.8/"),
        ("https://[2606:4700:0::1111]/a", "https://[2606:4700::1111]/a"),
    ],
)
def test_reading(text: str, url: str) -> None:
    assert str(parse_target(text).url) == url


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_every_spelling_is_the_same_address(address: IPv4Address) -> None:
    a, b, c, d = address.packed
    for host in (f"{a}.{b}.{c}.{d}", f"{int(address)}", f"{int(address):#x}", f"0{int(address):o}", f"{a}.{b:#x}.{c << 8 | d}"):
        assert parse_target(f"https://{host}/").address == address


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_public_is_no_wider_than_the_registries(address: Address) -> None:
    if is_public(address):
        real = address.ipv4_mapped if isinstance(address, IPv6Address) and address.ipv4_mapped else address
        assert real.is_global
        assert not real.is_multicast


IN_PUBLIC = """
    8.8.8.8 93.184.216.34 1.1.1.1 11.0.0.0 172.15.255.255 172.32.0.0 100.63.255.255 100.128.0.0 169.253.255.255 223.255.255.255
    2606:4700::1111 2a00:1450:4001::1 2001:4860:4860::8888 2001:200::1 ::ffff:8.8.8.8 64:ff9b::808:808
"""
NOT_PUBLIC = """
    0.255.255.255 10.255.255.255 100.127.255.255 127.255.255.255 169.254.0.0 172.31.255.255 192.0.0.9 192.168.255.255
    198.19.255.255 192.88.99.1 239.255.255.255 255.255.255.254 :: ::1 ::8.8.8.8 ::ffff:10.0.0.1 ::ffff:0:8.8.8.8
    64:ff9b::10.0.0.1 64:ff9b::169.254.169.254 64:ff9b:1::808:808 2001::1 2001:1ff:ffff::1 2002:808:808::1 2001:db8:ffff::1
    3fff:fff::1 4000::1 fc00::1 fe80::1 fe80::1%eth0 2606:4700::1111%eth0 ff0e::1
"""


@pytest.mark.parametrize("text", IN_PUBLIC.split())
def test_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", NOT_PUBLIC.split())
def test_not_public(text: str) -> None:
    assert not is_public(ip_address(text))
