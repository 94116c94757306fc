"""Tests of reference stars on their fluxes in all frames: stars that are no point sources, and variable stars."""

from __future__ import annotations

import numpy as np

from lcframework.types import Floats, FluxMatrix, NormalizationSolution
from lcframework.types.robust import robust_scatter

#: Least numbers of stars, and of frames of a star, for the comparison of fits.
FEWEST_STARS, FEWEST_FRAMES = 4, 3
#: A fit is poor where chi2 exceeds the median star's by this factor and by so many robust standard deviations, ...
TIMES_CHI2, SIGMA = 2.0, 5.0
#: ... and where its misplaced share of light exceeds this value and the median star's by this factor.
LEAST_MISFIT, TIMES_MISFIT = 0.03, 3.0
#: A star is variable where its intrinsic scatter exceeds this value, and the median star's by this factor.
LEAST_SCATTER, TIMES_SCATTER = 0.01, 3.0


def poor_fits(flux: Floats, error: Floats, chi2: Floats, pixels: int) -> dict[int, str]:
    """Return the reason for each star that the PSF fits worse than the other stars in most frames, by star index.

    Chi2 alone would reject the brightest star, for which even small errors of the PSF are significant. So the misplaced
    share of a star's light is used too: the residuals beyond the noise, relative to the star's signal, ``sqrt((chi2 -
    1) N) error / flux``.

    Parameters
    ----------
    flux, error, chi2 : array (frames, stars)
        nan where not measured; chi2 is reduced.
    pixels : int
        The number N of pixels in a fit.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        misfit = np.sqrt(np.maximum(chi2 - 1.0, 0.0) * pixels) * np.where(flux > 0, error / flux, np.nan)
    known = np.isfinite(chi2) & np.isfinite(misfit)
    stars = np.flatnonzero(known.sum(axis=0) >= FEWEST_FRAMES)
    if len(stars) < FEWEST_STARS:
        return {}
    own_chi2 = np.array([np.median(chi2[known[:, j], j]) for j in stars])
    own_misfit = np.array([np.median(misfit[known[:, j], j]) for j in stars])
    centre, typical = float(np.median(own_chi2)), float(np.median(own_misfit))
    spread = robust_scatter(own_chi2) + np.sqrt(2.0 / pixels)
    poor = (own_chi2 > max(TIMES_CHI2 * centre, centre + SIGMA * spread)) & (
        own_misfit > max(LEAST_MISFIT, TIMES_MISFIT * typical)
    )
    return {
        int(stars[i]): f"no point source: reduced chi2 {own_chi2[i]:.1f} where the stars' median is {centre:.1f}, and "
        f"{own_misfit[i]:.0%} of its light misplaced"
        for i in np.flatnonzero(poor)
    }


def variability(solution: NormalizationSolution, fluxes: FluxMatrix) -> dict[int, str]:
    """Return a note for each variable star that is still used, by star index; its scatter lowers its weight.

    A star is variable where its intrinsic scatter exceeds that of the other stars, and the value expected by chance
    from its errors: the variance of n fluxes has a relative uncertainty of ``sqrt(2 / n)``.
    """
    scatter = np.where(np.isfinite(solution.level), solution.intrinsic_scatter, np.nan)
    used = solution.used.any(axis=0) & np.isfinite(scatter)
    if used.sum() < 3:
        return {}
    usual = float(np.median(scatter[used]))
    out = {}
    for j in np.flatnonzero(used):
        if int(j) in solution.rejected:
            continue
        of_star = solution.used[:, j]
        with np.errstate(invalid="ignore", divide="ignore"):
            noise = float(np.nanmedian(fluxes.error[of_star, j] / np.abs(fluxes.flux[of_star, j])))
        chance = noise * np.sqrt(3.0 * np.sqrt(2.0 / of_star.sum()))
        if scatter[j] > max(LEAST_SCATTER, TIMES_SCATTER * usual, chance):
            out[int(j)] = (
                f"variable: scatters by {scatter[j]:.1%} beyond its errors, the median star by {usual:.1%}; its weight "
                "is less accordingly"
            )
    return out
