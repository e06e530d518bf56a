"""An installation without an engine: real database, real keys, the real HTTP side; only the chat use case is missing."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from starlette.types import ASGIApp

from tollway.accounts import Accounts, load_secret
from tollway.api import routing
from tollway.api.endpoints import ENDPOINTS
from tollway.api.services import Services
from tollway.api.table import Auth, Endpoint, Tag
from tollway.catalog import LocalModel, load_catalog
from tollway.completions import Completions
from tollway.ledger import Ledger
from tollway.people import People
from tollway.settings import DatabaseUrl, Settings
from tollway.storage import Database
from tollway.usage import UsageQueries
from tollway.web.pages import PAGES, not_found

LOCAL = LocalModel("smollm2-135m-instruct", "SmolLM2 135M Instruct", "Hugging Face", 2048, sees=False, thinks=False)

url_of_home: Callable[[Path], DatabaseUrl] | None = None
"""Set by the fixture `both_databases` to give each home a PostgreSQL database of its own."""


def place_of(home: Path) -> Path | DatabaseUrl:
    """What `Database` takes for the database of that home."""
    return Settings(home=home, database_url=url_of_home and url_of_home(home)).database


@asynccontextmanager
async def installed(home: Path, **changes: Any) -> AsyncIterator[Services]:
    """Everything that endpoints work with. `changes` replace parts of Services, or settings by name."""
    changes.setdefault("database_url", url_of_home and url_of_home(home))
    settings = Settings(home=home, **{name: changes.pop(name) for name in list(changes) if name in Settings.__struct_fields__})
    database = Database(settings.database)
    database.migrate()
    secret = load_secret(home)
    accounts = Accounts(database, secret)
    people = People(database, accounts, secret)
    services = Services(
        settings=settings,
        database=database,
        accounts=accounts,
        people=people,
        catalog=load_catalog([LOCAL], default_model=LOCAL.name, stand_in=settings.stand_in),
        ledger=Ledger(database),
        usage=UsageQueries(database),
        completions=cast("Completions", None),
    )
    try:
        yield replace(services, **changes)
    finally:
        people.close()
        await accounts.close()
        database.close()


def app_of(services: Services, endpoints: Iterable[Endpoint] = ENDPOINTS) -> ASGIApp:
    return routing.build(endpoints, services)


def site_of(services: Services) -> ASGIApp:
    """The endpoints and the pages, as `app.py` puts them together."""
    return routing.build((*ENDPOINTS, *PAGES), services, default=not_found)


def endpoint(
    handler: ASGIApp, path: str = "/v1/test", *, auth: Auth = Auth.NONE, method: str = "GET", tag: Tag = Tag.CHAT
) -> Endpoint:
    """A row for a test's own handler."""
    return Endpoint(operation="test", method=method, paths=(path,), handler=handler, tag=tag, summary="", auth=auth, answers=())


async def new_key(services: Services) -> str:
    account = await services.accounts.first_account()
    return (await services.accounts.create_key(account.id)).secret
