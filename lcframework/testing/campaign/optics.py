"""The PSF of a simulated frame: turbulence times optics whose aberrations vary over the field, made with GalSim.

Fourier transforms are stored on a grid twice as fine as the pixels; they include the response of the pixels. An image
is then a product with a phase ramp for the position, and one inverse transform.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcframework.testing.campaign.observing import Conditions
from lcframework.types import NeedMissing

Array = NDArray[Any]

STAMP = 64  # pixels; brighter objects have stamps of twice or four times this size
NODES = 4  # a side, of the grid on which the optics are computed
WAVELENGTH = 640.0  # nm
DIAMETER = 2.6  # m
OBSCURATION = 0.3
# How the aberrations change from the centre to the edge of a field of strong aberrations, in waves.
FIELD_X = np.array([0.10, 0.16, 0.04, 0.13, 0.00])
FIELD_Y = np.array([-0.07, 0.05, 0.14, 0.00, 0.13])
CURVATURE = np.array([0.12, 0.0, 0.0, 0.0, 0.0])


def need_galsim() -> Any:
    """Return the galsim module.

    Raises
    ------
    NeedMissing
        Naming the command that installs it.
    """
    try:
        import galsim
    except ImportError as error:
        raise NeedMissing(
            'simulating a campaign needs galsim, which is not installed: pip install "lcframework[demo]"'
        ) from error
    return galsim


class FieldPsf:
    """The transforms of a frame's PSF anywhere in the field.

    The optics are computed on a grid of nodes and interpolated linearly between them, so that the truth is smooth.

    Parameters
    ----------
    conditions : Conditions
        The conditions of the frame.
    """

    def __init__(self, conditions: Conditions) -> None:
        self.galsim = need_galsim()
        self.conditions = conditions
        self.settings = conditions.settings
        self.fine = 0.5 * self.settings.pixel_scale  # arcsec
        self.nodes = np.linspace(-1.0, 1.0, NODES) if self.settings.psf_varies else np.zeros(1)
        self._optics = [[self._optics_at(u, v) for u in self.nodes] for v in self.nodes]
        self._atmosphere: dict[int, Array] = {}

    def transform(self, x: float, y: float, stamp: int = STAMP) -> Array:
        """Return the PSF's transform at a pixel of the frame for stamps of `stamp` pixels; complex64, origin first."""
        optics = self._optics_near(x, y)
        if stamp != STAMP:
            optics = self._finer(optics, 2 * stamp)
        return (optics * self._air(stamp)).astype(np.complex64)

    def profile(self, profile: Any, stamp: int = STAMP) -> Array:
        """Return the transform of a GalSim profile on the same grid."""
        size = 2 * stamp
        image = profile.drawKImage(nx=size, ny=size, scale=2 * np.pi / (size * self.fine))
        return np.fft.ifftshift(image.array).astype(np.complex64)

    def fwhm(self, x: float, y: float) -> float:
        """Return the delivered full width at half maximum in arcsec: of the disk whose area is above half the peak."""
        # Four samples for each of the fine grid's.
        image = np.fft.fftshift(np.fft.ifft2(_padded(self.transform(x, y), 8 * STAMP)).real)
        area = np.count_nonzero(image > 0.5 * image.max()) * (self.fine / 4) ** 2
        return float(np.sqrt(4.0 * area / np.pi))

    def _air(self, stamp: int) -> Array:
        if stamp not in self._atmosphere:
            g1, g2 = self.conditions.guiding
            air = self.galsim.Kolmogorov(fwhm=self.conditions.seeing).shear(g1=g1, g2=g2)
            pixel = self.galsim.Pixel(self.settings.pixel_scale)
            self._atmosphere[stamp] = self.profile(air, stamp) * self.profile(pixel, stamp)
        return self._atmosphere[stamp]

    def _optics_at(self, u: float, v: float) -> Array:
        varying = u * FIELD_X + v * FIELD_Y + 0.5 * (u * u + v * v) * CURVATURE
        waves = np.asarray(self.conditions.aberrations) + self.settings.field_aberrations * varying
        waves[0] += self.settings.defocus
        names = ("defocus", "astig1", "astig2", "coma1", "coma2")
        optics = self.galsim.OpticalPSF(
            lam=WAVELENGTH,
            diam=DIAMETER,
            obscuration=OBSCURATION,
            trefoil1=0.06,
            oversampling=1.0,
            pad_factor=1.0 + 2.0 * self.settings.defocus,  # the ring grows with it, and must not be folded
            **dict(zip(names, waves.tolist(), strict=True)),
        )
        return self.profile(optics)

    def _optics_near(self, x: float, y: float) -> Array:
        if len(self.nodes) == 1:
            return self._optics[0][0]
        half = 0.5 * (self.settings.size - 1)
        steps = len(self.nodes) - 1
        at = np.clip((np.array([x, y]) / half - 1.0) * 0.5 * steps + 0.5 * steps, 0.0, steps - 1e-9)
        (i, j), (fx, fy) = at.astype(int), at % 1.0
        lower = (1 - fx) * self._optics[j][i] + fx * self._optics[j][i + 1]
        upper = (1 - fx) * self._optics[j + 1][i] + fx * self._optics[j + 1][i + 1]
        return np.asarray((1 - fy) * lower + fy * upper)

    @staticmethod
    def _finer(transform: Array, size: int) -> Array:
        """Return the transform of the same image, padded with empty sky."""
        image = np.fft.fftshift(np.fft.ifft2(transform))
        margin = (size - len(image)) // 2
        return np.asarray(np.fft.fft2(np.fft.ifftshift(np.pad(image, margin))))


def _padded(transform: Array, size: int) -> Array:
    """Return the transform of the same image, sampled more finely."""
    margin = (size - len(transform)) // 2
    return np.asarray(np.fft.ifftshift(np.pad(np.fft.fftshift(transform), margin)))


def stamp_image(transform: Array, dx: float, dy: float) -> Array:
    """Return the (s, s) image of unit flux, centred `dx`, `dy` pixels from pixel (s / 2, s / 2); float32.

    Taking every second sample of the fine grid folds the transform's quadrants onto each other, so the inverse
    transform is done on the pixels' grid.
    """
    size = len(transform)
    half = size // 2
    k = -2j * np.pi * np.fft.fftfreq(size) * 2.0
    moved = transform * np.outer(np.exp(k * dy), np.exp(k * dx)).astype(np.complex64)
    folded = moved.reshape(2, half, 2, half).sum(axis=(0, 2))
    # The pixel at (s / 2, s / 2) is the origin: bring it there.
    return np.fft.fftshift(np.fft.ifft2(folded).real).astype(np.float32)
