"""The request log is filed behind the requests that are settled; holds have one index less to be written to."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "unfiled_requests",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.Column("credits", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_unfiled_requests"),
    )
    op.drop_index("ix_holds_account_id", "holds")
