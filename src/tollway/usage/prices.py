"""The terms that each price version stands for, written down so that every charge can be explained."""

from collections.abc import Callable, Iterable

from tollway import clock
from tollway.metering import Tariff
from tollway.storage import Database
from tollway.storage.tables import prices
from tollway.storage.upsert import insert_or_ignore


class PriceList:
    """Keeps the table of price versions up with what is charged, also after a reload."""

    def __init__(self, database: Database, tariffs: Callable[[], Iterable[Tariff]]) -> None:
        self._database = database
        self._tariffs = tariffs
        self._written: set[str] = set()

    async def write(self) -> None:
        """Writes the versions that are new. Cheap when none is."""
        new = {tariff.version: tariff.terms for tariff in self._tariffs() if tariff.version not in self._written}
        if new:
            rows = [{"version": version, "terms": terms, "at": clock.now()} for version, terms in new.items()]
            await self._database.write(lambda connection: insert_or_ignore(connection, prices, rows))
            self._written |= new.keys()
