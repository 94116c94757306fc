"""A stamp's WCS text is the frame's, moved: the same pixel of the sky, distortion included."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from lcframework.frames.stamp_wcs import header_text, moved


def frame_wcs(*, sip: bool, reference: tuple[float, float]) -> WCS:
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = ("RA---TAN-SIP", "DEC--TAN-SIP") if sip else ("RA---TAN", "DEC--TAN")
    header["CRVAL1"], header["CRVAL2"] = 31.04, 46.69
    header["CRPIX1"], header["CRPIX2"] = reference
    header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = 1.4e-3, 2e-5, -2e-5, 1.4e-3
    if sip:
        header["A_ORDER"], header["B_ORDER"] = 2, 2
        header["A_2_0"], header["B_0_2"], header["A_1_1"] = 3e-5, -2e-5, 1e-5
    return WCS(header)


@pytest.mark.parametrize("sip", [False, True])
@pytest.mark.parametrize("reference", [(325.5, 250.5), (0.0, 0.0)])
@pytest.mark.parametrize("corner", [(0, 0), (117, 43), (-3, 480)])
def test_stamp_and_frame_agree_on_the_sky(sip: bool, reference: tuple[float, float], corner: tuple[int, int]) -> None:
    wcs = frame_wcs(sip=sip, reference=reference)
    text = moved(header_text(wcs), wcs.wcs.crpix, corner)
    stamp = WCS(fits.Header.fromstring(text, sep="\n"))
    x, y = np.array([0.0, 7.3, 15.0]), np.array([3.0, 0.2, 15.0])
    expected = wcs.all_pix2world(x + corner[0], y + corner[1], 0)
    np.testing.assert_allclose(stamp.all_pix2world(x, y, 0), expected, rtol=0, atol=1e-10)
