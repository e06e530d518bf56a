"""`tollway serve`: from nothing to a running service."""

import asyncio
import contextlib
import encodings.idna  # noqa: F401 - see `_announce`
import errno
import http.client
import inspect
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from tollway import __version__
from tollway.cli.counting import counting_folder, place_to_count
from tollway.cli.house import warn_of_mistakes
from tollway.cli.terminal import err, fail, settings_in_force, words
from tollway.settings import Settings, SettingsError, load
from tollway.web.generated import setting_fields

if TYPE_CHECKING:
    from tollway.app import WorkerConfig
    from tollway.catalog import Configuration

_HEADER_BYTES_MAX = 2**17
_IDLE_FACTOR = 5
"""An idle connection lasts longer than proxies keep theirs (nginx: 60 s, Caddy: 120 s): what they send into one that closes is
lost.
"""
_OTHER_PORT = "choose another port: tollway serve --port 8081 (or TOLLWAY_PORT=8081)."
_MEND_ADDRESS = {
    errno.EADDRINUSE: f"Stop what listens there, or {_OTHER_PORT}",
    errno.EACCES: f"Ports below 1024 are for root; {_OTHER_PORT}",
}
_MEND_HOST = "`host` must be an address of this machine: 127.0.0.1, or 0.0.0.0 for all of them."


def serve(**flags: Any) -> None:
    """Start the service.

    The first start fetches the default model, creates the first account and its API key, and prints the key once.
    Every setting can be given as a flag, as an environment variable (`TOLLWAY_PORT`), or in `tollway.toml`.
    """
    hang_up = _heed_signals()
    from tollway.catalog import load_configuration

    settings = settings_in_force(**flags)
    try:
        configuration = load_configuration(settings)
    except SettingsError as error:
        fail(str(error), 2)
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        fail(
            f"{words(error)}. The home folder must be one that you may write to; another is chosen by "
            "TOLLWAY_HOME=/path tollway serve"
        )
    warn_of_mistakes(settings)
    with _counting_together(settings.workers):
        _run(settings, configuration, flags, hang_up)


def _heed_signals() -> threading.Event:
    """SIGTERM ends the start in good order from now on, until `Processes` takes over; SIGHUP sets the event that is returned.

    Either would end the process on the spot otherwise: a reload while a model is being loaded would stop the service. And the
    first process of a container could not be told to stop.
    """
    hang_up, has_terminal = threading.Event(), os.isatty(0)

    def on_hang_up(*_: object) -> None:
        if has_terminal and not os.isatty(0):  # it was closed
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            hang_up.set()

    def on_stop(*_: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGHUP, on_hang_up)
    signal.signal(signal.SIGTERM, on_stop)
    return hang_up


@contextlib.contextmanager
def _counting_together(workers: int) -> Iterator[None]:
    """Gives several workers a folder to count in.

    Its variable is looked at when prometheus_client is imported, so nothing may have imported that yet.
    """
    if workers == 1:
        yield
        return
    with counting_folder(place_to_count()) as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        yield


def _flags_from_settings() -> inspect.Signature:
    """The command's parameters: one flag per row of the settings table."""
    parameters = []
    for field, description, node in setting_fields():
        # Values travel as text; `settings.load` converts and checks them.
        kind: Any = bool if isinstance(node, msgspec.inspect.BoolType) else str
        option = typer.Option(f"--{field.name.replace('_', '-')}", help=description, show_default=_default_text(field))
        parameters.append(
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
            )
        )
    return inspect.Signature(parameters)


def _default_text(field: msgspec.structs.FieldInfo) -> str | bool:
    if field.default is msgspec.NODEFAULT:
        return str(field.default_factory()) if callable(field.default_factory) else False
    if field.default is None:
        return False
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


serve.__signature__ = _flags_from_settings()  # type: ignore[attr-defined]


