"""What made each step: stages with their fingerprints, the runs, the versions, and what is out of date."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from lcframework.ancestry.facts import Line, Section, counted, some
from lcframework.ancestry.makers import makers
from lcframework.ancestry.records import Records, Row, components_of
from lcframework.frames.exclusions import IMPORT, PLATE_SOLVING
from lcframework.plugins import SEAM_OF_SECTION
from lcframework.stages.calculate_absolute_zeropoints import CalculateAbsoluteZeropoints
from lcframework.stages.calculate_common_and_total_footprint import CalculateCommonAndTotalFootprint
from lcframework.stages.calculate_normalization_coefficient import CalculateNormalizationCoefficient
from lcframework.stages.initialize_database import InitializeDatabase
from lcframework.stages.model_calibrated_cutouts import ModelCalibratedCutouts
from lcframework.stages.prepare_calibrated_cutouts import PrepareCalibratedCutouts
from lcframework.stages.psf_modeling import PsfModeling
from lcframework.stages.query_gaia_for_stars import QueryGaiaForStars
from lcframework.stages.stamp_extraction import StampExtraction
from lcframework.stages.star_photometry import StarPhotometry
from lcframework.types import redacted
from lcframework.work import (
    FieldGroupKey,
    FieldStarsKey,
    FitKey,
    FrameKey,
    HotPixelsKey,
    LightCurveKey,
    MasterKey,
    ProjectKey,
    RegionGroupKey,
    SolverStarsKey,
    StarKey,
)

#: Two digests of an input, before and now.
_DIGESTS = re.compile(r': "[0-9a-f]{12,}" -> "[0-9a-f]{12,}"')
#: Why a unit is pending, by stage and unit; None: nobody looked.
Pending = Mapping[tuple[str, str], Sequence[str]] | None


def chain(records: Records, frame: Row, roi: str, field: str) -> list[tuple[str, str]]:
    """Return the stages and units that a number comes from, in their order."""
    group = (frame.instrument, frame.band)
    product = records.product(IMPORT, FrameKey(frame.id))
    names = components_of(product).get("reduction", {}).get("masters", {})
    masters = [MasterKey(n) for name in names for n in (f"{frame.instrument}:{name}", name)]
    own = FrameKey(frame.id, field)
    steps: list[tuple[str, Any]] = [
        *((IMPORT, key) for key in masters), (IMPORT, FrameKey(frame.id)),
        (PLATE_SOLVING, SolverStarsKey()), (PLATE_SOLVING, FrameKey(frame.id)),
        (CalculateCommonAndTotalFootprint.name, FrameKey(frame.id)),
        (CalculateCommonAndTotalFootprint.name, ProjectKey()),
        (QueryGaiaForStars.name, FieldStarsKey(field)), (QueryGaiaForStars.name, own),
        (StampExtraction.name, HotPixelsKey(frame.instrument)), (StampExtraction.name, own), (PsfModeling.name, own),
        (StarPhotometry.name, own), (StarPhotometry.name, FieldGroupKey(field, *group)),
        (CalculateNormalizationCoefficient.name, FieldGroupKey(field, *group)),
        (CalculateAbsoluteZeropoints.name, FieldGroupKey(field, *group)),
        (PrepareCalibratedCutouts.name, RegionGroupKey(roi, *group)),
        (ModelCalibratedCutouts.name, FitKey(roi, *group)), (ModelCalibratedCutouts.name, LightCurveKey(roi)),
    ]  # fmt: skip
    found = [(stage, str(key)) for stage, key in steps]
    return [*found, *_others(records, frame, field, found)]


def _others(records: Records, frame: Row, field: str, found: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the products of stages of plugins about the same units, and of stars that were measured jointly."""
    units, stages = {unit for _, unit in found}, {stage for stage, _ in found}
    of_group = (field, frame.instrument, frame.band)
    stars = [
        (stage, unit) for stage, unit in records.products
        if stage == StarPhotometry.name and (key := StarKey.parse(unit)) is not None
        and (key.field, key.instrument, key.band) == of_group
    ]  # fmt: skip
    of_plugins = [(stage, unit) for stage, unit in records.products if unit in units and stage not in stages]
    own = {InitializeDatabase.name}
    return [*sorted(stars), *(step for step in sorted(of_plugins) if step[0] not in own)]


