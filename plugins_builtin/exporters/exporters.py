"""Light curves for other programs: ECSV, VOTable, CSV, and the AAVSO's extended format."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
from astropy.table import MaskedColumn, Table

from lcframework.hookspecs import hookimpl

#: Units of columns by the ends or beginnings of their names, where a table comes without.
_UNITS = (
    ("mjd", "d"), ("bjd_tdb", "d"), ("seeing", "arcsec"), ("zeropoint", "mag"), ("zeropoint_error", "mag"),
)  # fmt: skip
_SOURCE_UNITS = {
    "_flux": "electron / s", "_d_flux": "electron / s", "_d_flux_fit": "electron / s", "_d_flux_common": "electron / s",
    "_mag": "mag", "_d_mag_down": "mag", "_d_mag_up": "mag",
}  # fmt: skip
_MJD_TO_JD = 2400000.5
#: What the AAVSO calls bands; a band's name is compared in lower case, without "_sdss" and the like.
AAVSO_FILTERS = {
    "u": "SU", "g": "SG", "r": "SR", "i": "SI", "z": "SZ", "y": "Y", "sdss_r": "SR", "r_sdss": "SR", "g_sdss": "SG",
    "i_sdss": "SI", "z_sdss": "SZ", "u_sdss": "SU", "b": "B", "v": "V", "rc": "R", "r_c": "R", "ic": "I", "i_c": "I",
    "clear": "CV", "none": "CV", "": "CV", "luminance": "CV", "l": "CV", "red": "TR", "green": "TG", "blue": "TB",
    "j": "J", "h": "H", "k": "K", "ks": "K", "halpha": "HA", "ha": "HA",
}  # fmt: skip


def source_names(columns: Sequence[str]) -> list[str]:
    """Return the point sources that a light curve has columns of."""
    return [c.removesuffix("_d_flux") for c in columns if c.endswith("_d_flux") and f"{c[:-7]}_flux" in columns]


def plain_table(light_curve: Table) -> Table:
    """Return a light curve as a plain table with units; times as numbers alone.

    A `TimeSeries` has its time a second time, as an object that only some formats can hold.
    """
    out = Table()
    out.meta.update(light_curve.meta)
    for name in light_curve.colnames:
        column = light_curve[name]
        if type(column).__name__ == "Time":
            if "mjd" not in light_curve.colnames:
                out["mjd"] = column.utc.mjd
            continue
        values = getattr(column, "value", column)
        unit = getattr(column, "unit", None)
        out[name] = values
        wanted = unit if unit is not None else unit_of(name)
        if wanted is not None:
            out[name].unit = wanted
    return out


def unit_of(name: str) -> str | None:
    """Return the unit of one of a light curve's columns, or None."""
    exact = dict(_UNITS).get(name)
    if exact is not None:
        return exact
    ends = sorted(_SOURCE_UNITS, key=len, reverse=True)
    return next((_SOURCE_UNITS[end] for end in ends if name.endswith(end)), None)


def magnitude_system(table: Table) -> str:
    """Return "AB" or "Vega", or an empty string where the light curve does not say."""
    system = str(table.meta.get("magnitude_system") or table.meta.get("system") or "")
    return "" if system == "none" else system


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Give a temporary name; the file gets its own only when it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@attrs.frozen
class Ecsv:
    """Enhanced CSV: every column with its unit, and the metadata."""

    results_version: ClassVar[int] = 1
    suffix: ClassVar[str] = "ecsv"

    def export(self, light_curve: Table, path: Path) -> None:
        """Write the light curve as ECSV."""
        with _whole(path) as temporary:
            plain_table(light_curve).write(temporary, format="ascii.ecsv", overwrite=True)


@attrs.frozen
class Csv:
    """Comma-separated values with one line of column names."""

    results_version: ClassVar[int] = 1
    suffix: ClassVar[str] = "csv"

    def export(self, light_curve: Table, path: Path) -> None:
        """Write the light curve as CSV; what is unknown is left empty."""
        table = plain_table(light_curve)
        for name in table.colnames:
            values = np.asarray(table[name])
            if values.dtype.kind == "f" and np.isnan(values).any():
                table[name] = MaskedColumn(values, mask=np.isnan(values))
        with _whole(path) as temporary:
            table.write(temporary, format="ascii.csv", overwrite=True)


