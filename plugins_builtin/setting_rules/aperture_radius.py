"""The radius of discs, by the scatter of comparison stars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import Decision, Evidence, Floats, FrameEvidence
from plugins_builtin.engine.residual_light import apertures
from plugins_builtin.engine.robust import robust_scatter
from plugins_builtin.shared.surroundings import Surroundings, surroundings

#: The radii that are compared, times the seeing, and the one that holds where the stars show no better one.
_RADII = np.array([1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0])
_USUAL = 1.5
#: The sky lies outside the largest disc, up to this radius, times the seeing.
_SKY = (3.5, 5.0)
#: Of the stars, so many at most, the brightest; stars below the signal-to-noise tell about the sky's noise alone.
_MOST, _LEAST_SIGNAL = 60, 20.0
_FEWEST_STARS, _FEWEST_FRAMES = 4, 5
#: A disc and the sky beside it leave so many pixels to the edge of a stamp.
_MARGIN = 2.0
#: The usual radius is left for one whose scatter is smaller by so many standard errors and at least this share.
_ERRORS, _GAIN = 2.0, 0.03
_ROUNDS = 5
#: Fluxes further off than so many scatters are moved in to these.
_OUTLIER = 3.0


@attrs.frozen
class ApertureRadius:
    """The radius at which the fluxes of comparison stars scatter least, for all frames."""

    results_version: ClassVar[int] = 1
    settings: ClassVar[tuple[str, ...]] = ("photometry.aperture.radius",)
    before: ClassVar[str] = "star_photometry"
    frames: ClassVar[int] = 20
    shared: ClassVar[bool] = False

    def decide(self, evidence: Evidence) -> Sequence[Decision]:
        """Return the radius by the stars' scatter from frame to frame, beside what all stars share."""
        frames = [f for f in evidence.frames if f.values["seeing_pixels"]]
        if not frames:
            return ()
        radii = _that_fit(evidence, frames)
        if len(radii) == 0:
            why = f"the stamps have no room for discs of {_RADII[0]:g} FWHM: enlarge [stamps] star_size and roi_size"
            return (Decision(self.settings[0], None, why, len(frames)),)
        measured = [_fluxes(f, radii) for f in frames]
        flux = _as_array(measured, len(radii))
        scatter = _scatters(flux)  # (stars, radii)
        if scatter.shape[0] < _FEWEST_STARS:
            why = (
                f"fewer than {_FEWEST_STARS} comparison stars are measured in {_FEWEST_FRAMES} of {len(frames)} "
                "frames: their scatter can't choose"
            )
            return (Decision(self.settings[0], None, why, len(frames)),)
        best, why, others = _choice(radii, scatter)
        return (Decision(self.settings[0], best, why, len(frames), others),)

    def differ(self, setting: str, old: Any, new: Any) -> bool:
        """Return whether new frames want discs that are half as large again, or two thirds as large."""
        return old is None or not 0.67 < new / old < 1.5


def _that_fit(evidence: Evidence, frames: Sequence[FrameEvidence]) -> Floats:
    """Return the radii whose discs fit in the stamps in nine of ten frames."""
    stamps = evidence.settings.get("stamps")
    if stamps is None:
        return _RADII
    room = 0.5 * min(stamps.star_size, stamps.roi_size) - _MARGIN
    seeing = float(np.quantile([f.values["seeing_pixels"] for f in frames], 0.9))
    return np.asarray(_RADII[_RADII * seeing <= room])


def _fluxes(frame: FrameEvidence, radii: Floats) -> dict[str, Floats]:
    """Return the light of a frame's stars in discs of these radii."""
    stars, seeing = frame.stars(), float(frame.values["seeing_pixels"])
    if not len(stars):
        return {}
    signal = np.asarray(stars["signal_to_noise"], float)
    use = np.flatnonzero(np.asarray(stars["usable"], bool) & (signal >= _LEAST_SIGNAL))
    image, flags = frame.image()
    out = {}
    for i in use[np.argsort(-signal[use], kind="stable")][:_MOST].tolist():
        around = surroundings(image, flags, float(stars["x"][i]), float(stars["y"][i]), _SKY[1], seeing)
        found = _in_discs(around, radii, seeing) if around is not None else None
        if found is not None:
            out[str(stars["gaia_id"][i])] = found
    return out


