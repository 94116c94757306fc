"""Checks what plugins answer: type, shape, finite numbers, sums, signs and units, by the hook and method."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from lcframework.plugins.shielding import owned
from lcframework.types import (
    MAGNITUDES,
    PSF,
    SOURCES,
    STARS,
    VARIABLES,
    Decision,
    Exposure,
    FileFault,
    FluxMatrix,
    HeaderInfo,
    Master,
    MasterPlan,
    NormalizationSolution,
    NotSolved,
    PhotometryResult,
    PlateSolution,
    PluginError,
    RoiFit,
    Stamps,
    TableSchema,
)

#: By how much the sum of a kernel may differ from 1: far more than rounding, far less than a wrong normalisation.
SUM_TOLERANCE = 0.02
#: Kernels at a star may be normalised within a disc about it: their sums then differ by what their wings have beyond.
WINGS = 1.0


class WrongAnswer(Exception):
    """An answer that the hook does not allow; the message goes on from "returned"."""


Check = Callable[[Any, Sequence[Any]], Any]
_CHECKS: dict[tuple[str, str], Check] = {}


def checked(hook: str, method: str, answer: Any, arguments: Sequence[Any]) -> Any:
    """Return a plugin's answer if its hook allows it, with arrays that may be written to.

    Parameters
    ----------
    hook, method : str
        What was asked.
    answer
        What was answered.
    arguments : sequence
        Of the call.

    Raises
    ------
    WrongAnswer
        Says what is wrong with it.
    """
    check = _CHECKS.get((hook, method))
    return answer if check is None else check(answer, arguments)


def _checks(hook: str, method: str) -> Callable[[Check], Check]:
    def register(function: Check) -> Check:
        _CHECKS[hook, method] = function
        return function

    return register


# ---------------------------------------------------------------- parts of answers


def _a(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _instance(value: Any, *kinds: type[Any]) -> None:
    if not isinstance(value, kinds):
        raise WrongAnswer(f"{_a(value)}; {' or '.join(k.__name__ for k in kinds)} is needed")


def _all_instances(values: Any, kind: type[Any]) -> None:
    """Refuse what is no tuple or list of such instances."""
    _instance(values, tuple, list)
    for value in values:
        _instance(value, kind)


def _pair(value: Any, names: str) -> None:
    """Refuse what is no tuple or list of two."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise WrongAnswer(f"{_a(value)}; {names} is needed")


def _array(value: Any, what: str, shape: tuple[int | None, ...], kind: str = "fiu") -> Any:
    """Return an array of this shape (None: any length) whose type is one of numpy's kinds."""
    array = value if isinstance(value, np.ndarray) else _as_array(value, what)
    same = len(array.shape) == len(shape)
    if not same or any(n is not None and n != m for n, m in zip(shape, array.shape, strict=True)):
        wanted = ", ".join("*" if n is None else str(n) for n in shape)
        raise WrongAnswer(f"{what} of shape {array.shape}; ({wanted}{',' if len(shape) == 1 else ''}) is needed")
    if array.dtype.kind not in kind:
        names = {"fiu": "numbers", "b": "true or false", "iu": "whole numbers", "biu": "whole numbers"}
        raise WrongAnswer(f"{what} of type {array.dtype}; {names.get(kind, kind)} are needed")
    return owned(array)


def _as_array(value: Any, what: str) -> Any:
    try:
        return np.asarray(value)
    except (TypeError, ValueError):
        raise WrongAnswer(f"{_a(value)} as {what}; an array is needed") from None


def _all_finite(array: Any, what: str) -> None:
    wrong = array.size - int(np.count_nonzero(np.isfinite(array)))
    if wrong:
        raise WrongAnswer(f"{what} with {wrong} of {array.size} values that are not finite")


def _not_negative(array: Any, what: str) -> None:
    """Refuse negative values; those that are not finite are another check's."""
    with np.errstate(invalid="ignore"):
        wrong = int(np.count_nonzero(array < 0))
    if wrong:
        raise WrongAnswer(f"{what} with {wrong} negative values, such as {float(np.nanmin(array)):.3g}")