def _run(settings: Settings, configuration: "Configuration", flags: dict[str, Any], hang_up: threading.Event) -> None:
    # Imported here, because `tollway --help` has no use for them.
    from tollway.app import WorkerConfig
    from tollway.cli.models import shown_progress
    from tollway.engine import EngineError, ModelStore, Supervisor, ensure_pulled
    from tollway.errors import StorageUnavailable
    from tollway.observability import configure_logging
    from tollway.storage import SchemaError

    configure_logging(settings.log_format)
    try:
        listening = bound(settings)
    except OSError as error:
        mend = _MEND_ADDRESS.get(error.errno or 0, _MEND_HOST)
        fail(f"{settings.host}:{settings.port} cannot be used: {error.strerror}. {mend}")
    given, settings = settings, msgspec.structs.replace(settings, port=listening.getsockname()[1])  # 0 = any that is free
    store = ModelStore(settings.models_path)
    supervisor: Supervisor | None = None
    first_key, shown = None, threading.Event()
    try:
        if settings.local_models != "none":
            try:
                with shown_progress() as progress:
                    ensure_pulled(settings.default_model, store, progress)
            except EngineError as error:
                fail(f"{error} Without a model of its own: TOLLWAY_LOCAL_MODELS=none tollway serve")
        supervisor = Supervisor(settings, store)  # it looks at once at which models there are
        supervisor.start()
        config = WorkerConfig(settings, supervisor.endpoints(), configuration)
        first_key, owner_token = asyncio.run(_prepare_database(settings))  # last: what fails before it loses no key
        threading.Thread(target=_announce, args=(config, first_key, owner_token, shown), daemon=True).start()
        serve_http(config, listening, hang_up, changed=lambda: _changed(given, flags))
    except (EngineError, SchemaError, StorageUnavailable, OSError, ValueError) as error:
        fail(words(error))
    finally:
        if first_key and not shown.is_set():
            err.print(_key_line(first_key))
        listening.close()
        if supervisor is not None:
            supervisor.stop()


def _key_line(first_key: str) -> str:
    return f"  API key   [cyan]{first_key}[/cyan]   (shown once: keep it)"


def serve_http(
    config: "WorkerConfig",
    listening: socket.socket | None = None,
    hang_up: threading.Event | None = None,
    changed: Callable[[], list[str]] = list,
) -> None:
    """Runs the API workers in front of engines that are up. Blocks until SIGTERM or SIGINT. Raises OSError.

    Whenever `hang_up` is set, the configuration is read again. `changed` gives the settings that the next start would have
    otherwise, and raises SettingsError where there would be none.
    """
    from tollway.api.refusals import refusal
    from tollway.app import create_app
    from tollway.server import CannotStart, Limits, Place, Processes, Worker, connections_that_fit

    settings = config.settings
    limits = Limits(
        head_bytes_max=_HEADER_BYTES_MAX,
        head_seconds=settings.receive_seconds,
        idle_seconds=_IDLE_FACTOR * settings.receive_seconds,
        connections_max=connections_that_fit(),
    )

    def work(place: Place) -> None:
        worker = Worker(place, limits, refusal, settings.drain_seconds)
        worker.run(lambda worker: create_app(worker.when_stopped))

    stop_seconds = int(settings.drain_seconds) + 15  # what is stopped is still written down
    with config.handed_out(), listening or bound(settings) as shared:
        _cut_unread(shared, settings.unread_seconds_max)
        if hang_up is not None:
            threading.Thread(target=_reload_on, args=(hang_up, config, changed), daemon=True).start()
        try:
            Processes(work, shared, settings.workers, stop_seconds=stop_seconds).run()
        except CannotStart:
            raise OSError("the API worker processes end as soon as they start; what is wrong is written above") from None


