"""The fit of a PSF's variation over the frame (:mod:`plugins_builtin.engine.psf.field_basis`), and of its order.

With the kernel K_0 given, the residuals of star i are linear in the images' coefficients c and in steps of the star's
flux and position, which are eliminated. The coefficients of one degree of polynomial and function have a Gaussian prior
of mean 0 whose variance maximises the evidence (MacKay 1992, Neural Comput. 4, 415), so that what the stars do not show
is zero. To the pixels' noise is added what the stars' residuals scatter by beyond it
(:mod:`plugins_builtin.engine.misfit`): else the brightest star alone would have a say.

The order is judged by stars that took no part: in turns a fifth of them is predicted by the others. An order's score is
its stars' mean reduced chi2, each star's own flux and position being fitted. There is a variation if the best order is
better than order 0 by `STANDARD_ERRORS` of the mean difference star by star, and by `LEAST_GAIN`. Order 0 takes part in
this with a correction by the same functions: else any correction would pass for a variation. Then the highest order is
taken, unless order 1 is clearly better: the prior leaves little of a term that is not needed, while an order that
changes from frame to frame makes fluxes scatter.

Held-out stars judge a polynomial where stars are. Where there are few, it may run away: to kernels with hardly any
light, or less than none. An order with such a place within the stars' reach is left for the next lower one.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float, Int

from lcframework.types import Bools, Floats, Ints
from plugins_builtin.engine.misfit import distances, misfit_at, relative_misfit
from plugins_builtin.engine.psf.field_basis import (
    FRAME,
    IMAGES,
    NORM,
    NORMALISED_WITHIN,
    TERMS,
    degrees_of_terms,
    equivalent_fwhm,
    hermite_functions,
    images_of,
    indices,
    least_light,
    light_within,
    normalised,
    own_frame,
    polynomials,
    width_of_functions,
)
from plugins_builtin.engine.psf.star_steps import refit_stars, unit_slopes
from plugins_builtin.engine.target import convolve_target, target_matrix

#: Fewest stars for each order: ten for each term of the polynomial.
FEWEST_STARS = (1, 30, 60)
#: Parts of the stars that are left out in turns.
FOLDS = 5
#: A variation has to be better than none by this many standard errors of the mean difference over the stars.
STANDARD_ERRORS = 1.0
#: And by this much of the reduced chi2: chance brings up to 0.0008 in constant fields (25 stars; 0.0007 with 60).
LEAST_GAIN = 0.002
#: Where there is a variation, order 1 has to be better than 2 by so many standard errors.
CLEARLY = 2.5

#: Kernels have this share at least of the middle one's light within the radius of their normalisation. A Gaussian PSF
#: twice as wide as the middle one has 0.87 of its light there, and one three times as wide 0.59.
LEAST_LIGHT = 0.5

_CHUNK = 32  # stars at a time, so that memory is bounded however many there are
_ROUNDS = 2  # linearisations
_PRIOR_ROUNDS = 8
_LEAST_PRIOR = 1e-5  # of the kernel's norm


@attrs.define(eq=False)
class FieldStars:
    """Stars of a frame, with fluxes and positions by the kernel of order 0."""

    data: Float[Floats, "stars n n"]  # zero where not used
    weight: Float[Floats, "stars n n"]  # inverse variance, 0 where not used
    xy: Float[Floats, "stars 2"]  # in the frame, pixels
    amplitude: Float[Floats, " stars"]
    x: Float[Floats, " stars"]  # from the stamps' centres, pixels
    y: Float[Floats, " stars"]

    def take(self, which: Bool[Bools, " stars"] | Int[Ints, " rows"]) -> FieldStars:
        """Return some of the stars."""
        return FieldStars(*(getattr(self, f.name)[which] for f in attrs.fields(FieldStars)))


@attrs.frozen(eq=False)
class FieldFit:
    """A fitted variation."""

    order: int
    narrow: Float[Floats, "m m"]  # at the stars' mean position, sum 1
    variation: dict[str, Floats]  # empty for order 0
    scores: tuple[float, ...]  # held-out reduced chi2 of the orders 0, 1, ... that were tried
    gains: tuple[tuple[float, float], ...]  # of the orders 1, ...: decrease of the score from order 0, and its error
    parameters: float  # that the data determined
    amplitude: Float[Floats, " stars"]
    x: Float[Floats, " stars"]
    y: Float[Floats, " stars"]
    kernels: Float[Floats, "*kernels m m"]  # of each star; one for all where the order is 0
    lowered: bool = False  # a higher order was left, because kernels somewhere lose their light


@attrs.frozen(eq=False)
class _Linear:
    """Each star's normal equations for a kernel correction at its place, its flux and position eliminated."""

    normal: Float[Floats, "stars b b"]
    right: Float[Floats, "stars b"]
    chi2: Float[Floats, " stars"]  # without a correction
    freedom: Float[Floats, " stars"]