def _sums_to_one(kernels: Any, what: str, tolerance: float) -> None:
    _all_finite(kernels, what)
    sums = kernels.sum(axis=(-2, -1), dtype=float)
    off = np.abs(sums - 1)
    if np.any(off > tolerance):
        raise WrongAnswer(f"{what} whose sum is {float(np.ravel(sums)[np.argmax(off)]):.4g}; it must be 1")


def _table(schema: TableSchema, table: Any) -> Any:
    try:
        return schema.check(table, "")
    except PluginError as error:
        raise WrongAnswer(str(error).strip().removeprefix("returned ")) from None


def _changed(value: Any, **parts: Any) -> Any:
    """Return an attrs value with other parts; itself where none differs."""
    new = {k: v for k, v in parts.items() if v is not getattr(value, k)}
    return attrs.evolve(value, **new) if new else value


# ---------------------------------------------------------------- frames


@_checks("lcf_header_parsers", "parse")
def _parse(answer: Any, arguments: Sequence[Any]) -> Any:
    if answer is not None:
        _instance(answer, HeaderInfo, Mapping)
    return answer


@_checks("lcf_reductions", "describe")
def _describe(answer: Any, arguments: Sequence[Any]) -> Any:
    _instance(answer, Exposure)
    return answer


@_checks("lcf_reductions", "plan")
def _plan(answer: Any, arguments: Sequence[Any]) -> Any:
    _all_instances(answer, MasterPlan)
    return tuple(answer)


@_checks("lcf_reductions", "combine")
def _combine(answer: Any, arguments: Sequence[Any]) -> Any:
    _instance(answer, Master)
    shape = arguments[2].shape[1:]
    image, bad = _array(answer.image, "an image", shape), _array(answer.bad, "a mask", shape, "b")
    if not np.any(np.isfinite(image) & ~bad):
        raise WrongAnswer("a master without a single valid pixel")
    return _changed(answer, image=image, bad=bad)


@_checks("lcf_reductions", "reduce")
def _reduce(answer: Any, arguments: Sequence[Any]) -> Any:
    _pair(answer, "(image, flags)")
    shape = arguments[0].shape
    return _array(answer[0], "an image", shape), _array(answer[1], "flags", shape, "biu")


@_checks("lcf_background_estimators", "estimate")
def _estimate(answer: Any, arguments: Sequence[Any]) -> Any:
    _pair(answer, "(sky, rms)")
    sky = _array(answer[0], "a sky", arguments[0].shape)
    _all_finite(sky, "a sky")
    rms = _array(answer[1], "an rms", ())
    _not_negative(rms, "an rms")
    return sky, float(rms)


@_checks("lcf_source_extractors", "extract")
def _extract(answer: Any, arguments: Sequence[Any]) -> Any:
    return _table(SOURCES, answer)


@_checks("lcf_plate_solvers", "solve")
def _solve(answer: Any, arguments: Sequence[Any]) -> Any:
    _instance(answer, PlateSolution, NotSolved)
    fits = sys.modules.get("astropy.io.fits")
    for solution in (answer, *answer.alternatives) if isinstance(answer, PlateSolution) else ():
        if fits is not None and not isinstance(solution.header, fits.Header):
            raise WrongAnswer(f"{_a(solution.header)} as the header of a solution; astropy.io.fits.Header is needed")
    return answer


@_checks("lcf_ephemerides", "positions")
def _positions(answer: Any, arguments: Sequence[Any]) -> Any:
    _pair(answer, "(ra, dec)")
    n = len(arguments[2])
    ra, dec = _array(answer[0], "right ascensions", (n,)), _array(answer[1], "declinations", (n,))
    for values, what, low, high in ((ra, "right ascensions", 0.0, 360.0), (dec, "declinations", -90.0, 90.0)):
        _all_finite(values, what)
        if n and not (values.min() >= low and values.max() <= high):
            raise WrongAnswer(
                f"{what} from {values.min():.6g} to {values.max():.6g}; degrees from {low:g} to {high:g} are needed"
            )
    return ra, dec


@_checks("lcf_ephemerides", "position_errors")
def _position_errors(answer: Any, arguments: Sequence[Any]) -> Any:
    errors = _array(answer, "errors of positions", (len(arguments[0]),))
    _all_finite(errors, "errors of positions")
    _not_negative(errors, "errors of positions")
    return errors


