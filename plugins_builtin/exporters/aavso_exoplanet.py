"""Transit light curves for the AAVSO Exoplanet Database, as Exoplanet Watch sends them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import FileFault, UnusableInput
from plugins_builtin.shared.aavso_filters import OTHER, aavso_filter, given_filter
from plugins_builtin.shared.exported_epochs import (
    SourceEpochs,
    epochs_of,
    files_by_night,
    one_source,
    require_barycentric,
    require_exposures,
)
from plugins_builtin.shared.file_faults import Faults, first_lines, text_lines
from plugins_builtin.shared.light_curve_tables import write_lines
from plugins_builtin.shared.transit_rows import detrending, transit_rows

if TYPE_CHECKING:
    from astropy.table import Table

#: The parameters that a file must have, in their order.
_HEAD = (
    "TYPE", "OBSCODE", "SOFTWARE", "DELIM", "DATE_TYPE", "OBSTYPE", "STAR_NAME", "EXOPLANET_NAME", "BINNING",
    "EXPOSURE_TIME", "DETREND_PARAMETERS", "MEASUREMENT_TYPE", "FILTER", "PRIORS", "RESULTS",
)  # fmt: skip
_DATES = ("JD_UTC", "HJD_UTC", "BJD_UTC", "BJD_TT", "BJD_TDB")
_MEASURES = ("Rflux", "Dmag", "Rnflux")
#: Columns of a light curve that the AAVSO has names for as parameters to detrend by.
_DETREND = {
    "airmass": "AIRMASS", "seeing_pixels": "FWHM", "seeing": "FWHM_ARCSEC", "x": "X(FITS)", "y": "Y(FITS)",
    "sky_level": "SKY/PIXEL",
}  # fmt: skip
#: The number of the first pixel of a FITS image, which is 0 in a light curve.
_FIRST_PIXEL = 1.0
_UNITS = {"Period": "days", "inc": "degrees", "Tc": "BJD_TDB", "Duration": "days"}


@attrs.frozen
class AavsoExoplanet:
    """The AAVSO's exoplanet report: one transit of one star a file, with columns to detrend by, priors and results.

    Measurements are normalised fluxes (Rnflux) at BJD_TDB in the middle of exposures. Priors are what was assumed of
    the planet and results what a fit to this light curve gave; each is a value and its error, such as ``-o
    'priors={Period=[2.15, 1e-6], "Rp/R*"=[0.15, 0.001]}' -o 'results={Tc=[2459912.7, 3e-4]}'``.

    The format is described at https://www.aavso.org/aavso-exoplanet-report-file-format (version 0.62); the parameters
    that end in -XC are those of Exoplanet Watch's EXOTIC (https://github.com/rzellem/EXOTIC, its `output_files.py`).
    """

    observer: str = "none"  # the observer's AAVSO code
    star: str = ""  # the star's name
    planet: str = ""  # the planet's name
    source: str = ""  # the star in the light curve; empty: the only source
    binning: str = "1x1"  # of the camera
    camera: str = "CCD"  # CCD, CMOS or DSLR
    filters: Mapping[str, str] = attrs.field(factory=dict)  # band of the light curve = filter of the AAVSO
    detrend: tuple[str, ...] = ("airmass",)  # columns of the light curve that go along, to detrend by
    priors: Mapping[str, tuple[float, ...]] = attrs.field(factory=dict)  # parameter = value and its error
    results: Mapping[str, tuple[float, ...]] = attrs.field(factory=dict)  # parameter = value and its error
    notes: str = ""  # for the observer's remarks
    results_version: ClassVar[int] = 1
    suffix: ClassVar[str] = "aavso-exoplanet.txt"

    def files(self, light_curve: Table) -> Mapping[str, Table]:
        """Return a file for each night, instrument and band."""
        return files_by_night(light_curve, self.suffix)

    def export(self, light_curve: Table, path: Path) -> None:
        """Write a night of one star, instrument and band.

        Raises
        ------
        UnusableInput
            Where there is more than that; where star, planet, priors or results are not given, or the band, a time or a
            column is not known.
        """
        self._require_settings()
        epochs = epochs_of(light_curve, one_source(light_curve, self.source, "the exoplanet database"))
        epochs = require_barycentric(require_exposures(epochs))
        columns = [
            values + _FIRST_PIXEL if name in ("x", "y") else values
            for name, values in zip(self.detrend, detrending(epochs, self.detrend), strict=True)
        ]
        lines = [f"#{name}={value}" for name, value in self._head(epochs).items()]
        lines.append("#" + ",".join(["DATE", "DIFF", "ERR", *(f"DETREND_{n + 1}" for n in range(len(columns)))]))
        write_lines(path, [*lines, *transit_rows(epochs, epochs.bjd_tdb, columns, separator=",", decimals=7)])

    def _require_settings(self) -> None:
        wanted = {
            "star": (self.star, "-o star=HAT-P-32"),
            "planet": (self.planet, '-o planet="HAT-P-32 b"'),
            "priors": (self.priors, "-o 'priors={Period=[2.15, 1e-6], \"Rp/R*\"=[0.149, 0.002]}'"),
            "results": (self.results, "-o 'results={Tc=[2459912.7, 3e-4], \"Rp/R*\"=[0.15, 0.001]}'"),
        }
        lacking = {name: example for name, (value, example) in wanted.items() if not value}
        if lacking:
            raise UnusableInput(f"the report wants {', '.join(lacking)}: {' '.join(lacking.values())}")
        for name, given in (("priors", self.priors), ("results", self.results)):
            if odd := [n for n, v in given.items() if len(v) not in (1, 2)]:
                raise UnusableInput(f"{name}: {', '.join(odd)} wants a value and its error, such as [2.15, 1e-6]")

    def _head(self, epochs: SourceEpochs) -> dict[str, str]:
        code = given_filter(epochs.band, self.filters) or aavso_filter(epochs.band)
        if code == OTHER:
            cure = f'-o \'filters={{"{epochs.band}" = "V"}}\''
            raise UnusableInput(f'the AAVSO has no filter for the band "{epochs.band}": name the nearest by {cure}')
        return {
            "TYPE": "EXOPLANET", "OBSCODE": self.observer, "SOFTWARE": f"lcframework {metadata.version('lcframework')}",
            "DELIM": ",", "DATE_TYPE": "BJD_TDB", "OBSTYPE": self.camera, "STAR_NAME": self.star,
            "EXOPLANET_NAME": self.planet, "BINNING": self.binning, "EXPOSURE_TIME": f"{np.median(epochs.exptime):g}",
            "NOTES": self.notes or "PSF photometry relative to an ensemble; times are of the middle of exposures",
            "DETREND_PARAMETERS": ", ".join(_DETREND.get(name, name.upper()) for name in self.detrend),
            "MEASUREMENT_TYPE": "Rnflux", "FILTER": code,
            "FILTER-XC": json.dumps({"name": code, "desc": epochs.band}),
            "PRIORS": _listed(self.priors), "PRIORS-XC": json.dumps(_described(self.priors)),
            "RESULTS": _listed(self.results), "RESULTS-XC": json.dumps(_described(self.results)),
        }  # fmt: skip

    def recognises(self, path: Path) -> bool:
        """Return whether the first line is that of an exoplanet report."""
        return any(line.upper().startswith("#TYPE=EXOPLANET") for line in first_lines(path))

    def faults(self, path: Path) -> Sequence[FileFault]:
        """Return what is wrong in the parameters, the columns, and the level of the flux."""
        faults, head, names, fluxes = Faults(), {}, [], []
        lines = text_lines(path, faults)
        for number, line in enumerate(lines, 1):
            name, equals, value = line.removeprefix("#").partition("=")
            if line.startswith("#DATE,"):
                names = line[1:].split(",")
            elif line.startswith("#") and equals:
                head[name.strip()] = (number, value.strip())
            elif line.startswith("#"):
                continue
            else:
                fluxes.append(_measurement(faults, line, number, names))
        _check_head(faults, head, names)
        if head.get("MEASUREMENT_TYPE", (0, ""))[1] == "Rnflux":
            faults.level(fluxes, "DIFF")
        return sorted(faults.found, key=lambda f: f.line)


def _check_head(faults: Faults, head: Mapping[str, tuple[int, str]], names: Sequence[str]) -> None:
    faults.missing(head, _HEAD, 0, "the parameter")
    allowed = {"DATE_TYPE": _DATES, "MEASUREMENT_TYPE": _MEASURES, "TYPE": ("EXOPLANET",)}
    for name, (number, value) in head.items():
        if name in allowed:
            faults.one_of(value, allowed[name], number, name)
        elif name == "OBSCODE":
            faults.observer(value, number, name)
        elif name == "EXPOSURE_TIME":
            faults.number(value, number, name, 1e-3, 1e5, "an exposure")
        elif name in _HEAD and not value:
            faults.add("it is empty", number, name)
        elif name.endswith("-XC"):
            try:
                json.loads(value)
            except ValueError as error:
                faults.add(f"no JSON: {error}", number, name)
    if not names:
        faults.add("the line #DATE,DIFF,ERR,DETREND_1 is missing")
    elif "DETREND_PARAMETERS" in head:
        number, value = head["DETREND_PARAMETERS"]
        wanted, have = len([v for v in value.split(",") if v.strip()]), len(names) - 3
        if wanted != have:
            faults.add(f"{wanted} parameters for {have} columns DETREND", number, "DETREND_PARAMETERS")


def _measurement(faults: Faults, line: str, number: int, names: Sequence[str]) -> float:
    row = faults.columns(line.split(","), list(names), number)
    for name, value in row.items():
        if name == "DATE":
            faults.julian(value, number, name)
        elif name == "ERR":
            faults.number(value, number, name, 0.0, 10.0, "an error")
        elif name != "DIFF":
            faults.number(value, number, name)
    return faults.number(row["DIFF"], number, "DIFF") if row else float("nan")


def _listed(values: Mapping[str, tuple[float, ...]]) -> str:
    return ",".join(f"{name}={' +/- '.join(f'{v:.10g}' for v in value)}" for name, value in values.items())


def _described(values: Mapping[str, tuple[float, ...]]) -> dict[str, dict[str, str | None]]:
    found: dict[str, dict[str, str | None]] = {}
    for name, value in values.items():
        found[name] = {"value": f"{value[0]:.10g}", "uncertainty": f"{value[1]:.10g}" if len(value) > 1 else None}
        if name in _UNITS:
            found[name]["units"] = _UNITS[name]
    return found


@hookimpl
def lcf_exporters() -> dict[str, type[AavsoExoplanet]]:
    """Offer the format."""
    return {"aavso-exoplanet": AavsoExoplanet}
