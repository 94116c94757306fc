"""Light curves of several images for the measurement of time delays by PyCS3."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import positive
from lcframework.types import FileFault, Floats, UnusableInput
from plugins_builtin.shared.exported_epochs import MJD_TO_JD, free_name, in_name, place_of, region_of, sources_of
from plugins_builtin.shared.file_faults import Faults, first_lines, text_lines
from plugins_builtin.shared.light_curve_tables import numbers_of, plain_table, write_lines

if TYPE_CHECKING:
    from astropy.table import Table

_TIMES = {"mhjd": "heliocentric Julian date (UTC)", "mbjd": "barycentric Julian date (TDB)"}


@attrs.frozen
class Pycs:
    """An rdb table for PyCS3, a file for each band, as its `pycs3.gen.lc_func.rdbimport` reads it.

    A line of names, a line of as many ``=`` under each, and a line an epoch, parted by tabulators. Times are ``mhjd``,
    heliocentric Julian dates in UTC less 2400000.5, which `rdbimport` takes without being told, and ``mbjd``,
    barycentric ones in TDB less 2400000.5 (``mhjdcolname="mbjd"``); this column is left out where an epoch has no such
    time. Images have ``mag_A`` and ``magerr_A``, which is the random error. ``flag`` is False where something is odd
    (``flagcolname="flag"`` masks it). The reader takes no empty values: epochs in which an image is fainter than
    `min_signal` are left out, and counted in a comment.

    The format is described at https://cosmograil.gitlab.io/PyCS3/ (package `pycs3.gen.lc_func`).
    """

    sources: tuple[str, ...] = ()  # the images to write; empty: all
    min_signal: float = attrs.field(default=3.0, validator=positive)  # sigma that every image must have in an epoch
    zeropoint: float = attrs.field(default=math.nan)  # of instrumental magnitudes, where there is no calibration
    results_version: ClassVar[int] = 1
    suffix: ClassVar[str] = "rdb"

    def files(self, light_curve: Table) -> Mapping[str, Table]:
        """Return a file for each band; the instruments of a band are told apart by the column telescope."""
        bands = np.array([str(b) for b in light_curve["band"]])
        found: dict[str, Table] = {}
        for band in dict.fromkeys(bands.tolist()):
            name = free_name(found, f"{region_of(light_curve)}_{in_name(band)}", ".rdb")
            found[name] = light_curve[bands == band]
        return found

    def export(self, light_curve: Table, path: Path) -> None:
        """Write the images' curves in one band.

        Raises
        ------
        UnusableInput
            Where there are several bands, no magnitudes, or no epoch in which all images were seen.
        """
        bands = sorted({str(b) for b in light_curve["band"]})
        if len(bands) > 1:
            raise UnusableInput(f"PyCS compares magnitudes of one band, here are {', '.join(bands)}: choose one")
        names = [n for wanted in self.sources or ("",) for n in sources_of(light_curve, wanted)]
        plain = plain_table(light_curve)
        times = _times(plain)
        lines, left_out = self._lines(plain, times, names)
        columns = [*times, "telescope", "fwhm", "airmass", "flag"]
        columns += [f"{c}_{n}" for n in names for c in ("mag", "magerr")]
        if odd := [n for n in names if any(c.isspace() for c in n)]:
            raise UnusableInput(f"PyCS takes no blanks in names of images: {', '.join(odd)}")
        head = ["\t".join(columns), "\t".join("=" * len(c) for c in columns)]
        about = [
            "# " + "; ".join(f"{name}: {_TIMES[name]} - 2400000.5" for name in times),
            f"# fwhm in arcsec; band {bands[0]}; {left_out} epochs were left out, in which an image is too faint",
        ]
        write_lines(path, [*head, *about, *lines])

    def _lines(self, table: Table, times: Mapping[str, Floats], names: Sequence[str]) -> tuple[list[str], int]:
        """Return the lines of the epochs that can be written, and the number of others."""
        flux, error = (_columns(table, names, c) for c in ("flux", "d_flux"))
        zeropoint = numbers_of(table, "zeropoint")
        if not np.isfinite(zeropoint).any():
            if not math.isfinite(self.zeropoint):
                raise UnusableInput(
                    "the magnitudes are not calibrated: set [calibration] to a survey that has the band, or, for "
                    "instrumental ones, -o zeropoint=25"
                )
            zeropoint = np.full(len(table), self.zeropoint)
        with np.errstate(invalid="ignore", divide="ignore"):
            seen = np.all(flux >= self.min_signal * error, axis=1) & np.isfinite(zeropoint)
            mag = zeropoint[:, None] - 2.5 * np.log10(flux)
            magerr = 2.5 / math.log(10) * error / flux
        if not seen.any():
            raise UnusableInput(f"in no epoch are all images above {self.min_signal:g} sigma: name some by sources")
        fwhm, airmass = numbers_of(table, "seeing"), numbers_of(table, "airmass")
        lines = []
        for i in np.flatnonzero(seen):
            values = [f"{t[i]:.6f}" for t in times.values()]
            flags = int(table["flags"][i]) if "flags" in table.colnames else 0
            values += [in_name(str(table["instrument"][i])), f"{fwhm[i]:.3f}", f"{airmass[i]:.3f}", str(flags == 0)]
            for k in range(len(names)):
                values += [f"{mag[i, k]:.5f}", f"{magerr[i, k]:.5f}"]
            lines.append("\t".join(values))
        return lines, int((~seen).sum())

    def recognises(self, path: Path) -> bool:
        """Return whether the second line underlines the first."""
        head = [line.split() for line in first_lines(path, 2)]
        return len(head) == 2 and bool(head[1]) and all(set(under) == {"="} for under in head[1])

    def faults(self, path: Path) -> Sequence[FileFault]:
        """Return what `rdbimport` can't read, times that are no modified Julian dates, and magnitudes without error."""
        faults = Faults()
        lines = text_lines(path, faults)
        names = lines[0].split()
        if [len(n) for n in names] != [len(u) for u in lines[1].split()]:
            faults.add("the second line must have as many = under each name as it has letters", 2)
        faults.missing(names, ["mhjd"], 1)
        images = [n.removeprefix("mag_") for n in names if n.startswith("mag_")]
        if not images:
            faults.add("there is no image: no columns mag_A and magerr_A", 1)
        faults.missing(names, [f"magerr_{i}" for i in images], 1)
        for number, line in enumerate(lines[2:], 3):
            if line.startswith("#") or not line.strip():
                continue
            row = faults.columns(line.split(), names, number)
            for name, value in row.items():
                if name in _TIMES:
                    faults.modified_julian(value, number, name)
                elif name.startswith("magerr_"):
                    faults.number(value, number, name, 0.0, 10.0, "an error")
                elif name.startswith("mag_"):
                    faults.number(value, number, name, -30.0, 50.0, "a magnitude")
                elif name == "flag":
                    faults.one_of(value, ("True", "False"), number, name)
        return faults.found


