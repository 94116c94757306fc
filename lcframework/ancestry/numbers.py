"""The number itself: the flux, its error by parts, the magnitude, and the arithmetic by which a reader redoes them."""

from __future__ import annotations

import math
from typing import Any

from lcframework.ancestry.facts import Line, Section, date_of, decimals, figures, known, percent, some, with_error
from lcframework.ancestry.published import CurveRow, number
from lcframework.ancestry.records import Records, Row, components_of, file_of
from lcframework.stages.model_calibrated_cutouts import ModelCalibratedCutouts as Model
from lcframework.stages.prepare_calibrated_cutouts import PrepareCalibratedCutouts as Prepare
from lcframework.types import readable
from lcframework.work import FieldGroupKey, FitKey, RegionGroupKey

#: A published number and the one that is redone from its parts agree to this, relative.
AGREE = 1e-6
#: The lines of the calculation that are shown without ``--full``.
_AT_A_GLANCE = 3
#: The columns of a source that are redone.
_REDONE = ("d_flux", "mag", "d_mag_down", "d_mag_up")


def number_section(records: Records, frame: Row, roi: str, source: str, field: str) -> Section:
    """Return a source's published flux in a frame, and how it follows from its parts; data None where there is none."""
    row = records.published.curve(roi).get(frame.id)
    flux = number(row, f"{source}_flux")
    if row is None or not known(flux):
        return Section("number", "The number", None)
    stated = {name: number(row, f"{source}_{name}") for name in ("flux", "d_flux", "d_flux_fit", "d_flux_common", "mag",
                                                                 "d_mag_down", "d_mag_up")}  # fmt: skip
    budget = _budget(row, stated, _psf_scatter(records, frame, roi))
    redone = redo(stated["flux"], budget, number(row, "zeropoint"))
    differs = [name for name in _REDONE if not _same(stated[name], redone[name])]
    differs += _unlike_the_fit(records, frame, roi, source, stated)
    zero = records.zeropoints.get(FieldGroupKey(field, frame.instrument, frame.band))
    data: dict[str, Any] = {
        **stated, "zeropoint": number(row, "zeropoint"), "zeropoint_error": number(row, "zeropoint_error"),
        "system": zero.system if zero is not None else "", "mjd": number(row, "mjd"),
        "bjd_tdb": number(row, "bjd_tdb"), "budget": budget, "redone": redone, "differs": differs,
        "in_frame": _in_frame(records, frame, field, roi, stated["flux"]), "arithmetic": [], "row": dict(row),
        "table": str(records.published.path_of(roi)),
    }  # fmt: skip
    data["arithmetic"] = arithmetic(data)
    lines = [
        Line("frame", f"{frame.id}: {readable(frame.key)}, {date_of(data['mjd'])} (MJD {decimals(data['mjd'], 6)}), "
             f"{frame.instrument or 'no instrument named'}, band {frame.band or 'not named'}"),
        Line("taken out since", f"{frame.comment}: `lcf run` takes it out" if frame.eliminated else "", problem=True),
        Line("flux", f"{with_error(stated['flux'], stated['d_flux'], 'e-/s')} "
             f"({percent(stated['d_flux'] / abs(stated['flux']) if stated['flux'] else None)})"),
        Line("magnitude", _magnitude(data)),
        *(Line(f"error: {b['name']}", _part(b)) for b in budget if b["in_d_flux"]),
        *(Line(f"not in it: {b['name']}", _part(b)) for b in budget if not b["in_d_flux"] and known(b["error"])),
        *(Line("arithmetic", text) for text in data["arithmetic"][:_AT_A_GLANCE]),
        *(Line("differs", f"{name} does not follow from what there is now: `lcf run` brings it up to date",
               problem=True) for name in differs),
    ]  # fmt: skip
    more = [Line("arithmetic", text) for text in data["arithmetic"][_AT_A_GLANCE:]]
    return Section("number", "The number", data, some(lines), some(more))


def _psf_scatter(records: Records, frame: Row, roi: str) -> float:
    """Return what the region's fluxes, by the PSF alone, scatter more than the stars' combined ones; relative."""
    product = records.product(Prepare.name, RegionGroupKey(roi, frame.instrument, frame.band))
    return float(components_of(product).get("estimators", {}).get("psf_scatter", 0.0))


def _budget(row: CurveRow, stated: dict[str, float], psf_scatter: float) -> list[dict[str, Any]]:
    """Return the parts of the error; those of ``d_flux`` add in quadrature."""
    beyond = "what comparison stars scatter beyond their errors"
    if psf_scatter > 0:
        beyond += f"; of it {percent(psf_scatter)} because this region is measured by the PSF alone, unlike the stars"
    flux, variance = stated["flux"], stated["d_flux"] ** 2
    norm, extra = number(row, "relative_normalization_error"), number(row, "relative_extra_scatter")
    parts = [
        ("fit", stated["d_flux_fit"], None, "noise of the pixels and of the PSF, by the fit's covariance"),
        (
            "normalization",
            abs(flux) * norm,
            norm,
            "the frame's coefficient; it moves all sources of the epoch together",
        ),
        ("extra scatter", abs(flux) * extra, extra, beyond),
    ]
    found = [
        {"name": name, "error": error, "unit": "e-/s", "relative": relative, "in_d_flux": True,
         "share_of_variance": error**2 / variance if variance > 0 else None, "meaning": meaning}
        for name, error, relative, meaning in parts
    ]  # fmt: skip
    for name, error, unit, meaning in (
        *_slow_changes(flux, number(row, "relative_slow_scatter")),
        ("common", stated["d_flux_common"], "e-/s", "it moves the whole curve of this source"),
        ("zero point", number(row, "zeropoint_error"), "mag", "it moves everything of this instrument and band"),
    ):
        relative = error / abs(flux) if unit == "e-/s" and flux else None
        found.append({"name": name, "error": error, "unit": unit, "relative": relative, "in_d_flux": False,
                      "share_of_variance": None, "meaning": meaning})  # fmt: skip
    return found


