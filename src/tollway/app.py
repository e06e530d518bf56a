"""The composition root: settings in, application out. The only place where objects are wired together.

`tollway serve` runs the engines and hands each worker process a WorkerConfig; a worker knows nothing of
processes, only the engines' addresses.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct
from starlette.types import ASGIApp

from tollway.accounts import Accounts, load_secret
from tollway.api import routing
from tollway.api.endpoints import ENDPOINTS
from tollway.api.services import Services
from tollway.catalog import LocalModel, load_catalog
from tollway.completions import Completions
from tollway.engine import EngineEndpoint
from tollway.observability import Metrics, configure_logging
from tollway.providers.guarded_fetch import GuardedFetcher
from tollway.providers.images import ImageLoader
from tollway.providers.local import LocalProvider
from tollway.providers.routing import Router
from tollway.settings import DatabaseUrl, Settings
from tollway.storage import Database

WORKER_CONFIG_VARIABLE = "_TOLLWAY_WORKER"


class WorkerConfig(Struct):
    """What a worker process is told at its start. Holds the engines' keys: not for logs."""

    settings: Settings
    engines: list[EngineEndpoint]

    @contextmanager
    def handed_out(self) -> Iterator[None]:
        """Hands it to the processes that are started meanwhile. In a file: a variable is small, and others can read it."""
        path = self.settings.home / f"workers-{os.getpid()}.json"
        path.touch(mode=0o600)
        path.write_bytes(msgspec.json.encode(self, enc_hook=_plain))
        os.environ[WORKER_CONFIG_VARIABLE] = str(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    @classmethod
    def received(cls) -> "WorkerConfig":
        raw = Path(os.environ[WORKER_CONFIG_VARIABLE]).read_bytes()
        return msgspec.json.decode(raw, type=cls, dec_hook=lambda kind, value: kind(value))


def _plain(value: Path | DatabaseUrl) -> str:
    return value.reveal() if isinstance(value, DatabaseUrl) else str(value)


def create_app() -> ASGIApp:
    """The application of one worker process; called by the HTTP server."""
    config = WorkerConfig.received()
    configure_logging(config.settings.log_format)
    return build(config)


def build(config: WorkerConfig) -> ASGIApp:
    """Wires the parts. What needs a running event loop is opened and closed by the lifespan."""
    settings = config.settings
    database = Database(settings.database)
    accounts = Accounts(database, load_secret(settings.home))
    catalog = load_catalog(
        [_local_model(engine) for engine in config.engines],
        default_model=settings.default_model,
        stand_in=settings.stand_in,
    )
    fetcher = GuardedFetcher() if settings.image_fetch == "https" else None
    local = LocalProvider(config.engines, ImageLoader(fetcher), workers=settings.workers)
    metrics = Metrics()
    router = Router({"local": local}, metrics, workers=settings.workers)
    completions = Completions(catalog, router, settings)
    services = Services(
        settings=settings,
        database=database,
        accounts=accounts,
        catalog=catalog,
        completions=completions,
        metrics=metrics,
        engine_health=local.health,
    )

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        # The engine is on the loopback: connecting is cheap, and a connection kept open would hold one of its threads, and
        # would now and then be closed by it just as we use it. Its own slots and queue are the only limit.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector, read_bufsize=2**20) as session:
            local.open(session)
            yield
            await completions.drain(settings.drain_seconds)
            if fetcher is not None:
                await fetcher.close()
            await accounts.close()
            database.close()

    return routing.build(ENDPOINTS, services, lifespan=lifespan)


def _local_model(engine: EngineEndpoint) -> LocalModel:
    return LocalModel(
        name=engine.model,
        title=engine.title,
        developer=engine.developer,
        context_tokens=engine.context_tokens,
        sees=engine.sees,
        thinks=engine.thinks,
    )
