"""The light of point sources in discs, as total fluxes.

With w the weights of the pixels in a disc (1 inside, 0 outside, a pixel wide edge), N pixels of sky around it and S the
sum of w, ``g = w - S/N`` on the sky's pixels and w on the disc's is a sum in which a constant sky has none. The flux is
``sum(g d) / sum(g T)`` over usable pixels, d the data and T the PSF's image of a source of unit flux at the same place,
on the same pixels. So the denominator is the growth curve of the frame's own PSF at the disc's radius and the source's
place within its pixel, less what wings leave in the sky, less what unusable pixels would hold: these are filled by the
PSF, scaled to the light in the rest of the disc. Fluxes are total ones, as far as the PSF's image reaches.

The PSF decides nothing else but where the disc lies, and which pixels a cosmic ray hit (:mod:`.clipped_fit`).
"""

from __future__ import annotations

import attrs
import numpy as np
import scipy  # its subpackages load when they are first used
from jaxtyping import Bool, Float

from lcframework.types import Bools, Discs, FitState, FitStatus, Floats
from plugins_builtin.engine.misfit import misfit_of_stamps
from plugins_builtin.engine.residual_light import apertures
from plugins_builtin.engine.robust import masked_median, masked_scale
from plugins_builtin.engine.stars.clipped_fit import fit_with_clipping, masked
from plugins_builtin.engine.stars.point_notes import notes_on_point
from plugins_builtin.engine.stars.point_source_fit import PointSourceFit, PointSourceStamps, SourceImages
from plugins_builtin.engine.stars.psf_width import fwhm_on_pixels

#: Of a disc's light, at least this share must fall on usable pixels: a PSF is good to some percent in what it fills.
LEAST_SHARE = 0.8
#: Of a disc's area, at least this share must lie in the stamp.
_LEAST_INSIDE = 0.9
#: The sky is measured on at least so many pixels, and on this share of the disc's number.
_FEWEST_SKY, _SKY_SHARE = 20, 0.2
#: Between a disc and its sky, pixels: the width of the disc's edge.
_GAP = 1.0
#: The sky's pixels beyond so many of their scatters about the median are left out, in so many rounds.
_SKY_CLIP, _SKY_ROUNDS = 3.0, 3


@attrs.frozen(eq=False)
class DiscLight:
    """The sources of stamps, measured in discs."""

    flux: Float[Floats, " n"]  # total
    position: Float[Floats, "n 2"]  # from the stamps' centres, pixels
    covariance: Float[Floats, "n 3 3"]  # of flux, x, y
    sky: Float[Floats, " n"]
    image: Float[Floats, "n ny nx"]  # of a source of unit flux
    weighting: Float[Floats, "n ny nx"]  # the flux is the sum of the data times these
    variance: Float[Floats, "n ny nx"]  # of the pixels; 1 where they are not used
    residual: Float[Floats, "n ny nx"]  # data less source and sky; 0 where they are not used
    outliers: Bool[Bools, "n ny nx"]
    reduced_chi2: Float[Floats, " n"]
    status: tuple[FitStatus, ...]
    psf_flux: Float[Floats, " n"]  # the PSF's fit to the same pixels
    psf_variance: Float[Floats, " n"]

    @property
    def model(self) -> Float[Floats, "n ny nx"]:
        """The images of sources and sky."""
        return self.flux[:, None, None] * self.image + self.sky[:, None, None]