@attrs.frozen(eq=False)
class _Fitter:
    stars: FieldStars
    narrow: Float[Floats, "m m"]
    subsampling: int
    target_fwhm: float
    frame: Float[Floats, " 7"]
    fwhm: float
    functions: Float[Floats, "functions m"]

    def terms(self, order: int) -> Float[Floats, "stars terms"]:
        return polynomials(self.stars.xy, self.frame, TERMS[order])

    def kernels(self, coefficients: Float[Floats, "terms b"]) -> Float[Floats, "stars m m"]:
        images = images_of(coefficients, self.functions)
        weights = polynomials(self.stars.xy, self.frame, len(coefficients))
        return np.asarray(self.narrow + np.tensordot(weights, images, 1))

    def linear(self, weight: Float[Floats, "stars n n"], kernels: Float[Floats, "stars m m"]) -> _Linear:
        """Return the equations about the present fluxes and positions, in `_CHUNK` stars at a time."""
        s, n = self.stars, self.stars.data.shape[-1]
        count, b = len(s.data), len(indices()[0])
        normal, right = np.zeros((count, b, b)), np.zeros((count, b))
        chi2 = np.zeros(count)
        for start in range(0, count, _CHUNK):
            part = slice(start, start + _CHUNK)
            amplitude = s.amplitude[part, None, None]
            plain = unit_slopes(self.narrow, s.x[part], s.y[part], n, self.subsampling, self.target_fwhm)[:, 0]
            own = unit_slopes(kernels[part], s.x[part], s.y[part], n, self.subsampling, self.target_fwhm)
            own = own.reshape(len(own), 3, -1)
            w = weight[part].reshape(len(own), 1, -1)
            residual = (s.data[part] - amplitude * plain).reshape(len(own), -1, 1)
            design = self._design(part).reshape(len(own), b, -1) * amplitude
            weighted = own * w
            inverse = np.linalg.inv(_regular(weighted @ own.swapaxes(1, 2)))
            cross, mixed = weighted @ design.swapaxes(1, 2), weighted @ residual
            normal[part] = (design * w) @ design.swapaxes(1, 2) - cross.swapaxes(1, 2) @ inverse @ cross
            right[part] = ((design * w) @ residual - cross.swapaxes(1, 2) @ inverse @ mixed)[..., 0]
            chi2[part] = (w[:, 0] * residual[..., 0] ** 2).sum(axis=1)
            chi2[part] -= (mixed.swapaxes(1, 2) @ inverse @ mixed)[:, 0, 0]
        freedom = np.maximum(np.count_nonzero(weight, axis=(1, 2)) - 3.0, 1.0)
        return _Linear(normal, right, chi2, freedom)

    def _design(self, part: slice) -> Float[Floats, "stars b n n"]:
        """Return the images of stars of unit flux whose kernels are the functions."""
        n, m = self.stars.data.shape[-1], self.narrow.shape[-1]
        across, up = indices()
        rows = target_matrix(self.stars.y[part], n, self.subsampling, self.target_fwhm, m) @ self.functions.T
        columns = target_matrix(self.stars.x[part], n, self.subsampling, self.target_fwhm, m) @ self.functions.T
        rows, columns = rows.swapaxes(1, 2)[:, up, :, None], columns.swapaxes(1, 2)[:, across, None, :]
        return np.asarray(rows * columns)


