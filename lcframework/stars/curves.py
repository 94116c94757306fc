"""What the fluxes of reference stars over all frames say of them: poor point sources, and variable stars."""

from __future__ import annotations

import numpy as np

from lcframework.types import Floats, FluxMatrix, NormalizationSolution

#: Stars and frames from which the stars' fits are compared.
FEWEST_STARS, FEWEST_FRAMES = 4, 3
#: A star fits poorly beyond this many times the others' chi2, and robust standard deviations of it, ...
TIMES_CHI2, SIGMA = 2.0, 5.0
#: ... and where this share of its light is misplaced, and so many times what is usual.
LEAST_MISFIT, TIMES_MISFIT = 0.03, 3.0
#: A star is called variable beyond this intrinsic scatter, and so many times the median star's.
LEAST_SCATTER, TIMES_SCATTER = 0.01, 3.0


def poor_fits(flux: Floats, error: Floats, chi2: Floats, pixels: int) -> dict[int, str]:
    """Return the stars that the PSF fits worse than the others in frame after frame, each with the reason.

    Chi2 alone would condemn the brightest star, in which the slightest error of the PSF shows. The misplaced share of
    a star's light doesn't: the residuals beyond the noise over the star's signal, ``sqrt((chi2 - 1) N) error / flux``.

    Parameters
    ----------
    flux, error, chi2 : array (frames, stars)
        nan where not measured; chi2 is reduced.
    pixels : int
        How many a fit has, N.
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
    spread = 1.4826 * float(np.median(np.abs(own_chi2 - centre))) + np.sqrt(2.0 / pixels)
    poor = (own_chi2 > max(TIMES_CHI2 * centre, centre + SIGMA * spread)) & (
        own_misfit > max(LEAST_MISFIT, TIMES_MISFIT * typical)
    )
    return {
        int(stars[i]): f"no point source: reduced chi2 {own_chi2[i]:.1f} where the stars' median is {centre:.1f}, and "
        f"{own_misfit[i]:.0%} of its light misplaced"
        for i in np.flatnonzero(poor)
    }


def variability(solution: NormalizationSolution, fluxes: FluxMatrix) -> dict[int, str]:
    """Return the stars that vary and are used all the same, with as little weight as their scatter leaves them.

    A star varies where its intrinsic scatter stands out from the other stars' and from what chance makes of its errors:
    the variance of n fluxes is uncertain by ``sqrt(2 / n)`` of itself.
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
        mine = solution.used[:, j]
        with np.errstate(invalid="ignore", divide="ignore"):
            noise = float(np.nanmedian(fluxes.error[mine, j] / np.abs(fluxes.flux[mine, j])))
        chance = noise * np.sqrt(3.0 * np.sqrt(2.0 / mine.sum()))
        if scatter[j] > max(LEAST_SCATTER, TIMES_SCATTER * usual, chance):
            out[int(j)] = (
                f"variable: scatters by {scatter[j]:.1%} beyond its errors, the median star by {usual:.1%}; its weight "
                "is less accordingly"
            )
    return out
