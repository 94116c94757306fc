"""Simulated regions of interest with known truth, for tests of ROI models.

Rendered by brute force (two-dimensional Gaussians, oversampled profiles, FFTs), so that a model which is tested on
them is tested against an independent implementation.
"""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.types import FWHM_PER_SIGMA, Cutouts, Floats, Kernels, PointSources


@attrs.frozen
class Galaxy:
    """A Sersic galaxy: total flux e-/s, position and circularised half-light radius in arcsec, axis ratio, angle."""

    flux: float
    xi: float = 0.0
    eta: float = 0.0
    radius: float = 0.8
    index: float = 3.0
    axis_ratio: float = 0.8
    angle: float = 0.5  # rad, of the long axis, from xi towards eta


@attrs.frozen(eq=False)
class Sky:
    """The parameters of a simulation: sources, galaxies, seeing, sampling, noise and errors."""

    sources: Floats  # (k, 2) arcsec
    flux: Floats  # (e, k) e-/s
    galaxies: tuple[Galaxy, ...] = ()
    seeing: Floats = attrs.field(factory=lambda: np.array([1.0]))  # (e,) arcsec
    stamp: int = 32  # pixels
    kernel: int = 48  # small pixels
    subsampling: int = 2
    target_fwhm: float = 2.0  # small pixels; 0: full PSFs
    scale: float = 0.21  # arcsec per pixel
    rotation: float = 0.0  # rad, standard deviation over epochs
    dither: float = 0.3  # pixels, half width of the uniform distribution of stamp centres
    exptime: float = 300.0  # s
    sky_rms: float = 0.25  # e-/s per pixel
    registration_error: float = 0.002  # pixels, stated
    hidden_shift: float = 0.0  # pixels, standard deviation that no covariance states
    registration_floor: float = 0.0  # pixels, stated in addition
    zenith: Floats | None = None  # (e, 2) as in `Cutouts`
    refraction: Floats | None = None  # (k,) arcsec by which tan z = 1 moves a source to the zenith, beyond the stars


@attrs.frozen(eq=False)
class Truth:
    """The true values of a simulation."""

    flux: Floats  # (e, k)
    offset: Floats  # (k, 2)
    shift: Floats  # (e, 2) pixels; true shifts, not included in the transforms
    noiseless: Floats  # (e, ny, nx)
    variance: Floats  # (e, ny, nx) of the noise that was drawn
    galaxy: Floats  # (e, ny, nx)


