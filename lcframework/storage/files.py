"""Products on disk: atomic writes, frames in FITS, stamps and PSFs in HDF5, and ``regions.h5`` that joins them."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import h5py
import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS

from lcframework.types import PSF, Floats, Ints, PixelFlag, UnusableInput

REGIONS = "regions.h5"
#: The folders of products in the workdir, which may hold folders of the user's besides.
FOLDERS = ("frames", "regions", "prepared_roi_cutouts", "plots", "report")
_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")


@contextlib.contextmanager
def atomic(path: Path, durable: bool = True) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success its file is fsynced and renamed to `path`.

    What is not `durable` is not fsynced: it can be made again should the machine, and not just the run, go down.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if durable:
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
        temporary.replace(path)
        if durable:
            _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(workdir: Path) -> None:
    """Delete the temporary files of runs that were killed."""
    for folder in (workdir, *(workdir / name for name in FOLDERS)):
        for path in folder.rglob(".*.tmp") if folder != workdir else folder.glob(".*.tmp"):
            if _TEMPORARY.fullmatch(path.name):
                path.unlink(missing_ok=True)


# ---------------------------------------------------------------- frames


def write_frame(path: Path, image: Floats, mask: Ints, header: fits.Header) -> None:
    """Write an imported frame: the image in e-/s and its mask of :class:`~lcframework.types.PixelFlag` bits."""
    primary = fits.PrimaryHDU(np.asarray(image, np.float32), header)
    flags = fits.ImageHDU(np.asarray(mask, np.uint8), name="MASK")
    with atomic(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        fits.HDUList([primary, flags]).writeto(temporary, output_verify="silentfix", overwrite=True)


def read_frame(path: Path) -> tuple[Floats, Ints, fits.Header]:
    """Return an imported frame's image, mask and header.

    Raises
    ------
    UnusableInput
        Where the file is gone or damaged; importing it again (``--force``) mends that.
    """
    try:
        with fits.open(path, memmap=False) as hdus:
            image = np.asarray(hdus[0].data, np.float32)
            return image, np.asarray(hdus["MASK"].data, np.uint8), hdus[0].header
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UnusableInput(
            f"the imported frame {path} can't be read ({error}); make it again with "
            "`lcf run --force read_convert_skysub_character_catalog`"
        ) from None


def ascii_text(text: str) -> str:
    """Return a text as a FITS header takes it."""
    return text.encode("ascii", "replace").decode()


def write_table(path: Path, table: Table) -> None:
    """Write a table's columns and their units as FITS."""
    hdu = fits.BinTableHDU(table.filled().as_array())
    for i, name in enumerate(table.colnames, 1):  # as cards: through `Table.write` they cost ten times the whole
        if table[name].unit is not None:
            hdu.header.set(f"TUNIT{i}", table[name].unit.to_string("fits"), after=f"TFORM{i}")
    with atomic(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(temporary, overwrite=True)


def read_table(path: Path) -> Table:
    """Read a table that :func:`write_table` wrote."""
    with fits.open(path, memmap=False) as hdus:
        data = np.asarray(hdus[1].data)
        return Table(data.astype(data.dtype.newbyteorder("=")))


def write_wcs(path: Path, header: fits.Header) -> None:
    """Write a WCS header as text."""
    with atomic(path) as temporary:
        temporary.write_text(header.tostring(sep="\n", padding=False), encoding="ascii")


def read_wcs_header(path: Path) -> fits.Header:
    """Read the header that :func:`write_wcs` wrote."""
    return fits.Header.fromstring(path.read_text(encoding="ascii"), sep="\n")


def read_wcs(path: Path) -> WCS:
    """Read a WCS that :func:`write_wcs` wrote."""
    return make_wcs(read_wcs_header(path))


def make_wcs(header: fits.Header) -> WCS:
    """Return a header's celestial WCS, without astropy's remarks on keywords that it mends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        return WCS(header, naxis=2)


_WCS_PREFIXES = ("CRVAL", "CRPIX", "CDELT", "CROTA", "CTYPE", "CUNIT", "CD1_", "CD2_", "PC1_", "PC2_", "PC001", "PC002",
                 "PV1_", "PV2_", "A_", "B_", "AP_", "BP_", "LONPOLE", "LATPOLE", "WCSAXES", "CPDIS", "CQDIS", "DP1",
                 "DP2", "DQ1", "DQ2", "D2IMDIS")  # fmt: skip


def with_wcs(header: fits.Header, wcs: fits.Header) -> fits.Header:
    """Return a header whose WCS keywords are those of another."""
    out = header.copy()
    for key in [k for k in out if k.startswith(_WCS_PREFIXES)]:
        del out[key]
    for card in wcs.cards:
        if card.keyword.startswith((*_WCS_PREFIXES, "RADESYS", "EQUINOX")):
            out[card.keyword] = (card.value, card.comment)
    return out


# ---------------------------------------------------------------- stamps


@attrs.frozen(eq=False)
class Stamp:
    """A cutout of a frame around one object."""

    data: Floats  # (n, n) e-/s
    noise: Floats  # (n, n)
    mask: Ints  # (n, n) PixelFlag bits
    corner: tuple[int, int]  # (x, y) of its first pixel in the frame
    offset: tuple[float, float]  # the object's expected position from the stamp's centre, pixels
    wcs: str  # header text

    @property
    def centre(self) -> tuple[float, float]:
        """Where the stamp's central point lies in the frame."""
        ny, nx = self.data.shape
        return self.corner[0] + (nx - 1) / 2, self.corner[1] + (ny - 1) / 2


def write_stamps(path: Path, stamps: Mapping[str, Stamp], frame_shape: tuple[int, int]) -> None:
    """Write one frame's stamps in the layout of a frame's group of ``regions.h5``."""
    with atomic(path) as temporary, h5py.File(temporary, "w", libver="latest") as file:
        file["frame_shape"] = np.asarray(frame_shape)
        groups = {kind: file.create_group(kind) for kind in (*_KINDS, "corner")}
        for name, stamp in stamps.items():
            values = {
                "data": np.asarray(stamp.data, np.float32),
                "noisemap": np.asarray(stamp.noise, np.float32),
                "mask": stamp.mask,
                "cosmicsmask": (stamp.mask & PixelFlag.COSMIC.value) > 0,
                "image_pixel_coordinates": np.add(stamp.centre, stamp.offset),
                "corner": np.asarray(stamp.corner),
            }
            for kind, array in values.items():
                _put(groups[kind], name, array)
            _put(groups["wcs"], name, np.array(stamp.wcs, h5py.string_dtype()))


#: What a frame's group in ``regions.h5`` holds of each stamp.
_KINDS = ("data", "noisemap", "mask", "wcs", "cosmicsmask", "image_pixel_coordinates")
#: What the first region is called besides.
_ALIAS = "ROI"
#: Bytes; HDF5 allows 64 KiB in all.
_LARGEST_COMPACT = 60_000


def _put(group: Any, name: str, array: Any) -> None:
    """Make a dataset by HDF5's own calls: h5py's are slower, and a frame has hundreds of small ones."""
    array = np.asarray(array, order="C")
    kind = h5py.h5t.py_create(array.dtype, logical=True)
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if array.nbytes < _LARGEST_COMPACT:
        options.set_layout(h5py.h5d.COMPACT)
    made = h5py.h5d.create(group.id, name.encode(), kind, h5py.h5s.create_simple(array.shape), options)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, array)


