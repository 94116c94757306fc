"""The transit: its parameters with their priors, and batman's light curve (Kreidberg 2015, PASP 127, 1161)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from lcframework.types import Floats

#: A point of the light curve is integrated over steps of so many minutes of exposure.
_STEP = 0.5


@attrs.frozen
class Prior:
    """What is known of a parameter: within bounds, and with an error where one is given.

    A parameter of `error` 0 is fixed at `value`; with an infinite one it is free within its bounds.
    """

    value: float
    error: float = np.inf
    low: float = -np.inf
    high: float = np.inf

    @property
    def fixed(self) -> bool:
        """Whether the parameter is not fitted."""
        return self.error == 0

    def log(self, value: float) -> float:
        """Return the logarithm of the prior, without its norm."""
        if not self.low <= value <= self.high:
            return -np.inf
        return -0.5 * ((value - self.value) / self.error) ** 2 if np.isfinite(self.error) else 0.0


@attrs.frozen
class Ephemeris:
    """Mid-times ``epoch + n period``, BJD_TDB and d, with their errors (0 where not given)."""

    epoch: float
    period: float
    epoch_error: float = 0.0
    period_error: float = 0.0

    def number(self, time: float) -> int:
        """Return the number of the transit whose middle is nearest to a time."""
        return int(np.rint((time - self.epoch) / self.period))

    def middle(self, number: int) -> tuple[float, float]:
        """Return a transit's predicted middle and its error, BJD_TDB and d."""
        return self.epoch + number * self.period, float(np.hypot(self.epoch_error, number * self.period_error))


#: The parameters of a transit, in the order of vectors: mid-time (d after the predicted one), radius of the planet and
#: semi-major axis in radii of the star, impact parameter, and the coefficients of quadratic limb darkening.
NAMES = ("delay", "rp_rs", "a_rs", "b", "u1", "u2")


def inclination(a_rs: Any, b: Any) -> Any:
    """Return the inclination in degrees, of a circular orbit."""
    return np.degrees(np.arccos(np.clip(np.asarray(b) / np.asarray(a_rs), -1, 1)))


def duration(period: float, values: Mapping[str, Any]) -> Any:
    """Return the time from first to last contact in hours, of a circular orbit (Winn 2010, equation 14)."""
    k, a, b = (np.asarray(values[name], float) for name in ("rp_rs", "a_rs", "b"))
    sine = np.sqrt(np.clip((1 + k) ** 2 - b**2, 0, None)) / (a * np.sqrt(np.clip(1 - (b / a) ** 2, 1e-12, None)))
    return 24 * period / np.pi * np.arcsin(np.clip(sine, 0, 1))


class Transit:
    """Light curves of a planet on a circular orbit.

    Parameters
    ----------
    time : (n,) array
        BJD_TDB.
    exposure : float
        Over which each point is integrated, d.
    middle : float
        The predicted middle, BJD_TDB.
    period : float
        d.
    """

    def __init__(self, time: Floats, exposure: float, middle: float, period: float) -> None:
        import batman

        self._parameters = batman.TransitParams()
        self._parameters.per, self._parameters.ecc, self._parameters.w = period, 0.0, 90.0
        self._parameters.t0, self._parameters.rp, self._parameters.a, self._parameters.inc = 0.0, 0.1, 10.0, 90.0
        self._parameters.limb_dark, self._parameters.u = "quadratic", [0.3, 0.2]
        steps = max(1, int(np.ceil(1440 * exposure / _STEP)))
        # Times are relative to the middle: full Julian dates leave batman's arithmetic fewer digits.
        self._model = batman.TransitModel(
            self._parameters, np.ascontiguousarray(time - middle), supersample_factor=steps, exp_time=exposure
        )

    def __call__(self, values: Mapping[str, float]) -> Floats:
        """Return the flux relative to that of the star alone, (n,), by the values of `NAMES`."""
        p = self._parameters
        p.t0, p.rp, p.a = values["delay"], values["rp_rs"], values["a_rs"]
        p.inc = float(inclination(values["a_rs"], values["b"]))
        p.u = [values["u1"], values["u2"]]
        return np.asarray(self._model.light_curve(p))


def dark_enough(values: Mapping[str, float]) -> bool:
    """Return whether the star is nowhere brighter than at its centre, nor negative, and whether the planet crosses."""
    u1, u2 = values["u1"], values["u2"]
    return u1 >= 0 and u1 + u2 <= 1 and u1 + 2 * u2 >= 0 and values["b"] < 1 + values["rp_rs"] < values["a_rs"]
