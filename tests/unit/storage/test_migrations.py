"""An upgrade keeps what older versions wrote."""

import sqlite3
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from tests.installation import installed

from tollway.accounts import Limits
from tollway.storage.tables import accounts, api_keys


def _at(path: Path, version: str) -> None:
    """A database as the version of that migration left it."""
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", "tollway.storage:migrations")
        config.set_main_option("path_separator", "os")
        command.upgrade(config, version)
    engine.dispose()


async def test_0002_keeps_accounts_and_keys_and_gives_each_key_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "tollway.db"
    _at(path, "0001")
    names = ["API key", "API key", "API key (2)", "API key", "x" * 100, "x" * 100]
    with sqlite3.connect(path) as old:
        old.execute("INSERT INTO accounts (id, name, created_at) VALUES ('a', 'owner', 5), ('b', 'other', 6)")
        rows: list[tuple[str, str, float, float | None]]
        rows = [("a", name, 10.0 + number, None) for number, name in enumerate(names)]
        rows += [("a", "API key", 3.0, 4.0), ("b", "API key", 30.0, None)]
        for number, (account, name, created_at, deleted_at) in enumerate(rows):
            values = (f"k{number}", account, name, f"p{number}", bytes([number] * 32), 1, created_at, deleted_at)
            old.execute(
                "INSERT INTO api_keys (id, account_id, name, prefix, digest, enabled, created_at, deleted_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
    old.close()
    async with installed(tmp_path) as services:
        keys = await services.accounts.list_keys("a")
        assert [key.name for key in keys] == [
            "API key",
            "API key (3)",
            "API key (2)",
            "API key (4)",
            "x" * 100,
            "x" * 96 + " (2)",
        ]
        assert [key.updated_at for key in keys] == [key.created_at for key in keys]
        assert {(key.kind, key.scopes, key.models, key.limits) for key in keys} == {("api", None, None, Limits())}
        assert [key.name for key in await services.accounts.list_keys("b")] == ["API key"]
        owner = await services.accounts.find_account("owner")
        assert (owner.updated_at, owner.limits, owner.low_balance_credits) == (5.0, Limits(), 10_000)

        def counts(connection: sa.Connection) -> list[int]:
            return [len(connection.execute(sa.select(table)).all()) for table in (accounts, api_keys)]

        assert await services.database.read(counts) == [2, 8]
