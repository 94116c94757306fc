"""The files of ``prepared_roi_cutouts/``: calibrated cutouts, and what a region's model made of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
import h5py
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from lcframework.provenance import digest
from lcframework.sky.geometry import from_plane
from lcframework.storage.files import atomic
from lcframework.types import Cutouts, FitState, FitStatus, Floats, HighResolution, Kernels, RoiFit

FOLDER = "prepared_roi_cutouts"
PREFIX = "cutouts_"
#: What follows a group's name in the names of the files of its fit.
FIT_ENDINGS = ("_fit.h5", "_astrometry.json", "_high_res_model.fits", "_background.fits")
#: The folder in it of files that are of earlier runs, and that nothing stands for any more.
WITHDRAWN = "withdrawn"
K = TypeVar("K")


def slug(text: str) -> str:
    """Return a text as a part of a file name; with a digest where it does not say what the text was."""
    plain = re.sub(r"[^\w.+-]+", "-", text).strip("-")
    if text == plain:
        return text or "none"
    return f"{plain or 'name'}-{digest(text, 6)}"


def stem(roi: str, instrument: str, band: str) -> str:
    """Return the common part of a group's file names, as far as it needs no other to tell it from."""
    return f"{roi}_{slug(instrument)}_{slug(band)}"


def stem_of(cutouts: str | Path) -> str:
    """Return the common part of a group's file names from the path of its cutouts."""
    return Path(cutouts).stem.removeprefix(PREFIX)


def distinct(names: Mapping[K, str]) -> dict[K, str]:
    """Return names that files can bear side by side, on any file system.

    Names that differ by case alone, or not at all, get a digest of what they stand for.
    """
    count = Counter(name.casefold() for name in names.values())
    return {k: n if count[n.casefold()] == 1 else with_digest(n, k) for k, n in names.items()}


def with_digest(name: str, what: Any) -> str:
    """Return a name that tells what it stands for from what else would bear it."""
    return f"{name}-{digest(what, 6)}"


@attrs.frozen(eq=False)
class PreparedEpochs:
    """Calibrated cutouts and what else is kept of each epoch. Data and noise are divided by the coefficient."""

    cutouts: Cutouts
    frame_id: Any  # (e,) int
    exptime: Floats  # (e,) s
    pixel_scale: Floats  # (e,) arcsec/pixel
    angle_to_north: Floats  # (e,) degrees
    background_rms: Floats  # (e,) e-/s, before division
    coefficient: Floats  # (e,)
    registration: Floats  # (e, 2) pixels, already in `cutouts.transform`
    bjd_tdb: Floats  # (e,)
    wcs: list[str]  # (e,) header texts of the stamps
    zeropoint: float  # mag; nan where there is none
    zeropoint_uncertainty: float
    system: str
    extra_scatter: Floats = attrs.field()  # (e,) relative, of fluxes beyond their errors

    @extra_scatter.default
    def _none(self) -> Floats:
        return np.zeros(len(self.cutouts))


def write_cutouts(path: Path, epochs: PreparedEpochs) -> None:
    """Write calibrated cutouts."""
    c = epochs.cutouts
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        values: dict[str, Any] = {
            "data": c.data.astype(np.float32), "noisemap": c.noise.astype(np.float32), "mask": c.mask,
            "psf": c.kernels.values.astype(np.float32), "subsampling_factor": c.kernels.subsampling_factor,
            "psf_target_fwhm": c.kernels.target_fwhm, "mjd": c.mjd, "seeing": c.seeing, "airmass": c.airmass,
            "zenith": c.zenith, "transform": c.transform, "relative_normalization_error": c.normalization_error,
            "registration": epochs.registration, "registration_covariance": c.registration_covariance,
            "frame_id": epochs.frame_id, "exptime": epochs.exptime, "pixel_scale": epochs.pixel_scale,
            "angle_to_north": epochs.angle_to_north, "background_rms": epochs.background_rms,
            "normalization_coefficient": epochs.coefficient, "bjd_tdb": epochs.bjd_tdb,
            "global_zeropoint": epochs.zeropoint, "global_zeropoint_uncertainty": epochs.zeropoint_uncertainty,
            "magnitude_system": epochs.system, "relative_extra_scatter": epochs.extra_scatter,
            "psf_precision": c.psf_precision.astype(np.float32),
        }  # fmt: skip
        for name, value in values.items():
            file[name] = value
        file.create_dataset("wcs", data=np.array(epochs.wcs, dtype=h5py.string_dtype()))


