"""Seals of products' files: size and digest as they were written, by which damage is noticed."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import attrs

#: What is wrong with a file that is not there.
MISSING = "it is missing"
_CHUNK = 1 << 20


@attrs.frozen
class Seal:
    """A product's file as it was written.

    Attributes
    ----------
    path : str
        Relative to the workdir.
    size : int
        Bytes.
    digest : str
        CRC-32 of the contents: it is there against accidents, and costs a third of a cryptographic digest.
    """

    path: str
    size: int
    digest: str


def seal(workdir: Path, path: str) -> Seal:
    """Return the seal of a file as it is now."""
    size, digest = _read(workdir / path)
    return Seal(path, size, digest)


def seals(workdir: Path, paths: Iterable[Path]) -> tuple[Seal, ...]:
    """Return the seals of those files that lie in the workdir."""
    inside = {os.path.relpath(path, workdir) for path in paths}
    return tuple(seal(workdir, path) for path in sorted(inside) if not path.startswith(".."))


def wrong_size(workdir: Path, path: str, size: int | None) -> str:
    """Return what is wrong with a file by a look at its size, in words; empty where nothing is.

    Without a `size`, as for products of earlier versions, only a missing or empty file is wrong.
    """
    try:
        found = os.stat(os.path.join(workdir, path)).st_size  # asked of every file: a Path takes far longer
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    if found == 0 and size != 0:
        return "it is empty"
    if size is not None and found != size:
        return f"it has {found} bytes and was written with {size}"
    return ""


def wrong(workdir: Path, sealed: Seal) -> str:
    """Return what is wrong with a file, in words, by its size and contents; empty where it is as it was written."""
    found = wrong_size(workdir, sealed.path, sealed.size)
    if not found and _read(workdir / sealed.path)[1] != sealed.digest:
        found = "its contents changed after it was written"
    return found


def _read(path: Path) -> tuple[int, str]:
    """Return the size and digest of a file's contents."""
    size = value = 0
    with path.open("rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK):
            value, size = zlib.crc32(chunk, value), size + len(chunk)
    return size, f"{value:08x}"
