"""A frame's transparency at each region of a field that has several."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create the table, empty: the next run fills it."""
    op.create_table(
        "region_coefficients",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("combined_footprint_hash", "roi")),
        sa.Column("frame_id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("instrument", "band")),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("coefficient", "coefficient_uncertainty")),
        sa.PrimaryKeyConstraint("combined_footprint_hash", "frame_id", "roi"),
    )
