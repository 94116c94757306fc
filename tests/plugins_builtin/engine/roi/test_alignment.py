"""Where the model of a region puts a point source: where each epoch's transform to the sky has it."""

from __future__ import annotations

import numpy as np
import pytest
from small_sky import small_sky

from lcframework.testing.regions import render_point, simulate
from plugins_builtin.engine.roi.geometry import prepare, to_pixels
from plugins_builtin.engine.roi.interpolation import align
from plugins_builtin.engine.roi.penalties import GaussianPriors, Strengths, Values
from plugins_builtin.engine.roi.starlet_objective import StarletObjective


def centroid(image: np.ndarray) -> np.ndarray:
    index = np.arange(len(image))
    return np.array([(image.sum(0) * index).sum(), (image.sum(1) * index).sum()]) / image.sum()


# A bilinear rotation does not keep the centroid of a source two small pixels wide to better than a fiftieth of them.
@pytest.mark.parametrize(("exact", "error"), [(False, 0.012), (True, 0.002)], ids=["interpolated", "exact"])
@pytest.mark.parametrize("kernel", [24, 23])
def test_a_source_is_rendered_where_each_epoch_has_it(kernel, exact, error):
    source = np.array([[0.15, -0.1]])
    sky = small_sky(3, sources=source, flux=np.full((3, 1), 1.0), galaxies=(), rotation=5.0, kernel=kernel)
    cutouts, sources, _ = simulate(sky, 0, noise=False)
    epochs = prepare(cutouts, sources)
    alignment = align(epochs, source[0])
    assert np.ptp(alignment.alpha) > 2.0
    none = np.full((1, 2), np.inf), alignment.translation, np.full((3, 2), np.inf)
    priors = GaussianPriors(np.zeros((1, 2)), *none)
    objective = StarletObjective(
        epochs, alignment, 1 / epochs.variance, np.ones((5, 36, 36)), Strengths(), priors, exact
    )
    c = to_pixels(epochs.transform[0], source) - 8.5
    model = objective.model(Values(np.ones((3, 1)), c, alignment.translation, np.zeros(3), np.zeros((36, 36))))
    for image, transform, own in zip(model, epochs.transform, epochs.kernels, strict=True):
        expected = render_point(sky, to_pixels(transform, source[0]), own)
        np.testing.assert_allclose(centroid(image), centroid(expected), atol=error)
