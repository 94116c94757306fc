"""Files of PSFs (HDF5)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lcframework.storage import hdf5
from lcframework.types import PSF, FitState, FitStatus, Floats

if TYPE_CHECKING:
    import h5py

#: Residuals are for looking at: their rounding is a hundredth of the noise of a pixel five sigma off.
_RESIDUAL_BITS = 8


def write_psf(path: Path, psf: PSF, star_ids: list[str]) -> None:
    """Write one frame's PSF in the layout of ``psf_<ref>`` of ``regions.h5``.

    What further stages read is stored as it is; ``full_psf`` and ``fit/residuals``, which are for people, are rounded.
    """
    with hdf5.packed_file(path) as file:
        hdf5.put(file, "narrow_psf", psf.narrow)
        hdf5.put(file, "full_psf", np.asarray(psf.full, np.float32))
        file["subsampling_factor"] = psf.subsampling_factor
        file["target_fwhm"] = psf.target_fwhm
        file["frame_shape"] = np.asarray(psf.frame_shape)
        distortion = file.create_group("distortion")
        for name, values in psf.distortion.items():
            hdf5.put(distortion, name, values)
        fit = file.create_group("fit")
        hdf5.put(fit, "stars", np.array([name.encode() for name in star_ids], "S"))
        hdf5.put(fit, "residuals", hdf5.rounded(psf.residuals, _RESIDUAL_BITS))
        hdf5.put(fit, "outliers", psf.outliers)
        hdf5.put(fit, "star_chi2", psf.star_chi2)
        hdf5.put(fit, "loss_history", psf.loss_history)
        hdf5.put(fit, "precision", np.asarray(psf.precision, np.float32))
        hdf5.put(fit, "mean_residual", np.asarray(psf.mean_residual, np.float32))
        hdf5.put(fit, "misfit", psf.misfit)


def read_psf(path: Path) -> PSF:
    """Read the parts of a PSF that photometry needs from a file that :func:`write_psf` wrote."""
    import h5py

    with h5py.File(path, "r") as file:
        return PSF(
            narrow=file["narrow_psf"][()],
            full=file["full_psf"][()].astype(float),
            subsampling_factor=int(file["subsampling_factor"][()]),
            target_fwhm=float(file["target_fwhm"][()]),
            status=FitStatus(FitState.CONVERGED),
            reduced_chi2=float("nan"),
            distortion={k: v[()] for k, v in file["distortion"].items()},
            frame_shape=tuple(int(v) for v in file["frame_shape"][()]),  # type: ignore[arg-type]
            precision=_image(file["fit"], "precision"),
            mean_residual=_image(file["fit"], "mean_residual"),
            misfit=file["fit/misfit"][()] if "misfit" in file["fit"] else np.zeros(0),
        )


def _image(fit: h5py.Group, name: str) -> Floats:
    """Return an image of a fit; empty where it is not known, or the file older than it."""
    return np.asarray(fit[name][()], float) if name in fit else np.zeros((0, 0))
