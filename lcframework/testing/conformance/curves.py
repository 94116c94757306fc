"""Checks of plugins that work on many epochs at once: normalizations, ROI models, exporters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
from astropy.table import QTable

from lcframework.protocols import AppliesDiscs, ChecksFiles, Exporter, Normalization, RoiModel, SplitsFiles
from lcframework.roi.derived_columns import derived, reference
from lcframework.roi.light_curves import magnitudes
from lcframework.testing.conformance.contract import (
    asked_twice,
    check_array,
    check_plugin_class,
    check_pulls,
    check_status,
    name_of,
    require,
    unchanged,
)
from lcframework.types import (
    EPOCH_COLUMNS,
    SOURCE_COLUMNS,
    CurveColumn,
    Cutouts,
    Discs,
    Floats,
    FluxMatrix,
    HighResolution,
    NormalizationSolution,
    RoiFit,
    UnusableInput,
)


def check_normalization(plugin: Any, seed: int = 1) -> None:
    """Check a normalization on 30 frames and 12 stars: gaps, a cloud of outliers, a variable star, an empty frame.

    Coefficients and levels must agree with the truth within their stated errors, up to the free common factor.
    """
    check_plugin_class(plugin, Normalization)
    who = name_of(plugin)
    rng = np.random.default_rng(seed)
    f, n = 30, 12
    coefficient = rng.uniform(0.4, 1.1, f)
    level = 10 ** rng.uniform(2.3, 3.5, n)
    true = coefficient[:, None] * level
    error = np.hypot(0.3, np.sqrt(true / 300.0))
    flux = true + error * rng.normal(size=(f, n))
    flux[:, -1] *= 1.0 + 0.15 * np.sin(np.arange(f))  # a variable star
    for frame, star in ((3, 0), (11, 4), (12, 4)):
        flux[frame, star] *= 1.5
    missing = rng.uniform(size=(f, n)) < 0.1
    missing[7] = True
    flux[missing], error[missing] = np.nan, np.nan
    xy = rng.uniform(0, 1000, (f, n, 2))
    xy[missing] = np.nan
    places = np.broadcast_to([[200.0, 300.0], [700.0, 800.0]], (f, 2, 2)).copy()
    places[3, 0] = np.nan
    fluxes = FluxMatrix(flux, error, xy, (1000, 1000), region_xy=places)
    verify = unchanged(who, dict(flux=flux, error=error, xy=xy))
    answer = asked_twice(lambda: plugin.solve(fluxes), who, "solve")
    verify()
    require(isinstance(answer, NormalizationSolution), who, f"solve returned a {type(answer).__name__}")
    _check_shapes(answer, f, n, missing, who)
    _check_regions(answer, np.isnan(places).any(axis=-1), who)
    measured = np.arange(f) != 7
    ratio = answer.coefficient[measured] / coefficient[measured]
    gauge = np.median(ratio)
    stated = (answer.coefficient_uncertainty / answer.coefficient)[measured]
    check_pulls((ratio / gauge - 1) / stated, who, "coefficients", low=0.4, high=1.7)
    require(np.median(stated) < 0.02, who, f"the coefficients' errors are {np.median(stated):.1%}: stars allow 0.3 %")
    levels = answer.level / level * gauge
    off = np.abs(levels[:-1] - 1).max()
    require(off < 0.02, who, f"coefficient times level is not the flux: a constant star's level is {off:.1%} off")
    constant = ~missing[:, :-1]
    require(answer.used[:, :-1][constant].mean() > 0.9, who, "left out more than a tenth of the good fluxes")
    treated = answer.intrinsic_scatter[-1] > 0.03 or not answer.used[:, -1].any() or n - 1 in answer.rejected
    require(treated, who, "a star that varies by 15 % has neither an intrinsic scatter nor been left out")


def _check_shapes(answer: NormalizationSolution, f: int, n: int, missing: Any, who: str) -> None:
    check_status(answer.status, who, "the solution")
    for name, size in (
        ("coefficient", f),
        ("coefficient_uncertainty", f),
        ("scatter", f),
        ("level", n),
        ("level_error", n),
        ("intrinsic_scatter", n),
    ):
        check_array(getattr(answer, name), (size,), who, name, finite=False)
    for name, shape in (
        ("model", (f, n)),
        ("extra_scatter", (f,)),
        ("leverage", (f, n)),
    ):  # a plugin may leave them out
        if getattr(answer, name) is not None:
            check_array(getattr(answer, name), shape, who, name, finite=False)
    check_array(answer.used, (f, n), who, "used")
    require(answer.used.dtype == bool, who, "used must be booleans")
    require(not answer.used[missing].any(), who, "marks fluxes as used that are nan")
    require(np.isnan(answer.coefficient[7]), who, "the coefficient of a frame without any star must be nan")
    measured = np.arange(f) != 7
    require(np.all(np.isfinite(answer.coefficient[measured])), who, "a frame with good stars has no coefficient")


def _check_regions(answer: NormalizationSolution, away: Any, who: str) -> None:
    """Check the coefficients at regions (f, r), which a plugin may leave out; `away` where a frame shows none."""
    value, error = answer.region_coefficient, answer.region_coefficient_uncertainty
    require((value is None) == (error is None), who, "region_coefficient and its uncertainty go together")
    if value is None or error is None:
        return
    for name, array in (("region_coefficient", value), ("region_coefficient_uncertainty", error)):
        check_array(array, away.shape, who, name, finite=False)
    require(np.isnan(value[away]).all(), who, "a region that a frame does not show has a coefficient")
    known = np.isfinite(value)
    require(known[np.isfinite(answer.coefficient)[:, None] & ~away].all(), who, "a region lacks its coefficient")
    off = (value / answer.coefficient[:, None] - 1)[known]
    require(np.abs(off).max() < 0.02, who, f"coefficients at regions differ by {np.abs(off).max():.1%} on an even sky")


def check_roi_model(plugin: Any, epochs: int = 5, seed: int = 1, galaxy: bool = True, worst: float = 0.15) -> None:
    """Check a model of regions of interest on a simulated quadruple quasar.

    A model that is an `AppliesDiscs` gets two sources that stand alone instead, and discs of 1.5 FWHM.

    Parameters
    ----------
    plugin : RoiModel
        The plugin.
    epochs, seed : int
        Of the simulation.
    galaxy : bool
        Whether there is a lens galaxy under the quasar.
    worst : float
        The largest allowed offset of a source's whole curve, mag; the galaxy shifts curves as a whole.
    """
    from lcframework.testing.regions import alone, quad, simulate

    check_plugin_class(plugin, RoiModel)
    who = name_of(plugin)
    in_discs = isinstance(plugin, AppliesDiscs) and plugin.applies_discs
    sky = alone(epochs, seed) if in_discs else quad(epochs, seed)
    if not galaxy:
        sky = attrs.evolve(sky, galaxies=())
    cutouts, points, truth = simulate(sky, seed)
    cutouts = attrs.evolve(cutouts, discs=Discs(1.5) if in_discs else None)
    cutouts.mask[0, 3, 4:9] = True
    cutouts.data[0, 3, 4:9] = 1e3
    arrays = ("data", "noise", "mask", "transform", "registration_covariance")
    verify = unchanged(who, {name: getattr(cutouts, name) for name in arrays})
    answer = plugin.fit(cutouts, points)
    verify()
    require(isinstance(answer, RoiFit), who, f"fit returned a {type(answer).__name__}")
    _check_roi_shapes(answer, cutouts, len(points.names), who)
    stated = np.sqrt(np.diagonal(answer.covariance, axis1=1, axis2=2))
    ratio = answer.flux / truth.flux
    scale = np.median(ratio, axis=0)
    offset = -2.5 * np.log10(np.maximum(scale, 1e-3))
    for name, off in zip(points.names, offset, strict=True):
        require(abs(off) < worst, who, f"the light curve of {name} is {off:+.3f} mag off as a whole")
    pulls = (answer.flux - scale * truth.flux) / stated
    check_pulls(pulls, who, "fluxes about each source's own scale", low=0.3, high=2.5, worst=10.0)
    distance = np.hypot(*(answer.offset - truth.offset).T)
    common_distance = np.hypot(*np.mean(answer.offset - truth.offset, axis=0))
    require(
        distance.max() < 0.1,
        who,
        f"a source is {distance.max():.3f} arcsec from its position (in common {common_distance:.3f})",
    )
    chi2 = float(np.median(answer.reduced_chi2))
    require(0.5 < chi2 < 1.5, who, f"the median reduced chi2 is {chi2:.2f} on data with true noise maps")


def _check_roi_shapes(answer: RoiFit, cutouts: Cutouts, k: int, who: str) -> None:
    check_status(answer.status, who, "the fit")
    e, ny, nx = cutouts.data.shape
    shapes = {
        "flux": (e, k),
        "covariance": (e, k, k),
        "common_covariance": (e, k, k),
        "offset": (k, 2),
        "offset_covariance": (2 * k, 2 * k),
        "translation": (e, 2),
        "model": (e, ny, nx),
        "outliers": (e, ny, nx),
        "reduced_chi2": (e,),
    }
    for name, shape in shapes.items():
        check_array(getattr(answer, name), shape, who, name)
    for name in ("covariance", "common_covariance"):
        values = getattr(answer, name)
        require(np.allclose(values, values.transpose(0, 2, 1), rtol=1e-3), who, f"{name} is not symmetric")
        least, scale = np.linalg.eigvalsh(values).min(), np.abs(values).max()
        require(least >= -1e-6 * scale, who, f"{name} is not positive semidefinite")
    require(np.all(np.diagonal(answer.covariance, axis1=1, axis2=2) > 0), who, "a flux has no error")
    high = answer.high_resolution
    require(isinstance(high, HighResolution), who, f"high_resolution is a {type(high).__name__}")
    check_array(high.background, high.model.shape, who, "high_resolution.background")
    check_array(high.model, high.background.shape, who, "high_resolution.model")
    check_array(high.transform, (2, 3), who, "high_resolution.transform")
    inside = high.transform[:, :2] @ answer.offset.T + high.transform[:, 2:]
    y, x = high.model.shape
    ok = np.all((inside > -0.5) & (inside < np.array([[x], [y]]) - 0.5))
    require(ok, who, "by high_resolution.transform the point sources lie outside the image")


def light_curve(epochs: int = 4) -> QTable:
    """Return a small light curve with every column that a run publishes, one negative flux among them."""
    table = QTable()
    known: dict[str, Any] = {
        "frame_id": np.arange(1, epochs + 1), "mjd": 60360.0 + np.arange(epochs), "frame": "example",
        "bjd_tdb": 2460360.5 + np.arange(epochs), "band": "r", "instrument": "ExampleCam", "zeropoint": 24.6,
        "zeropoint_error": 0.01, "airmass": 1.2, "altitude": 56.0, "seeing_pixels": 4.0, "flags": 0,
        "relative_normalization_error": 0.002, "exptime": 100.0,
    }  # fmt: skip
    for column in EPOCH_COLUMNS:
        _add(table, column, column.name, known.get(column.name, 1.0), epochs)
    rng = np.random.default_rng(3)
    for name, level in (("A", 200.0), ("B", 20.0)):
        flux = level * (1 + 0.1 * rng.normal(size=epochs))
        if name == "B":
            flux[0] = -3.0
        for column in SOURCE_COLUMNS:
            values = _source_values(flux, 5.0).get(column.name, 1.0)
            _add(table, column, f"{name}_{column.name}", values, epochs)
    table.meta.update(roi="EXAMPLE", magnitude_system="AB", ra=150.0, dec=-28.0)
    return table


def _source_values(flux: Floats, error: float) -> dict[str, Any]:
    errors, fitted = np.full((2, len(flux)), error) * np.array([[1.0], [0.9]])
    shared = reference(flux, errors, fitted)
    return {
        "flux": flux, "d_flux": error, "d_flux_fit": 0.9 * error, "d_flux_common": 2.0, "x": 511.25, "y": 300.5,
        **magnitudes(flux, errors, 24.6), **derived(flux, errors, fitted, 24.6, shared),
    }  # fmt: skip


def _add(table: QTable, column: CurveColumn, name: str, values: Any, epochs: int) -> None:
    table[name] = np.array(np.broadcast_to(values, epochs))
    if column.unit:
        table[name].unit = column.unit


def check_exporter(plugin: Any, path: Path) -> None:
    """Check that an exporter writes the requested file, the same each time, and does not change the light curve.

    An exporter whose format can't hold the light curve, or needs an option for it, may refuse it (`UnusableInput`).
    One that checks files must recognise what it wrote.

    Parameters
    ----------
    plugin : Exporter
        The plugin.
    path : Path
        A file to write, with the extension that the format wants, in a folder that exists.
    """
    check_plugin_class(plugin, Exporter)
    who = name_of(plugin)
    table = light_curve()
    before, columns = table.copy(), list(table.colnames)
    try:
        files = plugin.files(table) if isinstance(plugin, SplitsFiles) else {path.name: table}
        name, table = next(iter(files.items()))
        path = path.with_name(name)
        before = table.copy()
        plugin.export(table, path)
    except UnusableInput as refusal:
        require(bool(str(refusal)), who, "refuses a light curve without a reason")
        return
    require(path.is_file() and path.stat().st_size > 0, who, f"wrote nothing to {path.name}")
    require(table.colnames == columns and len(table) == len(before), who, "changed the light curve that it was given")
    for name in columns:
        same = np.array_equal(table[name], before[name], equal_nan=before[name].dtype.kind == "f")
        require(same, who, f"changed the column {name} of the light curve that it was given")
    first = path.read_bytes()
    if isinstance(plugin, ChecksFiles):
        require(plugin.recognises(path), who, f"does not recognise {path.name}, which it wrote")
    plugin.export(table, path)
    require(path.read_bytes() == first, who, "writes something else the second time: leave the time of writing out")
