"""The files in ``prepared_roi_cutouts/``: calibrated cutouts, and the results of a region's model."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import numpy as np

from lcframework.provenance import digest
from lcframework.roi.epochs import STORED_COLUMNS, EpochColumns
from lcframework.sky.geometry import from_plane
from lcframework.storage.files import atomic
from lcframework.storage.hdf5 import new_file
from lcframework.types import (
    Cutouts,
    Estimators,
    FitState,
    FitStatus,
    Floats,
    FluxWeights,
    HighResolution,
    Kernels,
    RoiFit,
)

if TYPE_CHECKING:
    import h5py
    from astropy.io import fits

FOLDER = "prepared_roi_cutouts"
#: Bytes; products add their own beginnings and ends, and most file systems allow 255.
_LONGEST_STEM = 190
PREFIX = "cutouts_"
#: Endings of the file names of a group's fit, after the name of the group.
FIT_ENDINGS = ("_fit.h5", "_astrometry.json", "_high_res_model.fits", "_background.fits")
#: Its subfolder for files of earlier runs that belong to no product any more.
WITHDRAWN = "withdrawn"
K = TypeVar("K")


def slug(text: str) -> str:
    """Return a text as a part of a file name; with a digest where characters had to be replaced."""
    plain = re.sub(r"[^\w.+-]+", "-", text).strip("-")
    if text == plain:
        return text or "none"
    return f"{plain or 'name'}-{digest(text, 6)}"


def stem(roi: str, instrument: str, band: str) -> str:
    """Return the common part of a group's file names; see :func:`distinct` for groups with equal names."""
    name = f"{roi}_{slug(instrument)}_{slug(band)}"
    if len(name.encode()) <= _LONGEST_STEM:
        return name
    return f"{name.encode()[:_LONGEST_STEM].decode(errors='ignore')}-{digest([roi, instrument, band], 6)}"


def cutouts_of(fit: str) -> str:
    """Return the path of the cutouts to which a fit was made, from the path of the fit."""
    path = Path(fit)
    return (path.parent / f"{PREFIX}{path.name.removesuffix('_fit.h5')}.h5").as_posix()


def stem_of(cutouts: str | Path) -> str:
    """Return the common part of a group's file names, from the path of its cutouts."""
    return Path(cutouts).stem.removeprefix(PREFIX)


def distinct(names: Mapping[K, str]) -> dict[K, str]:
    """Return file names that are distinct on any file system.

    Names that are equal, or differ only by case, get a digest of the object that they belong to (the mapping's key).
    """
    count = Counter(name.casefold() for name in names.values())
    return {k: n if count[n.casefold()] == 1 else with_digest(n, k) for k, n in names.items()}


def with_digest(name: str, what: Any) -> str:
    """Return a name with a digest of `what`, which distinguishes it from other files with the same name."""
    return f"{name}-{digest(what, 6)}"


@attrs.frozen(eq=False)
class PreparedEpochs:
    """Calibrated cutouts and the stored columns of each epoch. Data and noise are divided by the coefficient."""

    cutouts: Cutouts
    columns: EpochColumns  # STORED_COLUMNS
    registration: Floats  # (e, 2) pixels, already in `cutouts.transform`
    wcs: list[str]  # (e,) header texts of the stamps
    zeropoint: float  # mag; nan where there is none
    zeropoint_uncertainty: float
    system: str


def write_cutouts(path: Path, epochs: PreparedEpochs) -> None:
    """Write calibrated cutouts."""
    import h5py

    c = epochs.cutouts
    with new_file(path, c.data.nbytes + c.noise.nbytes + c.kernels.values.nbytes + c.mask.nbytes) as file:
        values: dict[str, Any] = {
            "data": c.data.astype(np.float32), "noisemap": c.noise.astype(np.float32), "mask": c.mask,
            "psf": c.kernels.values.astype(np.float32), "subsampling_factor": c.kernels.subsampling_factor,
            "psf_target_fwhm": c.kernels.target_fwhm, "psf_precision": c.psf_precision.astype(np.float32),
            "psf_residual": c.psf_residual.astype(np.float32),
            "zenith": c.zenith, "transform": c.transform, "registration": epochs.registration,
            "registration_covariance": c.registration_covariance, "global_zeropoint": epochs.zeropoint,
            "global_zeropoint_uncertainty": epochs.zeropoint_uncertainty, "magnitude_system": epochs.system,
        }  # fmt: skip
        for name, value in values.items():
            file[name] = value
        file.create_dataset("wcs", data=np.array(epochs.wcs, dtype=h5py.string_dtype()))
        _write_columns(file, epochs.columns)
        if c.estimators is not None:
            _write_estimators(file.create_group("estimators"), c.estimators)


