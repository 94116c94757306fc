from __future__ import annotations

import pickle
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from lcframework import testing
from lcframework.report.panels import Panel
from lcframework.testing import check_exporter, check_plugin_class
from lcframework.types import UnusableInput
from lcframework.work import LightCurveKey

pytest.importorskip("lcf_periodogram", reason="not installed: pip install plugin_examples/lcf-periodogram")
from lcf_periodogram.exporter import Folded
from lcf_periodogram.panel import PeriodogramPanel
from lcf_periodogram.search import periodogram, phases, relative_fluxes
from lcf_periodogram.stage import FindPeriods, PeriodogramStage

PERIOD, AMPLITUDE = 3.71, 0.08


def curve(epochs: int = 150, amplitude: float = AMPLITUDE) -> Table:
    """A variable A and a constant B, in two bands of different brightness, over 60 days."""
    rng = np.random.default_rng(4)
    mjd = np.sort(rng.uniform(60000.0, 60060.0, epochs))
    band = np.where(np.arange(epochs) % 2, "g", "r")
    level = np.where(band == "g", 300.0, 900.0)
    wave = 1.0 + amplitude * np.sin(2.0 * np.pi * (mjd - 60001.0) / PERIOD)
    table = Table({"mjd": mjd, "bjd_tdb": mjd + 2400000.5 + 0.004, "band": band, "instrument": ["Cam"] * epochs})
    for source, shape in (("A", wave), ("B", np.ones(epochs))):
        table[f"{source}_flux"] = level * (shape + rng.normal(0.0, 0.01, epochs))
        table[f"{source}_d_flux"] = 0.01 * level
    table.meta["roi"] = "Q"
    return table


def test_a_known_period_and_a_constant_source() -> None:
    found = periodogram(curve(), "A", 0.1, 1000.0)
    assert found.period == pytest.approx(PERIOD, rel=2e-3)
    assert found.amplitude == pytest.approx(AMPLITUDE, rel=0.06)
    assert found.false_alarm < 1e-10
    assert found.epochs == 150
    assert periodogram(curve(), "B", 0.1, 1000.0).false_alarm > 0.01


def test_bands_and_unusable_epochs() -> None:
    table = curve()
    table["A_flux"][3], table["A_d_flux"][4] = np.nan, 0.0
    before = table.copy()
    time, flux, error = relative_fluxes(table, "A")
    assert len(time) == len(flux) == len(error) == 148
    assert time.min() > 2.4e6  # barycentric
    assert abs(flux.mean() - 1.0) < 0.01
    np.testing.assert_allclose(error, 0.01, rtol=0.02)
    assert all(np.array_equal(before[c], table[c], equal_nan=before[c].dtype.kind == "f") for c in table.colnames)
    table["bjd_tdb"] = np.nan
    assert relative_fluxes(table, "A")[0].max() < 7e4


@pytest.mark.parametrize(
    ("epochs", "shortest", "longest", "words"),
    [(5, 0.1, 100.0, "5 usable epochs are too few"), (50, 70.0, 100.0, "hold no period"),
     (50, 1e-6, 100.0, "raise shortest")],
)  # fmt: skip
def test_what_can_not_be_searched(epochs: int, shortest: float, longest: float, words: str) -> None:
    with pytest.raises(UnusableInput, match=words):
        periodogram(curve(epochs), "A", shortest, longest)


def test_phases() -> None:
    np.testing.assert_allclose(phases(np.array([10.0, 11.0, 12.5, 9.5]), 2.0, 10.0), [0.0, 0.5, 0.25, 0.75])


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Any]:
    """The file that the stage's task makes of a light curve, and what it says of it."""
    (tmp_path / "prepared").mkdir()
    curve().write(tmp_path / "prepared/Q.csv", format="ascii.csv")
    task = pickle.loads(pickle.dumps(FindPeriods("periodogram", SimpleNamespace(workdir=tmp_path), 0.1, 1000.0, 10.0)))
    unit = SimpleNamespace(label="Q", payload="prepared/Q.csv")
    values = task.load(unit)
    outcome = task.save(unit, values, task.compute(values))
    return tmp_path / outcome.path, outcome


