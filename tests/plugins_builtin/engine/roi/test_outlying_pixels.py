"""Pixels that ROI models leave out: those too far from the model for noise, and their neighbours of the same sign."""

from __future__ import annotations

import numpy as np
import pytest

from plugins_builtin.engine.roi.outlying_pixels import suspects


@pytest.mark.parametrize("sign", [1, -1])
def test_neighbours_are_of_the_sign_of_the_core(sign):
    z = np.zeros((9, 9))
    z[4, 4], z[4, 5], z[3, 3], z[5, 4], z[1, 1] = 8.0, 4.0, 2.0, -4.0, 4.0  # threshold 5: half of it is 2.5
    expected = np.zeros((9, 9))
    expected[4, 4] = expected[4, 5] = sign
    assert np.array_equal(suspects(sign * z, 5.0), expected)


def test_a_misfit_of_many_pixels_is_no_outlier():
    z = np.zeros((10, 10))
    z[:2] = 9.0
    assert not suspects(z, 5.0).any()
