"""What exporters to the formats of other programs share: columns of a source, parts of a light curve, refusals."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from lcframework.types import Bools, Floats, Ints, UnusableInput, source_names
from plugins_builtin.shared.calibrated_bands import BandCalibration, calibration_of, reported_filter
from plugins_builtin.shared.light_curve_tables import numbers_of, plain_table

if TYPE_CHECKING:
    from astropy.table import Table

#: Days between an MJD and a JD.
MJD_TO_JD = 2400000.5
#: Days without an epoch that part two nights, at any longitude.
_NIGHT_GAP = 0.35
_POGSON = 2.5 / math.log(10)


@attrs.frozen(eq=False)
class SourceEpochs:
    """The epochs of one source in one instrument and band, those without flux or error left out.

    Times in days, fluxes in e-/s, magnitudes; nan where the light curve does not know.
    """

    source: str
    instrument: str
    band: str
    calibration: BandCalibration
    frame: Sequence[str]
    mjd: Floats  # UTC, middle of the exposure
    bjd_tdb: Floats
    exptime: Floats  # s
    flux: Floats
    flux_error: Floats
    zeropoint: Floats
    depth: Floats
    table: Table = attrs.field(repr=False)  # the same rows of the light curve

    @property
    def system(self) -> str:
        """The system of the magnitudes, "AB" or "Vega"; empty where the light curve does not say."""
        return self.calibration.system

    @property
    def mag(self) -> Floats:
        """Magnitudes; nan where the flux is not positive."""
        with np.errstate(invalid="ignore", divide="ignore"):
            magnitudes: Floats = np.where(self.flux > 0, self.zeropoint - 2.5 * np.log10(self.flux), np.nan)
        return magnitudes

    @property
    def mag_error(self) -> Floats:
        """The magnitudes' errors, alike on both sides: 1.0857 times the relative error of the flux."""
        with np.errstate(invalid="ignore", divide="ignore"):
            errors: Floats = np.where(self.flux > 0, _POGSON * self.flux_error / self.flux, np.nan)
        return errors

    def column(self, name: str) -> Floats:
        """Return another column of the epochs, or of the source where it is called so; nan where there is none."""
        return numbers_of(self.table, name if name in self.table.colnames else f"{self.source}_{name}")

    def limits(self, sigmas: float) -> Floats:
        """Return the magnitudes of so many sigma above the flux, or above 0 where it is negative."""
        with np.errstate(invalid="ignore"):
            magnitudes: Floats = self.zeropoint - 2.5 * np.log10(np.maximum(self.flux, 0) + sigmas * self.flux_error)
        return magnitudes

    def of(self, keep: Bools | Ints) -> SourceEpochs:
        """Return some of the epochs, by a mask or by indices."""
        arrays = ("mjd", "bjd_tdb", "exptime", "flux", "flux_error", "zeropoint", "depth")
        parts = {name: getattr(self, name)[keep] for name in arrays}
        return attrs.evolve(self, frame=list(np.asarray(self.frame)[keep]), table=self.table[keep], **parts)


def sources_of(table: Table, wanted: str = "") -> list[str]:
    """Return the sources to write: the one that is asked for, or all.

    Raises
    ------
    UnusableInput
        Where the light curve has none, or none of that name.
    """
    names = source_names(table.colnames)
    if not names:
        raise UnusableInput("the light curve has no source: it has no columns <source>_flux and <source>_d_flux")
    if wanted and wanted not in names:
        raise UnusableInput(f'source: the light curve has no source "{wanted}"; there are {", ".join(names)}')
    return [wanted] if wanted else names


def one_source(table: Table, wanted: str, whose: str) -> str:
    """Return the one source that goes into a file.

    Raises
    ------
    UnusableInput
        Where there are several and none is named.
    """
    names = sources_of(table, wanted or str(table.meta.get("source", "")))
    if len(names) > 1:
        raise UnusableInput(f"a file of {whose} holds one source: name one of {', '.join(names)} by -o source=NAME")
    return names[0]


