"""Cosmic rays in stamps by Laplacian edge detection (van Dokkum 2001, PASP 113, 1420), as in astroscrappy."""

from __future__ import annotations

import os
import sys
from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import positive
from lcframework.types import Bools, Floats
from plugins_builtin.cosmics.own_structure import structure_of_stars

# The method's median filters skip the outermost pixels: stamps get a margin, so that these are not the data's.
_MARGIN = 4
_WAITING = "OMP_WAIT_POLICY"
_ITERATIONS = 4  # each on the stamps that the one before has cleaned

_REACH = 3.0  # pixels from a stamp's centre to where its star may be
_CORE = 2.5  # pixels, radius of what is called a star's core
_ENOUGH = 4  # fewest stars that show how sharp a frame's PSF is
# The method's fast, separable median suits stars wider than 2 pixels; it takes the wings of sharper ones for rays.
_WELL_SAMPLED = 0.08
#: Of the core's flux in one pixel above its neighbours: a Gaussian with a FWHM of 1.4 pixels; for frames of few stars.
_SHARPEST = 0.35


@attrs.frozen
class Astroscrappy:
    """Finds pixels that are sharper than any star's image; meant for all stamps of one frame at a time."""

    results_version: ClassVar[int] = 2

    sigclip: float = attrs.field(default=4.5, validator=positive)  # sigma of the Laplacian
    sigfrac: float = attrs.field(default=0.3, validator=positive)  # of sigclip, for the neighbours of a hit
    objlim: float = attrs.field(default=5.0, validator=positive)  # contrast between the Laplacian and a smooth source

    def mask(self, stamps: Floats, noise: Floats) -> Bools:
        """Return where cosmic rays fell.

        Parameters
        ----------
        stamps, noise : array (n, ny, nx)
            e-/s without the sky, and one sigma; pixels that are not finite are not looked at.

        Returns
        -------
        bool array (n, ny, nx)
        """
        if stamps.size == 0:
            return np.zeros(stamps.shape, bool)
        unknown = ~(np.isfinite(stamps) & np.isfinite(noise) & (noise > 0))
        data = np.where(unknown, 0.0, stamps)
        usual = np.median(noise[~unknown]) if not unknown.all() else 1.0
        sigma = np.where(unknown, usual, noise)
        spared, sharpness = _star_cores(data, sigma)
        first = self._detect(data / usual, sigma / usual, unknown, sharpness, iterations=1)
        # Where one iteration finds nothing, further ones would not: they cost three times as much.
        again = first.any(axis=(1, 2))
        found = first.copy()
        if again.any():
            found[again] = self._detect(
                data[again] / usual, sigma[again] / usual, unknown[again], sharpness, _ITERATIONS
            )
        found &= ~unknown & ~spared
        return found & ~structure_of_stars(found, data, sigma)

    def _detect(self, data: Floats, sigma: Floats, unknown: Bools, sharpness: float, iterations: int) -> Bools:
        found, _ = _astroscrappy().detect_cosmics(
            _sheet(data),
            inmask=_sheet(unknown),
            invar=_sheet(sigma**2),
            sigclip=self.sigclip,
            sigfrac=self.sigfrac,
            objlim=self.objlim,
            gain=1.0,
            readnoise=0.0,
            satlevel=np.inf,
            niter=iterations,
            sepmed=sharpness < _WELL_SAMPLED,
            cleantype="medmask",
        )
        n, ny, nx = data.shape
        tiles = found.reshape(n, ny + 2 * _MARGIN, nx + 2 * _MARGIN)
        return np.asarray(tiles[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN])


def _astroscrappy() -> Any:
    """Import astroscrappy so that its threads sleep while they wait.

    Its OpenMP reads this once, when it is loaded. By default idle threads spin, which on busy cores takes a hundred
    times longer for arrays as small as stamps.
    """
    if "astroscrappy" not in sys.modules:
        before = os.environ.get(_WAITING)
        os.environ.setdefault(_WAITING, "passive")
        try:
            import astroscrappy
        finally:
            if before is None:
                del os.environ[_WAITING]
    import astroscrappy

    return astroscrappy


def _sheet(stamps: Floats | Bools) -> Floats | Bools:
    """Join stamps, each with a mirrored margin, to one image, so that one call searches them all."""
    wide = np.pad(stamps, ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN)), mode="symmetric")
    dtype = bool if wide.dtype == bool else np.float32
    return np.ascontiguousarray(wide.reshape(-1, wide.shape[2]), dtype=dtype)


def _star_cores(stamps: Floats, noise: Floats) -> tuple[Bools, float]:
    """Return the pixels around each stamp's central peak, where that peak is no sharper than those of the others.

    The second value is how sharp they are: the part of a core's light that one pixel has above its neighbours.

    An undersampled star is as sharp as a cosmic ray to the Laplacian; but all stars of a frame share one PSF, and a ray
    that hits a star's core makes it sharper than theirs.
    """
    from astropy.stats import mad_std

    n, ny, nx = stamps.shape
    box = np.pad(stamps, ((0, 0), (1, 1), (1, 1)))
    neighbours = np.stack(
        [box[:, 1 + j : 1 + j + ny, 1 + i : 1 + i + nx] for j in (-1, 0, 1) for i in (-1, 0, 1) if i or j]
    )
    block = stamps + neighbours.sum(axis=0)
    y, x = np.mgrid[:ny, :nx]
    central = (np.abs(y - (ny - 1) / 2) <= _REACH) & (np.abs(x - (nx - 1) / 2) <= _REACH)
    peak = np.argmax(np.where(central, block, -np.inf).reshape(n, -1), axis=1)
    peak_y, peak_x = (v[:, None, None] for v in np.unravel_index(peak, (ny, nx)))
    core = np.hypot(x - peak_x, y - peak_y) <= _CORE
    flux = np.where(core, stamps, 0.0).sum(axis=(1, 2))
    error = np.sqrt(np.where(core, noise**2, 0.0).sum(axis=(1, 2)))
    excess = np.where(core, stamps - np.median(neighbours, axis=0), -np.inf).max(axis=(1, 2))
    bright = flux > 10.0 * error
    sharpness = np.where(bright, excess / np.where(bright, flux, 1.0), np.inf)
    limit = _SHARPEST
    typical = float(np.median(sharpness[bright])) if bright.any() else np.inf
    if bright.sum() >= _ENOUGH:
        spread = float(mad_std(sharpness[bright]))
        # A star's position within its pixel changes its sharpness: that spread is not Gaussian, so never below 20 %.
        limit = max(typical + 4.0 * spread, 1.2 * typical)
    allowance = 3.0 * error / np.where(bright, flux, 1.0)
    return core & (bright & (sharpness <= limit + allowance))[:, None, None], typical


@hookimpl
def lcf_cosmic_maskers() -> dict[str, type]:
    """Offer the cosmic-ray finder ``astroscrappy``."""
    return {"astroscrappy": Astroscrappy}
