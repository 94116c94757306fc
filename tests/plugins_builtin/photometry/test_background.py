"""The background that a star's epochs share: the linear map, its transpose, and the noise of its starlets."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad

from plugins_builtin.engine.starlet import details
from plugins_builtin.engine.stars.point_source_fit import PointSourceStamps
from plugins_builtin.engine.stars.shared_background import BackgroundModel, _Problem, _StarSpace, _unit, fit_background

ROWS, COLUMNS, SUB = 16, 14, 2


def stamps(epochs: int = 4, m: int = 24, seed: int = 0, pedestal: bool = True) -> tuple[PointSourceStamps, np.ndarray]:
    rng = np.random.default_rng(seed)
    u = np.arange(m) - (m - 1) / 2
    widths = rng.uniform(1.5, 3.0, epochs)[:, None, None]
    kernels = np.exp(-0.5 * (u[:, None] ** 2 + 1.2 * u[None] ** 2) / widths**2)
    kernels /= kernels.sum(axis=(1, 2), keepdims=True)
    weight = rng.uniform(0.5, 1.5, (epochs, ROWS, COLUMNS))
    weight[rng.random(weight.shape) < 0.05] = 0.0
    position = rng.uniform(-0.5, 0.5, (epochs, 2))
    data = rng.standard_normal(weight.shape)
    result = PointSourceStamps(data, weight, kernels, SUB, 2.0, position, 1.0, pedestal)
    result.data[...] += 200.0 * result.images(position).value
    return result, position


@pytest.mark.parametrize("m", [23, 24])
def test_transpose(m):
    epochs, position = stamps(m=m)
    model = BackgroundModel(epochs, position)
    rng = np.random.default_rng(1)
    image = rng.standard_normal((model.size, model.size))
    other = rng.standard_normal(epochs.data.shape)
    whole = slice(None)
    forth = np.sum(model.forward(image, whole) * other)
    assert np.sum(image * model.adjoint(other, whole)) == pytest.approx(forth, rel=1e-10)


def test_light_is_conserved_and_moves_with_the_star():
    epochs, position = stamps()
    model = BackgroundModel(epochs, position)
    image = np.zeros((model.size, model.size))
    image[16, 14] = 1.0
    blobs = model.forward(image, slice(None))
    assert blobs.sum(axis=(1, 2)) == pytest.approx(1.0, abs=0.01)
    x, y = np.arange(COLUMNS) - (COLUMNS - 1) / 2, np.arange(ROWS) - (ROWS - 1) / 2
    centroid = np.stack([blobs.sum(axis=1) @ x, blobs.sum(axis=2) @ y], axis=1) / blobs.sum(axis=(1, 2))[:, None]
    np.testing.assert_allclose(np.ptp(centroid - position, axis=0), 0.0, atol=0.02)


def test_gradient():
    epochs, position = stamps()
    model = BackgroundModel(epochs, position)
    unit = _unit(epochs)
    problem = _Problem(epochs, model, _StarSpace.about(epochs, position), 3.0 * model.noise_weights() * unit, unit)
    start = np.random.default_rng(2).standard_normal(model.size**2)
    direction = np.random.default_rng(3).standard_normal(model.size**2)
    step = 1e-5
    slope = (problem(start + step * direction, 0.1)[0] - problem(start - step * direction, 0.1)[0]) / (2 * step)
    assert problem(start, 0.1)[1] @ direction == pytest.approx(slope, rel=1e-6)
    along = check_grad(
        lambda t: problem(start + t[0] * direction, 0.1)[0],
        lambda t: np.array([problem(start + t[0] * direction, 0.1)[1] @ direction]),
        np.array([0.3]),
    )
    assert along < 1e-3 * abs(slope)


def test_noise_weights_agree_with_random_draws():
    epochs, position = stamps(epochs=5)
    model = BackgroundModel(epochs, position)
    rng = np.random.default_rng(4)
    draws = np.std(
        [details(model.adjoint(rng.standard_normal(epochs.data.shape) * np.sqrt(epochs.weight), slice(None)))
         for _ in range(150)],
        axis=0,
    )  # fmt: skip
    weights = model.noise_weights()
    inner = slice(8, -8)
    for scale in range(len(weights)):
        ratio = weights[scale, inner, inner].mean() / draws[scale, inner, inner].mean()
        assert ratio == pytest.approx(1.0, abs=0.12)


def test_pure_noise_makes_no_background():
    epochs, position = stamps(epochs=6, seed=5, pedestal=False)
    background, share = fit_background(epochs, position)
    star = 200.0 * epochs.images(position).value
    assert np.abs(share).max() < 0.05 * star.max()
    assert np.isfinite(background.objective)
    # Inside the border, where every pixel is seen, details stay far below the noise of one data pixel.
    fine = details(background.image)[0][6:-6, 6:-6]
    error = np.sqrt(1.0 / epochs.weight.sum(axis=0).mean())
    assert np.std(fine) < 0.2 * error
