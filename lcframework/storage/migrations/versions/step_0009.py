"""Frames say which header parser claimed their raw file."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column, empty in frames that are done."""
    op.add_column("frames", sa.Column("header_parser", sa.String(), nullable=False, server_default=""))
