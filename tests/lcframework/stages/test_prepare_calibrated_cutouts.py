"""PSFs of different sizes in one stack, and those that can't stand in it."""

from __future__ import annotations

import numpy as np

from lcframework.config.project_file import load
from lcframework.roi.psf_stack import stacked, unlike_the_others
from lcframework.sky.star_fields import disks
from lcframework.types import PSF, FitState, FitStatus


def psf(size=33, factor=2, fwhm=2.0):
    kernel = np.zeros((size, size))
    kernel[size // 2, size // 2] = 1.0
    return PSF(kernel, kernel, factor, fwhm, FitStatus(FitState.CONVERGED), 1.0)


def test_sizes_of_one_parity_are_padded_about_their_centre():
    kernels = [psf(31).narrow, psf(35).narrow, psf(33).narrow]
    stack = stacked(kernels)
    assert stack.shape == (3, 35, 35)
    assert (stack[:, 17, 17] == 1).all()
    assert stack.sum() == 3
    assert unlike_the_others([psf(31), psf(35), psf(33)]) == {}


def test_precisions_that_are_not_known_are_zeros_amid_the_others():
    stack = stacked([np.ones((24, 24)), np.zeros((0, 0)), np.ones((23, 23))])
    assert stack.shape == (3, 24, 24)
    np.testing.assert_array_equal(stack.sum(axis=(1, 2)), [24**2, 0, 23**2])
    assert stacked([np.zeros((0, 0))] * 2).shape == (2, 0, 0)


def test_others_are_left_out_with_the_reason():
    odd = unlike_the_others([psf(factor=3), psf(), psf(32), psf(), psf(fwhm=0.0)])
    assert odd == {
        0: "its PSF's subsampling factor is 3, that of most frames 2",
        2: "its PSF's size's remainder by 2 is 0, that of most frames 1",
        4: "its PSF's target FWHM is 0, that of most frames 2",
    }


def test_regions_of_one_place_share_their_field(tmp_path):
    path = tmp_path / "project.toml"
    regions = {"A": (1.0, 2.0), "B": (1.0, 2.0), "C": (1.0, 2.1)}
    path.write_text("".join(f"[roi.{n}]\nra = {ra}\ndec = {dec}\n" for n, (ra, dec) in regions.items()))
    fields = disks(load(path))
    assert [f.rois for f in fields] == [("A", "B"), ("C",)]
    assert len({f.hash for f in fields}) == 2
