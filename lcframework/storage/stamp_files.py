"""Files of stamps: one file for each frame and field, in the layout of a frame's group in ``regions.h5``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from lcframework.storage import hdf5
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


#: The datasets of each stamp in a frame's group in ``regions.h5``.
STAMP_DATASETS = ("data", "noisemap", "mask", "wcs", "cosmicsmask", "image_pixel_coordinates")
#: The group of what is stored for all stamps together, and its attribute: the region that also has the name ``ROI``.
TOGETHER, ALIAS_OF = "together", "alias_of"
#: Another name for the first region.
ALIAS = "ROI"


def write_stamps(path: Path, stamps: Mapping[str, Stamp], frame_shape: tuple[int, int], alias_of: str = "") -> None:
    """Write one frame's stamps in the layout of a frame's group of ``regions.h5``.

    Parameters
    ----------
    path : Path
        The file.
    stamps : mapping
        By the name of their star or region.
    frame_shape : (int, int)
        The frame's (ny, nx).
    alias_of : str
        The region that also gets the name ``ROI``, where it is among the stamps.
    """
    with hdf5.packed_file(path) as file:
        file["frame_shape"] = np.asarray(frame_shape)
        groups = {kind: file.create_group(kind) for kind in STAMP_DATASETS}
        together = file.create_group(TOGETHER)
        together.attrs[ALIAS_OF] = alias_of if alias_of in stamps else ""
        positions = {name: np.add(stamp.centre, stamp.offset) for name, stamp in stamps.items()}
        _put_together(together, stamps, positions)
        known: dict[tuple[Any, ...], Any] = {}
        for i, (name, stamp) in enumerate(stamps.items()):
            hdf5.put(groups["data"], name, np.asarray(stamp.data, np.float32))
            hdf5.put(groups["noisemap"], name, np.asarray(stamp.noise, np.float32))
            hdf5.put(groups["image_pixel_coordinates"], name, positions[name])
            _put_once(groups["mask"], name, np.asarray(stamp.mask), known)
            _put_once(groups["cosmicsmask"], name, (np.asarray(stamp.mask) & PixelFlag.COSMIC.value) > 0, known)
            _link_text(groups["wcs"], name, together["wcs"], i)
        if alias_of in stamps:
            for group in groups.values():
                group[ALIAS] = group[alias_of]


def _put_together(group: Any, stamps: Mapping[str, Stamp], positions: Mapping[str, Floats]) -> None:
    """Write what is a few bytes of each stamp, or a text that hardly differs, for all of them."""
    if not stamps:
        return
    hdf5.put(group, "names", np.array([name.encode() for name in stamps]))
    hdf5.put(group, "corner", np.array([stamp.corner for stamp in stamps.values()]))
    hdf5.put(group, "image_pixel_coordinates", np.array(list(positions.values()), float))
    texts = np.array([stamp.wcs.encode() for stamp in stamps.values()])
    group.create_dataset("wcs", data=texts, chunks=texts.shape, compression="gzip")


def _put_once(group: Any, name: str, array: Any, known: dict[tuple[Any, ...], Any]) -> None:
    """Make a dataset, or a second name of an equal one: most stamps have no cosmic ray, and many an equal mask."""
    content = (array.dtype.char, array.shape, array.tobytes())
    if content in known:
        hdf5.link(group, name, known[content])
    else:
        known[content] = hdf5.put(group, name, array)


def _link_text(group: Any, name: str, texts: Any, i: int) -> None:
    """Make a dataset that shows one of the texts, which are compressed together (a virtual dataset)."""
    import h5py

    source = texts.id.get_space()
    source.select_hyperslab((i,), (1,))
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    options.set_obj_track_times(False)
    one = h5py.h5s.create(h5py.h5s.SCALAR)
    options.set_virtual(one, b".", texts.name.encode(), source)
    h5py.h5d.create(group.id, name.encode(), texts.id.get_type(), one, options)


def read_stamps(path: Path, names: Sequence[str] | None = None, wcs: bool = True) -> dict[str, Stamp]:
    """Read stamps that :func:`write_stamps` wrote: all of them, or those of `names` that exist.

    Without `wcs` their headers stay empty.
    """
    import h5py

    out = {}
    with h5py.File(path, "r") as file:
        groups = {kind: file[kind] for kind in ("data", "noisemap", "mask")}
        corners, positions, texts = _read_together(file, wcs)
        for name in names if names is not None else corners:
            if name not in corners:
                continue
            data = hdf5.get(groups["data"], name)
            corner, xy = corners[name], positions[name]
            centre = np.add(corner, (np.array(data.shape)[::-1] - 1) / 2)
            out[name] = Stamp(
                data,
                hdf5.get(groups["noisemap"], name),
                hdf5.get(groups["mask"], name),
                corner,
                (float(xy[0] - centre[0]), float(xy[1] - centre[1])),
                texts.get(name, ""),
            )
    return out


def _read_together(file: Any, wcs: bool) -> tuple[dict[str, tuple[int, int]], dict[str, Floats], dict[str, str]]:
    """Return by name the corners, the positions and, where asked for, the WCS texts of a file's stamps."""
    if TOGETHER not in file:  # written by a version that kept each stamp's apart
        names = list(file["corner"])
        corners = [hdf5.get(file["corner"], name) for name in names]
        positions = [hdf5.get(file["image_pixel_coordinates"], name) for name in names]
        texts = [file["wcs"][name][()] for name in names] if wcs else []
    elif "names" not in file[TOGETHER]:
        return {}, {}, {}
    else:
        group = file[TOGETHER]
        names = [name.decode() for name in group["names"][()]]
        corners, positions = list(group["corner"][()]), list(group["image_pixel_coordinates"][()])
        texts = list(group["wcs"][()]) if wcs else []
    return (
        {name: (int(x), int(y)) for name, (x, y) in zip(names, corners, strict=True)},
        dict(zip(names, positions, strict=True)),
        dict(zip(names, (text.decode() for text in texts), strict=False)),
    )
