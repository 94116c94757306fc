"""The ROI model `joint`: point sources, Sersic galaxies and Gaussian-process pixels, all epochs at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import at_least, not_negative
from lcframework.types import Floats, RoiFit
from plugins_builtin.engine.roi.options import RoiModel, astrometry, clip_threshold, positions

if TYPE_CHECKING:
    from plugins_builtin.engine.roi.geometry import Epochs


@attrs.frozen
class Joint(RoiModel):
    """Light curves at the photon limit: every epoch is a sum of point sources, galaxies and a flat sky.

    A galaxy is a Sersic profile plus smooth deviations from it whose size follows its brightness. All epochs are
    solved together by Gauss-Newton; what belongs to one epoch (fluxes, sky, translation) is eliminated from it.
    """

    results_version: ClassVar[int] = 5

    background: bool = True  # false: point sources alone
    galaxies: int = attrs.field(default=1, validator=not_negative)  # at most; fewer where the data show fewer
    galaxy_positions: list[list[float]] = attrs.field(
        factory=list, validator=positions
    )  # arcsec east, north of the ROI
    galaxy_deviations: float = attrs.field(default=0.2, validator=not_negative)  # relative; 0: Sersic alone
    fix_astrometry: bool | float = attrs.field(default=False, validator=astrometry)  # true, false, or sigma in pixels
    differential_refraction: bool = False  # let each source's colour move it along the zenith's direction
    clip: float = attrs.field(default=5.0, validator=clip_threshold)  # sigma; 0: no pixel is clipped
    noise_from_model: bool = True  # photon noise of the modelled signal, not of the data's
    iterations: int = attrs.field(default=20, validator=at_least(1))  # an upper bound

    @property
    def combines_estimates(self) -> bool:
        """Whether point sources are all that is modelled, so that residual light is theirs."""
        return not self.background

    def for_moving_target(self) -> Self:
        """Return the model of point sources alone: a background would move."""
        return attrs.evolve(self, background=False)

    def _fit(self, epochs: Epochs, offset: Floats) -> RoiFit:
        from plugins_builtin.engine.roi.joint_fit import Settings, fit_jointly
        from plugins_builtin.engine.roi.result import joint_result

        settings = Settings(
            galaxies=max(self.galaxies, len(self.galaxy_positions)) if self.background else 0,
            galaxy_positions=np.array(self.galaxy_positions if self.background else [], float).reshape(-1, 2),
            bump_amplitude=self.galaxy_deviations,
            fix_astrometry=self.fix_astrometry,
            clip=self.clip or None,
            noise_from_model=self.noise_from_model,
            iterations=self.iterations,
            refraction=self.differential_refraction,
        )
        return joint_result(epochs, fit_jointly(epochs, offset, settings))


@hookimpl
def lcf_roi_models() -> dict[str, type[Any]]:
    """Offer the ROI model ``joint``."""
    return {"joint": Joint}
