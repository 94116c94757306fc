"""Detects sources with sep and measures them with adaptive moments."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import positive, positive_or_auto, within
from lcframework.types import FWHM_PER_SIGMA, SOURCES, Bools, Floats, Ints, SourceTable, UnusableInput
from plugins_builtin.engine.frames.bad_pixels import filled
from plugins_builtin.engine.frames.detection_limits import HIGHEST, SMOOTHED_AREA, least_area, threshold
from plugins_builtin.engine.frames.focus import smoothed, smoothing_width
from plugins_builtin.engine.frames.moments import Moments, adaptive_moments, stamps_at, width_factor
from plugins_builtin.shared.sharpness import sharpest_star

#: Bits of ``flags`` beyond sep's own (1 merged, 2 truncated by the edge, 4 deblending overflow, 8 singular).
MASKED_CORE = 32  # a masked pixel within the core
UNMEASURED = 64  # the moments did not converge: position and shape are those of the detection isophote
TOO_SHARP = 128  # narrower than any star of the frame: a hot pixel or a cosmic ray
EMPTY_APERTURE = 256  # flux not positive

#: Bridging masked pixels: the Gaussian's sigma and where it ends, pixels.
_WIDTH, _REACH = 1.5, 5
_FEW = 0.02  # of a frame's pixels; up to that many are bridged one by one
_CHUNK = 4096  # pixels a pass, which bounds the memory
_ENOUGH = 5  # fewest sources that show how sharp a frame's stars are
#: The pixel alone gives a point 0.7 pixels of FWHM, 0.9 with what else blurs: what is sharper is one pixel's doing.
_NO_STAR = 0.9
#: How wide stars are is seen by so many bright sources, sigma and pixels; where too few are, this is taken.
_BRIGHT, _BRIGHT_AREA, _BRIGHTEST, _UNKNOWN = 6.0, 3, 100, 3.0
#: The contrast that splits nothing; and by how much smaller it is in a smoothed frame, where no star has pieces and
#: most may be connected.
_WHOLE, _SMOOTHED_CONTRAST = 1.0, 0.1


@attrs.frozen
class SepSources:
    """Connected pixels above a threshold, split where they have several peaks.

    Masked pixels are bridged from their neighbours for the detection, so that a star with a saturated core stays one
    source; it carries a flag.
    """

    results_version: ClassVar[int] = 5

    threshold: float | str = attrs.field(default="auto", validator=positive_or_auto)  # sigma
    min_area: int | str = attrs.field(default="auto", validator=positive_or_auto)  # pixels
    deblend_contrast: float = attrs.field(  # of the parent's flux
        default=0.005, validator=within(0.0, 1.0, "0: split all; 1: split nothing")
    )
    aperture: float = attrs.field(default=1.5, validator=positive)  # radius of the flux aperture, median FWHMs

    def extract(self, image: Floats, variance: Floats, mask: Bools) -> SourceTable:
        """Return the sources of a sky-subtracted image, brightest first.

        Parameters
        ----------
        image, variance : array (ny, nx)
            e-/s and its square; pixels that are not finite are left out.
        mask : bool array (ny, nx)
            True where a pixel must not be used.

        Returns
        -------
        astropy.table.Table
            As :data:`~lcframework.types.SOURCES` says. Positions and shapes are those of the best-fitting elliptical
            Gaussian; the FWHM is scaled to that of the profile that the frame's bright sources share (the pixel's own
            width is part of it).

        Raises
        ------
        UnusableInput
            Where the frame has no usable pixel, or so many connected pixels above the threshold that sep gives up.
        """
        import sep

        bad = np.ascontiguousarray(mask | ~np.isfinite(image) | ~np.isfinite(variance) | (variance <= 0))
        if bad.all():
            raise UnusableInput(
                "no pixel of the frame can be searched for sources: every one is masked or not a number"
            )
        pixels, unreachable = _bridge(image, bad)
        noise = np.ascontiguousarray(np.sqrt(filled(variance, bad)))
        sigma, area, blur = self._limits(pixels, noise, unreachable)
        light, rms = smoothed(pixels, noise, blur) if blur else (pixels, noise)
        contrast = (_SMOOTHED_CONTRAST if blur else 1.0) * self.deblend_contrast
        found = self._detect(light, rms, unreachable, sigma, area, contrast)
        if len(found) == 0:
            return _table({c.name: np.zeros(0) for c in SOURCES.columns})
        shape = _measure(pixels, found)
        x, y, a, b, theta, converged = shape.x, shape.y, shape.a, shape.b, shape.theta, shape.converged
        fwhm = FWHM_PER_SIGMA * np.sqrt(0.5 * (a**2 + b**2)) * width_factor(pixels, noise, bad, shape)
        typical = float(np.median(fwhm[converged])) if converged.any() else float(np.median(fwhm))
        # A saturated core is bridged by less light than was there: such a star is wider than it was.
        whole = converged & ~_touches(bad, x, y, max(1.0, 0.5 * typical))
        whole &= fwhm >= _NO_STAR
        if np.count_nonzero(whole) >= _ENOUGH:
            typical = float(np.median(fwhm[whole]))
        else:
            whole = converged
        flux, _, _ = sep.sum_circle(pixels, x, y, max(1.5, self.aperture * typical), mask=unreachable, subpix=5)
        flags = (found["flag"] & 15).astype(int)
        flags[_touches(bad, x, y, max(1.0, 0.5 * typical))] |= MASKED_CORE
        flags[~converged] |= UNMEASURED
        if np.count_nonzero(whole) >= _ENOUGH:
            flags[converged & (fwhm < sharpest_star(fwhm[whole], flux[whole]))] |= TOO_SHARP
        flags[converged & (fwhm < _NO_STAR)] |= TOO_SHARP
        flags[~(flux > 0)] |= EMPTY_APERTURE
        columns = {"x": x, "y": y, "flux": flux, "fwhm": fwhm, "a": a, "b": b, "theta": theta, "flags": flags}
        order = np.argsort(-flux, kind="stable")
        return _table({name: values[order] for name, values in columns.items()})

    def _limits(self, pixels: Floats, noise: Floats, mask: Bools) -> tuple[float, int, float]:
        """Return threshold and area: as set, or by the width of the frame's bright stars.

        The last value is by how much the frame is smoothed before, for stars out of focus.
        """
        if not isinstance(self.threshold, str) and not isinstance(self.min_area, str):
            return self.threshold, self.min_area, 0.0
        bright = self._detect(pixels, noise, mask, _BRIGHT, _BRIGHT_AREA, _WHOLE)
        bright = bright[np.argsort(-bright["flux"], kind="stable")[:_BRIGHTEST]]
        width, blur = np.zeros(0), 0.0
        if len(bright):
            shape = _measure(pixels, bright)
            fwhm = FWHM_PER_SIGMA * np.sqrt(0.5 * (shape.a**2 + shape.b**2))
            blur = smoothing_width(
                bright["npix"], bright["peak"] / bright["thresh"], np.where(shape.converged, fwhm, np.nan)
            )
            width = fwhm[shape.converged & (fwhm >= _NO_STAR)]
        seeing = float(np.median(width)) if len(width) >= _ENOUGH else _UNKNOWN
        area = (SMOOTHED_AREA if blur else least_area(seeing)) if isinstance(self.min_area, str) else self.min_area
        if not isinstance(self.threshold, str):
            return self.threshold, area, blur
        return HIGHEST if blur else threshold(area), area, blur

    def _detect(self, pixels: Floats, noise: Floats, mask: Bools, sigma: float, area: int, contrast: float) -> Any:
        """Run sep, again with a larger buffer or without deblending where it fails for want of these."""
        import sep

        stack = 300_000
        sep.set_sub_object_limit(4096)
        while True:
            sep.set_extract_pixstack(stack)
            try:
                return sep.extract(pixels, sigma, err=noise, mask=mask, minarea=int(area), deblend_cont=contrast)
            except Exception as error:  # sep raises bare Exceptions
                if "pixel buffer" in str(error) and stack < 2 * pixels.size:
                    stack = min(10 * stack, 2 * pixels.size)
                elif "deblending" in str(error) and contrast < _WHOLE:
                    contrast = _WHOLE
                else:
                    raise UnusableInput(
                        f"sources can't be extracted: sep says {error!s}; a higher [sources.sep] threshold (now "
                        f"{sigma:g} sigma) or a better sky ([background.sep] boxes) usually helps"
                    ) from error


def _bridge(image: Floats, bad: Bools) -> tuple[Floats, Bools]:
    """Fill small masked areas with Gaussian means of their surroundings; returns the pixels that stay unknown too."""
    single = image.dtype.kind == "f" and image.dtype.itemsize <= 4  # sep is quicker with it
    pixels: Floats = np.ascontiguousarray(np.where(bad, 0.0, image), dtype=np.float32 if single else np.float64)
    y, x = np.nonzero(bad)
    if len(y) == 0:
        return pixels, bad
    total, weight = (_means if len(y) < _FEW * bad.size else _means_by_filtering)(pixels, bad, y, x)
    near = weight > 0.05
    pixels[y[near], x[near]] = total[near] / weight[near]
    left = np.zeros(bad.shape, bool)
    left[y[~near], x[~near]] = True
    return pixels, left


def _means(pixels: Floats, bad: Bools, y: Ints, x: Ints) -> tuple[Floats, Floats]:
    """Return the Gaussian-weighted sums of the good pixels around each position, and of their weights."""
    steps = np.arange(-_REACH, _REACH + 1)
    profile = np.exp(-0.5 * (steps / _WIDTH) ** 2)
    profile /= profile.sum()
    kernel = np.outer(profile, profile)
    good = ~bad
    total, weight = np.empty(len(y)), np.empty(len(y))
    for i in range(0, len(y), _CHUNK):
        part = slice(i, i + _CHUNK)
        total[part] = np.tensordot(stamps_at(pixels, x[part], y[part], _REACH), kernel)  # bad pixels are 0
        weight[part] = np.tensordot(stamps_at(good, x[part], y[part], _REACH), kernel)
    return total, weight


def _means_by_filtering(pixels: Floats, bad: Bools, y: Ints, x: Ints) -> tuple[Floats, Floats]:
    """Return what :func:`_means` does; quicker where many pixels are bad."""
    from scipy.ndimage import gaussian_filter

    options: dict[str, Any] = {"sigma": _WIDTH, "mode": "constant", "radius": _REACH}
    return gaussian_filter(pixels, **options)[y, x], gaussian_filter((~bad).astype(np.float64), **options)[y, x]


def _measure(pixels: Floats, found: Any) -> Moments:
    """Return positions and shapes by adaptive moments; those of the isophote where the moments fail."""
    half = int(np.clip(np.ceil(4.5 * np.median(found["a"])), 4, 25))
    shape = adaptive_moments(pixels, found["x"], found["y"], 0.5 * (found["a"] + found["b"]), half)
    # In a blend the moments may move to the brighter neighbour, and describe another source.
    good = shape.converged & (np.hypot(shape.x - found["x"], shape.y - found["y"]) < np.maximum(1.0, found["a"]))

    def pick(name: str) -> Floats:
        return np.asarray(np.where(good, getattr(shape, name), found[name]))

    return Moments(pick("x"), pick("y"), pick("a"), pick("b"), pick("theta"), good)


def _touches(bad: Bools, x: Floats, y: Floats, radius: float) -> Bools:
    """Return whether a masked pixel lies within `radius` of each position, rounded to a pixel."""
    reach = int(radius)
    steps = np.arange(-reach, reach + 1)
    disk = np.hypot(steps[:, None], steps) <= radius
    ix = np.clip(np.rint(x).astype(int), 0, bad.shape[1] - 1)
    iy = np.clip(np.rint(y).astype(int), 0, bad.shape[0] - 1)
    return np.asarray((stamps_at(bad, ix, iy, reach) & disk).any(axis=(1, 2)))


def _table(columns: dict[str, Any]) -> SourceTable:
    from astropy.table import Table

    table = Table(columns)
    for column in SOURCES.columns:
        if column.unit:
            table[column.name].unit = column.unit
    table["flags"] = table["flags"].astype(int)
    return SOURCES.check(table, "sep")


@hookimpl
def lcf_source_extractors() -> dict[str, type]:
    """Offer the source extractor ``sep``."""
    return {"sep": SepSources}
