"""A reduction of raw frames for lcframework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import Exposure, Floats, Ints, Master, MasterPlan, PixelFlag, UnusableInput

if TYPE_CHECKING:
    from astropy.io import fits

#: CHECK: how the telescope calls its frames: IMAGETYP -> kind.
KINDS = {"bias frame": "bias", "dark frame": "dark", "flat field": "flat", "light frame": "light"}
#: CHECK: keywords that must agree between a frame and its calibration frames.
SETUP = ("INSTRUME", "XBINNING", "YBINNING")


@attrs.frozen
class PluginClass:
    """Medians of bias frames, darks and flats."""

    results_version: ClassVar[int] = 1  # raise it when answers change

    least_sensitivity: float = 0.2  # of the flat's median, below which a pixel is bad

    def describe(self, header: fits.Header, path: Path, shape: tuple[int, int]) -> Exposure:
        """Return what a raw file is, by its header alone."""
        kind = KINDS.get(str(header.get("IMAGETYP", "")).strip().lower(), "")
        setup = tuple((key, str(header.get(key, "")).strip()) for key in SETUP)
        exptime = float(header["EXPTIME"]) if "EXPTIME" in header else None
        return Exposure(path.name, kind, setup, str(header.get("FILTER", "")).strip(), exptime, None, shape)

    def plan(self, frame: Exposure, calibrations: Sequence[Exposure]) -> tuple[MasterPlan, ...]:
        """Return the masters that a frame needs; it runs in the driver, on headers alone."""
        alike = [e for e in calibrations if e.setup == frame.setup and e.shape == frame.shape]
        names = {kind: tuple(e.name for e in alike if e.kind == kind) for kind in ("bias", "dark")}
        flats = tuple(e.name for e in alike if e.kind == "flat" and e.band == frame.band)
        # CHECK: what a frame may lack. Here it is left out without bias, dark and a flat of its filter.
        for what, there in (("bias frame", names["bias"]), ("dark", names["dark"]), (f"flat in {frame.band}", flats)):
            if not there:
                raise UnusableInput(
                    f"no {what} of the frame's size and {', '.join(SETUP)}: add some to [reduction] dirs"
                )
        which = " ".join(value for _, value in frame.setup)
        bias = MasterPlan(f"bias {which}", "bias", names["bias"])
        dark = MasterPlan(f"dark {which}", "dark", names["dark"], (bias,))
        return bias, dark, MasterPlan(f"flat {frame.band} {which}", "flat", flats, (bias,))

    def combine(
        self, plan: MasterPlan, members: Sequence[Exposure], images: Floats, masters: Mapping[str, Master]
    ) -> Master:
        """Return a master of `images` (n, ny, nx); `masters` has those that the plan needs, by kind."""
        stack: Floats = np.asarray(images, np.float32)  # CHECK: large detectors: go through the image in strips
        stack = stack - masters["bias"].image if "bias" in masters else stack
        if plan.kind == "dark":
            stack = stack / np.array([e.exptime or 1.0 for e in members], np.float32)[:, None, None]  # per second
        if plan.kind == "flat":
            stack = stack / np.median(stack, axis=(1, 2), keepdims=True)
        image = np.median(stack, axis=0)
        bad = (image < self.least_sensitivity) & (plan.kind == "flat")
        return Master(plan.kind, np.where(bad, 1.0, image), bad, 1.0 if plan.kind == "dark" else None)

    def reduce(self, image: Floats, frame: Exposure, masters: Mapping[str, Master]) -> tuple[Floats, Ints]:
        """Return the image (ny, nx) in its own unit, and bits of `PixelFlag` where the masters say nothing."""
        out = image - masters["bias"].image - masters["dark"].image * (frame.exptime or 0.0)
        flags = np.where(masters["flat"].bad, int(PixelFlag.DEFECT), 0).astype(np.uint8)
        return out / masters["flat"].image, flags


@hookimpl
def lcf_reductions() -> dict[str, type]:
    """Offer it as ``[reduction] plugin = "plugin_name"``."""
    return {"plugin_name": PluginClass}
