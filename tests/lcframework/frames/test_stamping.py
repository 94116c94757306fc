"""Stamps: where they lie, their noise, their neighbours, and the hot pixels under them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from lcframework.frames.hot_pixels import hot_pixel_map
from lcframework.frames.stamping import corner_of, cut, neighbour_mask, noise_map
from lcframework.types import PixelFlag


@pytest.mark.parametrize("size", [24, 25])
def test_stamp_is_centred(size):
    rng = np.random.default_rng(0)
    for x, y in rng.uniform(50, 60, (200, 2)):
        corner = corner_of(x, y, size)
        half = (size - 1) / 2
        assert abs(x - corner[0] - half) <= 0.5
        assert abs(y - corner[1] - half) <= 0.5


def test_cut_inside_over_the_edge_and_outside():
    image = np.arange(30.0, dtype=np.float32).reshape(5, 6)
    np.testing.assert_array_equal(cut(image, (2, 1), 3, -1), image[1:4, 2:5])
    over = cut(image, (-1, 3), 3, -1)
    np.testing.assert_array_equal(over, [[-1, 18, 19], [-1, 24, 25], [-1, -1, -1]])
    assert (cut(image, (100, 100), 3, -1) == -1).all()
    assert (cut(image, (-9, -9), 3, -1) == -1).all()
    assert cut(image.astype(np.uint8), (0, 0), 2, 2).dtype == np.uint8


def test_noise_map_is_the_scatter_of_exposures():
    """Photon noise of the source, sky and read noise, from many simulated exposures."""
    rng = np.random.default_rng(1)
    exptime, sky, read_noise = 100.0, 3.0, 5.0
    truth = np.array([[0.0, 1.0, 10.0, 200.0]])
    electrons = rng.poisson((truth + sky) * exptime, (4000, *truth.shape)) + rng.normal(0, read_noise, (4000, 1, 4))
    scatter = (electrons / exptime).std(axis=0)
    rms = np.sqrt(sky * exptime + read_noise**2) / exptime
    noise = noise_map(truth.astype(np.float32), rms, exptime)
    np.testing.assert_allclose(noise, scatter, rtol=5 / np.sqrt(2 * 4000))
    assert noise.dtype == np.float32
    # Below the sky there is the sky's noise.
    assert noise_map(np.array([[-5.0]], np.float32), rms, exptime)[0, 0] == pytest.approx(rms, rel=1e-6)


def sources(*rows):
    names = ("x", "y", "flux", "fwhm", "a", "b", "theta", "flags")
    return Table(
        rows=[
            dict(zip(names, (x, y, flux, 2.355 * a, a, b, theta, 0), strict=True)) for x, y, flux, a, b, theta in rows
        ]
    )


def light(table, shape=(200, 200)):
    """Return the image of Gaussian sources."""
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    out = np.zeros(shape)
    for row in table:
        c, s = np.cos(row["theta"]), np.sin(row["theta"])
        dx, dy = xx - row["x"], yy - row["y"]
        square = ((c * dx + s * dy) / row["a"]) ** 2 + ((-s * dx + c * dy) / row["b"]) ** 2
        out += row["flux"] / (2 * np.pi * row["a"] * row["b"]) * np.exp(-0.5 * square)
    return out


def moffat(radius, flux, fwhm):
    """Return the surface brightness of a Moffat of index 3."""
    scale = fwhm / 2 / np.sqrt(2 ** (1 / 3) - 1)
    return flux * 2 / (np.pi * scale**2) * (1 + (radius / scale) ** 2) ** -3


def masked(table, image=None, rms=1.0, size=24):
    """Return the neighbours' mask in the stamp of a star at (100, 100), FWHM 4.7 pixels."""
    corner = (100 - size // 2, 100 - size // 2)
    image = light(table) if image is None else image
    noisy = image + np.random.default_rng(6).normal(0, rms, image.shape)
    return neighbour_mask(table, corner, cut(noisy, corner, size, 0.0), (100.0, 100.0), 3.0, rms, 4.7)


MINE = (100.0, 100.0, 1e4, 2.0, 2.0, 0.0)


def test_neighbours_are_masked_and_the_star_is_not():
    mine, other = (100.0, 100.0, 1e4, 2.0, 2.0, 0.0), (110.0, 100.0, 1e4, 2.0, 2.0, 0.0)
    mask = masked(sources(mine, other))
    assert not mask[10:15, 10:15].any()
    assert mask[12, 22]
    assert mask[12, 20]
    assert not mask[:, :6].any()
    assert not masked(sources(mine)).any()
    assert not masked(sources(mine)[:0]).any()


def test_brighter_neighbours_reach_further():
    areas = []
    for flux in (50.0, 1e3, 1e5):
        other = (112.0, 100.0, flux, 2.0, 2.0, 0.0)
        areas.append(masked(sources(other)).sum())
    assert areas[0] <= areas[1] < areas[2]


def test_a_neighbour_outside_the_stamp_reaches_in():
    other = (114.0, 100.0, 1e6, 2.0, 2.0, 0.0)
    mask = masked(sources(other), rms=0.1)
    assert mask[12, 23]
    assert not mask[12, 12]
    far = (300.0, 100.0, 1e6, 3.0, 3.0, 0.0)
    assert not masked(sources(far), rms=0.1).any()


def test_elongated_neighbour_is_masked_along_its_axis():
    other = (100.0, 108.0, 1e4, 4.0, 1.0, np.pi / 4)
    mask = masked(sources(other))
    yy, xx = np.nonzero(mask)
    assert np.corrcoef(xx, yy)[0, 1] > 0.5


@pytest.mark.parametrize("flux", [-5e3, 30.0, 1e6, np.nan])
@pytest.mark.parametrize("a", [40.0, 405.0])
def test_a_detection_of_absurd_size_takes_nothing_away(flux, a):
    """A bank of sky along an edge: its moments reach over the frame, its light does not."""
    image = light(sources(MINE))
    image[:, :40] += 5
    vignetted = (20.0, 100.0, flux, a, a / 4, np.pi / 2)
    assert not masked(sources(MINE, vignetted), image).any()
    for brightness in (1.0, 50.0):  # also where the star fills the stamp
        bright = (100.0, 100.0, brightness * 1e4, 3.5, 3.5, 0.0)
        assert masked(sources(bright, vignetted), light(sources(bright))).mean() < 0.1


def test_a_trail_is_masked_where_it_is():
    along = np.pi / 6
    yy, xx = np.mgrid[:200, :200]

    def frame(distance):
        """Return an image with a star and a trail that passes it, and the trail as it is detected."""
        x0, y0 = 100 - distance * np.sin(along), 100 + distance * np.cos(along)
        across = -np.sin(along) * (xx - x0) + np.cos(along) * (yy - y0)
        trail = 30 * np.exp(-0.5 * (across / 1.5) ** 2)
        found = (x0 + 40 * np.cos(along), y0 + 40 * np.sin(along), 6e3, 60.0, 1.6, along)
        return sources(MINE, found), light(sources(MINE)) + trail, np.abs(across[88:112, 88:112])

    table, image, across = frame(8.0)
    mask = masked(table, image)
    assert mask[across < 2].mean() > 0.95
    assert mask[across > 6].mean() < 0.05
    assert not mask[10:15, 10:15].any()
    table, image, _ = frame(60.0)
    assert not masked(table, image).any()
    table, image, across = frame(0.0)  # over the star itself
    assert masked(table, image)[across < 1.5].mean() > 0.9


@pytest.mark.parametrize("size", [2.0, 6.5, 9.0])
def test_a_bright_neighbour_is_masked_however_large(size):
    other = (112.0, 104.0, 2e5, size, 0.9 * size, 0.3)
    table = sources(MINE, other)
    mask = masked(table, size=32)
    neighbour = light(sources(other))[84:116, 84:116]
    free = light(sources(MINE))[84:116, 84:116] < 0.1
    assert mask[(neighbour > 3.0) & free].all()
    yy, xx = np.mgrid[84:116, 84:116]
    wings = moffat(np.hypot(xx - 112, (yy - 104) / 0.9), 2e5 / 0.9, 2.355 * size)
    assert not mask[(neighbour < 0.01) & (wings < 1.2)].any()  # the ellipse is turned


def test_wings_of_a_bright_neighbour_are_masked_beside_the_star_not_on_it():
    other = (114.0, 100.0, 3e5, 2.0, 2.0, 0.0)
    mask = masked(sources(MINE, other), size=32)
    yy, xx = np.mgrid[84:116, 84:116]
    wings = moffat(np.hypot(xx - 114, yy - 100), 3e5, 2.355 * 2.0)
    core = np.hypot(xx - 100, yy - 100) <= 3.0
    assert mask[(wings > 2.2) & ~core].all()
    assert not mask[core].any()
    assert (wings[core] > 2.2).any()


def test_sources_without_a_size_or_a_flux():
    unknown = (110.0, 100.0, np.nan, np.nan, np.nan, np.nan)
    mask = masked(sources(MINE, unknown), light(sources(MINE)))
    assert mask[12, 22]
    assert not mask[:, :14].any()
    assert mask.mean() < 0.3


def test_hot_pixels_of_a_drifting_field():
    """Hot pixels stay, stars move: those that were put in are found, nothing else."""
    rng = np.random.default_rng(3)
    shape, frames = (120, 140), []
    hot = {(10, 20), (50, 60), (51, 60), (100, 130), (60, 17)}
    stars = rng.uniform(0, 140, (25, 2))
    y, x = np.mgrid[: shape[0], : shape[1]]
    for k in range(12):
        image = rng.normal(0, 1, shape)
        found = []
        for sx, sy in stars + np.array([3.0, 2.0]) * k:
            image += 300 * np.exp(-((x - sx) ** 2 + (y - sy) ** 2) / (2 * 1.5**2))
            if 0 <= sx < shape[1] and 0 <= sy < shape[0]:
                found.append((sx, sy, 300 * 14.0, 1.5, 1.5, 0.0))
        for pixel in hot:
            image[pixel] += 25
        flags = np.zeros(shape, np.uint8)
        flags[0] = PixelFlag.BLANK
        frames.append((image.astype(np.float32), flags, sources(*found)))
    found_map = hot_pixel_map(frames)
    got = {(int(a), int(b)) for a, b in zip(*np.nonzero(found_map.excess), strict=True)}
    assert hot <= got
    assert len(got - hot) <= 1
    assert not found_map.bad.any()
    # The median of 12 unit normals has a standard error of 0.36.
    assert np.abs([found_map.excess[p] - 25 for p in hot]).max() < 4 * 0.36


def test_a_hot_pixel_that_comes_and_goes_is_bad():
    rng = np.random.default_rng(5)
    frames = []
    for k in range(15):
        image = rng.normal(0, 1, (60, 60)).astype(np.float32)
        image[20, 21] += 40 * (k % 3)
        frames.append((image, np.zeros((60, 60), np.uint8), sources((5.0, 5.0, 80.0, 1.5, 1.5, 0.0))))
    found = hot_pixel_map(frames)
    assert found.bad[20, 21]
    assert found.excess[20, 21] == 0


def test_hot_pixel_that_was_taken_for_a_source_is_found():
    rng = np.random.default_rng(4)
    frames = []
    for _ in range(8):
        image = rng.normal(0, 1, (60, 60)).astype(np.float32)
        image[30, 31] += 80
        narrow = sources((31.0, 30.0, 80.0, 0.3, 0.3, 0.0))
        frames.append((image, np.zeros((60, 60), np.uint8), narrow))
    assert hot_pixel_map(frames).excess[30, 31] == pytest.approx(80, abs=4 * 0.44)


def test_a_neighbour_is_masked_where_it_lies_in_the_stamp():
    """The masked ellipse is about the neighbour, in a stamp whose first pixel has another x than y."""
    size, corner, own = 32, (60, 105), (75.5, 120.5)
    table = sources((*own, 1e4, 2.0, 2.0, 0.0), (84.0, 112.0, 3e3, 2.2, 1.8, 0.6))
    stamp = cut(light(table), corner, size, 0.0)
    rows, columns = np.nonzero(neighbour_mask(table, corner, stamp, own, 3.0, 1.0, 4.7))
    assert len(rows) > 50
    # Symmetric about it, but for the pixels at the edge.
    assert columns.mean() + corner[0] == pytest.approx(84.0, abs=0.3)
    assert rows.mean() + corner[1] == pytest.approx(112.0, abs=0.3)
