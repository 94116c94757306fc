"""How a region's sources are measured in the way of its comparison stars, where discs have room."""

from __future__ import annotations

import attrs
import numpy as np
from sqlmodel import Session, select

from lcframework.config.sections import Roi
from lcframework.provenance import Components, digest
from lcframework.roi.epochs import EpochColumns
from lcframework.sky.geometry import to_plane
from lcframework.storage.tables import EstimatorScales, EstimatorWeights
from lcframework.types import Estimators, FluxWeights


@attrs.frozen(eq=False)
class EstimatorChoice:
    """How sources are measured, and the relative scatter that is added where they are measured unlike the stars."""

    estimators: Estimators | None  # None: by the PSF alone
    scatter: float
    identity: Components  # what cutouts depend on


def chosen_estimators(
    session: Session, field: str, instrument: str, band: str, columns: EpochColumns, region: Roi, able: bool
) -> EstimatorChoice | None:
    """Return how the sources of a region are measured; None where the comparison stars chose nothing.

    Residual light belongs to one source where the discs of two don't overlap, and where nothing else is modelled.

    Parameters
    ----------
    session : Session
        On the project's database.
    field, instrument, band : str
        The group of the comparison stars.
    columns : mapping
        Of the epochs.
    region : Roi
        With its point sources.
    able : bool
        Whether the region's model applies estimators.
    """
    row = session.get(EstimatorWeights, (field, instrument, band))
    if row is None or not row.radii:
        return None
    # The normalization measures what the combined fluxes scatter beyond their noise; PSF fluxes scatter more.
    more = float(np.sqrt(max(row.psf_scatter**2 - row.scatter**2, 0.0)))
    psf_alone = EstimatorChoice(None, more, {"psf_scatter": more})
    of_field = select(EstimatorScales).where(EstimatorScales.combined_footprint_hash == field)
    scales = {r.frame_id: r for r in session.exec(of_field)}
    found = [scales.get(int(i)) for i in columns["frame_id"]]
    if not able or any(r is None or len(r.radii) != len(row.radii) for r in found):
        return psf_alone
    radii = np.array([r.radii for r in found if r is not None])
    scale = np.array([r.scale for r in found if r is not None])
    if least_separation(region) < 2 * float(np.max(radii * np.asarray(columns["pixel_scale"], float)[:, None])):
        return psf_alone
    weights = FluxWeights(np.array(row.flux), np.array(row.weights), row.noise_factor, row.scatter)
    identity = {"weights": digest([row.flux, row.weights, row.noise_factor, row.scatter]),
                "scales": digest([radii.tolist(), scale.tolist()])}  # fmt: skip
    return EstimatorChoice(Estimators(radii, scale, weights), 0.0, identity)


def least_separation(region: Roi) -> float:
    """Return the distance of a region's two nearest point sources, arcsec; infinite where there are not two."""
    if len(region.point_sources) < 2:
        return float("inf")
    ra, dec = np.array(list(region.point_sources.values())).T
    xy = np.stack(to_plane(ra, dec, region.ra, region.dec), axis=1)
    distance = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    return float(np.min(distance[~np.eye(len(xy), dtype=bool)]))
