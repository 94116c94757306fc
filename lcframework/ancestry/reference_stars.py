"""The reference stars in a frame: which were used, their fluxes, and how these lie about their mean curves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from lcframework.ancestry.facts import Line, Section, counted, figures, known, some
from lcframework.ancestry.makers import by_line, makers
from lcframework.ancestry.records import Records, Row
from lcframework.stages.psf_modeling import PHOTOMETRY
from lcframework.stages.query_gaia_for_stars import QueryGaiaForStars
from lcframework.stars.quality import kind_of
from lcframework.types.robust import robust_scatter
from lcframework.work import FieldGroupKey, FieldStarsKey, FrameKey

#: A star whose flux lies so many sigma off its mean curve is named.
_FAR = 3.0
#: The number of stars that are named.
_NAMED = 5
#: Why a star has no flux where nothing speaks against it.
_UNASKED = "beyond the number that is measured"


def reference_stars(records: Records, frame: Row, field: str) -> Section:
    """Return the reference stars that a frame shows."""
    placed = records.placed.get((frame.id, field), {})
    if not placed:
        return Section("reference_stars", "Reference stars", None)
    order = sorted(placed, key=lambda s: _order(records.stars.get((field, s))))
    stars = [_star(records, frame, field, name) for name in order]
    product = records.product(PHOTOMETRY, FrameKey(frame.id, field))
    catalogue = makers(records, records.product(QueryGaiaForStars.name, FieldStarsKey(field)), "stars")
    measured_by = makers(records, product, "photometry", frame.instrument)
    data: dict[str, Any] = {"plugin": [m.as_json() for m in (*catalogue, *measured_by)], "stars": stars}
    used = [s for s in stars if s["used"]]
    lines = [
        by_line(catalogue, "catalogue"),
        by_line(measured_by, "measured by"),
        Line("used", f"{len(used)} of {counted(len(stars), 'star')} in the frame give its transparency"),
        Line("residuals", _residuals(used)),
        Line("far off", _far(used)),
        Line("not used", _left_out([s for s in stars if not s["used"]])),
    ]
    more = [Line(f"star {s['name']}", _text(s)) for s in stars]
    return Section("reference_stars", "Reference stars", data, some(lines), some(more))


def _order(star: Row | None) -> tuple[int, str]:
    return (len(star.name), star.name) if star is not None else (99, "")


def _star(records: Records, frame: Row, field: str, gaia_id: str) -> dict[str, Any]:
    star, place = records.stars.get((field, gaia_id)), records.placed[frame.id, field][gaia_id]
    flux = records.fluxes.get((frame.id, field), {}).get(gaia_id)
    residual = records.residuals.get((frame.id, field), {}).get(gaia_id)
    level = records.levels.get(FieldGroupKey(field, frame.instrument, frame.band), {}).get(gaia_id)
    off, error = (residual.residual, residual.residual_error) if residual is not None else (None, None)
    why = (
        place.comment or (place.psf_comment if flux is None else "") or (level.comment if level is not None else "")
        or (residual.comment if residual is not None else "")
    )  # fmt: skip
    return {
        "gaia_id": gaia_id, "name": star.name if star is not None else "",
        "magnitude": star.magnitude if star is not None else None, "x_pixels": place.x, "y_pixels": place.y,
        "usable": bool(place.usable), "signal_to_noise": place.signal_to_noise,
        "flux_e_per_s": flux.flux if flux is not None else None,
        "flux_error_e_per_s": flux.flux_uncertainty if flux is not None else None,
        "chi2": flux.chi2 if flux is not None else None, "residual": off, "residual_error": error,
        "pull": off / error if known(off) and known(error) and error else None,
        "used": bool(residual is not None and residual.used), "why_not": why, "left_out_of_psf": place.psf_comment,
        "level_e_per_s": level.level if level is not None else None,
        "note": level.note if level is not None else "",
    }  # fmt: skip


def _residuals(used: Sequence[dict[str, Any]]) -> str:
    """Return how the stars' fluxes lie about their mean curves."""
    values = [s["residual"] for s in used if known(s["residual"])]
    pulls = [s["pull"] for s in used if known(s["pull"])]
    if not values or not pulls:
        return ""
    rms = math.sqrt(sum(p * p for p in pulls) / len(pulls))
    scatter = figures(1000 * float(robust_scatter(np.array(values))), 3)
    return f"scatter about the mean curves by {scatter} ppt (robust), {figures(rms, 3)} times what the errors say"


def _far(used: Sequence[dict[str, Any]]) -> str:
    far = sorted((s for s in used if known(s["pull"]) and abs(s["pull"]) > _FAR), key=lambda s: -abs(s["pull"]))
    named = [f"{s['name']} {1000 * s['residual']:+.1f} ppt ({s['pull']:+.1f} sigma)" for s in far[:_NAMED]]
    return ", ".join(named) + (f", and {len(far) - _NAMED} others" if len(far) > _NAMED else "")


def _left_out(stars: Sequence[dict[str, Any]]) -> str:
    """Return why stars take no part: kinds of reasons, with the stars' letters."""
    kinds = Counter((kind_of(s["why_not"]) or s["why_not"] or _UNASKED) for s in stars)
    found = []
    for kind, count in kinds.most_common(_NAMED):
        names = [s["name"] for s in stars if (kind_of(s["why_not"]) or s["why_not"] or _UNASKED) == kind]
        shown = ", ".join(names[:_NAMED]) + (", …" if count > _NAMED else "")
        found.append(f"{count} {kind} ({shown})")
    rest = len(kinds) - len(found)
    return "; ".join([*found, *([f"and {counted(rest, 'other reason')}: --full"] if rest > 0 else [])])


def _text(star: dict[str, Any]) -> str:
    mag, flux = figures(star["magnitude"], 5), f"{figures(star['flux_e_per_s'], 6)} e-/s"
    if star["flux_e_per_s"] is None:
        return f"{mag} mag, not measured: {star['why_not'] or _UNASKED}"
    error = f" ± {figures(star['flux_error_e_per_s'], 3)}, chi2 {figures(star['chi2'], 3)}"
    off = f"; {1000 * star['residual']:+.2f} ppt, {star['pull']:+.1f} sigma" if known(star["pull"]) else ""
    why = "" if star["used"] else f"; NOT USED: {star['why_not'] or 'the frame has no coefficient'}"
    psf = f"; not in the PSF: {star['left_out_of_psf']}" if star["left_out_of_psf"] else ""
    note = f"; {star['note']}" if star["note"] else ""
    return f"{mag} mag, {flux}{error}{off}{why}{psf}{note}"