def measure_discs(stamps: PointSourceStamps, discs: Discs, no_sky: Bool[Bools, "n ny nx"] | None = None) -> DiscLight:
    """Measure the source of each stamp in a disc.

    Parameters
    ----------
    stamps : PointSourceStamps
        With a pedestal: discs are measured above a sky of their own.
    discs : Discs
        How they lie.
    no_sky : (n, ny, nx) bool array, optional
        Pixels that are no sky, such as those in other sources' discs.

    Returns
    -------
    DiscLight
        The status says where a source can't be measured, and why.
    """
    fit, outliers = fit_with_clipping(stamps, discs.clip)
    if stamps.photon_variance.any():
        stamps = stamps.reweighted(fit.model)
        fit, outliers = fit_with_clipping(stamps, discs.clip, fit.position, outliers)
    position = fit.position if discs.recentred else stamps.expected.copy()
    images = fit.images if discs.recentred else stamps.images(position)
    good = masked(stamps, outliers).weight > 0
    variance = 1.0 / np.where(stamps.weight > 0, stamps.weight, 1.0)
    fwhm = fwhm_on_pixels(stamps.kernels, stamps.subsampling, stamps.fwhm)
    radius = discs.radius * fwhm
    disc = apertures(position, (good.shape[1], good.shape[2]), radius[:, None, None])
    ring = good & _ring(position, stamps, radius, discs.sky[0] * fwhm, discs.sky[1] * fwhm)
    if no_sky is not None:
        ring &= ~no_sky
    ring, excess = _clean_sky(stamps.data - fit.flux[:, None, None] * images.value, variance, ring)
    inside = np.where(good, disc, 0.0)
    share = inside.sum(axis=(1, 2)) / np.maximum(ring.sum(axis=(1, 2)), 1)  # of the disc's pixels for one of the sky's
    weighting = inside - np.where(ring, share[:, None, None], 0.0)
    growth = np.einsum("nij,nij->n", weighting, images.value)
    weighting /= np.where(growth > 0, growth, np.inf)[:, None, None]
    flux = np.einsum("nij,nij->n", weighting, stamps.data)
    source = flux[:, None, None] * images.value
    sky = np.sum(np.where(ring, stamps.data - source, 0.0), axis=(1, 2)) / np.maximum(ring.sum(axis=(1, 2)), 1)
    left = np.where(good, stamps.data - source - sky[:, None, None], 0.0)
    chi2 = np.sum(left**2 / variance, axis=(1, 2)) / np.maximum(good.sum(axis=(1, 2)) - 4, 1)
    noise = np.where(ring, excess[:, None, None], 1.0) * variance
    filled = np.where(good, 0.0, disc) * misfit_of_stamps(stamps.misfit, position, good.shape[1:]) * flux[:, None, None]
    of_flux = np.einsum("nij,nij,nij->n", weighting, weighting, noise)
    of_flux += np.einsum("nij,nij->n", filled, filled) / np.where(growth > 0, growth, np.inf) ** 2
    of_fit = fit.covariance()
    status = tuple(
        _status(stamps, fit, discs, i, radius[i], disc[i], inside[i], images.value[i], int(ring[i].sum()), chi2[i])
        for i in range(len(stamps))
    )
    return DiscLight(
        flux=flux,
        position=position,
        covariance=_covariance(discs, of_flux, of_fit, flux, images, weighting),
        sky=sky,
        image=images.value,
        weighting=weighting,
        variance=variance,
        residual=left,
        outliers=outliers,
        reduced_chi2=chi2,
        status=status,
        psf_flux=fit.flux - fit.flux_bias(np.where(good, stamps.weight, 0.0)),
        psf_variance=of_fit[:, 0, 0],
    )


def _ring(
    position: Float[Floats, "n 2"],
    stamps: PointSourceStamps,
    radius: Float[Floats, " n"],
    inner: Float[Floats, " n"],
    outer: Float[Floats, " n"],
) -> Bool[Bools, "n ny nx"]:
    """Return the pixels around discs in which the sky is looked for: none that the PSF's image does not reach.

    Radii are in pixels; an `outer` of 0 is no bound.
    """
    ny, nx = stamps.data.shape[1:]
    x = np.arange(nx) - 0.5 * (nx - 1) - position[:, 0, None]
    y = np.arange(ny) - 0.5 * (ny - 1) - position[:, 1, None]
    distance = np.hypot(x[:, None, :], y[:, :, None])
    # Beyond its support a PSF says nothing of its wings; a region's stamp may be larger than that of a star.
    reach = [0.5 * m / stamps.subsampling + 0.5 for m in stamps.kernels.shape[1:]]
    known = (np.abs(y) <= reach[0])[:, :, None] & (np.abs(x) <= reach[1])[:, None, :]
    begin = np.maximum(inner, radius + 0.5 + _GAP)
    end = np.where(outer > 0, outer, np.inf)
    return np.asarray(known & (distance >= begin[:, None, None]) & (distance <= end[:, None, None]))


