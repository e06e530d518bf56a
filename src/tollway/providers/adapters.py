"""All providers of one process, and the connections that they share."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import aiohttp

from tollway.catalog import Dialect
from tollway.engine import EngineEndpoint
from tollway.providers.base import Provider
from tollway.providers.gemini import GeminiProvider
from tollway.providers.guarded_fetch import GuardedFetcher
from tollway.providers.images import ImageLoader
from tollway.providers.local import LocalProvider
from tollway.providers.openai_compatible import OpenAIProvider
from tollway.settings import Settings


class Adapters:
    """One provider per dialect."""

    def __init__(self, settings: Settings, engines: Iterable[EngineEndpoint]) -> None:
        self._fetcher = None if settings.image_fetch == "off" else GuardedFetcher(hosts=settings.image_hosts)
        images = ImageLoader(self._fetcher)
        self.local = LocalProvider(engines, images, workers=settings.workers)
        self._openai = OpenAIProvider(images)
        self._gemini = GeminiProvider(images)
        self.by_dialect: dict[Dialect, Provider] = {"local": self.local, "openai": self._openai, "gemini": self._gemini}

    @asynccontextmanager
    async def opened(self, watchers: Sequence[aiohttp.TraceConfig] = ()) -> AsyncIterator[None]:
        """Connections for as long as the block runs. `watchers` see every request to an upstream, and may add headers."""
        # Upstreams have limits of their own; connections to them are kept, and so are their addresses, for a little while.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ttl_dns_cache=30)
        # No cookies, proxies or credentials of anybody's; what an upstream says is never more than read.
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(
            connector=connector, cookie_jar=jar, trust_env=False, trace_configs=list(watchers)
        ) as session:
            self._openai.open(session)
            self._gemini.open(session)
            try:
                yield
            finally:
                if self._fetcher is not None:
                    await self._fetcher.close()
