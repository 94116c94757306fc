"""Why the light curve has no number for a source in a frame: the first step of the way that did not pass it on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from lcframework.ancestry.facts import Line, Section, date_of, figures, known, some
from lcframework.ancestry.footprints import distance_arcmin
from lcframework.ancestry.published import number
from lcframework.ancestry.records import Records, Row, file_of
from lcframework.frames.exclusions import COPY, EXCLUDED_BY_COMMAND, EXCLUDED_IN_FILE, IMPORT, PLATE_SOLVING, SET_ASIDE
from lcframework.running.frame_status import TO_BE_REMADE
from lcframework.stages.calculate_common_and_total_footprint import CalculateCommonAndTotalFootprint as Footprint
from lcframework.stages.calculate_normalization_coefficient import CalculateNormalizationCoefficient as Normalization
from lcframework.stages.model_calibrated_cutouts import ModelCalibratedCutouts as Model
from lcframework.stages.prepare_calibrated_cutouts import PrepareCalibratedCutouts as Prepare
from lcframework.stages.psf_modeling import PsfModeling
from lcframework.stages.query_gaia_for_stars import QueryGaiaForStars
from lcframework.stages.stamp_extraction import StampExtraction
from lcframework.stages.star_photometry import StarPhotometry
from lcframework.storage.tables import ProductState
from lcframework.types import file_name
from lcframework.work import FieldGroupKey, FitKey, FrameKey, RegionGroupKey

RUN = "`lcf run` goes on from there; `lcf status --why` shows what waits"


@attrs.frozen
class Absence:
    """Why there is no number.

    Attributes
    ----------
    stage : str
        The stage that did not pass the frame on.
    state : str
        In a word or two: ``taken out``, ``not used``, ``left out``, ``not made yet``, ``not measured``.
    reason, remedy : str
        Why, and what to do.
    """

    stage: str
    state: str
    reason: str
    remedy: str


@attrs.frozen(eq=False)
class _Question:
    records: Records
    frame: Row
    roi: str
    source: str
    field: str

    def product(self, stage: str, key: object) -> Row | None:
        return self.records.product(stage, key)

    @property
    def own(self) -> FrameKey:
        """The frame with the field of reference stars."""
        return FrameKey(self.frame.id, self.field)

    @property
    def group(self) -> RegionGroupKey:
        return RegionGroupKey(self.roi, self.frame.instrument, self.frame.band)


def absence(records: Records, frame: Row, roi: str, source: str, field: str) -> Absence | None:
    """Return why the light curve has no flux of a source in a frame; None where it has one."""
    row = records.published.curve(roi).get(frame.id)
    if known(number(row, f"{source}_flux")):
        return None
    question = _Question(records, frame, roi, source, field)
    if row is not None:
        return _source_without_flux(question, row)
    steps: tuple[Callable[[_Question], Absence | None], ...] = (
        _taken_out, _not_solved, _region_outside, _without_stars, _selected_out, _cutout_missing, _model_missing
    )  # fmt: skip
    return next((found for step in steps if (found := step(question)) is not None), _not_joined(question))


def absence_section(found: Absence | None, frame: Row) -> Section:
    """Return why there is no number as a section; data None where there is one."""
    title = "There is no such number"
    if found is None:
        return Section("absence", title, None)
    when = f", {date_of(frame.mjd)}" if known(frame.mjd) else ""
    lines = [
        Line("frame", f"{frame.id}: {file_name(frame.original_image_path)}{when}"),
        Line("because", f"{found.state}: {found.reason}", problem=True),
        Line("by the stage", found.stage),
        Line("what to do", found.remedy),
    ]
    return Section("absence", title, attrs.asdict(found), some(lines))


# ---------------------------------------------------------------- the steps, in the order of the way


def _taken_out(q: _Question) -> Absence | None:
    """Return whether the user or the import took it out, or it is not imported yet."""
    frame, product = q.frame, q.product(IMPORT, FrameKey(q.frame.id))
    if frame.eliminated:
        why, name = frame.comment, file_name(frame.original_image_path)
        remedy = f'mend or replace the file and run again; or leave it out: `lcf exclude PROJECT {name} --why "..."`'
        if why == EXCLUDED_IN_FILE:
            remedy = f'take "{name}" out of [frames] exclude'
        elif why.startswith(EXCLUDED_BY_COMMAND):
            remedy = f"`lcf exclude PROJECT {name} --undo` takes it back in"
        elif why.startswith(COPY):
            remedy = "look at the light curve at the other file; nothing is lost"
        elif why.startswith(SET_ASIDE):
            remedy = "where it is a frame of the sky, correct the keyword in its header that says otherwise"
        return Absence(IMPORT, "taken out", why or "it was eliminated without a reason", remedy)
    return _unfinished(product, IMPORT, "the file was found and is not imported yet")


def _not_solved(q: _Question) -> Absence | None:
    frame = q.frame
    if frame.plate_solved:
        return None
    if not frame.attempted_plate_solve:
        return Absence(PLATE_SOLVING, "not made yet", "it is imported and not solved yet", RUN)
    why = frame.comment.removeprefix("not solved: ") or "no solver found a solution"
    remedy = "try another solver in [plate_solving] plugin, a larger search_radius, or `retry_failed = true`"
    return Absence(PLATE_SOLVING, "not used", f"it has no WCS: {why}", remedy)


def _region_outside(q: _Question) -> Absence | None:
    row = q.records.regions.get((q.frame.id, q.roi))
    if row is None:
        made = q.product(Footprint.name, FrameKey(q.frame.id))
        return _unfinished(made, Footprint.name, "what it covers is not worked out yet") or Absence(
            Footprint.name, "not made yet", f"it is not known yet whether it covers {q.roi}", RUN
        )
    if row.roi_in_footprint:
        return None
    if row.comment:  # such as beyond the table of an ephemeris
        remedy = f"see the ephemeris of [roi.{q.roi}]"
        return Absence(Footprint.name, "not used", f"{q.roi} has no place in it: {row.comment}", remedy)
    away = distance_arcmin(q.records, q.frame, q.roi)
    where = f": {q.roi} lies {figures(away, 3)} arcmin from its middle" if known(away) else ""
    remedy = f"right where the telescope pointed elsewhere; else look at its WCS, and at ra and dec in [roi.{q.roi}]"
    return Absence(Footprint.name, "not used", f"it does not cover the region{where}", remedy)


def _without_stars(q: _Question) -> Absence | None:
    """Return which stage that works frame by frame has not made its product, or could not."""
    if not q.field:
        return Absence(Footprint.name, "not made yet", f"{q.roi} has no field of reference stars yet", RUN)
    rows: dict[Any, Any] = {QueryGaiaForStars: q.records.placed, StarPhotometry: q.records.fluxes}
    for stage, what, remedy in (
        (QueryGaiaForStars, "its reference stars are not placed yet", "widen [stars] radius or magnitude"),
        (StampExtraction, "its stamps are not cut yet", "see what [stamps] and [stars] leave of it"),
        (PsfModeling, "it has no PSF yet", "more or other stars by [psf] stars and exclude; or clouds and trails?"),
        (StarPhotometry, "its stars are not measured yet", "see [photometry] stars and exclude"),
    ):
        product = q.product(stage.name, q.own)
        if product is None and rows.get(stage, {}).get((q.frame.id, q.field)):
            continue  # such as of a plugin that measures a star in all frames at once
        found = _unfinished(product, stage.name, what, remedy)
        if found is not None:
            return found
    return None


def _selected_out(q: _Question) -> Absence | None:
    """Return whether it has no coefficient, or misses a limit on seeing, PSF or transparency."""
    key = FieldGroupKey(q.field, q.frame.instrument, q.frame.band)
    product = q.product(Normalization.name, key)
    if product is None or product.state != ProductState.MADE.value:
        return _unfinished(product, Normalization.name, "its group of frames is not normalised yet")
    if q.frame.comment:  # a later stage than the import left it out
        return Absence(q.frame.comment.partition(":")[0], "left out", q.frame.comment, "see the stage's section below")
    why = q.records.around.left_out(q.field, q.group).get(q.frame.id, "")
    if not why or why == TO_BE_REMADE:
        return None
    stage = Prepare.name if (q.frame.id, q.field) in q.records.coefficients else Normalization.name
    remedy = "widen the limit that it names, where the frame is good enough; its products are kept and used at once"
    return Absence(stage, "left out", why, remedy)


def _cutout_missing(q: _Question) -> Absence | None:
    product = q.product(Prepare.name, q.group)
    found = q.records.published.cutouts(file_of(product))
    if q.frame.id in found.index:
        return None
    return _unfinished(product, Prepare.name, "its cutouts are not made yet") or Absence(
        Prepare.name, "not made yet", found.problem or "it is not among the epochs that were prepared", RUN
    )


def _model_missing(q: _Question) -> Absence | None:
    if q.records.project.toolbox.tool("roi_model", q.frame.instrument) is None:
        why = f'[roi_model] plugin = "none" for {q.frame.instrument or "this instrument"}'
        return Absence(Model.name, "not measured", why, "name a model in [roi_model] plugin")
    product = q.product(Model.name, FitKey(q.roi, q.frame.instrument, q.frame.band))
    return _unfinished(product, Model.name, "the region is not modelled yet")


def _not_joined(q: _Question) -> Absence:
    return Absence(Model.name, "not made yet", f"the light curve of {q.roi} is to be written anew", "`lcf run`")


def _source_without_flux(q: _Question, row: Any) -> Absence:
    """Return why a source has no flux in an epoch that is there."""
    names = q.records.published.sources_of(q.roi)
    if q.source not in names:
        why = f"the light curve of {q.roi} was made without it: it has {', '.join(names) or 'no source'}"
        return Absence(Model.name, "not made yet", why, "`lcf run` models the region with the sources of today")
    why = "the epoch was modelled and this source has no flux in it: its core is masked"
    remedy = "look at the cutout in the report: saturated, on a bad line or a cosmic ray, or beyond the frame's edge?"
    return Absence(Model.name, "not measured", why, remedy)


def _unfinished(product: Row | None, stage: str, not_yet: str, remedy: str = "") -> Absence | None:
    """Return that a product is not there, or could not be made; None where it was made."""
    if product is None or product.state == ProductState.FORCED.value:
        return Absence(stage, "not made yet", not_yet, RUN)
    if product.state == ProductState.UNUSABLE.value:
        return Absence(stage, "not used", product.reason, remedy or "see the reason; `lcf status` shows it too")
    return None
