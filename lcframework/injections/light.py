"""What is drawn: how bright, at which places, and which are twins of the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from lcframework.roi.injected import TWIN
from lcframework.sky.geometry import from_plane, to_plane
from lcframework.types import Floats

#: An instrument and band.
InstrumentBand = tuple[str, str]
#: Of the sources, those in twins of the target.
TWINS = 0.25
#: Steps of brightness from the target's, or the brightest star's, down to half of the detection limit.
LEVELS = 6
_BELOW_LIMIT = 0.5


@attrs.frozen
class Light:
    """A point source that is drawn: its name in its region, its place (degrees), and its flux in each group, e-/s."""

    name: str
    ra: float
    dec: float
    flux: Mapping[InstrumentBand, float] = attrs.field(eq=False)


@attrs.frozen
class Injection:
    """A region that is drawn.

    Attributes
    ----------
    region : str
        Its name in the scratch project.
    level : str
        Of its brightness: a number from the brightest on; ``twin`` for a twin of the target.
    sources : tuple of Light
        One, or as many as the target has.
    """

    region: str
    level: str
    sources: tuple[Light, ...]


@attrs.frozen(eq=False)
class RegionUnderTest:
    """The region whose measuring is tested: its place, its point sources (degrees), and their fluxes in each group."""

    roi: str
    ra: float
    dec: float
    point_sources: Mapping[str, tuple[float, float]]
    flux: Mapping[InstrumentBand, Mapping[str, float]]

    @property
    def reach(self) -> float:
        """The distance of its farthest point source, arcsec."""
        ra, dec = np.array(list(self.point_sources.values())).T
        return float(np.max(np.hypot(*to_plane(ra, dec, self.ra, self.dec))))


def steps(
    target: RegionUnderTest, limits: Mapping[InstrumentBand, float], levels: int = LEVELS
) -> dict[InstrumentBand, Floats]:
    """Return fluxes (levels,) in each group, from the target's brightest source to half of the limit.

    Parameters
    ----------
    target : RegionUnderTest
        The target.
    limits : mapping
        The flux of a source of 5 sigma in a usual frame, e-/s.
    levels : int
        How many.
    """
    out: dict[InstrumentBand, Floats] = {}
    for group, limit in limits.items():
        top = max([f for f in target.flux[group].values() if np.isfinite(f)], default=0.0)
        out[group] = np.geomspace(max(top, 4 * limit), _BELOW_LIMIT * limit, levels)
    return out


def regions_for(target: RegionUnderTest, number: int) -> tuple[int, int]:
    """Return how many twins of the target and how many single sources make `number` sources."""
    each = len(target.point_sources)
    twins = max(1, round(TWINS * number / each)) if _known(target) and number > each else 0
    return twins, number - twins * each


def injections(
    target: RegionUnderTest,
    places: Floats,
    number: int,
    fluxes: Mapping[InstrumentBand, Floats],
    taken: Sequence[str],
) -> list[Injection]:
    """Return what is drawn at places (n, 2): twins of the target, then single sources of each brightness in turn.

    Parameters
    ----------
    target : RegionUnderTest
        The target.
    places : (n, 2) array
        Degrees, in random order: as many as :func:`regions_for` says, or fewer.
    number : int
        How many sources are wanted.
    fluxes : mapping
        The brightness of each level in each group, e-/s.
    taken : sequence of str
        Names of regions that there are.
    """
    twins, singles = regions_for(target, number)
    if twins and len(places) < twins + singles:
        twins = max(1, round(twins * len(places) / (twins + singles)))
    levels = min(len(values) for values in fluxes.values())
    stem = "inject"
    while any(name.startswith(stem) for name in taken):
        stem += "_"
    out = []
    for i, (ra, dec) in enumerate(places.tolist()):
        region = f"{stem}{i + 1:04d}"
        if i < twins:
            out.append(Injection(region, TWIN, tuple(_twins(target, ra, dec))))
            continue
        k = (i - twins) % levels
        flux = {group: float(values[k]) for group, values in fluxes.items()}
        out.append(Injection(region, str(k + 1), (Light("A", ra, dec, flux),)))
    return out


def _known(target: RegionUnderTest) -> bool:
    return all(np.isfinite(f) and f > 0 for sources in target.flux.values() for f in sources.values())


def _twins(target: RegionUnderTest, ra: float, dec: float) -> list[Light]:
    """Return sources as far from each other, and as bright, as the target's are."""
    out = []
    for name, (a, d) in target.point_sources.items():
        xi, eta = to_plane(a, d, target.ra, target.dec)
        there = from_plane(xi, eta, ra, dec)
        flux = {group: fluxes[name] for group, fluxes in target.flux.items()}
        out.append(Light(name, float(there[0]), float(there[1]), flux))
    return out
