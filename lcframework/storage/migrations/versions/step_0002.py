"""Adds to products the rule of their fingerprints; existing products get the first rule."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column ``products.fingerprint_rule``."""
    op.add_column("products", sa.Column("fingerprint_rule", sa.Integer(), nullable=False, server_default="1"))
