"""All providers of one process, and the connections that they share."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from tollway.catalog import Dialect
from tollway.engine import EngineEndpoint
from tollway.providers.base import Provider
from tollway.providers.gemini import GeminiProvider
from tollway.providers.guarded_fetch import GuardedFetcher
from tollway.providers.http import HttpClient
from tollway.providers.images import ImageLoader
from tollway.providers.local import LocalProvider
from tollway.providers.openai_compatible import OpenAIProvider
from tollway.settings import Settings

SILENCE_SECONDS_MAX = 600
"""Only a last resort against a dead connection: what counts content, and so sees through heartbeats, are a route's limits."""
CONNECT_SECONDS_MAX = 10


class Adapters:
    """One provider per dialect."""

    def __init__(
        self, settings: Settings, engines: Iterable[EngineEndpoint], also: Callable[[], Mapping[str, str]] | None = None
    ) -> None:
        """`also`: headers that every request to an upstream gets, asked for each time."""
        self._fetcher = None if settings.image_fetch == "off" else GuardedFetcher(hosts=settings.image_hosts)
        self.images = ImageLoader(self._fetcher)
        self.local = LocalProvider(engines, self.images, workers=settings.workers)
        self._http = HttpClient(silence_seconds=SILENCE_SECONDS_MAX, connect_seconds=CONNECT_SECONDS_MAX, also=also)
        self.by_dialect: dict[Dialect, Provider] = {
            "local": self.local,
            "openai": OpenAIProvider(self.images, self._http),
            "gemini": GeminiProvider(self.images, self._http),
        }

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Closes the connections at the end of the block."""
        try:
            yield
        finally:
            self._http.close()
            if self._fetcher is not None:
                await self._fetcher.close()
