"""What held-out stars say of a frame: its PSF, its transparency, and where the sky lies in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from lcframework.frames.stamping import psf_area
from lcframework.injections.drawing_psf import REACH, DrawingPsf, StarFit, StarImage, fit_drawing_psf, measure
from lcframework.injections.response import Response
from lcframework.injections.transparency import Transparency, measure_transparency
from lcframework.roi.registration import Registration, register
from lcframework.types import Bools, Floats, Ints, UnusableInput

#: Fewer stars than this show no PSF.
FEWEST = 3
#: How far a neighbour reaches: where a Moffat profile of exponent 2.5 falls to a level, it is this many FWHM from its
#: centre for a peak of that level, and grows with the fifth root of the peak.
_REACH_OF_LEVEL, _ROOT = 0.9, 0.2
#: A neighbour's light is left aside where it exceeds this many times the noise of the sky.
_NEIGHBOUR_LEVEL = 0.5


@attrs.frozen(eq=False)
class FramePixels:
    """An imported frame.

    Attributes
    ----------
    image, flags : (ny, nx) arrays
        e-/s without the sky; PixelFlag bits.
    x, y, peak : (n,) arrays
        Its sources: where they are, and about how high, e-/s.
    rms : float
        Of the sky, e-/s.
    exptime : float
        s.
    fwhm : float
        Pixels.
    """

    image: Floats
    flags: Ints
    x: Floats
    y: Floats
    peak: Floats
    rms: float
    exptime: float
    fwhm: float


@attrs.frozen(eq=False)
class HeldOutStars:
    """Stars that take no part in the measuring: (n,) places expected from the WCS, pixels, and levels.

    A level is the star's mean flux as light curves give it, e-/s at the common scale, and `response` is that of the
    detector, by which these are corrected. `names` identify the stars, and `slopes` says how much the transparency
    varies over frames like this one, see :func:`lcframework.injections.transparency.measure_transparency`.
    """

    x: Floats
    y: Floats
    level: Floats
    response: Response
    names: tuple[str, ...] = ()
    slopes: float = 0.0


@attrs.frozen(eq=False)
class StarLight:
    """What the stars say of a frame.

    Attributes
    ----------
    psf : DrawingPsf
        To draw with.
    transparency : Transparency
        Of e-/s in the frame as `psf` counts them.
    response : Response
        Of the detector, beside it.
    registration : Registration
        Where the sky lies, about the frame's centre.
    ratios : mapping
        By the stars' names: flux over level and the transparency there, and its relative error by the noise.
    """

    psf: DrawingPsf
    transparency: Transparency
    response: Response
    registration: Registration
    ratios: Mapping[str, tuple[float, float]] = attrs.field(factory=dict)

    def share(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return e-/s at places in the frame (n,) of a source of 1 e-/s in the light curve, and its relative error."""
        transparency, error = self.transparency.at(x, y)
        return transparency * self.response.at(x, y), error

    def places(self, x: Floats, y: Floats) -> Floats:
        """Return where in the frame (n, 2) lies what the WCS expects at (x, y)."""
        expected = np.stack([x, y], axis=1)
        r = self.registration
        return np.asarray(expected + r.offset + (expected - _centre(self.psf.frame)) @ r.map.T)


def lights_of(sources: Any) -> tuple[Floats, Floats, Floats]:
    """Return where the sources of a frame's table are, pixels, and about how high they peak, e-/s: (n,) each."""
    x, y, flux, a, b = (np.asarray(sources[name], float) for name in ("x", "y", "flux", "a", "b"))
    return x, y, flux / (2 * np.pi * np.maximum(np.nan_to_num(a * b, nan=1.0), 0.3))


def reach_of(peak: Floats, level: float, fwhm: float) -> Floats:
    """Return how far, in pixels, the light of sources exceeds a level in e-/s a pixel; at least 1.5 FWHM."""
    ratio = np.maximum(np.nan_to_num(peak) / level, 1.0)
    return np.asarray(fwhm * np.maximum(1.5, _REACH_OF_LEVEL * ratio**_ROOT))


def star_light(frame: FramePixels, stars: HeldOutStars) -> StarLight:
    """Return what held-out stars say of a frame.

    Raises
    ------
    UnusableInput
        Where too few of them show in it.
    """
    ny, nx = frame.image.shape
    images = [star_image(frame, x, y) for x, y in zip(stars.x, stars.y, strict=True)]
    bright = [image for image in images if image is not None and _signal(image, frame) > 20]
    psf = fit_drawing_psf(bright, (ny, nx), frame.fwhm) if len(bright) >= FEWEST else None
    if psf is None:
        raise UnusableInput(
            f"{len(bright)} of its {len(stars.x)} held-out stars show a PSF to draw with; at least {FEWEST} must"
        )
    fits = [measure(psf, image) if image is not None else None for image in images]
    found = [i for i, fit in enumerate(fits) if fit is not None]
    measured: list[StarFit] = [fit for fit in fits if fit is not None]
    places = np.array([(fit.x, fit.y) for fit in measured]).reshape(-1, 2)
    level = stars.level[found] * stars.response.at(*places.T)
    transparency = measure_transparency(measured, level, (ny, nx), stars.slopes)
    expected = np.stack([stars.x[found], stars.y[found]], axis=1)
    spread = np.array([psf.fwhm * fit.error / fit.flux for fit in measured])
    registration = register(expected, places, np.stack([spread, spread], axis=1), _centre((ny, nx)))
    usual, _ = transparency.at(*places.T)
    ratios = {
        stars.names[i]: (fit.flux / own / there, fit.error / fit.flux)
        for i, fit, own, there in zip(found, measured, level.tolist(), usual.tolist(), strict=True)
        if stars.names and own > 0
    }
    return StarLight(psf, transparency, stars.response, registration, ratios)


def _centre(frame: tuple[int, int]) -> Floats:
    ny, nx = frame
    return np.array([(nx - 1) / 2, (ny - 1) / 2])


def star_image(frame: FramePixels, x: float, y: float) -> StarImage | None:
    """Return the pixels around a star, those of its neighbours left aside; None where its core is not whole."""
    ny, nx = frame.image.shape
    half = int(np.ceil(REACH * frame.fwhm)) + 1
    i, j = round(float(x)), round(float(y))
    if not (half <= i < nx - half and half <= j < ny - half):
        return None
    box = (slice(j - half, j + half + 1), slice(i - half, i + half + 1))
    data, used = frame.image[box].astype(float), frame.flags[box] == 0
    rows, columns = np.indices(data.shape)
    rows, columns = rows + j - half, columns + i - half
    own = np.hypot(frame.x - x, frame.y - y) < max(3.0, frame.fwhm)
    reach = reach_of(frame.peak, _NEIGHBOUR_LEVEL * frame.rms, frame.fwhm)
    near = ~own & (np.hypot(frame.x - x, frame.y - y) < reach + 1.5 * half)
    for k in np.flatnonzero(near).tolist():
        used &= np.hypot(columns - frame.x[k], rows - frame.y[k]) > reach[k]
    core: Bools = np.hypot(columns - x, rows - y) < frame.fwhm
    if not used[core].all():
        return None
    variance = frame.rms**2 + np.maximum(data, 0) / frame.exptime
    return StarImage(data, variance, used, (i - half, j - half), (float(x), float(y)))


def _signal(image: StarImage, frame: FramePixels) -> float:
    """Return about the signal-to-noise of a star."""
    light = float(np.where(image.used, image.data, 0).sum())
    return light / float(np.sqrt(psf_area(frame.fwhm) * frame.rms**2 + max(light, 0) / frame.exptime))
