"""Comparison stars: measured and expected scatter of their normalised fluxes.

Residuals and their expected errors are those of the table ``star_residuals``, from the normalization
(:mod:`lcframework.stars.residuals`). A flux that was used for the coefficient and the level has a smaller residual than
its error; a flux that was not used has a larger one. The expected variance of a residual, relative to that of the flux,
is called *freedom* here; pulls and expected scatters take it into account.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs
import numpy as np

from lcframework.stars.flux_groups import FluxGroup
from lcframework.storage.tables import Frame, NormalizationCoefficient, Star, StarLevel, StarResidual
from lcframework.types import Bools, Floats

#: Below this freedom, a residual gives no information on the error: the flux determined its own expected value.
_LEAST_FREEDOM = 0.2


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
    comment: list[str]  # why a star was excluded; empty for stars in use
    residual: Floats  # relative
    residual_error: Floats  # expected standard deviation of `residual`
    error: Floats  # of the flux, relative, from the photometry only
    selected: Bools  # True where used; for an excluded star, True where measured

    @property
    def normalised(self) -> Floats:
        """Flux divided by the flux that the normalization expects: 1 for a constant star."""
        return 1.0 + self.residual

    @property
    def freedom(self) -> Floats:
        """Expected variance of residuals relative to that of the fluxes: below 1 where a flux was used."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.residual_error**2 / (self.error**2 + self.intrinsic**2))

    def pulls(self, intrinsic: bool) -> Floats:
        """Return residuals over their errors; nan where a star was excluded or a flux determines its expected value.

        Parameters
        ----------
        intrinsic : bool
            Whether to add each star's fitted intrinsic scatter to the errors of the photometry.
        """
        variance = self.error**2 + (self.intrinsic**2 if intrinsic else 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            pull = self.residual / np.sqrt(variance * self.freedom)
            good = self.selected & (self.freedom > _LEAST_FREEDOM) & np.array([not c for c in self.comment], bool)
        return np.where(good, pull, np.nan)

    def scatter(self) -> tuple[Floats, Floats, Floats]:
        """Return each star's measured and expected relative rms, and its number of frames."""
        good = self.selected & np.isfinite(self.residual) & np.isfinite(self.error)
        count = good.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            free = np.where(good, self.freedom, 0.0)
            freedom = free.sum(axis=0)
            measured = np.sqrt(np.where(good, self.residual**2, 0.0).sum(axis=0) / freedom)
            expected = np.sqrt(np.where(good, self.error**2 * free, 0.0).sum(axis=0) / freedom)
        few = (count < 2) | (freedom < 0.5)
        return np.where(few, np.nan, measured), np.where(few, np.nan, expected), count


def comparison_stars(
    group: FluxGroup,
    frames: Mapping[int, Frame],
    stars: Mapping[tuple[str, str], Star],
    coefficients: Sequence[NormalizationCoefficient],
    levels: Sequence[StarLevel],
    residuals: Sequence[StarResidual],
) -> ComparisonStars:
    """Return the curves of one group's stars.

    Parameters
    ----------
    group : FluxGroup
        The fluxes for the normalization.
    frames, stars, coefficients, levels, residuals
        Rows of the tables.
    """
    where = (group.field, group.instrument, group.band)
    by_frame = {c.frame_id: c for c in coefficients if (c.combined_footprint_hash, c.instrument, c.band) == where}
    by_star = {r.gaia_id: r for r in levels if (r.combined_footprint_hash, r.instrument, r.band) == where}
    known = [j for j, s in enumerate(group.star_ids) if s in by_star]
    ids = [group.star_ids[j] for j in known]
    coefficient = np.array([by_frame[i].coefficient if i in by_frame else np.nan for i in group.frame_ids])
    uncertainty = np.array([by_frame[i].coefficient_uncertainty if i in by_frame else np.nan for i in group.frame_ids])
    level = np.array([by_star[s].level for s in ids])
    comment = [by_star[s].comment for s in ids]
    of_group = (r for r in residuals if (r.combined_footprint_hash, r.instrument, r.band) == where)
    residual, residual_error, used = _stored(of_group, group.frame_ids, ids)
    flux = group.fluxes.flux[:, known]
    with np.errstate(invalid="ignore", divide="ignore"):
        # A model may expect other fluxes than coefficient times level; they follow from the residual.
        expected = np.where(1.0 + residual != 0.0, flux / (1.0 + residual), coefficient[:, None] * level)
        error = np.abs(group.fluxes.error[:, known] / expected)
    rows = [stars.get((group.field, s)) for s in ids]
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
        intrinsic=np.array([by_star[s].intrinsic_scatter for s in ids]),
        comment=comment,
        residual=residual,
        residual_error=residual_error,
        error=error,
        selected=np.isfinite(residual) & (used | np.array([bool(c) for c in comment], bool)),
    )


def _stored(rows: Iterable[StarResidual], frames: Sequence[int], stars: Sequence[str]) -> tuple[Floats, Floats, Bools]:
    """Return residuals, their expected errors, and which were used, (frame, star); nan where there is none."""
    row_of, column_of = {f: i for i, f in enumerate(frames)}, {s: j for j, s in enumerate(stars)}
    size = (len(frames), len(stars))
    residual, error, used = np.full(size, np.nan), np.full(size, np.nan), np.zeros(size, bool)
    for r in rows:
        if r.frame_id in row_of and r.gaia_id in column_of:
            at = row_of[r.frame_id], column_of[r.gaia_id]
            residual[at], error[at], used[at] = r.residual, r.residual_error, r.used
    return residual, error, used
