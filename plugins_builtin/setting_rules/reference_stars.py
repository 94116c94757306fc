"""Where reference stars are looked for, how bright and how many they are: by what frames show around the regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.sky.geometry import pixel_inside, sky_to_pixel
from lcframework.types import Bools, CatalogLimits, Decision, Evidence, Floats, FrameEvidence, Region

#: Stars that weigh in the PSF and the coefficients have this signal-to-noise; the faintest that count at all, that one.
_GOOD, _FAINTEST = 30.0, 20.0
#: Further stars than the nearest so many add little: the coefficients' error falls with their root, the field's
#: variation grows with their distance.
_ENOUGH = 100
#: A star is alone where the next detection is this many times the seeing away.
_ALONE = 4.0
#: The magnitudes' scale is that of so many good stars around the region, of the nearest frames' detections.
_PILOT, _PILOT_FRAMES, _FEWEST = 40, 3, 3
#: No star is too bright for the list: frame by frame, saturated ones are left out.
_NO_LIMIT = -5.0
#: Reference stars keep a distance of so many times the seeing from a region, at least the documented one, arcsec.
_APART, _DOCUMENTED = 2.5, 3.5
#: With fewer stars than the documented number a run stops; a field that has no more is measured with what it has.
_DOCUMENTED_NUMBER = 6
#: Radius of the disc in which a detection's noise counts, times the seeing.
_APERTURE = 1.5


@attrs.frozen(eq=False)
class _Seen:
    """What one frame shows around a region; detections with a flux, nearest the region first."""

    frame: FrameEvidence
    x: Floats  # (n,) pixels
    y: Floats
    flux: Floats  # (n,) e-/s
    away: Floats  # (n,) arcsec from the region
    good: Bools  # (n,) whether a star stands alone with a good signal-to-noise
    reach: float  # arcsec from the region to the farthest corner
    seeing: float  # arcsec
    faint: float  # e-/s of a star of the faintest signal-to-noise


@attrs.frozen(eq=False)
class _Catalogue:
    """What the catalogue has of the good stars around a region."""

    asked: float  # arcsec
    stars: int
    zeropoints: Floats  # of all detections that it has
    share: float  # of the good stars that it has


@attrs.frozen
class ReferenceStars:
    """The radius that holds enough good stars, their magnitudes, how few will do, the distance from a region."""

    results_version: ClassVar[int] = 2
    settings: ClassVar[tuple[str, ...]] = (
        "stars.radius",
        "stars.magnitude",
        "stars.min_number",
        "roi.*.exclusion_radius",
    )
    before: ClassVar[str] = "calculate_common_and_total_footprint"
    frames: ClassVar[int] = 9
    shared: ClassVar[bool] = True

    def decide(self, evidence: Evidence) -> Sequence[Decision]:
        """Return radius, magnitudes and number for all regions, and the exclusion radius of each."""
        by_roi = {
            name: [s for f in evidence.frames if (s := _seen(f, at)) is not None] for name, at in evidence.rois.items()
        }
        every = [s for seen in by_roi.values() for s in seen]
        if not every:
            return ()
        name, seen = max(by_roi.items(), key=lambda pair: len(pair[1]))
        catalogue = _asked(evidence, evidence.rois[name][0], seen)
        out = [_radius(every, catalogue)]
        if catalogue is not None:
            out.append(_magnitude(every, catalogue))
        out.append(_fewest(every, catalogue))
        for name, seen in by_roi.items():
            if seen:
                seeing = float(np.median([s.seeing for s in seen]))
                value = _two_digits(max(_DOCUMENTED, _APART * seeing))
                why = f"{_APART:g} times the median seeing, {seeing:.2g} arcsec, and at least {_DOCUMENTED:g} arcsec"
                out.append(Decision(f"roi.{name}.exclusion_radius", value, why, len(seen)))
        return out

    def differ(self, setting: str, old: Any, new: Any) -> bool:
        """Return whether new frames show another field: half or twice as wide, or a magnitude deeper or less deep."""
        if setting == "stars.magnitude":
            return old is None or abs(old[1] - new[1]) > 1.0
        return old is None or not 0.5 < new / old < 2.0


def _radius(seen: Sequence[_Seen], catalogue: _Catalogue | None) -> Decision:
    """Return the radius within which the catalogue has enough of the good stars."""
    share = _share(catalogue)
    wanted = int(np.ceil(_ENOUGH / share))
    radius = _two_digits(float(np.median([_holding(s, wanted) for s in seen])))
    count = int(np.median([np.count_nonzero(s.good) for s in seen]))
    within = int(share * np.median([np.count_nonzero(s.good & (s.away <= radius)) for s in seen]))
    why = (
        f"a frame shows {count} stars that stand alone with a signal-to-noise of {_GOOD:g}, of which the catalogue has "
        f"{share:.0%}; {within} lie within this radius, and {_ENOUGH} are enough"
    )
    return Decision("stars.radius", radius, why, len(seen))


def _share(catalogue: _Catalogue | None) -> float:
    """Return the share of the good stars that the catalogue has; all, where that is not known."""
    return catalogue.share if catalogue is not None and catalogue.share > 0 else 1.0


def _fewest(seen: Sequence[_Seen], catalogue: _Catalogue | None) -> Decision:
    """Return one star where frames show fewer than the documented number, which else stays."""
    number = int(_share(catalogue) * np.median([np.count_nonzero(s.good) for s in seen]))
    few = number < _DOCUMENTED_NUMBER
    why = f"a frame shows {number} stars of the catalogue that stand alone with a signal-to-noise of {_GOOD:g}: " + (
        "what there is has to do" if few else f"with fewer than {_DOCUMENTED_NUMBER} something else would be wrong"
    )
    return Decision("stars.min_number", 1 if few else _DOCUMENTED_NUMBER, why, len(seen))


def _magnitude(seen: Sequence[_Seen], catalogue: _Catalogue) -> Decision:
    """Return the magnitudes, down to that of the faintest signal-to-noise."""
    known = len(catalogue.zeropoints)
    if known < _FEWEST:
        why = f"only {known} of the catalogue's {catalogue.stars} stars within {catalogue.asked:.0f} arcsec are seen"
        return Decision("stars.magnitude", None, why, len(seen))
    zero = float(np.median(catalogue.zeropoints))
    faint = float(np.median([zero - 2.5 * np.log10(s.faint) for s in seen]))
    value = [_NO_LIMIT, float(np.floor(10 * faint) / 10)]
    why = (
        f"a star of magnitude {value[1]:g} has a signal-to-noise of {_FAINTEST:g} in the median frame, by {known} "
        "detections of the catalogue's stars; stars that saturate are left out frame by frame"
    )
    return Decision("stars.magnitude", value, why, len(seen))


def _asked(evidence: Evidence, position: Floats, seen: Sequence[_Seen]) -> _Catalogue | None:
    """Return what the catalogue has around a region; None where there is no catalogue."""
    chosen = sorted(seen, key=lambda s: s.seeing)[:_PILOT_FRAMES]
    radius = max(_holding(s, _PILOT) for s in chosen)
    stars = evidence.catalogue(Region(float(position[0]), float(position[1]), radius / 3600.0), CatalogLimits())
    if stars is None:
        return None
    zeropoints = [_zeropoints(s, stars) for s in chosen]
    shares = [
        float(np.mean(np.isfinite(z[s.good & (s.away <= radius)])))
        for s, z in zip(chosen, zeropoints, strict=True)
        if (s.good & (s.away <= radius)).any()
    ]
    every = np.concatenate(zeropoints)
    return _Catalogue(radius, len(stars), every[np.isfinite(every)], float(np.median(shares)) if shares else 0.0)


def _holding(seen: _Seen, wanted: int) -> float:
    """Return the radius that holds so many good stars, arcsec; where there are fewer, that of the whole frame."""
    away = seen.away[seen.good]
    return float(away[wanted - 1]) if len(away) >= wanted else seen.reach


def _seen(frame: FrameEvidence, at: Floats) -> _Seen | None:
    """Return what a frame shows around a region; None where it does not contain it."""
    v = frame.values
    shape, scale, seeing = (v["height"], v["width"]), v["pixel_scale"], v["seeing_pixels"]
    centre = pixel_inside(frame.wcs(), shape, *at[0])
    if centre is None or not scale or not seeing:
        return None
    sources = frame.sources()
    sources = sources[np.asarray(sources["flux"], float) > 0]
    x, y, flux = (np.asarray(sources[name], float) for name in ("x", "y", "flux"))
    sky = np.pi * (_APERTURE * seeing) ** 2 * v["background_rms_electron_per_second"] ** 2
    signal_to_noise = flux / np.sqrt(sky + flux / v["exptime"])
    good = (np.asarray(sources["flags"]) == 0) & (signal_to_noise >= _GOOD) & (_nearest(x, y) > _ALONE * seeing)
    away = np.hypot(x - centre[0], y - centre[1]) * scale
    corners = np.array([(0, 0), (0, shape[0]), (shape[1], 0), (shape[1], shape[0])], float)
    reach = float(np.hypot(*(corners - np.array(centre)).T).max()) * scale
    root = _FAINTEST**2 / v["exptime"]  # F / sqrt(sky + F / t) = s, solved for F
    faint = 0.5 * (root + np.sqrt(root**2 + 4 * _FAINTEST**2 * sky))
    order = np.argsort(away)
    return _Seen(frame, x[order], y[order], flux[order], away[order], good[order], reach, seeing * scale, float(faint))


def _nearest(x: Floats, y: Floats) -> Floats:
    """Return the distance of each point from the next one, pixels."""
    from scipy.spatial import KDTree

    if len(x) < 2:
        return np.full(len(x), np.inf)
    points = np.stack([x, y], axis=1)
    return np.asarray(KDTree(points).query(points, k=2)[0][:, 1])


def _zeropoints(seen: _Seen, stars: Any) -> Floats:
    """Return the magnitude of 1 e-/s by each detection and the brightest catalogue star within the seeing, or nan."""
    from scipy.spatial import KDTree

    out = np.full(len(seen.x), np.nan)
    ra, dec, magnitude = (np.asarray(stars[name], float) for name in ("ra", "dec", "magnitude"))
    x, y = sky_to_pixel(seen.frame.wcs(), ra, dec) if len(ra) else (ra, dec)
    there = np.flatnonzero(np.isfinite(x) & np.isfinite(y) & np.isfinite(magnitude))
    if len(out) == 0 or len(there) == 0:
        return out
    within = max(1.5, seen.frame.values["seeing_pixels"])
    there = there[np.argsort(-magnitude[there], kind="stable")]  # of several, the brightest comes last and stays
    distance, index = KDTree(np.stack([seen.x, seen.y], axis=1)).query(np.stack([x[there], y[there]], axis=1))
    near = distance <= within
    out[index[near]] = magnitude[there][near] + 2.5 * np.log10(seen.flux[index[near]])
    return out


def _two_digits(value: float) -> float:
    """Round up to two significant digits."""
    step = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(f"{np.ceil(value / step - 1e-9) * step:.6g}")


@hookimpl
def lcf_setting_rules() -> dict[str, type]:
    """Offer the rule ``reference-stars``."""
    return {"reference-stars": ReferenceStars}
