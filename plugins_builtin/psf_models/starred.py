"""PSFs by STARRED's model and objective: an elliptical Moffat plus a regularised grid of small pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import whole_number, within
from lcframework.types import PSF, Bools, FitState, FitStatus, Floats, PsfBatch

if TYPE_CHECKING:
    from plugins_builtin.engine.psf.field_stars import Field
    from plugins_builtin.engine.psf.fit import Fit, Limits
    from plugins_builtin.engine.psf.model import Setting

#: FWHM of the target Gaussian in small pixels, by definition of STARRED's narrow PSFs.
TARGET_FWHM = 2.0

_LOST = "a higher one loses the PSF's light somewhere"
#: Pixels of the mean star with less weight than this share of the most are masked in nearly all stars.
_SEEN = 1e-3


def _order_or_auto(instance: Any, attribute: Any, value: int | str) -> None:
    if value != "auto" and (isinstance(value, bool) or value not in (0, 1, 2)):
        raise ValueError(f'{attribute.name} must be 0, 1, 2 or "auto", got {value!r}')
    if value in (1, 2) and instance.field_distortion:
        raise ValueError(f"{attribute.name} = {value} and field_distortion = true exclude each other: leave one out")


@attrs.frozen
class Starred:
    """STARRED's PSF model, fitted by another solver than STARRED's, which stops when converged.

    The model of a frame's stars, its penalty on starlet scales and their weights are STARRED's; only the way to the
    minimum differs (and the weights are computed instead of drawn). Pixels that can't be starlight (missed cosmic
    rays) are masked and stars that don't look like the others (doubles, galaxies) dropped on the way.
    """

    results_version: ClassVar[int] = 7

    subsampling_factor: int = attrs.field(
        default=2, validator=whole_number(1, 4, "small pixels of the PSF across a pixel of the data")
    )
    field_distortion: bool = False  # let the PSF stretch and shear linearly over the frame
    # order of the polynomial in the position by which the PSF varies; auto: by stars that are left out in turns
    variation: int | str = attrs.field(default="auto", validator=_order_or_auto)
    regularization: float = attrs.field(  # 1: STARRED's
        default=2.0, validator=within(0.0, 1000.0, "the penalty of the pixels, in units of their starlets' noise")
    )
    iterations_analytic: int = attrs.field(  # an upper bound
        default=100, validator=whole_number(1, 10000, "steps of the fit of the Moffat, at most")
    )
    iterations_pixels: int = attrs.field(  # an upper bound: the fit stops when converged
        default=3000, validator=whole_number(1, 1000000, "evaluations of the fit of the pixels, at most")
    )
    max_masked: float = attrs.field(  # share of a stamp
        default=0.4, validator=within(0.0, 1.0, "stars with a larger share of masked pixels are left out")
    )
    outlier_sigma: float = attrs.field(  # 0: look for none
        default=5.0, validator=within(0.0, 1000.0, "standard deviations beyond which a pixel can't be starlight")
    )
    star_sigma: float = attrs.field(  # 0: keep all stars
        default=5.0, validator=within(0.0, 1000.0, "robust standard deviations of chi2 beyond which a star goes")
    )

    def fit(self, batch: PsfBatch) -> list[PSF]:
        """Return one PSF a frame; a frame that can't be fitted has a status that says why.

        Parameters
        ----------
        batch : PsfBatch
            Star stamps. Only square stamps are supported.

        Raises
        ------
        ValueError
            If the stamps are not square.
        """
        from plugins_builtin.engine.psf.distortion import scaled_positions
        from plugins_builtin.engine.psf.fit import begin_frames, run_fits
        from plugins_builtin.engine.threads import in_order

        if batch.data.shape[-1] != batch.data.shape[-2]:
            raise ValueError(f"stamps are {batch.data.shape[-2:]} pixels where square ones are needed")
        grids = [self._grid_stars(batch, f) for f in range(len(batch))]
        part = _chosen(batch, grids)
        setting, limits = self._setting(), self._limits()
        position = scaled_positions(part.xy, part.frame_shape)
        fits = begin_frames(part.data, part.noise, part.mask, part.offset, part.seeing, position, setting, limits)
        run_fits(fits, setting, limits)
        return list(in_order(lambda f: self._psf(fits[f], batch, f, grids[f]), range(len(batch))))

    def frames_at_once(self, stars: int, size: int) -> tuple[int, str]:
        """Return how many frames of `stars` stamps of `size` pixels to hand over together, and the forecast in words.

        Raises
        ------
        NeedMissing
            Where JAX finds no device of the kind asked for.
        """
        from plugins_builtin.engine.device import forecast
        from plugins_builtin.engine.psf.memory import memory_of_fit

        found = forecast(memory_of_fit(stars, size, self.subsampling_factor))
        return found.units, str(found)

    def warm_up(self, stars: int, size: int) -> None:
        """Start JAX; on a CPU, load or compile the fit of `stars` stamps of `size` pixels too.

        An accelerator's programs are for a number of frames, which is not known yet.
        """
        import jax

        if jax.default_backend() == "cpu":
            attrs.evolve(self, iterations_analytic=1, iterations_pixels=2).fit(_any_batch(stars, size))

    def at(self, psf: PSF, xy: Floats) -> Floats:
        """Return the narrow PSFs (n, m, m) at positions (n, 2) of the frame, pixels.

        Each has the sum 1; where the PSF varies over the field they have the same light within some FWHM of their
        centres, and the one at the stars' mean position has the sum 1.
        """
        from plugins_builtin.engine.psf.distortion import kernels_at
        from plugins_builtin.engine.psf.field_basis import IMAGES, varied_kernels

        if IMAGES in psf.distortion:
            return np.asarray(varied_kernels(psf.narrow, psf.distortion, xy, psf.subsampling_factor, psf.target_fwhm))
        kernels: Floats = kernels_at(psf.narrow, psf.distortion, xy, psf.frame_shape)
        return kernels

    def _setting(self) -> Setting:
        from plugins_builtin.engine.psf.model import Setting

        return Setting(self.subsampling_factor, TARGET_FWHM, self.field_distortion)

    def _limits(self) -> Limits:
        from plugins_builtin.engine.psf.fit import Limits

        return Limits(
            analytic=self.iterations_analytic,
            pixels=self.iterations_pixels,
            max_masked=self.max_masked,
            outliers=self.outlier_sigma,
            stars=self.star_sigma,
            regularization=self.regularization,
        )

    def _grid_stars(self, batch: PsfBatch, f: int) -> Bools:
        """Return which stars of a frame make the small pixels."""
        from plugins_builtin.engine.psf.field_stars import grid_stars

        if self.field_distortion:  # it has no other way to see the field
            return np.ones(batch.data.shape[1], bool)
        return grid_stars(batch.data[f], batch.noise[f], batch.mask[f], self.max_masked)

    def _psf(self, fit: Fit, batch: PsfBatch, f: int, grid: Bools) -> PSF:
        """Return a fit of the stars `grid` as the protocol's value, with its variation over the frame."""
        from plugins_builtin.engine.psf.field_stars import highest_order, vary
        from plugins_builtin.engine.psf.fit import kernel
        from plugins_builtin.engine.psf.prepare import usable_stars

        shape = batch.data.shape[1:]
        if fit.failure:
            return failed_psf(fit.failure, fit.evaluations, shape, self.subsampling_factor, fit.rejected)
        if not kernel(fit, self._setting()).sum() > 0:
            reason = "the fitted PSF has no positive sum: the stamps hold no star, or their sky is far off zero"
            return failed_psf(reason, fit.evaluations, shape, self.subsampling_factor, fit.rejected)
        data, noise, mask = batch.data[f], batch.noise[f], batch.mask[f]
        highest = 2 if self.variation == "auto" else int(self.variation)
        if self.field_distortion:
            highest = 0
        usable = usable_stars(
            np.asarray(data, float), np.asarray(noise, float), np.asarray(mask, bool), self.max_masked
        )
        highest = min(highest, highest_order(int(usable[0].any(axis=(1, 2)).sum())))
        padding = mask.all(axis=(1, 2))
        if highest == 0 and (grid | padding).all():
            return self._constant(fit, batch.frame_shape)
        field = vary(
            fit, data, noise, mask, batch.xy[f], grid, batch.offset[f], highest, self.variation == "auto",
            self._setting(), self._limits(),
        )  # fmt: skip
        if field.fit.order == 0 and (grid | padding).all():
            return attrs.evolve(self._constant(fit, batch.frame_shape), status=self._status(fit, field))
        return self._varying(fit, field, batch.frame_shape)

    def _constant(self, fit: Fit, frame_shape: tuple[int, int]) -> PSF:
        from plugins_builtin.engine.psf.distortion import named
        from plugins_builtin.engine.psf.field_stars import constant_misfit
        from plugins_builtin.engine.psf.fit import free_parameters, kernel, loss, star_residuals
        from plugins_builtin.engine.target import convolve_target

        setting = self._setting()
        values = kernel(fit, setting)
        total = values.sum()
        residuals = star_residuals(fit, setting)
        used = residuals.pixels > 0
        weight = residuals.inverse_variance
        freedom = max(float(residuals.pixels.sum()) - free_parameters(fit), 1.0)
        return PSF(
            narrow=values / total,
            full=convolve_target(values / total, TARGET_FWHM),
            subsampling_factor=self.subsampling_factor,
            target_fwhm=TARGET_FWHM,
            status=self._status(fit),
            reduced_chi2=float((weight * residuals.residual**2).sum() / freedom),
            distortion=named(fit.model.distortion) if self.field_distortion else {},
            frame_shape=frame_shape,
            amplitude=np.where(used, fit.model.amplitude * total * fit.prepared.unit, np.nan),
            offset=np.where(used[:, None], np.stack([fit.model.x, fit.model.y], axis=-1), np.nan),
            star_chi2=residuals.chi2,
            outliers=fit.outliers,
            residuals=np.where(used[:, None, None], residuals.residual * fit.prepared.unit, np.nan),
            loss_history=np.concatenate([*fit.history, [loss(fit, setting)]]),
            rejected=dict(sorted(fit.rejected.items())),
            precision=star_precision(fit.model.amplitude * total, weight, residuals.residual),
            mean_residual=mean_residual(
                fit.model.amplitude * total, weight, residuals.residual, np.stack([fit.model.x, fit.model.y], axis=-1)
            ),
            misfit=constant_misfit(fit, setting),
        )

    def _varying(self, fit: Fit, field: Field, frame_shape: tuple[int, int]) -> PSF:
        """Return a PSF whose stars are more than those of the constant kernel."""
        from plugins_builtin.engine.psf.fit import free_parameters, loss
        from plugins_builtin.engine.target import convolve_target

        residuals = field.residuals
        used = residuals.pixels > 0
        weight = residuals.inverse_variance
        others = 3.0 * float(used.sum() - fit.stars.sum())
        freedom = max(float(residuals.pixels.sum()) - free_parameters(fit) - others - field.fit.parameters, 1.0)
        return PSF(
            narrow=field.fit.narrow,
            full=convolve_target(field.fit.narrow, TARGET_FWHM),
            subsampling_factor=self.subsampling_factor,
            target_fwhm=TARGET_FWHM,
            status=self._status(fit, field),
            reduced_chi2=float((weight * residuals.residual**2).sum() / freedom),
            distortion=field.fit.variation,
            frame_shape=frame_shape,
            amplitude=field.amplitude,
            offset=field.offset,
            star_chi2=residuals.chi2,
            outliers=field.outliers,
            residuals=np.where(used[:, None, None], residuals.residual * field.unit, np.nan),
            loss_history=np.concatenate([*fit.history, [loss(fit, self._setting())]]),
            rejected=field.rejected,
            precision=star_precision(residuals.amplitude, weight, residuals.residual),
            mean_residual=mean_residual(residuals.amplitude, weight, residuals.residual, field.offset),
            misfit=field.misfit,
        )

    def _status(self, fit: Fit, field: Field | None = None) -> FitStatus:
        from plugins_builtin.engine.psf.fit import MIN_STARS_DISTORTION

        reasons = []
        if self.field_distortion and fit.stars.sum() < MIN_STARS_DISTORTION:
            reasons.append(f"no distortion fitted: {fit.stars.sum()} stars, and it takes {MIN_STARS_DISTORTION}")
        order = field.fit.order if field is not None else 0
        lost = _LOST if field is not None and field.fit.lowered else ""
        if field is not None and field.fit.scores:
            scores = ", ".join(f"{score:.3f}" for score in field.fit.scores)
            why = "; ".join(filter(None, [f"chi2 of stars left out {scores} by order", lost]))
            reasons.append(f"variation of order {order}: {why}")
        elif isinstance(self.variation, int) and self.variation > order:
            reasons.append(f"variation of order {order}, not {self.variation}: {lost or 'too few stars'}")
        if fit.converged:
            return FitStatus(FitState.CONVERGED, fit.evaluations, "; ".join(reasons))
        reasons.append(f"not converged within iterations_pixels = {self.iterations_pixels}")
        return FitStatus(FitState.BOUND, fit.evaluations, "; ".join(reasons))


