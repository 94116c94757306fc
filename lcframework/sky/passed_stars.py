"""The catalogued stars that moving targets pass: their light is in the target's where they are close."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from lcframework.provenance import digest
from lcframework.sky.footprints import disk_over
from lcframework.sky.geometry import at_epoch, separation
from lcframework.sky.tracks import Track
from lcframework.types import CatalogLimits, Doubt, Floats, NeedMissing, Region, StarTable
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
            ra, dec, pmra, pmdec, epoch = (_numbers(table, name) for name in _COLUMNS)
            ra, dec = at_epoch(ra, dec, pmra, pmdec, epoch, float(np.mean(track.mjd)))
            table = table[track.separation(ra, dec) < REACH]
            found.append(table[~_itself(table, track)])
        joined = vstack(found, metadata_conflicts="silent")
        return unique(joined, keys="source_id") if len(joined) else joined

    def save(self, unit: Unit[PassedQuery], values: PassedQuery, result: Table) -> Outcome:
        """Return the rows of the stars."""
        columns = {name: _numbers(result, name) for name in (*_COLUMNS, "magnitude")}
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


def _numbers(table: Table, name: str) -> Floats:
    return np.ma.filled(np.ma.asarray(table[name]).astype(float), np.nan)


def _itself(table: Table, track: Track) -> Any:
    """Return which stars (n,) are the target: those that stay at its place in all frames, where it is no faster."""
    if not track.of_a_star or not len(table):
        return np.zeros(len(table), bool)
    star_ra, star_dec, pmra, pmdec, epoch = (_numbers(table, name) for name in _COLUMNS)
    apart = [
        separation(*at_epoch(star_ra, star_dec, pmra, pmdec, epoch, mjd), ra, dec)
        for ra, dec, mjd in zip(track.ra, track.dec, track.mjd.tolist(), strict=True)
    ]
    return np.max(apart, axis=0) < _ITSELF


def passing_doubts(
    roi: str, place: tuple[float, float], stars: Sequence[Mapping[str, Any]], mjd: float, seeing: float | None
) -> Iterator[Doubt]:
    """Yield a doubt where stars are within the seeing of a target.

    Parameters
    ----------
    roi : str
        The region.
    place : (float, float)
        Ra and dec of its target, degrees.
    stars : sequence of mappings
        The rows of ``passed_stars``.
    mjd : float
        Time of the frame.
    seeing : float, optional
        FWHM of its stars, arcsec.
    """
    if not seeing or not stars:
        return
    ra, dec, pmra, pmdec, epoch = (np.array([s[c] for s in stars], float) for c in _COLUMNS)
    apart = separation(*at_epoch(ra, dec, pmra, pmdec, epoch, mjd), *place)
    near = np.flatnonzero(apart < WITHIN * seeing)
    if not len(near):
        return
    nearest = int(near[np.argmin(apart[near])])
    star, more = stars[nearest], f", and {len(near) - 1} more as near" if len(near) > 1 else ""
    yield Doubt(
        "star_passed",
        f"a catalogued star of magnitude {star['magnitude']:.1f} ({star['gaia_id']}) is {apart[nearest]:.2f} arcsec "
        f"from the target of {roi}, {apart[nearest] / seeing:.1f} of the seeing{more}: its light is in the target's",
        "Leave such epochs out where the star is not much fainter than the target (their flags have FRAME_DOUBTED)",
        value=float(apart[nearest]) / seeing, subject=roi,
    )  # fmt: skip
