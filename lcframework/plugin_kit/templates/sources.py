"""A source extractor for lcframework."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import positive
from lcframework.types import FWHM_PER_SIGMA, Bools, Floats, SourceTable


@attrs.frozen
class PluginClass:
    """Islands of pixels above a threshold, with their moments."""

    results_version: ClassVar[int] = 1  # raise it when answers change

    threshold: float = attrs.field(default=5.0, validator=positive)  # standard deviations of the smoothed image
    smoothing: float = attrs.field(default=1.3, validator=positive)  # pixels, sigma of the Gaussian

    def extract(self, image: Floats, variance: Floats, mask: Bools) -> SourceTable:
        """Return positions (0-based pixels), fluxes and shapes of what is found."""
        from astropy.table import Table  # heavy libraries are imported where needed: most commands load this module
        from scipy import ndimage

        clean = np.where(mask, 0.0, image)
        smooth = ndimage.gaussian_filter(clean, self.smoothing)
        # CHECK: what counts as a source, and how close neighbours are told apart.
        noise = np.median(np.sqrt(variance)) / (2 * np.sqrt(np.pi) * self.smoothing)
        islands, _ = ndimage.label(ndimage.binary_dilation(smooth > self.threshold * noise, iterations=3))
        rows = [self._moments(clean, islands, part, i + 1) for i, part in enumerate(ndimage.find_objects(islands))]
        kept = [row for row in rows if row[2] > 0 and row[4] > 0]
        names = ("x", "y", "flux", "fwhm", "a", "b", "theta")
        table = Table({name: np.array([row[k] for row in kept], float) for k, name in enumerate(names)})
        table["flags"] = np.zeros(
            len(kept), int
        )  # CHECK: non-zero where a source is blended, truncated, or at the edge
        return table

    @staticmethod
    def _moments(image: Floats, islands: Floats, part: tuple[slice, slice], label: int) -> tuple[float, ...]:
        """Return x, y, flux, FWHM, the rms along both axes (pixels), and the angle of the long one."""
        light = np.where(islands[part] == label, image[part], 0.0)
        y, x = np.mgrid[part]
        flux = float(light.sum())
        if flux <= 0:
            return (0.0, 0.0, flux, 0.0, 0.0, 0.0, 0.0)
        mx, my = float((light * x).sum() / flux), float((light * y).sum() / flux)
        dx, dy = x - mx, y - my
        xx, yy, xy = (float((light * u * v).sum() / flux) for u, v in ((dx, dx), (dy, dy), (dx, dy)))
        wide, root = 0.5 * (xx + yy), float(np.hypot(0.5 * (xx - yy), xy))
        if wide - root <= 0:
            return (mx, my, flux, 0.0, 0.0, 0.0, 0.0)
        a, b = np.sqrt(wide + root), np.sqrt(wide - root)
        return (mx, my, flux, FWHM_PER_SIGMA * float(np.sqrt(a * b)), a, b, 0.5 * float(np.arctan2(2 * xy, xx - yy)))


@hookimpl
def lcf_source_extractors() -> dict[str, type]:
    """Offer it as ``[sources] plugin = "plugin_name"``."""
    return {"plugin_name": PluginClass}