@_checks("lcf_star_catalogs", "query")
def _query(answer: Any, arguments: Sequence[Any]) -> Any:
    return _table(STARS, answer)


# ---------------------------------------------------------------- stars


@_checks("lcf_variable_catalogs", "variables")
def _variables(answer: Any, arguments: Sequence[Any]) -> Any:
    return _table(VARIABLES, answer)


@_checks("lcf_cosmic_maskers", "mask")
def _mask(answer: Any, arguments: Sequence[Any]) -> Any:
    return _array(answer, "a mask", arguments[0].shape, "b")


@_checks("lcf_psf_models", "fit")
def _fit_psf(answer: Any, arguments: Sequence[Any]) -> Any:
    _instance(answer, list, tuple)
    if len(answer) != len(arguments[0]):
        raise WrongAnswer(f"{len(answer)} PSFs for {len(arguments[0])} frames")
    for psf in answer:
        _instance(psf, PSF)
        if psf.status.usable:
            _one_psf(psf)
    return list(answer)


def _one_psf(psf: PSF) -> None:
    narrow = _array(psf.narrow, f'a narrow PSF, "{psf.status.state}",', (None, None))
    if narrow.shape[0] != narrow.shape[1]:
        raise WrongAnswer(f"a narrow PSF of shape {narrow.shape}, which is no square")
    _sums_to_one(narrow, f'a narrow PSF, "{psf.status.state}",', SUM_TOLERANCE)
    _all_finite(_array(psf.full, "a full PSF", narrow.shape), "a full PSF")
    if int(psf.subsampling_factor) != psf.subsampling_factor or psf.subsampling_factor < 1:
        raise WrongAnswer(f"subsampling_factor = {psf.subsampling_factor!r}; a whole number from 1 is needed")
    if not (np.isfinite(psf.target_fwhm) and psf.target_fwhm >= 0):
        raise WrongAnswer(f"target_fwhm = {psf.target_fwhm!r}; 0 or more small pixels are needed")
    if not np.isfinite(psf.reduced_chi2) or psf.reduced_chi2 < 0:
        raise WrongAnswer(f"reduced_chi2 = {psf.reduced_chi2!r} of a usable PSF")


@_checks("lcf_psf_models", "at")
def _at(answer: Any, arguments: Sequence[Any]) -> Any:
    kernels = _array(answer, "kernels", (len(arguments[1]), None, None))
    _sums_to_one(kernels, "kernels", WINGS)
    return kernels


@_checks("lcf_photometry", "measure")
def _measure(answer: Any, arguments: Sequence[Any]) -> Any:
    _instance(answer, PhotometryResult)
    stamps: Stamps = arguments[0]
    n = len(stamps)
    shapes: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(("flux", "x", "y", "background", "reduced_chi2"), (n,)),
        "covariance": (n, 3, 3), "model": stamps.data.shape,
    }  # fmt: skip
    parts = {name: _array(getattr(answer, name), name, shape) for name, shape in shapes.items()}
    parts["outliers"] = _array(answer.outliers, "outliers", stamps.data.shape, "b")
    if len(answer.status) != n:
        raise WrongAnswer(f"{len(answer.status)} states of {n} fits")
    usable = np.array([s.usable for s in answer.status], bool)
    _part_of_it(parts["flux"][usable], "fluxes that converged")
    _not_negative(np.diagonal(parts["covariance"][usable], axis1=1, axis2=2), "variances")
    return _changed(answer, **parts)


def _part_of_it(array: Any, what: str) -> None:
    """Refuse values none of which is finite."""
    if array.size and not np.isfinite(array).any():
        raise WrongAnswer(f"{what}, none of them finite")


