"""What a fitted transit says: numbers with errors, the O-C, the table of points, and the files they are written to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from lcf_transit.baseline import Best
from lcf_transit.model import NAMES, Ephemeris, Prior, duration, inclination
from lcf_transit.noise import beta
from lcf_transit.problem import NOISE, Problem, design
from lcf_transit.sampling import Samples
from lcframework.types import Floats

if TYPE_CHECKING:
    from astropy.table import QTable

FOLDER = "transit"
FORMAT = 1
#: From the limits that hold 68.27 % of a posterior.
_ONE_SIGMA = (15.865, 50.0, 84.135)


@attrs.frozen(eq=False)
class Fitted:
    """A fitted transit: whose it is, the problem, the baselines that were tried (the best first) and the samples."""

    region: str
    source: str
    band: str
    instrument: str
    ephemeris: Ephemeris
    number: int
    problem: Problem
    tried: list[Best]
    samples: Samples
    clipped: int

    @property
    def best(self) -> Best:
        """The chosen baseline and its most probable values."""
        return self.tried[0]

    def draws(self) -> dict[str, Floats]:
        """Return draws of all quantities, fixed ones too."""
        found = {name: self.samples.of(name, self.best.values[name]) for name in (*NAMES, *NOISE)}
        middle, _ = self.ephemeris.middle(self.number)
        scale, timescale = np.exp(found.pop("log_scale")), np.exp(found.pop("log_timescale"))
        return {
            "mid_time_bjd_tdb": found.pop("delay") + middle, **found,
            "inclination_deg": np.asarray(inclination(found["a_rs"], found["b"])),
            "duration_hours": np.asarray(duration(self.ephemeris.period, found)),
            "depth": found["rp_rs"] ** 2, "error_scale": scale, "red_noise": found["red"],
            "red_noise_minutes": 1440 * timescale,
        }  # fmt: skip


@attrs.frozen(eq=False)
class Curves:
    """The parts of a light curve: data = transit x baseline + red noise + residual, each (n,)."""

    transit: Floats
    baseline: Floats
    red: Floats
    residual: Floats

    @property
    def detrended(self) -> Floats:
        """The flux without baseline and without the expected correlated part, the star alone being 1."""
        return np.asarray(self.transit + self.residual / self.baseline)


def quantity(values: Floats) -> dict[str, float | None]:
    """Return the median of draws and its distances to the limits of 68 %."""
    low, middle, high = (float(v) for v in np.percentile(values, _ONE_SIGMA))
    return {"value": middle, "error": 0.5 * (high - low), "error_down": middle - low, "error_up": high - middle}


def curves_of(fitted: Fitted) -> Curves:
    """Return the parts of the light curve by the best baseline and its most probable values."""
    problem, best = fitted.problem, fitted.best
    values = best.values
    answer = problem.answer(problem.likelihood(best.terms), values, red=True)
    transit = problem.transit(values)
    baseline = design(problem.series, best.terms) @ answer.coefficients
    residual = problem.series.flux - transit * baseline - answer.red
    return Curves(transit, baseline, answer.red, residual)


def as_json(fitted: Fitted, curves: Curves) -> dict[str, Any]:
    """Return the results as plain values: the contents of ``transit.json``."""
    draws = fitted.draws()
    predicted, prediction_error = fitted.ephemeris.middle(fitted.number)
    middle = quantity(draws["mid_time_bjd_tdb"])
    difference = 1440 * (draws["mid_time_bjd_tdb"] - predicted)
    noise_and_red, series = curves.residual + curves.red, fitted.problem.series
    told = {name: quantity(values) for name, values in draws.items() if name not in ("red", "mid_time_bjd_tdb")}
    return {
        "format": FORMAT, "region": fitted.region, "source": fitted.source, "band": fitted.band,
        "instrument": fitted.instrument, "time_system": "BJD_TDB",
        "mid_time_bjd_tdb": middle, **told,
        "o_minus_c_minutes": {**quantity(difference), "prediction_error": 1440 * prediction_error},
        "ephemeris": {**attrs.asdict(fitted.ephemeris), "number": fitted.number, "predicted_bjd_tdb": predicted},
        "priors": {name: _prior(name, prior, predicted) for name, prior in fitted.problem.priors.items()},
        "detrending": {
            "terms": list(fitted.best.terms), "bic": fitted.best.bic,
            "averaged": [{"terms": list(t), "weight": weight} for t, weight in fitted.samples.weights],
            "tried": [{"terms": list(fit.terms), "delta_bic": fit.bic - fitted.best.bic} for fit in fitted.tried],
        },
        "residuals": {
            "points": len(series), "clipped": fitted.clipped, "epochs_in_a_point": series.binned,
            "scatter": float(np.std(noise_and_red)), "stated_error": float(np.sqrt(np.mean(series.error**2))),
            "beta": beta(series.time, noise_and_red),
        },
        "sampling": {"steps": fitted.samples.steps, "draws": len(fitted.samples.chain),
                     "autocorrelation_steps": fitted.samples.autocorrelation},
    }  # fmt: skip


def _prior(name: str, prior: Prior, predicted: float) -> dict[str, Any]:
    shift = predicted if name == "delay" else 0.0
    shape = "fixed" if prior.fixed else "normal" if np.isfinite(prior.error) else "uniform"
    found: dict[str, Any] = {"shape": shape, "value": prior.value + shift}
    if shape == "normal":
        found["error"] = prior.error
    if shape != "fixed":
        found["low"], found["high"] = prior.low + shift, prior.high + shift
    return found


def table_of(fitted: Fitted, curves: Curves) -> QTable:
    """Return the points with all parts of their flux."""
    import astropy.units as u
    from astropy.table import QTable

    series = fitted.problem.series
    table = QTable({"bjd_tdb": series.time * u.d, "flux": series.flux, "error": series.error})
    for name in ("transit", "baseline", "red", "residual", "detrended"):
        table[name] = getattr(curves, name)
    for name, values in series.regressors.items():
        table[name] = values
    table.meta["flux"] = "relative to the median; flux = transit * baseline + red + residual"
    table.meta["regressors"] = "each less its mean, over its standard deviation"
    return table


def write(folder: Path, fitted: Fitted) -> list[Path]:
    """Write ``transit.json`` and ``transit/<region>_<source>_<number>`` as ECSV, PDF and PNG; return the paths."""
    from lcf_transit.plot import draw

    curves = curves_of(fitted)
    results: Mapping[str, Any] = as_json(fitted, curves)
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    name = f"{fitted.region}_{fitted.source}_{fitted.number}"
    paths = [folder / "transit.json", *(place / f"{name}.{kind}" for kind in ("json", "ecsv", "pdf", "png"))]
    for path in paths[:2]:  # the latest transit by a fixed name, and each by its own
        _replace(path, json.dumps(results, indent=2) + "\n")
    table_of(fitted, curves).write(paths[2], format="ascii.ecsv", overwrite=True)
    draw(fitted, curves, results, paths[3:])
    return paths


def _replace(path: Path, text: str) -> None:
    """Write a file under another name, and rename it: nobody reads a half of it."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
