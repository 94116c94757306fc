"""Small simulated inputs with known truth, made with NumPy and SciPy: Gaussian mixtures integrated over pixels."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from lcframework.testing.campaign.geometry import offset_to_sky
from lcframework.types import FWHM_PER_SIGMA, Kernels, PsfBatch, Stamps

Array = NDArray[Any]

EXPTIME = 100.0  # s
SKY_RMS = 0.2  # e-/s per pixel


@attrs.frozen
class Mixture:
    """A PSF that is no Moffat: two axis-aligned Gaussians; weights, and sigmas (pixels) along x and y."""

    weights: tuple[float, ...] = (0.8, 0.2)
    x: tuple[float, ...] = (1.25, 2.4)
    y: tuple[float, ...] = (1.40, 2.2)

    def image(self, n: int, dx: float, dy: float, nx: int | None = None) -> Array:
        """Return the (n, nx or n) image of unit flux, its centre `dx`, `dy` pixels from the array's."""
        across, up = self._profiles(nx or n, dx, self.x), self._profiles(n, dy, self.y)
        terms = [w * np.outer(v, u) for w, u, v in zip(self.weights, across, up, strict=True)]
        return np.asarray(np.sum(terms, axis=0))

    def narrow(self, m: int, subsampling: int, target_fwhm: float) -> Array:
        """Return the (m, m) kernel on small pixels that a Gaussian of `target_fwhm` widens to this PSF."""
        target = target_fwhm / FWHM_PER_SIGMA
        u = np.arange(m) - (m - 1) / 2
        total = np.zeros((m, m))
        for w, sx, sy in zip(self.weights, self.x, self.y, strict=True):
            wide, high = np.sqrt((subsampling * np.array([sx, sy])) ** 2 - target**2)
            gx, gy = np.exp(-0.5 * (u / wide) ** 2), np.exp(-0.5 * (u / high) ** 2)
            total += w * np.outer(gy / gy.sum(), gx / gx.sum())
        return np.asarray(total / total.sum())

    def fwhm(self) -> float:
        """Return the full width at half maximum, mean of both axes, in pixels."""
        u = np.linspace(0.0, 10.0, 4001)
        widths = []
        for sigmas, others in ((self.x, self.y), (self.y, self.x)):
            terms = zip(self.weights, sigmas, others, strict=True)
            profile = np.sum([w / (s * o) * np.exp(-0.5 * (u / s) ** 2) for w, s, o in terms], axis=0)
            widths.append(2.0 * u[np.argmax(profile < 0.5 * profile[0])])
        return float(np.mean(widths))

    def scaled(self, factor: float) -> Mixture:
        """Return the same PSF in better or worse seeing."""
        return Mixture(self.weights, tuple(factor * s for s in self.x), tuple(factor * s for s in self.y))

    @staticmethod
    def _profiles(n: int, shift: float, sigmas: tuple[float, ...]) -> list[Array]:
        from scipy.special import ndtr

        edges = np.arange(n + 1) - 0.5 - (n - 1) / 2 - shift
        return [np.diff(ndtr(edges / s)) for s in sigmas]


@attrs.frozen(eq=False)
class Frame:
    """A frame and its truth."""

    image: Array  # (ny, nx) e-/s, with the sky
    sky: Array  # (ny, nx)
    variance: Array  # (ny, nx)
    mask: Array  # (ny, nx) bool; masked pixels have invalid values, some are nan
    x: Array  # (n,)
    y: Array
    flux: Array  # (n,) e-/s
    psf: Mixture


def frame(seed: int = 1, shape: tuple[int, int] = (300, 360), stars: int = 24) -> Frame:
    """Return a frame of stars well apart from each other on a sloping sky, with bad pixels."""
    rng = np.random.default_rng(seed)
    ny, nx = shape
    psf = Mixture()
    positions: list[Array] = []
    while len(positions) < stars:
        position = rng.uniform(20, [nx - 20, ny - 20])
        if all(np.hypot(*(position - other)) > 28 for other in positions) and abs(position[0] - 100.0) > 15:
            positions.append(position)
    x, y = np.array(positions).T
    flux = 10 ** rng.uniform(1.7, 3.5, stars)
    v, u = np.mgrid[-1 : 1 : ny * 1j, -1 : 1 : nx * 1j]
    sky = 4.0 + 0.15 * u - 0.1 * v
    expected = np.zeros(shape)
    for xi, yi, fi in zip(x, y, flux, strict=True):
        expected += fi * psf.image(ny, xi - (nx - 1) / 2, yi - (ny - 1) / 2, nx)
    variance = SKY_RMS**2 + expected / EXPTIME
    image = sky + expected + rng.normal(size=shape) * np.sqrt(variance)
    mask = np.zeros(shape, bool)
    mask[:, 100] = True
    image[:, 100] = 1e5
    mask[-6:, -6:] = True
    image[-6:, -6:] = np.nan
    return Frame(image, sky, variance, mask, x, y, flux, psf)


