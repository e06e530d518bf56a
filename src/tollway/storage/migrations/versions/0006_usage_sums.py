"""Sums of usage by day, and for all keys together; indexes for the log's filters"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_COUNTS = ("requests", "charged", "succeeded", "failed", "prompt_tokens", "completion_tokens", "credits", "loss")


def upgrade() -> None:
    op.drop_index("ix_requests_account_id", "requests")
    op.create_index("ix_requests_account_id", "requests", ["account_id", "created_at", "id"])
    op.create_index("ix_requests_key_id", "requests", ["key_id", "created_at", "id"])
    op.create_index("ix_requests_model", "requests", ["account_id", "model", "created_at", "id"])
    no_success = sa.text("status <> 'succeeded'")
    op.create_index(
        "ix_requests_no_success",
        "requests",
        ["account_id", "created_at", "id"],
        sqlite_where=no_success,
        postgresql_where=no_success,
    )
    _sums()
    # of what moved the balance, what one key has caused
    moved = sa.text("posted <> 0")
    op.create_index(
        "ix_ledger_entries_by_key", "ledger_entries", ["key_id", "at", "number"], sqlite_where=moved, postgresql_where=moved
    )


def _sums() -> None:
    """The table anew, from its own rows: each counts six times, for its key and for all, in its quarter, hour and day."""
    op.rename_table("usage_buckets", "usage_buckets_before")
    if op.get_bind().dialect.name == "postgresql":  # the name of its key, which the new one takes
        op.execute("ALTER INDEX pk_usage_buckets RENAME TO pk_usage_buckets_before")
    op.create_table(
        "usage_buckets",
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("span", sa.Integer, nullable=False),
        sa.Column("bucket", sa.BigInteger, nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _COUNTS),
        sa.PrimaryKeyConstraint("account_id", "key_id", "span", "bucket", "model", name="pk_usage_buckets"),
        sqlite_with_rowid=False,
    )
    names, sums = ", ".join(_COUNTS), ", ".join(f"SUM({name})" for name in _COUNTS)
    for key, group in (("key_id", "key_id, "), ("'*'", "")):
        for span in (900, 3600, 86_400):
            begins = f"bucket / {span} * {span}"
            columns = f"account_id, key_id, span, bucket, model, {names}"
            rows = f"SELECT account_id, {key}, {span}, {begins}, model, {sums} FROM usage_buckets_before"  # noqa: S608
            op.execute(f"INSERT INTO usage_buckets ({columns}) {rows} GROUP BY account_id, {group}{begins}, model")
    op.drop_table("usage_buckets_before")
