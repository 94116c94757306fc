"""The width of a prior against parameters that were drawn from one."""

from __future__ import annotations

import numpy as np
import pytest

from plugins_builtin.engine.normalization.prior_width import NOTHING, next_width


def settled(seen: np.ndarray, noise: float, width: float = 0.1) -> float:
    """Return the width for parameters that were seen with Gaussian noise."""
    for _ in range(60):
        share = width**2 / (width**2 + noise**2)
        width, moved = next_width(width, share * seen, np.full(len(seen), share * noise**2))
        if moved < 1e-3:
            break
    return width


@pytest.mark.parametrize("start", [0.1, 0.001])
@pytest.mark.parametrize("noise", [0.001, 0.02])
def test_it_is_that_of_the_parameters(noise: float, start: float) -> None:
    seen = np.random.default_rng(1).normal(0, np.hypot(0.02, noise), 4000)
    # Of Gaussian parameters seen with Gaussian noise, the most probable variance is the observed one less the noise's.
    assert settled(seen, noise, start) == pytest.approx(np.sqrt(np.mean(seen**2) - noise**2), rel=1e-3)


def test_noise_alone_has_no_width() -> None:
    seen = np.random.default_rng(2).normal(0, 0.0199, 4000)
    assert settled(seen, 0.02) == NOTHING


def test_what_the_data_do_not_determine_has_none() -> None:
    assert next_width(0.1, np.zeros(3), np.full(3, 0.01)) == (NOTHING, np.inf)
    assert next_width(NOTHING, np.zeros(3), np.full(3, NOTHING**2)) == (NOTHING, 0.0)
