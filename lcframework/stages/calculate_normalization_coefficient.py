"""``calculate_normalization_coefficient``: the relative transparency of each frame from the fluxes of its stars.

It is solved for each (field, instrument, band). The scale of the coefficients is fixed by the stars' levels of the
first solution (`gauge`), so that new frames do not change the scale of old fluxes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, col

from lcframework.provenance import digest
from lcframework.stages.combining_estimates import combines
from lcframework.stages.star_photometry import StarPhotometry
from lcframework.stars.curves import poor_fits, variability
from lcframework.stars.flux_groups import FluxGroup, groups, outlines
from lcframework.stars.residuals import extra_scatter, residual_rows, residuals
from lcframework.stars.selection import CHI2_FLOOR, keep
from lcframework.stars.slow_changes import slow_scatter
from lcframework.storage.tables import StarLevel
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

#: Values on which light curves depend, and how many digits of each enter the token; and of the slow scatter.
_IN_TOKEN = (("coefficient", 9), ("coefficient_uncertainty", 6), ("extra_scatter", 6))
_SLOW_DIGITS = 4
#: Stars from which on one that varies stands out.
FEWEST_STARS = 3
#: A coefficient's relative error beyond which a frame hardly shows its stars.
LARGEST_UNCERTAINTY = 0.2
#: Frames are told whose stars scatter beyond their errors by so many times what is usual, and by so much.
_UNEVEN, _UNEVEN_SCATTER = 3.0, 0.005


class SolveNormalization(Task[FluxGroup, FluxGroup, NormalizationSolution]):
    """Solves for the relative transparency of the frames of a group."""

    light: ClassVar[bool] = True

    def load(self, unit: Unit[FluxGroup]) -> FluxGroup:
        """Return the payload: the fluxes of the group."""
        return unit.payload

    def compute(self, values: FluxGroup) -> NormalizationSolution:
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

    def _selection(self, values: FluxGroup) -> tuple[Bools, Bools]:
        """Return which frames (f,) and fluxes (f, n) pass `[photometry] psf_chi2` and `[normalization] flux_chi2`."""
        config = self.toolbox.config_for(values.instrument)
        frames = keep(values.psf_chi2, config.photometry.psf_chi2, CHI2_FLOOR)
        good = np.isfinite(values.fluxes.flux) & frames[:, None]
        for j in range(good.shape[1]):
            chi2 = np.where(good[:, j], values.flux_chi2[:, j], np.nan)
            good[:, j] &= keep(chi2, config.normalization.flux_chi2, CHI2_FLOOR)
        return frames, good

    def _unlike(self, values: FluxGroup, good: Bools) -> dict[int, str]:
        """Return by index the stars that are no point sources, or none where these are more than half of the stars."""
        size = self.toolbox.config_for(values.instrument).stamps.star_size
        chi2 = np.where(good, values.flux_chi2, np.nan)
        found = values.no_stars | poor_fits(values.fluxes.flux, values.fluxes.error, chi2, size**2)
        return found if 2 * len(found) <= good.any(axis=0).sum() else {}

    def save(self, unit: Unit[FluxGroup], values: FluxGroup, result: NormalizationSolution) -> Outcome:
        """Return the rows of coefficients, levels and residuals."""
        group, solution = values, result
        notes = variability(solution, group.fluxes)
        extra, slow = extra_scatter(solution), slow_scatter(*residuals(solution, group.fluxes), solution.used)
        where = {"combined_footprint_hash": group.field, "instrument": group.instrument, "band": group.band}
        coefficients = [
            {**where, "frame_id": frame, "coefficient": float(solution.coefficient[i]),
             "coefficient_uncertainty": float(solution.coefficient_uncertainty[i]),
             "scatter": float(np.nan_to_num(solution.scatter[i])),
             "stars": int(solution.used[i].sum()), "extra_scatter": extra[i], "slow_scatter": slow}
            for i, frame in enumerate(group.frame_ids) if np.isfinite(solution.coefficient[i])
        ]  # fmt: skip
        levels = [
            {**where, "gaia_id": star, "level": float(solution.level[j]), "level_error": float(solution.level_error[j]),
             "intrinsic_scatter": float(np.nan_to_num(solution.intrinsic_scatter[j])),
             "gauge_level": float(group.gauge[j]) if np.isfinite(group.gauge[j]) else float(solution.level[j]),
             "comment": solution.rejected.get(j, ""), "note": notes.get(j, "")}
            for j, star in enumerate(group.star_ids) if np.isfinite(solution.level[j])
        ]  # fmt: skip
        rows = residual_rows(solution, group.fluxes, group.star_ids, *self._selection(group))
        at_regions = _at_regions(group, solution, where)
        records = (
            *moved_here(group),
            Replace("normalization_coefficients", where, coefficients),
            Replace("region_coefficients", where, at_regions),
            Replace("star_levels", where, levels),
            Replace("star_residuals", where, [{**where, "frame_id": group.frame_ids[i], **r} for i, r in rows]),
        )
        token = digest([
            "" if slow is None else f"{slow:.{_SLOW_DIGITS}g}",
            *([c["frame_id"], *(f"{c[k]:.{n}g}" for k, n in _IN_TOKEN)] for c in coefficients),
            *([c["frame_id"], c["roi"], *(f"{c[k]:.{n}g}" for k, n in _IN_TOKEN[:2])] for c in at_regions),
        ])  # fmt: skip
        known = solution.scatter[np.isfinite(solution.scatter)]  # empty for a single frame
        scatter = f", scatter {1000 * float(np.median(known)):.1f} ppt" if known.size else ""
        scatter += f", slow changes {1000 * slow:.1f} ppt" if slow else ""
        doubts = transparency_doubts(solution)
        return Outcome(records, token=token, summary=f"{len(levels)} stars{scatter}", doubts=doubts)


@attrs.define
class CalculateNormalizationCoefficient(Stage):
    """One unit for each field, instrument and band."""

    name: ClassVar[str] = "calculate_normalization_coefficient"
    title: ClassVar[str] = "Normalization"
    needs: ClassVar[tuple[str, ...]] = (StarPhotometry.name,)
    makes: ClassVar[tuple[str, ...]] = (
        "normalization_coefficients", "region_coefficients", "star_levels", "star_residuals",
    )  # fmt: skip
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
    results_version: ClassVar[int] = 6

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return the task that solves the normalization."""
        return {FieldGroupKey: SolveNormalization(self.name, self.toolbox)}

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return a unit for each group that has star fluxes."""
        by_frame, by_star = ledger.made(StarPhotometry.name, FrameKey), ledger.made(StarPhotometry.name, StarKey)
        combined = ledger.made(StarPhotometry.name, FieldGroupKey)
        rois = field_rois(session)
        units: list[Unit[Any]] = []
        for group in outlines(session):
            field, instrument = group.key.field, group.key.instrument
            keys = {FrameKey(i, field) for i in group.frame_ids}
            of_stars = (field, instrument, group.key.band)
            tokens = {str(k): by_frame[k].token for k in keys & set(by_frame)}
            tokens |= {str(k): p.token for k, p in by_star.items() if (k.field, k.instrument, k.band) == of_stars}
            if combines(self.toolbox, instrument):
                if (product := combined.get(group.key)) is None:
                    continue  # its fluxes are not combined yet
                tokens = {str(group.key): product.token}
            parts = {
                "fluxes": digest(sorted(tokens.items())),
                "frames": digest(group.frame_ids),
                "stars": group.star_ids,
                "left_out": sorted(group.no_stars),
                "regions": self._places(rois.get(field, ())),
                "normalization": self.toolbox.identity("normalization", instrument),
                "psf_chi2": self.toolbox.identity("photometry", instrument)["psf_chi2"],
            }
            label = f"{len(group.frame_ids)} frames of {instrument or 'one instrument'} {group.key.band}".strip()
            scope = Scope(rois.get(field), instrument, group.key.band)
            units.append(Unit(group.key, label, self.components(**parts), None, scope=scope))
        return units

    def _places(self, regions: Collection[str]) -> list[Any]:
        """Return where the regions of a field are in the sky, where several have a coefficient each.

        A single one that is moved by an arcsec or so keeps its coefficient.
        """
        config = self.toolbox.config.roi
        if len(regions) < 2:
            return []
        return [[name, config[name].ra, config[name].dec, config[name].ephemeris]
                for name in sorted(regions) if name in config]  # fmt: skip

    def filled(self, session: Session, units: Sequence[Unit[Any]]) -> list[Unit[Any]]:
        """Return units with the fluxes of their groups."""
        found: dict[UnitKey, FluxGroup] = {group.key: group for group in groups(session)} if units else {}
        return [attrs.evolve(unit, payload=found[unit.key]) for unit in units]

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
    beyond = np.array(extra_scatter(solution))
    usual = float(np.median(beyond[known])) if known.any() else 0.0
    uneven = known & (beyond > max(_UNEVEN * usual, _UNEVEN_SCATTER))
    if uneven.any():
        worst = float(np.max(beyond[uneven]))
        found.append(
            Doubt(
                "uneven_transparency",
                f"the stars of {int(uneven.sum())} of {int(known.sum())} frames disagree about their transparency, by "
                f"up to {1000 * worst:.0f} ppt beyond their errors, where {1000 * usual:.1f} are usual",
                "A cloud's edge or a dome may be in the beam: errors are larger there; leave such frames out "
                "([roi_cutouts] normalization, `lcf exclude`)",
                value=worst,
            )
        )
    return tuple(found)


def _at_regions(group: FluxGroup, solution: NormalizationSolution, where: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the coefficients at a field's regions, where these differ from the frames'."""
    value, error = solution.region_coefficient, solution.region_coefficient_uncertainty
    if value is None or error is None:
        return []
    return [
        {**where, "frame_id": group.frame_ids[i], "roi": group.regions[k], "coefficient": float(value[i, k]),
         "coefficient_uncertainty": float(error[i, k])}
        for i, k in np.argwhere(np.isfinite(value) & np.isfinite(error)).tolist()
    ]  # fmt: skip


def moved_here(group: FluxGroup) -> list[Replace]:
    """Return the records that delete what other groups' solutions left of a group's frames.

    A frame has one row in a field, whichever group it belongs to: where its header is read anew with another band or
    instrument, that of its former group is still there.
    """
    frames = [{"combined_footprint_hash": group.field, "frame_id": frame} for frame in group.frame_ids]
    tables = ("normalization_coefficients", "region_coefficients", "star_residuals")
    return [Replace(t, where) for t in tables for where in frames]


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
        region_coefficient=_scaled(solution.region_coefficient, factor),
        region_coefficient_uncertainty=_scaled(solution.region_coefficient_uncertainty, factor),
    )


def _scaled(values: Floats | None, factor: float) -> Floats | None:
    return None if values is None else values * factor
