"""The catalogue stars that plate solvers and the verification match with: around which places, and by which query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from lcframework.config.sections import PlateSolving as Settings
from lcframework.config.toolbox import Tool, Toolbox
from lcframework.protocols import NeedsStars
from lcframework.provenance import Components
from lcframework.sky import solver_hints
from lcframework.storage.frame_files import write_table
from lcframework.types import STARS, CatalogLimits, NeedMissing, Region, StarTable
from lcframework.work import Outcome, Task, Unit

if TYPE_CHECKING:
    from astropy.table import Table

FIELD_STARS = "frames/field_stars.fits"


def needs_stars(tool: Tool) -> bool:
    """Return whether a solver can't do without catalogue stars."""
    return isinstance(tool.instance, NeedsStars) and tool.instance.needs_stars


@attrs.frozen
class SolverStars:
    """The stars of the project's sky, for all its frames."""

    toolbox: Toolbox

    @property
    def needed(self) -> bool:
        """Whether a solver can't do without them; else they serve the verification alone, if anything."""
        names = ("", *self.toolbox.configs)
        return any(needs_stars(tool) for name in names for tool in self.toolbox.all("plate_solving", name))

    def regions(self) -> tuple[Region, ...]:
        """Return the sky around the first region of interest, and around others that it does not hold well.

        Nothing where neither a solver nor the verification asks for stars.
        """
        verified = any(s.verify for s in self._settings()) and self.toolbox.tool("stars") is not None
        if not (verified or self.needed):
            return ()
        radius = max(s.search_radius for s in self._settings())
        if not self.needed:  # frames that hold the region show what is near it
            radius = min(radius, self.toolbox.config.stars.radius / 3600.0)
        places = solver_hints.places(self.toolbox.config.roi.values(), radius)
        return tuple(Region(ra, dec, radius) for ra, dec in places)

    def identity(self) -> Components:
        """Return what the stars depend on."""
        places = [[r.ra, r.dec, r.radius] for r in self.regions()]
        return {
            "region": places[0] if len(places) == 1 else places,
            "faintest": self._faintest,
            "catalogue": {t.name: t.identity() for t in self.toolbox.all("stars")},
        }

    def query(self, region: Region) -> Table:
        """Ask the catalogue for the stars of a region.

        Raises
        ------
        NeedMissing
            Where there is no catalogue, or it does not answer.
        """
        catalogue = self.toolbox.tool("stars")
        if catalogue is None:
            raise NeedMissing('a plate solver needs catalogue stars, but [stars] plugin = "none"')
        # Brighter stars than those for the PSF serve here; fainter ones would only be many.
        limits = CatalogLimits(magnitude=(-np.inf, self._faintest))
        try:
            return STARS.check(catalogue.instance.query(region, limits), f"[stars] {catalogue.name}")
        except NeedMissing as error:
            if self.needed:
                raise
            raise NeedMissing(
                f"{error} (solutions are to be compared with the catalogue; [plate_solving] verify = false "
                "believes them without)"
            ) from error

    def query_all(self, regions: Sequence[Region]) -> Table:
        """Ask for the stars of several regions, which may overlap; each star comes once. Raises as :meth:`query`."""
        from astropy.table import vstack

        tables = [self.query(region) for region in regions]
        if len(tables) == 1:
            return tables[0]
        joined = vstack(tables, metadata_conflicts="silent")
        return joined[np.sort(np.unique(np.asarray(joined["source_id"]).astype(str), return_index=True)[1])]

    @property
    def _faintest(self) -> float:
        return self.toolbox.config.stars.magnitude[1]

    def _settings(self) -> list[Settings]:
        """Return the section ``[plate_solving]`` as it is for every instrument."""
        return [config.plate_solving for config in self.toolbox.by_instrument().values()]


class AskForSolverStars(Task[tuple[Region, ...], tuple[Region, ...], StarTable]):
    """Asks the catalogue for the stars of the project's sky."""

    def load(self, unit: Unit[tuple[Region, ...]]) -> tuple[Region, ...]:
        """Return the disks of sky from which stars are asked for."""
        return unit.payload

    def compute(self, values: tuple[Region, ...]) -> Table:
        """Ask for the stars; raises as :meth:`SolverStars.query`."""
        return SolverStars(self.toolbox).query_all(values)

    def save(self, unit: Unit[tuple[Region, ...]], values: tuple[Region, ...], result: Table) -> Outcome:
        """Write the stars, each once."""
        write_table(self.toolbox.workdir / FIELD_STARS, result)
        return Outcome(path=FIELD_STARS)
