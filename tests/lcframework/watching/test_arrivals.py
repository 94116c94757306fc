"""Which files are whole: followed over time, with a clock of the test."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lcframework.types.fits_sizes import what_lacks
from lcframework.watching.arrivals import Arrivals, Stamp, is_temporary


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def arrivals(clock: Clock) -> Arrivals:
    return Arrivals(settle=5.0, patience=60.0, clock=clock)


def whole(path: Path) -> bytes:
    """Write a frame with an extension, and return its bytes."""
    image = fits.PrimaryHDU(np.arange(6000, dtype=np.int16).reshape(60, 100))
    fits.HDUList([image, fits.ImageHDU(np.zeros((50, 50), np.float32))]).writeto(path, overwrite=True)
    return path.read_bytes()


def stamps(*paths: Path) -> dict[Path, Stamp]:
    return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in paths}


def test_what_a_file_lacks(tmp_path: Path) -> None:
    path = tmp_path / "frame.fits"
    content = whole(path)
    first, extension = 2880 + 5 * 2880, len(content) - 4 * 2880
    assert what_lacks(path) == ""
    for size, lack in (
        (0, "empty"), (5, "header does not end"), (2879, "header does not end"), (2880, "14880 bytes"),
        (2880 + 11999, "14880 bytes"), (extension - 80, "header does not end"), (len(content) - 2881, "bytes"),
    ):  # fmt: skip
        path.write_bytes(content[:size])
        assert lack in what_lacks(path), size
    # The filling of the last block may be left out; the first image by itself is a whole file.
    for size in (2880 + 12000, first):
        path.write_bytes(content[:size])
        assert what_lacks(path) == "", size
    path.write_bytes(b"no FITS at all")
    assert what_lacks(path) == ""


def test_what_a_packed_file_lacks(tmp_path: Path) -> None:
    path = tmp_path / "frame.fits.gz"
    packed = gzip.compress(whole(tmp_path / "frame.fits"))
    path.write_bytes(packed)
    assert what_lacks(path) == ""
    for size in (30, len(packed) // 2, len(packed) - 4):
        path.write_bytes(packed[:size])
        assert "can't be unpacked" in what_lacks(path), size


@pytest.mark.parametrize(
    ("name", "temporary"),
    [("a.fits", False), ("a.fits.part", True), (".a.fits.Xy12z", True), ("a.tmp", True), ("a.fits~", True),
     ("._a.fits", True), ("a.fits.filepart", True), ("part.fits", False)],
)  # fmt: skip
def test_names_of_files_that_are_being_written(name: str, temporary: bool) -> None:
    assert is_temporary(Path(name)) is temporary


def test_a_file_is_taken_once_it_is_whole_and_rests(tmp_path: Path, arrivals: Arrivals, clock: Clock) -> None:
    path = tmp_path / "slow.fits"
    content = whole(path)
    for i, size in enumerate((2000, 9000, len(content))):
        path.write_bytes(content[:size])
        clock.now = 10.0 * i
        assert list(arrivals.look(stamps(path), {}).waiting) == [path]  # it has just changed
        clock.now += 6.0
        look = arrivals.look(stamps(path), {})
        assert look.ready == ((path,) if size == len(content) else ())
    arrivals.take(look.ready, stamps(path))
    assert arrivals.look(stamps(path), {}).settled == (path,)


def test_a_broken_file_is_taken_after_patience_and_again_when_it_was_replaced(
    tmp_path: Path, arrivals: Arrivals, clock: Clock
) -> None:
    path = tmp_path / "broken.fits"
    content = whole(path)
    path.write_bytes(content[:9000])
    files = stamps(path)
    for now, ready in ((0.0, ()), (6.0, ()), (59.0, ()), (61.0, (path,))):
        clock.now = now
        look = arrivals.look(files, {})
        assert look.ready == ready, now
    assert "9000 are there" in look.broken[path]
    arrivals.take(look.ready, files)
    known = files
    path.write_bytes(content)
    clock.now = 100.0
    assert arrivals.look(stamps(path), known).ready == ()
    clock.now = 105.5
    look = arrivals.look(stamps(path), known)
    assert (look.ready, look.broken) == ((path,), {})


def test_what_the_project_knows_is_no_arrival(tmp_path: Path, arrivals: Arrivals) -> None:
    known, hidden = tmp_path / ".known.fits", tmp_path / ".hidden.fits"
    whole(known)
    whole(hidden)
    look = arrivals.look(stamps(known, hidden), stamps(known))
    assert look.settled == (known,)
    assert look.waiting == {hidden: "its name is a temporary one"}
