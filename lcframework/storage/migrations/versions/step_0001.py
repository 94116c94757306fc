"""The tables of the first version, whose databases did not record a version."""

from __future__ import annotations

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Change nothing: a database that has these tables is at this step."""
