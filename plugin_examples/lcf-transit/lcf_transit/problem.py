"""A transit to be fitted: its data, its priors, and how probable some values of its parameters are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from lcf_transit.model import NAMES, Prior, Transit, dark_enough
from lcf_transit.noise import Answer, Likelihood, Noise
from lcf_transit.series import Series
from lcframework.types import Floats

#: The noise's parameters, after those of the transit: logarithm of the errors' scale, amplitude of the correlated part,
#: logarithm of its time scale.
NOISE = ("log_scale", "red", "log_timescale")
#: How well stated errors are believed: their logarithm's standard deviation.
_TRUST = 0.3


@attrs.define
class Problem:
    """A transit to be fitted: a series, the transit's priors, and its model."""

    series: Series
    priors: Mapping[str, Prior]
    transit: Transit
    _bounds: dict[str, tuple[float, float]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._bounds = self._limits()

    @property
    def free(self) -> tuple[str, ...]:
        """The names of the parameters that are fitted."""
        return (*(name for name in NAMES if not self.priors[name].fixed), *NOISE)

    def start(self) -> dict[str, float]:
        """Return the values with which a fit begins."""
        spread = float(np.median(self.series.error))
        known = {name: self.priors[name].value for name in NAMES}
        return {**known, "log_scale": 0.0, "red": 0.3 * spread, "log_timescale": np.log(20 / 1440)}

    def _limits(self) -> dict[str, tuple[float, float]]:
        """Return the bounds of each parameter."""
        step = float(np.median(np.diff(self.series.time)))
        length = float(np.ptp(self.series.time))
        found = {name: (self.priors[name].low, self.priors[name].high) for name in NAMES}
        return {
            **found, "log_scale": (-2.0, 2.5), "red": (0.0, 5 * float(np.std(self.series.flux))),
            "log_timescale": (float(np.log(1.5 * step)), float(np.log(max(length / 3, 3 * step)))),
        }  # fmt: skip

    def likelihood(self, terms: Sequence[str]) -> Likelihood:
        """Return the likelihood with a baseline."""
        s = self.series
        return Likelihood(s.time, s.flux, s.error, design(s, terms))

    def log_prior(self, values: Mapping[str, float]) -> float:
        """Return the logarithm of the prior: flat in the correlated part's amplitude and its time scale's logarithm."""
        for name, (low, high) in self._bounds.items():
            if not low <= values[name] <= high:
                return -np.inf
        if not dark_enough(values):
            return -np.inf
        return (
            sum(self.priors[name].log(values[name]) for name in NAMES if not self.priors[name].fixed)
            - 0.5 * (values["log_scale"] / _TRUST) ** 2
        )

    def steps(self) -> Floats:
        """Return by how much each free parameter is changed at first."""
        typical = {"delay": 3 / 1440, "rp_rs": 0.01, "a_rs": 0.3, "b": 0.1, "u1": 0.1, "u2": 0.1, "log_scale": 0.1,
                   "red": 0.3 * float(np.median(self.series.error)), "log_timescale": 0.5}  # fmt: skip
        return np.array([min(typical[n], self.priors[n].error) if n in NAMES else typical[n] for n in self.free])

    def answer(self, likelihood: Likelihood, values: Mapping[str, float], red: bool = False) -> Answer:
        """Return what the light curve says of some values."""
        noise = Noise(float(np.exp(values["log_scale"])), values["red"], float(np.exp(values["log_timescale"])))
        return likelihood(self.transit(values), noise, red)


def design(series: Series, terms: Sequence[str]) -> Floats:
    """Return the baseline's terms as columns, the first of ones."""
    when = (series.time - series.time.mean()) / (0.5 * np.ptp(series.time))
    columns = {"time": when, "time2": when**2 - np.mean(when**2), **series.regressors}
    return np.column_stack([np.ones(len(series)), *(columns[name] for name in terms)])
