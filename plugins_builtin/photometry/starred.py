"""The photometry "starred": reference stars as point sources, with the PSFs that STARRED's model makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import positive
from lcframework.types import Bools, FitState, FitStatus, Floats, Kernels, PhotometryResult, Stamps
from plugins_builtin.engine.residual_light import (
    above_surroundings,
    apertures,
    discs_above_sky,
    residual_light,
    residual_lights,
)
from plugins_builtin.engine.stars.chunks import measure_in_chunks
from plugins_builtin.engine.stars.clipped_fit import fit_with_clipping, masked, prepared
from plugins_builtin.engine.stars.faint_source import average_over_positions
from plugins_builtin.engine.stars.point_notes import notes_on_point
from plugins_builtin.engine.stars.point_source_fit import PointSourceFit, PointSourceStamps, fit_point_sources
from plugins_builtin.engine.stars.stamp_outliers import first_outliers, remaining_outliers, transient

if TYPE_CHECKING:
    from plugins_builtin.engine.stars.shared_background import SharedBackground

# Alternations of star and shared background; they have settled when no position moves by this many standard errors.
_JOINT_ROUNDS = 4
_JOINT_TOLERANCE = 0.1
# Of the light's weight (squared image), less than this on good pixels is no measurement of the star.
_LEAST_LIGHT = 0.1
# Signal-to-noise ratio below which fluxes are means over positions.
_FAINT = 6.0


@attrs.frozen
class StarredPhotometry:
    """PSF photometry of stars: flux and position of each stamp, with their full covariance.

    Where the star is too faint to fix its own position, a Gaussian prior about the expected one does; fluxes are
    corrected for the bias that fitting the position brings. With `Stamps.aperture`, what the PSF leaves within that
    radius is added to them. The star's photon noise is that of its model, where `Stamps.photon_variance` says what the
    noise map holds of it. Pixels that do not fit the star are masked and the fit is repeated.
    """

    results_version: ClassVar[int] = 5
    apertures: ClassVar[bool] = True

    background_per_epoch: bool = False  # fit a constant a stamp, e-/s a pixel
    starlet_background: bool = False  # fit an image around the star that all its epochs share
    position_prior: float = attrs.field(default=1.0, validator=positive)  # pixels; about the expected position
    sigma_clip: float = attrs.field(default=5.0, validator=positive)  # sigma; single pixels

    @property
    def joint(self) -> bool:
        """Whether all epochs of a star must be measured together."""
        return self.starlet_background

    def measure(self, stamps: Stamps, kernels: Kernels) -> PhotometryResult:
        """Return each stamp's flux and position.

        The covariance is that of the pixels' noise (and of the prior on the position), with the constant background
        marginalised. What a background shared by all epochs does to the fluxes is common to them and not in it.

        Raises
        ------
        UnusableInput
            Where stamps and kernels do not belong together.
        """

        def measure(part: slice) -> PhotometryResult:
            chunk = prepared(stamps, kernels, part, self.position_prior, self.background_per_epoch)
            return self._measure_jointly(chunk) if self.joint else self._measure_chunk(chunk)

        return measure_in_chunks(stamps, kernels, measure, together=self.joint)

    def _measure_chunk(self, stamps: PointSourceStamps) -> PhotometryResult:
        fit, outliers = fit_with_clipping(stamps, self.sigma_clip)
        if stamps.photon_variance.any():
            stamps = stamps.reweighted(fit.model)
            fit, outliers = fit_with_clipping(stamps, self.sigma_clip, fit.position, outliers)
        return describe(stamps, fit, outliers)

    def _measure_jointly(self, stamps: PointSourceStamps) -> PhotometryResult:
        """Fit in turns the shared background, for given stars, and the star, without that background."""
        from plugins_builtin.engine.stars.shared_background import fit_background

        original = stamps
        outliers = transient(first_outliers(stamps, self.sigma_clip))
        fit = fit_point_sources(masked(stamps, outliers))
        start: Floats | None = None
        settled = False
        for _ in range(_JOINT_ROUNDS):
            background, share = fit_background(masked(stamps, outliers), fit.position, start)
            start, left_out = background.image, outliers
            stamps = original.reweighted(fit.model + share)
            cleaned = attrs.evolve(stamps, data=stamps.data - share)
            new = fit_point_sources(masked(cleaned, outliers), start=fit.position)
            found = transient(remaining_outliers(cleaned, stamps.weight, new, self.sigma_clip))
            moved = np.abs(new.position - fit.position) * np.sqrt(new.normal[:, [1, 2], [1, 2]])
            settled = bool(np.max(moved, initial=0.0) < _JOINT_TOLERANCE) and np.array_equal(found, outliers)
            fit = new
            if settled:
                break
            outliers = found
        result = describe(cleaned, fit, left_out)
        status = tuple(_joint_status(s, background, settled) for s in result.status)
        model = np.where(np.isfinite(result.flux)[:, None, None], result.model + share, 0.0)
        return attrs.evolve(result, status=status, model=model)


def _joint_status(status: FitStatus, background: SharedBackground, settled: bool) -> FitStatus:
    """Return an epoch's status, which also says whether the background converged."""
    evaluations = status.evaluations + background.evaluations
    if status.state is not FitState.CONVERGED or (settled and background.converged):
        return attrs.evolve(status, evaluations=evaluations)
    what = "the shared background stopped at its bound" if settled else "positions and the shared background still move"
    return FitStatus(FitState.BOUND, evaluations, "; ".join(filter(None, [what, status.reason])))