def read_cutouts(path: Path) -> PreparedEpochs:
    """Read what :func:`write_cutouts` wrote."""
    with h5py.File(path, "r") as file:
        v = {name: file[name][()] for name in file}
    kernels = Kernels(v["psf"].astype(float), int(v["subsampling_factor"]), float(v["psf_target_fwhm"]))
    cutouts = Cutouts(
        v["data"], v["noisemap"], v["mask"], kernels, v["transform"], v["registration_covariance"], v["mjd"],
        v["seeing"], v["airmass"], v["relative_normalization_error"], v["zenith"], v["psf_precision"],
    )  # fmt: skip
    return PreparedEpochs(
        cutouts, v["frame_id"], v["exptime"], v["pixel_scale"], v["angle_to_north"], v["background_rms"],
        v["normalization_coefficient"], v["registration"], v["bjd_tdb"], [w.decode() for w in v["wcs"]],
        float(v["global_zeropoint"]), float(v["global_zeropoint_uncertainty"]), v["magnitude_system"].decode(),
        v["relative_extra_scatter"],
    )  # fmt: skip


@attrs.frozen(eq=False)
class FitFile:
    """A region's fit in one instrument and band, and the epochs that it is of."""

    instrument: str
    band: str
    names: list[str]
    fit: RoiFit
    frame_id: Any
    mjd: Floats
    bjd_tdb: Floats
    seeing: Floats
    normalization_error: Floats
    zeropoint: float
    zeropoint_uncertainty: float
    system: str
    extra_scatter: Floats = attrs.field()

    @extra_scatter.default
    def _none(self) -> Floats:
        return np.zeros(len(self.mjd))


_FIT_ARRAYS = ("flux", "covariance", "common_covariance", "offset", "offset_covariance", "translation", "model",
               "outliers", "reduced_chi2", "loss_history")  # fmt: skip
_EPOCH_ARRAYS = ("frame_id", "mjd", "bjd_tdb", "seeing", "normalization_error", "extra_scatter")


def write_fit(path: Path, content: FitFile) -> None:
    """Write a region's fit, with the covariances between its sources."""
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        for name in _FIT_ARRAYS:
            file[name] = getattr(content.fit, name)
        for name in _EPOCH_ARRAYS:
            file[name] = getattr(content, name)
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
    with h5py.File(path, "r") as file:
        arrays = {n: file[n][()] for n in (*_FIT_ARRAYS, *_EPOCH_ARRAYS)}
        high = HighResolution(*(file[f"high_resolution/{n}"][()] for n in ("background", "model", "transform")))
        names = [n.decode() for n in file["sources"][()]]
        a = dict(file.attrs)
    status = FitStatus(FitState(a["state"]), int(a["evaluations"]), a["reason"])
    fit = RoiFit(high_resolution=high, status=status, **{n: arrays[n] for n in _FIT_ARRAYS})
    return FitFile(
        instrument=a["instrument"], band=a["band"], names=names, fit=fit, zeropoint=float(a["zeropoint"]),
        zeropoint_uncertainty=float(a["zeropoint_uncertainty"]), system=a["system"],
        **{n: arrays[n] for n in _EPOCH_ARRAYS},
    )  # fmt: skip


def high_resolution_header(transform: Floats, ra: float, dec: float) -> fits.Header:
    """Return the WCS of an image whose small pixels lie at ``transform`` of sky offsets around (ra, dec)."""
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
    high = fit.high_resolution
    header = high_resolution_header(high.transform, ra, dec)
    header["BUNIT"] = "electron/s"
    for kind, image in (("high_res_model", high.model), ("background", high.background)):
        with atomic(folder / f"{name}_{kind}.fits") as temporary:
            fits.PrimaryHDU(np.asarray(image, np.float32), header).writeto(temporary)


def write_astrometry(path: Path, names: list[str], fit: RoiFit, ra: float, dec: float) -> None:
    """Write the fitted positions, degrees ICRS, with their errors in arcsec."""
    ras, decs = from_plane(fit.offset[:, 0], fit.offset[:, 1], ra, dec)
    error = np.sqrt(np.clip(np.diag(fit.offset_covariance), 0, None)).reshape(-1, 2)
    content = {
        name: {"ra": float(ras[i]), "dec": float(decs[i]), "ra_error_arcsec": float(error[i, 0]),
               "dec_error_arcsec": float(error[i, 1])}
        for i, name in enumerate(names)
    }  # fmt: skip
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