def simulate(sky: Sky, seed: int, *, noise: bool = True) -> tuple[Cutouts, PointSources, Truth]:
    """Draw the cutouts of a region, its point sources, and the truth.

    The noise maps are computed from the noisy data, as in a pipeline.
    """
    rng = np.random.default_rng(seed)
    e, k = sky.flux.shape
    n = sky.stamp
    seeing = np.broadcast_to(sky.seeing, (e,))
    kernels, transforms, galaxy_images, images, shifts = [], [], [], [], []
    for i in range(e):
        kernel = moffat_kernel(sky, float(seeing[i]), rng)
        angle = sky.rotation * rng.standard_normal()
        centre = (n - 1) / 2 + rng.uniform(-sky.dither, sky.dither, 2)
        transform = np.zeros((2, 3))
        # East is towards -x, as usual.
        transform[:, :2] = np.array([[-np.cos(angle), -np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / sky.scale
        transform[:, 2] = centre
        shift = rng.standard_normal(2) * np.hypot(sky.registration_error, sky.hidden_shift)
        true = transform.copy()
        true[:, 2] += shift
        galaxy = render_galaxies(sky, true, kernel)
        positions = sky.sources
        if sky.zenith is not None and sky.refraction is not None:
            positions = positions + np.outer(sky.refraction, sky.zenith[i])
        points = sum(
            f * render_point(sky, true[:, :2] @ c + true[:, 2], kernel)
            for f, c in zip(sky.flux[i], positions, strict=True)
        )
        kernels.append(kernel)
        transforms.append(transform)
        shifts.append(shift)
        galaxy_images.append(galaxy)
        images.append(galaxy + points)
    noiseless = np.array(images)
    variance = sky.sky_rms**2 + np.maximum(noiseless, 0) / sky.exptime
    data = noiseless + (np.sqrt(variance) * rng.standard_normal(variance.shape) if noise else 0.0)
    stated = np.sqrt(sky.sky_rms**2 + np.maximum(data, 0) / sky.exptime)
    covariance = (sky.registration_error**2 + sky.registration_floor**2) * np.eye(2)
    cutouts = Cutouts(
        data=data,
        noise=stated,
        mask=np.zeros(data.shape, bool),
        kernels=Kernels(np.array(kernels), sky.subsampling, sky.target_fwhm),
        transform=np.array(transforms),
        registration_covariance=np.tile(covariance, (e, 1, 1)),
        mjd=59000.0 + np.arange(e),
        seeing=np.array(seeing, float),
        airmass=np.full(e, np.nan),
        normalization_error=np.full(e, 1e-3),
        zenith=np.full((e, 2), np.nan) if sky.zenith is None else sky.zenith,
    )
    names = tuple(chr(ord("A") + j) for j in range(k))
    truth = Truth(sky.flux.copy(), sky.sources.copy(), np.array(shifts), noiseless, variance, np.array(galaxy_images))
    return cutouts, PointSources(names, sky.sources.copy()), truth


def moffat_kernel(sky: Sky, seeing: float, rng: np.random.Generator) -> Floats:
    """Return an elliptical Moffat on small pixels that a target Gaussian widens to the seeing (arcsec)."""
    m = sky.kernel
    full = seeing / sky.scale * sky.subsampling
    narrow = np.sqrt(max(full**2 - sky.target_fwhm**2, 1.0))
    beta = rng.uniform(2.8, 4.0)
    e, angle = rng.uniform(0, 0.08), rng.uniform(0, np.pi)
    y, x = np.mgrid[:m, :m] - (m - 1) / 2
    u, v = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    alpha = narrow / (2 * np.sqrt(2 ** (1 / beta) - 1))
    kernel = (1 + (u * (1 + e) / alpha) ** 2 + (v / (1 + e) / alpha) ** 2) ** -beta
    # A little structure that no Moffat has.
    kernel = kernel * (1 + 0.05 * np.sin(0.35 * u + rng.uniform(0, 6)) * np.cos(0.3 * v))
    return np.asarray(kernel / kernel.sum())


def render_point(sky: Sky, xy: Floats, kernel: Floats) -> Floats:
    """Return the (n, n) image of a unit point source at stamp position `xy`."""
    from scipy.ndimage import shift
    from scipy.signal import fftconvolve

    n, s, m = sky.stamp, sky.subsampling, sky.kernel
    centre = s * (xy - (n - 1) / 2)
    if sky.target_fwhm == 0:
        padded = np.pad(kernel, (n * s - m) // 2 if n * s > m else 0)
        fine = shift(padded, centre[::-1], order=3)
    else:
        sigma = sky.target_fwhm / FWHM_PER_SIGMA
        # On the grid of half-integer offsets that a 'valid' convolution turns into the stamp's small pixels.
        u = np.arange(n * s + m - 1) - (n * s + m - 2) / 2
        gaussian = np.exp(-0.5 * ((u[:, None] - centre[1]) ** 2 + (u[None, :] - centre[0]) ** 2) / sigma**2)
        fine = fftconvolve(gaussian / gaussian.sum(), kernel, mode="valid")
    return np.asarray(fine.reshape(n, s, n, s).sum(axis=(1, 3)))


def render_galaxies(sky: Sky, transform: Floats, kernel: Floats) -> Floats:
    """Return the (n, n) image of all galaxies."""
    from scipy.ndimage import gaussian_filter
    from scipy.signal import fftconvolve
    from scipy.special import gamma, gammaincinv

    n, s, m = sky.stamp, sky.subsampling, sky.kernel
    if not sky.galaxies:
        return np.zeros((n, n))
    over, pad = 7, 8
    size = n * s + m - 1 + 2 * pad
    fine = (np.arange(size * over) - (size * over - 1) / 2) / over / s + (n - 1) / 2
    x, y = np.meshgrid(fine, fine)
    inverse = np.linalg.inv(transform[:, :2])
    sky_x = inverse[0, 0] * (x - transform[0, 2]) + inverse[0, 1] * (y - transform[1, 2])
    sky_y = inverse[1, 0] * (x - transform[0, 2]) + inverse[1, 1] * (y - transform[1, 2])
    total = np.zeros_like(x)
    for g in sky.galaxies:
        b = gammaincinv(2 * g.index, 0.5)
        dx, dy = sky_x - g.xi, sky_y - g.eta
        u = dx * np.cos(g.angle) + dy * np.sin(g.angle)
        v = -dx * np.sin(g.angle) + dy * np.cos(g.angle)
        r = np.sqrt(g.axis_ratio * u**2 + v**2 / g.axis_ratio + (0.02 * sky.scale / s) ** 2)
        norm = b ** (2 * g.index) / (2 * np.pi * g.index * g.radius**2 * gamma(2 * g.index))
        total += g.flux * norm * np.exp(-b * (r / g.radius) ** (1 / g.index))
    area = (sky.scale / s) ** 2
    if sky.target_fwhm > 0:
        total = gaussian_filter(total, sky.target_fwhm / FWHM_PER_SIGMA * over, mode="nearest", truncate=5)
    small = total[over // 2 :: over, over // 2 :: over][pad:-pad, pad:-pad]
    image = fftconvolve(small * area, kernel, mode="valid")
    return np.asarray(image.reshape(n, s, n, s).sum(axis=(1, 3)))


def alone(epochs: int, seed: int, **changes: object) -> Sky:
    """Return two point sources 4.5 arcsec apart, on nothing but sky, in seeing 0.6 to 1.0."""
    rng = np.random.default_rng(seed + 1000)
    sources = np.array([[0.0, 0.0], [2.8, 3.5]]) + rng.uniform(-0.06, 0.06, (2, 2))
    walk = np.cumsum(rng.normal(0, 0.03, (epochs, 2)), axis=0)
    flux = np.array([1200.0, 700.0]) * rng.uniform(0.8, 1.25, 2) * 10 ** (-0.4 * walk)
    options: dict[str, object] = {"rotation": 0.003, "stamp": 64, "kernel": 64, **changes}
    return Sky(sources, flux, (), rng.uniform(0.6, 1.0, epochs), **options)  # type: ignore[arg-type]


def quad(epochs: int, seed: int, **changes: object) -> Sky:
    """Return a quadruply lensed quasar of 0.7 to 1.5 arcsec separations on its lens galaxy, in seeing 0.6 to 1.9."""
    rng = np.random.default_rng(seed + 1000)
    sources = np.array([[0.45, 0.55], [0.62, -0.18], [-0.28, -0.62], [-0.55, 0.25]])
    sources = sources + rng.uniform(-0.06, 0.06, sources.shape)
    mean = np.array([1200.0, 900.0, 600.0, 400.0]) * rng.uniform(0.8, 1.25, 4)
    walk = np.cumsum(rng.normal(0, 0.03, (epochs, 4)), axis=0)
    galaxy = Galaxy(
        flux=1000.0 * rng.uniform(0.7, 1.4),
        xi=rng.uniform(-0.08, 0.08),
        eta=rng.uniform(-0.08, 0.08),
        radius=rng.uniform(0.5, 1.1),
        index=rng.uniform(2.5, 4.5),
        axis_ratio=rng.uniform(0.65, 0.95),
        angle=rng.uniform(0, np.pi),
    )
    seeing = rng.uniform(0.6, 1.9, epochs)
    options: dict[str, object] = {"rotation": 0.003, **changes}
    return Sky(sources, mean * 10 ** (-0.4 * walk), (galaxy,), seeing, **options)  # type: ignore[arg-type]
