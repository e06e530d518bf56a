"""What an operator sees of the whole installation, while it works."""

import pytest
from tests.desks import opened

from tollway.storage import Database
from tollway.usage import filing
from tollway.usage.overview import overview


async def test_the_ledger_adds_up_while_requests_are_settled(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, really = await opened(database, 10_000), filing.file_all

    async def file_all(of: Database) -> None:
        await really(of)
        await bench.settle(await bench.admit(100), 30)  # between filing and reading

    monkeypatch.setattr(filing, "file_all", file_all)
    await bench.settle(await bench.admit(100), 20)
    ledger = (await overview(database)).ledger
    assert (ledger.posted, ledger.charged, ledger.balanced) == (9_950, 50, True)
