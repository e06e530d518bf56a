"""Fixtures for all tests. The service is started once; tests of one parameter share it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import installation
from tests.live import LiveServer, serving
from tests.postgres import PostgresServer, binaries, running_postgres

from tollway import settings
from tollway.settings import DatabaseUrl
from tollway.storage import Database

DEFAULT_MODEL = "smollm2-135m-instruct"

# a suite that a shell has started in the background ignores Ctrl-C, and so would all that it starts to test it
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def models_path() -> Path:
    """The folder of pulled models, the default one among them. `make test` pulls it."""
    path = settings.load().models_path
    if not (path / DEFAULT_MODEL / "model.json").exists():
        message = f"the default model is not in {path}: run `tollway models pull`, or `make test`, which does"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


@pytest.fixture(scope="session")
def server(models_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A running service with the default model and 4 slots."""
    with serving(tmp_path_factory.mktemp("live") / "home", models_path, engine_slots="4", engine_threads="1") as live:
        yield live


@pytest.fixture(scope="session")
def postgres_binaries() -> Path:
    """The folder of PostgreSQL's programs."""
    folder = binaries()
    if folder is None:
        message = "PostgreSQL is not installed, so half of what Tollway promises goes untested: apt-get install postgresql"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def postgres(postgres_binaries: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL server of our own; `postgres.new_database()` is quick."""
    with running_postgres(postgres_binaries) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | DatabaseUrl:
    """Where a database with the current schema and nothing in it is: what `Database` takes. Each test runs on both."""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.new_database()
    path = tmp_path / "home" / "tollway.db"
    database = Database(path)
    database.migrate()
    database.close()
    return path


@pytest.fixture
def database(place: Path | DatabaseUrl) -> Iterator[Database]:
    database = Database(place)
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def both_databases(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test twice. With PostgreSQL, what `installed` sets up in the first home and commands share a database."""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        first, urls = server.new_database(), dict[Path, DatabaseUrl]()
        monkeypatch.setenv("TOLLWAY_DATABASE_URL", first.reveal())

        def url_of(home: Path) -> DatabaseUrl:
            if home not in urls:
                urls[home] = server.new_database() if urls else first
            return urls[home]

        monkeypatch.setattr(installation, "url_of_home", url_of)