def _get(group: Any, name: str) -> Any:
    """Return what :func:`_put` put."""
    there = h5py.h5d.open(group.id, name.encode())
    array = np.empty(there.shape, there.dtype)
    there.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
    return array


def read_stamps(path: Path, names: list[str] | None = None, wcs: bool = True) -> dict[str, Stamp]:
    """Read stamps that :func:`write_stamps` wrote; all of them, or those named that are there.

    Without `wcs` their headers stay empty, which takes half the time.
    """
    out = {}
    with h5py.File(path, "r") as file:
        groups = {kind: file[kind] for kind in (*_KINDS, "corner")}
        there = set(groups["data"])
        for name in names if names is not None else groups["data"]:
            if name not in there:
                continue
            data = _get(groups["data"], name)
            corner = tuple(int(c) for c in _get(groups["corner"], name))
            xy = _get(groups["image_pixel_coordinates"], name)
            centre = np.add(corner, (np.array(data.shape)[::-1] - 1) / 2)
            out[name] = Stamp(
                data,
                _get(groups["noisemap"], name),
                _get(groups["mask"], name),
                (corner[0], corner[1]),
                (float(xy[0] - centre[0]), float(xy[1] - centre[1])),
                groups["wcs"][name][()].decode() if wcs else "",
            )
    return out


# ---------------------------------------------------------------- PSFs


def write_psf(path: Path, psf: PSF, star_ids: list[str]) -> None:
    """Write one frame's PSF in the layout of ``psf_<ref>`` of ``regions.h5``."""
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


def read_psf(path: Path) -> PSF:
    """Read what measuring needs of a PSF that :func:`write_psf` wrote."""
    from lcframework.types import FitState, FitStatus

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
        )


# ---------------------------------------------------------------- regions.h5


def write_regions(workdir: Path, frames: Mapping[str, tuple[Sequence[str], Mapping[str, str]]], first_roi: str) -> None:
    """Rebuild ``regions.h5``: real groups a frame, external links to the write-once files below.

    Parameters
    ----------
    workdir : Path
        The project's folder of products.
    frames : mapping
        For each frame's key: its stamps files, and its PSF files by reference; paths relative to `workdir`. A star of
        several fields is the same in each of their files.
    first_roi : str
        The region for which ``ROI`` is an alias, unless a region is called so.
    """
    with atomic(workdir / REGIONS) as temporary, h5py.File(temporary, "w") as file:
        root = file.create_group("frames")
        names = {}
        for key, (stamps, psfs) in frames.items():
            group = root.create_group(key)
            names[key] = _link_stamps(group, workdir, stamps)
            for ref, path in psfs.items():
                group[f"psf_{ref}"] = h5py.ExternalLink(path, "/")
        if any(_ALIAS in there for there in names.values()):
            return  # a region is called so: the name means it in every frame, also where the frame lacks it
        for key, there in names.items():
            if first_roi in there:
                for kind in _KINDS:
                    _link(root[key][kind], _ALIAS, there[first_roi], f"/{kind}/{first_roi}")


def _link_stamps(group: Any, workdir: Path, files: Sequence[str]) -> dict[str, str]:
    """Link a frame's stamps, and return the file of each by name."""
    found: dict[str, str] = {}
    for path in files:
        with h5py.File(workdir / path, "r") as source:
            found = {**dict.fromkeys(source["data"], path), **found}  # every kind has the same
    group["frame_shape"] = h5py.ExternalLink(files[0], "/frame_shape")
    for kind in _KINDS:
        made = group.create_group(kind)
        for name, path in found.items():
            _link(made, name, path, f"/{kind}/{name}")
    return found


def _link(group: Any, name: str, path: str, target: str) -> None:
    """Link by HDF5's own call: there are hundreds of links a frame, and each run makes them all."""
    group.id.links.create_external(name.encode(), path.encode(), target.encode())