def test_the_task(made: tuple[Path, Any]) -> None:
    path, outcome = made
    table = Table.read(path, format="ascii.ecsv")
    peak = table[table["source"] == "A"]
    assert 1.0 / peak["frequency"][np.argmax(peak["power"])] == pytest.approx(PERIOD, rel=5e-3)  # of the grid
    assert table.meta["sources"]["A"]["period"] == pytest.approx(PERIOD, rel=2e-3)
    assert set(table.meta["sources"]) == {"A", "B"}
    assert outcome.summary.startswith("A: 3.7")
    assert sorted(f.name for f in path.parent.iterdir()) == ["Q.ecsv"]


def test_a_light_curve_of_few_epochs() -> None:
    with pytest.raises(UnusableInput, match=r"A: 4 usable .*; B: 4 usable"):
        FindPeriods("periodogram", SimpleNamespace(), 0.1, 1000.0, 10.0).compute(curve(4))


def test_the_units() -> None:
    product = SimpleNamespace(token="t1", path="prepared/Q.csv")
    ledger = SimpleNamespace(made=lambda stage, kind: {LightCurveKey("Q"): product})
    (unit,) = PeriodogramStage().units(None, ledger)
    (other,) = PeriodogramStage(longest=50.0).units(None, ledger)
    assert (unit.label, unit.payload) == ("Q", "prepared/Q.csv")
    assert unit.components["light_curve"] == "t1"
    assert unit.fingerprint != other.fingerprint  # another option makes it again
    for wrong in (dict(shortest=0.0), dict(longest=-1.0), dict(oversampling=0.5)):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            PeriodogramStage(**wrong)


def test_the_panel(made: tuple[Path, Any]) -> None:
    workdir = made[0].parent.parent
    panel = PeriodogramPanel()
    assert isinstance(panel, Panel)
    fragment = panel.render(SimpleNamespace(workdir=workdir, config=SimpleNamespace(roi={"Q": None, "gone": None})))
    assert "Q A" in fragment
    assert "3.7" in fragment
    assert panel.render(SimpleNamespace(workdir=workdir / "none", config=SimpleNamespace(roi={"Q": None}))) == ""


@pytest.mark.parametrize(
    ("check", "kind"), [("check_stage", PeriodogramStage), ("check_report_panel", PeriodogramPanel)]
)
def test_the_contracts(check: str, kind: type) -> None:
    if not hasattr(testing, check):
        pytest.skip(f"this lcframework has no {check}")
    getattr(testing, check)(kind)


def test_the_exporter(tmp_path: Path) -> None:
    check_plugin_class(Folded())
    check_exporter(Folded(period=1.5), tmp_path / "a.folded.ecsv")
    path = tmp_path / "q.folded.ecsv"
    Folded(epoch=2460001.5).export(curve(), path)
    table = Table.read(path, format="ascii.ecsv")
    assert table.meta["period"]["A"] == pytest.approx(PERIOD, rel=2e-3)
    of_a = table[table["source"] == "A"]
    assert np.all(np.diff(of_a["phase"]) >= 0)
    quarter, three = (np.abs(of_a["phase"] - p) < 0.05 for p in (0.25, 0.75))
    assert np.mean(of_a["flux"][quarter]) - np.mean(of_a["flux"][three]) == pytest.approx(2 * AMPLITUDE, rel=0.1)
    with pytest.raises(UnusableInput, match="too few"):
        Folded().export(curve(5), path)


@pytest.mark.parametrize("name", ["stage-periodogram", "panel-periodogram", "exporter-folded"])
def test_it_is_announced(name: str) -> None:
    (point,) = entry_points(group="lcframework", name=name)
    assert point.value == f"lcf_periodogram.{name.partition('-')[0]}"
