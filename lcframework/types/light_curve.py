"""The columns of the light curve of a region: those of an epoch, of a source, of a night, of a visit.

Columns are declared only here. The writer of the tables, the exporters, the conformance checks and the test of the
documentation read these declarations. An epoch's column with an `origin` is copied from that column of the database;
any other column is computed in ``lcframework/roi/light_curves.py``.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

#: Placeholders in a column's meaning: for the name of the source, and for the magnitude system.
_SOURCE, _SYSTEM = "<S>", "<system>"


@attrs.frozen
class CurveColumn:
    """A column of a light curve.

    Attributes
    ----------
    name : str
        The column's name in the tables; for a column of a source, the part after ``<source>_``.
    unit : str
        In the notation that astropy reads; empty for none.
    ucd : str
        The quantity, as a Unified Content Descriptor of the IVOA (UCD1+).
    meaning : str
        What the column holds, in words.
    origin : str
        The table and column of the database from which an epoch's value is copied; empty where it is computed.
    text : bool
        Whether the column holds text instead of numbers.
    """

    name: str
    unit: str
    ucd: str
    meaning: str
    origin: str = ""
    text: bool = False


@attrs.frozen
class FileFault:
    """What is wrong in a file of a light curve.

    Attributes
    ----------
    message : str
        What is wrong, and what is right.
    line : int
        The line, from 1; 0 where the file as a whole is meant.
    column : str
        The column's name or number; empty where the line as a whole is meant.
    """

    message: str
    line: int = 0
    column: str = ""

    def __str__(self) -> str:
        """Return it as messages have it."""
        where = [f"line {self.line}"] if self.line else []
        where += [f"column {self.column}"] if self.column else []
        return f"{', '.join(where)}: {self.message}" if where else self.message


#: Columns of an epoch, in their order in the table; the columns of the sources follow them.
EPOCH_COLUMNS = (
    CurveColumn("frame_id", "", "meta.id", "row of the table frames", "frames.id"),
    CurveColumn("frame", "", "meta.id;obs.image", "the frame's name, as in its file names", "frames.key", text=True),
    CurveColumn("mjd", "d", "time.epoch", "MJD (UTC), middle of the exposure", "frames.mjd"),
    CurveColumn(
        "bjd_tdb", "d", "time.epoch", "barycentric Julian date (TDB) for this region, middle of the exposure",
        "rois_in_frames.bjd_tdb",
    ),
    CurveColumn("band", "", "meta.id;instr.bandpass", "band of the frame", "frames.band", text=True),
    CurveColumn("instrument", "", "meta.id;instr", "instrument of the frame", "frames.instrument", text=True),
    CurveColumn("zeropoint", "mag", "phot.mag;arith.zp", "magnitude of 1 electron per second, normalised"),
    CurveColumn(
        "zeropoint_error", "mag", "stat.error;phot.mag;arith.zp",
        "error of the zero point; it moves everything of one instrument and band",
    ),
    CurveColumn("reduced_chi2", "", "stat.fit.chi2", "reduced chi2 of the epoch's pixels"),
    CurveColumn(
        "seeing", "arcsec", "instr.obsty.seeing", "full width at half maximum of the stars", "frames.seeing_arcseconds"
    ),
    CurveColumn("seeing_pixels", "pix", "instr.obsty.seeing", "the seeing in pixels", "frames.seeing_pixels"),
    CurveColumn("airmass", "", "obs.airMass", "airmass of the region", "rois_in_frames.airmass"),
    CurveColumn("altitude", "deg", "pos.az.alt", "altitude of the region", "rois_in_frames.altitude"),
    CurveColumn(
        "sky_level", "electron / s", "instr.skyLevel", "level of the sky that was subtracted, a pixel",
        "frames.sky_level_electron_per_second",
    ),
    CurveColumn(
        "relative_normalization_error", "", "stat.error;phot.flux;arith.ratio",
        "relative error of the frame's coefficient: it moves all sources of the epoch together; a part of d_flux",
    ),
    CurveColumn(
        "relative_extra_scatter", "", "stat.error;phot.flux;arith.ratio",
        "relative scatter beyond the errors, as the comparison stars show it in this frame; a part of d_flux",
        "normalization_coefficients.extra_scatter",
    ),
    CurveColumn(
        "relative_slow_scatter", "", "stat.error.sys;phot.flux;arith.ratio",
        "relative scatter of slow changes that the comparison stars show beyond their errors: no part of d_flux",
        "normalization_coefficients.slow_scatter",
    ),
    CurveColumn("flags", "", "meta.code.qual", "sum of the bits of EpochFlag; 0: nothing odd"),
    CurveColumn("exptime", "s", "time.duration;obs.exposure", "exposure time"),
)  # fmt: skip

#: Columns that follow from a source's flux and its error, of an epoch and of a night.
_DERIVED_COLUMNS = (
    CurveColumn("snr", "", "stat.snr;phot.flux", "signal-to-noise: flux over d_flux of <S>"),
    CurveColumn(
        "depth", "mag", "phot.mag;stat.max",
        "5 sigma depth at the place of <S>: the <system> magnitude of 5 d_flux_fit, the photon noise of <S> included",
    ),
    CurveColumn(
        "mag_limit", "mag", "phot.mag;stat.max",
        "3 sigma upper limit: the <system> magnitude of max(flux, 0) + 3 d_flux of <S>; empty from flux = 3 d_flux on",
    ),
    CurveColumn("asinh_mag", "mag", "phot.mag", "asinh <system> magnitude of <S>, for every sign of the flux"),
    CurveColumn("d_asinh_mag", "mag", "stat.error;phot.mag", "random error of the asinh magnitude of <S>"),
    CurveColumn(
        "asinh_softening", "electron / s", "phot.flux",
        "softening of the asinh magnitude, one of each instrument and band",
    ),
    CurveColumn(
        "diff_flux", "electron / s", "phot.flux;arith.diff",
        "flux of <S> less its weighted mean over all epochs of the instrument and band",
    ),
    CurveColumn(
        "d_diff_flux", "electron / s", "stat.error;phot.flux;arith.diff",
        "random error of diff_flux, that of the mean included; d_flux_common and the zero point have no part in it",
    ),
)  # fmt: skip

#: Columns of a source in an epoch, each after the source's name: ``<source>_<name>``.
SOURCE_COLUMNS = (
    CurveColumn("flux", "electron / s", "phot.flux", "flux of <S>, normalised; negative values are kept"),
    CurveColumn(
        "d_flux", "electron / s", "stat.error;phot.flux",
        "random error of the flux of <S> in the epoch: fit, normalization and extra scatter in quadrature",
    ),
    CurveColumn(
        "d_flux_fit", "electron / s", "stat.error;phot.flux",
        "the fit's part of d_flux, from the full covariance of the epoch's sources",
    ),
    CurveColumn(
        "d_flux_common", "electron / s", "stat.error.sys;phot.flux",
        "error that moves the whole curve of <S>: no part of d_flux, and not to be added to it",
    ),
    CurveColumn("mag", "mag", "phot.mag", "<system> magnitude of <S>; empty where the flux is not positive"),
    CurveColumn(
        "d_mag_down", "mag", "stat.error;phot.mag",
        "random error of the magnitude of <S> towards fainter; empty where the flux less its error is not positive",
    ),
    CurveColumn("d_mag_up", "mag", "stat.error;phot.mag", "random error of the magnitude of <S> towards brighter"),
    *_DERIVED_COLUMNS,
    CurveColumn(
        "x", "pix", "pos.cartesian.x;instr.det",
        "place of <S> in the imported frame along its rows, as fitted; 0 is the centre of the first pixel",
    ),
    CurveColumn(
        "y", "pix", "pos.cartesian.y;instr.det",
        "place of <S> in the imported frame along its columns, as fitted; 0 is the centre of the first pixel",
    ),
)  # fmt: skip

#: Columns of a night, instrument and band, in their order in the table; the columns of the sources follow them.
NIGHT_COLUMNS = (
    CurveColumn("night", "d", "time.epoch", "number of the night: its MJD at local noon, in whole days"),
    CurveColumn("mjd", "d", "time.epoch", "mean MJD (UTC)"),
    CurveColumn("bjd_tdb", "d", "time.epoch", "mean barycentric Julian date (TDB)"),
    CurveColumn("band", "", "meta.id;instr.bandpass", "band of the frames", text=True),
    CurveColumn("instrument", "", "meta.id;instr", "instrument of the frames", text=True),
    CurveColumn("epochs", "", "meta.number", "how many epochs the means are of"),
    CurveColumn("zeropoint", "mag", "phot.mag;arith.zp", "magnitude of 1 electron per second, normalised"),
    CurveColumn("zeropoint_error", "mag", "stat.error;phot.mag;arith.zp", "error of the zero point"),
    CurveColumn("exptime", "s", "time.duration;obs.exposure", "exposure time of all epochs together"),
    CurveColumn("seeing", "arcsec", "instr.obsty.seeing", "mean full width at half maximum of the stars"),
    CurveColumn("seeing_pixels", "pix", "instr.obsty.seeing", "the mean seeing in pixels"),
    CurveColumn("airmass", "", "obs.airMass", "mean airmass of the region"),
)
#: Columns of a visit, instrument and band, in their order in the table; the columns of the sources follow them.
VISIT_COLUMNS = (
    CurveColumn("visit", "", "meta.id", "number of the instrument's visit, from 1"),
    CurveColumn("hours", "h", "time.interval", "from the first to the last epoch of the means"),
    *NIGHT_COLUMNS[1:],
)
#: Columns of a source in a night or visit, each after the source's name.
SOURCE_NIGHT_COLUMNS = (
    CurveColumn("flux", "electron / s", "phot.flux", "weighted mean of the fluxes of <S>"),
    CurveColumn("d_flux", "electron / s", "stat.error;phot.flux", "random error of the mean"),
    CurveColumn("scatter", "electron / s", "stat.stdev;phot.flux", "standard deviation of these fluxes of <S>"),
    CurveColumn("count", "", "meta.number", "how many fluxes of <S> its mean and scatter are of"),
    CurveColumn(
        "clipped", "", "meta.number",
        "how many fluxes of <S> lie beyond 2 sigma: a part of a night's mean, and no part of a visit's",
    ),
    CurveColumn("mag", "mag", "phot.mag", "<system> magnitude of the mean flux of <S>"),
    CurveColumn("d_mag_down", "mag", "stat.error;phot.mag", "its random error towards fainter"),
    CurveColumn("d_mag_up", "mag", "stat.error;phot.mag", "its random error towards brighter"),
    *_DERIVED_COLUMNS,
    CurveColumn("x", "pix", "pos.cartesian.x;instr.det", "mean place of <S> in the frames along their rows"),
    CurveColumn("y", "pix", "pos.cartesian.y;instr.det", "mean place of <S> in the frames along their columns"),
)  # fmt: skip


def column_of(name: str, system: str = "") -> CurveColumn | None:
    """Return the declaration of a column of a light curve, or None for an unknown name.

    A name that tables of epochs, nights and visits share gets the meaning that it has for epochs. Its unit and quantity
    are the same in all.

    Parameters
    ----------
    name : str
        The column's name in a table of epochs, nights or visits.
    system : str
        The magnitude system, such as ``AB``, which is filled into the meaning.
    """
    for column in (*EPOCH_COLUMNS, *NIGHT_COLUMNS, *VISIT_COLUMNS):
        if column.name == name:
            return column
    # The longest first: "A_d_flux" ends like "A_flux" of a source called "A_d".
    for column in sorted((*SOURCE_COLUMNS, *SOURCE_NIGHT_COLUMNS), key=lambda c: -len(c.name)):
        source, found, _ = name.rpartition(f"_{column.name}")
        if found and name.endswith(found):
            meaning = column.meaning.replace(_SYSTEM, system).replace(_SOURCE, source).strip()
            return attrs.evolve(column, name=name, meaning=meaning)
    return None


def source_names(columns: Iterable[str]) -> list[str]:
    """Return the names of the point sources that have columns in a light curve, in the order of the columns."""
    columns = list(columns)
    return [c.removesuffix("_d_flux") for c in columns if c.endswith("_d_flux") and f"{c[:-7]}_flux" in columns]


def twice_named(sources: Iterable[str]) -> str:
    """Return a column of light curves that the names of sources give two meanings; empty where there is none.

    The flux of a source `A_d` would be in the column of the error of the flux of `A`.
    """
    of_all = (EPOCH_COLUMNS, NIGHT_COLUMNS, VISIT_COLUMNS)
    taken = {column.name for columns in of_all for column in columns}
    kinds = {column.name for column in (*SOURCE_COLUMNS, *SOURCE_NIGHT_COLUMNS)}
    for source in sources:
        own = {f"{source}_{kind}" for kind in kinds}
        if twice := own & taken:
            return min(twice)
        taken |= own
    return ""
