"""How far around a region's position its own sources reach."""

from __future__ import annotations

import numpy as np

from lcframework.config.project_file import Config
from lcframework.sky.geometry import separation

#: The radius of a region is rounded up to this step, so that small corrections of point sources don't change stamps.
REACH_STEP = 2.0  # arcsec


def reach_of_region(config: Config, roi: str) -> float:
    """Return the radius, in arcsec, around a region's position within which sources are not masked as neighbours."""
    region = config.roi[roi]
    points = list(region.point_sources.values())
    farthest = 0.0
    if points:
        ra, dec = np.array(points).T
        farthest = float(separation(ra, dec, region.ra, region.dec).max())
    return float(max(region.exclusion_radius, REACH_STEP * np.ceil((farthest + 1.0) / REACH_STEP)))
