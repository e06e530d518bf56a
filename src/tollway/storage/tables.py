"""The tables as the code knows them. A change here is a new migration and a new SCHEMA_VERSION.

Times are seconds since the epoch. Ids are opaque text.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

SCHEMA_VERSION = "0011"
"""The newest migration. Stands here so that a start on a current database need not import Alembic (200 ms, 15 MB)."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
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

# --- the ledger: see ledger/books.py ----------------------------------------------------------------------------------

_Serial = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER counts by itself there

balances = Table(
    "balances",
    metadata,
    Column("account_id", String(32), ForeignKey("accounts.id"), primary_key=True),
    Column("posted", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    # how many entries the account has, and the hash of the last one
    Column("entries", BigInteger, nullable=False),
    Column("head", LargeBinary(32), nullable=False),
    CheckConstraint("held >= 0", name="held_not_negative"),
    CheckConstraint("posted >= held", name="not_overdrawn"),
    sqlite_with_rowid=False,
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("account_id", String(32), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(10), nullable=False),
    Column("request_id", String(64), nullable=False),
    # what the entry changes, in credits
    Column("posted", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("loss", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("key_id", String(32)),
    Column("model", String(200)),
    Column("reference", String(64)),
    Column("price_version", String(16)),
    Column("note", String(200)),
    Column("hash", LargeBinary(32), nullable=False),
    UniqueConstraint("request_id", "kind"),
    sqlite_with_rowid=False,
)
# what an account's owner sees: entries that changed the posted balance; and the few of them that no request caused. Each new
# entry is asked both, so a number comes first: words take SQLite longer
IS_TRANSACTION = text("posted <> 0")
IS_BOOKED_BY_HAND = text("held = 0 AND kind IN ('grant', 'refund', 'adjustment')")
for _name, _condition in (("transactions", IS_TRANSACTION), ("by_hand", IS_BOOKED_BY_HAND)):
    Index(
        f"ix_ledger_entries_{_name}",
        ledger_entries.c.account_id,
        ledger_entries.c.at,
        ledger_entries.c.number,
        sqlite_where=_condition,
        postgresql_where=_condition,
    )

Index(
    "ix_ledger_entries_by_key",
    ledger_entries.c.key_id,
    ledger_entries.c.at,
    ledger_entries.c.number,
    sqlite_where=IS_TRANSACTION,
    postgresql_where=IS_TRANSACTION,
)

holds = Table(
    "holds",
    metadata,
    # nothing else is looked for in an index: they are few, and written and deleted with every request
    Column("request_id", String(64), primary_key=True),
    Column("account_id", String(32), nullable=False),
    Column("key_id", String(32)),
    Column("node_id", String(32), nullable=False),
    Column("credits", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    # the window of the key's spend limit that it counts in; null = the key has none
    Column("spend_window", BigInteger),
    sqlite_with_rowid=False,
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("beat_at", Double, nullable=False),
)

# --- what admission keeps beside the ledger ---------------------------------------------------------------------------

key_spend = Table(
    "key_spend",
    metadata,
    Column("key_id", String(32), primary_key=True),
    Column("starts_at", BigInteger, primary_key=True),
    Column("spent", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

rates = Table(
    "rates",
    metadata,
    Column("subject", String(32), primary_key=True),
    Column("unit", String(10), primary_key=True),
    # when a full minute's allowance will be back, in seconds since the epoch
    Column("full_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("account_id", String(32), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("body_hash", LargeBinary(32), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("answer", LargeBinary),
    Column("at", Double, nullable=False, index=True),
    sqlite_with_rowid=False,
)

# --- what was used ----------------------------------------------------------------------------------------------------

requests = Table(
    "requests",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("request_id", String(64), nullable=False, unique=True),
    Column("inference_id", String(64), nullable=False, index=True),
    Column("client_request_id", String(128)),
    Column("account_id", String(32), nullable=False),
    Column("key_id", String(32)),
    Column("origin", String(10), nullable=False),
    Column("model", String(200), nullable=False),
    Column("answered_by", String(200), nullable=False),
    Column("route", String(200), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("status", String(10), nullable=False),
    Column("finish_reason", String(20)),
    Column("error_code", String(64)),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("credits", BigInteger, nullable=False),
    Column("loss", BigInteger, nullable=False),
    Column("price_version", String(16), nullable=False),
    Column("flags", String(200)),
    Column("created_at", Double, nullable=False),
    Column("first_token_ms", Integer),
    Column("duration_ms", Integer, nullable=False),
    Index("ix_requests_account_id", "account_id", "created_at", "id"),
    Index("ix_requests_key_id", "key_id", "created_at", "id"),
    Index("ix_requests_model", "account_id", "model", "created_at", "id"),
)
IS_NO_SUCCESS = text("status <> 'succeeded'")
Index(
    "ix_requests_no_success",
    requests.c.account_id,
    requests.c.status,
    requests.c.created_at,
    requests.c.id,
    requests.c.model,
    requests.c.key_id,
    sqlite_where=IS_NO_SUCCESS,
    postgresql_where=IS_NO_SUCCESS,
)
Index(
    "ix_requests_client_request_id",
    requests.c.client_request_id,
    sqlite_where=text("client_request_id IS NOT NULL"),
    postgresql_where=text("client_request_id IS NOT NULL"),
)

# what was settled together, of one account, until it is filed in `requests` and `usage_buckets`: see usage/filing.py
unfiled_requests = Table(
    "unfiled_requests",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("account_id", String(32), nullable=False),
    # what these requests were charged together
    Column("credits", BigInteger, nullable=False),
    # a list of RequestRecord in MessagePack
    Column("body", LargeBinary, nullable=False),
)

# sums of `requests`, for each key and for all keys together, in spans of three lengths: days in UTC add up fast, and every time
# zone's midnight is the edge of a quarter of an hour
USAGE_SPANS = (900, 3600, 86_400)
ALL_KEYS = "*"
usage_buckets = Table(
    "usage_buckets",
    metadata,
    Column("account_id", String(32), primary_key=True),
    Column("key_id", String(32), primary_key=True),
    # in seconds
    Column("span", Integer, primary_key=True),
    # when it begins
    Column("bucket", BigInteger, primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("charged", BigInteger, nullable=False),
    Column("succeeded", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("credits", BigInteger, nullable=False),
    Column("loss", BigInteger, nullable=False),
    sqlite_with_rowid=False,  # its rows lie in the order in which they are summed
)

# how long the requests that succeeded took, counted by size from the log: see usage/latency.py
ALL_MODELS = "*"
latency_counts = Table(
    "latency_counts",
    metadata,
    Column("account_id", String(32), primary_key=True),
    # in seconds
    Column("span", Integer, primary_key=True),
    Column("model", String(200), primary_key=True),
    # when it begins
    Column("bucket", BigInteger, primary_key=True),
    # "first_token" or "duration"
    Column("measure", String(12), primary_key=True),
    Column("size", Integer, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# how far those who count from the log have read it
read_until = Table(
    "read_until",
    metadata,
    Column("reader", String(20), primary_key=True),
    # of the last row of `requests` that is counted
    Column("id", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

prices = Table(
    "prices",
    metadata,
    Column("version", String(16), primary_key=True),
    Column("terms", Text, nullable=False),
    Column("at", Double, nullable=False),
)

# --- people -----------------------------------------------------------------------------------------------------------

users = Table(
    "users",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", String(32), ForeignKey("accounts.id"), nullable=False, index=True),
    # in lower case
    Column("email", String(255), nullable=False, unique=True),
    # argon2id, with its parameters
    Column("password_hash", String(200), nullable=False),
    # "owner": runs this installation; "member": uses their account
    Column("role", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("last_login_at", Double),
    # null = may sign in
    Column("disabled_at", Double),
)

sessions = Table(
    "sessions",
    metadata,
    # of the token in the cookie, which is nowhere else
    Column("digest", LargeBinary(32), primary_key=True),
    Column("user_id", String(32), ForeignKey("users.id"), nullable=False, index=True),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
)

links = Table(
    "links",
    metadata,
    # a link that was used is gone
    Column("digest", LargeBinary(32), primary_key=True),
    # "first_owner", "invitation" or "reset"
    Column("purpose", String(16), nullable=False),
    Column("account_id", String(32), ForeignKey("accounts.id")),
    Column("role", String(16), nullable=False),
    Column("user_id", String(32), ForeignKey("users.id")),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
)

login_tries = Table(
    "login_tries",
    metadata,
    # digest of an email address, or of the address that a request comes from
    Column("subject", String(64), primary_key=True),
    Column("began_at", Double, nullable=False, index=True),
    Column("tries", BigInteger, nullable=False),
)

# --- the installation as a whole ------------------------------------------------------------------------------------------

installation = Table(
    "installation",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)
