"""Whether an entry was booked by hand is told by a number first, for the many that were not"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    by_hand = sa.text("held = 0 AND kind IN ('grant', 'refund', 'adjustment')")
    op.drop_index("ix_ledger_entries_by_hand", "ledger_entries")
    op.create_index(
        "ix_ledger_entries_by_hand",
        "ledger_entries",
        ["account_id", "at", "number"],
        sqlite_where=by_hand,
        postgresql_where=by_hand,
    )
