"""Light curves in the AAVSO's extended format."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from lcframework.hookspecs import hookimpl
from lcframework.options import positive
from lcframework.types import FileFault, UnusableInput, source_names
from plugins_builtin.shared.aavso_filters import OTHER
from plugins_builtin.shared.calibrated_bands import BandCalibration, calibration_of, reported_filter
from plugins_builtin.shared.exported_epochs import MJD_TO_JD
from plugins_builtin.shared.file_faults import Faults, first_lines, text_lines
from plugins_builtin.shared.light_curve_tables import plain_table, write_lines

if TYPE_CHECKING:
    from astropy.table import Table

_COLUMNS = (
    "NAME", "DATE", "MAG", "MERR", "FILT", "TRANS", "MTYPE", "CNAME", "CMAG", "KNAME", "KMAG", "AMASS", "GROUP",
    "CHART", "NOTES",
)  # fmt: skip
#: How many characters the fields may have.
_LONGEST = {
    "NAME": 30, "DATE": 16, "MAG": 8, "MERR": 6, "FILT": 5, "CNAME": 20, "CMAG": 8, "KNAME": 20, "KMAG": 8, "AMASS": 7,
    "GROUP": 5, "CHART": 20,
}  # fmt: skip
_HEAD = ("TYPE", "OBSCODE", "SOFTWARE", "DELIM", "DATE", "OBSTYPE")
_CODES = (
    "U", "B", "V", "R", "I", "J", "H", "K", "TG", "TB", "TR", "CV", "CR", "SZ", "SU", "SG", "SR", "SI", "STU", "STV",
    "STB", "STY", "STHBW", "STHBN", "MA", "MB", "MI", "ZS", "Y", "HA", "HAC", "CBB", "RJ", "IJ", "O",
)  # fmt: skip


@attrs.frozen
class Aavso:
    """The AAVSO's extended format: one line an epoch and source, sources told apart by their names.

    The observer's code must be right before a file is submitted, and the stars' names those of the AAVSO's Variable
    Star Index: give them by `object_name` or `names`. Bands that the AAVSO has no code for become O, with the band in
    the notes. The check star is a reference star; where the project names a sequence of the AAVSO, stars are called by
    it and the chart goes along.

    The format is described at https://www.aavso.org/aavso-extended-file-format (version 1.2).
    """

    observer: str = "none"  # the observer's AAVSO code
    object_name: str = ""  # empty: the region's name; sources are named "<object> <source>" where there are several
    names: Mapping[str, str] = attrs.field(factory=dict)  # source of the light curve = its name in the VSX
    check_star: str = ""  # letter of the reference star that is the check star; empty: the steadiest
    min_signal: float = attrs.field(default=3.0, validator=positive)  # sigma; below: a fainter-than
    chart: str = "na"  # the chart's identifier; na: that of the project's sequence
    filters: Mapping[str, str] = attrs.field(factory=dict)  # band of the light curve = filter of the AAVSO
    results_version: ClassVar[int] = 4
    suffix: ClassVar[str] = "aavso.txt"

    def export(self, light_curve: Table, path: Path) -> None:
        """Write the light curve in the extended format.

        Epochs without a magnitude and without a flux from which a limit follows are left out.

        Raises
        ------
        UnusableInput
            Where no epoch has a zero point, its zero point is that of another band than its filter's, or a star's name
            is longer than the format allows.
        """
        table = plain_table(light_curve)
        lines = [
            "#TYPE=Extended", f"#OBSCODE={self.observer}", f"#SOFTWARE=lcframework {metadata.version('lcframework')}",
            "#DELIM=,", "#DATE=JD", "#OBSTYPE=CCD",
            *([] if self.object_name or self.names else ["# NAME is the project's, not the VSX's: see object_name"]),
            "#NAME,DATE,MAG,MERR,FILT,TRANS,MTYPE,CNAME,CMAG,KNAME,KMAG,AMASS,GROUP,CHART,NOTES",
        ]  # fmt: skip
        names = source_names(table.colnames)

        @functools.cache
        def reported(instrument: str, band: str) -> tuple[BandCalibration, str]:
            calibration = calibration_of(table, instrument, band)
            return calibration, reported_filter(band, calibration, self.filters)

        checks: Sequence[tuple[str, float]] = table.meta.get("check_star", ())
        for name in names:
            for i, row in enumerate(table):
                check = checks[i] if i < len(checks) else ("na", math.nan)
                called = self._object(table, name, len(names) > 1)
                line = self._line(row, name, called, table, reported, check)
                if line:
                    lines.append(line)
        if not any(line[0] != "#" for line in lines):
            raise UnusableInput(
                "no epoch has a magnitude or a limit: set [calibration] to a survey that has the band, and run again"
            )
        write_lines(path, lines)

    def _object(self, table: Table, source: str, several: bool) -> str:
        base = self.object_name or str(table.meta.get("roi", ""))
        name = self.names.get(source) or (f"{base} {source}".strip() if several or not base else base)
        if len(name) > _LONGEST["NAME"]:
            longest = _LONGEST["NAME"]
            raise UnusableInput(f'"{name}" has more than {longest} letters: give another by names or object_name')
        return name.replace(",", " ")

    def _line(
        self, row: Any, source: str, name: str, table: Table,
        reported: Callable[[str, str], tuple[BandCalibration, str]], check: tuple[str, float],
    ) -> str:  # fmt: skip
        columns = table.colnames
        flux, error, zeropoint = (float(row[c]) for c in (f"{source}_flux", f"{source}_d_flux", "zeropoint"))
        if not (math.isfinite(flux) and math.isfinite(error) and math.isfinite(zeropoint) and error > 0):
            return ""
        if flux >= self.min_signal * error:
            mag, merr = f"{zeropoint - 2.5 * math.log10(flux):.4f}", f"{2.5 / math.log(10) * error / flux:.4f}"
        else:
            limit = max(flux, 0.0) + self.min_signal * error
            mag, merr = f"<{zeropoint - 2.5 * math.log10(limit):.3f}", "na"
        jd = f"{float(row['mjd']) + MJD_TO_JD:.6f}"
        airmass = float(row["airmass"]) if "airmass" in columns else math.nan
        amass = f"{airmass:.3f}" if math.isfinite(airmass) else "na"
        band = str(row["band"])
        calibration, code = reported(str(row["instrument"]), band)
        chart = self.chart if self.chart != "na" else str(table.meta.get("chart", "") or "na")
        notes = self._notes(row, columns, calibration, band if code == OTHER else "")
        kname, kmag = (_short(check[0]), f"{check[1]:.3f}") if math.isfinite(check[1]) else ("na", "na")
        return ",".join((
            name, jd, mag, merr, code, "NO", "STD", "ENSEMBLE", "na", kname, kmag, amass, "na", chart, notes,
        ))  # fmt: skip

    @staticmethod
    def _notes(row: Any, columns: Sequence[str], calibration: BandCalibration, band: str) -> str:
        parts = ["PSF photometry", *([f"{calibration.system} magnitudes"] if calibration.system else [])]
        if calibration.band:
            parts.append(f"zero point of {calibration.band}".replace(",", " "))
        if band:
            parts.append(f"band {band}".replace(",", " "))
        if "bjd_tdb" in columns and math.isfinite(float(row["bjd_tdb"])):
            parts.append(f"BJD_TDB {float(row['bjd_tdb']):.6f}")
        if "flags" in columns and int(row["flags"]):
            parts.append(f"flags {int(row['flags'])}")
        return "; ".join(parts)

    def recognises(self, path: Path) -> bool:
        """Return whether the first line is that of the extended format."""
        return any(line.upper().startswith("#TYPE=EXTENDED") for line in first_lines(path))

    def faults(self, path: Path) -> Sequence[FileFault]:
        """Return what the AAVSO refuses: parameters, lengths, filters, dates, magnitudes, and lines that are empty."""
        faults, head = Faults(), {}
        lines = text_lines(path, faults)
        delimiter = ","
        for number, line in enumerate(lines, 1):
            name, equals, value = line.removeprefix("#").partition("=")
            if line.startswith("#") and equals and name.upper() in _HEAD:
                head[name.upper()] = (number, value.strip())
                if name.upper() == "DELIM":
                    delimiter = {"comma": ",", "tab": "\t"}.get(value.strip().lower(), value or ",")
            elif not line.strip():
                faults.add("empty lines are refused", number)
            elif not line.startswith("#"):
                row = faults.columns(line.split(delimiter), list(_COLUMNS), number)
                _check_line(faults, row, number, head.get("DATE", (0, "JD"))[1])
        _check_head(faults, path, head)
        return sorted(faults.found, key=lambda f: f.line)


def _short(name: str) -> str:
    """Return the name of a check star within the length that the format allows: its identifier, without its letter."""
    name = name.replace(",", " ")
    return name if len(name) <= _LONGEST["KNAME"] else name.split()[-1][: _LONGEST["KNAME"]]


def _check_head(faults: Faults, path: Path, head: Mapping[str, tuple[int, str]]) -> None:
    if path.suffix not in (".txt", ".csv", ".tsv"):
        faults.add("the file's name must end in .txt, .csv or .tsv")
    faults.missing(head, _HEAD, 0, "the parameter")
    number, code = head.get("OBSCODE", (0, "X"))
    faults.observer(code, number, "OBSCODE")
    number, kind = head.get("DATE", (0, "JD"))
    faults.one_of(kind.upper(), ("JD", "HJD", "EXCEL"), number, "DATE")
    number, kind = head.get("OBSTYPE", (0, "CCD"))
    faults.one_of(kind.upper(), ("CCD", "CMOS", "DSLR", "PEP"), number, "OBSTYPE")


def _check_line(faults: Faults, row: Mapping[str, str], number: int, dates: str) -> None:
    for name, value in row.items():
        if len(value) > (longest := _LONGEST.get(name, 10000)):
            faults.add(f'"{value}" has more than {longest} characters', number, name)
        elif not value.strip():
            faults.add('it is empty: "na" stands for what there is not', number, name)
        elif name == "DATE" and dates.upper() != "EXCEL":
            faults.julian(value, number, name)
        elif name == "MAG":
            faults.number(value.removeprefix("<"), number, name, -30.0, 50.0, "a magnitude")
            if "." not in value:
                faults.add("a magnitude needs a full stop, such as 9.0", number, name)
        elif name in ("MERR", "CMAG", "KMAG", "AMASS") and value.lower() != "na":
            faults.number(value, number, name, -30.0, 100.0, "it")
        elif name == "FILT":
            faults.one_of(value.upper(), _CODES, number, name)
        elif name == "TRANS":
            faults.one_of(value.upper(), ("YES", "NO"), number, name)
        elif name == "MTYPE":
            faults.one_of(value.upper(), ("STD", "DIF", "STEP"), number, name)


@hookimpl
def lcf_exporters() -> dict[str, type[Aavso]]:
    """Offer the format."""
    return {"aavso": Aavso}