def _slow_changes(flux: float, relative: float) -> list[tuple[str, float, str, str]]:
    """Return what comparison stars change slowly by, where they do."""
    if not (known(relative) and relative > 0):
        return []
    return [
        ("slow changes", abs(flux) * relative, "e-/s", "comparison stars' from frame to frame, beyond their errors")
    ]


def redo(flux: float, budget: list[dict[str, Any]], zeropoint: float) -> dict[str, float]:
    """Return error and magnitude of a flux as they follow from the parts of its error and the zero point.

    Parameters
    ----------
    flux : float
        e-/s.
    budget : list of dict
        The parts: ``error`` (e-/s) and ``in_d_flux``.
    zeropoint : float
        mag; nan where there is none.

    Returns
    -------
    dict
        ``d_flux`` (e-/s), ``mag``, and ``d_mag_down`` and ``d_mag_up`` (mag, towards fainter and brighter); nan where
        a flux, or a flux less its error, is not positive.
    """
    error = math.sqrt(sum(b["error"] ** 2 for b in budget if b["in_d_flux"]))
    mag = zeropoint - 2.5 * math.log10(flux) if flux > 0 else math.nan
    down = 2.5 * math.log10(flux / (flux - error)) if flux > error else math.nan
    up = 2.5 * math.log10((flux + error) / flux) if flux > 0 else math.nan
    return {"d_flux": error, "mag": mag, "d_mag_down": down, "d_mag_up": up}


def arithmetic(data: dict[str, Any]) -> list[str]:
    """Return the calculation in lines that a reader can follow: of the error, of the magnitude, and of its errors."""
    flux, redone = data["flux"], data["redone"]
    error, short = figures(redone["d_flux"], 7), figures(flux, 7)
    squares = " + ".join(f"{figures(b['error'], 7)}²" for b in data["budget"] if b["in_d_flux"])
    lines = [f"d_flux = sqrt({squares}) = {error} e-/s"]
    if (seen := data["in_frame"]) is not None:
        text = f"in the frame itself {short} × coefficient {figures(seen['coefficient'], 7)} = "
        text += f"{figures(seen['flux_e_per_s'], 6)} e-/s"
        if known(seen["electrons"]):
            text += f", {figures(seen['electrons'], 5)} electrons in {figures(seen['exptime_s'])} s"
        lines.append(text)
    if known(redone["mag"]):
        lines.append(f"mag = {data['zeropoint']:.6f} − 2.5 log10({figures(flux, 9)}) = {redone['mag']:.6f}")
        down = f"2.5 log10({short} / ({short} − {error})) = {decimals(redone['d_mag_down'], 6)}"
        endless = "without end: the flux less its error is not positive"
        lines.append(f"fainter {down if known(redone['d_mag_down']) else endless}")
        lines.append(f"brighter 2.5 log10(({short} + {error}) / {short}) = {decimals(redone['d_mag_up'], 6)}")
    return lines


def _in_frame(records: Records, frame: Row, field: str, roi: str, flux: float) -> dict[str, float] | None:
    """Return the flux as the frame shows it, before normalization."""
    row = records.coefficient(frame.id, field, roi)
    if row is None:
        return None
    seen = flux * row.coefficient
    exptime = frame.exptime if known(frame.exptime) else math.nan
    return {"coefficient": row.coefficient, "flux_e_per_s": seen, "exptime_s": exptime, "electrons": seen * exptime}


def _unlike_the_fit(records: Records, frame: Row, roi: str, source: str, stated: dict[str, float]) -> list[str]:
    """Return which columns of the table are not those of the fit that there is now."""
    product = records.product(Model.name, FitKey(roi, frame.instrument, frame.band))
    fit = records.published.fit(file_of(product))
    if frame.id not in fit.index or source not in fit.names:
        return []
    i, k = fit.index[frame.id], fit.names.index(source)
    now = {"flux": float(fit.arrays["flux"][i, k]),
           "d_flux_fit": math.sqrt(max(0.0, float(fit.arrays["covariance"][i, k, k])))}  # fmt: skip
    return [name for name, value in now.items() if not _same(stated[name], value)]


def _same(stated: float, redone: float) -> bool:
    if not (known(stated) and known(redone)):
        return known(stated) == known(redone)
    return math.isclose(stated, redone, rel_tol=AGREE, abs_tol=1e-12)


def _magnitude(data: dict[str, Any]) -> str:
    if not known(data["mag"]):
        return "none: " + ("the flux is not positive" if not data["flux"] > 0 else "there is no zero point, see below")
    down = decimals(data["d_mag_down"], 4) if known(data["d_mag_down"]) else "∞"
    return f"{data['mag']:.5f} +{down} −{decimals(data['d_mag_up'], 4)} {data['system']}".rstrip()


def _part(part: dict[str, Any]) -> str:
    unit = f"{figures(part['error'], 5)} {part['unit']}"
    relative = f" = {percent(part['relative'])} of the flux" if known(part["relative"]) else ""
    share = f", {percent(part['share_of_variance'])} of the variance" if known(part["share_of_variance"]) else ""
    return f"{unit}{relative}{share}: {part['meaning']}"
