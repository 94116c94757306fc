"""What speaks against the model of a region: its fit's end, its chi2, and light that it does not hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lcframework.roi.light_curves import HIGH_CHI2
from lcframework.roi.unnamed_sources import unnamed_sources
from lcframework.sky.geometry import from_plane
from lcframework.types import FWHM_PER_SIGMA, Bools, Cutouts, Doubt, FitState, Floats, RoiFit, Severity

#: From this median reduced chi2 on, residuals are larger than the errors of fluxes allow for.
_SERIOUS_CHI2 = 3.0
#: Single epochs are told where their reduced chi2 is so many times that of the others.
_MUCH_WORSE = 3.0
#: Light without a source counts from this significance in the mean residual on, ...
_SIGNIFICANT = 10.0
#: ... and from this share of the brightest source's flux: residuals of a bright source's PSF are no source.
_SHARE = 0.05


def model_doubts(
    roi: str,
    group: str,
    sources: Sequence[str],
    cutouts: Cutouts,
    fit: RoiFit,
    place: tuple[float, float] | None = None,
) -> Iterator[Doubt]:
    """Yield what speaks against the fit of a region.

    Parameters
    ----------
    roi : str
        The region.
    group : str
        The region, instrument and band, for messages.
    sources : sequence of str
        The names of the point sources.
    cutouts : Cutouts
        What was fitted.
    fit : RoiFit
        The fit.
    place : (float, float), optional
        The region's position, degrees; None where it moves.
    """
    if fit.status.state is not FitState.CONVERGED:
        yield Doubt(
            "fit_not_converged",
            f"the fit of {group} is {fit.status.state.value}: {fit.status.reason or 'its fluxes may still change'}",
            "Raise the fit's iterations in [roi_model], or look at the residuals in the report",
            subject=group,
        )
    chi2 = float(np.nanmedian(fit.reduced_chi2))
    psf_alone = not cutouts.aperture and cutouts.estimators is None and cutouts.discs is None
    if chi2 > HIGH_CHI2:
        yield Doubt(
            "poor_fit",
            f"the model of {group} does not describe its pixels: the median reduced chi2 is {chi2:.2f}",
            f"Look at the residuals in the report: a source, a galaxy or a neighbour may be missing in [roi.{roi}]",
            # With an aperture or discs, light that the PSF misses is measured all the same.
            severity=Severity.SERIOUS if chi2 > _SERIOUS_CHI2 and psf_alone else Severity.DOUBT,
            value=chi2, subject=group,
        )  # fmt: skip
    else:
        yield from _poor_epochs(fit.reduced_chi2, group)
    for name, flux in zip(sources, fit.flux.T, strict=True):
        hidden = int((~np.isfinite(flux)).sum())
        if hidden:
            yield Doubt(
                "source_hidden",
                f"{name} has no flux in {hidden} of {len(flux)} epochs of {group}: its core is masked there",
                "Look at the cutouts in the report: it may be saturated, beyond the frame's edge, or on a bad line",
                severity=Severity.NOTE, value=hidden, subject=name,
            )  # fmt: skip
    found = unmodelled_source(cutouts, fit)
    if found is not None:
        offset, share = found
        away = float(np.hypot(*offset))
        yield Doubt(
            "unmodelled_source",
            f"the residuals of {group} show a source that no model holds, {_where(offset, place)}, of {_times(share)} "
            "the brightest flux",
            f"Add it to [roi.{roi}.point_sources], or correct the position of one",
            severity=Severity.SERIOUS if share > 0.5 else Severity.DOUBT, value=away, subject=group,
        )  # fmt: skip

    unnamed = unnamed_sources(cutouts, fit)
    if unnamed:
        each = "; ".join(
            f"{_where(source.offset, place)}, of about {source.flux:.3g} e-/s, {_times(source.share)} the brightest"
            for source in unnamed
        )
        yield Doubt(
            "unnamed_source",
            f"the image of extended light of {group} is as narrow as a point source in {len(unnamed)} "
            f"{'place' if len(unnamed) == 1 else 'places'}: {each}",
            f"If it is one, add it to [roi.{roi}.point_sources]: until then its light is taken for a galaxy's, and "
            "its changes go into the named sources. A galaxy's nucleus can look like this too",
            severity=Severity.SERIOUS if unnamed[0].share > 0.5 else Severity.DOUBT,
            value=float(np.hypot(*unnamed[0].offset)), subject=group,
        )  # fmt: skip


def _poor_epochs(chi2: Floats, group: str) -> Iterator[Doubt]:
    """Yield that single epochs are described far worse than the others."""
    limit = max(_MUCH_WORSE * float(np.nanmedian(chi2)), HIGH_CHI2)
    number = int(np.count_nonzero(chi2 > limit))
    if number:
        worst = float(np.nanmax(chi2))
        yield Doubt(
            "poor_epochs",
            f"the model of {group} does not describe its pixels in {number} of {len(chi2)} epochs: their reduced chi2 "
            f"is above {limit:.3g}, up to {worst:.3g}",
            "Look at these epochs in the report: a satellite's trail, a ray, or something that moves may lie on the "
            "source; `lcf exclude` leaves a frame out",
            value=worst, subject=group,
        )  # fmt: skip


def _where(offset: Floats, place: tuple[float, float] | None) -> str:
    """Return an offset from a region's position in words, with the position itself where it is known."""
    words = f"{offset[0]:+.2f} arcsec east and {offset[1]:+.2f} arcsec north of the region's position"
    if place is None:
        return words
    ra, dec = from_plane(float(offset[0]), float(offset[1]), *place)
    return f"{words} (RA {float(ra):.6f}, Dec {float(dec):+.6f})"


