"""The tables as the code knows them. A change here is a new migration and a new SCHEMA_VERSION.

Times are seconds since the epoch. Ids are opaque text.
"""

from sqlalchemy import Boolean, Column, Double, ForeignKey, LargeBinary, MetaData, String, Table

SCHEMA_VERSION = "0001"
"""The newest migration. Stands here so that a start on a current database need not import Alembic (200 ms, 15 MB)."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", String(32), ForeignKey("accounts.id"), nullable=False, index=True),
    Column("name", String(100), nullable=False),
    Column("prefix", String(12), nullable=False, index=True),
    # HMAC-SHA256 of the whole key; the key itself is nowhere
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("last_used_at", Double),
    # a deleted key stays as a tombstone: its holder is told so, and what it was used for stays explained
    Column("deleted_at", Double),
)
