"""Doubts have a table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table; what is made from now on fills it."""
    op.create_table(
        "doubts",
        sa.Column("stage", sa.String(), primary_key=True),
        sa.Column("unit", sa.String(), primary_key=True),
        sa.Column("kind", sa.String(), primary_key=True),
        sa.Column("subject", sa.String(), primary_key=True),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("remedy", sa.String(), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("frame_id", sa.Integer(), nullable=True),
    )
    op.create_index("ix_doubts_frame_id", "doubts", ["frame_id"])