def _times(share: float) -> str:
    """Return a share in words."""
    return f"{100 * share:.0f} % of" if share < 1 else f"{share:.3g} times"


def unmodelled_source(cutouts: Cutouts, fit: RoiFit) -> tuple[Floats, float] | None:
    """Return where the mean residual of all epochs has a source, and its flux as a share of the brightest one's.

    Residuals are averaged on the sky, on pixels as large as a frame's, and summed in a PSF's effective area; what lies
    within a seeing disk of a fitted source is left out, for there the PSF's own error dominates.

    Returns
    -------
    ((2,) array of arcsec (xi, eta), float), or None where there is none
    """
    scale = 1 / np.sqrt(abs(np.linalg.det(cutouts.transform[:, :, :2]))).mean()  # arcsec a pixel
    seeing = float(np.nanmedian(cutouts.seeing)) / scale
    mean, weight = _mean_residual(cutouts, fit, scale)
    if mean.size == 0 or not np.isfinite(seeing):
        return None
    flux, error = _summed(mean, weight, seeing / FWHM_PER_SIGMA)
    n = mean.shape[0]
    yy, xx = (np.mgrid[:n, :n] - (n - 1) / 2) * scale
    near = np.zeros(mean.shape, bool)
    for xi, eta in np.reshape(fit.offset, (-1, 2)):
        near |= np.hypot(xx - xi, yy - eta) < seeing * scale
    usable = (weight > 0) & ~near & np.isfinite(error)
    # The highest of all epochs: a transient is bright in some of them.
    brightest = float(np.nanmax(np.abs(fit.flux))) if np.isfinite(fit.flux).any() else 0.0
    significance = np.where(usable, flux / np.where(usable, error, 1), 0)
    y, x = np.unravel_index(int(np.argmax(significance)), mean.shape)
    if brightest == 0 or significance[y, x] < _SIGNIFICANT or flux[y, x] < _SHARE * brightest:
        return None
    return np.array([xx[y, x], yy[y, x]]), float(flux[y, x] / brightest)


def _mean_residual(cutouts: Cutouts, fit: RoiFit, scale: float) -> tuple[Floats, Floats]:
    """Return the weighted mean residual on the sky (n, n), and the sum of weights; xi grows along x, eta along y."""
    n = cutouts.data.shape[-1]
    total, weight = np.zeros((n, n)), np.zeros((n, n))
    pixel_y, pixel_x = np.mgrid[: cutouts.data.shape[1], : cutouts.data.shape[2]]
    good: Bools = ~(cutouts.mask | fit.outliers) & np.isfinite(fit.model)
    for epoch, transform in enumerate(cutouts.transform):
        at = np.stack([pixel_x, pixel_y], axis=-1)[good[epoch]] - transform[:, 2]
        sky = at @ np.linalg.inv(transform[:, :2]).T / scale + (n - 1) / 2
        x, y = np.rint(sky).astype(int).T
        inside = (x >= 0) & (x < n) & (y >= 0) & (y < n)
        inverse = 1 / np.asarray(cutouts.noise[epoch][good[epoch]], float) ** 2
        residual = (cutouts.data[epoch] - fit.model[epoch])[good[epoch]]
        np.add.at(total, (y[inside], x[inside]), (inverse * residual)[inside])
        np.add.at(weight, (y[inside], x[inside]), inverse[inside])
    return np.divide(total, weight, out=np.zeros_like(total), where=weight > 0), weight


def _summed(mean: Floats, weight: Floats, sigma: float) -> tuple[Floats, Floats]:
    """Return the flux of a Gaussian of this width at each pixel, fitted to a mean residual, and its error."""
    from scipy.ndimage import correlate

    reach = max(1, int(np.ceil(3 * sigma)))
    offset = np.arange(-reach, reach + 1)
    profile = np.exp(-0.5 * (offset[:, None] ** 2 + offset**2) / sigma**2)
    profile /= profile.sum()
    information = correlate(weight, profile**2, mode="constant")
    with np.errstate(divide="ignore", invalid="ignore"):
        return correlate(weight * mean, profile, mode="constant") / information, 1 / np.sqrt(information)