def read_cutouts(path: Path) -> PreparedEpochs:
    """Read what :func:`write_cutouts` wrote."""
    import h5py

    with h5py.File(path, "r") as file:
        columns = _read_columns(file)
        v = {name: file[name][()] for name in file if name not in columns and name != "estimators"}
        estimators = _read_estimators(file["estimators"]) if "estimators" in file else None
    kernels = Kernels(v["psf"].astype(float), int(v["subsampling_factor"]), float(v["psf_target_fwhm"]))
    cutouts = Cutouts(
        v["data"], v["noisemap"], v["mask"], kernels, v["transform"], v["registration_covariance"], columns["mjd"],
        columns["seeing"], columns["airmass"], columns["relative_normalization_error"], v["zenith"],
        v["psf_precision"], v.get("psf_residual", np.zeros((0, 0, 0))), estimators=estimators,
    )  # fmt: skip
    return PreparedEpochs(
        cutouts, columns, v["registration"], [w.decode() for w in v["wcs"]], float(v["global_zeropoint"]),
        float(v["global_zeropoint_uncertainty"]), v["magnitude_system"].decode(),
    )  # fmt: skip


def source_positions(cutouts: Path, content: FitFile, places: Mapping[int, tuple[float, float]]) -> Floats:
    """Return where each source of a fit is in each frame.

    Parameters
    ----------
    cutouts : Path
        The file of the cutouts to which the fit was made.
    content : FitFile
        The fit.
    places : mapping
        Where each frame's WCS puts the region, (x, y) in pixels, by the frame's id.

    Returns
    -------
    (e, k, 2) array
        x and y in pixels of the imported frame, 0-based; nan for epochs that the cutouts or the places lack.
    """
    import h5py

    with h5py.File(cutouts, "r") as file:
        of_frame = {int(i): n for n, i in enumerate(file["frame_id"][()])}
        transform, registration = file["transform"][()], file["registration"][()]
    fit = content.fit
    out = np.full((*fit.flux.shape, 2), np.nan)
    for i, frame_id in enumerate(content.columns["frame_id"]):
        n, place = of_frame.get(int(frame_id)), places.get(int(frame_id))
        if n is not None and place is not None:
            # `transform` holds the WCS's map around the region and the registration, and ends in the stamp's pixels.
            at_region = np.array(place) + registration[n] + fit.translation[i]
            out[i] = fit.offset @ transform[n, :, :2].T + at_region
    return np.where(np.isfinite(fit.flux)[:, :, None], out, np.nan)


def _write_estimators(group: h5py.Group, estimators: Estimators) -> None:
    values = {"radii": estimators.radii, "scale": estimators.scale, **attrs.asdict(estimators.weights)}
    for name, value in values.items():
        group[name] = value


def _read_estimators(group: h5py.Group) -> Estimators:
    v = {name: group[name][()] for name in group}
    weights = FluxWeights(v["flux"], v["weights"], float(v["noise_factor"]), float(v["scatter"]))
    return Estimators(v["radii"], v["scale"], weights)


def _write_columns(file: h5py.File, columns: EpochColumns) -> None:
    import h5py

    for name in STORED_COLUMNS:
        values = columns[name]
        file.create_dataset(name, data=values, dtype=h5py.string_dtype() if values.dtype == object else None)


def _read_columns(file: h5py.File) -> EpochColumns:
    out = {}
    for name in STORED_COLUMNS:
        values = file[name][()]
        out[name] = np.array([v.decode() for v in values], object) if values.dtype == object else values
    return out


