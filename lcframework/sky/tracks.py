"""Where the target of a region is in each frame, and the track that these places make on the sky."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, col

from lcframework.config.sections import Roi, Telescope
from lcframework.config.toolbox import Tool, Toolbox
from lcframework.protocols import StatesPositionErrors
from lcframework.provenance import digest
from lcframework.sky.geometry import from_plane, separation, to_plane
from lcframework.storage.tables import Frame, RoiInFrame
from lcframework.types import Doubt, Floats, LcfError, Moments, Severity

_SECONDS_PER_DAY, _SECONDS_PER_YEAR = 86400.0, 3.15576e7
#: Degrees: 4 mas, which changes no stamp and no choice of stars.
_DIGITS = 6
#: Nothing beyond the solar system moves by so many arcsec a year.
_FASTEST_STAR = 15.0
#: Loss of flux from which a trail is a doubt, and a serious one; and error of the place, in FWHM.
_LOSS, _SERIOUS_LOSS, _FAR_OFF = 0.005, 0.05, 0.25


@attrs.frozen
class Place:
    """Where a target is in one frame."""

    ra: float  # degrees, ICRS, in the middle of the exposure
    dec: float
    trail: float  # arcsec, from the beginning of the exposure to its end
    position_error: float | None = None  # arcsec; None: not stated


def places_of(
    tool: Tool,
    roi: Roi,
    mjd: Sequence[float],
    exptime: Sequence[float],
    telescope: Telescope | None,
    errors: bool = True,
) -> list[Place | LcfError]:
    """Return where a target is in frames of one telescope; for a frame without a place, why it has none.

    Parameters
    ----------
    tool : Tool
        The region's ephemeris.
    roi : Roi
        The region.
    mjd, exptime : sequence of float
        The middle of each exposure (UTC), and its length in seconds.
    telescope : Telescope, optional
        Where they were taken.
    errors : bool
        Whether the errors of the places are asked for too.
    """
    try:
        return list(_asked(tool, roi, np.asarray(mjd, float), np.asarray(exptime, float), telescope, errors))
    except LcfError as error:
        if len(mjd) == 1:
            return [error]
    return [
        place
        for when, length in zip(mjd, exptime, strict=True)
        for place in places_of(tool, roi, [when], [length], telescope, errors)
    ]


def moving_regions(toolbox: Toolbox) -> dict[str, Tool]:
    """Return the ephemerides of the regions that move, by region."""
    return {name: tool for name in toolbox.config.roi if (tool := toolbox.ephemeris(name)) is not None}


#: More times say no more about where a target passes than these.
_TIMES = 200


def regions_at(toolbox: Toolbox, mjd: Sequence[float]) -> list[Roi]:
    """Return the regions, those that move in each of their places at some times (UTC), for solvers to look around.

    Where there is no place, the region is where the project file has it.
    """
    out: list[Roi] = []
    times = sorted(set(mjd))
    times = times[:: 1 + len(times) // _TIMES]
    for name, roi in toolbox.config.roi.items():
        tool = toolbox.ephemeris(name)
        found: list[Place | LcfError] = []
        if tool is not None and times:
            found = places_of(tool, roi, times, [0.0] * len(times), None, errors=False)
        places = [place for place in found if isinstance(place, Place)]
        rounded = [(round(place.ra, _DIGITS), round(place.dec, _DIGITS)) for place in places]
        out += [attrs.evolve(roi, ra=ra, dec=dec) for ra, dec in rounded] or [roi]
    return out


def _asked(
    tool: Tool, roi: Roi, mjd: Floats, exptime: Floats, telescope: Telescope | None, errors: bool
) -> list[Place]:
    n, half = len(mjd), exptime / _SECONDS_PER_DAY / 2
    site = (telescope.latitude, telescope.longitude, telescope.elevation) if telescope else ()
    ra, dec = tool.ask("positions", roi.ra, roi.dec, Moments(np.concatenate([mjd, mjd - half, mjd + half]), *site))
    trail = separation(ra[n : 2 * n], dec[n : 2 * n], ra[2 * n :], dec[2 * n :])
    stated: Any = [None] * n
    if errors and isinstance(tool.instance, StatesPositionErrors):
        stated = tool.ask("position_errors", Moments(mjd, *site)).tolist()
    return [Place(float(a), float(d), float(t), e) for a, d, t, e in zip(ra[:n], dec[:n], trail, stated, strict=True)]


def place_doubts(roi: str, place: Place, seeing: float | None) -> list[Doubt]:
    """Return what is doubtful about a target at its place.

    Parameters
    ----------
    roi : str
        The region.
    place : Place
        Of its target.
    seeing : float, optional
        FWHM of the frame's stars, arcsec.
    """
    doubts = []
    if not seeing or not np.isfinite(seeing):
        return []
    loss = trail_loss(place.trail / seeing)
    if loss > _LOSS:
        doubts.append(Doubt(
            "target_trails",
            f"the target of {roi} moves by {place.trail:.2f} arcsec during the exposure, {place.trail / seeing:.2f} "
            f"of the seeing: its PSF flux is too low by about {100 * loss:.1f} %",
            "Expose for a shorter time, or leave such frames out; no model of a trail is fitted",
            severity=Severity.SERIOUS if loss > _SERIOUS_LOSS else Severity.DOUBT, value=loss, subject=roi,
        ))  # fmt: skip
    error = place.position_error or 0.0
    if error > _FAR_OFF * seeing:
        doubts.append(Doubt(
            "uncertain_place",
            f"the place of {roi} is known to {error:.2f} arcsec only, {error / seeing:.2f} of the seeing",
            f"Give a table with shorter steps or more digits in [roi.{roi}]", value=error, subject=roi,
        ))  # fmt: skip
    return doubts


def trail_loss(length: float) -> float:
    """Return the relative flux that a fit of the PSF misses of a trail, whose length is in FWHM, for a Gaussian PSF.

    The trail adds length^2 / 12 to the variance along one axis, and a profile of the variance v that is fitted to one
    of the variance w finds sqrt(2 v / (v + w)) of the flux.
    """
    return float(1 - 1 / np.sqrt(1 + length**2 * 8 * np.log(2) / 24))


@attrs.frozen(eq=False)
class Track:
    """The places of a target in the frames that contain it, in the order of time."""

    frame_id: tuple[int, ...]
    ra: Floats  # degrees
    dec: Floats
    mjd: Floats
    rate: float = np.nan  # arcsec/yr, the median of its exposures

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.frame_id)

    @property
    def identity(self) -> str:
        """A digest of the places."""
        return digest([np.round(self.ra, _DIGITS).tolist(), np.round(self.dec, _DIGITS).tolist()], 16)

    @property
    def of_a_star(self) -> bool:
        """Whether it is slow enough for a star."""
        return bool(self.rate < _FASTEST_STAR)

    def separation(self, ra: Any, dec: Any) -> Floats:
        """Return the distance, arcsec, of positions in degrees from the places and the arcs between them.

        It is infinite where there is no place, and on the far hemisphere.
        """
        nearest = np.full(np.shape(ra), np.inf)
        for i in range(len(self)):
            xi, eta = to_plane(ra, dec, self.ra[i], self.dec[i])
            along = np.zeros(np.shape(ra))
            last = min(i + 1, len(self) - 1)
            x, y = to_plane(self.ra[last], self.dec[last], self.ra[i], self.dec[i])
            if np.isfinite(x) and (length := float(x**2 + y**2)) > 0:
                along = np.clip((xi * x + eta * y) / length, 0.0, 1.0)
            away = np.hypot(xi - along * np.nan_to_num(x), eta - along * np.nan_to_num(y))
            nearest = np.fmin(nearest, away)
        return nearest


def tracks(session: Session, toolbox: Toolbox) -> dict[str, Track]:
    """Return the tracks of the regions that move, empty where no frame shows one."""
    names = list(moving_regions(toolbox))
    if not names:
        return {}
    r, f = RoiInFrame, Frame
    columns = (r.roi, r.frame_id, r.ra, r.dec, r.trail, f.mjd, f.exptime)
    query = (
        sa.select(*map(col, columns))
        .join(f, col(f.id) == col(r.frame_id))
        .where(col(r.roi).in_(names), col(r.roi_in_footprint), ~col(f.eliminated), col(r.ra).is_not(None))
        .order_by(col(f.mjd), col(f.id))
    )
    rows: dict[str, list[Any]] = {name: [] for name in names}
    for name, *row in session.execute(query):
        rows[name].append(row)
    return {name: _track(found) for name, found in rows.items()}


def _track(rows: list[Any]) -> Track:
    ra, dec, trail, mjd, exptime = (np.array([row[k] or 0.0 for row in rows], float) for k in range(1, 6))
    exposed = exptime > 0
    rate = float(np.median(trail[exposed] / exptime[exposed])) * _SECONDS_PER_YEAR if exposed.any() else np.nan
    return Track(tuple(row[0] for row in rows), ra, dec, mjd, rate)


def carried(roi: Roi, ra: float, dec: float) -> Floats:
    """Return the point sources of a region (k, 2), degrees, as they lie where its target is at (ra, dec)."""
    sky = np.array(list(roi.point_sources.values()), float).reshape(-1, 2)
    return np.stack(from_plane(*to_plane(sky[:, 0], sky[:, 1], roi.ra, roi.dec), ra, dec), axis=1)


def own_tracks(rois: Iterable[str], moving: Mapping[str, Track]) -> dict[str, Track]:
    """Return the tracks of those of a field's regions that move and that frames show."""
    return {name: moving[name] for name in rois if name in moving and len(moving[name])}
