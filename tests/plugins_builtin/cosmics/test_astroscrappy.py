from __future__ import annotations

import numpy as np
import pytest
from pupil_rings import ring

from plugins_builtin.cosmics.astroscrappy import Astroscrappy

SIZE, EXPTIME, SKY, READ_NOISE = 24, 60.0, 20.0, 5.0


def star(fwhm, flux, dx, dy, beta):
    sub = 5
    s = (np.arange(SIZE * sub) - (SIZE * sub - 1) / 2) / sub
    r2 = (s - dx) ** 2 + (s[:, None] - dy) ** 2
    if beta is None:
        values = np.exp(-0.5 * r2 * (2.3548 / fwhm) ** 2)
    else:
        values = (1 + r2 * 4 * (2 ** (1 / beta) - 1) / fwhm**2) ** -beta
    values = values.reshape(SIZE, sub, SIZE, sub).sum(axis=(1, 3))
    return flux * values / values.sum()


def frame(rng, fwhm, beta=3.0, number=20, rays=True):
    """Stamps of one frame's stars in e-/s, their noise, and where cosmic rays fell."""
    data, noise, hits = np.zeros((3, number, SIZE, SIZE))
    for i in range(number):
        mean = star(fwhm, 10 ** rng.uniform(3, 6), *rng.uniform(-0.5, 0.5, 2), beta)
        counts = rng.poisson(mean + SKY) - SKY + rng.normal(0, READ_NOISE, mean.shape)
        if rays:
            x, y, angle = *rng.integers(0, SIZE, 2), rng.uniform(0, np.pi)
            for step in range(rng.integers(1, 6)):
                j, k = round(y + step * np.sin(angle)), round(x + step * np.cos(angle))
                if 0 <= j < SIZE and 0 <= k < SIZE:
                    counts[j, k] += rng.uniform(15, 60) * np.sqrt(mean[j, k] + SKY + READ_NOISE**2)
                    hits[i, j, k] = 1
        data[i] = counts / EXPTIME
        noise[i] = np.sqrt(np.maximum(counts, 0) + SKY + READ_NOISE**2) / EXPTIME
    return data, noise, hits > 0


def core(radius=2.5):
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    return np.hypot(x, y) < radius


@pytest.mark.parametrize(("fwhm", "beta"), [(1.5, None), (1.8, None), (1.8, 3.0), (2.5, 3.0), (4.0, 3.0)])
def test_finds_cosmic_rays_and_spares_stars(fwhm, beta):
    rng = np.random.default_rng(11)
    frames = [frame(rng, fwhm, beta) for _ in range(5)]
    masks = [Astroscrappy().mask(data, noise) for data, noise, _ in frames]
    mask, hits = np.concatenate(masks), np.concatenate([h for *_, h in frames])
    off = ~core()
    assert (mask & hits & off).sum() / (hits & off).sum() > 0.9
    # Beside a hit, which is three pixels on average, neighbours may go too.
    assert (mask & ~hits & off).sum() / len(mask) < 1.5
    untouched = ~(hits & core(4.0)).any(axis=(1, 2))
    assert (mask & core()).any(axis=(1, 2))[untouched].mean() < 0.03


@pytest.mark.parametrize("fwhm", [0.7, 0.9, 1.1, 1.5, 1.8, 3.0])
def test_flags_little_in_frames_without_rays(fwhm):
    data, noise, _ = frame(np.random.default_rng(2), fwhm, None, number=60, rays=False)
    mask = Astroscrappy().mask(data, noise)
    # Stars narrower than a pixel or two are as sharp as rays where they lie on one pixel's middle.
    assert (mask & core()).any(axis=(1, 2)).mean() <= (0.1 if fwhm < 1.5 else 1 / 60)
    assert mask.mean() < 1e-3


def test_a_single_stamp_and_bad_pixels():
    data, noise, _ = frame(np.random.default_rng(3), 3.0, number=1, rays=False)
    data[0, 4, 5] += 100 * noise[0, 4, 5]
    data[0, 20, 20], noise[0, 21, 3] = np.nan, 0.0
    mask = Astroscrappy().mask(data, noise)
    assert mask.shape == data.shape
    assert mask[0, 4, 5]
    assert not mask[0, 20, 20]
    assert mask.sum() < 10


@pytest.mark.parametrize(("outer", "inner", "size"), [(4.0, 1.5, 30), (9.0, 3.5, 48)])
def test_the_rims_of_stars_out_of_focus_are_no_rays(outer, inner, size):
    rng = np.random.default_rng(5)
    stars = 10 ** rng.uniform(3.5, 6.3, 30)
    image, (y, x) = ring(outer, inner), np.mgrid[:size, :size] - (size - 1) / 2
    places = rng.uniform(-0.5, 0.5, (len(stars), 2))
    mean = np.stack([flux * image(x - dx, y - dy) for flux, (dx, dy) in zip(stars, places, strict=True)])
    counts = rng.poisson(mean + SKY) - SKY + rng.normal(0, READ_NOISE, mean.shape)
    variance = mean + SKY + READ_NOISE**2
    clean = Astroscrappy().mask(counts, np.sqrt(variance))
    assert clean.mean() < 1e-3
    hits = rng.random(mean.shape) < 1e-3
    counts[hits] += rng.uniform(15, 60, hits.sum()) * np.sqrt(variance[hits])
    mask = Astroscrappy().mask(counts, np.sqrt(np.maximum(counts, 0) + SKY + READ_NOISE**2))
    # A ray on a star of a million electrons changes little, and is no sharper than the star's rim.
    assert (mask & hits).sum() / hits.sum() > 0.85
    assert (mask & ~hits).sum() / len(mask) < 3.0


def test_no_stamps():
    assert Astroscrappy().mask(np.zeros((0, 24, 24)), np.ones((0, 24, 24))).shape == (0, 24, 24)


def test_a_ray_at_the_edge_is_found():
    data, noise, _ = frame(np.random.default_rng(4), 3.0, number=5, rays=False)
    data[:, 0, 12] += 50 * noise[:, 0, 12]
    assert Astroscrappy().mask(data, noise)[:, 0, 12].all()


@pytest.mark.parametrize("option", ["sigclip", "sigfrac", "objlim"])
def test_refuses_senseless_options(option):
    with pytest.raises(ValueError, match=option):
        Astroscrappy(**{option: 0.0})
