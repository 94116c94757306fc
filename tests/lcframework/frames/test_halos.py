"""Halos of bright stars beside a region: measured as they were drawn, and taken off, so that fluxes are right."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from lcframework.frames.halo_doubts import halo_doubt
from lcframework.frames.halos import FrameLight, halos_beside, on_stamp
from lcframework.frames.stamp_cutting import StampCutter
from lcframework.frames.stamp_targets import StampTarget
from lcframework.frames.stamp_wcs import header_text
from lcframework.types import PixelFlag

SEEING, RMS, EXPTIME = 4.0, 0.1, 200.0
OWN, STAR, BRIGHT, FAINT = (70.3, 65.8), (88.4, 52.1), 2e4, 200.0
REACH, SIZE = 8.0, 32
SHAPE = (150, 160)


def moffat(x: float, y: float, flux: float, index: float = 2.2, ellipticity: float = 0.0) -> np.ndarray:
    """Return a star, e-/s a pixel; its wings are steeper than those by which a halo is looked for."""
    core = SEEING / 2 / np.sqrt(2 ** (1 / index) - 1)
    yy, xx = np.indices(SHAPE)
    squared = (xx - x) ** 2 * (1 + ellipticity) + (yy - y) ** 2 / (1 + ellipticity)
    return (index - 1) / (np.pi * core**2) * flux / (1 + squared / core**2) ** index


def drawn(
    *stars: tuple[float, float, float], seed: int = 0, ellipticity: float = 0.0, saturation: float = 300.0,
    displaced: float = 0.0, fwhm: float = SEEING, own: float = FAINT,
) -> tuple[FrameLight, np.ndarray]:  # fmt: skip
    """Return a frame of noise, the region's source and stars; and the light of the latter."""
    rng = np.random.default_rng(seed)
    others = sum((moffat(*star, ellipticity=ellipticity) for star in stars), np.zeros(SHAPE))
    light = others + moffat(*OWN, own)
    image = light + rng.normal(size=SHAPE) * np.sqrt(RMS**2 + light / EXPTIME)
    flags = np.where(image > saturation, PixelFlag.SATURATED.value, 0).astype(np.uint8)
    rows = [(*OWN, own, SEEING), *((x + displaced, y, flux, fwhm) for x, y, flux in stars)]
    table = Table(rows=rows, names=("x", "y", "flux", "fwhm"))
    table["a"] = table["b"] = table["fwhm"] / 2.35
    table["theta"] = 0.0
    return FrameLight(np.minimum(image, saturation), flags, table, RMS, SEEING, EXPTIME), others


def around_region() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[58:74, 62:78].astype(float)
    return x, y


def test_a_halo_is_what_was_drawn() -> None:
    x, y = around_region()
    errors = []
    for seed in range(12):
        frame, others = drawn((*STAR, BRIGHT), seed=seed, own=0.01 * FAINT)
        (halo,) = halos_beside(frame, OWN, REACH, SIZE)
        assert halo.flux == BRIGHT
        assert np.hypot(halo.x - STAR[0], halo.y - STAR[1]) < 0.1
        assert halo.unround < 0.06  # a circle is round, to the noise of that measurement
        truth = others[58:74, 62:78]
        errors.append((halo.at(x, y) - truth).mean() / truth.mean())
    # 0.25 e-/s a pixel on average: a ring of 150 pixels tells it to 4 %, and several rings take part.
    assert np.std(errors) < 0.03
    # Lines through the ratio to other wings are off by less than a halo is taken to be round by.
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(len(errors)) + 0.02


def test_the_flux_beside_a_bright_star_is_right_without_its_halo() -> None:
    """A source's flux by a known profile and a flat sky: with the halo it is wrong by many errors."""
    target, with_halo, without = StampTarget("T", *OWN, 0.0), [], []
    for seed in range(20):
        frame, _ = drawn((*STAR, BRIGHT), seed=seed)
        wcs = WCS(naxis=2)
        cutter = StampCutter(frame, None, wcs, header_text(wcs), 1.0)
        for halos, fluxes in (([], with_halo), (cutter.halos(target, SIZE, REACH), without)):
            stamp = cutter.region(target, SIZE, REACH, halos)
            rows, columns = (slice(c, c + SIZE) for c in stamp.corner[::-1])
            use = stamp.mask == 0
            design = np.stack([moffat(*OWN, 1.0)[rows, columns][use], np.ones(use.sum())], axis=1)
            scaled = design / stamp.noise[use][:, None]
            fluxes.append(np.linalg.lstsq(scaled, stamp.data[use] / stamp.noise[use], rcond=None)[0][0])
    error = np.std(without)
    assert error < 0.03 * FAINT
    assert np.mean(without) == pytest.approx(FAINT, abs=3 * error / np.sqrt(20) + 0.003 * FAINT)
    assert abs(np.mean(with_halo) - FAINT) > 4 * error / np.sqrt(20)


