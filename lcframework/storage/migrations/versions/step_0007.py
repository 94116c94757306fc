"""Files of products have a table with their sizes and digests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the table; what is made from now on fills it."""
    op.create_table(
        "product_files",
        sa.Column("path", sa.String(), primary_key=True),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("damage", sa.String(), nullable=False),
    )
    op.create_index("ix_product_files_stage_unit", "product_files", ["stage", "unit"])
