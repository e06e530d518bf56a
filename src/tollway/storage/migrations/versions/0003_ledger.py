"""Ledger, admission and usage"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _ledger()
    _admission()
    _usage()


def _ledger() -> None:
    op.create_table(
        "holds",
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("key_id", sa.String(length=32)),
        sa.Column("node_id", sa.String(length=32), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("spend_window", sa.BigInteger()),
        sa.PrimaryKeyConstraint("request_id", name="pk_holds"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_holds_account_id", "holds", ["account_id"])
    op.create_table(
        "ledger_entries",
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("posted", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("loss", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("key_id", sa.String(length=32)),
        sa.Column("model", sa.String(length=200)),
        sa.Column("reference", sa.String(length=64)),
        sa.Column("price_version", sa.String(length=16)),
        sa.Column("note", sa.String(length=200)),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "number", name="pk_ledger_entries"),
        sa.UniqueConstraint("request_id", "kind", name="uq_ledger_entries_request_id_kind"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_ledger_entries_by_hand",
        "ledger_entries",
        ["account_id", "at", "number"],
        sqlite_where=sa.text("kind IN ('grant', 'refund', 'adjustment')"),
        postgresql_where=sa.text("kind IN ('grant', 'refund', 'adjustment')"),
    )
    op.create_index(
        "ix_ledger_entries_transactions",
        "ledger_entries",
        ["account_id", "at", "number"],
        sqlite_where=sa.text("posted <> 0"),
        postgresql_where=sa.text("posted <> 0"),
    )
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("beat_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nodes"),
    )
    op.create_table(
        "balances",
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("posted", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.LargeBinary(length=32), nullable=False),
        sa.CheckConstraint("held >= 0", name="ck_balances_held_not_negative"),
        sa.CheckConstraint("posted >= held", name="ck_balances_not_overdrawn"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_balances_account_id"),
        sa.PrimaryKeyConstraint("account_id", name="pk_balances"),
        sqlite_with_rowid=False,
    )


def _admission() -> None:
    op.create_table(
        "idempotency",
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.LargeBinary()),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key", name="pk_idempotency"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_idempotency_at", "idempotency", ["at"])
    op.create_table(
        "key_spend",
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "starts_at", name="pk_key_spend"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rates",
        sa.Column("subject", sa.String(length=32), nullable=False),
        sa.Column("unit", sa.String(length=10), nullable=False),
        sa.Column("full_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "unit", name="pk_rates"),
        sqlite_with_rowid=False,
    )


def _usage() -> None:
    op.create_table(
        "prices",
        sa.Column("version", sa.String(length=16), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_prices"),
    )
    op.create_table(
        "requests",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("inference_id", sa.String(length=64), nullable=False),
        sa.Column("client_request_id", sa.String(length=128)),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("key_id", sa.String(length=32)),
        sa.Column("origin", sa.String(length=10), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("answered_by", sa.String(length=200), nullable=False),
        sa.Column("route", sa.String(length=200), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("finish_reason", sa.String(length=20)),
        sa.Column("error_code", sa.String(length=64)),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.Column("loss", sa.BigInteger(), nullable=False),
        sa.Column("price_version", sa.String(length=16), nullable=False),
        sa.Column("flags", sa.String(length=200)),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("first_token_ms", sa.Integer()),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
        sa.UniqueConstraint("request_id", name="uq_requests_request_id"),
    )
    op.create_index("ix_requests_account_id", "requests", ["account_id", "id"])
    op.create_index(
        "ix_requests_client_request_id",
        "requests",
        ["client_request_id"],
        sqlite_where=sa.text("client_request_id IS NOT NULL"),
        postgresql_where=sa.text("client_request_id IS NOT NULL"),
    )
    op.create_index("ix_requests_inference_id", "requests", ["inference_id"])
    op.create_table(
        "usage_buckets",
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("charged", sa.BigInteger(), nullable=False),
        sa.Column("succeeded", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.Column("loss", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "bucket", "key_id", "model", name="pk_usage_buckets"),
        sqlite_with_rowid=False,
    )
