"""The composition root: settings in, application out. The only place where objects are wired together.

`tollway serve` runs the engines and hands each worker process a WorkerConfig; a worker knows nothing of
processes, only the engines' addresses.
"""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from msgspec import Struct
from starlette.types import ASGIApp

from tollway.accounts import Accounts, load_secret
from tollway.admission import Desk, FrontDesk, Nodes, OpenDesk
from tollway.api import routing
from tollway.api.endpoints import ENDPOINTS
from tollway.api.services import Services
from tollway.catalog import Catalog, Configuration, LocalModel, load_catalog
from tollway.completions import Completions
from tollway.engine import EngineEndpoint
from tollway.errors import StorageUnavailable
from tollway.ledger import Ledger
from tollway.observability import Metrics, configure_logging
from tollway.people import People
from tollway.providers.adapters import Adapters
from tollway.providers.routing import Router
from tollway.settings import Hidden, Settings
from tollway.storage import Database
from tollway.usage import PriceList, UsageQueries
from tollway.usage.filing import file_all, file_piece, keep_filed
from tollway.usage.latency import LatencyCounter
from tollway.web.pages import PAGES, not_found
from tollway.webhooks import LowBalanceNotifier

if TYPE_CHECKING:
    from tollway.telemetry import Telemetry

log = structlog.get_logger()

WORKER_CONFIG_VARIABLE = "_TOLLWAY_WORKER"
RELOAD_LOOK_SECONDS = 0.5
OPEN_PAUSE_SECONDS = 0.5


class WorkerConfig(Struct):
    """What a worker process is told at its start. Holds the keys of engines and upstreams: not for logs."""

    settings: Settings
    engines: list[EngineEndpoint]
    configuration: Configuration
    """Read anew by the workers when it changes; the rest is for the life of the process."""

    @property
    def path(self) -> Path:
        return self.settings.home / f"workers-{os.getpid()}.json"

    def write(self) -> None:
        """Puts it where the workers look, whole at any moment."""
        new = self.path.with_suffix(".new")
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        new.write_bytes(msgspec.json.encode(self, enc_hook=_plain))
        new.replace(self.path)

    @contextmanager
    def handed_out(self) -> Iterator[None]:
        """Hands it to the processes that are started meanwhile. In a file: a variable is small, and others can read it."""
        _remove_leftovers(self.settings.home)
        self.write()
        os.environ[WORKER_CONFIG_VARIABLE] = str(self.path)
        try:
            yield
        finally:
            self.path.unlink(missing_ok=True)

    @staticmethod
    def changed() -> int:
        """Another number when another one was handed out. Raises FileNotFoundError once the main process takes it back."""
        return Path(os.environ[WORKER_CONFIG_VARIABLE]).stat().st_mtime_ns

    @classmethod
    def received(cls) -> "WorkerConfig":
        raw = Path(os.environ[WORKER_CONFIG_VARIABLE]).read_bytes()
        return msgspec.json.decode(raw, type=cls, dec_hook=lambda kind, value: kind(value))


def _remove_leftovers(home: Path) -> None:
    """What main processes left that were killed; it holds keys."""
    for file in home.glob("workers-*.*"):
        with suppress(ValueError, PermissionError):
            try:
                os.kill(int(file.stem.removeprefix("workers-")), 0)
            except ProcessLookupError:
                file.unlink(missing_ok=True)


def _is_worker() -> bool:
    """Whether this process is a worker of `tollway serve`; else it is an application in a process of its own, as in tests."""
    return WORKER_CONFIG_VARIABLE in os.environ


def _plain(value: Path | Hidden) -> str:
    return value.reveal() if isinstance(value, Hidden) else str(value)


WhenStopped = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
"""Has something run as soon as the process is told to stop. The lifespan hears of it only when every connection is done: a long
stream would never be told that it is over.
"""


def create_app(when_stopped: WhenStopped) -> ASGIApp:
    """The application of one worker process; called by the HTTP server."""
    config = WorkerConfig.received()
    configure_logging(config.settings.log_format)
    return build(config, when_stopped)


