"""The format ``folded``: a light curve folded by a period, one row an epoch and source, sorted by phase."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcf_periodogram.search import periodogram, phases, relative_fluxes
from lcframework.hookspecs import hookimpl
from lcframework.options import above, positive_or_zero
from lcframework.types import source_names

if TYPE_CHECKING:
    from astropy.table import Table


@attrs.frozen
class Folded:
    """Phases and relative fluxes as ECSV; the period is given, or that of the highest peak of each source."""

    results_version: ClassVar[int] = 1
    suffix: ClassVar[str] = "folded.ecsv"

    period: float = attrs.field(default=0.0, validator=positive_or_zero("to take each source's highest peak"))  # d
    epoch: float = 0.0  # of phase 0, in the days of the times that are folded: BJD, or MJD where epochs have none
    shortest: float = attrs.field(default=0.1, validator=above(0.0, finite=True))  # d, where the period is searched
    longest: float = attrs.field(default=1000.0, validator=above(0.0, finite=True))  # d, where the period is searched

    def export(self, light_curve: Table, path: Path) -> None:
        """Write the folded light curve.

        Raises
        ------
        UnusableInput
            Where a period is to be searched in too few epochs.
        """
        from astropy.table import Table, vstack

        parts, periods = [], {}
        for source in source_names(light_curve.colnames):
            time, flux, error = relative_fluxes(light_curve, source)
            found = self.period or periodogram(light_curve, source, self.shortest, self.longest).period
            periods[source] = found
            phase = phases(time, found, self.epoch)
            order = np.argsort(phase, kind="stable")
            part = Table({"phase": phase[order], "time": time[order], "flux": flux[order], "d_flux": error[order]})
            part.add_column([source] * len(part), 0, "source")
            parts.append(part)
        table = vstack(parts) if parts else Table(names=["source", "phase", "time", "flux", "d_flux"])
        table["time"].unit = "d"
        table.meta = {"roi": str(light_curve.meta.get("roi", "")), "period": periods, "epoch": self.epoch}
        part_file = path.with_suffix(".part")
        table.write(part_file, format="ascii.ecsv", overwrite=True)
        part_file.replace(path)


@hookimpl
def lcf_exporters() -> dict[str, type]:
    """Offer the format under the name that `lcf export --format` picks."""
    return {"folded": Folded}