def _chosen(batch: PsfBatch, grids: list[Bools]) -> PsfBatch:
    """Return a batch of the chosen stars of each frame, padded with masked stamps; the same where all are chosen."""
    if all(grid.all() for grid in grids):
        return batch
    most = max(int(grid.sum()) for grid in grids)
    # First the chosen ones, in their order.
    rows = np.array([np.argsort(~grid, kind="stable")[:most] for grid in grids])
    frames = np.arange(len(grids))[:, None]
    beyond = np.arange(most) >= np.array([grid.sum() for grid in grids])[:, None]
    mask = batch.mask[frames, rows] | beyond[..., None, None]
    return attrs.evolve(
        batch, data=batch.data[frames, rows], noise=batch.noise[frames, rows], mask=mask,
        xy=batch.xy[frames, rows], offset=batch.offset[frames, rows],
    )  # fmt: skip


def _any_batch(stars: int, size: int) -> PsfBatch:
    """Return a frame of round stars without noise."""
    grid = np.arange(size) - 0.5 * (size - 1)
    profile = np.exp(-0.5 * (grid / 2.0) ** 2)
    shape = (1, stars, size, size)
    data = np.broadcast_to(1e3 * np.outer(profile, profile), shape)
    xy = offset = np.zeros((1, stars, 2))
    return PsfBatch(data, np.ones(shape), np.zeros(shape, bool), xy, offset, np.array([4.7]), (size, size))


