"""The catalogue stars used by plate solvers and by the verification of solutions: their regions and the query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from lcframework.config.sections import PlateSolving as Settings
from lcframework.config.sections import Stars
from lcframework.config.toolbox import Tool, Toolbox
from lcframework.protocols import NeedsStars, UsesNetwork
from lcframework.provenance import Components
from lcframework.sky import solver_hints
from lcframework.sky.tracks import regions_at
from lcframework.storage.frame_files import write_table
from lcframework.types import CatalogLimits, NeedMissing, Region, StarTable
from lcframework.work import Outcome, Task, Unit

if TYPE_CHECKING:
    from astropy.table import Table

FIELD_STARS = "frames/field_stars.fits"
#: Fainter than any star of a catalogue.
_NO_LIMIT = 99.0


def needs_stars(tool: Tool) -> bool:
    """Return whether a plate solver requires catalogue stars."""
    return isinstance(tool.instance, NeedsStars) and tool.instance.needs_stars


@attrs.frozen
class SolverStars:
    """The catalogue stars around the project's regions, for all frames."""

    toolbox: Toolbox
    times: tuple[float, ...] = ()  # MJD of the frames, at which regions that move are looked for

    @property
    def needed(self) -> bool:
        """Whether a solver requires the stars; otherwise only the verification uses them, if it is on."""
        names = ("", *self.toolbox.configs)
        return any(needs_stars(tool) for name in names for tool in self.toolbox.all("plate_solving", name))

    def regions(self) -> tuple[Region, ...]:
        """Return disks around the first region of interest, and around others that are not well inside an earlier disk.

        Empty where neither a solver nor the verification uses catalogue stars.
        """
        verified = any(s.verify for s in self._settings()) and self.toolbox.tool("stars") is not None
        if not (verified or self.needed):
            return ()
        radius = max(s.search_radius for s in self._settings())
        # A frame that contains the region also contains stars near it. What a table holds costs nothing to look at.
        if not self.needed and (self.toolbox.config.states("stars.radius") or self._asks_network):
            radius = min(radius, self._stars.radius / 3600.0)
        positions = solver_hints.positions(regions_at(self.toolbox, self.times), radius)
        return tuple(Region(ra, dec, radius) for ra, dec in positions)

    def identity(self, regions: Sequence[Region]) -> Components:
        """Return the components of the fingerprint: the regions, the limiting magnitude and the catalogue."""
        positions = [[r.ra, r.dec, r.radius] for r in regions]
        return {
            "region": positions[0] if len(positions) == 1 else positions,
            "faintest": self._faintest,
            "catalogue": {t.name: t.identity() for t in self.toolbox.all("stars")},
        }

    def query(self, region: Region) -> Table:
        """Query the catalogue for the stars of a region.

        Raises
        ------
        NeedMissing
            Where there is no catalogue, or it does not answer.
        """
        catalogue = self.toolbox.tool("stars")
        if catalogue is None:
            raise NeedMissing('a plate solver needs catalogue stars, but [stars] plugin = "none"')
        # Stars that are too bright for the PSF are useful here. Fainter stars would only increase their number.
        limits = CatalogLimits(magnitude=(-np.inf, self._faintest))
        try:
            return catalogue.ask("query", region, limits)
        except NeedMissing as error:
            if self.needed:
                raise
            raise NeedMissing(
                f"{error} (solutions are to be compared with the catalogue; [plate_solving] verify = false "
                "believes them without)"
            ) from error

    def query_all(self, regions: Sequence[Region]) -> Table:
        """Query several regions, which may overlap, and return each star once; raises as :meth:`query`."""
        from astropy.table import vstack

        tables = [self.query(region) for region in regions]
        if len(tables) == 1:
            return tables[0]
        joined = vstack(tables, metadata_conflicts="silent")
        return joined[np.sort(np.unique(np.asarray(joined["source_id"]).astype(str), return_index=True)[1])]

    @property
    def _faintest(self) -> float:
        if not self.toolbox.config.states("stars.magnitude") and not self._asks_network:
            return _NO_LIMIT
        return self._stars.magnitude[1]

    @property
    def _stars(self) -> Stars:
        """The section ``[stars]`` without what frames decide once they are solved."""
        config = self.toolbox.config
        names = [name for name in ("radius", "magnitude") if config.states(f"stars.{name}")]
        return Stars(**{name: getattr(config.stars, name) for name in names})

    @property
    def _asks_network(self) -> bool:
        tool = self.toolbox.tool("stars")
        return tool is not None and isinstance(tool.instance, UsesNetwork)

    def _settings(self) -> list[Settings]:
        """Return the section ``[plate_solving]`` of every instrument."""
        return [config.plate_solving for config in self.toolbox.by_instrument().values()]


class AskForSolverStars(Task[tuple[Region, ...], tuple[Region, ...], StarTable]):
    """Queries the catalogue for the stars around the project's regions."""

    def load(self, unit: Unit[tuple[Region, ...]]) -> tuple[Region, ...]:
        """Return the disks of sky to query."""
        return unit.payload

    def compute(self, values: tuple[Region, ...]) -> Table:
        """Query the stars; raises as :meth:`SolverStars.query`."""
        return SolverStars(self.toolbox).query_all(values)

    def save(self, unit: Unit[tuple[Region, ...]], values: tuple[Region, ...], result: Table) -> Outcome:
        """Write the table of stars."""
        write_table(self.toolbox.workdir / FIELD_STARS, result)
        return Outcome(path=FIELD_STARS)
