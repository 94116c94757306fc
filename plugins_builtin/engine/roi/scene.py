"""A region of interest as point sources, Sersic galaxies and Gaussian bumps: its image at one epoch, with derivatives.

All components are defined on the tangent plane and rendered at each epoch's own position, scale and rotation. Point
sources and bumps are Gaussians, so the separable operator of :mod:`plugins_builtin.engine.target` gives their images
exactly, without interpolation. The Sersics are computed once on a fine grid of the sky, convolved with the target
Gaussian, and interpolated at each epoch's small pixels by cubic splines.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Float

from lcframework.types import FWHM_PER_SIGMA, Floats
from plugins_builtin.engine.roi.geometry import Epochs, pixel_scales, to_pixels, to_sky
from plugins_builtin.engine.roi.sersic import N_PARAMETERS, SkyGrid, target_images
from plugins_builtin.engine.target import target_matrix, target_matrix_pair

#: Steps of the sky grid per small pixel.
_OVERSAMPLING = 2


@attrs.frozen(eq=False)
class Bumps:
    """Gaussian bumps of unit-variance amplitudes: brightness ``z * prior * exp(-r^2 / 2 sigma^2)``."""

    sky: Float[Floats, "b 2"]  # arcsec
    sigma: float  # arcsec, the target Gaussian's width included
    prior: Float[Floats, " b"]  # e-/s per square arcsec at the centre for z = 1

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.sky)


NO_BUMPS = Bumps(np.zeros((0, 2)), 1.0, np.zeros(0))


@attrs.frozen(eq=False)
class Scene:
    """The parameters common to all epochs."""

    offset: Float[Floats, "k 2"]  # arcsec
    galaxies: Float[Floats, "g 7"]  # see `sersic.PARAMETERS`
    bumps: Bumps
    z: Float[Floats, " b"]
    # Arcsec per tan z; of all sources, or of none.
    refraction: Float[Floats, " _"] = attrs.field(factory=lambda: np.zeros(0))

    @property
    def size(self) -> int:
        """Number of parameters: 2 k (+ k) + 7 g + b, in the order of `vector`."""
        return self.offset.size + len(self.refraction) + self.galaxies.size + len(self.z)

    def at(self, zenith: Float[Floats, " 2"]) -> Float[Floats, "k 2"]:
        """Return the point sources' offsets at an epoch with the zenith in a direction."""
        return self.offset + np.outer(self.refraction, zenith) if len(self.refraction) else self.offset

    @property
    def vector(self) -> Float[Floats, " shared"]:
        """Positions source by source, then refraction, galaxies, bumps."""
        return np.concatenate([self.offset.ravel(), self.refraction, self.galaxies.ravel(), self.z])

    def with_vector(self, vector: Float[Floats, " shared"]) -> Scene:
        """Return the scene with other parameters."""
        r = self.offset.size
        a, b = r + len(self.refraction), r + len(self.refraction) + self.galaxies.size
        return attrs.evolve(
            self,
            offset=vector[:r].reshape(-1, 2),
            refraction=vector[r:a],
            galaxies=vector[a:b].reshape(-1, N_PARAMETERS),
            z=vector[b:],
        )


@attrs.frozen(eq=False)
class Rendered:
    """One epoch's images and derivatives."""

    sources: Float[Floats, "k ny nx"]  # of unit flux
    by_x: Float[Floats, "k ny nx"]  # per pixel
    by_y: Float[Floats, "k ny nx"]
    galaxy: Float[Floats, "ny nx"]
    by_galaxies: Float[Floats, "parameters ny nx"]  # 7 a galaxy
    by_bumps: Float[Floats, "b ny nx"]


