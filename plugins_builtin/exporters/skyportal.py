"""Light curves for the upload form of SkyPortal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import FileFault, UnusableInput
from plugins_builtin.shared.aavso_filters import filter_named, panstarrs_letter
from plugins_builtin.shared.exported_epochs import (
    epochs_of,
    files_by_source,
    one_source,
    parts_by_group,
    require_calibrated,
    require_own_band,
)
from plugins_builtin.shared.file_faults import Faults, first_lines, text_lines
from plugins_builtin.shared.light_curve_tables import write_lines

if TYPE_CHECKING:
    from astropy.table import Table

#: sncosmo's names of bandpasses, which SkyPortal goes by, by the AAVSO's codes.
FILTERS = {
    "U": "bessellux", "B": "bessellb", "V": "bessellv", "R": "bessellr", "I": "besselli",
    "SU": "sdssu", "SG": "sdssg", "SR": "sdssr", "SI": "sdssi", "SZ": "sdssz",
    "J": "2massj", "H": "2massh", "K": "2massks", "ZS": "ps1::z", "Y": "ps1::y",
}  # fmt: skip
_COLUMNS = ("mjd", "flux", "fluxerr", "zp", "magsys", "filter")
_BY_MAGNITUDE = ("mjd", "mag", "magerr", "limiting_mag", "magsys", "filter")


@attrs.frozen
class SkyPortal:
    """SkyPortal's photometry as CSV: mjd, flux, fluxerr, zp, magsys, filter; a file a source.

    Fluxes stand as they are, negative ones too, and ``zp`` makes them magnitudes, so that nothing is lost and SkyPortal
    works out limits by itself. Times are UTC, of the middle of exposures. All bands of a source are in one file; the
    instrument is chosen in the form, or by `instrument_id`.

    The format is that of "Upload photometry", https://skyportal.io/docs, and of `static/js/components/photometry/
    UploadPhotometry` and `skyportal/handlers/api/photometry.py` of https://github.com/skyportal/skyportal.
    """

    source: str = ""  # the source to write; empty: every one, in files of its own
    filters: Mapping[str, str] = attrs.field(factory=dict)  # band of the light curve = bandpass of SkyPortal (sncosmo)
    instrument_id: int = 0  # SkyPortal's number of the instrument; 0: it is chosen in the form
    results_version: ClassVar[int] = 2
    suffix: ClassVar[str] = "skyportal.csv"

    def files(self, light_curve: Table) -> Mapping[str, Table]:
        """Return a file for each source."""
        return files_by_source(light_curve, self.source, self.suffix)

    def export(self, light_curve: Table, path: Path) -> None:
        """Write the epochs of one source.

        Raises
        ------
        UnusableInput
            Where there are several sources, a band has no bandpass, or the magnitudes are not calibrated, or by another
            band.
        """
        source = one_source(light_curve, self.source, "SkyPortal")
        lines = []
        for _, band, group in parts_by_group(light_curve):
            epochs = require_calibrated(epochs_of(group, source))
            if not epochs.system:
                raise UnusableInput(
                    "the light curve does not say of which system its magnitudes are: see [calibration]"
                )
            require_own_band(epochs, self.filters)
            letter = panstarrs_letter(band)
            own = letter and band not in self.filters
            name = f"ps1::{letter}" if own else filter_named(band, self.filters, FILTERS, "SkyPortal")
            for i in range(len(epochs.mjd)):
                values = [f"{epochs.mjd[i]:.8f}", f"{epochs.flux[i]:.6g}", f"{epochs.flux_error[i]:.6g}"]
                values += [f"{epochs.zeropoint[i]:.4f}", epochs.system.lower(), name]
                lines.append(
                    (float(epochs.mjd[i]), [*values, *([str(self.instrument_id)] if self.instrument_id else [])])
                )
        head = [*_COLUMNS, *(["instrument_id"] if self.instrument_id else [])]
        rows = [",".join(values) for _, values in sorted(lines)]
        write_lines(path, [",".join(head), *rows])

    def recognises(self, path: Path) -> bool:
        """Return whether the first line names SkyPortal's columns, of fluxes or of magnitudes."""
        names = {name.strip() for line in first_lines(path) for name in line.split(",")}
        return "magsys" in names and "filter" in names

    def faults(self, path: Path) -> Sequence[FileFault]:
        """Return what SkyPortal refuses: columns that are missing, systems, numbers, magnitudes without a limit."""
        faults = Faults()
        lines = text_lines(path, faults)
        names = [n.strip() for n in lines[0].split(",")]
        by_flux = "flux" in names
        faults.missing(names, _COLUMNS if by_flux else _BY_MAGNITUDE, 1)
        for number, line in enumerate(lines[1:], 2):
            row = faults.columns([v.strip() for v in line.split(",")], names, number)
            for name, value in row.items():
                if name == "mjd":
                    faults.modified_julian(value, number, name)
                elif name == "magsys":
                    faults.one_of(value, ("ab", "vega"), number, name)
                elif name == "filter" and not value:
                    faults.add("it is empty", number, name)
                elif name in ("fluxerr", "magerr") and value:
                    faults.number(value, number, name, 0.0, np.inf, "an error")
                elif name in ("flux", "zp", "mag", "limiting_mag") and (value or name in ("zp", "limiting_mag")):
                    faults.number(value, number, name)
            if row and by_flux and not row.get("fluxerr"):
                faults.add("a flux without an error", number, "fluxerr")
        return faults.found


@hookimpl
def lcf_exporters() -> dict[str, type[SkyPortal]]:
    """Offer the format."""
    return {"skyportal": SkyPortal}