def _cut_unread(listening: socket.socket, seconds: float) -> None:
    """Has the kernel close the connections of callers who do not read their answers, and of those whose network is gone.

    A stalled caller costs its answer's queue and a place at the upstream for as long as it stays, and nothing above the socket
    can see the difference between a slow caller and a stalled one. Accepted connections inherit the limit; to the application
    it is a caller who has left.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # of Linux
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))


def _changed(before: Settings, flags: dict[str, Any]) -> list[str]:
    """The settings that are otherwise than before. Raises SettingsError."""
    now = load(flags)
    return [name for name in Settings.__struct_fields__ if getattr(now, name) != getattr(before, name)]


def _reload_on(hang_up: threading.Event, config: "WorkerConfig", changed: Callable[[], list[str]]) -> None:
    """Reads the configuration again whenever it is told to. One that cannot be used, or started with, changes nothing."""
    import structlog

    from tollway.catalog import load_configuration

    log = structlog.get_logger()
    while hang_up.wait():
        hang_up.clear()
        try:
            later = changed()
            config.configuration = load_configuration(config.settings)
            config.write()
        except (SettingsError, OSError) as error:
            log.error("configuration_kept", error=str(error))
            continue
        log.info("configuration_reloaded")  # how many models are served each worker says
        if later:
            log.warning("settings_wait_for_the_next_start", settings=later)


async def _prepare_database(settings: Settings) -> tuple[str | None, str | None]:
    """Migrates. (The first key when this start created it, the token of a link for the first owner while there is none)."""
    from tollway.accounts import Accounts, own_secret
    from tollway.ledger import Ledger
    from tollway.people import People
    from tollway.storage import Database

    database = Database(settings.database)
    try:
        database.migrate()
        secret = await own_secret(database, settings.home)
        accounts = Accounts(database, secret)
        first = await accounts.first_account()
        if settings.first_grant_credits:
            ledger = Ledger(database)
            await ledger.grant(first.id, settings.first_grant_credits, reason="init", once=f"first_grant_{first.id}")
        owner_token = await People(database, accounts, secret).first_owner_link()
        created = await accounts.bootstrap()  # last: what fails before it loses no key
        return created.secret if created else None, owner_token
    finally:
        database.close()


def bound(settings: Settings) -> socket.socket:
    """A socket that has the address, and does not listen yet. Raises OSError when it cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by what is accepted
        listening.bind((settings.host, settings.port))
    except BaseException:
        listening.close()
        raise
    return listening


def _announce(config: "WorkerConfig", first_key: str | None, owner_token: str | None, shown: threading.Event) -> None:
    """Says how to use the service, once it answers. `shown` is set when the first key was.

    A thread, beside which workers are forked: what it uses is imported before it begins (`encodings.idna` is what looking an
    address up takes). A worker that is forked in the midst of an import would wait for its end forever.
    """
    from tollway.app import catalog_of

    settings = config.settings
    if not _answers(settings.local_host, settings.port):
        return
    address = settings.address
    base_url = f"{address}/v1"
    catalog = catalog_of(config)
    err.print(f"\n[bold]Tollway {__version__}[/bold] is ready.\n")
    err.print(f"  Base URL  [cyan]{base_url}[/cyan]")
    if first_key:
        shown.set()
        err.print(_key_line(first_key))
    else:
        err.print("  API key   one of yours; `tollway keys create` makes another")
    if owner_token:
        link = f"[cyan]{address}/welcome/{owner_token}[/cyan]   (makes you the owner; works once, for 24 hours)"
        err.print(f"  Dashboard {link}")
    else:
        err.print(f"  Dashboard [cyan]{address}/signin[/cyan]")
    for engine in config.engines:
        err.print(f"  Model     local/{engine.model}   ({engine.context_tokens:,} tokens of context, {engine.slots} at a time)")
    for model in catalog.models:
        routes = catalog.resolve(model.id).routes
        if model.stand_in:
            why = catalog.resolve(model.id).unusable[0].reason
            err.print(f"  Stand-in  {settings.default_model} answers for {model.id}: {why}", markup=False)
        elif any(route.upstream.dialect != "local" for route in routes):
            names = ", ".join(dict.fromkeys(f"{route.upstream.name}/{route.upstream_model}" for route in routes))
            err.print(f"  Model     {model.id}   ({names})", markup=False)
    for plan in catalog.unserved:
        reasons = "; ".join(dict.fromkeys(f"{each.upstream}: {each.reason}" for each in plan.unusable))
        err.print(f"  Not served  {plan.model.id}   ({reasons})", markup=False)
    model_id = catalog.models[0].id if catalog.models else "MODEL"
    key = first_key or "$TOLLWAY_API_KEY"
    body = f'{{"model": "{model_id}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    headers = f"-H 'Content-Type: application/json' -H \"Authorization: Bearer {key}\""
    err.print("\nTry it:\n")
    err.print(f"curl {base_url}/chat/completions {headers} -d '{body}'\n", markup=False)


def _answers(host: str, port: int, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(host, port, timeout=2)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return True
        time.sleep(0.05)
    return False