class SkyImages:
    """A scene's Sersics on a fine grid of the sky, from which every epoch's images are interpolated.

    The grid covers all epochs' stamps and the extent of their kernels.
    """

    def __init__(self, epochs: Epochs, scene: Scene) -> None:
        """Compute the images of `scene`'s galaxies."""
        from scipy.ndimage import spline_filter

        self.grid = _sky_grid(epochs)
        small = epochs.scale / epochs.subsampling
        fwhm = epochs.fwhm * small / self.grid.spacing
        images = [target_images(theta, self.grid, fwhm) for theta in scene.galaxies]
        # Cubic splines for the images; linear interpolation is enough for the derivatives, which only guide the steps.
        self.coefficients = [spline_filter(stack[0], order=3, mode="nearest") for stack in images]
        self.derivatives = [stack[1:] for stack in images]

    def at(self, epochs: Epochs, e: int, shift: Float[Floats, " 2"]) -> list[Float[Floats, "8 ny nx"]]:
        """Return each galaxy's images at epoch `e` translated by `shift` pixels."""
        from scipy.fft import irfft2, next_fast_len, rfft2
        from scipy.ndimage import map_coordinates

        kernel = epochs.kernels[e]
        sub = epochs.subsampling
        ny, nx = epochs.shape
        # A 'valid' convolution needs a margin of half the kernel; where its size is even, points half a step off.
        y, x = (
            (np.arange(n * sub + m - 1) - (m - 1) / 2 + 0.5) / sub - 0.5
            for n, m in zip((ny, nx), kernel.shape, strict=True)
        )
        xy = np.stack(np.meshgrid(x, y), axis=-1) - shift
        index = self.grid.index(to_sky(epochs.transform[e], xy))
        area = (pixel_scales(epochs.transform[e]) / sub) ** 2
        # Light that wraps around falls outside the 'valid' part.
        size = [next_fast_len(n, real=True) for n in xy.shape[:2]]
        spectrum = rfft2(kernel, size)
        valid = tuple(slice(m - 1, m - 1 + n * sub) for n, m in zip((ny, nx), kernel.shape, strict=True))
        results = []
        for coefficients, derivatives in zip(self.coefficients, self.derivatives, strict=True):
            own = map_coordinates(coefficients, index, order=3, mode="nearest", prefilter=False)
            fine = np.concatenate([own[None], _bilinear(derivatives, index)])
            image = irfft2(rfft2(fine, size) * spectrum, size)[(slice(None), *valid)]
            results.append(area * image.reshape(len(image), ny, sub, nx, sub).sum(axis=(2, 4)))
        return results


def _bilinear(
    images: Float[Floats, "images rows columns"], index: Float[Floats, " 2 *stack"]
) -> Float[Floats, " images *stack"]:
    """Return all images at the same fractional indices, by linear interpolation; constant beyond the border."""
    shape = images.shape[1:]
    low = [np.clip(np.floor(i).astype(int), 0, length - 2) for i, length in zip(index, shape, strict=True)]
    row, column = (np.clip(i - j, 0.0, 1.0) for i, j in zip(index, low, strict=True))
    flat = images.reshape(len(images), -1)
    first = low[0] * shape[1] + low[1]
    above = np.take(flat, first, axis=1) * (1 - column) + np.take(flat, first + 1, axis=1) * column
    first = first + shape[1]
    below = np.take(flat, first, axis=1) * (1 - column) + np.take(flat, first + 1, axis=1) * column
    between: Floats = above * (1 - row) + below * row
    return between


def _sky_grid(epochs: Epochs) -> SkyGrid:
    """Return a grid that covers all stamps with a margin of half a kernel."""
    ny, nx = epochs.shape
    reach = 0.5 * max(epochs.kernels.shape[1:]) / epochs.subsampling + 2.0
    corners = np.array([[-reach, -reach], [nx + reach, -reach], [-reach, ny + reach], [nx + reach, ny + reach]])
    sky = np.concatenate([to_sky(t, corners) for t in epochs.transform])
    spacing = epochs.scale / epochs.subsampling / _OVERSAMPLING
    low, high = sky.min(axis=0), sky.max(axis=0)
    size = int(np.ceil((high - low).max() / spacing)) + 1
    return SkyGrid(0.5 * (low + high) - 0.5 * (size - 1) * spacing, spacing, size)


