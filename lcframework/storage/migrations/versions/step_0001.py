"""The tables as they were before their versions were counted."""

from __future__ import annotations

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Change nothing: a database that has these tables is at this step."""
