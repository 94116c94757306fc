"""The sky of a frame as a smooth surface on a coarse mesh of boxes, by sep and the means of what no source reaches."""

from __future__ import annotations

import math
from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import true_or_false, whole_number
from lcframework.types import Bools, Floats, UnusableInput
from plugins_builtin.engine.frames.bad_pixels import filled


@attrs.frozen
class SepBackground:
    """Sky from a mesh of boxes: sep's clipped modes, moved to the mean of the pixels that no source reaches.

    The mode is not the mean, which is what lies under a star: photon noise is skewed, and stars' wings are too faint to
    be clipped. Between the boxes' centres the sky is a cubic spline (up to three boxes: a parabola) with the right mean
    in each box. Box values are not median-filtered unless `filter_size` is set: on a mesh as coarse as the default one,
    a 3 x 3 median flattens the centre of a curved sky.
    """

    results_version: ClassVar[int] = 2

    boxes: int = attrs.field(default=3, validator=whole_number(1))  # per side
    mask_sources: bool = attrs.field(default=False, validator=true_or_false)
    filter_size: int = attrs.field(default=1, validator=whole_number(1))  # boxes; 1: no filtering

    def estimate(self, image: Floats, mask: Bools) -> tuple[Floats, float]:
        """Return the sky and the rms of the pixels around it.

        Parameters
        ----------
        image : array (ny, nx)
            Any unit; pixels that are not finite are left out.
        mask : bool array (ny, nx)
            True where a pixel must not be used.

        Returns
        -------
        sky : array (ny, nx)
            In the unit of `image`.
        rms : float
            One sigma of a sky pixel about its neighbours, the median over the boxes.

        Raises
        ------
        UnusableInput
            Where the frame has no usable pixels.
        """
        import sep

        from plugins_builtin.engine.frames.sky_mesh import level_sky

        pixels, bad = prepare(image, mask)
        height, width = (max(1, math.ceil(n / self.boxes)) for n in pixels.shape)
        mesh = sep.Background(pixels, mask=bad, bw=width, bh=height, fw=1, fh=1)
        sky = mesh.back(dtype=pixels.dtype)
        if self.mask_sources:
            bad = bad | _sources(pixels - sky, mesh.globalrms, bad)
            mesh = sep.Background(pixels, mask=bad, bw=width, bh=height, fw=1, fh=1)
            sky = mesh.back(dtype=pixels.dtype)
        if not np.all(np.isfinite(sky)):
            raise UnusableInput("the sky can't be estimated: too few of the frame's pixels are usable; check its mask")
        return level_sky(pixels, bad, sky, float(mesh.globalrms), self.boxes, self.filter_size)


def prepare(image: Floats, mask: Bools) -> tuple[Floats, Bools]:
    """Return an image as sep takes it (native floats, contiguous, finite) and the mask with what was not finite.

    Raises
    ------
    UnusableInput
        Where no pixel is left.
    """
    dtype = np.float32 if image.dtype.itemsize <= 4 and image.dtype.kind == "f" else np.float64
    bad = np.ascontiguousarray(mask | ~np.isfinite(image), dtype=bool)
    if bad.all():
        raise UnusableInput("the frame has no usable pixel: every one is masked or not a number")
    pixels: Floats = np.ascontiguousarray(filled(image, bad), dtype=dtype)
    return pixels if pixels.flags.writeable else pixels.copy(), bad  # sep refuses what can't be written to


def _sources(image: Floats, rms: float, bad: Bools) -> Bools:
    """Return the pixels of sources and of their wings."""
    from scipy.ndimage import binary_dilation, gaussian_filter

    if rms <= 0:
        return np.zeros(image.shape, bool)
    # Smoothing by one pixel lowers the noise of a pixel by sqrt(4 pi): the cut below is 3 sigma of what is left.
    above = gaussian_filter(np.where(bad, 0.0, image), 1.0) > 3.0 * rms / math.sqrt(4.0 * math.pi)
    core = binary_dilation(above & (gaussian_filter(above.astype(np.float32), 1.0) > 0.5), iterations=4)
    # Where sources cover nearly all of a frame, a contaminated estimate is better than none.
    return core if np.mean(core | bad) < 0.8 else np.zeros(image.shape, bool)


@hookimpl
def lcf_background_estimators() -> dict[str, type]:
    """Offer the sky estimator ``sep``."""
    return {"sep": SepBackground}
