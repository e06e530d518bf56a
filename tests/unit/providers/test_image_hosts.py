"""Image URLs by allow-list: only those hosts, and they too only under all the other rules."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.providers.fetching_support import Resolver, fetcher, listening, refusal
from tests.unit.providers.test_guarded_fetch import HOSTILE

from tollway.settings import Settings, SettingsError, load

ALLOWED = frozenset({"public.test", "*.images.test", "loopback.test", "metadata.test"})


@pytest.fixture
def network() -> Iterator[list[tuple[str, Any]]]:
    with listening() as heard:
        yield heard


@pytest.mark.parametrize("url", HOSTILE)
async def test_an_allow_list_opens_nothing_that_is_hostile(url: str, network: list[tuple[str, Any]]) -> None:
    async with fetcher(hosts=ALLOWED) as guarded:
        assert (await refusal(guarded, url)).code == "image_url_forbidden"
    assert network == []


@pytest.mark.parametrize(
    "host",
    ["other.test", "images.test", "public.test.evil.test", "xpublic.test", "notimages.test", "a.public.test", "93.184.216.34"],
)
async def test_other_hosts_are_not_even_looked_up(host: str, network: list[tuple[str, Any]]) -> None:
    resolver = Resolver()
    async with fetcher(hosts=ALLOWED, resolve=resolver) as guarded:
        error = await refusal(guarded, f"https://{host}/cat.png")
    assert error.code == "image_url_forbidden"
    assert "images are not fetched from its host" in error.message
    assert (resolver.asked, network) == ([], [])


@pytest.mark.parametrize("host", ["public.test", "PUBLIC.test", "public.test.", "a.images.test", "a.b.images.test"])
async def test_listed_hosts_are_looked_up(host: str) -> None:
    resolver = Resolver({"nobody": []})
    async with fetcher(hosts=ALLOWED, resolve=resolver) as guarded:
        await refusal(guarded, f"https://{host}/cat.png")
    assert resolver.asked == [host.lower().rstrip(".")]


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("https", None),
        ("off", frozenset()),
        ("images.example.com", {"images.example.com"}),
        ("a.example, *.b.example", {"a.example", "*.b.example"}),
    ],
)
def test_the_setting(text: str, hosts: object) -> None:
    assert load({}, {"TOLLWAY_IMAGE_FETCH": text}).image_hosts == hosts


@pytest.mark.parametrize(
    "text", ["", "on", "http", "*", "*.*", "https://a.example", "a.example,", "A.example", "a.example:443", "a b.c"]
)
def test_the_setting_refuses_what_is_no_host(text: str) -> None:
    with pytest.raises(SettingsError, match=r"image_fetch = .*must be `https`, `off`, or host names"):
        load({}, {"TOLLWAY_IMAGE_FETCH": text})
    with pytest.raises(ValueError, match="host names"):
        Settings(image_fetch=text)
