"""Comparison stars: how much their normalised fluxes scatter, and how much they should.

A star's residual in a frame is ``flux / (coefficient * level) - 1``. The star itself entered the coefficient and the
level, which makes residuals smaller than the errors: a weighted two-way solution leaves a variance of ``v (1 - h)``
with the leverage ``h = w / W_frame + w / W_star - w / W`` (``w = 1 / v``; ``W``: sums of weights over the frame's
stars, the star's frames, and all). Pulls and expected scatters account for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from lcframework.database import Frame, NormalizationCoefficient, Star, StarLevel
from lcframework.sections import Selection
from lcframework.selection import keep
from lcframework.stages.calculate_normalization_coefficient import Group
from lcframework.types import Bools, Floats

#: A measurement that decided its own expectation says nothing about its error.
_MOST_LEVERAGE = 0.8


@attrs.frozen(eq=False)
class ComparisonStars:
    """The reference stars of one field, instrument and band; arrays are (frame, star), nan where not measured."""

    field: str
    instrument: str
    band: str
    frame_ids: list[int]
    mjd: Floats  # (f,)
    coefficient: Floats  # (f,) nan where the frame has none
    coefficient_error: Floats  # (f,)
    star_ids: list[str]
    names: list[str]
    magnitude: Floats  # (n,) in the catalogue's main band
    level: Floats  # (n,) e-/s
    intrinsic: Floats  # (n,) relative
    comment: list[str]  # why a star was left out; empty for those in use
    residual: Floats  # relative
    error: Floats  # relative, from the photometry alone
    leverage: Floats
    selected: Bools  # passed the project's chi2 selections

    @property
    def normalised(self) -> Floats:
        """Flux over coefficient and level: 1 for a constant star."""
        return 1.0 + self.residual

    def pulls(self, intrinsic: bool) -> Floats:
        """Return residuals over their errors; nan where a star was left out or decides its own expectation.

        Parameters
        ----------
        intrinsic : bool
            Add each star's fitted intrinsic scatter to the photometry's errors.
        """
        variance = self.error**2 + (self.intrinsic**2 if intrinsic else 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            pull = self.residual / np.sqrt(variance * (1.0 - self.leverage))
        good = self.selected & (self.leverage < _MOST_LEVERAGE) & np.array([not c for c in self.comment], bool)
        return np.where(good, pull, np.nan)

    def scatter(self) -> tuple[Floats, Floats, Floats]:
        """Return each star's measured and expected relative rms, and its number of frames."""
        good = self.selected & np.isfinite(self.residual) & np.isfinite(self.error)
        count = good.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            freedom = np.where(good, 1.0 - self.leverage, 0.0).sum(axis=0)
            measured = np.sqrt(np.where(good, self.residual**2, 0.0).sum(axis=0) / freedom)
            expected = np.sqrt(np.where(good, self.error**2 * (1 - self.leverage), 0.0).sum(axis=0) / freedom)
        few = (count < 2) | (freedom < 0.5)
        return np.where(few, np.nan, measured), np.where(few, np.nan, expected), count


def comparison_stars(
    group: Group,
    frames: Mapping[int, Frame],
    stars: Mapping[tuple[str, str], Star],
    coefficients: Sequence[NormalizationCoefficient],
    levels: Sequence[StarLevel],
    cuts: tuple[Selection, Selection],
) -> ComparisonStars:
    """Return the curves of one group's stars.

    Parameters
    ----------
    group : Group
        The fluxes that the normalization is made from.
    frames, stars, coefficients, levels
        Rows of the tables.
    cuts : pair of Selection
        On the PSF's reduced chi2, and on the flux's: as the normalization applies them.
    """
    where = (group.field, group.instrument, group.band)
    by_frame = {c.frame_id: c for c in coefficients if (c.combined_footprint_hash, c.instrument, c.band) == where}
    by_star = {r.gaia_id: r for r in levels if (r.combined_footprint_hash, r.instrument, r.band) == where}
    known = [j for j, s in enumerate(group.star_ids) if s in by_star]
    ids = [group.star_ids[j] for j in known]
    coefficient = np.array([by_frame[i].coefficient if i in by_frame else np.nan for i in group.frame_ids])
    uncertainty = np.array([by_frame[i].coefficient_uncertainty if i in by_frame else np.nan for i in group.frame_ids])
    level = np.array([by_star[s].level for s in ids])
    intrinsic = np.array([by_star[s].intrinsic_scatter for s in ids])
    expected = coefficient[:, None] * level[None, :]
    residual = group.fluxes.flux[:, known] / expected - 1.0
    error = group.fluxes.error[:, known] / expected
    selected = np.isfinite(residual) & keep(group.psf_chi2, cuts[0])[:, None]
    for column, j in enumerate(known):
        chi2 = np.where(selected[:, column], group.flux_chi2[:, j], np.nan)
        selected[:, column] &= keep(chi2, cuts[1])
    rows = [stars.get((group.field, s)) for s in ids]
    comment = [by_star[s].comment for s in ids]
    in_use = selected & np.array([not c for c in comment], bool)
    return ComparisonStars(
        *where,
        frame_ids=list(group.frame_ids),
        mjd=np.array([frames[i].mjd or np.nan for i in group.frame_ids]),
        coefficient=coefficient,
        coefficient_error=uncertainty,
        star_ids=ids,
        names=[s.name if s else i for s, i in zip(rows, ids, strict=True)],
        magnitude=np.array([s.magnitude if s else np.nan for s in rows]),
        level=level,
        intrinsic=intrinsic,
        comment=comment,
        residual=residual,
        error=error,
        leverage=leverage(error**2 + intrinsic**2, in_use),
        selected=selected,
    )


def leverage(variance: Floats, used: Bools) -> Floats:
    """Return how much each measurement decides its own expectation, 0 to 1; 0 where it was not used."""
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(used & np.isfinite(variance) & (variance > 0), 1.0 / variance, 0.0)
        of_frame, of_star, total = weight.sum(1, keepdims=True), weight.sum(0, keepdims=True), weight.sum()
        value = weight / of_frame + weight / of_star - weight / total
    return np.asarray(np.clip(np.nan_to_num(value), 0.0, 1.0))