def source_images(
    epochs: Epochs, e: int, xy: Float[Floats, "k 2"]
) -> tuple[Float[Floats, "k ny nx"], Float[Floats, "k ny nx"], Float[Floats, "k ny nx"]]:
    """Return unit images of point sources at stamp positions, and their derivatives by x and y."""
    ny, nx = epochs.shape
    kernel, s, fwhm = epochs.kernels[e], epochs.subsampling, epochs.fwhm
    rows, by_rows = target_matrix_pair(xy[:, 1] - 0.5 * (ny - 1), ny, s, fwhm, kernel.shape[0])
    columns, by_columns = target_matrix_pair(xy[:, 0] - 0.5 * (nx - 1), nx, s, fwhm, kernel.shape[1])
    right = kernel @ columns.swapaxes(1, 2)
    return rows @ right, rows @ (kernel @ by_columns.swapaxes(1, 2)), by_rows @ right


def wide_operators(
    offset: Float[Floats, " b"], n: int, subsampling: int, fwhm: float, m: int
) -> Float[Floats, "b {n} {m}"]:
    """Return the matrices of `target_matrix` for many offsets at once.

    An element depends on the difference of its indices alone, so one row of samples of the Gaussian fills a matrix.
    """
    samples = target_matrix(subsampling * offset, n * subsampling + m - 1, 1, fwhm, 1)[..., 0]
    length = samples.shape[1] - subsampling + 1
    blocks = np.ascontiguousarray(sum(samples[:, k : k + length] for k in range(subsampling)))
    step = blocks.strides[1]
    strides = (blocks.strides[0], subsampling * step, -step)
    return np.lib.stride_tricks.as_strided(blocks[:, m - 1 :], (len(offset), n, m), strides, writeable=False)


def bump_images(epochs: Epochs, e: int, bumps: Bumps, shift: Float[Floats, " 2"]) -> Float[Floats, "b ny nx"]:
    """Return the images of bumps with z = 1 at epoch `e`."""
    ny, nx = epochs.shape
    if len(bumps) == 0:
        return np.zeros((0, ny, nx))
    kernel = epochs.kernels[e]
    s = epochs.subsampling
    xy = to_pixels(epochs.transform[e], bumps.sky) + shift
    fwhm = FWHM_PER_SIGMA * bumps.sigma / float(pixel_scales(epochs.transform[e])) * s
    rows = wide_operators(xy[:, 1] - 0.5 * (ny - 1), ny, s, fwhm, kernel.shape[0])
    columns = wide_operators(xy[:, 0] - 0.5 * (nx - 1), nx, s, fwhm, kernel.shape[1])
    flux = bumps.prior * 2 * np.pi * bumps.sigma**2
    right = np.ascontiguousarray(columns).reshape(-1, kernel.shape[1]) @ kernel.T
    right = right.reshape(len(bumps), nx, -1).swapaxes(1, 2) * flux[:, None, None]
    images: Floats = np.ascontiguousarray(rows) @ right
    return images


def render(epochs: Epochs, e: int, scene: Scene, sky: SkyImages, shift: Float[Floats, " 2"]) -> Rendered:
    """Return epoch `e`'s images of `scene`, translated by `shift` pixels."""
    xy = to_pixels(epochs.transform[e], scene.at(epochs.zenith[e])) + shift
    sources, by_x, by_y = source_images(epochs, e, xy)
    galaxies = sky.at(epochs, e, shift)
    by_bumps = bump_images(epochs, e, scene.bumps, shift)
    galaxy = np.tensordot(scene.z, by_bumps, 1)
    for images in galaxies:
        galaxy = galaxy + images[0]
    by_galaxies = np.concatenate([g[1:] for g in galaxies]) if galaxies else np.zeros((0, *epochs.shape))
    return Rendered(sources, by_x, by_y, galaxy, by_galaxies, by_bumps)
