"""Whether a frame shows a source where a region's point sources should be, or a bright one beside it instead.

A target with an old position, an unknown proper motion or a typing error is masked as its own neighbour, and the fit at
the empty position gives a small flux with a small error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lcframework.frames.stamping import distance_from, own_radius, psf_area
from lcframework.sky.geometry import separation
from lcframework.types import Doubt, Floats, Severity

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.wcs import WCS

    from lcframework.storage.stamp_files import Stamp

#: A source beside an empty position is named from this signal-to-noise ratio on.
_BRIGHT = 20.0
#: ... if its FWHM is at most this many times the seeing.
_STARLIKE = 1.5
#: Light at a position is a source from this signal-to-noise ratio on.
_LIGHT = 10.0


def target_doubt(
    roi: str, sources: Table, positions: Floats, known: Floats, wcs: WCS, stamp: Stamp, seeing: float, rms: float
) -> Doubt | None:
    """Return a doubt where nothing is detected at a region's point sources while a bright source is beside them.

    Parameters
    ----------
    roi : str
        The region.
    sources : Table
        All sources of the frame.
    positions : (k, 2) array
        Where the region's point sources are in the frame, pixels.
    known : (n, 2) array
        Where catalogue stars are.
    wcs : astropy.wcs.WCS
        The frame's.
    stamp : Stamp
        The region's, without the halos of bright stars: what these hide from the detection may show there.
    seeing : float
        Pixels.
    rms : float
        Of the background, e-/s.
    """
    if not len(sources) or not len(positions):
        return None
    found = np.stack([np.asarray(sources["x"], float), np.asarray(sources["y"], float)], axis=1)
    flux = np.asarray(sources["flux"], float)
    distance = np.linalg.norm(found[:, None] - positions, axis=2).min(axis=1)
    own = own_radius(seeing)
    if (distance <= own).any() or _shown(stamp, positions, seeing):
        return None
    noise = rms * np.sqrt(psf_area(seeing))
    # A galaxy is no target that moved, but what a target may be in.
    starlike = np.asarray(sources["fwhm"], float) < _STARLIKE * seeing
    bright = np.flatnonzero((distance < len(stamp.data) / 2) & (flux > _BRIGHT * noise) & starlike)
    if not bright.size:
        return None
    nearest = bright[np.argmin(distance[bright])]
    catalogued = bool(len(known)) and np.linalg.norm(known - found[nearest], axis=1).min() <= own
    target = positions[np.argmin(np.linalg.norm(positions - found[nearest], axis=1))]
    (ra, dec), (target_ra, target_dec) = wcs.all_pix2world([found[nearest], target], 0)
    away = float(separation(ra, dec, target_ra, target_dec))
    which = "a catalogue star" if catalogued else "a source that is not in the star catalogue"
    return Doubt(
        "target_not_detected",
        f"nothing is detected at the point sources of {roi}, but {which}, of {flux[nearest]:.4g} e-/s, is {away:.1f} "
        f"arcsec away at ra = {ra:.5f}, dec = {dec:.5f}",
        f"If that is the target, correct ra and dec in [roi.{roi}] (an old position, a proper motion?)",
        severity=Severity.NOTE if catalogued else Severity.DOUBT, value=away, subject=roi,
    )  # fmt: skip


def _shown(stamp: Stamp, positions: Floats, seeing: float) -> bool:
    """Return whether a region's stamp has light at a position, above that of the ring around it."""
    for x, y in positions:
        away = distance_from((float(x), float(y)), stamp.corner, len(stamp.data))
        usable = stamp.mask == 0
        inside, ring = (usable & (away < 0.5 * seeing)), (usable & (away > 2 * seeing) & (away < 3 * seeing))
        if inside.sum() < 3 or ring.sum() < inside.sum():
            continue
        light = float(stamp.data[inside].mean() - np.median(stamp.data[ring]))
        if light > _LIGHT * float(np.sqrt((stamp.noise[inside] ** 2).sum())) / inside.sum():
            return True
    return False
