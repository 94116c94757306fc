"""A target that is not where the project file says is noticed in the frames."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from lcframework.frames.target_detection import target_doubt
from lcframework.storage.stamp_files import Stamp
from lcframework.types import Severity

NOWHERE = np.zeros((0, 2))


def sky() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [150.0, 20.0], [101.0, 101.0], [-0.5 / 3600, 0.5 / 3600]
    return wcs


def stamp(light: float = 0.0) -> Stamp:
    """Return the region's stamp, with a source of so many e-/s at its position."""
    yy, xx = np.mgrid[84:116, 84:116]
    sigma = 3.0 / 2.3548
    data = light * np.exp(-0.5 * ((xx - 100) ** 2 + (yy - 100) ** 2) / sigma**2) / (2 * np.pi * sigma**2)
    return Stamp(data, np.full(data.shape, 0.4), np.zeros(data.shape, np.uint8), (84, 84), (0.0, 0.0), "")


def ask(sources: list[tuple[float, ...]], known=NOWHERE, positions=((100.0, 100.0),), light: float = 0.0):
    rows = [(*row, 3.0)[:4] for row in sources]
    table = Table(rows=rows, names=("x", "y", "flux", "fwhm")) if rows else Table()
    return target_doubt("T", table, np.array(positions).reshape(-1, 2), known, sky(), stamp(light), 3.0, 0.4)


def test_a_target_that_moved_is_doubted_with_the_place_of_the_source() -> None:
    doubt = ask([(108.0, 100.0, 15000.0), (20.0, 20.0, 1e5)])
    assert doubt is not None
    assert doubt.severity is Severity.DOUBT
    assert doubt.value == pytest.approx(4.0, abs=1e-3)  # 8 pixels of 0.5 arcsec
    assert f"ra = {150 - 4 / 3600 / np.cos(np.radians(20)):.5f}, dec = 20.00000" in doubt.text


def test_a_known_star_beside_a_target_too_faint_to_be_detected_is_noted() -> None:
    doubt = ask([(108.0, 100.0, 15000.0)], known=np.array([(108.4, 100.2)]))
    assert doubt is not None
    assert doubt.severity is Severity.NOTE


@pytest.mark.parametrize(
    "sources",
    [
        [],  # nothing at all
        [(108.0, 100.0, 15000.0), (101.5, 99.0, 200.0)],  # the target is detected beside a brighter source
        [(120.0, 100.0, 15000.0)],  # beyond the stamp
        [(108.0, 100.0, 30.0)],  # too faint to be sure
        [(108.0, 100.0, 5e4, 6.0)],  # a host galaxy
    ],
)
def test_nothing_speaks_against_other_skies(sources) -> None:
    assert ask(sources) is None


def test_a_region_without_point_sources_has_no_target() -> None:
    assert ask([(108.0, 100.0, 15000.0)], positions=()) is None


def test_what_a_bright_star_hides_from_the_detection_shows_in_the_stamp() -> None:
    """One detection for both, 8 pixels from the target: its light shows in the stamp all the same."""
    one = [(108.0, 100.0, 15000.0)]
    assert ask(one, light=100.0) is None
    assert ask(one, light=5.0) is not None  # 2.5 times the noise of its PSF flux