def fit_field(
    stars: FieldStars,
    narrow: Float[Floats, "m m"],
    highest: int,
    subsampling: int,
    target_fwhm: float,
    *,
    choose: bool,
) -> FieldFit:
    """Return the variation of a kernel over the frame.

    Parameters
    ----------
    stars : FieldStars
        The stars that tell of it. Fluxes and positions are those by `narrow`.
    narrow : (m, m) array
        The kernel of order 0, sum 1.
    highest : int
        The highest order to try.
    subsampling : int
        Small pixels across a data pixel.
    target_fwhm : float
        Of the target Gaussian, small pixels.
    choose : bool
        Whether held-out stars decide on the order; else it is `highest`.
    """
    if highest == 0:
        return FieldFit(0, narrow, {}, (), (), 0.0, stars.amplitude, stars.x, stars.y, narrow)
    full = convolve_target(narrow, target_fwhm)
    fwhm = equivalent_fwhm(full, subsampling)
    functions = hermite_functions(narrow.shape[-1], width_of_functions(fwhm, subsampling, target_fwhm))
    fitter = _Fitter(stars, narrow, subsampling, target_fwhm, own_frame(stars.xy), fwhm, functions)
    weight = tempered(stars, narrow, fwhm, subsampling, target_fwhm)
    coefficients: Floats = np.zeros((TERMS[highest], len(indices()[0])))
    for _ in range(_ROUNDS):
        kernels = fitter.kernels(coefficients)
        start = (stars.amplitude, stars.x, stars.y)
        stars.amplitude, stars.x, stars.y = refit_stars(kernels, stars.data, weight, start, subsampling, target_fwhm)
        linear = fitter.linear(weight, kernels)
        solved = _solve(linear, fitter.terms(highest), np.linalg.norm(narrow))
        coefficients = solved.coefficients
    order = highest
    scores: tuple[float, ...] = ()
    gains: tuple[tuple[float, float], ...] = ()
    if choose:
        scores, gains, order = _choose(linear, fitter, highest, float(np.linalg.norm(narrow)))
        if order == 0:
            return FieldFit(0, narrow, {}, scores, gains, 0.0, stars.amplitude, stars.x, stars.y, narrow)
    for tried in range(order, 0, -1):
        if tried < highest:
            solved = _solve(linear, fitter.terms(tried), np.linalg.norm(narrow))
        found = _finished(fitter, solved, tried, scores, gains, weight)
        if least_light(found.variation, subsampling, target_fwhm) >= LEAST_LIGHT:
            return attrs.evolve(found, lowered=tried < order)
    start = (stars.amplitude, stars.x, stars.y)
    refitted = refit_stars(narrow, stars.data, weight, start, subsampling, target_fwhm)
    return FieldFit(0, narrow, {}, scores, gains, 0.0, *refitted, narrow, lowered=True)


def tempered(
    stars: FieldStars, narrow: Float[Floats, "m m"], fwhm: float, subsampling: int, target_fwhm: float
) -> Float[Floats, "stars n n"]:
    """Return weights from the noise and the stars' usual misfit together."""
    n = stars.data.shape[-1]
    images = unit_slopes(narrow, stars.x, stars.y, n, subsampling, target_fwhm)[:, 0]
    distance = distances(stars.x, stars.y, n, fwhm)
    residual = stars.data - stars.amplitude[:, None, None] * images
    misfit = relative_misfit(residual, stars.weight, stars.amplitude, distance)
    extra = (stars.amplitude[:, None, None] * misfit_at(misfit, distance)) ** 2
    return np.asarray(stars.weight / (1.0 + stars.weight * extra))


def _finished(
    fitter: _Fitter,
    solved: _Solved,
    order: int,
    scores: tuple[float, ...],
    gains: tuple[tuple[float, float], ...],
    weight: Float[Floats, "stars n n"],
) -> FieldFit:
    """Return the fit with a kernel of sum 1 at the stars' mean position, and all others on its scale."""
    sub, target, s = fitter.subsampling, fitter.target_fwhm, fitter.stars
    images = images_of(solved.coefficients, fitter.functions)
    narrow = fitter.narrow + images[0]
    total = narrow.sum()
    narrow, images = narrow / total, images[1:] / total
    radius = NORMALISED_WITHIN * fitter.fwhm
    light = float(light_within(narrow, radius, sub, target))
    weights = fitter.terms(order)[:, 1:]
    kernels = normalised(narrow + np.tensordot(weights, images, 1), light, radius, sub, target)
    amplitude, x, y = refit_stars(kernels, s.data, weight, (s.amplitude, s.x, s.y), sub, target)
    variation = {IMAGES: images, FRAME: fitter.frame, NORM: np.array([light, radius])}
    return FieldFit(order, narrow, variation, scores, gains, solved.parameters, amplitude, x, y, kernels)


# ---------------------------------------------------------------- the linear problem


@attrs.frozen(eq=False)
class _Solved:
    coefficients: Float[Floats, "terms b"]
    prior: Float[Floats, " unknowns"]  # variances
    parameters: float


