"""The frame's transparency, and the zero point that turns fluxes into magnitudes."""

from __future__ import annotations

from typing import Any

from lcframework.ancestry.facts import Line, Section, counted, decimals, figures, percent, some
from lcframework.ancestry.makers import by_line, makers
from lcframework.ancestry.records import Records, Row
from lcframework.stages.calculate_absolute_zeropoints import CalculateAbsoluteZeropoints as Zeropoints
from lcframework.stages.calculate_normalization_coefficient import CalculateNormalizationCoefficient as Normalization
from lcframework.storage.tables import ProductState
from lcframework.work import FieldGroupKey


def normalization(records: Records, frame: Row, roi: str, field: str) -> Section:
    """Return a frame's coefficient at a region."""
    title = "Normalization"
    row, key = records.coefficients.get((frame.id, field)), FieldGroupKey(field, frame.instrument, frame.band)
    here = records.coefficient(frame.id, field, roi)
    if row is None or here is None:
        return Section("normalization", title, None)
    by = makers(records, records.product(Normalization.name, key), "normalization", frame.instrument)
    combined = records.estimators.get(key)
    data: dict[str, Any] = {
        "coefficient": here.coefficient, "coefficient_error": here.coefficient_uncertainty,
        "relative_error": here.coefficient_uncertainty / here.coefficient if here.coefficient else None,
        "coefficient_of_frame": row.coefficient,
        "scatter": row.scatter, "extra_scatter": row.extra_scatter, "stars": row.stars,
        "estimators": combined.note if combined is not None else "", "plugin": [m.as_json() for m in by],
    }  # fmt: skip
    lines = [
        by_line(by),
        Line("coefficient", f"{figures(here.coefficient, 6)} ± {figures(here.coefficient_uncertainty, 3)} "
             f"({percent(data['relative_error'])}), of {counted(row.stars, 'star')}; fluxes are divided by it"),
        Line("over the field", "" if here is row else
             f"the transparency varies: this is that at {roi}; amid the field's regions it is "
             f"{figures(row.coefficient, 6)}"),
        Line("scatter", f"of the frame's stars {percent(row.scatter)}; "
             f"beyond errors {percent(row.extra_scatter)}"),
    ]  # fmt: skip
    more = [Line("star fluxes", combined.note)] if combined is not None else []
    return Section("normalization", title, data, some(lines), some(more))


def zero_point(records: Records, frame: Row, field: str) -> Section:
    """Return the zero point of a frame's group; where there is none, why."""
    if frame.image_relpath is None:
        return Section("zero_point", "Zero point", None)
    key = FieldGroupKey(field, frame.instrument, frame.band)
    row, product = records.zeropoints.get(key), records.product(Zeropoints.name, key)
    by = makers(records, product, "calibration", frame.instrument)
    if row is None or (product is not None and product.state == ProductState.UNUSABLE):
        why = _without(records, frame, product)
        none = Line("zero point", f"none, so that there are fluxes and no magnitudes: {why}")
        return Section("zero_point", "Zero point", {"zeropoint": None, "why_not": why}, (none,))
    data: dict[str, Any] = {
        "zeropoint": row.zeropoint, "zeropoint_error": row.zeropoint_uncertainty, "system": row.system,
        "survey": row.catalog, "survey_band": row.catalog_band, "stars": row.stars, "scatter_mag": row.scatter,
        "colour": row.colour, "colour_term": row.colour_term, "colour_term_error": row.colour_term_uncertainty,
        "reference_colour": row.reference_colour, "plugin": [m.as_json() for m in by],
    }  # fmt: skip
    lines = [
        by_line(by),
        Line("zero point", f"{decimals(row.zeropoint, 5)} ± {decimals(row.zeropoint_uncertainty, 4, 'mag')} "
             f"({row.system}) of 1 e-/s, by {row.catalog_band} of {counted(row.stars, 'star')}, "
             f"which scatter by {decimals(row.scatter, 4, 'mag')}"),
        Line("colour", f"{row.colour}: term {decimals(row.colour_term, 4)} ± "
             f"{decimals(row.colour_term_uncertainty, 4)}, zero point at {decimals(row.reference_colour, 3)}"
             if row.colour and row.colour_term else ""),
    ]  # fmt: skip
    return Section("zero_point", "Zero point", data, some(lines))


def _without(records: Records, frame: Row, product: Row | None) -> str:
    """Return why a group has no zero point."""
    if product is not None and product.state == ProductState.UNUSABLE:
        return str(product.reason)
    if records.project.toolbox.tool("calibration", frame.instrument) is None:
        return '[calibration] plugin = "none"'
    return f"{Zeropoints.name} has not come to it"