def epochs_of(table: Table, source: str) -> SourceEpochs:
    """Return the epochs of a source in a light curve of one instrument and band.

    Raises
    ------
    UnusableInput
        Where there are several instruments or bands, or no epoch was measured.
    """
    plain = plain_table(table)
    groups = groups_of(plain)
    if len(groups) > 1:
        listed = "; ".join(f"{instrument} {band}" for instrument, band in groups)
        raise UnusableInput(f"this format holds one instrument and band, the light curve has {listed}: choose one")
    names = {"flux": f"{source}_flux", "flux_error": f"{source}_d_flux", "depth": f"{source}_depth"}
    known = {
        name: numbers_of(plain, names.get(name, name))
        for name in ("mjd", "bjd_tdb", "exptime", "flux", "flux_error", "zeropoint", "depth")
    }
    frame = [str(f) for f in plain["frame"]] if "frame" in plain.colnames else [""] * len(plain)
    instrument, band = next(iter(groups), ("", ""))
    calibration = calibration_of(plain, instrument, band)
    whole = SourceEpochs(source, instrument, band, calibration, frame, **known, table=plain)
    measured = np.isfinite(whole.flux) & (whole.flux_error > 0)
    if not measured.any():
        raise UnusableInput(f"{source} was measured in no epoch of {instrument} {band}")
    return whole.of(measured)


def groups_of(table: Table) -> list[tuple[str, str]]:
    """Return the instruments and bands of a light curve, each once, in order."""
    pairs = zip((str(i) for i in table["instrument"]), (str(b) for b in table["band"]), strict=True)
    return list(dict.fromkeys(pairs))


def parts_by_group(table: Table) -> Iterator[tuple[str, str, Table]]:
    """Yield each instrument and band of a light curve with its epochs."""
    instruments, bands = (np.array([str(v) for v in table[name]]) for name in ("instrument", "band"))
    for instrument, band in groups_of(table):
        yield instrument, band, table[(instruments == instrument) & (bands == band)]


def parts_by_night(table: Table) -> Iterator[Table]:
    """Yield the nights of a light curve: epochs that no gap of more than eight hours parts."""
    mjd = _mjd(table)
    order = np.argsort(mjd, kind="stable")
    for night in np.split(order, np.flatnonzero(np.diff(mjd[order]) > _NIGHT_GAP) + 1):
        yield table[night]


def parts_by_source(table: Table, wanted: str = "") -> Iterator[tuple[str, Table]]:
    """Yield each source that is to be written with the light curve, in whose meta it is named."""
    for name in sources_of(table, wanted):
        part = table.copy()
        part.meta["source"] = name
        yield name, part


def files_by_source(table: Table, wanted: str, suffix: str) -> dict[str, Table]:
    """Return a file for each source: called by the region, and by the source where there are several."""
    parts = dict(parts_by_source(table, wanted))
    own = {name: f"_{name}" if len(parts) > 1 else "" for name in parts}
    return {f"{region_of(part)}{own[name]}.{suffix}": part for name, part in parts.items()}


def files_by_night(table: Table, suffix: str) -> dict[str, Table]:
    """Return a file for each night, instrument and band: called by the region, the date (UTC) and these two."""
    found: dict[str, Table] = {}
    for instrument, band, group in parts_by_group(table):
        for night in parts_by_night(group):
            name = f"{region_of(night)}_{first_date(night)}_{in_name(instrument)}_{in_name(band)}"
            found[free_name(found, name, f".{suffix}")] = night
    return found


def first_date(night: Table) -> str:
    """Return the date (UTC) of the first epoch, as YYYYMMDD."""
    from astropy.time import Time

    first = float(np.min(_mjd(night)))
    return str(Time(first, format="mjd", scale="utc").strftime("%Y%m%d"))


def _mjd(table: Table) -> Floats:
    """Return the times of a light curve, MJD."""
    return np.asarray(getattr(table["mjd"], "value", table["mjd"]), float)