def test_saturated_cores_and_displaced_detections_do_no_harm() -> None:
    frame, others = drawn((*STAR, 20 * BRIGHT), displaced=1.5, fwhm=2.5 * SEEING)
    (halo,) = halos_beside(frame, OWN, REACH, SIZE)
    assert np.hypot(halo.x - STAR[0], halo.y - STAR[1]) < 0.1
    x, y = around_region()
    assert np.abs(halo.at(x, y) / others[58:74, 62:78] - 1).max() < 0.1


def test_what_is_not_round_is_measured_and_in_the_noise() -> None:
    frame, others = drawn((*STAR, 20 * BRIGHT), ellipticity=0.1)
    (halo,) = halos_beside(frame, OWN, REACH, SIZE)
    distance = np.hypot(np.indices(SHAPE)[1] - STAR[0], np.indices(SHAPE)[0] - STAR[1])
    seen = (distance > 10) & (distance < 30)
    round_part = halo.at(*np.indices(SHAPE)[::-1].astype(float))
    truly = 1.4826 * np.median(np.abs(others[seen] / round_part[seen] - 1))
    assert halo.unround == pytest.approx(truly, rel=0.25)
    light = on_stamp([halo], (54, 50), SIZE)
    np.testing.assert_allclose(light.unround, halo.unround * light.light)


def test_a_large_part_of_a_frame_is_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, others = drawn((*STAR, 20 * BRIGHT))
    monkeypatch.setattr("lcframework.frames.halos._LARGEST", 80)  # every third pixel
    (halo,) = halos_beside(frame, OWN, REACH, SIZE)
    x, y = around_region()
    assert np.abs(halo.at(x, y) / others[58:74, 62:78] - 1).max() < 0.15


def test_two_halos_are_told_apart() -> None:
    second = (50.0, 80.0, 0.7 * BRIGHT)
    frame, others = drawn((*STAR, BRIGHT), second)
    halos = halos_beside(frame, OWN, REACH, SIZE)
    assert [h.flux for h in halos] == [BRIGHT, 0.7 * BRIGHT]
    x, y = around_region()
    found = sum(h.at(x, y) for h in halos)
    assert found.mean() == pytest.approx(others[58:74, 62:78].mean(), rel=0.1)


@pytest.mark.parametrize(
    ("star", "fwhm"),
    [
        ((*STAR, 8 * FAINT), SEEING),  # not bright enough to matter
        ((76.0, 62.0, BRIGHT), SEEING),  # within the region's own reach
        ((*STAR, BRIGHT), 3 * SEEING),  # a galaxy: a model of the region may hold it
        ((150.0, 140.0, BRIGHT / 4), SEEING),  # too far away to be seen
    ],
)
def test_other_sources_are_left_to_the_model(star, fwhm) -> None:
    frame, _ = drawn(star, fwhm=fwhm, saturation=1e9)
    assert halos_beside(frame, OWN, REACH, SIZE) == []


def test_a_frame_without_sources_or_at_its_edge() -> None:
    frame, _ = drawn((*STAR, BRIGHT))
    nothing = FrameLight(frame.image, frame.flags, frame.sources[:0], RMS, SEEING, EXPTIME)
    assert halos_beside(nothing, OWN, REACH, SIZE) == []
    beyond = drawn((165.0, 60.0, 50 * BRIGHT))[0]  # a star outside the frame: what is seen of its rings tells
    assert halos_beside(beyond, (-900.0, 66.0), REACH, SIZE) == []
    (lone,) = halos_beside(beyond, (140.0, 66.0), REACH, SIZE)
    assert np.isfinite(on_stamp([lone], (124, 50), SIZE).light).all()


def test_a_halo_that_is_worse_than_the_noise_is_doubted() -> None:
    target = StampTarget("T", *OWN, 0.0)
    wcs = WCS(naxis=2)
    doubts = []
    for flux, ellipticity in ((BRIGHT, 0.0), (30 * BRIGHT, 0.15)):
        frame, _ = drawn((*STAR, flux), ellipticity=ellipticity)
        cutter = StampCutter(frame, None, wcs, header_text(wcs), 1.0)
        halos = cutter.halos(target, SIZE, REACH)
        stamp = cutter.region(target, SIZE, REACH, halos)
        doubts.append(halo_doubt("T", ["A"], np.array([OWN]), halos, stamp, 0.2, SEEING))
    assert doubts[0] is None
    assert doubts[1] is not None
    assert doubts[1].kind == "bright_neighbour"
    away = 0.2 * np.hypot(STAR[0] - OWN[0], STAR[1] - OWN[1])
    assert f"{away:.1f} arcsec from A of T" in doubts[1].text
    assert doubts[1].value > 1