def build(config: WorkerConfig, when_stopped: WhenStopped = lambda _: None) -> ASGIApp:
    """Wires the parts. What needs a running event loop is opened and closed by the lifespan."""
    settings = config.settings
    database = Database(settings.database)
    secret = load_secret(settings.home)
    accounts = Accounts(database, secret)
    people = People(database, accounts, secret)
    catalog = catalog_of(config)
    metrics = Metrics()
    telemetry = _telemetry(settings)
    adapters = Adapters(settings, config.engines, telemetry.propagation if telemetry else None)
    journey = telemetry.journey if telemetry else None
    router = Router(
        adapters.by_dialect,
        metrics,
        workers=settings.workers,
        images=adapters.images,
        journey=journey,
        strict=settings.strict_parameters,
    )
    nodes = Nodes(database, settings.home)
    notifier = LowBalanceNotifier(settings)
    filing_piece = partial(file_piece, database)
    desk: FrontDesk = Desk(database, nodes.id, notifier.crossed, filing_piece) if settings.billing else OpenDesk()
    completions = Completions(catalog, router, desk, settings)
    price_list = PriceList(database, completions.tariffs)
    latencies = LatencyCounter(database)
    services = Services(
        settings=settings,
        database=database,
        accounts=accounts,
        people=people,
        catalog=catalog,
        ledger=Ledger(database),
        usage=UsageQueries(database),
        completions=completions,
        metrics=metrics,
        engine_health=adapters.local.health,
        upstreams=lambda: router.states(catalog.routes),
    )

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with adapters.opened():
            await _opened(nodes, price_list)
            watch = asyncio.create_task(nodes.run(desk.make_good, price_list.write, latencies.count))
            filing = asyncio.create_task(keep_filed(database))
            reloads = asyncio.create_task(_follow_reloads(config, catalog, price_list))
            when_stopped(partial(completions.drain, settings.drain_seconds))
            _spare_the_collector()
            yield
            reloads.cancel()
            await completions.drain(settings.drain_seconds)
            watch.cancel()
            filing.cancel()
            await desk.close()
            with suppress(StorageUnavailable):
                await file_all(database)
            await notifier.close()
            await nodes.close()
            people.close()
            await accounts.close()
            database.close()
        if telemetry:
            await telemetry.close()

    app = routing.build((*ENDPOINTS, *PAGES), services, lifespan=lifespan, default=not_found)
    return telemetry.around(app) if telemetry else app


def _telemetry(settings: Settings) -> "Telemetry | None":
    """Imported only where it is wanted: it is an extra, and costs nothing where it is off."""
    if not settings.opentelemetry:
        return None
    from tollway.telemetry import Telemetry

    return Telemetry.exporting(content=settings.opentelemetry_content)


async def _opened(nodes: Nodes, price_list: PriceList) -> None:
    """Waits for a database that is away. Workers that ended instead would be started again until the server gives up."""
    told = False
    while True:
        try:
            await nodes.open()
            await price_list.write()
        except StorageUnavailable as error:
            if not told:
                log.warning("waiting_for_the_database", reason=error.reason)
            told = True
            await asyncio.sleep(OPEN_PAUSE_SECONDS)
        else:
            return


def catalog_of(config: WorkerConfig) -> Catalog:
    settings = config.settings
    return load_catalog(
        [_local_model(engine) for engine in config.engines],
        default_model=settings.default_model,
        stand_in=settings.stand_in,
        configuration=config.configuration,
    )


async def _follow_reloads(config: WorkerConfig, catalog: Catalog, price_list: PriceList) -> None:
    """Takes over the configuration whenever the server's main process has written another one.

    By looking, not by signal: it reaches every worker, also one that starts just then.
    """
    if not _is_worker():
        return
    seen, known = 0, config.configuration
    while True:
        try:
            changed = WorkerConfig.changed()
            if changed != seen:
                seen, received = changed, WorkerConfig.received().configuration
                if received != known:
                    catalog.become(catalog_of(msgspec.structs.replace(config, configuration=received)))
                    known = received
                    await price_list.write()
                    log.info("configuration_in_force", models=len(catalog.models))
        except FileNotFoundError:
            return  # the server is ending
        except Exception:
            log.exception("configuration_not_taken_over")
        await asyncio.sleep(RELOAD_LOOK_SECONDS)


_COLLECTOR_THRESHOLDS = (20_000, 20, 20)
"""Python's own are 700, 10 and 10: what requests in work need is looked through again and again. Those rounds took 2 to 6 % of
a request's processor time (16 and 64 connections, no billing); one over 20,000 small objects takes 0.3 ms.
"""


def _spare_the_collector() -> None:
    """Takes what was loaded so far out of the garbage collector's rounds: it stays anyway, and looking through all of it takes
    tens of milliseconds in which every answer waits. Its rounds over what is new become rarer.
    """
    if _is_worker():
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECTOR_THRESHOLDS)


def _local_model(engine: EngineEndpoint) -> LocalModel:
    return LocalModel(
        name=engine.model,
        title=engine.title,
        developer=engine.developer,
        context_tokens=engine.context_tokens,
        sees=engine.sees,
        thinks=engine.thinks,
    )
