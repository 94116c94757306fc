"""Transit light curves for ExoClock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import one_of
from lcframework.types import FileFault, UnusableInput
from plugins_builtin.shared.aavso_filters import filter_named
from plugins_builtin.shared.exported_epochs import (
    MJD_TO_JD,
    epochs_of,
    files_by_night,
    one_source,
    require_barycentric,
    require_exposures,
)
from plugins_builtin.shared.file_faults import Faults, first_lines, text_lines
from plugins_builtin.shared.light_curve_tables import write_lines
from plugins_builtin.shared.transit_rows import transit_rows

if TYPE_CHECKING:
    from astropy.table import Table

#: The filters of ExoClock's form by the AAVSO's codes.
FILTERS = {
    "U": "U", "B": "B", "V": "V", "R": "R", "I": "I", "J": "J", "H": "H", "K": "K", "CV": "Clear",
    "SU": "u'", "SG": "g'", "SR": "r'", "SI": "i'", "SZ": "z'",
}  # fmt: skip
_FORMATS = ("BJD_TDB", "JD_UTC")
_STAMP = "Mid-exposure"
_HEAD = ("Planet", "Time format", "Time stamp", "Flux format", "Filter", "Exposure time in seconds")


@attrs.frozen
class ExoClock:
    """ExoClock's upload: time, relative flux and error, under comments that say what its form asks for; a file a night.

    The comments are those of HOPS, whose files ExoClock takes (https://www.exoclock.space, menu Upload;
    https://github.com/ExoWorldsSpies/hops): planet, format of the time and which moment of an exposure it is, format of
    the flux, filter and exposure time. Times here are those of the middle of exposures, where HOPS has the beginning:
    choose so in the form. The flux is relative to the median of the night.
    """

    planet: str = ""  # ExoClock's name of the planet, such as HAT-P-32b
    source: str = ""  # the star that it transits; empty: the only source
    time: str = attrs.field(default="BJD_TDB", validator=one_of(*_FORMATS))  # BJD_TDB or JD_UTC
    filters: Mapping[str, str] = attrs.field(factory=dict)  # band of the light curve = filter of ExoClock
    results_version: ClassVar[int] = 1
    suffix: ClassVar[str] = "exoclock.txt"

    def files(self, light_curve: Table) -> Mapping[str, Table]:
        """Return a file for each night, instrument and band."""
        return files_by_night(light_curve, self.suffix)

    def export(self, light_curve: Table, path: Path) -> None:
        """Write a night of one star, instrument and band.

        Raises
        ------
        UnusableInput
            Where there is more than that, no planet is named, or times or exposure times are not known.
        """
        if not self.planet:
            raise UnusableInput("ExoClock wants the planet's name: -o planet=HAT-P-32b")
        epochs = require_exposures(epochs_of(light_curve, one_source(light_curve, self.source, "ExoClock")))
        if self.time == "BJD_TDB":
            epochs = require_barycentric(epochs)
        times = epochs.bjd_tdb if self.time == "BJD_TDB" else epochs.mjd + MJD_TO_JD
        band = filter_named(epochs.band, self.filters, FILTERS, "ExoClock")
        about = (self.planet, self.time, _STAMP, "Flux", band, f"{np.median(epochs.exptime):g}")
        lines = [f"#{name}: {value}" for name, value in zip(_HEAD, about, strict=True)]
        lines.append("#Time Flux Flux_uncertainty")
        write_lines(path, [*lines, *transit_rows(epochs, times)])

    def recognises(self, path: Path) -> bool:
        """Return whether the first comment names the planet."""
        return any(line.startswith("#Planet:") for line in first_lines(path))

    def faults(self, path: Path) -> Sequence[FileFault]:
        """Return what is wrong in the comments, the columns and the level of the flux."""
        faults = Faults()
        lines = text_lines(path, faults)
        head = {}
        for number, line in enumerate(lines, 1):
            name, colon, value = line.lstrip("#").partition(":")
            if line.startswith("#") and colon:
                head[name.strip()] = (number, value.strip())
        faults.missing(head, _HEAD, 0, "the comment")
        if "Time format" in head:
            faults.one_of(head["Time format"][1], (*_FORMATS, "HJD_UTC"), head["Time format"][0], "Time format")
        if "Exposure time in seconds" in head:
            number, value = head["Exposure time in seconds"]
            faults.number(value, number, "Exposure time in seconds", 1e-3, 1e5, "an exposure")
        for name in ("Planet", "Filter"):
            if name in head and not head[name][1]:
                faults.add("it is empty", head[name][0], name)
        fluxes = []
        for number, line in enumerate(lines, 1):
            if line.startswith("#") or not line.strip():
                continue
            row = faults.columns(line.split(), ["time", "flux", "error"], number)
            if row:
                faults.julian(row["time"], number, "1 (time)")
                fluxes.append(faults.number(row["flux"], number, "2 (flux)"))
                faults.number(row["error"], number, "3 (error)", 1e-9, 1.0, "an error of a relative flux")
        faults.level(fluxes, "2 (flux)")
        return faults.found


@hookimpl
def lcf_exporters() -> dict[str, type[ExoClock]]:
    """Offer the format."""
    return {"exoclock": ExoClock}