def made_by(records: Records, frame: Row, units: Sequence[tuple[str, str]], pending: Pending) -> Section:
    """Return what each step was made by, and what of it is out of date."""
    steps = [_step(records, frame, stage, unit, pending) for stage, unit in units
             if records.product(stage, unit) is not None or (pending and (stage, unit) in pending)]  # fmt: skip
    runs = {s["run"]: records.runs[s["run"]] for s in steps if s["run"] in records.runs}
    runs = dict(sorted(runs.items()))
    last = max(runs.values(), key=lambda r: r.id, default=None)
    changed = _changed(records, last)
    data = {
        "products": steps, "pending_known": pending is not None,
        "runs": [{"id": r.id, "started": r.started.isoformat(), "lcframework": r.version, "outcome": r.outcome}
                 for r in runs.values()],
        "project_file_changed": changed,
    }  # fmt: skip
    out_of_date = [s for s in steps if s["out_of_date_because"]]
    lines = [
        *(Line(f"run {r.id}", f"{r.started:%Y-%m-%d %H:%M} UTC, lcframework {r.version}, made "
               f"{sum(s['run'] == r.id for s in steps)} of {counted(len(steps), 'product')}") for r in runs.values()),
        Line("project file", f"{counted(len(changed), 'line')} differ from that of run {last.id}: --full shows them"
             if changed and last is not None else ""),
        *(Line("out of date", f"{s['stage']} ({s['unit']}): {_short('; '.join(s['out_of_date_because']))}",
               problem=True) for s in out_of_date),
        Line("up to date", _up_to_date(pending) if not out_of_date else ""),
    ]  # fmt: skip
    more = [*(_line(s) for s in steps), *(Line("project file", text) for text in changed)]
    return Section("made_by", "Made by", data, some(lines), some(more))


def _step(records: Records, frame: Row, stage: str, unit: str, pending: Pending) -> dict[str, Any]:
    product = records.product(stage, unit)
    why = list((pending or {}).get((stage, unit), ()))
    if product is None:
        return {"stage": stage, "unit": unit, "state": "not made", "stage_version": None, "fingerprint": "",
                "path": "", "reason": "", "run": None, "seconds": None, "plugins": [], "settings": {},
                "out_of_date_because": why}  # fmt: skip
    parts = components_of(product)
    found = [maker for section in SEAM_OF_SECTION for maker in makers(records, product, section, frame.instrument)]
    return {
        "stage": stage, "unit": unit, "state": product.state, "stage_version": parts.get("stage_version"),
        "fingerprint": product.fingerprint, "path": product.path, "reason": product.reason, "run": product.run_id,
        "seconds": product.seconds, "plugins": [attrs.asdict(m) for m in found],
        "settings": _settings(parts), "out_of_date_because": why,
    }  # fmt: skip


def _up_to_date(pending: Pending) -> str:
    """Return how a number stands of whose own steps none is pending."""
    if pending is None:
        return ""
    if not pending:
        return "yes: `lcf run` would make none of it again"
    return (
        f"its own steps are; {counted(len(pending), 'other unit')} of work {'is' if len(pending) == 1 else 'are'} "
        "pending, and what is solved for all frames together may be made again with them (`lcf status`)"
    )


def _short(text: str) -> str:
    """Return why something is out of date without the digests of its inputs."""
    return _DIGESTS.sub(" changed", text)


def _settings(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings among a product's components: options of sections and stages, without digests of inputs."""
    return {name: value for name, value in parts.items() if isinstance(value, Mapping) and name != "by_instrument"}


def _line(step: dict[str, Any]) -> Line:
    who = [f"{m['plugin']} of {m['package']}" for m in step["plugins"] if m["section"] != "header"]
    version = f", version {step['stage_version']}" if step["stage_version"] is not None else ""
    by = f", by {', '.join(who)}" if who else ""
    run = f", run {step['run']}" if step["run"] is not None else ""
    why = f": {step['reason']}" if step["reason"] else ""
    return Line(step["stage"], f"{step['unit']}: {step['state']}{why}{version}, fingerprint "
                f"{step['fingerprint'][:12] or 'none'}{by}{run}")  # fmt: skip


def _changed(records: Records, run: Row | None) -> Sequence[str]:
    """Return the lines in which the project file differs from that of a run, as a diff has them."""
    if run is None or not run.settings or not records.around.project_file:
        return ()
    return _difference(run.settings, records.around.project_file)


@functools.lru_cache(8)
def _difference(before: str, now: str) -> tuple[str, ...]:
    found = difflib.unified_diff(redacted(before).splitlines(), redacted(now).splitlines(), n=0, lineterm="")
    return tuple(line for line in found if not line.startswith(("---", "+++", "@@")))
