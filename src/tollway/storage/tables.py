"""The tables as the code knows them. A change here is a new migration and a new SCHEMA_VERSION.

Times are seconds since the epoch. Ids are opaque text.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

SCHEMA_VERSION = "0002"
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
    Column("updated_at", Double, nullable=False, server_default=text("0")),
    # null = no limit
    Column("requests_per_minute", BigInteger),
    Column("tokens_per_minute", BigInteger),
    Column("concurrency_max", BigInteger),
    # a balance below it is called low
    Column("low_balance_credits", BigInteger, nullable=False, server_default=text("10000")),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", String(32), ForeignKey("accounts.id"), nullable=False, index=True),
    # "api": asks models; "management": manages the account's keys and asks nothing
    Column("kind", String(16), nullable=False, server_default="api"),
    Column("name", String(100), nullable=False),
    Column("prefix", String(12), nullable=False, index=True),
    # HMAC-SHA256 of the whole key; the key itself is nowhere
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    # the secret that the last rotation replaced; it works until `previous_expires_at`
    Column("previous_prefix", String(12)),
    Column("previous_digest", LargeBinary(32)),
    Column("previous_expires_at", Double),
    Column("enabled", Boolean, nullable=False),
    # JSON arrays of text; null = all
    Column("scopes", Text),
    Column("models", Text),
    # null = no limit; the window says when what was spent is forgotten
    Column("spend_limit_credits", BigInteger),
    Column("spend_window", String(16)),
    Column("requests_per_minute", BigInteger),
    Column("tokens_per_minute", BigInteger),
    Column("concurrency_max", BigInteger),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False, server_default=text("0")),
    Column("expires_at", Double),
    Column("last_used_at", Double),
    # a deleted key stays as a tombstone: its holder is told so, and what it was used for stays explained
    Column("deleted_at", Double),
    Index("uq_api_keys_previous_digest", "previous_digest", unique=True),
    # within an account a name means one key; names of deleted keys are free again
    Index(
        "uq_api_keys_account_id_name",
        "account_id",
        "name",
        unique=True,
        sqlite_where=text("deleted_at IS NULL"),
        postgresql_where=text("deleted_at IS NULL"),
    ),
)
