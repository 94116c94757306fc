"""Files of stamps: one file for each frame and field, in the layout of a frame's group in ``regions.h5``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from lcframework.storage.files import atomic
from lcframework.types import Floats, Ints, PixelFlag


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
        """The position (x, y) of the stamp's centre in the frame, pixels."""
        ny, nx = self.data.shape
        return self.corner[0] + (nx - 1) / 2, self.corner[1] + (ny - 1) / 2


def write_stamps(path: Path, stamps: Mapping[str, Stamp], frame_shape: tuple[int, int]) -> None:
    """Write one frame's stamps in the layout of a frame's group of ``regions.h5``."""
    import h5py

    with atomic(path) as temporary, h5py.File(temporary, "w", libver="latest") as file:
        file["frame_shape"] = np.asarray(frame_shape)
        groups = {kind: file.create_group(kind) for kind in (*STAMP_DATASETS, "corner")}
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


#: The datasets of each stamp in a frame's group in ``regions.h5``.
STAMP_DATASETS = ("data", "noisemap", "mask", "wcs", "cosmicsmask", "image_pixel_coordinates")
#: Bytes; HDF5 limits a compact dataset with its header to 64 KiB.
_LARGEST_COMPACT = 60_000


def _put(group: Any, name: str, array: Any) -> None:
    """Make a dataset with HDF5's own calls: those of h5py are slower, and a frame has hundreds of small datasets."""
    import h5py

    array = np.asarray(array, order="C")
    kind = h5py.h5t.py_create(array.dtype, logical=True)
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if array.nbytes < _LARGEST_COMPACT:
        options.set_layout(h5py.h5d.COMPACT)
    made = h5py.h5d.create(group.id, name.encode(), kind, h5py.h5s.create_simple(array.shape), options)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, array)


def _get(group: Any, name: str) -> Any:
    """Return an array that :func:`_put` wrote."""
    import h5py

    found = h5py.h5d.open(group.id, name.encode())
    array = np.empty(found.shape, found.dtype)
    found.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
    return array


def read_stamps(path: Path, names: list[str] | None = None, wcs: bool = True) -> dict[str, Stamp]:
    """Read stamps that :func:`write_stamps` wrote: all of them, or those of `names` that exist.

    Without `wcs` their headers stay empty; reading then takes half the time.
    """
    import h5py

    out = {}
    with h5py.File(path, "r") as file:
        groups = {kind: file[kind] for kind in (*STAMP_DATASETS, "corner")}
        existing = set(groups["data"])
        for name in names if names is not None else groups["data"]:
            if name not in existing:
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
