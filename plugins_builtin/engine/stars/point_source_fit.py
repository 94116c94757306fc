"""The fit of one point source in each stamp: flux, position and pedestal, for many stamps at once.

The model of a stamp is ``f T(x, y) + b``, T the image of a unit point source (:mod:`plugins_builtin.engine.target`).
Flux and pedestal are linear and are solved for exactly at every trial position, so that Gauss-Newton with
Levenberg-Marquardt damping searches the position alone (variable projection, Golub and Pereyra 1973, SIAM J. Numer.
Anal. 10, 413). A Gaussian prior determines the position where the star is too faint for it; for a star of
signal-to-noise ratio s the prior's share is about ``(1.2 FWHM / s)^2`` of a squared prior width.

A fitted position follows the noise as well as the star, so the flux is too large, by ``sigma^2 / f`` for a bright star
(the bias of non-linear least squares, Box 1971, J. R. Stat. Soc. B 33, 171). With C the covariance of the position and
G the curvature of the image's overlap with itself the bias is ``f tr(G C) / 2``. That holds for faint stars too: it
vanishes as the flux goes to zero and the prior dominates. It is subtracted.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float, Int

from lcframework.types import Bools, Floats, Ints
from plugins_builtin.engine.target import target_matrix_pair

# A step below this share of the position's standard error is as good as none.
_SETTLED = 0.01
# No step is longer than this, pixels: beyond it the linearisation is not valid.
_LONGEST_STEP = 1.0
# A pixel's variance is reduced to no less than this share where photon noise is taken off.
_LEAST_VARIANCE = 0.01


@attrs.frozen(eq=False)
class SourceImages:
    """Images of unit point sources, and their derivatives by the position in pixels."""

    value: Float[Floats, "n ny nx"]
    by_x: Float[Floats, "n ny nx"]
    by_y: Float[Floats, "n ny nx"]


@attrs.frozen(eq=False)
class PointSourceStamps:
    """The stamps that are fitted, with their kernels and priors."""

    data: Float[Floats, "n ny nx"]  # finite everywhere
    weight: Float[Floats, "n ny nx"]  # inverse variance, 0 where not to be used
    kernels: Float[Floats, "n my mx"]
    subsampling: int
    fwhm: float  # of the target Gaussian, small pixels
    expected: Float[Floats, "n 2"]  # x, y of the position's prior, from the stamp's centre, pixels
    prior: float  # standard deviation of the position's prior, pixels
    pedestal: bool
    # Variance per unit of signal that the weights hold; 0: unknown.
    photon_variance: Float[Floats, " n"] = attrs.field()
    aperture: float = 0.0  # pixels; see `Stamps`
    radii: Float[Floats, "n d"] = attrs.field()  # pixels; see `Stamps`
    # Scatter of residual / flux beyond the noise, in rings of half a pixel about the star; no rings: unknown.
    misfit: Float[Floats, "n rings"] = attrs.field()

    @misfit.default
    def _no_rings(self) -> Float[Floats, "n rings"]:
        return np.zeros((len(self.data), 0))

    @photon_variance.default
    def _unknown(self) -> Float[Floats, " n"]:
        return np.zeros(len(self.data))

    @radii.default
    def _no_discs(self) -> Float[Floats, "n d"]:
        return np.zeros((len(self.data), 0))

    def __len__(self) -> int:
        """Return the number of stamps."""
        return len(self.data)

    def take(self, which: Int[Ints, " rows"] | Bool[Bools, " n"] | slice) -> PointSourceStamps:
        """Return some of the stamps."""
        return attrs.evolve(
            self,
            data=self.data[which],
            weight=self.weight[which],
            kernels=self.kernels[which],
            expected=self.expected[which],
            photon_variance=self.photon_variance[which],
            radii=self.radii[which],
            misfit=self.misfit[which],
        )

    def reweighted(self, model: Float[Floats, "n ny nx"]) -> PointSourceStamps:
        """Return the stamps with weights from the photon noise of a `model` instead of that of the data.

        Weights made from noisy data are larger where a pixel is faint by chance. That makes a flux too small, by about
        one photon for each pixel of the star (Baker and Cousins 1984, Nucl. Instrum. Methods 221, 437). The amount is
        the same for faint and bright stars, so it changes the ratio of their fluxes.
        """
        change = np.maximum(model, 0.0) - np.maximum(self.data, 0.0)
        used = self.weight > 0
        variance = 1.0 / np.where(used, self.weight, 1.0)
        other = np.maximum(variance + self.photon_variance[:, None, None] * change, _LEAST_VARIANCE * variance)
        return attrs.evolve(self, weight=np.where(used, 1.0 / other, 0.0))

    def images(self, position: Float[Floats, "n 2"]) -> SourceImages:
        """Return the images of unit sources at positions (n, 2), and their derivatives."""
        ny, nx = self.data.shape[1:]
        my, mx = self.kernels.shape[1:]
        x, y = position[:, 0], position[:, 1]
        columns, columns_slope = target_matrix_pair(x, nx, self.subsampling, self.fwhm, mx)
        rows, rows_slope = target_matrix_pair(y, ny, self.subsampling, self.fwhm, my)
        across = self.kernels @ np.concatenate([columns, columns_slope], axis=1).swapaxes(1, 2)
        both = rows @ across
        return SourceImages(both[..., :nx], both[..., nx:], rows_slope @ across[..., :nx])


@attrs.frozen(eq=False)
class PointSourceFit:
    """The estimates for each stamp; the parameters are in the order flux, x, y, pedestal."""

    flux: Float[Floats, " n"]  # without the correction for the fitted position's bias
    pedestal: Float[Floats, " n"]
    position: Float[Floats, "n 2"]
    normal: Float[Floats, "n 4 4"]  # normal matrix, prior included
    images: SourceImages
    converged: Bool[Bools, " n"]
    evaluations: Int[Ints, " n"]

    @property
    def model(self) -> Float[Floats, "n ny nx"]:
        """The images of the fitted model."""
        return self.flux[:, None, None] * self.images.value + self.pedestal[:, None, None]

    def put(self, where: Int[Ints, " rows"], other: PointSourceFit) -> None:
        """Replace the estimates at the indices `where` by those of `other`, which has these stamps alone."""
        for name in ("flux", "pedestal", "position", "normal", "converged"):
            getattr(self, name)[where] = getattr(other, name)
        self.evaluations[where] += other.evaluations
        for name in ("value", "by_x", "by_y"):
            getattr(self.images, name)[where] = getattr(other.images, name)

    def covariance(self) -> Float[Floats, "n 4 4"]:
        """Return the covariance; infinite where the data do not constrain the parameters."""
        solvable = np.isfinite(self.normal).all(axis=(1, 2)) & (self.normal[:, 0, 0] > 0)
        safe = np.where(solvable[:, None, None], self.normal, np.eye(4))
        return np.where(solvable[:, None, None], np.linalg.inv(safe), np.inf)

    def flux_bias(self, weight: Float[Floats, "n ny nx"]) -> Float[Floats, " n"]:
        """Return the bias of the flux (module docstring): too large, as the position is fitted to the same noise."""
        overlap = np.einsum("nij,nij,nij->n", weight, self.images.value, self.images.value)
        gradient = np.stack([self.images.by_x, self.images.by_y], axis=1)
        curvature = np.einsum("nij,naij,nbij->nab", weight, gradient, gradient, optimize=True)
        spread = self.covariance()[:, 1:3, 1:3]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = 0.5 * np.einsum("nab,nba->n", curvature, spread) / overlap
        # The expansion is not valid below a signal-to-noise ratio of about 2; above it the bias is less than half.
        bias: Floats = self.flux * np.minimum(np.nan_to_num(share), 0.5)
        return bias


def fit_point_sources(
    stamps: PointSourceStamps,
    start: Float[Floats, "n 2"] | None = None,
    max_evaluations: int = 40,
    tolerance: float = 1e-4,
) -> PointSourceFit:
    """Fit flux, position and pedestal of every stamp.

    Parameters
    ----------
    stamps : PointSourceStamps
        Stamps of one size.
    start : (n, 2) array, optional
        Positions to start from, pixels from the stamps' centres; the expected ones where not given.
    max_evaluations : int
        Bound on the number of trial positions of a stamp.
    tolerance : float
        A stamp has converged when its step is below this, pixels, or below a hundredth of the position's error.

    Returns
    -------
    PointSourceFit
    """
    n = len(stamps)
    position = np.array(stamps.expected if start is None else start, float)
    best = _evaluate(stamps, position)
    damping = np.full(n, 1e-3)
    converged = np.zeros(n, bool)
    evaluations = np.ones(n, int)
    active = np.arange(n)
    for _ in range(max_evaluations - 1):
        step = _step(best, damping, active)
        # Steps far below the position's own error are noise in the last digits.
        error = 1.0 / np.sqrt(best.normal[active][:, [1, 2], [1, 2]])
        # Judged by the undamped step: a damped one is small anywhere.
        whole = _step(best, np.zeros(n), active)
        settled = np.all(np.abs(whole) < np.maximum(tolerance, _SETTLED * error), axis=1)
        trial = _evaluate(stamps.take(active), position[active] + step)
        evaluations[active] += 1
        better = trial.objective <= best.objective[active]
        chosen = active[better]
        position[chosen] += step[better]
        best.put(chosen, trial, better)
        damping[active] = np.where(better, np.maximum(0.1 * damping[active], 1e-6), 10.0 * damping[active])
        done = settled | (damping[active] > 1e8)
        converged[active[settled]] = True
        active = active[~done]
        if len(active) == 0:
            break
    return PointSourceFit(best.flux, best.pedestal, position, best.normal, best.images, converged, evaluations)


@attrs.define(eq=False)
class _Evaluated:
    """Stamps at trial positions, with the linear parameters at their best."""

    flux: Float[Floats, " n"]
    pedestal: Float[Floats, " n"]
    objective: Float[Floats, " n"]  # chi2 and prior
    normal: Float[Floats, "n 4 4"]
    gradient: Float[Floats, "n 2"]  # minus half the objective's, by the position
    images: SourceImages

    def put(self, where: Int[Ints, " rows"], other: _Evaluated, which: Bool[Bools, " n"]) -> None:
        """Replace the values at the indices `where` by those of the stamps `which` of `other`."""
        for name in ("flux", "pedestal", "objective", "normal", "gradient"):
            getattr(self, name)[where] = getattr(other, name)[which]
        for name in ("value", "by_x", "by_y"):
            getattr(self.images, name)[where] = getattr(other.images, name)[which]


def _evaluate(stamps: PointSourceStamps, position: Float[Floats, "n 2"]) -> _Evaluated:
    images = stamps.images(position)
    flux, pedestal = solve_linear(stamps.data, stamps.weight, images.value, stamps.pedestal)
    residual = stamps.data - flux[:, None, None] * images.value - pedestal[:, None, None]
    n = len(stamps)
    slope = np.stack(
        [
            images.value,
            flux[:, None, None] * images.by_x,
            flux[:, None, None] * images.by_y,
            np.full_like(images.value, float(stamps.pedestal)),
        ],
        axis=1,
    ).reshape(n, 4, -1)
    weight = stamps.weight.reshape(n, 1, -1)
    weighted = slope * weight
    normal = weighted @ slope.swapaxes(1, 2)
    precision = stamps.prior**-2
    normal[:, [1, 2], [1, 2]] += precision
    if not stamps.pedestal:
        normal[:, 3, 3] = 1.0
    from_expected = position - stamps.expected
    flat = residual.reshape(n, -1, 1)
    gradient = (weighted[:, 1:3] @ flat)[..., 0] - precision * from_expected
    objective = np.sum(weight[:, 0] * flat[..., 0] ** 2, axis=1) + precision * np.sum(from_expected**2, axis=1)
    return _Evaluated(flux, pedestal, objective, normal, gradient, images)


def solve_linear(
    data: Float[Floats, "n ny nx"], weight: Float[Floats, "n ny nx"], value: Float[Floats, "n ny nx"], pedestal: bool
) -> tuple[Float[Floats, " n"], Float[Floats, " n"]]:
    """Return flux and pedestal of least squares for images at known positions; 0 without data."""
    own = np.einsum("nij,nij,nij->n", weight, value, value)
    right = np.einsum("nij,nij,nij->n", weight, value, data)
    if not pedestal:
        return right / np.where(own > 0, own, np.inf), np.zeros(len(data))
    ones = weight.sum(axis=(1, 2))
    cross = np.einsum("nij,nij->n", weight, value)
    level = np.einsum("nij,nij->n", weight, data)
    determinant = own * ones - cross**2
    determinant = np.where(determinant > 1e-12 * own * ones, determinant, np.inf)
    return (ones * right - cross * level) / determinant, (own * level - cross * right) / determinant


def _step(best: _Evaluated, damping: Float[Floats, " n"], active: Int[Ints, " active"]) -> Float[Floats, "active 2"]:
    """Return the damped steps of the active stamps."""
    normal = best.normal[active].copy()
    normal[:, [1, 2], [1, 2]] *= 1.0 + damping[active][:, None]
    # Without light or data the linear parameters' rows are empty; they must not make the position singular.
    for k in (0, 3):
        normal[:, k, k] = np.where(normal[:, k, k] > 0, normal[:, k, k] * (1.0 + 1e-12), 1.0)
    right = np.zeros((len(active), 4, 1))
    right[:, 1:3, 0] = best.gradient[active]
    step = np.linalg.solve(normal, right)[:, 1:3, 0]
    length = np.linalg.norm(step, axis=1, keepdims=True)
    limited: Floats = step * np.minimum(1.0, _LONGEST_STEP / np.maximum(length, 1e-300))
    return limited
