"""What endpoints work with. `app.py` fills it; nothing here knows how."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tollway.accounts import Accounts
from tollway.catalog import Catalog
from tollway.observability import Metrics
from tollway.people import People
from tollway.settings import Settings
from tollway.storage import Database

if TYPE_CHECKING:
    from tollway.completions import Completions


async def _no_engines() -> dict[str, bool]:
    return {}


async def _no_usage(key_ids: list[str]) -> dict[str, int]:
    return dict.fromkeys(key_ids, 0)


@dataclass(frozen=True)
class Services:
    """The parts of a running Tollway."""

    settings: Settings
    database: Database
    accounts: Accounts
    people: People
    catalog: Catalog
    completions: "Completions"
    """The use case behind the chat endpoint; it has the providers."""
    metrics: Metrics = field(default_factory=Metrics)
    engine_health: Callable[[], Awaitable[dict[str, bool]]] = _no_engines
    """Each engine by name, and whether it answers."""
    monthly_usage: Callable[[list[str]], Awaitable[dict[str, int]]] = _no_usage
    """Key ids -> the credits that each has spent since the first of this month, 00:00 UTC. Those without may be left out."""
