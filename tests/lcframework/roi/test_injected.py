from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from astropy.table import Table

from lcframework.roi.injected import (
    Summary,
    _width,
    injection_doubts,
    read_injected,
    results_path,
    stored_doubts,
    summarise,
    write_summary,
)

FRAMES = 20


def table(scale: float = 1.0, noise: float = 1.0, sources: int = 12, lost: int = 0) -> Table:
    """Return what came of single sources of 100 and 2 e-/s whose errors of 1 e-/s are wrong by a factor `noise`."""
    rng = np.random.default_rng(8)
    rows = []
    for level, truth in (("1", 100.0), ("2", 2.0)):
        for k in range(sources):
            for frame in range(FRAMES):
                flux = scale * truth + noise * rng.normal()
                rows.append((f"r{level}{k}", level, "A", "cam", "r", frame, 60000.0 + frame, 1.0 + 0.05 * frame, truth,
                             0.0, flux, 1.0, 1.0, 0.1, 1.0, 0.0, 0))  # fmt: skip
    names = ("region", "level", "source", "instrument", "band", "frame_id", "mjd", "seeing", "truth", "truth_error",
             "flux", "d_flux", "d_flux_fit", "d_flux_common", "reduced_chi2", "flags", "saturated")  # fmt: skip
    made = Table(rows=rows, names=names)
    made["flux"][:lost] = np.nan
    made.meta["zeropoints"] = {"cam r": 25.0}
    return made


def kinds(summary: Summary) -> set[str]:
    return {d.kind for d in injection_doubts("QSO", summary)}


def test_true_errors() -> None:
    summary = summarise(table(lost=24))
    bright, faint = summary.by_brightness
    assert (bright.magnitude, bright.sources, bright.epochs) == (pytest.approx(20.0), 12, 240)
    assert bright.lost == pytest.approx(0.1)
    assert bright.complete == pytest.approx(0.9)
    assert faint.complete < 0.05
    assert bright.stated == pytest.approx(0.01)
    assert bright.scatter == pytest.approx(0.01, rel=0.15)
    for outcome in summary.by_brightness:
        assert abs(outcome.pull - 1) < 4 * outcome.pull_error
        assert abs(outcome.pull_fit - 1) < 4 * outcome.pull_fit_error
        assert abs(outcome.pull_epochs - 1) < 4 * outcome.pull_epochs_error
        assert abs(outcome.bias) < 4 * outcome.bias_error
    assert [o.epochs for o in summary.by_seeing] == [168, 168, 144]
    assert len(summary.limits) == FRAMES
    assert np.median([limit.flux for limit in summary.limits]) == pytest.approx(5.0, rel=0.2)
    assert summary.limits[0].stated == 5.0
    assert summary.limits[0].stated_magnitude == pytest.approx(25 - 2.5 * np.log10(5))
    assert kinds(summary) == set()


def test_errors_that_are_too_small() -> None:
    summary = summarise(table(noise=1.6))
    assert [o.pull for o in summary.by_brightness] == pytest.approx([1.6, 1.6], rel=0.15)
    (doubt,) = injection_doubts("QSO", summary)
    assert doubt.kind == "injected_errors_too_small"
    assert doubt.severity == "doubt"
    assert "QSO cam r" in doubt.text


def test_levels_that_differ_from_place_to_place_are_not_the_epochs_fault() -> None:
    made = table()
    places = np.array([int(region[2:]) % 5 - 2 for region in made["region"]])
    made["flux"] += 0.02 * places * made["truth"]
    bright = summarise(made).by_brightness[0]
    assert bright.pull > 2
    assert bright.pull_epochs == pytest.approx(1.0, abs=0.15)
    assert "injected_errors_too_small" not in kinds(summarise(made))


def test_errors_that_are_too_large() -> None:
    assert kinds(summarise(table(noise=0.5))) == {"injected_errors_too_large"}


def test_the_error_of_a_width() -> None:
    samples = 1.7 * np.random.default_rng(3).normal(size=(2000, 81))
    widths, errors = np.array([_width(pulls) for pulls in samples]).T
    assert widths.mean() == pytest.approx(1.7, rel=0.01)
    assert np.median(errors) == pytest.approx(widths.std(), rel=0.05)


def test_each_pull_is_judged_by_its_own_error() -> None:
    """Two sources are too few to tell either way, however small the pull over the other errors is."""
    quantiles = np.array([NormalDist().inv_cdf((i + 0.5) / FRAMES) for i in range(FRAMES)])
    narrow, wide = table(sources=2), table(sources=2)
    narrow["flux"], wide["flux"] = (made["truth"] + noise * np.tile(quantiles, 4)
                                    for made, noise in ((narrow, 0.65), (wide, 1.4)))  # fmt: skip
    narrow["d_flux"] = 10.0  # most of it is no noise of the fit
    wide["d_flux_common"] = 20.0
    for outcome in summarise(narrow).by_brightness:
        assert outcome.pull_fit == pytest.approx(0.65, rel=0.03)
        assert outcome.pull_fit_error == pytest.approx(1.17 * outcome.pull_fit / np.sqrt(2 * FRAMES))
    for outcome in summarise(wide).by_brightness:
        assert outcome.pull_epochs == pytest.approx(1.4, rel=0.05)
        assert outcome.pull_epochs_error == pytest.approx(1.17 * outcome.pull_epochs / np.sqrt(2 * FRAMES))
    assert kinds(summarise(narrow)) == kinds(summarise(wide)) == set()


@pytest.mark.parametrize(("scale", "side"), [(1.01, "too bright"), (0.99, "too faint")])
def test_fluxes_that_are_wrong(scale: float, side: str) -> None:
    summary = summarise(table(scale))
    assert summary.by_brightness[0].bias == pytest.approx(scale - 1, abs=0.002)
    doubts = {d.kind: d for d in injection_doubts("QSO", summary)}
    assert side in doubts["injected_bias"].text


def test_the_transparency_of_all_frames_hangs_on_the_same_stars() -> None:
    made = table(1.01)
    made["truth_error"] = 0.004 + 0.001 * made["frame_id"]
    summary = summarise(made)
    assert summary.by_brightness[0].bias_error == pytest.approx(np.hypot(0.01 / np.sqrt(12 * FRAMES), 0.004), rel=0.1)
    assert "injected_bias" not in kinds(summary)


def test_saturated_sources_count_as_lost() -> None:
    made = table()
    made["saturated"][:240] = 1
    bright = summarise(made).by_brightness[0]
    assert bright.lost == 1.0
    assert np.isnan(bright.bias)


def test_tables_come_back_from_their_file(tmp_path: Path) -> None:
    made = table(lost=3)
    made["band"] = ""
    path = results_path(tmp_path, "QSO")
    path.parent.mkdir()
    assert read_injected(tmp_path, "QSO") is None
    made.write(path, format="ascii.ecsv")
    again = read_injected(tmp_path, "QSO")
    assert again is not None
    assert summarise(again).as_json() == summarise(made).as_json()


def test_doubts_are_stored_with_the_light_curve_that_they_are_about(tmp_path: Path) -> None:
    summary = summarise(table(noise=1.6))
    assert stored_doubts(tmp_path, "QSO") == ("", [])
    write_summary(tmp_path, "QSO", summary, "abc")
    assert stored_doubts(tmp_path, "QSO") == ("abc", list(injection_doubts("QSO", summary)))
