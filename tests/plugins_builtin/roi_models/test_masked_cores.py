"""A source whose core is masked, as a saturated one's is: its wings alone must not place it, nor give it a flux."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from small_sky import small_sky

from lcframework.testing.regions import simulate
from lcframework.types import Cutouts, PointSources, UnusableInput
from plugins_builtin.roi_models.joint import Joint
from plugins_builtin.roi_models.starred import Starred

MODELS = {
    "joint": Joint(background=False),
    "starred": Starred(background=False, iterations_all=120, iterations_translations=30),
}


def saturated(epochs: int, whole: tuple[int, ...]) -> tuple[Cutouts, PointSources]:
    """Return epochs of one bright source, whose core is masked in all but the `whole` ones."""
    sky = small_sky(epochs, sources=np.array([[0.05, -0.1]]), flux=np.full((epochs, 1), 3e4), galaxies=())
    cutouts, sources, _ = simulate(sky, 2)
    y, x = np.mgrid[: cutouts.data.shape[1], : cutouts.data.shape[2]]
    mask = cutouts.mask.copy()
    for i in set(range(epochs)) - set(whole):
        peak = np.unravel_index(np.argmax(cutouts.data[i]), cutouts.data[i].shape)
        mask[i] |= np.hypot(y - peak[0], x - peak[1]) < 7
    return attrs.evolve(cutouts, mask=mask), sources


@pytest.mark.parametrize("model", MODELS)
def test_masked_in_all_epochs_it_is_refused(model: str) -> None:
    cutouts, sources = saturated(4, ())
    with pytest.raises(UnusableInput, match="no source has a flux in any of 4 epochs"):
        MODELS[model].fit(cutouts, sources)


@pytest.mark.parametrize("model", MODELS)
def test_the_epochs_that_show_it_are_measured(model: str) -> None:
    cutouts, sources = saturated(5, (1, 3))
    fit = MODELS[model].fit(cutouts, sources)
    assert np.isfinite(fit.flux[:, 0]).tolist() == [False, True, False, True, False]
    error = np.sqrt(fit.covariance[[1, 3], 0, 0] + fit.common_covariance[[1, 3], 0, 0])
    assert (np.abs(fit.flux[[1, 3], 0] - 3e4) < 4 * error).all()
