from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import click
import numpy as np
import pytest
from astropy.table import QTable
from click.testing import CliRunner

import lcframework
from lcframework import testing
from lcframework.types import LcfError

pytest.importorskip("batman", reason="pip install batman-package")
pytest.importorskip("emcee", reason="pip install emcee")
pytest.importorskip("lcf_transit", reason="not installed: pip install plugin_examples/lcf-transit")

from lcf_transit import command, of_project
from lcf_transit.baseline import Best, best_fit, choose_baseline, outliers
from lcf_transit.model import Ephemeris, Prior, Transit, duration, inclination
from lcf_transit.noise import Likelihood, Noise, beta
from lcf_transit.problem import Problem, design
from lcf_transit.sampling import baseline_weights, sample
from lcf_transit.series import MOST_EPOCHS, Series, series_of, standardized

PERIOD, EPOCH, SIGMA, EXPOSURE = 2.15, 2459000.5, 2.5e-3, 60 / 86400
TRUTH = {"delay": 2 / 1440, "rp_rs": 0.12, "a_rs": 6.0, "b": 0.2, "u1": 0.35, "u2": 0.25}
KNOWN = {"a_rs": (6.0, 0.1), "impact": (0.2, 0.05), "u1": (0.35, 0.05), "u2": (0.25, 0.05)}


def series(seed: int, red: float = 0.0, n: int = 75, hours: float = 4.5) -> Series:
    """Simulate a transit with an airmass trend, white noise, and correlated noise of 25 min (not the fit's kernel)."""
    rng = np.random.default_rng(seed)
    time = EPOCH + np.linspace(-hours / 48, hours / 48, n)
    regressors = {
        "airmass": standardized(1.2 + 8 * (time - EPOCH) ** 2 + (time - EPOCH)),
        "x": standardized(np.cumsum(rng.normal(size=n))),
    }
    flux = Transit(time, EXPOSURE, EPOCH, PERIOD)(TRUTH) * (1 + 0.004 * regressors["airmass"])
    flux += SIGMA * rng.normal(size=n)
    memory, slow = np.exp(-(time[1] - time[0]) * 1440 / 25), np.empty(n)
    slow[0] = rng.normal()
    for i in range(1, n):
        slow[i] = memory * slow[i - 1] + np.sqrt(1 - memory**2) * rng.normal()
    flux += red * SIGMA * slow
    return Series(time, flux / np.median(flux), np.full(n, SIGMA), EXPOSURE, regressors)


def problem(of: Series, known: dict[str, Any] | None = None) -> Problem:
    priors = of_project.priors_of(KNOWN if known is None else known, of.time[0] - EPOCH, of.time[-1] - EPOCH)
    return Problem(of, priors, Transit(of.time, of.exposure, EPOCH, PERIOD))


def test_the_model() -> None:
    time = EPOCH + np.linspace(-0.15, 0.15, 3001)
    flux = Transit(time, 0.0, EPOCH, PERIOD)({**TRUTH, "u1": 0.0, "u2": 0.0})
    inside = time[flux < 1 - 1e-9]
    assert 0.5 * (inside[0] + inside[-1]) - EPOCH == pytest.approx(TRUTH["delay"], abs=2e-4)  # later than predicted
    assert 24 * np.ptp(inside) == pytest.approx(float(duration(PERIOD, TRUTH)), abs=0.01)
    assert 1 - flux.min() == pytest.approx(0.12**2, rel=1e-6)
    assert float(inclination(6.0, 0.2)) == pytest.approx(88.0898, abs=1e-3)
    # An exposure of half an hour blurs the ingress.
    long = Transit(time, 0.02, EPOCH, PERIOD)({**TRUTH, "u1": 0.0, "u2": 0.0})
    assert np.interp(inside[0] - 0.005, time, long) < 1 - 1e-4


def test_the_likelihood_is_that_of_a_normal_distribution() -> None:
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(1)
    time, error = np.sort(rng.uniform(0, 0.2, 12)), rng.uniform(1, 2, 12) * 1e-3
    flux, transit = 1 + 2e-3 * rng.normal(size=12), 1 - 0.01 * (time > 0.1)
    lag = np.sqrt(3) * np.abs(time[:, None] - time) / 0.03
    covariance = np.diag((1.3 * error) ** 2) + 2e-3**2 * (1 + lag) * np.exp(-lag)
    found = Likelihood(time, flux, error, np.ones((12, 1)))(transit, Noise(1.3, 2e-3, 0.03), red=True)
    levels = found.coefficients[0] + np.linspace(-0.02, 0.02, 4001)
    each = np.array([multivariate_normal.logpdf(flux, level * transit, covariance) for level in levels[::10]])
    assert found.log_best == pytest.approx(each.max(), abs=1e-6)
    integral = np.log(np.sum(np.exp(each - each.max())) * (levels[10] - levels[0])) + each.max()
    assert found.log_marginal == pytest.approx(integral, abs=1e-3)
    residual = flux - found.coefficients[0] * transit
    smooth = (covariance - np.diag((1.3 * error) ** 2)) @ np.linalg.solve(covariance, residual)
    np.testing.assert_allclose(found.red, smooth, atol=1e-12)


