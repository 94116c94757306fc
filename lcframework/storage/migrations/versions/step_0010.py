"""Decisions keep what their rule doubts apart from what newer frames would decide."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the column, and move to it what stood in that of newer frames."""
    op.add_column("settings", sa.Column("doubt", sa.String(), nullable=False, server_default=""))
    op.execute(
        "update settings set doubt = disagreement, disagreement = '' "
        "where disagreement not like '% newer frames would decide %'"
    )
