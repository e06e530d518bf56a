"""`tollway doctor`: what is wrong with this installation, and how to mend it."""

import asyncio
import contextlib
import http.client
import json
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from tollway import __version__
from tollway.cli.serve import bound
from tollway.cli.terminal import AsJson, Home, out, print_json, words
from tollway.errors import StorageUnavailable
from tollway.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    from tollway.storage import Database

_DISK_BYTES_MIN = 500_000_000
_MEMORY_BYTES_MIN = 700_000_000
"""What the default model, its context and one worker take, with some air."""
_FOR_LOCAL_MODELS = {"engine", "pip", "memory", "model"}
_CHILD_SECONDS = 60
_ANSWER_SECONDS = 5.0
_MEND_CONNECTION = "See that PostgreSQL runs and that TOLLWAY_DATABASE_URL names its host, port, user, password and database."

_MEND_DAMAGE = "Restore it from a backup: tollway db restore FOLDER --force."
_MEND_LOST = (
    "Copy it from another node or from a backup. If it is lost for good, `tollway db adopt-secret` goes on with a new one, "
    "and all API keys have to be made anew."
)


class Finding(Struct, omit_defaults=True):
    """The outcome of one check. `mend` says what to do when it is not ok."""

    check: str
    ok: bool
    detail: str
    mend: str = ""


def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Also read the model files whole and compare their hashes.")] = False,
    as_json: AsJson = False,
    home: Home = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to check.")] = None,
) -> None:
    """Check this installation, and say how to mend what is wrong. Exit code 1 if anything is."""
    findings = list(examine(deep=deep, home=home, port=port))
    broken = [finding for finding in findings if not finding.ok]
    if as_json:
        print_json({"version": __version__, "ok": not broken, "checks": findings})
    else:
        for finding in findings:
            out.print("[green]ok   [/green]" if finding.ok else "[red]wrong[/red]", end=" ")
            out.print(f"{finding.check}: {finding.detail}", markup=False)
            if finding.mend:
                out.print(f"      {finding.mend}", markup=False)
    raise typer.Exit(1 if broken else 0)


def examine(*, deep: bool = False, home: Path | None = None, port: int | None = None) -> Iterator[Finding]:
    """Every check in turn. A check that breaks is a finding too: the doctor never dies of the patient's disease."""
    yield _python()
    try:
        settings = load({"home": home, "port": port})
    except SettingsError as error:
        yield Finding("settings", False, str(error), "Correct it; `tollway serve --help` lists the settings.")
        return
    yield Finding("settings", True, f"home is {settings.home}")
    checks: dict[str, Callable[[Settings], Finding]] = {
        "engine": _engine,
        "pip": _pip,
        "home": _home,
        "disk": _disk,
        "memory": _memory,
        "database": _database,
        "secret": _secret,
        "upstreams": _upstreams,
        "model": lambda settings: _model(settings, deep=deep),
        "port": _port,
    }
    for name, check in checks.items():
        if name in _FOR_LOCAL_MODELS and settings.local_models == "none":
            yield Finding(name, True, "not needed: no local model is to be served (local_models = none)")
            continue
        try:
            yield check(settings)
        except Exception as error:  # noqa: BLE001
            yield Finding(name, False, f"the check itself failed: {type(error).__name__}: {error}", "Please report this.")


def _python() -> Finding:
    version = sys.version.split()[0]
    mend = "" if sys.version_info >= (3, 11) else "Install Python 3.11 or newer and run `make clean serve PYTHON=python3.12`."
    return Finding("python", not mend, version, mend)


def _engine(_: Settings) -> Finding:
    # in a child: on a processor that the wheel was not built for, the import kills the process
    child = _python_child("-c", "import xllamacpp; print(getattr(xllamacpp, '__version__', ''))")
    if child.returncode == 0:
        return Finding("engine", True, f"xllamacpp {child.stdout.strip()} loads")
    from tollway.engine.errors import loading_hint

    ended = "Illegal instruction" if child.returncode == -signal.SIGILL else f"exit code {child.returncode}"
    reason = (child.stderr.strip().splitlines() or [ended])[-1]
    return Finding("engine", False, f"xllamacpp does not load: {reason}", loading_hint(reason))


