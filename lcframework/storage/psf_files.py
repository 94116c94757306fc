"""Files of PSFs (HDF5)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lcframework.storage.files import atomic
from lcframework.types import PSF, FitState, FitStatus


def write_psf(path: Path, psf: PSF, star_ids: list[str]) -> None:
    """Write one frame's PSF in the layout of ``psf_<ref>`` of ``regions.h5``."""
    import h5py

    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        file["narrow_psf"] = psf.narrow
        file["full_psf"] = psf.full
        file["subsampling_factor"] = psf.subsampling_factor
        file["target_fwhm"] = psf.target_fwhm
        file["frame_shape"] = np.asarray(psf.frame_shape)
        distortion = file.create_group("distortion")
        for name, values in psf.distortion.items():
            distortion[name] = values
        fit = file.create_group("fit")
        fit["stars"] = np.array(star_ids, dtype=h5py.string_dtype())
        fit["residuals"] = np.asarray(psf.residuals, np.float32)
        fit["outliers"] = psf.outliers
        fit["star_chi2"] = psf.star_chi2
        fit["loss_history"] = psf.loss_history
        fit["precision"] = np.asarray(psf.precision, np.float32)
        fit["misfit"] = psf.misfit


def read_psf(path: Path) -> PSF:
    """Read the parts of a PSF that photometry needs from a file that :func:`write_psf` wrote."""
    import h5py

    with h5py.File(path, "r") as file:
        return PSF(
            narrow=file["narrow_psf"][()],
            full=file["full_psf"][()],
            subsampling_factor=int(file["subsampling_factor"][()]),
            target_fwhm=float(file["target_fwhm"][()]),
            status=FitStatus(FitState.CONVERGED),
            reduced_chi2=float("nan"),
            distortion={k: v[()] for k, v in file["distortion"].items()},
            frame_shape=tuple(int(v) for v in file["frame_shape"][()]),  # type: ignore[arg-type]
            precision=file["fit/precision"][()].astype(float) if "precision" in file["fit"] else np.zeros((0, 0)),
            misfit=file["fit/misfit"][()] if "misfit" in file["fit"] else np.zeros(0),
        )
