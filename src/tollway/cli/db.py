"""`tollway db`: the database as a whole: look at it, bring it up to date, copy it out, put a copy back.

A backup is a folder: the database as one file, the server secret (without it no API key is recognised), and a manifest with the
SHA-256 of both. The folder gets its name when it is complete, so what an interruption leaves never passes for a backup.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from msgspec import Struct

from tollway import __version__, clock
from tollway.cli.house import absence, is_absent, refuse_beside_a_server, warn_of_mistakes
from tollway.cli.terminal import AsJson, Home, err, fail, out, print_json, settings_in_force, words
from tollway.errors import StorageUnavailable
from tollway.settings import Settings

if TYPE_CHECKING:
    from tollway.storage import Database
    from tollway.storage.copies import Copies

app = typer.Typer(help="Inspect, migrate, back up and restore the database.", no_args_is_help=True)

_MANIFEST = "manifest.json"


class File(Struct):
    bytes: int
    sha256: str


class Manifest(Struct):
    """What a backup folder holds. `database` is `sqlite` or `postgresql`; a backup of one cannot be restored to the other."""

    format: int
    created_at: str
    tollway: str
    database: str
    schema: str
    files: dict[str, File]


@app.command()
def info(
    check: Annotated[bool, typer.Option("--check", help="Also look for damage, which reads all of a SQLite file.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show where the database is, its schema, size and software."""
    from tollway.storage.tables import SCHEMA_VERSION

    settings = settings_in_force(home=home)
    warn_of_mistakes(settings)
    if is_absent(settings):
        fail(absence(settings))

    async def look(database: "Database") -> dict[str, Any]:
        facts = await database.facts()
        told = {"where": database.where, "schema": await database.schema_version(), "newest_schema": SCHEMA_VERSION}
        return told | msgspec.structs.asdict(facts) | ({"integrity": await database.integrity()} if check else {})

    with _opened(settings) as database:
        told = asyncio.run(look(database))
    if as_json:
        print_json(told)
    else:
        for name, value in told.items():
            shown = f"{value / 1e6:,.1f} MB" if name == "bytes" else str(value)
            out.print(f"{name.replace('_', ' '):14} {shown}", markup=False)
    if not told.get("integrity", "ok").startswith(("ok", "not checked")):
        from tollway.storage.sqlite import damaged

        fail(damaged(database.where, told["integrity"]))


@app.command()
def migrate(as_json: AsJson = False, home: Home = None) -> None:
    """Create the schema or bring it up to date. `tollway serve` does so at every start."""
    from tollway.storage.tables import SCHEMA_VERSION

    settings = settings_in_force(home=home)
    warn_of_mistakes(settings)
    with _opened(settings) as database:
        before = database.migrate()
    if as_json:
        print_json({"where": database.where, "from": before, "to": SCHEMA_VERSION})
    elif before == SCHEMA_VERSION:
        out.print(f"{database.where} is at schema {before} already.", markup=False)
    else:
        out.print(f"{database.where} went from schema {before or 'none'} to {SCHEMA_VERSION}.", markup=False)


