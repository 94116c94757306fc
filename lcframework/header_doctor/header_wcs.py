"""The WCS that headers hold: where it points, and its scale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from lcframework.frames.samples import at_equal_steps
from lcframework.header_doctor.reading import FileReading
from lcframework.plugins import Plugins
from lcframework.types import NotSolved, PlateSolution, SolveHint

if TYPE_CHECKING:
    from astropy.io import fits

EXISTING = "existing"
#: Files that are read, at equal steps.
_MOST = 12


@attrs.frozen(eq=False)
class HeaderWcs:
    """A header's WCS.

    Attributes
    ----------
    centre : tuple of float
        (ra, dec) of the image's centre, degrees.
    scale : float
        arcsec/pixel there: the square root of a pixel's area.
    header : Header
        The celestial WCS.
    """

    centre: tuple[float, float]
    scale: float
    header: fits.Header


def read_wcs(header: fits.Header, shape: tuple[int, int], plugins: Plugins) -> HeaderWcs | str:
    """Return a header's WCS as the solver ``existing`` reads it, or why it has none."""
    solver: Any = next((o.cls for o in plugins.offers("lcf_plate_solvers") if o.name == EXISTING), None)
    if solver is None:
        return 'the plate solver "existing" is not installed'
    found = solver().solve(_no_sources(), shape, SolveHint(header=header))
    return found.reason if isinstance(found, NotSolved) else placed(found, shape)


def placed(solution: PlateSolution, shape: tuple[int, int]) -> HeaderWcs:
    """Return centre and scale of a plate solution."""
    import warnings

    from astropy.utils.exceptions import AstropyWarning
    from astropy.wcs import WCS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        wcs = WCS(solution.header)
        ny, nx = shape
        x = (nx - 1) / 2 + np.array([0.0, 1.0, 0.0])
        y = (ny - 1) / 2 + np.array([0.0, 0.0, 1.0])
        ra, dec = wcs.all_pix2world(x, y, 0)
    east = ((ra[1:] - ra[0] + 180.0) % 360.0 - 180.0) * np.cos(np.radians(dec[0]))
    north = dec[1:] - dec[0]
    area = abs(east[0] * north[1] - east[1] * north[0])
    return HeaderWcs((float(ra[0]) % 360.0, float(dec[0])), float(np.sqrt(area) * 3600.0), solution.header)


def _no_sources() -> Any:
    from astropy.table import Table

    from lcframework.types import SOURCES

    return Table({c.name: np.zeros(0) for c in SOURCES.columns})


def wcs_text(files: Sequence[FileReading], plugins: Plugins | None) -> str:
    """Return in words which WCS the headers of an instrument's files hold; empty where nobody can read it."""
    read = [f for f in files if f.header is not None and min(f.shape) > 0]
    if plugins is None or not read:
        return ""
    found = [read_wcs(f.header, f.shape, plugins) for f in at_equal_steps(read, _MOST) if f.header is not None]
    good = [w for w in found if isinstance(w, HeaderWcs)]
    why = Counter(w for w in found if isinstance(w, str))
    if not good:
        return f"none: {why.most_common(1)[0][0]}"
    scales = sorted(w.scale for w in good)
    scale = f"{np.median(scales):.4g}" if scales[-1] < 1.01 * scales[0] else f"{scales[0]:.4g} to {scales[-1]:.4g}"
    ra, dec = good[0].centre
    lacking = f", {sum(why.values())} that were read have none" if why else ""
    return f"{scale} arcsec/pixel, the first centred on {ra:.4f} {dec:+.4f} ({len(good)} of {len(read)} files{lacking})"
