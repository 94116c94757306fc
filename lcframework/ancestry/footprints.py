"""Where the region lies in the frame and in the sky of that moment, and its field of reference stars."""

from __future__ import annotations

import math
from typing import Any

from lcframework.ancestry.facts import Line, Section, decimals, known, some
from lcframework.ancestry.records import Records, Row
from lcframework.sky.geometry import separation


def footprint(records: Records, frame: Row, roi: str) -> Section:
    """Return where a region lies in a frame."""
    row, field, polygon = records.regions.get((frame.id, roi)), records.field_of(roi), records.polygons.get(frame.id)
    if row is None:
        return Section("footprint", "Region in the frame", None)
    data: dict[str, Any] = {
        "inside": bool(row.roi_in_footprint), "x_pixels": row.x, "y_pixels": row.y, "bjd_tdb": row.bjd_tdb,
        "airmass": row.airmass, "altitude_degrees": row.altitude, "azimuth_degrees": row.azimuth,
        "degrees_to_moon": row.degrees_to_moon, "polygon_degrees": polygon.polygon if polygon is not None else None,
        "field": _field(field),
    }  # fmt: skip
    if not row.roi_in_footprint:
        return Section("footprint", "Region in the frame", data, (Line("place", "outside the frame"),))
    edge = _to_the_edge(frame, row)
    near = f", {edge:.0f} pixels from the nearest edge" if known(edge) else ""
    height = f"airmass {decimals(row.airmass, 3)}, {decimals(row.altitude, 1)}° high" if known(row.airmass) else ""
    lines = [
        Line("place", f"x = {decimals(row.x, 2)}, y = {decimals(row.y, 2)} (0-based){near}"),
        Line("sky", height or "no airmass: [telescope] is not given"),
        Line("time", f"BJD_TDB {decimals(row.bjd_tdb, 6)}"),
    ]
    more = [Line("moon", f"{decimals(row.degrees_to_moon, 1)}° away")]
    if field is not None:
        more.append(Line("field", f"{field.hash}: {field.strategy}, radius {3600 * field.radius:.0f} arcsec"))
    return Section("footprint", "Region in the frame", data, some(lines), some(more))


def distance_arcmin(records: Records, frame: Row, roi: str) -> float:
    """Return how far a region lies from the middle of a frame, arcmin; nan where either's place is not known."""
    place, polygon = _place(records, frame, roi), records.polygons.get(frame.id)
    if place is None or polygon is None or not polygon.polygon:
        return math.nan
    count = len(polygon.polygon)
    dec = sum(p[1] for p in polygon.polygon) / count
    ra0 = polygon.polygon[0][0]
    ra = ra0 + sum((p[0] - ra0 + 180) % 360 - 180 for p in polygon.polygon) / count
    return float(separation(*place, ra, dec)) / 60


def _place(records: Records, frame: Row, roi: str) -> tuple[float, float] | None:
    """Return where a region's target is at the time of a frame, degrees; None where that is not known."""
    row, region = records.regions.get((frame.id, roi)), records.project.config.roi.get(roi)
    if row is not None and known(row.ra) and known(row.dec):
        return row.ra, row.dec
    if region is None or records.project.toolbox.ephemeris(roi) is not None:
        return None
    return region.ra, region.dec


def _field(field: Row | None) -> dict[str, Any] | None:
    if field is None:
        return None
    return {"hash": field.hash, "strategy": field.strategy, "ra": field.ra, "dec": field.dec,
            "radius_degrees": field.radius, "regions": field.rois}  # fmt: skip


def _to_the_edge(frame: Row, row: Row) -> float:
    if not (known(row.x) and known(row.y) and frame.width and frame.height):
        return math.nan
    return float(min(row.x + 0.5, row.y + 0.5, frame.width - 0.5 - row.x, frame.height - 0.5 - row.y))
