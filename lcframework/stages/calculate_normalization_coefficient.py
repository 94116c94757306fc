"""``calculate_normalization_coefficient``: the relative transparency of each frame from the fluxes of its stars.

It is solved for each (field, instrument, band). The scale of the coefficients is fixed by the stars' levels of the
first solution (`gauge`), so that new frames do not change the scale of old fluxes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import attrs
import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, col, select

from lcframework.provenance import digest
from lcframework.stages.combining_estimates import combines
from lcframework.stages.star_photometry import StarPhotometry
from lcframework.stars.curves import poor_fits, variability
from lcframework.stars.records import NOTHING, judged, no_point_source
from lcframework.stars.residuals import extra_scatter, residual_rows
from lcframework.stars.selection import CHI2_FLOOR, keep
from lcframework.storage.queries import active_stars, frames_with_regions
from lcframework.storage.tables import CombinedFootprint, PsfRow, RoiInFrame, StarFlux, StarLevel
from lcframework.types import Bools, Doubt, Floats, FluxMatrix, NormalizationSolution, Severity, UnusableInput
from lcframework.work import (
    FieldGroupKey,
    FrameKey,
    Ledger,
    Outcome,
    Replace,
    Scope,
    Stage,
    StarKey,
    Task,
    Unit,
    UnitKey,
)
from lcframework.work.scopes import field_rois

#: Values on which light curves depend, and how many digits of each enter the token.
_IN_TOKEN = (("coefficient", 9), ("coefficient_uncertainty", 6), ("extra_scatter", 6))


#: Stars from which on one that varies stands out.
FEWEST_STARS = 3
#: A coefficient's relative error beyond which a frame hardly shows its stars.
LARGEST_UNCERTAINTY = 0.2


@attrs.frozen(eq=False)
class Group:
    """All star fluxes of one field, instrument and band."""

    field: str
    instrument: str
    band: str
    frame_ids: list[int]
    star_ids: list[str]
    fluxes: FluxMatrix
    flux_chi2: Floats  # (f, n)
    psf_chi2: Floats  # (f,)
    gauge: Floats  # (n,) levels that fix the scale; nan for stars without one
    no_stars: dict[int, str] = attrs.field(factory=dict)  # index of a star whose stamps show no single star -> reason

    @property
    def key(self) -> FieldGroupKey:
        """The unit key."""
        return FieldGroupKey(self.field, self.instrument, self.band)


class SolveNormalization(Task[Group, Group, NormalizationSolution]):
    """Solves for the relative transparency of the frames of a group."""

    light: ClassVar[bool] = True

    def load(self, unit: Unit[Group]) -> Group:
        """Return the payload: the fluxes of the group."""
        return unit.payload

    def compute(self, values: Group) -> NormalizationSolution:
        """Select fluxes, solve, and fix the scale."""
        tool = self.toolbox.tool("normalization", values.instrument)
        if tool is None:
            raise UnusableInput('[normalization] plugin = "none": light curves need coefficients')
        _, good = self._selection(values)
        unlike = self._unlike(values, good)
        if not good.any():
            raise UnusableInput("no star flux is left after [photometry] psf_chi2 and [normalization] flux_chi2")
        used = good & ~np.isin(np.arange(good.shape[1]), list(unlike))
        fluxes = attrs.evolve(values.fluxes, flux=np.where(used, values.fluxes.flux, np.nan))
        solution: NormalizationSolution = tool.ask("solve", fluxes)
        if not solution.status.usable:
            raise UnusableInput(f"the normalization failed: {solution.status.reason}")
        return in_gauge(with_left_out(solution, values.fluxes, good, unlike), values.gauge)

    def _selection(self, values: Group) -> tuple[Bools, Bools]:
        """Return which frames (f,) and fluxes (f, n) pass `[photometry] psf_chi2` and `[normalization] flux_chi2`."""
        config = self.toolbox.config_for(values.instrument)
        frames = keep(values.psf_chi2, config.photometry.psf_chi2, CHI2_FLOOR)
        good = np.isfinite(values.fluxes.flux) & frames[:, None]
        for j in range(good.shape[1]):
            chi2 = np.where(good[:, j], values.flux_chi2[:, j], np.nan)
            good[:, j] &= keep(chi2, config.normalization.flux_chi2, CHI2_FLOOR)
        return frames, good

    def _unlike(self, values: Group, good: Bools) -> dict[int, str]:
        """Return by index the stars that are no point sources, or none where these are more than half of the stars."""
        size = self.toolbox.config_for(values.instrument).stamps.star_size
        chi2 = np.where(good, values.flux_chi2, np.nan)
        found = values.no_stars | poor_fits(values.fluxes.flux, values.fluxes.error, chi2, size**2)
        return found if 2 * len(found) <= good.any(axis=0).sum() else {}

    def save(self, unit: Unit[Group], values: Group, result: NormalizationSolution) -> Outcome:
        """Return the rows of coefficients, levels and residuals."""
        group, solution = values, result
        notes = variability(solution, group.fluxes)
        extra = extra_scatter(solution)
        where = {"combined_footprint_hash": group.field, "instrument": group.instrument, "band": group.band}
        coefficients = [
            {**where, "frame_id": frame, "coefficient": float(solution.coefficient[i]),
             "coefficient_uncertainty": float(solution.coefficient_uncertainty[i]),
             "scatter": float(np.nan_to_num(solution.scatter[i])),
             "stars": int(solution.used[i].sum()), "extra_scatter": extra[i]}
            for i, frame in enumerate(group.frame_ids) if np.isfinite(solution.coefficient[i])
        ]  # fmt: skip
        levels = [
            {**where, "gaia_id": star, "level": float(solution.level[j]), "level_error": float(solution.level_error[j]),
             "intrinsic_scatter": float(np.nan_to_num(solution.intrinsic_scatter[j])),
             "gauge_level": float(group.gauge[j]) if np.isfinite(group.gauge[j]) else float(solution.level[j]),
             "comment": solution.rejected.get(j, ""), "note": notes.get(j, "")}
            for j, star in enumerate(group.star_ids) if np.isfinite(solution.level[j])
        ]  # fmt: skip
        residuals = residual_rows(solution, group.fluxes, group.star_ids, *self._selection(group))
        records = (
            *moved_here(group),
            Replace("normalization_coefficients", where, coefficients),
            Replace("star_levels", where, levels),
            Replace("star_residuals", where, [{**where, "frame_id": group.frame_ids[i], **r} for i, r in residuals]),
        )
        token = digest([[c["frame_id"], *(f"{c[k]:.{n}g}" for k, n in _IN_TOKEN)] for c in coefficients])
        known = solution.scatter[np.isfinite(solution.scatter)]  # empty for a single frame
        scatter = f", scatter {1000 * float(np.median(known)):.1f} ppt" if known.size else ""
        doubts = transparency_doubts(solution)
        return Outcome(records, token=token, summary=f"{len(levels)} stars{scatter}", doubts=doubts)


@attrs.define
class CalculateNormalizationCoefficient(Stage):
    """One unit for each field, instrument and band."""

    name: ClassVar[str] = "calculate_normalization_coefficient"
    title: ClassVar[str] = "Normalization"
    needs: ClassVar[tuple[str, ...]] = (StarPhotometry.name,)
    makes: ClassVar[tuple[str, ...]] = ("normalization_coefficients", "star_levels", "star_residuals")
    unit: ClassVar[str] = "field, instrument and band"
    reads: ClassVar[tuple[str, ...] | None] = (
        "frames",
        "combined_footprint",
        "rois_in_frames",
        "stars",
        "stars_in_frames",
        "PSFs",
        "star_flux_in_frame",
        "star_levels",
    )
    results_version: ClassVar[int] = 5

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return the task that solves the normalization."""
        return {FieldGroupKey: SolveNormalization(self.name, self.toolbox)}

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return a unit for each group that has star fluxes."""
        by_frame, by_star = ledger.made(StarPhotometry.name, FrameKey), ledger.made(StarPhotometry.name, StarKey)
        combined = ledger.made(StarPhotometry.name, FieldGroupKey)
        rois = field_rois(session)
        units: list[Unit[Any]] = []
        for group in groups(session):
            keys = {FrameKey(i, group.field) for i in group.frame_ids}
            of_stars = (group.field, group.instrument, group.band)
            tokens = {str(k): by_frame[k].token for k in keys & set(by_frame)}
            tokens |= {str(k): p.token for k, p in by_star.items() if (k.field, k.instrument, k.band) == of_stars}
            if combines(self.toolbox, group.instrument):
                if (product := combined.get(group.key)) is None:
                    continue  # its fluxes are not combined yet
                tokens = {str(group.key): product.token}
            parts = {
                "fluxes": digest(sorted(tokens.items())),
                "frames": digest(group.frame_ids),
                "stars": sorted(group.star_ids),
                "left_out": sorted(group.star_ids[j] for j in group.no_stars),
                "normalization": self.toolbox.identity("normalization", group.instrument),
                "psf_chi2": self.toolbox.identity("photometry", group.instrument)["psf_chi2"],
            }
            label = f"{len(group.frame_ids)} frames of {group.instrument or 'one instrument'} {group.band}".strip()
            scope = Scope(rois.get(group.field), group.instrument, group.band)
            units.append(Unit(group.key, label, self.components(**parts), group, scope=scope))
        return units

    def forget(self, session: Session, units: Collection[str]) -> None:
        """Delete the levels that fix the scale: the next solution defines a new scale."""
        for key in filter(None, map(FieldGroupKey.parse, units)):
            session.execute(
                sa.delete(StarLevel).where(
                    col(StarLevel.combined_footprint_hash) == key.field,
                    col(StarLevel.instrument) == key.instrument,
                    col(StarLevel.band) == key.band,
                )
            )


def transparency_doubts(solution: NormalizationSolution) -> tuple[Doubt, ...]:
    """Return what is doubtful about the transparency of frames."""
    found = []
    stars = int(solution.used.any(axis=0).sum())
    if stars < FEWEST_STARS:
        found.append(
            Doubt(
                "few_normalization_stars",
                f"{stars} of {len(solution.level)} reference stars give the frames' transparency, too few to tell "
                "which of them varies",
                "See why `lcf status` leaves out the others: clouds, [stars] magnitude and radius",
                value=stars,
            )
        )
    known = np.isfinite(solution.coefficient) & (solution.coefficient > 0)
    relative = solution.coefficient_uncertainty[known] / solution.coefficient[known]
    unsure = int((relative > LARGEST_UNCERTAINTY).sum())
    if known.any() and 2 * unsure >= known.sum():
        found.append(
            Doubt(
                "uncertain_transparency",
                f"the transparency of {unsure} of {int(known.sum())} frames is known to {LARGEST_UNCERTAINTY:.0%} or "
                "worse: it, and the scale of all fluxes and the zero point with it, rest on noise",
                "Leave such frames out ([roi_cutouts] normalization, `lcf exclude`), or use brighter stars",
                severity=Severity.SERIOUS,
                value=float(np.median(relative)),
            )
        )
    return tuple(found)


def moved_here(group: Group) -> list[Replace]:
    """Return the records that delete what other groups' solutions left of a group's frames.

    A frame has one row in a field, whichever group it belongs to: where its header is read anew with another band or
    instrument, that of its former group is still there.
    """
    frames = [{"combined_footprint_hash": group.field, "frame_id": frame} for frame in group.frame_ids]
    return [Replace(t, where) for t in ("normalization_coefficients", "star_residuals") for where in frames]


def with_left_out(
    solution: NormalizationSolution, fluxes: FluxMatrix, good: Bools, unlike: dict[int, str]
) -> NormalizationSolution:
    """Return the solution with levels of the excluded stars `unlike`, computed from its coefficients."""
    if not unlike:
        return solution
    level, error, scatter = solution.level.copy(), solution.level_error.copy(), solution.intrinsic_scatter.copy()
    for j in unlike:
        use = good[:, j] & np.isfinite(solution.coefficient) & (solution.coefficient > 0)
        if use.any():
            ratio = fluxes.flux[use, j] / solution.coefficient[use]
            noise = float(np.median(fluxes.error[use, j] / solution.coefficient[use]))
            level[j], scatter[j] = np.median(ratio), np.std(ratio) / abs(np.median(ratio))
            error[j] = 1.2533 * np.hypot(np.std(ratio), noise) / np.sqrt(use.sum())  # of a median
    rejected = {**solution.rejected, **unlike}
    return attrs.evolve(solution, level=level, level_error=error, intrinsic_scatter=scatter, rejected=rejected)


def in_gauge(solution: NormalizationSolution, gauge: Floats) -> NormalizationSolution:
    """Return the solution scaled to the levels `gauge` (n,); without any, to a median coefficient of 1."""
    anchored = np.isfinite(gauge) & (gauge > 0) & np.isfinite(solution.level) & (solution.level > 0)
    constant = anchored & ~np.isin(np.arange(len(gauge)), list(solution.rejected))
    anchored = constant if constant.any() else anchored
    if anchored.any():
        # An error of 1 mmag is added, so that the scale does not depend only on the brightest star.
        weight = 1.0 / ((solution.level_error / solution.level)[anchored] ** 2 + 1e-6)
        factor = float(np.exp(np.average(np.log(solution.level[anchored] / gauge[anchored]), weights=weight)))
    else:
        factor = 1.0 / float(np.nanmedian(solution.coefficient))
    return attrs.evolve(
        solution,
        coefficient=solution.coefficient * factor,
        coefficient_uncertainty=solution.coefficient_uncertainty * factor,
        level=solution.level / factor,
        level_error=solution.level_error / factor,
    )


#: A star's flux in a frame: star, frame, flux, its noise, chi2, x, y.
_Flux = tuple[str, int, float, float, float, float, float]
_FLUXES = sa.select(
    col(StarFlux.combined_footprint_hash), col(StarFlux.gaia_id), col(StarFlux.frame_id), col(StarFlux.flux),
    sa.func.coalesce(StarFlux.flux_noise, StarFlux.flux_uncertainty), col(StarFlux.chi2), col(StarFlux.x),
    col(StarFlux.y),
)  # fmt: skip


def groups(session: Session) -> list[Group]:
    """Return the group of each (field, instrument, band) that has star fluxes."""
    frames = frames_with_regions(session)
    active = active_stars(session)
    psfs = session.exec(select(PsfRow.frame_id, PsfRow.combined_footprint_hash, PsfRow.chi2))
    chi2 = {(frame, field): value for frame, field, value in psfs}
    levels = {
        (r.combined_footprint_hash, r.instrument, r.band, r.gaia_id): r.gauge_level
        for r in session.exec(select(StarLevel))
    }
    found: dict[tuple[str, str, str], list[_Flux]] = {}
    group_of = {i: (f.instrument, f.band) for i, f in frames.items()}
    for field, star, *rest in session.execute(_FLUXES):
        if (group_of_frame := group_of.get(rest[0])) is not None and (field, star) in active:
            found.setdefault((field, *group_of_frame), []).append((star, *rest))
    regions_at = _region_positions(session)
    out = []
    for (field, instrument, band), rows in sorted(found.items()):
        ids = sorted({frame for _, frame, *_ in rows}, key=lambda i: (frames[i].mjd or 0.0, i))
        stars = sorted({star for star, *_ in rows})
        gauge = np.array([levels.get((field, instrument, band, s)) or np.nan for s in stars])
        psf = np.array([chi2.get((i, field), np.nan) for i in ids])
        shape = (frames[ids[0]].height or 0, frames[ids[0]].width or 0)
        matrix, flux_chi2 = _matrix(rows, ids, stars, shape)
        reference = np.array([regions_at.get((field, i), (np.nan, np.nan)) for i in ids])
        if np.isfinite(reference).all():
            matrix = attrs.evolve(matrix, reference_xy=reference)
        # Only frames that were measured: frames that are not measured yet must not change the result.
        found_of = judged(session, set(ids))
        verdicts = {j: no_point_source(found_of.get((field, star), NOTHING)) for j, star in enumerate(stars)}
        no_stars = {j: why for j, why in verdicts.items() if why}
        out.append(Group(field, instrument, band, ids, stars, matrix, flux_chi2, psf, gauge, no_stars))
    return out


def _region_positions(session: Session) -> dict[tuple[str, int], tuple[float, float]]:
    """Return by (field, frame id) the pixel of the field's first region, at which coefficients are evaluated."""
    inside: dict[int, dict[str, tuple[float, float]]] = {}
    places = select(RoiInFrame.frame_id, RoiInFrame.roi, RoiInFrame.x, RoiInFrame.y)
    for frame_id, roi, x, y in session.exec(places.where(RoiInFrame.roi_in_footprint)):
        if x is not None and y is not None:
            inside.setdefault(frame_id, {})[roi] = (x, y)
    out = {}
    for field in session.exec(select(CombinedFootprint)):
        for frame, rois in inside.items():
            contained = [rois[name] for name in field.rois if name in rois]
            if contained:
                out[field.hash, frame] = contained[0]
    return out


def _matrix(rows: list[_Flux], ids: list[int], stars: list[str], shape: tuple[int, int]) -> tuple[FluxMatrix, Any]:
    row_of, column_of = {f: i for i, f in enumerate(ids)}, {s: j for j, s in enumerate(stars)}
    at = [row_of[r[1]] for r in rows], [column_of[r[0]] for r in rows]
    values = np.full((len(ids), len(stars), 5), np.nan)  # flux, error, chi2, x, y
    values[at] = [r[2:] for r in rows]
    flux, error, chi2 = (np.ascontiguousarray(values[..., k]) for k in range(3))
    return FluxMatrix(flux, error, np.ascontiguousarray(values[..., 3:]), shape), chi2