@attrs.frozen(eq=False)
class FitFile:
    """A region's fit in one instrument and band, with the columns of its epochs."""

    instrument: str
    band: str
    names: list[str]
    fit: RoiFit
    columns: EpochColumns  # STORED_COLUMNS
    zeropoint: float  # mag; nan where there is none
    zeropoint_uncertainty: float
    system: str


_FIT_ARRAYS = ("flux", "covariance", "common_covariance", "offset", "offset_covariance", "translation", "model",
               "outliers", "reduced_chi2", "loss_history")  # fmt: skip


def write_fit(path: Path, content: FitFile) -> None:
    """Write a region's fit, with the covariances between its sources."""
    import h5py

    with new_file(path, content.fit.model.nbytes + content.fit.outliers.nbytes) as file:
        for name in _FIT_ARRAYS:
            file[name] = getattr(content.fit, name)
        _write_columns(file, content.columns)
        for name in ("background", "model", "transform"):
            file[f"high_resolution/{name}"] = getattr(content.fit.high_resolution, name)
        file.create_dataset("sources", data=np.array(content.names, dtype=h5py.string_dtype()))
        status = content.fit.status
        file.attrs.update(
            instrument=content.instrument, band=content.band, system=content.system, zeropoint=content.zeropoint,
            zeropoint_uncertainty=content.zeropoint_uncertainty, state=status.state.value,
            evaluations=status.evaluations, reason=status.reason,
        )  # fmt: skip


def read_fit(path: Path) -> FitFile:
    """Read what :func:`write_fit` wrote."""
    import h5py

    with h5py.File(path, "r") as file:
        arrays = {n: file[n][()] for n in _FIT_ARRAYS}
        columns = _read_columns(file)
        high = HighResolution(*(file[f"high_resolution/{n}"][()] for n in ("background", "model", "transform")))
        names = [n.decode() for n in file["sources"][()]]
        a = dict(file.attrs)
    status = FitStatus(FitState(a["state"]), int(a["evaluations"]), a["reason"])
    return FitFile(
        instrument=a["instrument"], band=a["band"], names=names,
        fit=RoiFit(high_resolution=high, status=status, **arrays), columns=columns, zeropoint=float(a["zeropoint"]),
        zeropoint_uncertainty=float(a["zeropoint_uncertainty"]), system=a["system"],
    )  # fmt: skip


def high_resolution_header(transform: Floats, ra: float, dec: float) -> fits.Header:
    """Return the WCS of an image on small pixels; `transform` maps sky offsets around (ra, dec) to these pixels."""
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = transform[:, 2] + 1
    wcs.wcs.cd = np.linalg.inv(transform[:, :2]) / 3600.0
    header: fits.Header = wcs.to_header()
    return header


def write_images(folder: Path, name: str, fit: RoiFit, ra: float, dec: float) -> None:
    """Write the two high-resolution images, with and without point sources."""
    from astropy.io import fits

    high = fit.high_resolution
    header = high_resolution_header(high.transform, ra, dec)
    header["BUNIT"] = "electron/s"
    for kind, image in (("high_res_model", high.model), ("background", high.background)):
        with atomic(folder / f"{name}_{kind}.fits") as temporary:
            fits.PrimaryHDU(np.asarray(image, np.float32), header).writeto(temporary)


def write_astrometry(path: Path, names: list[str], fit: RoiFit, place: tuple[float, float] | None) -> None:
    """Write the fitted positions, degrees ICRS, with their errors in arcsec.

    Where the region has no one place, because it moves, they are arcsec east and north of where its ephemeris has it.
    """
    error = np.sqrt(np.clip(np.diag(fit.offset_covariance), 0, None)).reshape(-1, 2)
    keys, values = ("east_arcsec", "north_arcsec"), (fit.offset[:, 0], fit.offset[:, 1])
    if place is not None:
        keys, values = ("ra", "dec"), from_plane(*values, *place)
    content = {
        name: {**{key: float(value[i]) for key, value in zip(keys, values, strict=True)},
               "ra_error_arcsec": float(error[i, 0]), "dec_error_arcsec": float(error[i, 1])}
        for i, name in enumerate(names)
    }  # fmt: skip
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
