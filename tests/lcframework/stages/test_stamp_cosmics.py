"""Cosmic rays in stamps: the finder sees all stamps of a frame, and what it finds is masked where it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lcframework import Project
from lcframework.stages.stamp_extraction import CutStamps
from lcframework.storage.stamp_files import Stamp
from lcframework.types import PixelFlag

SKY, EXPTIME = 0.1, 300.0  # e-/s, a pixel's noise; s
PROJECT = "[roi.R]\nra = 10.0\ndec = 20.0\n[frames]\nraw_dirs = ['raw']\n"


def stamp(rng: np.random.Generator, size: int, flux: float, fwhm: float = 5.0) -> Stamp:
    """Return the stamp of a star in its middle, with a pixel of each kind of flag in a corner."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    sigma = fwhm / 2.3548
    light = flux * np.exp(-0.5 * (x**2 + y**2) / sigma**2) / (2 * np.pi * sigma**2)
    noise = np.sqrt(SKY**2 + light / EXPTIME)
    mask = np.zeros((size, size), np.uint8)
    mask[0, 0] = PixelFlag.NEIGHBOUR.value
    return Stamp(light + rng.normal(0, noise), noise, mask, (0, 0), (0.0, 0.0), "")


@pytest.fixture
def cut(tmp_path: Path) -> CutStamps:
    (tmp_path / "project.toml").write_text(PROJECT)
    return CutStamps("stamp_extraction", Project.open(tmp_path / "project.toml").toolbox)


@pytest.mark.parametrize("size", [24, 31, 32])
def test_rays_in_the_middle_of_a_regions_stamp(cut, size):
    """A ray beside the source is no source, whatever the size of the region's stamp is beside the stars'."""
    rng = np.random.default_rng(size)
    stamps = {f"star{i}": stamp(rng, 24, 400.0) for i in range(8)} | {"R": stamp(rng, size, 20.0)}
    middle = size // 2
    ray = np.zeros((size, size), bool)
    ray[middle - 2 : middle + 3, middle + 3] = True
    stamps["R"].data[ray] += 12.0
    star_ray = (3, slice(8, 13))
    stamps["star3"].data[star_ray] += 12.0
    found = cut._with_cosmics(stamps, "cam")
    hit = {name: (s.mask & PixelFlag.COSMIC.value) > 0 for name, s in found.items()}
    assert hit["R"][ray].all()
    assert hit["star3"][star_ray].all()
    assert sum(int(h.sum()) for h in hit.values()) <= 10 + 4  # of 5000 pixels, few more than the ten
    for name, s in found.items():
        assert s.data.shape == stamps[name].data.shape
        assert s.mask[0, 0] == PixelFlag.NEIGHBOUR