@app.command()
def backup(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Folder to make; default: `backups/<time>` in the home folder.", show_default=False),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Copy database and server secret to a new folder, consistently, while the server goes on.

    Guard the folder like the server itself. Models and `tollway.toml` are not in it.
    """
    from tollway.accounts import secret_path
    from tollway.cli.models import shown_progress
    from tollway.storage.copies import copies_of

    settings = settings_in_force(home=home)
    copies = copies_of(settings.database)
    folder = (folder or settings.home / "backups" / _stamp()).absolute()
    if folder.exists():
        fail(f"{folder} is there already; a backup makes its own folder.", 2)
    with _one_line_errors():
        schema = _schema(settings)
        if schema is None:
            fail(f"{settings.database} is empty: there is nothing to back up yet.")
        with _draft_of(folder) as draft:
            with shown_progress() as progress:
                progress.step(f"Copying {settings.database}")
                copies.copy_out(draft / copies.file_name, progress.done)
            manifest = _sealed(draft, settings, copies, schema)
            draft.rename(folder)
    if as_json:
        print_json({"folder": str(folder)} | msgspec.to_builtins(manifest))
        return
    for name, file in manifest.files.items():
        out.print(f"{name}: {file.bytes:,} bytes, sha256 {file.sha256[:12]}...", markup=False)
    secret = secret_path(settings.home).name
    if secret not in manifest.files:
        err.print(f"There is no {secret} in the home folder, so none is in the backup.")
    out.print(f"Backed up to {folder}", markup=False)


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="A folder that `tollway db backup` made.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Replace what is there; it is kept in `backups`.")] = False,
    lost_secret: Annotated[
        bool, typer.Option("--lost-secret", help="Go on where the secret is lost for good; `db adopt-secret` comes next.")
    ] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Put a backup back: database and server secret. Not while a server runs on it."""
    from tollway.accounts import secret_path
    from tollway.storage.copies import CopyError, copies_of

    settings = settings_in_force(home=home)
    copies, aside = copies_of(settings.database), settings.home / "backups" / f"replaced-{_stamp()}"
    secret = secret_path(settings.home)
    with _one_line_errors("Stopped. Nothing was changed."):
        refuse_beside_a_server(settings)
        manifest = _checked(folder, copies, secret.name)
        new = _new_secret(folder, settings, copies, lost_secret=lost_secret)
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        schema = _schema_if_any(settings)
        with copies.alone(), contextlib.ExitStack() as stack:
            other_secret = new is not None and secret.exists() and secret.read_bytes() != new
            if not force and (other_secret or not copies.is_empty()):
                fail(f"{settings.database} is there already. --force replaces it and keeps it in {aside}.")
            kept = stack.enter_context(_draft_of(aside)) if other_secret or not copies.is_empty() else None
            if kept:
                _keep(kept, settings, copies, schema)
            replace = stack.enter_context(copies.put_back(folder / copies.file_name))
            draft = new and stack.enter_context(_draft(secret, new))
            stack.enter_context(_uninterrupted())
            if kept:
                kept.rename(aside)
            try:
                replace()
            except (CopyError, OSError) as error:
                fail(f"{words(error)} What was there before is in {aside}." if kept else words(error))
            if draft:
                draft.rename(secret)
    _tell_restored(settings, manifest, aside if kept else None, as_json=as_json)


def _tell_restored(settings: Settings, manifest: Manifest, aside: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"restored": str(settings.database), "kept": aside and str(aside)} | msgspec.to_builtins(manifest))
        return
    out.print(f"{settings.database} is as it was at {manifest.created_at}.", markup=False)
    if aside and (aside / _MANIFEST).exists():
        out.print(f"What was there before is in {aside}, which `tollway db restore` puts back.", markup=False)
    elif aside:
        out.print(f"What was there before is in {aside}; it is no backup, because not all of it could be read.", markup=False)


@app.command(name="adopt-secret")
def adopt(as_json: AsJson = False, home: Home = None) -> None:
    """Go on with this home's `secret.key` after the database's own was lost for good. All API keys have to be made anew.

    Not while a server runs on this home: it would go on with the secret that it has read.
    """
    from tollway.accounts import adopt_secret, load_secret, secret_path

    settings = settings_in_force(home=home)
    refuse_beside_a_server(settings)
    if is_absent(settings):
        fail(absence(settings))

    async def adopt_own(database: "Database") -> None:
        await database.check_schema()
        await adopt_secret(database, load_secret(settings.home))

    with _opened(settings) as database:
        asyncio.run(adopt_own(database))
    secret = secret_path(settings.home)
    if as_json:
        print_json({"where": str(settings.database), "secret": str(secret)})
        return
    out.print(f"{settings.database} goes on with {secret}. `tollway keys create` makes a key.", markup=False)
    if settings.database_url:
        out.print(f"Copy {secret} to the other nodes, and restart each of them.", markup=False)


