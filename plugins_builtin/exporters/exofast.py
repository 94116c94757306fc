"""Transit light curves for EXOFAST and EXOFASTv2."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import FileFault
from plugins_builtin.shared.aavso_filters import filter_named
from plugins_builtin.shared.exported_epochs import (
    epochs_of,
    first_date,
    free_name,
    in_name,
    one_source,
    parts_by_group,
    parts_by_night,
    parts_by_source,
    require_barycentric,
    sources_of,
)
from plugins_builtin.shared.file_faults import Faults, text_lines
from plugins_builtin.shared.light_curve_tables import write_lines
from plugins_builtin.shared.transit_rows import detrending, transit_rows

if TYPE_CHECKING:
    from astropy.table import Table

#: EXOFAST's names of filters by the AAVSO's codes.
FILTERS = {
    "U": "U", "B": "B", "V": "V", "R": "R", "I": "I", "J": "J", "H": "H", "K": "K",
    "SU": "Sloanu", "SG": "Sloang", "SR": "Sloanr", "SI": "Sloani", "SZ": "Sloanz",
    "STU": "u", "STV": "v", "STB": "b", "STY": "y",
}  # fmt: skip
#: What else EXOFASTv2's readtran takes as a filter.
_OTHER_FILTERS = (
    "Kepler", "TESS", "CoRoT", "Spit36", "Spit45", "Spit58", "Spit80", "g", "r", "i", "z",
)  # fmt: skip
_NAME = re.compile(r"n(?P<date>\d{8})\.(?P<filter>[^.]+)\.(?P<telescope>[^.]+)\.dat")


@attrs.frozen
class Exofast:
    """EXOFAST's transit files: BJD_TDB, relative flux and error, then columns to detrend by; a file a night and band.

    Names are those that EXOFASTv2's `readtran` takes apart, ``nYYYYMMDD.FILTER.TELESCOPE.dat``, with the date (UTC) at
    which the night's first exposure was in its middle. Files have no comments, because `readtran` allows none. The flux
    is relative to the median of the night: EXOFAST fits the level.

    The format is described in `readtran.pro` of https://github.com/jdeast/EXOFASTv2 and at
    https://exoplanetarchive.ipac.caltech.edu/docs/exofast/transit_upload.html.
    """

    source: str = ""  # the source to write; empty: every one, in files of its own
    telescope: str = ""  # in the file's name; empty: the instrument's name
    filters: Mapping[str, str] = attrs.field(factory=dict)  # band of the light curve = filter of EXOFAST
    detrend: tuple[str, ...] = ()  # columns of the light curve to detrend by, such as airmass, x, y or seeing_pixels
    results_version: ClassVar[int] = 1
    suffix: ClassVar[str] = "dat"

    def files(self, light_curve: Table) -> Mapping[str, Table]:
        """Return a file for each night, instrument, band and source."""
        several = len(sources_of(light_curve, self.source)) > 1
        found: dict[str, Table] = {}
        for instrument, band, group in parts_by_group(light_curve):
            name = filter_named(band, self.filters, FILTERS, "EXOFAST")
            for night in parts_by_night(group):
                for source, part in parts_by_source(night, self.source):
                    who = in_name(self.telescope or instrument) + (f"-{in_name(source)}" if several else "")
                    found[free_name(found, f"n{first_date(night)}.{name}.{who}", ".dat")] = part
        return found

    def export(self, light_curve: Table, path: Path) -> None:
        """Write a night of one source, instrument and band.

        Raises
        ------
        UnusableInput
            Where there is more than that, no barycentric time, or no column to detrend by.
        """
        epochs = require_barycentric(epochs_of(light_curve, one_source(light_curve, self.source, "EXOFAST")))
        filter_named(epochs.band, self.filters, FILTERS, "EXOFAST")
        write_lines(path, transit_rows(epochs, epochs.bjd_tdb, detrending(epochs, self.detrend)))

    def recognises(self, path: Path) -> bool:
        """Return whether the file is named as EXOFASTv2 wants it."""
        return _NAME.fullmatch(path.name) is not None

    def faults(self, path: Path) -> Sequence[FileFault]:
        """Return what is wrong in the name, the columns, and the level of the flux."""
        faults = Faults()
        if match := _NAME.fullmatch(path.name):
            if match["filter"] not in (*FILTERS.values(), *_OTHER_FILTERS):
                faults.add(f'EXOFAST has no filter "{match["filter"]}", the second part of the file\'s name')
        else:
            faults.add("the file must be called nYYYYMMDD.FILTER.TELESCOPE.dat")
        count, fluxes, last = 0, [], -np.inf
        for number, line in enumerate(text_lines(path, faults), 1):
            values = line.split()
            if not values or values[0].startswith("#"):
                faults.add("comments, names of columns and empty lines are not allowed", number)
                continue
            count = count or len(values)
            if len(values) < 3 or len(values) != count:
                faults.add(
                    f"{len(values)} values: BJD_TDB, flux, error are wanted, and as many more in each line", number
                )
                continue
            time = faults.julian(values[0], number, "1 (BJD_TDB)")
            fluxes.append(faults.number(values[1], number, "2 (flux)"))
            faults.number(values[2], number, "3 (error)", 1e-9, 1.0, "an error of a relative flux")
            for k, value in enumerate(values[3:], 4):
                faults.number(value, number, f"{k} (detrending)")
            if time <= last:
                faults.add("the times must rise", number, "1 (BJD_TDB)")
            last = time if np.isfinite(time) else last
        faults.level(fluxes, "2 (flux)")
        return faults.found


@hookimpl
def lcf_exporters() -> dict[str, type[Exofast]]:
    """Offer the format."""
    return {"exofast": Exofast}