@attrs.frozen
class VoTable:
    """VOTable 1.4 with units, UCDs, descriptions and time systems."""

    results_version: ClassVar[int] = 1
    suffix: ClassVar[str] = "vot"

    def export(self, light_curve: Table, path: Path) -> None:
        """Write the light curve as a VOTable."""
        from astropy import units
        from astropy.io.votable.tree import TimeSys, VOTableFile

        table = plain_table(light_curve)
        system = magnitude_system(table)
        table.meta.clear()
        # The standard has no electron; a quoted unit is what it provides for that.
        rate = units.Unit("'electron'.s**-1", format="vounit")
        for name in table.colnames:
            if table[name].unit == units.electron / units.s:
                table[name].unit = rate
        votable = VOTableFile.from_table(table)
        votable.version = "1.4"
        resource = votable.resources[0]
        rules = {"version": "1.4", "version_1_4_or_later": True}
        resource.time_systems.append(TimeSys(
            ID="time_utc", timeorigin="MJD-origin", timescale="UTC", refposition="TOPOCENTER",
            config=rules,
        ))  # fmt: skip
        resource.time_systems.append(TimeSys(
            ID="time_bjd_tdb", timeorigin="JD-origin", timescale="TDB", refposition="BARYCENTER",
            config=rules,
        ))  # fmt: skip
        for field in votable.get_first_table().fields:
            ucd, description = meaning(field.name, system)
            if ucd:
                field.ucd = ucd
            if description:
                field.description = description
            if field.name in ("mjd", "bjd_tdb"):
                field.ref = "time_utc" if field.name == "mjd" else "time_bjd_tdb"
        with _whole(path) as temporary:
            votable.to_xml(str(temporary), tabledata_format="tabledata")


_MEANINGS = {
    "frame_id": ("meta.id", "row of the table frames"),
    "mjd": ("time.epoch", "MJD (UTC), middle of the exposure"),
    "bjd_tdb": ("time.epoch", "barycentric Julian date (TDB), middle of the exposure"),
    "band": ("meta.id;instr.bandpass", "band"),
    "instrument": ("meta.id;instr", "instrument"),
    "zeropoint": ("phot.mag;arith.zp", "magnitude of 1 electron per second"),
    "zeropoint_error": ("stat.error;phot.mag;arith.zp", "error of the zero point; moves all light curves together"),
    "reduced_chi2": ("stat.fit.chi2", "reduced chi2 of the epoch's fit"),
    "seeing": ("instr.obsty.seeing", "full width at half maximum of the stars"),
    "flags": ("meta.code.qual", "sum of flags; 0: nothing odd"),
    "relative_normalization_error": ("stat.error;phot.flux;arith.ratio", "relative error of the frame's coefficient"),
    "relative_extra_scatter": ("stat.error;phot.flux;arith.ratio", "relative scatter beyond the errors, as stars show"),
}
_SOURCE_MEANINGS = {
    "_flux": ("phot.flux", "flux of {}, normalised"),
    "_d_flux": ("stat.error;phot.flux", "random error of the flux of {}: fit, normalization, scatter"),
    "_d_flux_fit": ("stat.error;phot.flux", "the fit's part of the random error of the flux of {}"),
    "_d_flux_common": ("stat.error.sys;phot.flux", "error that moves the whole light curve of {}"),
    "_mag": ("phot.mag", "{}magnitude of {{}}"),
    "_d_mag_down": ("stat.error;phot.mag", "random error of the magnitude of {} towards fainter"),
    "_d_mag_up": ("stat.error;phot.mag", "random error of the magnitude of {} towards brighter"),
}


def meaning(name: str, system: str) -> tuple[str, str]:
    """Return a column's UCD and description; empty where it is none of a light curve's."""
    if name in _MEANINGS:
        return _MEANINGS[name]
    for end in sorted(_SOURCE_MEANINGS, key=len, reverse=True):
        if name.endswith(end):
            ucd, text = _SOURCE_MEANINGS[end]
            if end == "_mag":
                text = text.format(f"{system} " if system else "")
            return ucd, text.format(name.removesuffix(end))
    return "", ""


@attrs.frozen
class Aavso:
    """The AAVSO's extended format: one line an epoch and source, sources told apart by their names.

    The observer's code and the stars' names as the AAVSO's index knows them must be right before a file is submitted.
    """

    observer: str = "none"  # the observer's AAVSO code
    object_name: str = ""  # empty: the region's name; sources are named "<object> <source>" where there are several
    min_signal: float = attrs.field(default=3.0, validator=attrs.validators.gt(0.0))  # sigma; below: a fainter-than
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
        with _whole(path) as temporary:
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
def lcf_exporters() -> dict[str, type]:
    """Return the formats ``ecsv``, ``votable``, ``aavso`` and ``csv``."""
    return {"ecsv": Ecsv, "votable": VoTable, "aavso": Aavso, "csv": Csv}
