"""A simulated detector with known bias, dark current and sensitivity: raw frames that need to be reduced."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

Array = NDArray[Any]


@attrs.frozen
class Detector:
    """A simulated detector; its fixed patterns depend only on `seed`."""

    shape: tuple[int, int] = (150, 170)  # (ny, nx)
    seed: int = 1
    gain: float = 2.0  # e-/ADU
    read_noise: float = 6.0  # e-
    bias_level: float = 1000.0  # ADU
    bias_columns: float = 15.0  # ADU, rms from column to column
    dark_rate: float = 0.4  # e-/s
    hot_pixels: int = 60
    vignetting: float = 0.35  # of the light is lost in the corners
    pixel_scatter: float = 0.01  # relative, of the sensitivity
    dead_pixels: int = 4
    saturation: float = 60000.0  # ADU
    instrument: str = "SimCam"

    def _fixed(self, part: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, part])

    def _radius(self) -> Array:
        """Return the distance from a point off the centre, 1 at the farthest corner."""
        ny, nx = self.shape
        y, x = np.mgrid[:ny, :nx]
        r = np.hypot(x - 0.47 * nx, y - 0.52 * ny)
        return np.asarray(r / r.max())

    def bias(self) -> Array:
        """Return the bias, ADU: a level, a slope, and a pattern of columns."""
        ny, nx = self.shape
        columns = self._fixed(1).normal(0, self.bias_columns, nx)
        return self.bias_level + columns + np.linspace(0, 40, ny)[:, None]

    def dark(self) -> Array:
        """Return the dark current, e-/s: a glow from a corner, and hot pixels."""
        ny, nx = self.shape
        rng = self._fixed(2)
        y, x = np.mgrid[:ny, :nx]
        glow = 1 + 4 * np.exp(-np.hypot(x, y) / (0.2 * nx))
        out = self.dark_rate * glow * rng.uniform(0.8, 1.2, self.shape)
        out[rng.integers(0, ny, self.hot_pixels), rng.integers(0, nx, self.hot_pixels)] += 40 * self.dark_rate
        return np.asarray(out)

    def dead(self) -> Array:
        """Return which pixels (ny, nx) are dead."""
        rng = self._fixed(3)
        out = np.zeros(self.shape, bool)
        out[rng.integers(0, self.shape[0], self.dead_pixels), rng.integers(0, self.shape[1], self.dead_pixels)] = True
        return out

    def sensitivity(self, band: str) -> Array:
        """Return the relative sensitivity in a band, of median 1; bands differ in their dust and their slope."""
        rng = self._fixed(4)
        out = (1 - self.vignetting * self._radius() ** 2) * rng.normal(1, self.pixel_scatter, self.shape)
        own = np.random.default_rng([self.seed, 5, *band.encode()])
        ny, nx = self.shape
        y, x = np.mgrid[:ny, :nx]
        for _ in range(6):
            grain = np.hypot(x - own.uniform(0, nx), y - own.uniform(0, ny))
            out *= 1 - 0.12 * np.exp(-0.5 * ((grain - 8) / 2.5) ** 2)
        out *= 1 + own.uniform(-0.15, 0.15) * (x / nx - 0.5)
        out[self.dead()] = 0
        return np.asarray(out / np.median(out))

    def read(self, rng: np.random.Generator, exptime: float, light: Array | float = 0.0, band: str = "") -> Array:
        """Return the counts (ny, nx), uint16, of an exposure to `light`, in e-/s where the sensitivity is 1."""
        seen = light * self.sensitivity(band) if band else np.zeros(self.shape)
        electrons = rng.poisson((seen + self.dark()) * exptime) + rng.normal(0, self.read_noise, self.shape)
        return np.clip(np.round(self.bias() + electrons / self.gain), 0, 65535).astype(np.uint16)

    def variance(self, exptime: float, light: Array | float, band: str) -> Array:
        """Return the variance, (e-/s)^2, of a reduced exposure, without the noise of the masters."""
        seen = self.sensitivity(band)
        electrons = (light * seen + self.dark()) * exptime + self.read_noise**2 + self.gain**2 / 12
        return np.asarray(electrons / np.maximum(seen * exptime, 1e-9) ** 2)

    def header(self, kind: str, exptime: float, band: str = "", **cards: Any) -> fits.Header:
        """Return the header of an exposure of a kind such as ``"Flat Field"``."""
        header = fits.Header()
        header["IMAGETYP"], header["INSTRUME"], header["EXPTIME"] = kind, self.instrument, exptime
        header["GAIN"], header["RDNOISE"], header["SATURATE"] = self.gain, self.read_noise, self.saturation
        header["XBINNING"], header["YBINNING"], header["CCD-TEMP"] = 1, 1, -10.0
        header["DATE-OBS"], header["TIMESYS"] = "2024-02-20T05:46:18", "UTC"
        if band:
            header["FILTER"] = band
        header.update({key.replace("_", "-"): value for key, value in cards.items()})
        return header
