"""What endpoints work with. `app.py` fills it; nothing here knows how."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tollway import clock
from tollway.accounts import Accounts
from tollway.catalog import Catalog
from tollway.completions import Completions
from tollway.ledger import Ledger
from tollway.observability import Metrics
from tollway.people import People
from tollway.providers.upstream_health import UpstreamState
from tollway.settings import Settings
from tollway.storage import Database
from tollway.usage import UsageQueries


async def _no_engines() -> dict[str, bool]:
    return {}


@dataclass(frozen=True)
class Services:
    """The parts of a running Tollway."""

    settings: Settings
    database: Database
    accounts: Accounts
    people: People
    catalog: Catalog
    ledger: Ledger
    usage: UsageQueries
    completions: Completions
    """The use case behind the chat endpoint; it has the providers."""
    metrics: Metrics = field(default_factory=Metrics)
    engine_health: Callable[[], Awaitable[dict[str, bool]]] = _no_engines
    """Each engine by name, and whether it answers."""
    upstreams: Callable[[], Sequence[UpstreamState]] = tuple
    """What this process knows of each upstream."""
    started_at: float = field(default_factory=clock.now)