@_checks("lcf_normalizations", "solve")
def _normalize(answer: Any, arguments: Sequence[Any]) -> Any:
    _instance(answer, NormalizationSolution)
    if not answer.status.usable:
        return answer
    fluxes: FluxMatrix = arguments[0]
    f, n = fluxes.flux.shape
    shapes = {
        **dict.fromkeys(("coefficient", "coefficient_uncertainty", "scatter"), (f,)),
        **dict.fromkeys(("level", "level_error", "intrinsic_scatter"), (n,)),
    }  # fmt: skip
    parts = {name: _array(getattr(answer, name), name, shape) for name, shape in shapes.items()}
    parts["used"] = _array(answer.used, "used", (f, n), "b")
    _part_of_it(parts["coefficient"], "coefficients")
    _coefficients(parts["coefficient"], parts["coefficient_uncertainty"])
    if answer.region_coefficient is not None and fluxes.region_xy is not None:
        at_regions = ("region_coefficient", "region_coefficient_uncertainty")
        parts |= {name: _array(getattr(answer, name), name, fluxes.region_xy.shape[:2]) for name in at_regions}
        _coefficients(*(parts[name] for name in at_regions))
    for name, part in parts.items():
        if name not in ("coefficient", "level", "region_coefficient", "used"):
            _not_negative(part, name)
    return _changed(answer, **parts)


def _coefficients(coefficient: Any, uncertainty: Any) -> None:
    """Refuse coefficients that are not positive where they are finite, or have no error there."""
    known = np.isfinite(coefficient)
    if not np.all(coefficient[known] > 0):
        raise WrongAnswer(f"a coefficient of {float(np.min(coefficient[known])):.3g}; it must be above 0")
    _all_finite(uncertainty[known], "uncertainties of coefficients")


@_checks("lcf_comparison_stars", "choose")
def _choose(answer: Any, arguments: Sequence[Any]) -> Any:
    candidates, wanted = arguments
    indices = _array(answer, "indices", (None,), "iu") if len(answer) else np.zeros(0, int)
    if not len(indices):
        raise WrongAnswer("no star at all")
    if len(indices) > wanted:
        raise WrongAnswer(f"{len(indices)} stars where at most {wanted} are wanted")
    if len(set(indices.tolist())) < len(indices):
        raise WrongAnswer("an index twice")
    if not (indices.min() >= 0 and indices.max() < len(candidates)):
        raise WrongAnswer(f"indices from {indices.min()} to {indices.max()} of {len(candidates)} stars")
    return indices


@_checks("lcf_calibration_surveys", "magnitudes")
def _magnitudes(answer: Any, arguments: Sequence[Any]) -> Any:
    table = _table(MAGNITUDES, answer)
    unknown = set(map(str, table["source_id"])) - set(map(str, arguments[0]["source_id"]))
    if unknown:
        raise WrongAnswer(f"magnitudes of {len(unknown)} stars that it was not asked for, such as {min(unknown)}")
    return table


# ---------------------------------------------------------------- regions and settings


@_checks("lcf_roi_models", "fit")
def _fit_region(answer: Any, arguments: Sequence[Any]) -> Any:
    _instance(answer, RoiFit)
    if not answer.status.usable:
        return answer
    cutouts, sources = arguments
    e, k = len(cutouts), len(sources.names)
    shapes: dict[str, tuple[int, ...]] = {
        "flux": (e, k), "covariance": (e, k, k), "common_covariance": (e, k, k), "offset": (k, 2),
        "offset_covariance": (2 * k, 2 * k), "translation": (e, 2), "model": cutouts.data.shape, "reduced_chi2": (e,),
    }  # fmt: skip
    parts = {name: _array(getattr(answer, name), name, shape) for name, shape in shapes.items()}
    parts["outliers"] = _array(answer.outliers, "outliers", cutouts.data.shape, "b")
    _part_of_it(parts["flux"], "fluxes")
    _all_finite(parts["offset"], "positions of sources")
    for name in ("covariance", "common_covariance"):
        _not_negative(np.diagonal(parts[name], axis1=1, axis2=2), f"variances in {name}")
    return _changed(answer, **parts)


@_checks("lcf_setting_rules", "decide")
def _decide(answer: Any, arguments: Sequence[Any]) -> Any:
    _all_instances(answer, Decision)
    return answer


# ---------------------------------------------------------------- files of light curves


@_checks("lcf_exporters", "files")
def _files(answer: Any, arguments: Sequence[Any]) -> Any:
    _instance(answer, Mapping)
    for name in answer:
        if not isinstance(name, str) or not name or name.startswith(".") or set(name) & set("/\\\0"):
            raise WrongAnswer(f"{name!r} as the name of a file: plain names are wanted, without folders")
    return answer


@_checks("lcf_exporters", "faults")
def _faults(answer: Any, arguments: Sequence[Any]) -> Any:
    _all_instances(answer, FileFault)
    return answer
