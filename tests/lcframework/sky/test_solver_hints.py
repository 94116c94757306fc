"""Where solvers look for frames, and which solved frames show which regions."""

from __future__ import annotations

from pathlib import Path

import pytest
from astropy.io import fits

from lcframework.config.sections import Roi
from lcframework.sky.solver_hints import best_of_each, positions
from lcframework.storage.frame_files import write_wcs
from lcframework.storage.tables import Frame

A, B, BESIDE_A = Roi(ra=359.99, dec=10.0), Roi(ra=3.0, dec=10.0), Roi(ra=0.01, dec=10.0)


@pytest.mark.parametrize(
    ("radius", "found"),
    [(1.0, [A, B]), (0.03, [A, B, BESIDE_A]), (5.9, [A, B]), (6.1, [A]), (0.05, [A, B])],
)
def test_places_cover_every_region_within_half_a_radius(radius, found):
    assert positions([A, B, BESIDE_A], radius) == tuple((r.ra, r.dec) for r in found)


def solved(folder: Path, number: int, at: Roi, matched: int) -> Frame:
    """A frame of 200 x 100 pixels of an arcsecond with a region in its middle."""
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": at.ra, "CRVAL2": at.dec})
    header.update(CRPIX1=100.5, CRPIX2=50.5, CDELT1=-1 / 3600, CDELT2=1 / 3600)
    write_wcs(folder / f"{number}.wcs", header)
    return Frame(id=number, wcs_relpath=f"{number}.wcs", width=200, height=100, wcs_matched=matched)


def test_the_best_frame_of_each_region(tmp_path: Path):
    frames = [solved(tmp_path, i, roi, n) for i, (roi, n) in enumerate([(A, 50), (B, 20), (A, 60), (B, 20)], 1)]
    files = {f.id: (tmp_path / f.wcs_relpath, "made") for f in frames}
    best = best_of_each(frames, files, {"b": B, "a": A, "none": Roi(ra=90.0, dec=0.0)})
    assert {name: frame.id for name, frame in best.items()} == {"b": 2, "a": 3}
    # Both regions at the edges of the frame: one serves.
    near = {"a": A, "edge": Roi(ra=A.ra - 99 / 3600, dec=A.dec), "beyond": Roi(ra=A.ra - 103 / 3600, dec=A.dec)}
    assert {name: frame.id for name, frame in best_of_each(frames, files, near).items()} == {"a": 3, "edge": 3}
    assert best_of_each([], {}, near) == {}


def test_frames_of_no_region_still_serve(tmp_path: Path):
    frame = solved(tmp_path, 1, A, 5)
    assert best_of_each([frame], {1: (tmp_path / "1.wcs", "made")}, {"b": B}) == {"": frame}
    assert best_of_each([frame], {1: (tmp_path / "lost.wcs", "made")}, {"a": A}) == {"": frame}
