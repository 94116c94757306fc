"""The base of both ROI models, and validators of their options."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from lcframework.options import at_least
from lcframework.types import Cutouts, Floats, PointSources, RoiFit
from plugins_builtin.engine.roi.geometry import Epochs, prepare


class RoiModel:
    """A model of all epochs of a region together."""

    apertures: ClassVar[bool] = True

    differential_refraction: bool

    def fit(self, cutouts: Cutouts, point_sources: PointSources) -> RoiFit:
        """Fit all epochs.

        Parameters
        ----------
        cutouts : Cutouts
            The epochs, divided by their normalisation coefficients.
        point_sources : PointSources
            Names and positions to start from.

        Returns
        -------
        RoiFit
            A source that an epoch does not see has flux nan there.

        Raises
        ------
        UnusableInput
            Where no pixel can be used; where a point source lies outside all stamps (named); where differential
            refraction is fitted and an epoch's zenith is not known; or where a file that an option names does not fit.
        """
        epochs = prepare(cutouts, point_sources, self.differential_refraction)
        return self._fit(epochs, np.asarray(point_sources.offset, float))

    def _fit(self, epochs: Epochs, offset: Float[Floats, "k 2"]) -> RoiFit:
        raise NotImplementedError


def astrometry(instance: Any, attribute: Any, value: Any) -> None:
    """Check ``fix_astrometry``."""
    if isinstance(value, bool):
        return
    if not isinstance(value, int | float) or not value > 0:
        raise ValueError(
            f"{attribute.name} must be true (positions held), false (fitted) or the sigma in pixels of a Gaussian "
            f"prior, a positive number; got {value!r}"
        )


#: Validator of a clipping threshold, sigma.
clip_threshold = at_least(2.0, or_zero="to clip no pixel")


def positions(instance: Any, attribute: Any, value: Any) -> None:
    """Check a list of offsets."""
    for pair in value:
        if len(pair) != 2:
            raise ValueError(
                f"{attribute.name} must be a list of [east, north] pairs in arcsec from the region's position, "
                f"such as [[0.3, -0.2]]; got {pair!r} in it"
            )
