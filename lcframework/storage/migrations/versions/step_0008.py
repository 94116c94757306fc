"""Regions of interest may move: frames say where each was, and the stars that targets pass have a table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from lcframework.storage.changes import count_changes

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns, empty in frames that are done, and the table."""
    for name in ("ra", "dec", "trail", "position_error"):
        op.add_column("rois_in_frames", sa.Column(name, sa.Float(), nullable=True))
    op.add_column("rois_in_frames", sa.Column("comment", sa.String(), nullable=False, server_default=""))
    op.create_table(
        "passed_stars",
        sa.Column("combined_footprint_hash", sa.String(), primary_key=True),
        sa.Column("gaia_id", sa.String(), primary_key=True),
        sa.Column("ra", sa.Float(), nullable=False),
        sa.Column("dec", sa.Float(), nullable=False),
        sa.Column("pmra", sa.Float(), nullable=False),
        sa.Column("pmdec", sa.Float(), nullable=False),
        sa.Column("ref_epoch", sa.Float(), nullable=False),
        sa.Column("magnitude", sa.Float(), nullable=False),
    )
    count_changes(op.get_bind())
