"""By how much the clocks of zones differ from UTC."""

from __future__ import annotations

_HOUR = 3600.0
#: Hours by which zones are ahead of UTC; every zone but UTC's own is off by an hour at least. Source: IANA's database.
ZONES = (
    *(float(h) for h in range(-12, 15) if h != 0),
    -9.5, -3.5, -2.5, 3.5, 4.5, 5.5, 5.75, 6.5, 8.75, 9.5, 10.5, 12.75, 13.75,
)  # fmt: skip


def zone_of(ahead: float, tolerance: float, dated: bool = True) -> float:
    """Return by how much the zone is ahead of UTC whose clock is ahead by about so much, s; 0 where none is.

    Parameters
    ----------
    ahead : float
        s.
    tolerance : float
        How well it is known, s.
    dated : bool
        Whether the day is known; where it is not, that of a zone 13 h ahead is given as -11 h.
    """
    days = (0.0,) if dated else (0.0, -24.0, 24.0)
    found = [(abs(ahead - _HOUR * (z + day)), _HOUR * (z + day)) for z in ZONES for day in days]
    off, zone = min(found)
    return zone if off <= tolerance else 0.0