def _times(table: Table) -> dict[str, Floats]:
    """Return the times of the epochs, less 2400000.5; barycentric ones where they are known of all."""
    times = {"mhjd": heliocentric(table) - MJD_TO_JD}
    barycentric = numbers_of(table, "bjd_tdb") - MJD_TO_JD
    return times | {"mbjd": barycentric} if np.isfinite(barycentric).all() else times


def heliocentric(table: Table) -> Floats:
    """Return heliocentric Julian dates in UTC, as seen from the Earth's centre: true to 0.02 s.

    Raises
    ------
    UnusableInput
        Where the light curve does not say where the region is.
    """
    from astropy import units
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time

    ra, dec = place_of(table)
    centre = EarthLocation.from_geocentric(0.0, 0.0, 0.0, unit=units.m)
    times = Time(np.asarray(table["mjd"], float), format="mjd", scale="utc", location=centre)
    delay = times.light_travel_time(SkyCoord(ra, dec, unit="deg"), "heliocentric")
    return np.asarray(times.mjd + delay.to_value("day") + MJD_TO_JD)


def _columns(table: Table, names: Sequence[str], kind: str) -> Floats:
    return np.stack([numbers_of(table, f"{name}_{kind}") for name in names], axis=1)


@hookimpl
def lcf_exporters() -> dict[str, type[Pycs]]:
    """Offer the format."""
    return {"pycs": Pycs}
