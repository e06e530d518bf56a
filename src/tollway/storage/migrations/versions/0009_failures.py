"""What has failed or was cancelled is found by its status; latency is counted anew, in long spans, too"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    no_success = sa.text("status <> 'succeeded'")
    op.drop_index("ix_requests_no_success", "requests")
    op.create_index(
        "ix_requests_no_success",
        "requests",
        ["account_id", "status", "created_at", "id", "model", "key_id"],
        sqlite_where=no_success,
        postgresql_where=no_success,
    )
    op.execute("DELETE FROM latency_counts")
    op.execute("UPDATE read_until SET id = 0 WHERE reader = 'latency'")