def _clean_sky(
    residual: Float[Floats, "n ny nx"], variance: Float[Floats, "n ny nx"], ring: Bool[Bools, "n ny nx"]
) -> tuple[Bool[Bools, "n ny nx"], Float[Floats, " n"]]:
    """Return the sky's pixels without those that stand out, and by what factor they scatter more than their noise.

    Sums of 3 x 3 pixels show stars that single pixels don't. The factor, of the variance, is 1 where chance explains
    the scatter.
    """
    for _ in range(_SKY_ROUNDS):
        for width in (1, 3):
            light, noise = (_summed(np.where(ring, image, 0.0), width) for image in (residual, variance))
            deviation = np.where(ring, light / np.sqrt(np.where(noise > 0, noise, 1.0)), 0.0)
            # A level makes large sums deviate more than small ones, so that it is taken off in units of a pixel's.
            pixels = _summed(ring.astype(float), width) / np.sqrt(np.where(noise > 0, noise, 1.0))
            level = np.where(ring, light / np.where(ring, _summed(ring.astype(float), width), 1.0), 0.0)
            deviation -= pixels * _median(level, ring)[:, None, None]
            scale = _scatter(deviation, ring)
            ring = ring & (np.abs(deviation) < _SKY_CLIP * np.maximum(scale, 1.0)[:, None, None])
    middle = _median(residual, ring)[:, None, None]
    scale = _scatter((residual - middle) / np.sqrt(variance), ring)
    # The standard error of a scatter by the median absolute deviation is 1.17 / sqrt(count), relative.
    chance = 1.0 + 3.0 * 1.17 / np.sqrt(np.maximum(ring.sum(axis=(1, 2)), 1))
    return ring, np.where(scale > chance, scale**2, 1.0)


def _summed(images: Float[Floats, "n ny nx"], width: int) -> Float[Floats, "n ny nx"]:
    """Return the sums of squares of pixels."""
    return images if width == 1 else np.asarray(width**2 * scipy.ndimage.uniform_filter(images, (1, width, width)))


def _median(images: Float[Floats, "n ny nx"], used: Bool[Bools, "n ny nx"]) -> Float[Floats, " n"]:
    n = len(images)
    return np.nan_to_num(masked_median(images.reshape(n, -1), used.reshape(n, -1), axis=1))


def _scatter(images: Float[Floats, "n ny nx"], used: Bool[Bools, "n ny nx"]) -> Float[Floats, " n"]:
    n = len(images)
    return np.nan_to_num(masked_scale(images.reshape(n, -1), used.reshape(n, -1), axis=1), nan=1.0)


def _covariance(
    discs: Discs,
    of_flux: Float[Floats, " n"],
    of_fit: Float[Floats, "n 4 4"],
    flux: Float[Floats, " n"],
    images: SourceImages,
    weighting: Float[Floats, "n ny nx"],
) -> Float[Floats, "n 3 3"]:
    """Return the covariance of flux, x and y; a disc at the expected place has the prior's error of its position."""
    out = np.zeros((len(flux), 3, 3))
    out[:, 0, 0] = of_flux
    if not discs.recentred:
        out[:, [1, 2], [1, 2]] = discs.position_prior**2
        return out
    f = flux[:, None, None]
    slopes = np.stack([images.value, f * images.by_x, f * images.by_y, np.ones_like(images.value)], axis=1)
    sums = np.einsum("nij,naij->na", weighting, slopes)
    with np.errstate(invalid="ignore"):
        out[:, 0, 1:] = out[:, 1:, 0] = np.einsum("nab,nb->na", of_fit[:, 1:3], sums)
    out[:, 1:, 1:] = of_fit[:, 1:3, 1:3]
    return out


def _status(
    stamps: PointSourceStamps, fit: PointSourceFit, discs: Discs, i: int, radius: float, disc: Floats, inside: Floats,
    image: Floats, sky: int, chi2: float,
) -> FitStatus:  # fmt: skip
    """Return whether a source can be measured, and what is unusual about it."""
    evaluations = int(fit.evaluations[i])

    def failed(reason: str) -> FitStatus:
        return FitStatus(FitState.FAILED, evaluations, reason)

    size = min(disc.shape)
    which = f"the disc of {discs.radius:g} FWHM, {radius:.1f} pixels,"
    light = float(np.sum(disc * image))
    share = float(np.sum(inside * image)) / light if light > 0 else 0.0
    if not radius > 0:
        return failed("its PSF kernel is not finite, or empty")
    if 2 * radius > size:
        return failed(f"{which} does not fit in a stamp of {size} pixels: enlarge [stamps], or make the radius smaller")
    if disc.sum() < _LEAST_INSIDE * np.pi * radius**2:
        return failed(f"{which} reaches beyond the stamp")
    if share < LEAST_SHARE:
        return failed(f"only {share:.0%} of the light in {which} falls on usable pixels")
    if sky < max(_FEWEST_SKY, _SKY_SHARE * disc.sum()):
        return failed(f"only {sky} usable pixels of sky are left around {which} in a stamp of {size}: enlarge [stamps]")
    away = float(np.hypot(*(fit.position[i] - stamps.expected[i])))
    return FitStatus(FitState.CONVERGED, evaluations, "; ".join(notes_on_point("it", away, stamps.prior, chi2)))