def test_beta_tells_white_from_red_noise() -> None:
    rng = np.random.default_rng(2)
    time, white = np.arange(300) * 2 / 1440, rng.normal(size=300)
    assert beta(time, white) < 1.25
    assert beta(time, white + np.convolve(rng.normal(size=310), np.ones(11) / 3)[5:305]) > 1.8


def test_the_baseline_has_what_the_light_curve_asks_for() -> None:
    chosen, *others = choose_baseline(problem(series(3)), allowed=("airmass", "x"))
    assert chosen.terms == ("airmass",)
    assert all(fit.bic > chosen.bic - 2 for fit in others)
    assert len(others) == 3  # none, x, both
    shape = design(series(3), ("time", "airmass")).shape
    assert shape == (75, 3)


def test_baselines_that_are_left_open_are_averaged() -> None:
    tried = [Best((name,), {}, bic) for name, bic in (("time", -600.0), ("airmass", -598.0), ("x", -580.0))]
    found = baseline_weights(tried)
    assert [fit.terms for fit, _ in found] == [("time",), ("airmass",)]
    assert found[0][1] / found[1][1] == pytest.approx(np.e)
    assert sum(weight for _, weight in found) == pytest.approx(1)


def test_a_cosmic_ray_is_left_out_and_the_transit_is_not() -> None:
    hit = series(4)
    flux = hit.flux.copy()
    flux[20] += 0.03
    p = problem(attrs.evolve(hit, flux=flux))
    assert np.flatnonzero(outliers(p, best_fit(p, ("airmass",), p.start()), 4.5)).tolist() == [20]


def curve(of: Series) -> QTable:
    n = len(of)
    return QTable({
        "frame_id": np.arange(n), "bjd_tdb": of.time, "band": ["R"] * n, "instrument": ["cam"] * n,
        "airmass": 1.3 + 0.1 * of.regressors["airmass"], "seeing_pixels": np.full(n, 3.0),
        "sky_level": np.full(n, np.nan), "A_flux": 5000 * of.flux, "A_d_flux": 5000 * of.error,
    })  # fmt: skip


def test_what_becomes_of_a_light_curve() -> None:
    whole = series(5)
    found = series_of(curve(whole), "A", EPOCH, 0.05, EXPOSURE, {"x": np.arange(75.0)})
    assert sorted(found.regressors) == ["airmass", "x"]  # what does not vary or is not known takes no part
    assert np.ptp(found.time) <= 0.1
    with pytest.raises(LcfError, match='no source "B"; it has A'):
        series_of(curve(whole), "B", EPOCH, 0.05, EXPOSURE, {})
    with pytest.raises(LcfError, match="0 epochs lie within"):
        series_of(curve(whole), "A", EPOCH + 9, 0.05, EXPOSURE, {})
    many = series_of(curve(series(5, n=1000)), "A", EPOCH, 1.0, EXPOSURE, {})
    assert (len(many), many.binned) == (334, 3)
    assert len(many) <= MOST_EPOCHS
    assert many.exposure == pytest.approx(EXPOSURE + 2 * (4.5 / 24 / 999))
    assert np.median(many.error) == pytest.approx(SIGMA / np.sqrt(3), rel=0.05)


def test_what_the_user_knows() -> None:
    found = of_project.priors_of({"a_rs": (6.05, 0.0), "inclination": (88.98, 0.5), "rp_rs": (0.15, 0.0)}, -0.1, 0.1)
    assert found["a_rs"].fixed
    assert (found["b"].value, found["b"].error) == pytest.approx((0.1077, 0.0528), abs=1e-3)
    assert found["rp_rs"] == Prior(0.15, np.inf, 1e-3, 0.6)  # where the fit begins
    with pytest.raises(LcfError, match="the same"):
        of_project.priors_of({"inclination": (88.0, 0.0), "impact": (0.1, 0.0)}, -0.1, 0.1)
    with pytest.raises(LcfError, match="needs --a-rs"):
        of_project.priors_of({"inclination": (88.0, 0.0)}, -0.1, 0.1)


def test_a_planet_that_misses_its_star_is_refused() -> None:
    p = problem(series(7), {"a_rs": (6.0, 0.0), "impact": (1.28, 0.0), "rp_rs": (0.1, 0.01)})
    with pytest.raises(LcfError, match="must cross the star"):
        best_fit(p, (), p.start())


