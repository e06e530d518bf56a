"""How long requests took, counted from the log"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "latency_counts",
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.Column("span", sa.Integer, nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("bucket", sa.BigInteger, nullable=False),
        sa.Column("measure", sa.String(12), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "span", "model", "bucket", "measure", "size", name="pk_latency_counts"),
        sqlite_with_rowid=False,
    )
    # what the log has already is counted from the beginning, a little at a time, once the service runs
    read_until = op.create_table(
        "read_until",
        sa.Column("reader", sa.String(20), nullable=False),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("reader", name="pk_read_until"),
        sqlite_with_rowid=False,
    )
    op.bulk_insert(read_until, [{"reader": "latency", "id": 0}])
