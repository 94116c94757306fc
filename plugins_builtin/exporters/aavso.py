"""Light curves in the AAVSO's extended format."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from lcframework.hookspecs import hookimpl
from lcframework.options import positive
from lcframework.types import source_names
from plugins_builtin.shared.light_curve_tables import magnitude_system, plain_table, whole_file

if TYPE_CHECKING:
    from astropy.table import Table

_MJD_TO_JD = 2400000.5
#: What the AAVSO calls bands; a band's name is compared in lower case, without "_sdss" and the like.
AAVSO_FILTERS = {
    "u": "SU", "g": "SG", "r": "SR", "i": "SI", "z": "SZ", "y": "Y", "sdss_r": "SR", "r_sdss": "SR", "g_sdss": "SG",
    "i_sdss": "SI", "z_sdss": "SZ", "u_sdss": "SU", "b": "B", "v": "V", "rc": "R", "r_c": "R", "ic": "I", "i_c": "I",
    "clear": "CV", "none": "CV", "": "CV", "luminance": "CV", "l": "CV", "red": "TR", "green": "TG", "blue": "TB",
    "j": "J", "h": "H", "k": "K", "ks": "K", "halpha": "HA", "ha": "HA",
}  # fmt: skip


@attrs.frozen
class Aavso:
    """The AAVSO's extended format: one line an epoch and source, sources told apart by their names.

    The observer's code and the stars' names as the AAVSO's index knows them must be right before a file is submitted.
    """

    observer: str = "none"  # the observer's AAVSO code
    object_name: str = ""  # empty: the region's name; sources are named "<object> <source>" where there are several
    min_signal: float = attrs.field(default=3.0, validator=positive)  # sigma; below: a fainter-than
    chart: str = "na"  # the chart's identifier
    filters: Mapping[str, str] = attrs.field(factory=dict)  # band of the light curve = filter of the AAVSO
    results_version: ClassVar[int] = 1
    suffix: ClassVar[str] = "aavso.txt"

    def export(self, light_curve: Table, path: Path) -> None:
        """Write the light curve in the extended format.

        Epochs without a magnitude and without a flux from which a limit follows are left out.
        """
        table = plain_table(light_curve)
        lines = [
            "#TYPE=Extended", f"#OBSCODE={self.observer}", "#SOFTWARE=lcframework", "#DELIM=,", "#DATE=JD",
            "#OBSTYPE=CCD",
            "#NAME,DATE,MAG,MERR,FILT,TRANS,MTYPE,CNAME,CMAG,KNAME,KMAG,AMASS,GROUP,CHART,NOTES",
        ]  # fmt: skip
        names, system = source_names(table.colnames), magnitude_system(table)
        for name in names:
            for row in table:
                line = self._line(row, name, self._object(table, name, len(names) > 1), table.colnames, system)
                if line:
                    lines.append(line)
        with whole_file(path) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="ascii", errors="replace")

    def _object(self, table: Table, source: str, several: bool) -> str:
        base = self.object_name or str(table.meta.get("roi", ""))
        name = f"{base} {source}".strip() if several or not base else base
        return name.replace(",", " ")

    def _line(self, row: Any, source: str, name: str, columns: Sequence[str], system: str) -> str:
        flux, error, zeropoint = (float(row[c]) for c in (f"{source}_flux", f"{source}_d_flux", "zeropoint"))
        if not (math.isfinite(flux) and math.isfinite(error) and math.isfinite(zeropoint) and error > 0):
            return ""
        if flux >= self.min_signal * error:
            mag, merr = f"{zeropoint - 2.5 * math.log10(flux):.4f}", f"{2.5 / math.log(10) * error / flux:.4f}"
        else:
            limit = max(flux, 0.0) + self.min_signal * error
            mag, merr = f"<{zeropoint - 2.5 * math.log10(limit):.3f}", "na"
        jd = f"{float(row['mjd']) + _MJD_TO_JD:.6f}"
        airmass = float(row["airmass"]) if "airmass" in columns else math.nan
        amass = f"{airmass:.3f}" if math.isfinite(airmass) else "na"
        notes = self._notes(row, columns, system)
        return ",".join((
            name, jd, mag, merr, self._filter(str(row["band"])), "NO", "STD", "ENSEMBLE", "na", "na", "na", amass, "na",
            self.chart, notes,
        ))  # fmt: skip

    def _filter(self, band: str) -> str:
        given = {k.lower(): v for k, v in self.filters.items()}
        key = band.strip().lower()
        return given.get(key) or AAVSO_FILTERS.get(key) or AAVSO_FILTERS.get(key.split("_")[0].split(".")[0], "O")

    @staticmethod
    def _notes(row: Any, columns: Sequence[str], system: str) -> str:
        parts = ["PSF photometry", *([f"{system} magnitudes"] if system else [])]
        if "bjd_tdb" in columns and math.isfinite(float(row["bjd_tdb"])):
            parts.append(f"BJD_TDB {float(row['bjd_tdb']):.6f}")
        if "flags" in columns and int(row["flags"]):
            parts.append(f"flags {int(row['flags'])}")
        return "; ".join(parts)


@hookimpl
def lcf_exporters() -> dict[str, type[Aavso]]:
    """Offer the format."""
    return {"aavso": Aavso}
