"""Star fluxes of many frames, and the relative transparency of the frames that follows from them."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from lcframework.types.arrays import Bools, Floats
from lcframework.types.fit_status import FitStatus


@attrs.frozen(eq=False)
class FluxMatrix:
    """Star fluxes of the frames of one instrument and band; nan where not measured, or excluded by a selection."""

    flux: Floats  # (f, n) e-/s
    error: Floats  # (f, n)
    xy: Floats  # (f, n, 2) pixels in the frame, nan where not measured
    frame_shape: tuple[int, int]
    reference_xy: Floats | None = None  # (f, 2) pixels, amid the regions: where varying coefficients are evaluated
    region_xy: Floats | None = None  # (f, r, 2) pixels of the regions where there are several; nan: not in the frame


@attrs.frozen(eq=False)
class NormalizationSolution:
    """Relative transparency of frames and levels of stars: ``flux[f, s] ~ coefficient[f] * level[s]``.

    A factor can be moved from the coefficients to the levels without changing the product. The caller fixes this scale.
    """

    coefficient: Floats  # (f,) nan where a frame has no star
    coefficient_uncertainty: Floats  # (f,) standard error
    scatter: Floats  # (f,) relative scatter of the stars around the solution
    level: Floats  # (n,) e-/s
    level_error: Floats  # (n,)
    intrinsic_scatter: Floats  # (n,) relative, beyond the errors
    used: Bools  # (f, n) False where clipped or missing
    status: FitStatus
    rejected: Mapping[int, str] = attrs.field(factory=dict)  # index of an excluded star -> reason
    model: Floats | None = None  # (f, n) e-/s, the expected fluxes; None: coefficient times level
    extra_scatter: Floats | None = None  # (f,) relative scatter of the stars beyond their errors
    leverage: Floats | None = None  # (f, n) of each used flux on what is expected of it; None: its weight's share
    region_coefficient: Floats | None = None  # (f, r) at ``region_xy``; nan: none; None: as `coefficient` everywhere
    region_coefficient_uncertainty: Floats | None = None  # (f, r) standard error