def test_transits_are_counted_from_the_epoch() -> None:
    ephemeris = Ephemeris(EPOCH, PERIOD, 0.001, 1e-5)
    assert ephemeris.number(EPOCH + 100.1 * PERIOD) == 100
    middle, error = ephemeris.middle(100)
    assert middle == EPOCH + 215.0
    assert error == pytest.approx(np.hypot(0.001, 0.001))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    table = curve(series(6))
    opened = SimpleNamespace(
        config=SimpleNamespace(roi={"HOST": None}), workdir=tmp_path, light_curve_table=lambda roi: table
    )
    monkeypatch.setattr(lcframework.Project, "open", lambda path: opened)
    monkeypatch.setattr(of_project, "_of_frames", lambda *_: (EXPOSURE, {"x": np.linspace(100, 130, 75)}))
    path = tmp_path / "project.toml"
    path.touch()
    return path


def test_the_command(project: Path) -> None:
    options = [
        "--period",
        str(PERIOD),
        "--epoch",
        f"{EPOCH - 10 * PERIOD},0.0003",
        "--steps",
        "200",
        "--term",
        "airmass",
    ]
    for name, (value, error) in KNOWN.items():
        options += [f"--{name.replace('_', '-')}", f"{value},{error}"]
    ended = CliRunner().invoke(command.command, [str(project), *options])
    assert ended.exit_code == 0, ended.output
    found = json.loads((project.parent / "transit.json").read_text())
    for name, truth in (("mid_time_bjd_tdb", EPOCH + TRUTH["delay"]), ("rp_rs", 0.12), ("o_minus_c_minutes", 2.0)):
        assert abs(found[name]["value"] - truth) < 3.5 * found[name]["error"], name
    assert 0.3 < found["o_minus_c_minutes"]["error"] < 3
    assert found["o_minus_c_minutes"]["prediction_error"] == pytest.approx(0.432)
    assert found["ephemeris"]["number"] == 10
    assert found["detrending"]["terms"] == ["airmass"]
    assert found["priors"]["a_rs"] == {"shape": "normal", "value": 6.0, "error": 0.1, "low": 1.1, "high": 1e4}
    assert found["residuals"]["scatter"] == pytest.approx(SIGMA, rel=0.25)
    table = QTable.read(project.parent / "transit/HOST_A_10.ecsv")
    parts = table["transit"] * table["baseline"] + table["red"] + table["residual"]
    np.testing.assert_allclose(parts, table["flux"], atol=1e-8)
    for kind in ("pdf", "png", "json"):
        assert (project.parent / f"transit/HOST_A_10.{kind}").stat().st_size > 1000
    assert "Rp/Rs" in ended.output


@pytest.mark.parametrize(
    ("options", "why"),
    [(["--band", "V"], 'no epoch is of band "V"'), (["--term", "moon"], "the light curve has time, time2"),
     (["--number", "7"], "0 epochs lie within"), (["--source", "B"], "no source")],
)  # fmt: skip
def test_what_can_not_be_fitted(project: Path, options: list[str], why: str) -> None:
    known = ["--period", str(PERIOD), "--epoch", str(EPOCH)]
    ended = CliRunner().invoke(command.command, [str(project), *known, *options])
    assert isinstance(ended.exception, LcfError)
    assert why in str(ended.exception)
    refused = CliRunner().invoke(command.command, [str(project), "--period", "two", "--epoch", "1"])
    assert refused.exit_code == 2
    assert "VALUE,ERROR" in refused.output


@pytest.mark.slow
@pytest.mark.parametrize("red", [0.0, 0.8])
def test_errors_are_true_with_white_and_with_red_noise(red: float) -> None:
    pulls = []
    for seed in range(100, 140):
        rng = np.random.default_rng(seed + 1_000_000)
        # What is known of the planet is off by its errors, as it is in life.
        known = {n: (abs(v + e * rng.normal()), e) for n, (v, e) in KNOWN.items()}
        p = problem(series(seed, red), known)
        samples = sample(p, choose_baseline(p), 300, 20, seed)
        limits = {n: np.percentile(samples.of(n, 0.0), (15.865, 50, 84.135)) for n in ("delay", "rp_rs")}
        pulls.append([2 * (middle - TRUTH[n]) / (high - low) for n, (low, middle, high) in limits.items()])
    rms = np.sqrt(np.mean(np.square(pulls), axis=0))
    assert (rms > 0.8).all(), rms
    assert (rms < 1.25).all(), rms


def test_the_contract() -> None:
    testing.check_command(command.command, "transit")


def test_it_is_announced() -> None:
    found = entry_points(group="lcframework", name="command.transit")
    assert [point.value for point in found] in ([], ["lcf_transit.command"])  # empty where it is not installed
    assert isinstance(command.lcf_commands()["transit"], click.Command)
