"""What is doubtful about transparencies and zero points: too few stars, errors of zero, frames of clouds."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from astropy.table import Table

from lcframework.config.project_file import Config
from lcframework.config.toolbox import Tool
from lcframework.stages.calculate_absolute_zeropoints import FitZeropoint, Levels
from lcframework.stages.calculate_normalization_coefficient import transparency_doubts
from lcframework.stars.zeropoint import Zeropoint
from lcframework.stars.zeropoint_doubts import zeropoint_doubts
from lcframework.types import FitState, FitStatus, NormalizationSolution, UnusableInput


@attrs.frozen
class Survey:
    """Answers with given errors."""

    errors: tuple[float, ...]

    def magnitudes(self, stars: Any, band: str) -> Table:
        n = len(self.errors)
        columns = {"source_id": stars["source_id"][:n], "mag": np.full(n, 15.0), "mag_err": np.array(self.errors)}
        return Table(columns, meta={"system": "AB"})


@attrs.frozen
class Toolbox:
    """Holds one survey."""

    errors: tuple[float, ...]
    config: Config | None = None

    def tool(self, section: str, instrument: str) -> Tool:
        return Tool("calibration", "file", Survey(self.errors), 1)


def fitted(*errors: float, band: str = "r", guessed: bool = False) -> Any:
    star = {"ra": 1.0, "dec": 2.0, "pmra": 0.0, "pmdec": 0.0, "ref_epoch": 2016.0, "magnitude": 15.0}
    star |= {"bp": None, "rp": None}
    stars = [{"gaia_id": str(i), **star} for i in range(len(errors))]
    levels = Levels("f", "Cam", band, "r_sdss", stars, [100.0] * len(stars), [0.1] * len(stars), stars, guessed)
    return FitZeropoint("calculate_absolute_zeropoints", Toolbox(errors)).compute(levels)


def test_errors_of_zero_are_unknown() -> None:
    result = fitted(0.01, 0.0, 0.02, 0.0, 0.01)
    assert result.zeropoint.stars == 3
    assert result.zeropoint.zeropoint == pytest.approx(20.0)
    assert [(d.kind, d.value) for d in result.doubts] == [("unknown_magnitude_error", 2.0)]
    with pytest.raises(UnusableInput, match="gives none of its 4 magnitudes a positive error"):
        fitted(0.0, 0.0, 0.0, 0.0)


def test_a_zero_point_that_depends_on_brightness_is_doubted() -> None:
    even = Zeropoint(20.0, 0.01, 0.02, 30, 0.0, 0.0, 0.0, 0.03, 0.01)
    assert zeropoint_doubts(even, 0, 30) == ()
    (doubt,) = zeropoint_doubts(attrs.evolve(even, trend=0.06), 0, 30)
    assert (doubt.kind, doubt.value) == ("zeropoint_by_brightness", 0.06)
    assert "0.060 +- 0.010 mag smaller than faint ones" in doubt.text
    (doubt,) = zeropoint_doubts(attrs.evolve(even, trend=-0.06), 0, 30)
    assert "larger" in doubt.text


def test_a_zero_point_of_two_stars_is_doubted() -> None:
    (doubt,) = fitted(0.01, 0.01).doubts
    assert (doubt.kind, doubt.value) == ("few_zeropoint_stars", 2.0)
    assert "rests on 2 of 2 reference stars" in doubt.text
    assert fitted(0.01, 0.01, 0.01).doubts == ()


@pytest.mark.parametrize(("band", "severity"), [("B", "doubt"), ("Clear", "note"), ("", "note")])
def test_a_band_that_nobody_named_is_doubted(band: str, severity: str) -> None:
    (doubt,) = fitted(0.01, 0.01, 0.01, band=band, guessed=True).doubts
    assert (doubt.kind, doubt.severity) == ("calibrated_by_another_band", severity)
    assert "survey file" in doubt.text
    assert "the magnitudes are those of r_sdss, for stars" in doubt.text


def solution(stars: int, relative: list[float]) -> NormalizationSolution:
    frames = len(relative)
    ones = np.ones(frames)
    used = np.zeros((frames, 6), bool)
    used[:, :stars] = True
    return NormalizationSolution(
        coefficient=ones, coefficient_uncertainty=np.array(relative), scatter=ones, level=np.ones(6),
        level_error=np.ones(6), intrinsic_scatter=np.zeros(6), used=used, status=FitStatus(FitState.CONVERGED, 1, ""),
    )  # fmt: skip


def test_frames_whose_stars_disagree_are_told() -> None:
    alike = attrs.evolve(solution(3, [0.01] * 5), extra_scatter=np.array([0.002, 0.003, 0.002, 0.002, 0.003]))
    assert transparency_doubts(alike) == ()
    (uneven,) = transparency_doubts(attrs.evolve(alike, extra_scatter=np.array([0.002, 0.003, 0.002, 0.04, 0.02])))
    assert (uneven.kind, uneven.value) == ("uneven_transparency", 0.04)
    assert "2 of 5 frames" in uneven.text


def test_transparency_of_clouds() -> None:
    assert transparency_doubts(solution(3, [0.01, 0.02, 0.5])) == ()
    few, clouds = transparency_doubts(solution(2, [0.01, 0.3, 0.5, 0.1]))
    assert (few.kind, few.value) == ("few_normalization_stars", 2.0)
    assert (clouds.kind, clouds.severity) == ("uncertain_transparency", "serious")
    assert "2 of 4 frames" in clouds.text
