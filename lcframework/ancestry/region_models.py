"""The region's cutout of the frame and the joint model that gave the flux."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lcframework.ancestry.facts import Line, Section, counted, decimals, figures, known, some
from lcframework.ancestry.makers import by_line, makers
from lcframework.ancestry.published import GroupFile
from lcframework.ancestry.records import Records, Row, components_of, file_of
from lcframework.roi.light_curves import HIGH_CHI2
from lcframework.stages.model_calibrated_cutouts import ModelCalibratedCutouts as Model
from lcframework.stages.prepare_calibrated_cutouts import PrepareCalibratedCutouts as Prepare
from lcframework.types import FitState
from lcframework.work import FitKey, RegionGroupKey

#: Sources whose fluxes are correlated by less are not named.
_CORRELATED = 0.1


def region_model(records: Records, frame: Row, roi: str, source: str) -> Section:
    """Return what the model of a region says of a frame's epoch."""
    title, group = "Model of the region", (roi, frame.instrument, frame.band)
    product, prepared = (
        records.product(Model.name, FitKey(*group)),
        records.product(Prepare.name, RegionGroupKey(*group)),
    )
    fit, cutouts = records.published.fit(file_of(product)), records.published.cutouts(file_of(prepared))
    problems = [Line("file", file.problem, problem=True) for file in (fit, cutouts) if file.problem]
    if frame.id not in fit.index:
        return Section("region_model", title, None, tuple(problems))
    by = makers(records, product, "roi_model", frame.instrument)
    data = {**_epoch(fit, cutouts, frame.id, source), "fit_file": file_of(product), "cutouts_file": file_of(prepared),
            "measured_by": _how(prepared, product), "plugin": [m.as_json() for m in by]}  # fmt: skip
    reason = f" ({data['reason']})" if data["reason"] else ""
    poor = known(data["chi2"]) and data["chi2"] > HIGH_CHI2
    lines = [
        by_line(by),
        Line("measured by", data["measured_by"]),
        Line("fit", f"{data['status']}{reason}, of {counted(data['epochs'], 'epoch')}",
             problem=data["status"] != FitState.CONVERGED.value),
        Line("chi2", f"reduced {decimals(data['chi2'], 3)} in this epoch, {decimals(data['median_chi2'], 3)} in the "
             f"middle of all; {_pixels(data)}", problem=bool(poor)),
        Line("registration", _registration(data)),
        Line("correlated", _correlated(data)),
        *problems,
    ]  # fmt: skip
    place = data["offset_arcsec"]
    more = [
        Line("place", f"{place[0]:+.4f} arcsec east, {place[1]:+.4f} north of the region's position" if place else ""),
        Line("files", f"{data['fit_file']}, {data['cutouts_file']}"),
    ]
    return Section("region_model", title, data, some(lines), some(more))


def _how(prepared: Row | None, product: Row | None) -> str:
    """Return what light is measured: by the PSF alone, within an aperture, or by estimates that are combined."""
    if aperture := components_of(product).get("aperture", 0.0):
        return f"the PSF and the light that it misses within {aperture:g} pixels"
    if discs := components_of(product).get("discs"):
        return f"discs of {discs['radius']:g} times the PSF's FWHM"
    if "weights" in components_of(prepared).get("estimators", {}):
        return "the PSF and discs together, weighted as the comparison stars are"
    return "the PSF alone"


def _epoch(fit: GroupFile, cutouts: GroupFile, frame_id: int, source: str) -> dict[str, Any]:
    i, k = fit.index[frame_id], cutouts.index.get(frame_id)
    arrays, covariance = fit.arrays, fit.arrays["covariance"][i]
    at = fit.names.index(source) if source in fit.names else None
    sigma = np.sqrt(np.clip(np.diag(covariance), 0, None))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = covariance / np.outer(sigma, sigma)
    registration = cutouts.arrays["registration"][k].tolist() if k is not None else None
    errors = cutouts.arrays["registration_covariance"][k] if k is not None else None
    return {
        "status": str(fit.attributes.get("state", "")), "reason": str(fit.attributes.get("reason", "")),
        "evaluations": int(fit.attributes.get("evaluations", 0)), "epochs": len(fit.index),
        "chi2": float(arrays["reduced_chi2"][i]), "median_chi2": float(np.nanmedian(arrays["reduced_chi2"])),
        "pixels": int(arrays["pixels"][i]), "pixels_left_out_by_fit": int(arrays["outliers"][i]),
        "pixels_masked": int(cutouts.arrays["mask"][k]) if k is not None else None,
        "registration_pixels": registration,
        "registration_error_pixels": np.sqrt(np.diag(errors)).tolist() if errors is not None else None,
        "translation_pixels": arrays["translation"][i].tolist(),
        "sources": list(fit.names), "fluxes_e_per_s": arrays["flux"][i].tolist(),
        "covariance": covariance.tolist(),
        "correlations": {n: float(c) for n, c in zip(fit.names, correlation[at], strict=True) if n != source}
        if at is not None else {},
        "offset_arcsec": arrays["offset"][at].tolist() if at is not None and "offset" in arrays else None,
    }  # fmt: skip


def _pixels(data: dict[str, Any]) -> str:
    masked = data["pixels_masked"]
    before = f"{masked} of {data['pixels']} pixels masked" if masked is not None else f"{data['pixels']} pixels"
    return f"{before}, {data['pixels_left_out_by_fit']} left out by the fit"


def _registration(data: dict[str, Any]) -> str:
    at, error, more = data["registration_pixels"], data["registration_error_pixels"], data["translation_pixels"]
    if at is None or not all(map(math.isfinite, at)):
        return ""
    return (
        f"stars lie {at[0]:+.3f} ± {figures(error[0], 2)}, {at[1]:+.3f} ± {figures(error[1], 2)} pixels (x, y) from "
        f"where the WCS puts them; the fit moves the region by {more[0]:+.3f}, {more[1]:+.3f} more"
    )


def _correlated(data: dict[str, Any]) -> str:
    return ", ".join(f"{c:+.2f} with {n}" for n, c in data["correlations"].items() if abs(c) >= _CORRELATED)