def _in_discs(around: Surroundings, radii: Floats, seeing: float) -> Floats | None:
    """Return a star's light in discs about its centroid; None where a pixel of the largest is bad."""
    ring = (around.radius >= _SKY[0]) & (around.radius < _SKY[1]) & around.good
    if np.count_nonzero(ring) < 30 or not around.good[around.radius <= radii[-1] + 1.0 / seeing].all():
        return None
    light = np.where(around.good, around.pixels - np.median(around.pixels[ring]), 0.0)
    shape = (light.shape[0], light.shape[1])
    grid = np.arange(shape[0]) - 0.5 * (shape[0] - 1)
    y, x = np.unravel_index(int(np.argmin(around.radius)), shape)
    centre = np.array([grid[x], grid[y]])
    for _ in range(_ROUNDS):  # a Gaussian window of the seeing moves towards its star by half of what is left
        window = np.exp(-0.5 * ((grid - centre[0]) ** 2 + (grid[:, None] - centre[1]) ** 2) / (0.4247 * seeing) ** 2)
        total = float(np.sum(window * light))
        if not total > 0:
            return None
        at = np.array([np.sum(window * light * grid), np.sum(window * light * grid[:, None])]) / total
        centre = centre + 2.0 * (at - centre)
    if not np.hypot(*centre) < 0.5 * seeing + 1.0:
        return None
    return np.array([float(np.sum(light * apertures(centre[None], shape, r * seeing)[0])) for r in radii])


def _as_array(measured: Sequence[dict[str, Floats]], count: int) -> Floats:
    """Return fluxes (frames, stars, radii) of stars that are in enough frames; nan where one is not measured."""
    names = sorted({name for frame in measured for name in frame})
    flux = np.full((len(measured), len(names), count), np.nan)
    for t, frame in enumerate(measured):
        for j, name in enumerate(names):
            if name in frame and (frame[name] > 0).all():
                flux[t, j] = frame[name]
    return flux[:, np.isfinite(flux[..., 0]).sum(axis=0) >= _FEWEST_FRAMES]


def _scatters(flux: Floats) -> Floats:
    """Return the robust scatter (stars, radii) of each star's logarithmic flux, less what a frame's stars share."""
    if flux.shape[1] < _FEWEST_STARS:
        return np.zeros((0, flux.shape[2]))
    logs = np.log(flux[np.isfinite(flux[..., 0]).sum(axis=1) >= _FEWEST_STARS])
    logs = logs[:, np.isfinite(logs[..., 0]).sum(axis=0) >= _FEWEST_FRAMES]
    if logs.shape[1] < _FEWEST_STARS:
        return np.zeros((0, flux.shape[2]))
    for _ in range(_ROUNDS):
        logs = logs - np.nanmedian(logs, axis=0)
        logs = logs - np.nanmedian(logs, axis=1)[:, None]
    out = [[_scatter(s[np.isfinite(s)]) for s in star.T] for star in logs.swapaxes(0, 1)]
    found = np.array(out)
    return np.asarray(found[(np.isfinite(found) & (found > 0)).all(axis=1)])


def _scatter(values: Floats) -> float:
    """Return the rms of values about 0, outliers moved in: it has half the error of a scatter by medians."""
    limit = _OUTLIER * robust_scatter(values)
    return float(np.sqrt(np.mean(np.clip(values, -limit, limit) ** 2)))


def _choice(radii: Floats, scatter: Floats) -> tuple[float, str, str]:
    """Return the radius, why, and what the others would have meant.

    Each star counts by the ratio of its scatters, so that bright and faint ones have a say. The usual radius is left
    where another one is better by more than chance and by more than would be seen in a light curve.
    """
    usual = int(np.argmin(np.abs(radii - _USUAL)))
    change = np.log(scatter / scatter[:, usual, None])
    mean, error = change.mean(axis=0), change.std(axis=0, ddof=1) / np.sqrt(len(change))
    best = int(np.argmin(mean))
    chosen = best if mean[best] < -max(_ERRORS * error[best], _GAIN) else usual
    ppt = 1e3 * np.median(scatter, axis=0)
    why = f"{len(scatter)} comparison stars scatter by {ppt[chosen]:.2f} ppt in discs of {radii[chosen]:g} FWHM"
    if chosen != best:
        why += f", and by {ppt[best]:.2f} in those of {radii[best]:g}, which is no significant gain"
    others = "; ".join(
        f"{r:g} FWHM: {p:.2f} ppt" for i, (r, p) in enumerate(zip(radii, ppt, strict=True)) if i != chosen
    )
    return float(radii[chosen]), why, others


@hookimpl
def lcf_setting_rules() -> dict[str, type]:
    """Offer the rule ``aperture-radius``."""
    return {"aperture-radius": ApertureRadius}
