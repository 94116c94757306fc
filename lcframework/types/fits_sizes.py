"""What the headers of a FITS file state of its size, compared with its length before anything is read."""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from lcframework.types.failures import UnusableInput

_BLOCK, _CARD = 2880, 80
_AT_ONCE = 1 << 20
#: The standard's limit.
_MOST_AXES = 999
#: A header of more blocks, 40 000 cards, is none.
_MOST_BLOCKS = 1100
#: A file shorter than a part of what it states is truncated beyond use; where more is there, its reader says so.
_PART_THERE = 4
#: No compression of images makes pixels so much smaller.
_BEST_COMPRESSION = 5000
_PACKERS: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
_UNPACKING = (OSError, EOFError, zlib.error, lzma.LZMAError)
_SIZE = re.compile(rb"(Z?NAXIS\d*|Z?BITPIX|PCOUNT|GCOUNT) *= *([-+]?\d+)")


def check_fits_sizes(path: Path) -> None:
    """Refuse a file whose headers state what its length can't hold, and a packed one that is damaged.

    A file that is no FITS passes: its reader says what is wrong with it.

    Parameters
    ----------
    path : Path
        A FITS file, or a packed one, which is unpacked once to see that it is whole.

    Raises
    ------
    UnusableInput
        Where a header states more axes than there can be, or more data than the file can hold, or does not end; where
        it is packed and damaged.
    """
    try:
        length = path.stat().st_size
        with path.open("rb") as stream:
            if (unpacked := open_packed(path)) is not None:
                with unpacked:
                    sizes = _header(unpacked, path.name)
                    _check_there(sizes or {}, _unpacked_length(unpacked, path.name), path.name)
                return
            while stream.tell() < length:
                sizes = _header(stream, path.name)
                if sizes is None:
                    return
                _check_compressed(sizes, length, path.name)
                data = _check_there(sizes, length, path.name)
                stream.seek(-(-data // _BLOCK) * _BLOCK, 1)
    except _UNPACKING:
        return  # the reader says so


def what_lacks(path: Path) -> str:
    """Return what a FITS file lacks of what its own headers state, in words; empty where it is whole.

    What is no FITS, or has headers that make no sense, lacks nothing that could still come: its reader says what is
    wrong with it. Of the last block's filling nothing is asked, because many writers leave it out.

    Parameters
    ----------
    path : Path
        A FITS file, or a packed one, of which the whole stream is unpacked.

    Raises
    ------
    OSError
        Where the file can't be read.
    """
    length = path.stat().st_size
    if length == 0:
        return "it is empty"
    packed: BinaryIO | None = None
    try:
        if (packed := open_packed(path)) is not None:
            with packed:
                _unpacked_length(packed, path.name)
            return ""
        with path.open("rb") as stream:
            return _lacking(stream, length, path.name)
    except UnusableInput as error:
        return str(error) if packed is not None else ""


def _lacking(stream: BinaryIO, length: int, name: str) -> str:
    """Return what an unpacked file of this length lacks."""
    while (start := stream.tell()) < length:
        sizes = _header(stream, name)
        if sizes is None:
            stream.seek(start)
            begins = stream.read(9)
            wanted = (b"SIMPLE  =", b"XTENSION=") if start else (b"SIMPLE  =",)
            return "its header does not end yet" if any(w.startswith(begins) for w in wanted) else ""
        data = _data_bytes(sizes)
        if stream.tell() + data > length:
            return f"its headers state {stream.tell() + data} bytes, and {length} are there"
        stream.seek(-(-data // _BLOCK) * _BLOCK, 1)
    return ""


def open_packed(path: Path) -> BinaryIO | None:
    """Return the contents of a file that gzip, bzip2 or xz packed, as a stream; None for other files.

    Raises
    ------
    OSError
        Where the file can't be read.
    """
    with path.open("rb") as stream:
        opened = _PACKERS.get(stream.read(2))
    return opened(path) if opened is not None else None


def _header(stream: BinaryIO, name: str) -> dict[str, int] | None:
    """Return the sizes that the next header states; None where there is no further header."""
    sizes: dict[str, int] = {}
    for number in range(_MOST_BLOCKS):
        block = stream.read(_BLOCK)
        if len(block) < _BLOCK or (number == 0 and not block.startswith((b"SIMPLE", b"XTENSION"))):
            return None
        for start in range(0, _BLOCK, _CARD):
            card = block[start : start + _CARD]
            if found := _SIZE.match(card):
                keyword, digits = found[1].decode(), found[2].decode()
                if len(digits) > 19:
                    raise UnusableInput(f"{name} states {keyword} = {digits[:24]}: no file has so much")
                sizes.setdefault(keyword, int(digits))
            elif card.rstrip() == b"END":
                _check_axes(sizes, name)
                return sizes
    raise UnusableInput(f"{name} has a header without an end in its first {_MOST_BLOCKS * _BLOCK} bytes")


def _unpacked_length(stream: BinaryIO, name: str) -> int:
    """Unpack all, to find a damaged stream: the reader of FITS would look for further headers in it for ever."""
    try:
        while stream.read(_AT_ONCE):
            pass
        return stream.tell()
    except _UNPACKING as error:
        raise UnusableInput(f"{name} is truncated or damaged: it can't be unpacked ({error})") from None


def _check_axes(sizes: dict[str, int], name: str) -> None:
    for keyword in ("NAXIS", "ZNAXIS"):
        if not 0 <= sizes.get(keyword, 0) <= _MOST_AXES:
            raise UnusableInput(f"{name} states {keyword} = {sizes[keyword]}: FITS has at most {_MOST_AXES} axes")


def _check_compressed(sizes: dict[str, int], length: int, name: str) -> None:
    pixels = _bytes(sizes, "Z")
    if pixels > _BEST_COMPRESSION * length:
        raise UnusableInput(f"{name} states a compressed image of {pixels} bytes; the whole file has {length}")


def _check_there(sizes: dict[str, int], length: int, name: str) -> int:
    """Return how many bytes of data a header states; of these a file of this length must have a good part."""
    data = _data_bytes(sizes)
    if data > _PART_THERE * length + _BLOCK:
        raise UnusableInput(f"{name} is truncated: its header states {data} bytes of data, and the file has {length}")
    return data


def _data_bytes(sizes: dict[str, int]) -> int:
    return _bytes(sizes, "") + abs(sizes.get("BITPIX", 8)) // 8 * max(0, sizes.get("PCOUNT", 0))


def _bytes(sizes: dict[str, int], kind: str) -> int:
    axes = [max(0, sizes.get(f"{kind}NAXIS{i + 1}", 0)) for i in range(sizes.get(f"{kind}NAXIS", 0))]
    groups = max(1, sizes.get("GCOUNT", 1)) if not kind else 1
    return abs(sizes.get(f"{kind}BITPIX", 8)) // 8 * math.prod(axes) * groups if axes else 0
