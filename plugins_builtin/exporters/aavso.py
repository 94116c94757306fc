"""Light curves in the AAVSO's extended format."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
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
#: The AAVSO's codes of filters (its page "AAVSO Extended File Format"). Case matters: R and I are Cousins', U is
#: Johnson's; r, i and u are Sloan's. Bands of Tycho and Gaia have no code.
AAVSO_FILTERS = {
    "U": "U", "B": "B", "b": "B", "V": "V", "v": "V", "R": "R", "Rc": "R", "R_c": "R", "R_C": "R", "RC": "R",
    "I": "I", "Ic": "I", "I_c": "I", "I_C": "I", "IC": "I", "R_J": "RJ", "RJ": "RJ", "I_J": "IJ", "IJ": "IJ",
    "u": "SU", "g": "SG", "r": "SR", "i": "SI", "z": "SZ", "y": "Y", "J": "J", "H": "H", "K": "K", "Ks": "K",
    "j": "J", "h": "H", "k": "K", "ks": "K",
}  # fmt: skip
#: Names of filters in words, in lower case.
_IN_WORDS = {
    "clear": "CV", "none": "CV", "": "CV", "luminance": "CV", "l": "CV", "red": "TR", "green": "TG", "blue": "TB",
    "halpha": "HA", "h-alpha": "HA", "ha": "HA",
}  # fmt: skip
#: What says of which system a band is, before or behind its letter.
_SLOAN = re.compile(r"^(?:sdss|sloan)[ _.-]?([ugriz])$|^([ugriz])['p]?[ _.-]?(?:sdss|sloan|prime)?$", re.IGNORECASE)
_PANSTARRS = re.compile(r"^(?:ps1?|panstarrs)[ _.-]?([grizy])$|^([grizy])[ _.-]?(?:ps1?|panstarrs)$", re.IGNORECASE)
_AUTHORS = "(?:johnson|bessell|cousins)"
_JOHNSON = re.compile(rf"^{_AUTHORS}[ _.-]?([UBVRI])$|^([UBVRI])[ _.-]?{_AUTHORS}$", re.IGNORECASE)
_OTHER = "O"


def aavso_filter(band: str) -> str:
    """Return the AAVSO's code of a band; O, its "other", where it has none for it."""
    name = band.strip()
    if code := AAVSO_FILTERS.get(name) or _IN_WORDS.get(name.lower()):
        return code
    if match := _JOHNSON.match(name):
        return AAVSO_FILTERS[(match[1] or match[2]).upper()]
    if match := _PANSTARRS.match(name):
        letter = (match[1] or match[2]).lower()
        return {"z": "ZS", "y": "Y"}.get(letter, AAVSO_FILTERS[letter])
    match = _SLOAN.match(name)
    return AAVSO_FILTERS[(match[1] or match[2]).lower()] if match and len(name) > 1 else _OTHER


@attrs.frozen
class Aavso:
    """The AAVSO's extended format: one line an epoch and source, sources told apart by their names.

    The observer's code must be right before a file is submitted, and the stars' names those of the AAVSO's Variable
    Star Index: give them by `object_name` or `names`. Bands that the AAVSO has no code for become O, with the band in
    the notes.
    """

    observer: str = "none"  # the observer's AAVSO code
    object_name: str = ""  # empty: the region's name; sources are named "<object> <source>" where there are several
    names: Mapping[str, str] = attrs.field(factory=dict)  # source of the light curve = its name in the VSX
    check_star: str = ""  # letter of the reference star that is the check star; empty: the steadiest
    min_signal: float = attrs.field(default=3.0, validator=positive)  # sigma; below: a fainter-than
    chart: str = "na"  # the chart's identifier
    filters: Mapping[str, str] = attrs.field(factory=dict)  # band of the light curve = filter of the AAVSO
    results_version: ClassVar[int] = 2
    suffix: ClassVar[str] = "aavso.txt"

    def export(self, light_curve: Table, path: Path) -> None:
        """Write the light curve in the extended format.

        Epochs without a magnitude and without a flux from which a limit follows are left out.
        """
        table = plain_table(light_curve)
        lines = [
            "#TYPE=Extended", f"#OBSCODE={self.observer}", f"#SOFTWARE=lcframework {metadata.version('lcframework')}",
            "#DELIM=,", "#DATE=JD", "#OBSTYPE=CCD",
            *([] if self.object_name or self.names else ["# NAME is the project's, not the VSX's: see object_name"]),
            "#NAME,DATE,MAG,MERR,FILT,TRANS,MTYPE,CNAME,CMAG,KNAME,KMAG,AMASS,GROUP,CHART,NOTES",
        ]  # fmt: skip
        names, system = source_names(table.colnames), magnitude_system(table)
        checks: Sequence[tuple[str, float]] = table.meta.get("check_star", ())
        for name in names:
            for i, row in enumerate(table):
                check = checks[i] if i < len(checks) else ("na", math.nan)
                line = self._line(row, name, self._object(table, name, len(names) > 1), table.colnames, system, check)
                if line:
                    lines.append(line)
        with whole_file(path) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="ascii", errors="replace")

    def _object(self, table: Table, source: str, several: bool) -> str:
        if source in self.names:
            return self.names[source].replace(",", " ")
        base = self.object_name or str(table.meta.get("roi", ""))
        name = f"{base} {source}".strip() if several or not base else base
        return name.replace(",", " ")

    def _line(
        self, row: Any, source: str, name: str, columns: Sequence[str], system: str, check: tuple[str, float]
    ) -> str:
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
        band = str(row["band"])
        code = self._filter(band)
        notes = self._notes(row, columns, system, band if code == _OTHER else "")
        kname, kmag = (check[0].replace(",", " "), f"{check[1]:.3f}") if math.isfinite(check[1]) else ("na", "na")
        return ",".join((
            name, jd, mag, merr, code, "NO", "STD", "ENSEMBLE", "na", kname, kmag, amass, "na", self.chart, notes,
        ))  # fmt: skip

    def _filter(self, band: str) -> str:
        key = band.strip()
        given = {k.lower(): v for k, v in self.filters.items()}
        return self.filters.get(key) or given.get(key.lower()) or aavso_filter(key)

    @staticmethod
    def _notes(row: Any, columns: Sequence[str], system: str, band: str) -> str:
        parts = ["PSF photometry", *([f"{system} magnitudes"] if system else [])]
        if band:
            parts.append(f"band {band}".replace(",", " "))
        if "bjd_tdb" in columns and math.isfinite(float(row["bjd_tdb"])):
            parts.append(f"BJD_TDB {float(row['bjd_tdb']):.6f}")
        if "flags" in columns and int(row["flags"]):
            parts.append(f"flags {int(row['flags'])}")
        return "; ".join(parts)


@hookimpl
def lcf_exporters() -> dict[str, type[Aavso]]:
    """Offer the format."""
    return {"aavso": Aavso}
