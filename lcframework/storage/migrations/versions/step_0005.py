"""Star fluxes tell what they are combined of; the choices have tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns, empty for fluxes that are the PSF's alone, and the tables."""
    op.add_column("star_flux_in_frame", sa.Column("psf_flux", sa.Float(), nullable=True))
    op.add_column("star_flux_in_frame", sa.Column("psf_flux_uncertainty", sa.Float(), nullable=True))
    op.add_column("star_flux_in_frame", sa.Column("weights", sa.JSON(), nullable=True))
    op.add_column("star_flux_in_frame", sa.Column("flux_noise", sa.Float(), nullable=True))
    op.create_table(
        "estimator_weights",
        sa.Column("combined_footprint_hash", sa.String(), primary_key=True),
        sa.Column("instrument", sa.String(), primary_key=True),
        sa.Column("band", sa.String(), primary_key=True),
        sa.Column("radii", sa.JSON(), nullable=False),
        sa.Column("flux", sa.JSON(), nullable=False),
        sa.Column("weights", sa.JSON(), nullable=False),
        sa.Column("noise_factor", sa.Float(), nullable=False),
        sa.Column("scatter", sa.Float(), nullable=False),
        sa.Column("psf_scatter", sa.Float(), nullable=False),
        sa.Column("stars", sa.Integer(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("held_out", sa.JSON(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
    )
    op.create_table(
        "estimator_scales",
        sa.Column("combined_footprint_hash", sa.String(), primary_key=True),
        sa.Column("frame_id", sa.Integer(), primary_key=True),
        sa.Column("instrument", sa.String(), nullable=False),
        sa.Column("band", sa.String(), nullable=False),
        sa.Column("radii", sa.JSON(), nullable=False),
        sa.Column("scale", sa.JSON(), nullable=False),
    )
