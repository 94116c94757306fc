"""Changes of tables are counted, and what the last plan of a stage found is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from lcframework.storage.changes import count_changes

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the tables, the triggers that count, and an index; the next run fills the tables."""
    op.create_table(
        "changes",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "plans",
        sa.Column("stage", sa.String(), primary_key=True),
        sa.Column("basis", sa.String(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("made", sa.Integer(), nullable=False),
        sa.Column("unusable", sa.JSON(), nullable=False),
        sa.Column("noted", sa.JSON(), nullable=True),
    )
    count_changes(op.get_bind())
