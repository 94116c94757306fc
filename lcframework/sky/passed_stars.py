"""The catalogued stars that moving targets pass: their light is in the target's where they are close."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from lcframework.provenance import digest
from lcframework.sky.geometry import at_epoch, separation
from lcframework.sky.star_fields import disk_over
from lcframework.sky.tracks import Track
from lcframework.storage.queries import FrameRow
from lcframework.types import CatalogLimits, Doubt, NeedMissing, Region, StarTable
from lcframework.types.arrays import plain_floats
from lcframework.work import Outcome, Replace, Task, Unit

if TYPE_CHECKING:
    from astropy.table import Table

#: Arcsec from a track within which stars are kept: twice the FWHM of bad seeing.
REACH = 20.0
#: A star that stays this close to a target as slow as stars are, arcsec, is the target itself.
_ITSELF = 1.0
#: Seeing within which a star contaminates a target, FWHM: at two, 0.4 % of a star's light are taken for the target's.
WITHIN = 2.0
_COLUMNS = ("ra", "dec", "pmra", "pmdec", "ref_epoch")


@attrs.frozen(eq=False)
class PassedQuery:
    """The query for the stars near the tracks of a field's regions."""

    hash: str
    tracks: tuple[Track, ...]


class FindPassedStars(Task[PassedQuery, PassedQuery, StarTable]):
    """Queries the catalogue for all stars near tracks, of whatever brightness."""

    light: ClassVar[bool] = True

    def load(self, unit: Unit[PassedQuery]) -> PassedQuery:
        """Return the payload: the query."""
        return unit.payload

    def compute(self, values: PassedQuery) -> Table:
        """Return the stars near the tracks, without the targets themselves.

        Raises
        ------
        NeedMissing
            Where there is no catalogue, or it does not answer.
        """
        from astropy.table import unique, vstack

        catalogue = self.toolbox.tool("stars")
        if catalogue is None:
            raise NeedMissing('[stars] plugin = "none": reference stars are needed for the PSF and the normalization')
        found = []
        for track in values.tracks:
            region = _around(track)
            table = catalogue.ask("query", region, CatalogLimits())
            ra, dec, pmra, pmdec, epoch = (plain_floats(table[name]) for name in _COLUMNS)
            ra, dec = at_epoch(ra, dec, pmra, pmdec, epoch, float(np.mean(track.mjd)))
            table = table[track.separation(ra, dec) < REACH]
            found.append(table[~_itself(table, track)])
        joined = vstack(found, metadata_conflicts="silent")
        return unique(joined, keys="source_id") if len(joined) else joined

    def save(self, unit: Unit[PassedQuery], values: PassedQuery, result: Table) -> Outcome:
        """Return the rows of the stars."""
        columns = {name: plain_floats(result[name]) for name in (*_COLUMNS, "magnitude")}
        rows = [
            {"combined_footprint_hash": values.hash, "gaia_id": str(result["source_id"][i]),
             **{name: float(np.nan_to_num(column[i])) for name, column in columns.items()}}
            for i in range(len(result))
        ]  # fmt: skip
        record = Replace("passed_stars", {"combined_footprint_hash": values.hash}, rows)
        return Outcome((record,), token=digest(rows), summary=f"{len(rows)} stars")


def _around(track: Track) -> Region:
    """Return the smallest disk that a catalogue can be asked for with all that is near a track."""
    return disk_over("", track, REACH).region


def _itself(table: Table, track: Track) -> Any:
    """Return which stars (n,) are the target: those that stay at its place in all frames, where it is no faster."""
    if not track.of_a_star or not len(table):
        return np.zeros(len(table), bool)
    star_ra, star_dec, pmra, pmdec, epoch = (plain_floats(table[name]) for name in _COLUMNS)
    apart = [
        separation(*at_epoch(star_ra, star_dec, pmra, pmdec, epoch, mjd), ra, dec)
        for ra, dec, mjd in zip(track.ra, track.dec, track.mjd.tolist(), strict=True)
    ]
    return np.max(apart, axis=0) < _ITSELF


@attrs.frozen
class Passed:
    """The nearest star within the seeing of a target in one frame."""

    roi: str
    star: str
    magnitude: float
    distance: float  # arcsec
    seeing: float  # arcsec
    stars: int  # how many there are


class Passing:
    """The stars that regions pass, for the frames in which they do.

    Parameters
    ----------
    tracks : mapping
        By region.
    stars : sequence of mappings
        The rows of ``passed_stars``.
    """

    def __init__(self, tracks: Mapping[str, Track], stars: Sequence[Mapping[str, Any]]) -> None:
        self._places = {
            name: dict(zip(track.frame_id, zip(track.ra.tolist(), track.dec.tolist(), strict=True), strict=True))
            for name, track in tracks.items()
        }
        self._stars = stars
        self._columns = tuple(np.array([s[c] for s in stars], float) for c in _COLUMNS)

    def in_frame(self, roi: str, frame: FrameRow) -> Passed | None:
        """Return the star that is within the seeing of a region's target in a frame; None where none is."""
        place, seeing = self._places[roi].get(frame.id), frame.seeing_arcseconds
        if place is None or not seeing or not self._stars:
            return None
        ra, dec, pmra, pmdec, epoch = self._columns
        apart = separation(*at_epoch(ra, dec, pmra, pmdec, epoch, frame.mjd), *place)
        nearest, near = int(np.argmin(apart)), int((apart < WITHIN * seeing).sum())
        if not near:
            return None
        star = self._stars[nearest]
        return Passed(roi, star["gaia_id"], star["magnitude"], round(float(apart[nearest]), 3), seeing, near)


def passing_doubt(passed: Passed) -> Doubt:
    """Return the doubt of a target that passes a star."""
    more = f", and {passed.stars - 1} more as near" if passed.stars > 1 else ""
    distance = passed.distance / passed.seeing
    return Doubt(
        "star_passed",
        f"a catalogued star of magnitude {passed.magnitude:.1f} ({passed.star}) is {passed.distance:.2f} arcsec from "
        f"the target of {passed.roi}, {distance:.1f} of the seeing{more}: its light is in the target's",
        "Leave such epochs out where the star is not much fainter than the target (their flags have FRAME_DOUBTED)",
        value=distance, subject=passed.roi,
    )  # fmt: skip
