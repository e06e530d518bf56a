"""Kinds, scopes, models, limits and rotation of API keys; limits of accounts"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Connection

revision = "0002"
down_revision = "0001"

_NAME_LENGTH_MAX = 100
_LIMITS = [(name, sa.BigInteger, None) for name in ("requests_per_minute", "tokens_per_minute", "concurrency_max")]


def upgrade() -> None:
    updated_at = ("updated_at", sa.Double, sa.text("0"))
    _add("accounts", updated_at, *_LIMITS, ("low_balance_credits", sa.BigInteger, sa.text("10000")))
    _add(
        "api_keys",
        ("kind", sa.String(16), "api"),
        ("previous_prefix", sa.String(12), None),
        ("previous_digest", sa.LargeBinary(32), None),
        ("previous_expires_at", sa.Double, None),
        ("scopes", sa.Text, None),
        ("models", sa.Text, None),
        ("spend_limit_credits", sa.BigInteger, None),
        ("spend_window", sa.String(16), None),
        *_LIMITS,
        updated_at,
    )
    op.execute("UPDATE accounts SET updated_at = created_at")
    op.execute("UPDATE api_keys SET updated_at = created_at")
    _make_names_unique(op.get_bind())
    op.create_index("uq_api_keys_previous_digest", "api_keys", ["previous_digest"], unique=True)
    in_use = sa.text("deleted_at IS NULL")
    op.create_index(
        "uq_api_keys_account_id_name",
        "api_keys",
        ["account_id", "name"],
        unique=True,
        sqlite_where=in_use,
        postgresql_where=in_use,
    )


def _add(table: str, *columns: Any) -> None:
    """Columns of (name, type, default); those with a default are never null.

    They are added in place: making the table anew, as a batch would on SQLite, breaks the references to it.
    """
    for name, type_, default in columns:
        op.add_column(table, sa.Column(name, type_, nullable=default is None, server_default=default))


def _make_names_unique(connection: Connection) -> None:
    """The second key of a name becomes `name (2)`, and so on; the oldest keeps its name."""
    keys = sa.table("api_keys", *(sa.column(name) for name in ("id", "account_id", "name", "created_at", "deleted_at")))
    query = sa.select(keys.c.id, keys.c.account_id, keys.c.name).where(keys.c.deleted_at.is_(None))
    rows = connection.execute(query.order_by(keys.c.created_at, keys.c.id)).all()
    kept = {(row.account_id, row.name) for row in rows}
    seen: set[tuple[str, str]] = set()
    for row in rows:
        name, number = row.name, 2
        while (row.account_id, name) in (kept if number > 2 else seen):
            suffix = f" ({number})"
            name, number = row.name[: _NAME_LENGTH_MAX - len(suffix)] + suffix, number + 1
        seen.add((row.account_id, name))
        kept.add((row.account_id, name))
        if name != row.name:
            connection.execute(sa.update(keys).where(keys.c.id == row.id).values(name=name))