@attrs.frozen(eq=False)
class StarStamps:
    """Stamps of stars and their truth."""

    stamps: Stamps
    kernels: Kernels
    flux: Array  # (n,) e-/s
    xy: Array  # (n, 2) pixels from the stamp's centre
    noiseless: Array  # (n, ny, nx)


def noisy(noiseless: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return data with photon noise, and the noise map of the model (one sigma)."""
    noise = np.sqrt(SKY_RMS**2 + np.maximum(noiseless, 0.0) / EXPTIME)
    return noiseless + noise * rng.normal(size=noiseless.shape), noise


def epochs_of_a_star(seed: int = 1, epochs: int = 16, size: int = 24, target_fwhm: float = 2.0) -> StarStamps:
    """Return one star in several epochs of different seeing, made by the definition of :class:`Kernels` itself.

    A few pixels are masked and contain invalid values.
    """
    rng = np.random.default_rng(seed)
    flux = rng.uniform(300.0, 900.0, epochs)
    xy = rng.uniform(-0.5, 0.5, (epochs, 2))
    m = 2 * size
    narrow = np.array([Mixture().scaled(s).narrow(m, 2, target_fwhm) for s in rng.uniform(0.8, 1.3, epochs)])
    images = [
        f * widened(kernel, dx, dy, size, 2, target_fwhm) for f, (dx, dy), kernel in zip(flux, xy, narrow, strict=True)
    ]
    noiseless = np.array(images)
    data, noise = noisy(noiseless, rng)
    mask = np.zeros(data.shape, bool)
    mask[::3, 5, 7:11] = True
    mask[1::4, size // 2, size // 2 + 2] = True
    data[mask] = 1e4
    offset = xy + rng.normal(0.0, 0.1, xy.shape)
    return StarStamps(Stamps(data, noise, mask, offset), Kernels(narrow, 2, target_fwhm), flux, xy, noiseless)


def widened(kernel: Array, dx: float, dy: float, size: int, subsampling: int, target_fwhm: float) -> Array:
    """Return the (size, size) image of a unit point source at `dx`, `dy` pixels from the stamp's centre.

    `kernel`, convolved with the target Gaussian about the source, summed over blocks; a full PSF (`target_fwhm` 0) is
    moved by a phase ramp instead.
    """
    m = len(kernel)
    if target_fwhm > 0:
        sigma = target_fwhm / FWHM_PER_SIGMA
        lag = np.arange(size * subsampling)[:, None] - np.arange(m)[None, :] - (size * subsampling - m) / 2

        def spread(shift: float) -> Array:
            g = np.exp(-0.5 * ((lag - subsampling * shift) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
            return np.asarray(g.reshape(size, subsampling, m).sum(axis=1))

        return np.asarray(spread(dy) @ kernel @ spread(dx).T)
    k = -2j * np.pi * np.fft.fftfreq(m) * subsampling
    moved = np.fft.ifft2(np.fft.fft2(kernel) * np.outer(np.exp(k * dy), np.exp(k * dx))).real
    return np.asarray(moved.reshape(size, subsampling, size, subsampling).sum(axis=(1, 3)))


@attrs.frozen(eq=False)
class StarBatch:
    """A batch of frames' stars and their truth."""

    batch: PsfBatch
    flux: Array  # (f, n)
    xy: Array  # (f, n, 2) from the stamps' centres
    psf: list[Mixture]


def stars_of_frames(seed: int = 1, frames: int = 2, stars: int = 6, size: int = 24) -> StarBatch:
    """Return stamps of the stars of frames in different seeing, the last star of the last frame being padding."""
    rng = np.random.default_rng(seed)
    psf = [Mixture().scaled(s) for s in np.linspace(0.9, 1.15, frames)]
    flux = rng.uniform(500.0, 4000.0, (frames, stars))
    xy = rng.uniform(-0.5, 0.5, (frames, stars, 2))
    noiseless = np.array([[flux[f, s] * psf[f].image(size, *xy[f, s]) for s in range(stars)] for f in range(frames)])
    data, noise = noisy(noiseless, rng)
    mask = np.zeros(data.shape, bool)
    mask[:, 0, 4, 3:9] = True
    mask[:, 1, size // 2 + 1, size // 2 + 3] = True
    data[mask] = 3e3
    mask[-1, -1] = True
    data[-1, -1], noise[-1, -1] = 0.0, 1.0
    in_frame = rng.uniform(50.0, 950.0, xy.shape)
    offset = xy + rng.normal(0.0, 0.1, xy.shape)
    seeing = np.array([p.fwhm() for p in psf])
    return StarBatch(PsfBatch(data, noise, mask, in_frame, offset, seeing, (1000, 1000)), flux, xy, psf)


@attrs.frozen(eq=False)
class Field:
    """Detections of a frame, its true WCS, and the catalogue's stars."""

    sources: Table
    stars: Table
    wcs: WCS
    shape: tuple[int, int]
    ra: float
    dec: float

    @property
    def header(self) -> fits.Header:
        """The true WCS as a header."""
        return self.wcs.to_header()


def field(ra: float = 150.0, dec: float = -28.0, seed: int = 1, stars: int = 45) -> Field:
    """Return a field of stars as detected (0.05 pixel noise, spurious and missing detections) and as catalogued."""
    rng = np.random.default_rng(seed)
    shape = (900, 1000)
    scale = 0.4  # arcsec per pixel
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [490.3, 455.1]
    cos, sin = np.cos(np.radians(12.0)), np.sin(np.radians(12.0))
    wcs.wcs.cd = scale / 3600.0 * np.array([[-cos, sin], [sin, cos]])
    wcs.wcs.set()
    extent = 0.5 * scale * np.array([shape[1], shape[0]]) * 1.1
    xi, eta = rng.uniform(-extent, extent, (stars, 2)).T
    star_ra, star_dec = offset_to_sky(ra, dec, xi, eta)
    magnitude = rng.uniform(14.0, 19.0, stars)
    catalog = star_table(star_ra, star_dec, magnitude, rng.uniform(0.5, 2.2, stars))
    x, y = wcs.all_world2pix(star_ra, star_dec, 0)
    seen = (x > 0) & (x < shape[1] - 1) & (y > 0) & (y < shape[0] - 1) & (rng.uniform(size=stars) > 0.08)
    x = np.append(x[seen] + rng.normal(0, 0.05, seen.sum()), rng.uniform(0, shape[1], 4))
    y = np.append(y[seen] + rng.normal(0, 0.05, seen.sum()), rng.uniform(0, shape[0], 4))
    flux = np.append(10 ** (0.4 * (24.0 - magnitude[seen])), np.full(4, 120.0))
    same = np.ones(len(x))
    columns = dict(x=x, y=y, flux=flux, fwhm=3.0 * same, a=1.3 * same, b=1.25 * same, theta=0 * same)
    sources = Table(columns | {"flags": np.zeros(len(x), int)})
    return Field(sources, catalog, wcs, shape, ra, dec)


def star_table(ra: Array, dec: Array, magnitude: Array, colour: Array) -> Table:
    """Return a star table as a catalogue would; `colour` is BP - RP."""
    table = Table()
    table["source_id"] = [str(7_000_000 + 13 * i) for i in range(len(ra))]
    for name, values, unit in (
        ("ra", ra, "deg"),
        ("dec", dec, "deg"),
        ("magnitude", magnitude, "mag"),
        ("pmra", np.zeros(len(ra)), "mas / yr"),
        ("pmdec", np.zeros(len(ra)), "mas / yr"),
        ("ref_epoch", np.full(len(ra), 2016.0), "yr"),
        # As of stars: the light in BP and RP makes up that in G.
        ("bp", magnitude + 0.6 * colour - 0.19, "mag"),
        ("rp", magnitude - 0.4 * colour - 0.19, "mag"),
    ):
        table[name] = values
        table[name].unit = unit
    return table
