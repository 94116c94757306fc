"""Headers that state what their file can't hold are refused before anything is read; others pass."""

from __future__ import annotations

import bz2
import gzip
import lzma

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from lcframework.config.sections import Frames
from lcframework.frames.raw_frames import read_raw, read_raw_header
from lcframework.types import UnusableInput, check_fits_sizes


def changed(path, **cards):
    """Replace the values of cards in a file by texts."""
    data = path.read_bytes()
    for keyword, value in cards.items():
        start = data.index(f"{keyword:<8}= ".encode())
        data = data[:start] + f"{keyword:<8}= {value:>20} /".ljust(80).encode() + data[start + 80 :]
    path.write_bytes(data)


@pytest.fixture
def frame(tmp_path):
    fits.PrimaryHDU(np.arange(400.0, dtype=np.float32).reshape(20, 20)).writeto(tmp_path / "a.fits")
    return tmp_path / "a.fits"


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ({"NAXIS": "9" * 20}, "states NAXIS = 99999999999999999999: no file has so much"),
        ({"NAXIS": "1000000000"}, "at most 999 axes"),
        ({"NAXIS": "-1"}, "at most 999 axes"),
        ({"NAXIS1": "9" * 18}, "is truncated: its header states"),
        ({"NAXIS1": "100000", "NAXIS2": "100000"}, "is truncated: its header states 40000000000 bytes"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_sizes_that_no_file_has(frame, cards, said, packed):
    changed(frame, **cards)
    if packed:
        frame.write_bytes(gzip.compress(frame.read_bytes()))
    for read in (read_raw, read_raw_header):
        with pytest.raises(UnusableInput, match=said):
            read(frame, Frames())


def test_compressed_image(tmp_path):
    path = tmp_path / "c.fits"
    hdu = fits.CompImageHDU(np.zeros((2000, 2000), np.int16), tile_shape=(500, 500), compression_type="GZIP_1")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    check_fits_sizes(path)
    assert read_raw(path, Frames()).image.shape == (2000, 2000)
    changed(path, ZNAXIS1=10**9)
    with pytest.raises(UnusableInput, match="states a compressed image of"):
        read_raw(path, Frames())


def test_second_hdu(frame):
    fits.append(frame, np.zeros((5, 5), np.int16), fits.Header())
    check_fits_sizes(frame)
    data = frame.read_bytes()
    frame.write_bytes(
        data.replace(b"NAXIS   =                    2", b"NAXIS   =                 2222")
        if data.count(b"NAXIS   =                    2") == 1
        else data[:2880] + data[2880:].replace(b"NAXIS   =                    2", b"NAXIS   =  " + b"9" * 19)
    )
    with pytest.raises(UnusableInput, match="NAXIS"):
        check_fits_sizes(frame)


def test_header_without_an_end(tmp_path):
    path = tmp_path / "endless.fits"
    path.write_bytes(b"SIMPLE  =                    T".ljust(80) + b"COMMENT x".ljust(80) * 36 * 1200)
    with pytest.raises(UnusableInput, match="without an end"):
        check_fits_sizes(path)


def test_what_is_no_fits_or_whole_passes(tmp_path, frame):
    for content in (b"", b"text", b"\x1f\x8bno gzip", b"x" * 9000):
        (tmp_path / "x").write_bytes(content)
        check_fits_sizes(tmp_path / "x")
    check_fits_sizes(frame)
    check_fits_sizes(tmp_path / "none")
    Table({"a": [1, 2], "b": ["x", "longer"]}).write(tmp_path / "t.fits")
    check_fits_sizes(tmp_path / "t.fits")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_files(frame, pack):
    """astropy looks for ever for further headers in a packed file whose first one it can't read."""
    whole = frame.read_bytes()
    frame.write_bytes(pack(whole))
    assert read_raw(frame, Frames()).image.shape == (20, 20)
    assert read_raw_header(frame, Frames())[1] == (20, 20)
    frame.write_bytes(pack(whole.replace(b"SIMPLE  =                    T", b"SIMPLE  =                    ?")))
    with pytest.raises(UnusableInput):
        read_raw(frame, Frames())
    frame.write_bytes(pack(whole)[:-9])
    with pytest.raises(UnusableInput, match="is truncated or damaged: it can't be unpacked"):
        read_raw(frame, Frames())