@contextlib.contextmanager
def _draft_of(folder: Path) -> Iterator[Path]:
    """What becomes the folder when it is renamed; it goes unless it is."""
    draft = folder.with_name(folder.name + ".partial")
    try:
        draft.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        fail(f"{draft} is there: another backup is being made, or one was cut off; then remove that folder.", 2)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _sealed(draft: Path, settings: Settings, copies: "Copies", schema: str) -> Manifest:
    """Makes a folder that has the database's copy a backup."""
    from tollway.accounts import secret_path

    secret = secret_path(settings.home)
    if secret.exists():
        _write(draft / secret.name, secret.read_bytes())
    files = {path.name: File(path.stat().st_size, _sha256(path)) for path in sorted(draft.iterdir())}
    manifest = Manifest(1, clock.iso(clock.now()), __version__, copies.kind, schema, files)
    _write(draft / _MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    return manifest


def _keep(draft: Path, settings: Settings, copies: "Copies", schema: str | None) -> None:
    """A backup of what is about to be replaced; where that is damaged, or no database of ours, its files without a manifest."""
    from tollway.accounts import secret_path
    from tollway.storage.copies import CopyError

    secret, copy = secret_path(settings.home), draft / copies.file_name
    if not copies.is_empty():
        copies.keep(copy)
        with contextlib.suppress(CopyError):
            copies.check(copy)
            if schema is not None:
                _sealed(draft, settings, copies, schema)
                return
    if secret.exists():
        _write(draft / secret.name, secret.read_bytes())


def _new_secret(folder: Path, settings: Settings, copies: "Copies", *, lost_secret: bool) -> bytes | None:
    """What is to be in `secret.key` once the backup is put back; None = what the home has. Exits where neither fits."""
    from tollway.accounts import fits, load_secret, secret_path

    known = copies.fingerprint(folder / copies.file_name)
    for place in (folder, settings.home):
        with contextlib.suppress(ValueError):
            if secret_path(place).exists() and fits(known, load_secret(place)):
                return secret_path(place).read_bytes() if place == folder else None
    if not lost_secret and (known is not None or secret_path(folder).exists()):
        fail(
            f"Neither {folder} nor {settings.home} has the secret.key that the backup's API keys were made with. Copy it from "
            f"another node or backup to {settings.home}. If it is lost for good, --lost-secret restores without it, and "
            "`tollway db adopt-secret` goes on from there; all keys have to be made anew. Nothing was changed."
        )
    return None


def _checked(folder: Path, copies: "Copies", secret: str) -> Manifest:
    """The manifest of a backup that is whole and fits this Tollway. Exits otherwise."""
    from tollway.storage.tables import SCHEMA_VERSION

    try:
        manifest = msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        fail(f"{folder} is no backup: it has no {_MANIFEST} that can be read.", 2)
    if manifest.database != copies.kind:
        fail(
            f"{folder} is a backup of {manifest.database}, but this Tollway works with {copies.kind}: "
            "set or unset TOLLWAY_DATABASE_URL."
        )
    if manifest.schema > SCHEMA_VERSION:
        fail(f"{folder} has schema {manifest.schema}, of a newer Tollway; this one knows {SCHEMA_VERSION}. Install that one.")
    if not {copies.file_name} <= set(manifest.files) <= {copies.file_name, secret}:
        fail(f"{folder / _MANIFEST} does not name the files of a backup.")
    for name, file in manifest.files.items():
        path = folder / name
        if not path.exists() or _sha256(path) != file.sha256:
            fail(f"{path} is missing or damaged: its SHA-256 is not the one in {_MANIFEST}. Nothing was changed.")
    copies.check(folder / copies.file_name)
    return manifest


def _schema(settings: Settings) -> str | None:
    """None = there is no database. Fails where the home's secret is not the database's: no backup of it would help."""
    from tollway.accounts import check_secret_in

    warn_of_mistakes(settings)
    if is_absent(settings):
        return None

    async def look(database: "Database") -> str | None:
        await check_secret_in(settings.home, database)
        return await database.schema_version()

    with _opened(settings) as database:
        return asyncio.run(look(database))


def _schema_if_any(settings: Settings) -> str | None:
    """None also where it cannot be read, as of a damaged file."""
    from tollway.storage import Database

    if is_absent(settings):
        return None
    with contextlib.closing(Database(settings.database)) as database, contextlib.suppress(StorageUnavailable):
        return asyncio.run(database.schema_version())
    return None


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C does nothing meanwhile: what is done belongs together, and takes a moment."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _opened(settings: Settings) -> Iterator["Database"]:
    from tollway.storage import Database

    with _one_line_errors(), contextlib.closing(Database(settings.database)) as database:
        yield database


@contextlib.contextmanager
def _one_line_errors(stopped: str = "Stopped. Nothing was kept.") -> Iterator[None]:
    from tollway.storage import SchemaError
    from tollway.storage.copies import CopyError

    try:
        yield
    except (CopyError, SchemaError, StorageUnavailable, OSError, ValueError) as error:
        fail(words(error))
    except KeyboardInterrupt:
        fail(stopped, 130)


def _write(path: Path, content: bytes) -> None:
    """A file that only its owner may read, in one step."""
    with _draft(path, content) as draft:
        draft.rename(path)


@contextlib.contextmanager
def _draft(path: Path, content: bytes) -> Iterator[Path]:
    """What becomes the file when it is renamed; it goes unless it is."""
    draft = path.with_name(path.name + ".draft")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp() -> str:
    return clock.iso(clock.now()).replace(":", "-")
