"""The normalization "ensemble": all stars and all frames in one weighted, robust solution."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import at_least, not_negative, positive, whole_number
from lcframework.types import Bools, FitState, FitStatus, Floats, FluxMatrix, Ints, NormalizationSolution, UnusableInput
from plugins_builtin.engine.normalization.detector_terms import detector_positions, monomials
from plugins_builtin.engine.normalization.ensemble import EnsembleFit, solve_ensemble
from plugins_builtin.engine.normalization.ensemble_start import robust_start
from plugins_builtin.engine.normalization.extra_scatter import extra_scatter
from plugins_builtin.engine.normalization.flux_table import EnsembleState, FluxTable
from plugins_builtin.engine.normalization.normal_equations import variance_at_reference
from plugins_builtin.engine.normalization.region_coefficients import RegionTerms, coefficients_at

#: Where the search for the prior's width begins: as wide as a polynomial may get, because the search narrows quickly.
_WIDE = 0.1
#: Stars in a frame, for each term in position, without which these are not told from the stars' scatter; frames, for
#: each term of the response, and stars without which it is not told from those of their levels.
_STARS_A_TERM, _FRAMES_A_TERM, _FEWEST_STARS = 2, 2, 6


@attrs.frozen
class Ensemble:
    """Relative transparency of frames from the fluxes of all their stars.

    Each flux is modelled as coefficient x level in linear units, so that faint, zero and negative fluxes count as they
    are. Stars get an intrinsic scatter, which lowers the weight of variable ones; a frame whose stars disagree gets a
    scatter too; both enter the standard errors. Single fluxes that do not fit are left out.
    """

    results_version: ClassVar[int] = 6

    sigma_clip: float = attrs.field(default=4.0, validator=at_least(2.0))  # sigma; single fluxes
    max_intrinsic_scatter: float = attrs.field(default=0.1, validator=positive)  # relative; stars above are left out
    # Of a polynomial in detector position: one a frame, and one for all frames.
    spatial_order: int = attrs.field(default=1, validator=whole_number(0, 3, "0: no spatial term"))
    response_order: int = attrs.field(default=2, validator=whole_number(0, 4, "0: no shared response"))
    # Relative, half a frame off: the sd of the prior on both polynomials. 0: each as wide as the stars show.
    spatial_amplitude: float = attrs.field(default=0.0, validator=not_negative)
    max_iterations: int = attrs.field(default=120, validator=at_least(5))

    @property
    def prior_is_fitted(self) -> bool:
        """Whether the stars say how wide the priors on the polynomials are."""
        return self.spatial_amplitude == 0

    @property
    def widest(self) -> float:
        """The standard deviation of these priors, or where its search begins."""
        return self.spatial_amplitude or _WIDE

    def solve(self, fluxes: FluxMatrix) -> NormalizationSolution:
        """Return coefficients of frames and levels of stars.

        The median coefficient is 1. `coefficient_uncertainty` holds for the ensemble's information-weighted mean
        level kept fixed, `level_error` for the mean coefficient kept fixed: so coefficients are as good as independent
        of each other. With a spatial term or a shared response, a coefficient is that at ``fluxes.reference_xy`` (the
        stars' median position where that is not given), and those at ``fluxes.region_xy`` stand beside it.

        Raises
        ------
        UnusableInput
            When there is no flux with a positive error, or no star has signal.
        """
        flux, error = np.asarray(fluxes.flux, float), np.asarray(fluxes.error, float)
        with np.errstate(invalid="ignore"):
            valid = np.isfinite(flux) & np.isfinite(error) & (error > 0)
        if not valid.any():
            raise UnusableInput(
                f"no star flux with a positive error in {flux.shape[0]} frames and {flux.shape[1]} stars: "
                "nothing to normalise with; see the star photometry's status, and [photometry] stars and psf_chi2"
            )
        reference = _reference(fluxes, valid)
        table = FluxTable(
            flux=np.where(valid, flux, 0.0),
            variance=np.where(valid, error, 1.0) ** 2,
            valid=valid,
            basis=_basis(np.asarray(fluxes.xy, float), reference, fluxes.frame_shape, self.spatial_order),
            shared=_response_terms(fluxes.xy, fluxes.frame_shape, self.response_order),
            shared_at_reference=_response_terms(reference, fluxes.frame_shape, self.response_order),
            prior=self.widest,
            prior_is_fitted=self.prior_is_fitted,
        )
        return _Solution(self, table, _region_terms(fluxes, reference, self)).solve()


@attrs.define(eq=False)
class _Solution:
    """The state of one call: which stars and frames take part, and why the others do not."""

    options: Ensemble
    table: FluxTable
    regions: RegionTerms | None
    rejected: dict[int, str] = attrs.field(factory=dict)
    notes: list[str] = attrs.field(factory=list)
    scatter_of_rejected: dict[int, float] = attrs.field(factory=dict)

    def solve(self) -> NormalizationSolution:
        valid = self.table.valid
        for star in np.flatnonzero(~valid.any(axis=0)):
            self.rejected[int(star)] = "no usable flux in any frame"
        frames, stars = self._connected(np.arange(valid.shape[1])[valid.any(axis=0)])
        start = robust_start(_part(self.table, frames, stars))
        dark = ~np.isfinite(start.log_level)
        if dark.all():
            raise UnusableInput(
                "no star's mean flux is more than 3 sigma above zero: nothing to normalise with; "
                "take brighter stars ([stars] magnitude) or check the frames"
            )
        for star in stars[dark]:
            self.rejected[int(star)] = "no signal: its mean flux is within 3 sigma of zero"
        while True:
            frames, stars = self._connected(np.array([s for s in stars if int(s) not in self.rejected]))
            fit = self._fit(frames, stars)
            if not self._reject_variables(fit.state, stars):
                return self._answer(fit, frames, stars)

    def _connected(self, stars: Ints) -> tuple[Ints, Ints]:
        """Return the frames and stars of the largest set that common stars join."""
        valid = self.table.valid[:, stars]
        label_frame, label_star = _components(valid)
        labels, counts = np.unique(label_frame[valid.any(axis=1)], return_counts=True)
        largest = labels[np.argmax(counts)]
        apart = stars[label_star != largest]
        for star in apart:
            self.rejected[int(star)] = "shares no frame with the ensemble's other stars, directly or through others"
        if len(labels) > 1:
            lost = int(counts.sum() - counts.max())
            self.notes.append(
                f"the frames fall into {len(labels)} sets without a common star; {lost} frames outside the largest set "
                "have no coefficient: choose more stars, or split the project"
            )
        return np.flatnonzero(label_frame == largest), stars[label_star == largest]

    def _fit(self, frames: Ints, stars: Ints) -> EnsembleFit:
        """Solve for coefficients, levels and response; without clipping where that would part the frames."""
        table, options = _part(self.table, frames, stars), self.options
        start = robust_start(table)
        try:
            fit = solve_ensemble(table, start, options.sigma_clip, options.max_iterations)
            if len(set(_components(fit.state.used)[0])) == 1:
                return fit
        except np.linalg.LinAlgError:
            pass
        self.notes.append("clipping would leave frames without a common star: no flux was clipped")
        return solve_ensemble(table, start, np.inf, options.max_iterations)

    def _reject_variables(self, state: EnsembleState, stars: Ints) -> bool:
        """Leave out the most variable star, if it is too variable both in itself and beside the others."""
        scatter = np.sqrt(state.star_variance)
        worst = int(np.argmax(scatter))
        if len(stars) < 3 or scatter[worst] < max(self.options.max_intrinsic_scatter, 3.0 * np.median(scatter)):
            return False
        star = int(stars[worst])
        self.rejected[star] = (
            f"variable: intrinsic scatter {scatter[worst]:.3f}, more than "
            f"max_intrinsic_scatter = {self.options.max_intrinsic_scatter:g}"
        )
        self.scatter_of_rejected[star] = float(scatter[worst])
        return True

    def _answer(self, fit: EnsembleFit, frames: Ints, stars: Ints) -> NormalizationSolution:
        n_frames, n_stars = self.table.flux.shape
        table, state, normal = fit.table, fit.state, fit.linearised
        measured = state.used.any(axis=1)
        reference_response = state.response_at(table.shared_at_reference)
        own = state.terms[:, 0] * reference_response
        gauge = float(np.median(own[measured]))
        if not gauge > 0:
            gauge = float(np.max(np.abs(own[measured])))
        error = np.sqrt(variance_at_reference(table, state, normal) * fit.inflation) * reference_response
        extra = extra_scatter(fit, self.options.sigma_clip)

        def of_frames(values: Floats) -> Floats:
            whole = np.full(n_frames, np.nan)
            whole[frames] = np.where(measured, values, np.nan)
            return whole

        coefficient = of_frames(own / gauge)
        at_regions, errors_there = self._at_regions(fit, frames, gauge)
        terms = np.full((n_frames, state.terms.shape[1]), np.nan)
        terms[frames[measured]] = state.terms[measured] / gauge
        level, level_error, intrinsic = self._rejected_levels(state, terms)
        level[stars] = state.level * gauge
        total = normal.information.sum()
        level_error[stars] = level[stars] * np.sqrt(np.diag(normal.level_covariance) + 1.0 / total)
        intrinsic[stars] = np.sqrt(state.star_variance)
        at = np.ix_(frames, stars)
        used, model = np.zeros((n_frames, n_stars), bool), np.full((n_frames, n_stars), np.nan)
        used[at], model[at] = state.used, normal.model
        leverage = np.full((n_frames, n_stars), np.nan)
        leverage[at] = np.where(state.used, normal.leverage, np.nan)
        if len(stars) == 1:
            self.notes.append("one star only: its own variability can't be separated from the frames' transparency")
        if not fit.converged:
            self.notes.insert(0, f"not settled after {fit.iterations} iterations")
        kind = FitState.CONVERGED if fit.converged else FitState.BOUND
        return NormalizationSolution(
            coefficient=coefficient,
            coefficient_uncertainty=of_frames(error / gauge),
            scatter=of_frames(_frame_scatter(fit)),
            level=level,
            level_error=level_error,
            intrinsic_scatter=intrinsic,
            used=used,
            status=FitStatus(kind, fit.iterations, "; ".join(dict.fromkeys(self.notes))),
            rejected=dict(sorted(self.rejected.items())),
            model=model,
            extra_scatter=of_frames(extra),
            leverage=leverage,
            region_coefficient=at_regions,
            region_coefficient_uncertainty=errors_there,
        )

    def _at_regions(self, fit: EnsembleFit, frames: Ints, gauge: float) -> tuple[Floats | None, Floats | None]:
        """Return the coefficients at the regions and their errors (f, r), where they differ from the frames'."""
        terms, shared = fit.state.terms.shape[1], len(fit.state.response)
        if self.regions is None or (terms == 1 and shared == 0):
            return None, None
        every = self.regions
        there = RegionTerms(every.seen[frames], every.basis[frames, :, :terms], every.shared[frames, :, :shared])
        whole = np.full((2, *every.seen.shape), np.nan)
        whole[:, frames] = coefficients_at(fit, there)
        return whole[0] / gauge, whole[1] / gauge

    def _rejected_levels(self, state: EnsembleState, terms: Floats) -> tuple[Floats, Floats, Floats]:
        """Return every star's level, its error and scatter as the finished terms of the frames (f, k) give them."""
        table = self.table
        response = state.response_at(table.shared[..., : len(state.response)])
        weight = np.where(table.valid & np.isfinite(terms[:, :1]), 1.0 / table.variance, 0.0)
        basis = table.basis[..., : terms.shape[1]]
        known = np.einsum("fnk,fk->fn", basis, np.nan_to_num(terms)) * response
        information = np.sum(weight * known**2, axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            level = np.sum(weight * known * table.flux, axis=0) / information
            error = 1.0 / np.sqrt(information)
        intrinsic = np.full(len(level), np.nan)
        for star, value in self.scatter_of_rejected.items():
            intrinsic[star] = value
            measured = int(np.count_nonzero(weight[:, star]))
            error[star] = np.hypot(error[star], abs(level[star]) * value / np.sqrt(max(measured, 1)))
        empty = information <= 0
        return np.where(empty, np.nan, level), np.where(empty, np.nan, error), intrinsic


def _frame_scatter(fit: EnsembleFit) -> Floats:
    """Return the weighted relative scatter of a frame's stars, for the degrees of freedom left; nan for one star."""
    normal, used = fit.linearised, fit.state.used
    inverse = np.where(used, 1.0 / normal.variance, 0.0)
    free = np.clip(1.0 - normal.leverage, 0.0, 1.0)
    chi2 = np.sum(normal.residual**2 * inverse, axis=1)
    freedom = np.sum(normal.model**2 * inverse * free, axis=1)
    enough = np.sum(np.where(used, free, 0.0), axis=1) > 0.1
    return np.where(enough, np.sqrt(chi2 / np.where(enough, freedom, 1.0)), np.nan)


def _components(links: Bools) -> tuple[Ints, Ints]:
    """Return labels of frames and stars: equal where a chain of links joins them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n_frames, n_stars = links.shape
    row, column = np.nonzero(links)
    size = n_frames + n_stars
    graph = coo_array((np.ones(len(row)), (row, column + n_frames)), shape=(size, size))
    _, label = connected_components(graph, directed=False)
    return label[:n_frames], label[n_frames:]


def _part(table: FluxTable, frames: Ints, stars: Ints) -> FluxTable:
    """Return the fluxes of some frames and stars; without terms in position where these are too few to tell a prior."""
    at = np.ix_(frames, stars)
    valid, basis, shared = table.valid[at], table.basis[at], table.shared[at]
    if table.prior_is_fitted:
        usual = np.median(valid.sum(axis=1))
        if usual < _STARS_A_TERM * basis.shape[-1]:
            basis = basis[..., :1]
        if usual < _FEWEST_STARS or len(frames) < _FRAMES_A_TERM * shared.shape[-1]:
            shared = shared[..., :0]
    return attrs.evolve(
        table, flux=table.flux[at], variance=table.variance[at], valid=valid, basis=basis, shared=shared,
        shared_at_reference=table.shared_at_reference[frames, : shared.shape[-1]],
    )  # fmt: skip


def _response_terms(xy: Floats, shape: tuple[int, int], order: int) -> Floats:
    """Return the terms of the response that all frames share, at positions (..., 2)."""
    return monomials(detector_positions(xy, shape), order)


def _region_terms(fluxes: FluxMatrix, reference: Floats, options: Ensemble) -> RegionTerms | None:
    """Return the terms in position of the regions, where there are several."""
    if fluxes.region_xy is None:
        return None
    xy, shape = np.asarray(fluxes.region_xy, float), fluxes.frame_shape
    seen = np.isfinite(xy).all(axis=-1)
    basis = _basis(xy, reference, shape, options.spatial_order)
    return RegionTerms(seen, basis, _response_terms(xy, shape, options.response_order))


def _reference(fluxes: FluxMatrix, valid: Bools) -> Floats:
    """Return where the coefficients are to hold (f, 2): as asked for, or at the stars' median position."""
    if fluxes.reference_xy is not None:
        return np.asarray(fluxes.reference_xy, float)
    xy = np.asarray(fluxes.xy, float)
    reference = np.zeros((len(xy), 2))
    for f in range(len(xy)):
        known = xy[f][valid[f] & np.isfinite(xy[f]).all(axis=-1)]
        if len(known):
            reference[f] = np.median(known, axis=0)
    return reference


def _basis(xy: Floats, reference: Floats, shape: tuple[int, int], order: int) -> Floats:
    """Return 1 and the monomials up to `order` of the position from the reference, in half frame widths, (f, n, k)."""
    position = np.nan_to_num((xy - reference[:, None, :]) / (0.5 * max(shape)))
    return np.concatenate([np.ones((*position.shape[:2], 1)), monomials(position, order)], axis=-1)


@hookimpl
def lcf_normalizations() -> dict[str, type]:
    """Offer the normalization ``ensemble``."""
    return {"ensemble": Ensemble}
