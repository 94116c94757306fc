"""Coefficients say what their stars change slowly by, beyond errors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column, empty: the next run fills it."""
    op.add_column("normalization_coefficients", sa.Column("slow_scatter", sa.Float(), nullable=True))