def _equations(
    linear: _Linear, terms: Float[Floats, "stars terms"], which: Bool[Bools, " stars"]
) -> tuple[Float[Floats, "unknowns unknowns"], Float[Floats, " unknowns"]]:
    """Return the normal matrix and right side over the stars `which`, the polynomials' index first."""
    t, b = terms.shape[1], linear.right.shape[1]
    products = (terms[which, :, None] * terms[which, None, :]).reshape(-1, t * t)
    matrix = (products.T @ linear.normal[which].reshape(-1, b * b)).reshape(t, t, b, b)
    return matrix.transpose(0, 2, 1, 3).reshape(t * b, t * b), (terms[which].T @ linear.right[which]).ravel()


def _solve(linear: _Linear, terms: Float[Floats, "stars terms"], norm: float | np.floating) -> _Solved:
    """Return the coefficients with priors of the most evidence."""
    t, b = terms.shape[1], linear.right.shape[1]
    matrix, right = _equations(linear, terms, np.ones(len(terms), bool))
    coefficients: Floats
    across, up = (np.array(i) for i in indices())
    groups = (degrees_of_terms(t)[:, None] * 100 + (across + up)[None, :]).ravel()
    least = (_LEAST_PRIOR * float(norm)) ** 2
    prior = np.full(t * b, (0.05 * float(norm)) ** 2)
    for _ in range(_PRIOR_ROUNDS):
        covariance = np.linalg.inv(matrix + np.diag(1.0 / prior))
        coefficients = covariance @ right
        known = 1.0 - np.diag(covariance) / prior
        for group in np.unique(groups):
            here = groups == group
            prior[here] = max(float((coefficients[here] ** 2).sum() / max(known[here].sum(), 1e-3)), least)
    coefficients = np.linalg.solve(matrix + np.diag(1.0 / prior), right)
    return _Solved(coefficients.reshape(t, b), prior, float(known.sum()))


def _choose(
    linear: _Linear, fitter: _Fitter, highest: int, norm: float
) -> tuple[tuple[float, ...], tuple[tuple[float, float], ...], int]:
    """Return the orders' scores, their gains over order 0 with errors, and the order to take."""
    chi2 = np.array([_held_out(linear, fitter.stars.amplitude, fitter.terms(o), norm) for o in range(highest + 1)])
    gains = [_difference(chi2[0], chi2[o]) for o in range(1, highest + 1)]
    best = int(np.argmin(chi2.mean(axis=1)))
    order = highest if best > 0 and _better(chi2[0], chi2[best], STANDARD_ERRORS, LEAST_GAIN) else 0
    if order > best and _better(chi2[order], chi2[best], CLEARLY, 0.0):
        order = best
    return tuple(float(v) for v in chi2.mean(axis=1)), tuple(gains), order


def _difference(lower: Float[Floats, " stars"], higher: Float[Floats, " stars"]) -> tuple[float, float]:
    gain = lower - higher
    return float(gain.mean()), float(gain.std(ddof=1) / np.sqrt(len(gain)))


def _better(one: Float[Floats, " stars"], other: Float[Floats, " stars"], errors: float, least: float) -> bool:
    """Whether the other order is better by so many standard errors, and by a fraction `least`."""
    gain, error = _difference(one, other)
    return gain > max(errors * error, least * float(one.mean()))


def _held_out(
    linear: _Linear, amplitude: Float[Floats, " stars"], terms: Float[Floats, "stars terms"], norm: float
) -> Float[Floats, " stars"]:
    """Return each star's reduced chi2 as the others predict it."""
    fold = np.argsort(np.argsort(-amplitude)) % FOLDS  # each with bright and faint stars
    prior = _solve(linear, terms, norm).prior
    out = np.zeros(len(terms))
    for k in range(FOLDS):
        mine = fold == k
        matrix, right = _equations(linear, terms, ~mine)
        c = terms[mine] @ np.linalg.solve(matrix + np.diag(1.0 / prior), right).reshape(terms.shape[1], -1)
        squares = np.einsum("sb,sbc,sc->s", c, linear.normal[mine], c, optimize=True)
        out[mine] = linear.chi2[mine] - 2.0 * (c * linear.right[mine]).sum(axis=1) + squares
    return np.asarray(out / linear.freedom)


def _regular(matrices: Float[Floats, "stars 3 3"]) -> Float[Floats, "stars 3 3"]:
    """Return matrices that have an inverse also where a star has no light."""
    diagonal = np.diagonal(matrices, axis1=1, axis2=2)
    return np.asarray(matrices + np.eye(3) * (1e-9 * diagonal + 1e-30)[:, None, :])
