import pytest
from tests.desks import Bench, opened

from tollway.storage import Database


@pytest.fixture
async def bench(database: Database) -> Bench:
    return await opened(database, 1000)