def describe(stamps: PointSourceStamps, fit: PointSourceFit, outliers: Bools) -> PhotometryResult:
    """Return fits as a result: bias taken off, covariance, chi2 and a status each."""
    weight = np.where(outliers, 0.0, stamps.weight)
    square = fit.images.value**2
    light = np.sum(np.where(weight > 0, square, 0.0), axis=(1, 2)) / np.maximum(square.sum(axis=(1, 2)), 1e-300)
    flux, position = fit.flux - fit.flux_bias(weight), fit.position.copy()
    covariance = fit.covariance()[:, :3, :3]
    faint = (light >= _LEAST_LIGHT) & (np.abs(fit.flux) < _FAINT * np.sqrt(covariance[:, 0, 0]))
    pedestal, image = fit.pedestal, fit.images.value
    if faint.any():
        part = attrs.evolve(stamps, weight=weight).take(faint)
        means = average_over_positions(part)
        flux[faint], position[faint], covariance[faint] = means.flux, means.position, means.covariance
        image = image.copy()
        image[faint] = part.images(means.position).value
        pedestal = pedestal.copy()
        pedestal[faint] = _pedestal(part, flux[faint, None, None] * image[faint])
    model = flux[:, None, None] * image + pedestal[:, None, None]
    freedom = np.maximum(np.count_nonzero(weight, axis=(1, 2)) - 3 - int(stamps.pedestal), 1)
    chi2 = np.einsum("nij,nij->n", weight, (stamps.data - model) ** 2) / freedom
    if stamps.aperture > 0:
        extra, variance = _residual_light(stamps, weight, model, image, position)
        flux, covariance = flux + extra, covariance.copy()
        covariance[:, 0, 0] += variance
    lights, of_lights = _lights_in_discs(stamps, weight, model, image, position)
    away = np.linalg.norm(position - stamps.expected, axis=1)
    status = tuple(
        _status(
            stamps.prior,
            converged=bool(fit.converged[i] or faint[i]),
            evaluations=int(fit.evaluations[i]),
            light=light[i],
            away=away[i],
            chi2=chi2[i],
        )
        for i in range(len(stamps))
    )
    failed = np.array([not s.usable for s in status])
    return PhotometryResult(
        flux=np.where(failed, np.nan, flux),
        x=np.where(failed, np.nan, position[:, 0]),
        y=np.where(failed, np.nan, position[:, 1]),
        background=np.where(failed, np.nan, pedestal),
        covariance=np.where(failed[:, None, None], np.nan, covariance),
        reduced_chi2=np.where(failed, np.nan, chi2),
        status=status,
        model=np.where(failed[:, None, None], 0.0, model),
        outliers=outliers,
        residual_light=np.where(failed[:, None], np.nan, lights),
        residual_covariance=np.where(failed[:, None, None], np.nan, of_lights),
    )


def _lights_in_discs(
    stamps: PointSourceStamps, weight: Floats, model: Floats, image: Floats, position: Floats
) -> tuple[Floats, Floats]:
    """Return the sums of the residuals within the discs of `radii` (n, d), and their covariance (n, d, d)."""
    n, d = stamps.radii.shape
    if d == 0:
        return np.zeros((n, 0)), np.zeros((n, 0, 0))
    discs = discs_above_sky(position, stamps.radii, weight)
    images = np.stack([image, np.ones_like(image)], axis=1) if stamps.pedestal else image[:, None]
    return residual_lights(stamps.data - model, weight, discs, images)


def _residual_light(
    stamps: PointSourceStamps, weight: Floats, model: Floats, image: Floats, position: Floats
) -> tuple[Floats, Floats]:
    """Return the sum of the residuals within the aperture (n,), and its variance."""
    counted = apertures(position, image.shape[1:], stamps.aperture)
    images = image[:, None]
    if stamps.pedestal:
        images = np.stack([image, np.ones_like(image)], axis=1)
        counted = above_surroundings(counted, weight)
    return residual_light(stamps.data - model, weight, counted, images)


def _pedestal(stamps: PointSourceStamps, source: Floats) -> Floats:
    """Return the weighted mean of the data without the source; 0 where no pedestal is fitted."""
    if not stamps.pedestal:
        return np.zeros(len(stamps))
    total = stamps.weight.sum(axis=(1, 2))
    return np.asarray(np.sum(stamps.weight * (stamps.data - source), axis=(1, 2)) / np.where(total > 0, total, 1.0))


def _status(prior: float, *, converged: bool, evaluations: int, light: float, away: float, chi2: float) -> FitStatus:
    if not light >= _LEAST_LIGHT:
        reason = f"only {light:.0%} of the star's light falls on usable pixels (or its PSF kernel is not finite)"
        return FitStatus(FitState.FAILED, evaluations, reason)
    notes = notes_on_point("the star", away, prior, chi2)
    if converged:
        return FitStatus(FitState.CONVERGED, evaluations, "; ".join(notes))
    notes.insert(0, "the position still moves")
    return FitStatus(FitState.BOUND, evaluations, "; ".join(notes))


@hookimpl
def lcf_photometry() -> dict[str, type]:
    """Offer the photometry ``starred``."""
    return {"starred": StarredPhotometry}