def star_precision(amplitude: Floats, inverse_variance: Floats, residual: Floats) -> Floats:
    """Return the inverse variance of the stars' mean image of unit flux, (n, n): the sum of amplitude^2 / noise^2.

    Where residuals exceed the noise, stars differ by more than that, and it is divided by the reduced chi2.

    Parameters
    ----------
    amplitude : array (stars,)
        Fluxes.
    inverse_variance, residual : array (stars, n, n)
        In the same unit; no weight where masked.
    """
    amplitude = np.where(np.isfinite(amplitude), amplitude, 0.0)
    chi2 = (inverse_variance * np.nan_to_num(residual) ** 2).sum() / max(np.count_nonzero(inverse_variance), 1)
    total: Floats = np.tensordot(amplitude**2, inverse_variance, 1) / max(1.0, float(chi2))
    return total


def mean_residual(amplitude: Floats, inverse_variance: Floats, residual: Floats, offset: Floats) -> Floats:
    """Return what the stars' mean image of unit flux exceeds the PSF's by, (n, n), at the stamp's centre.

    Residuals and weights are moved there by the transpose of a cubic spline: it is the functionals of the result, which
    are smooth, that are interpolated, and not the noise.

    Parameters
    ----------
    amplitude : array (stars,)
        Fluxes.
    inverse_variance, residual : array (stars, n, n)
        In the same unit; no weight where masked.
    offset : array (stars, 2)
        The stars' places (x, y) from the stamps' centres, pixels.
    """
    from plugins_builtin.engine.target import target_matrix

    n = residual.shape[-1]
    amplitude, offset = np.nan_to_num(amplitude), np.nan_to_num(offset)
    columns, rows = target_matrix(offset.T, n, 1, 0.0)
    weight = amplitude[:, None, None] * inverse_variance
    parts = np.stack([weight * np.nan_to_num(residual), amplitude[:, None, None] * weight])
    total, power = (rows.swapaxes(-1, -2) @ parts @ columns).sum(axis=1)
    known = power > _SEEN * power.max(initial=0.0)
    return np.asarray(np.where(known, total / np.where(known, power, 1.0), 0.0))


def failed_psf(
    reason: str, evaluations: int, shape: tuple[int, ...], subsampling: int, rejected: dict[int, str]
) -> PSF:
    """Return the PSF of a frame that could not be fitted, full of nan; `shape` is its stamps', (stars, n, n)."""
    stars, n = shape[0], shape[-1]
    m = n * subsampling
    if rejected:
        reason = f"{reason} ({'; '.join(f'star {i}: {why}' for i, why in sorted(rejected.items()))})"
    return PSF(
        narrow=np.full((m, m), np.nan),
        full=np.full((m, m), np.nan),
        subsampling_factor=subsampling,
        target_fwhm=TARGET_FWHM,
        status=FitStatus(FitState.FAILED, evaluations, reason),
        reduced_chi2=np.nan,
        amplitude=np.full(stars, np.nan),
        offset=np.full((stars, 2), np.nan),
        star_chi2=np.full(stars, np.nan),
        outliers=np.zeros(shape, bool),
        residuals=np.full(shape, np.nan),
        rejected=dict(sorted(rejected.items())),
    )


@hookimpl
def lcf_psf_models() -> dict[str, type]:
    """Offer the PSF model ``starred``."""
    return {"starred": Starred}
