"""What the stage makes of a region model's answer."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from lcframework.config.sections import Roi
from lcframework.config.toolbox import Tool
from lcframework.stages.model_calibrated_cutouts import Epochs, ModelPayload, ModelRegion
from lcframework.testing.regions import alone, simulate
from lcframework.types import Cutouts, FitState, FitStatus, HighResolution, PointSources, RoiFit


class UnitErrors:
    """A model whose variances are all one."""

    def fit(self, cutouts: Cutouts, points: PointSources) -> RoiFit:
        e, k = len(cutouts), len(points.names)
        square = np.repeat(np.eye(k)[None], e, axis=0)
        return RoiFit(
            np.full((e, k), 50.0), square, square, points.offset, np.eye(2 * k), np.zeros((e, 2)),
            HighResolution(np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((2, 3))), cutouts.data, cutouts.mask,
            np.ones(e), FitStatus(FitState.CONVERGED),
        )  # fmt: skip


@pytest.mark.parametrize("shared", [1.0, 2.5])
def test_errors_of_sources_have_the_noise_that_pixels_share(shared: float) -> None:
    cutouts, points, _ = simulate(alone(3, 1), 1)
    tool = Tool("roi_model", "unit-errors", UnitErrors(), 1)
    instrument = SimpleNamespace(stamps=SimpleNamespace(noise_correlation=shared))
    toolbox = SimpleNamespace(
        config=SimpleNamespace(roi={"T": Roi(10.0, 20.0, point_sources=dict.fromkeys(points.names, (10.0, 20.0)))}),
        tool=lambda section, instrument="": tool, config_for=lambda name: instrument, ephemeris=lambda roi: None,
    )  # fmt: skip
    epochs = SimpleNamespace(cutouts=cutouts, zeropoint_uncertainty=0.01)
    fit = ModelRegion("model", toolbox).compute(Epochs(ModelPayload("T", "camera", "r", "cutouts"), epochs))
    for found in (fit.covariance, fit.common_covariance, fit.offset_covariance):
        np.testing.assert_array_equal(found, shared * (found > 0))
        assert found.any()
    assert (fit.reduced_chi2 == 1).all()
    assert (fit.flux == 50).all()
