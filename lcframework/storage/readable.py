"""Whether a product's file can be read at all, by its kind: for products without a digest, and for ``lcf doctor``."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any


def why_unreadable(path: Path) -> str:
    """Return why a file can't be read, in words; empty where it can, or where its kind is not known."""
    try:
        if path.stat().st_size == 0:
            return "it is empty"
        reader = _READERS.get(path.suffix)
        if reader is not None:
            reader(path)
    except FileNotFoundError:
        return "it is missing"
    except Exception as error:  # libraries raise whatever comes to them on garbled files
        return f"it can't be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    return ""


def _hdf5(path: Path) -> None:
    """Read all datasets of a file; other files that it links to, as ``regions.h5`` does, have checks of their own."""
    import h5py

    def read(group: Any) -> None:
        for name in group:
            if isinstance(group.get(name, getlink=True), h5py.SoftLink | h5py.ExternalLink):
                continue
            item = group[name]
            read(item) if isinstance(item, h5py.Group) else item[()]

    with h5py.File(path, "r") as file:
        read(file)


def _fits(path: Path) -> None:
    from astropy.io import fits

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with fits.open(path, memmap=False, lazy_load_hdus=False) as hdus:
            for hdu in hdus:
                _ = hdu.data
    if any("truncated" in str(warning.message) for warning in caught):
        raise ValueError("it is truncated")


def _wcs(path: Path) -> None:
    from lcframework.storage.frame_files import read_wcs

    read_wcs(path)


def _table(path: Path) -> None:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.reader(line for line in stream if not line.startswith("#"))
        widths = {len(row) for row in rows if row}
    if len(widths) > 1:
        raise ValueError("its rows have different numbers of columns")


def _json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


_READERS: dict[str, Callable[[Path], None]] = {
    ".h5": _hdf5,
    ".fits": _fits,
    ".wcs": _wcs,
    ".csv": _table,
    ".json": _json,
}
