"""The response of the detector that a project's normalization found: the same in all frames, it varies over them."""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.injections.drawing_psf import place_in_frame
from lcframework.types import Floats


@attrs.frozen(eq=False)
class Response:
    """A polynomial of second order in the place in the frame, (6,) coefficients; about 1."""

    coefficients: Floats
    frame: tuple[int, int]

    def at(self, x: Floats, y: Floats) -> Floats:
        """Return the response at places (n,), pixels; nan where a place is."""
        return np.asarray(_terms(x, y, self.frame) @ self.coefficients)


def even(frame: tuple[int, int]) -> Response:
    """Return the response that is 1 everywhere."""
    return Response(np.array([1.0, 0, 0, 0, 0, 0]), frame)


def response_by(x: Floats, y: Floats, expected: Floats, frame: tuple[int, int]) -> Response:
    """Return the response by what fluxes (n,) of stars are expected to be, over level and coefficient.

    Slopes of single frames are in that, too; over all frames they average out, and what is left of them is found again
    in each frame's transparency, which is measured beside the response.
    """
    terms = _terms(x, y, frame)
    if len(expected) < 2 * terms.shape[1]:
        return even(frame)
    return Response(np.linalg.lstsq(terms, expected, rcond=None)[0], frame)


def _terms(x: Floats, y: Floats, frame: tuple[int, int]) -> Floats:
    one, u, v = place_in_frame(x, y, frame).T
    return np.stack([one, u, v, u * u, u * v, v * v], axis=-1)
