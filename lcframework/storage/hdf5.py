"""What the HDF5 files of products share: how they are made, and small arrays in few bytes.

New files are made in memory, because HDF5's own writing ends the process where the disk is full.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lcframework.storage.faults import not_read
from lcframework.storage.files import atomic
from lcframework.types import DamagedProduct

#: Bytes; a larger file is written directly, once there is room for it.
LARGEST_IN_MEMORY = 1 << 28
#: Written by the rules of HDF5 1.10 also where the library is newer, so that other programs read the files.
_RULES = ("v110", "v110")
#: Bytes; smaller arrays lie beside their description, where they take least room. HDF5 limits both to 64 KiB together.
_COMPRESSED = 512
_DEFLATE = 4  # the higher levels take three times as long for a hundredth less


@contextlib.contextmanager
def new_file(path: Path, size: int = 0) -> Iterator[Any]:
    """Yield a new ``h5py.File``, which takes the place of `path` when it is complete.

    Parameters
    ----------
    path : Path
        The file.
    size : int
        About how many bytes will be written, where these may be many.

    Raises
    ------
    OSError
        Where it can't be written.
    """
    import h5py

    with atomic(path) as temporary:
        if size > LARGEST_IN_MEMORY:
            free = shutil.disk_usage(temporary.parent).free
            if free < 1.1 * size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            with h5py.File(temporary, "w", libver=_RULES) as file:
                yield file
            return
        with _in_memory(temporary.name) as file:
            yield file
            image = _image_of(file)
        temporary.write_bytes(image)


@contextlib.contextmanager
def packed_file(path: Path) -> Iterator[Any]:
    """Yield a new ``h5py.File``; its contents, copied to another, take the place of `path`. Raises as `new_file`.

    HDF5 reserves room for attributes with each dataset, more than a small array takes. Copying leaves that out: a sixth
    of a file of stamps.
    """
    with _in_memory(f"unpacked {path.name}") as file:
        yield file
        with new_file(path) as packed:
            for name in file:
                file.copy(name, packed)


@contextlib.contextmanager
def changed_file(path: Path) -> Iterator[Any]:
    """Yield the ``h5py.File`` of `path` to change; the changed one takes its place at the end. Raises as `new_file`."""
    import h5py

    size = path.stat().st_size
    if size > LARGEST_IN_MEMORY:
        with atomic(path) as temporary:
            shutil.copyfile(path, temporary)
            with h5py.File(temporary, "r+", libver=_RULES) as file:
                yield file
        return
    with h5py.File(path, "r+", driver="core", backing_store=False, libver=_RULES) as file:
        yield file
        image = _image_of(file)
    with atomic(path) as temporary:
        temporary.write_bytes(image)


@contextlib.contextmanager
def opened_product(path: Path) -> Iterator[Any]:
    """Yield a product's ``h5py.File`` to read.

    Raises
    ------
    DamagedProduct
        Where it is garbled.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, ValueError) as error:
        if not_read(error):
            raise
        raise DamagedProduct(path, f"it can't be read: {error}") from None


def _in_memory(name: str) -> Any:
    import h5py

    return h5py.File(name, "w", driver="core", backing_store=False, block_size=1 << 20, libver=_RULES)


def _image_of(file: Any) -> bytes:
    file.flush()
    return bytes(file.id.get_file_image())


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