def region_of(table: Table) -> str:
    """Return the region's name, as files are called by it."""
    return str(table.meta.get("roi", "") or "curve")


def place_of(table: Table, source: str = "") -> tuple[float, float]:
    """Return right ascension and declination (degrees) of a source, or of the region where the source's are not known.

    Raises
    ------
    UnusableInput
        Where the light curve has neither.
    """
    of_region = (table.meta.get("ra"), table.meta.get("dec"))
    for ra, dec in (table.meta.get("positions", {}).get(source, of_region), of_region):
        if ra is not None and dec is not None:
            return float(ra), float(dec)
    raise UnusableInput("the light curve does not say where its region is: meta needs ra and dec, degrees")


def require(epochs: SourceEpochs, quantity: str, cure: str) -> None:
    """Refuse epochs of which a quantity is not known in any.

    Raises
    ------
    UnusableInput
        Names the quantity, and what to do.
    """
    if not np.isfinite(getattr(epochs, quantity)).any():
        where = f"{epochs.source} in {epochs.instrument} {epochs.band}"
        raise UnusableInput(f"this format needs {quantity} of {where}, which the light curve does not have: {cure}")


def require_calibrated(epochs: SourceEpochs) -> SourceEpochs:
    """Return the epochs with a zero point.

    Raises
    ------
    UnusableInput
        Where there are none.
    """
    cure = "its magnitudes are not calibrated; set [calibration] to a survey that has the band, and run the project"
    require(epochs, "zeropoint", cure)
    return epochs.of(np.isfinite(epochs.zeropoint))


def require_ab(epochs: SourceEpochs, why: str) -> None:
    """Refuse epochs whose magnitudes are not AB; `why` says who needs these.

    Raises
    ------
    UnusableInput
        Names the band and its system.
    """
    if epochs.system != "AB":
        raise UnusableInput(
            f"{why}, these of {epochs.band} are {epochs.system or 'of no system'}: set [calibration] to a survey with "
            "AB magnitudes"
        )


def require_own_band(epochs: SourceEpochs, given: Mapping[str, str]) -> None:
    """Refuse epochs whose magnitudes are those of another band; `given` is the option `filters`.

    Raises
    ------
    UnusableInput
        Names the filter, and the band that calibrated it.
    """
    reported_filter(epochs.band, epochs.calibration, given)


def require_barycentric(epochs: SourceEpochs) -> SourceEpochs:
    """Return the epochs with a barycentric time.

    Raises
    ------
    UnusableInput
        Where there are none.
    """
    require(epochs, "bjd_tdb", "give the telescope's place in [telescope], and run the project")
    return epochs.of(np.isfinite(epochs.bjd_tdb))


def require_exposures(epochs: SourceEpochs) -> SourceEpochs:
    """Return the epochs with an exposure time.

    Raises
    ------
    UnusableInput
        Where there are none, as in the tables of earlier versions.
    """
    require(epochs, "exptime", "tables of this version have it: run the project once more")
    return epochs.of(np.isfinite(epochs.exptime))


def relative(epochs: SourceEpochs) -> tuple[Floats, Floats]:
    """Return fluxes and errors over the median flux.

    Raises
    ------
    UnusableInput
        Where the median is not positive.
    """
    level = float(np.median(epochs.flux))
    if not level > 0:
        raise UnusableInput(f"{epochs.source}: its median flux is not positive, so there is no relative flux")
    return epochs.flux / level, epochs.flux_error / level


def free_name(taken: Container[str], stem: str, ending: str) -> str:
    """Return a file's name that is not taken yet: names of two bands may differ by what file names can't have."""
    numbers = ("", *(f"-{n}" for n in range(2, 1000)))
    return next(name for n in numbers if (name := f"{stem}{n}{ending}") not in taken)


def in_name(text: str) -> str:
    """Return a text as a part of a file name that has no full stop."""
    return re.sub(r"[^A-Za-z0-9+_-]+", "-", text).strip("-") or "none"
