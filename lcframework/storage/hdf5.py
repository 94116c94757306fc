"""What the HDF5 files of products share: a format that older libraries read, and small arrays in few bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

#: Written by the rules of HDF5 1.10 also where the library is newer, so that other programs read the files.
_RULES = ("v110", "v110")
#: Bytes; smaller arrays lie beside their description, where they take least room. HDF5 limits both to 64 KiB together.
_COMPRESSED = 512
_DEFLATE = 4  # the higher levels take three times as long for a hundredth less


def create(path: Path) -> Any:
    """Open a new HDF5 file."""
    import h5py

    return h5py.File(path, "w", libver=_RULES)


@contextlib.contextmanager
def packed(path: Path) -> Iterator[Any]:
    """Yield a file in memory, and copy it to a new HDF5 file at the end.

    HDF5 reserves room for attributes with each dataset, more than a small array takes. Copying leaves that out: a sixth
    of a file of stamps.
    """
    import h5py

    with h5py.File(path.name, "w", libver=_RULES, driver="core", backing_store=False) as file:
        yield file
        with create(path) as target:
            for name in file:
                file.copy(name, target)


def change(path: Path) -> Any:
    """Open an existing HDF5 file to change it."""
    import h5py

    return h5py.File(path, "r+", libver=_RULES)


def put(group: Any, name: str, array: Any) -> Any:
    """Make a dataset, and return its identifier; one of more than a few hundred bytes is compressed, without loss.

    HDF5's own calls are used: those of h5py are slower, and a frame has hundreds of small datasets.
    """
    import h5py

    array = np.asarray(array, order="C")
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    options.set_obj_track_times(False)
    options.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    if array.nbytes < _COMPRESSED:
        options.set_layout(h5py.h5d.COMPACT)
    else:
        options.set_chunk(array.shape)
        if array.itemsize > 1:
            options.set_shuffle()  # the bytes of a kind stand together: signs and exponents are alike
        options.set_deflate(_DEFLATE)
    kind = h5py.h5t.py_create(array.dtype, logical=True)
    made = h5py.h5d.create(group.id, name.encode(), kind, h5py.h5s.create_simple(array.shape), options)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, array)
    return made


def link(group: Any, name: str, made: Any) -> None:
    """Give a dataset that :func:`put` made another name."""
    import h5py

    h5py.h5o.link(made, group.id, name.encode())


def get(group: Any, name: str) -> Any:
    """Return an array that :func:`put` wrote."""
    import h5py

    found = h5py.h5d.open(group.id, name.encode())
    array = np.empty(found.shape, found.dtype)
    found.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
    return array


def rounded(array: Any, bits: int) -> Any:
    """Return float32 values rounded to `bits` binary digits, so that they compress; by at most a part in 2**bits."""
    dropped = 24 - bits
    whole = np.asarray(array, np.float32).view(np.uint32)
    kept = (whole + np.uint32(1 << (dropped - 1))) & ~np.uint32((1 << dropped) - 1)
    return np.where(np.isfinite(array), kept.view(np.float32), np.asarray(array, np.float32))