def _pip(_: Settings) -> Finding:
    child = _python_child("-m", "pip", "--version")
    if child.returncode == 0:
        return Finding("pip", True, " ".join(child.stdout.split()[:2]))
    if shutil.which("uv"):
        return Finding("pip", True, "not there; uv fetches models in its place")
    return Finding("pip", False, "not there; it fetches the default model", f"Run `{sys.executable} -m ensurepip`.")


def _python_child(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - our own interpreter, fixed arguments
        [sys.executable, *arguments], capture_output=True, text=True, timeout=_CHILD_SECONDS, check=False
    )


def _existing(path: Path) -> Path:
    """The path, or the closest parent that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


def _home(settings: Settings) -> Finding:
    home, place = settings.home, _existing(settings.home)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        other = "choose another home: TOLLWAY_HOME=/path tollway serve."
        if place == home:
            return Finding("home", False, f"{home}: {error.strerror}", f"Make it a folder that you may write to, or {other}")
        return Finding("home", False, f"{home} cannot be made: {place}: {error.strerror}", f"Make it for this user, or {other}")
    return Finding("home", True, f"{home} is writable" if place == home else f"{home} will be made")


def _disk(settings: Settings) -> Finding:
    places = [_existing(settings.home), _existing(settings.models_path)]
    free, place = min((shutil.disk_usage(place).free, place) for place in places)
    if free >= _DISK_BYTES_MIN:
        return Finding("disk", True, f"{free / 1e9:.1f} GB free")
    mend = "Make room. Models may be elsewhere: TOLLWAY_MODELS_DIR=/path."
    return Finding("disk", False, f"{free / 1e9:.1f} GB free in {place}", mend)


def _memory(_: Settings) -> Finding:
    available = _memory_available_bytes()
    mend = "" if available >= _MEMORY_BYTES_MIN else "Close other programs, or lower TOLLWAY_ENGINE_CONTEXT_TOKENS."
    return Finding("memory", not mend, f"{available / 1e9:.1f} GB available", mend)


def _memory_available_bytes() -> int:
    """All that there is where no more can be told."""
    from tollway.engine.memory import total_memory_bytes

    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return min(int(line.split()[1]) * 1024, total_memory_bytes())
    return total_memory_bytes()


def _database(settings: Settings) -> Finding:
    from tollway.storage import Database
    from tollway.storage.tables import SCHEMA_VERSION

    place = settings.database
    if isinstance(place, Path) and not place.exists():
        return Finding("database", True, "not there yet; `tollway serve` makes it")
    database = Database(place)

    async def look() -> tuple[str | None, str]:
        return await database.schema_version(), await database.integrity()

    try:
        version, integrity = asyncio.run(look())
    except StorageUnavailable as error:
        mend = "Give this user the file, and the disk some room." if isinstance(place, Path) else _MEND_CONNECTION
        return Finding("database", False, error.reason, mend)
    except Exception as error:  # noqa: BLE001 - whatever keeps it from opening
        return Finding("database", False, f"{place}: {error}".splitlines()[0], _MEND_DAMAGE)
    finally:
        database.close()
    if not integrity.startswith(("ok", "not checked")):
        return Finding("database", False, f"{place} is damaged: {' '.join(integrity.split())}", _MEND_DAMAGE)
    if version is not None and version > SCHEMA_VERSION:
        detail = f"schema {version} is newer than this Tollway, which knows {SCHEMA_VERSION}"
        return Finding("database", False, detail, "Install the newer version of Tollway again.")
    note = "" if version == SCHEMA_VERSION else f"; the next start brings it to {SCHEMA_VERSION}"
    return Finding("database", True, f"{place}, schema {version or 'none'}{note}")


def _secret(settings: Settings) -> Finding:
    from tollway.accounts import knows_secret, load_secret, secret_fits, secret_path

    path = secret_path(settings.home)
    if not path.exists():
        if not _of_database(settings, knows_secret, otherwise=False):
            return Finding("secret", True, "not there yet; `tollway serve` makes it")
        return Finding("secret", False, f"{path} is missing, so no API key is recognised", _MEND_LOST)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Finding("secret", False, f"{path} can be read by others (mode {mode:o})", f"Run `chmod 600 {path}`.")
    try:
        secret = load_secret(settings.home)
    except OSError as error:
        mend = f"Run the doctor as the user that Tollway runs as; if it is: `chown USER {path}`, `chmod 600 {path}`."
        return Finding("secret", False, words(error), mend)
    except ValueError as error:
        return Finding("secret", False, str(error), _MEND_LOST)
    if not _of_database(settings, lambda database: secret_fits(database, secret), otherwise=True):
        return Finding("secret", False, f"{path} is not the one that this database's API keys were made with", _MEND_LOST)
    return Finding("secret", True, f"{path} is private")


def _of_database(settings: Settings, look: "Callable[[Database], Awaitable[bool]]", *, otherwise: bool) -> bool:
    """What `look` finds in the database; `otherwise` where it cannot: the database has a finding of its own."""
    from sqlalchemy.exc import SQLAlchemyError

    from tollway.storage import Database

    if isinstance(settings.database, Path) and not settings.database.exists():
        return otherwise

    async def looked(database: "Database") -> bool:
        return await look(database)

    with contextlib.closing(Database(settings.database)) as database:
        try:
            return asyncio.run(looked(database))
        except (StorageUnavailable, SQLAlchemyError):
            return otherwise


def _upstreams(settings: Settings) -> Finding:
    from tollway.catalog import ConfigurationError, load_configuration

    try:
        configuration = load_configuration(settings)
    except ConfigurationError as error:
        return Finding("upstreams", False, str(error), "Correct it; docs/configuration.md explains every field.")
    named = set(configuration.explicit_upstreams)
    named |= {
        route.upstream for model in configuration.models for route in model.routes if model.id in configuration.explicit_models
    }
    missing = [f"{name}: {configuration.missing[name]}" for name in sorted(named) if name in configuration.missing]
    if missing:
        return Finding("upstreams", False, "; ".join(missing), "Set it where `tollway serve` runs, or remove its routes.")
    return Finding("upstreams", True, ", ".join(sorted(named & set(configuration.upstreams))) or "none is configured")


def _model(settings: Settings, *, deep: bool) -> Finding:
    """The default model and all that are to be served."""
    from tollway.engine import EngineError, ModelStore, known_models
    from tollway.engine.errors import ModelBroken, ModelNotPulled

    store, default = ModelStore(settings.models_path), settings.default_model
    said, mends = [], []
    try:
        for name in dict.fromkeys((default, *(store.names() if settings.local_models == "all" else settings.local_names))):
            try:
                facts = store.verify(name) if deep else store.get(name)
                said.append(f"{name}, {facts.size_bytes / 1e6:.0f} MB{', every byte as it should be' if deep else ''}")
            except ModelNotPulled as error:
                if name == default and name in known_models():
                    said.append(f"{name} is not there yet; `tollway serve` fetches it")
                    continue
                said.append(str(error))
                mends.append(f"Pull it (`tollway models pull SOURCE --name {name}`), or correct the setting that names it.")
            except ModelBroken as error:
                said.append(error.problem)
                mends.append(error.mend)
    except (EngineError, OSError) as error:
        return Finding(
            "model", False, words(error), "Let this user read the models, or choose another folder: TOLLWAY_MODELS_DIR=/path."
        )
    return Finding("model", not mends, "; ".join(said), " ".join(dict.fromkeys(mends)))


def _port(settings: Settings) -> Finding:
    where = f"{settings.host}:{settings.port}"
    try:
        bound(settings).close()
    except OSError as error:
        return _taken_port(settings, where, error)
    return Finding("port", True, f"{where} is free")


def _taken_port(settings: Settings, where: str, error: OSError) -> Finding:
    connection = http.client.HTTPConnection(settings.local_host, settings.port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        checks = json.loads(response.read())["checks"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        mend = "Stop what listens there, or choose another port: tollway serve --port 8081."
        return Finding("port", False, f"{where} cannot be used: {error.strerror}", mend)
    finally:
        connection.close()
    away = [name for name, ready in checks.items() if not ready]
    if away:
        return Finding("port", False, f"Tollway serves {where}, but is not ready: {', '.join(away)}", "Look at its log.")
    return Finding("port", True, f"Tollway serves {where} and is ready")
