"""The joint unit of ``star_photometry``: combines each star's flux estimates in the way that all stars together choose.

Where fluxes are the PSF's alone, or within one aperture, there is no such unit.
"""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.config.toolbox import Toolbox
from lcframework.protocols import MeasuresApertures
from lcframework.stars.combining import RADII, Combination, StarEstimates, combine
from lcframework.storage.estimate_files import FrameEstimates, read_estimates
from lcframework.storage.records import Record
from lcframework.types import Floats
from lcframework.work import Outcome, Replace, Task, Unit


def combines(toolbox: Toolbox, instrument: str) -> bool:
    """Return whether several estimates of each flux are measured and combined in an instrument's frames."""
    settings, tool = toolbox.config_for(instrument).photometry, toolbox.tool("photometry", instrument)
    if tool is None or settings.estimator != "combined" or settings.aperture > 0 or tool.instance.joint:
        return False
    return isinstance(tool.instance, MeasuresApertures) and tool.instance.apertures


def no_flux(field: str, frame_id: int, star: str = "") -> Replace:
    """Return the record that deletes the fluxes of a frame, or only that of one star."""
    where: dict[str, Any] = {"combined_footprint_hash": field, "frame_id": frame_id}
    return Replace("star_flux_in_frame", {**where, "gaia_id": star} if star else where)


@attrs.frozen
class FrameFile:
    """A frame and the file of its estimates."""

    frame_id: int
    path: str


@attrs.frozen
class GroupPayload:
    """The frames of a field, instrument and band in order of time."""

    field: str
    instrument: str
    band: str
    frames: tuple[FrameFile, ...]
    without: tuple[int, ...]  # ids of frames of the group that are not measured


@attrs.frozen(eq=False)
class GroupEstimates:
    """What was measured in each frame, and the stars by their identifiers."""

    frames: list[FrameEstimates]
    stars: list[str]


class CombineEstimates(Task[GroupPayload, GroupEstimates, Combination]):
    """Chooses weights of the estimates by the stars' scatter, and publishes the combined fluxes."""

    light: ClassVar[bool] = True
    results_version: ClassVar[int] = 1

    def load(self, unit: Unit[GroupPayload]) -> GroupEstimates:
        """Read the estimates of the frames."""
        frames = [read_estimates(self.toolbox.workdir / f.path) for f in unit.payload.frames]
        return GroupEstimates(frames, sorted({row["gaia_id"] for f in frames for row in f.rows}))

    def compute(self, values: GroupEstimates) -> Combination:
        """Combine the estimates."""
        return combine(as_arrays(values))

    def save(self, unit: Unit[GroupPayload], values: GroupEstimates, result: Combination) -> Outcome:
        """Return the rows of the fluxes, and of what combines the estimates of other sources alike."""
        p = unit.payload
        index = {star: j for j, star in enumerate(values.stars)}
        records: list[Record] = []
        group = {"combined_footprint_hash": p.field, "instrument": p.instrument, "band": p.band}
        for t, (frame, found) in enumerate(zip(p.frames, values.frames, strict=True)):
            where = {"combined_footprint_hash": p.field, "frame_id": frame.frame_id}
            rows = [{**row, **_published(row, result, t, index[row["gaia_id"]])} for row in found.rows]
            records.append(Replace("star_flux_in_frame", where, rows))
            scales = {**group, "frame_id": frame.frame_id, "radii": found.radii[result.discs].tolist(),
                      "scale": result.scale[t].tolist()}  # fmt: skip
            records.append(Replace("estimator_scales", where, [scales]))
        for frame_id in p.without:
            records.append(no_flux(p.field, frame_id))
            records.append(Replace("estimator_scales", {"combined_footprint_hash": p.field, "frame_id": frame_id}))
        weights = {
            **group, "radii": [RADII[d] for d in result.discs], "flux": result.weights.flux.tolist(),
            "weights": result.weights.weights.tolist(), "noise_factor": result.weights.noise_factor,
            "scatter": result.weights.scatter, "psf_scatter": result.psf_scatter, "stars": result.stars,
            "frames": len(p.frames), "held_out": result.scores, "note": result.note,
        }  # fmt: skip
        records.append(Replace("estimator_weights", group, [weights]))
        return Outcome(tuple(records), summary=result.note)


def as_arrays(values: GroupEstimates) -> StarEstimates:
    """Return the estimates of all frames as arrays (f, n, ...), nan where a star is not measured."""
    frames, index = values.frames, {star: j for j, star in enumerate(values.stars)}
    d = min(f.light.shape[1] for f in frames)
    size = (len(frames), len(index))
    flux, variance = np.full(size, np.nan), np.full(size, np.nan)
    light, covariance = np.full((*size, d), np.nan), np.full((*size, d, d), np.nan)
    for t, frame in enumerate(frames):
        stars = [index[row["gaia_id"]] for row in frame.rows]
        flux[t, stars] = [row["flux"] for row in frame.rows]
        variance[t, stars] = [row["flux_uncertainty"] ** 2 for row in frame.rows]
        light[t, stars], covariance[t, stars] = frame.light[:, :d], frame.covariance[:, :d, :d]
    radii: Floats = np.stack([f.radii[:d] for f in frames])
    return StarEstimates(flux, variance, light, covariance, radii)


def _published(row: dict[str, Any], result: Combination, t: int, j: int) -> dict[str, Any]:
    """Return the columns of a star's flux that the combination determines."""
    return {
        "flux": float(result.flux[t, j]), "flux_uncertainty": float(result.error[t, j]), "psf_flux": row["flux"],
        "psf_flux_uncertainty": row["flux_uncertainty"], "weights": result.star_weights[j].tolist(),
        "flux_noise": float(result.noise[t, j]),
    }  # fmt: skip
