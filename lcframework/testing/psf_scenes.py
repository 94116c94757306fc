"""Simulated stamps of stars with a known PSF, to test PSF models and photometry against."""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.types import Floats, PsfBatch

_FINE = 5  # points across a pixel over which its flux is integrated


@attrs.frozen(eq=False)
class StarScene:
    """A batch of stamps, and the truth behind them."""

    batch: PsfBatch
    flux: Floats  # (f, n) e-/s of each star, over all of the plane
    offset: Floats  # (f, n, 2) from the stamps' centres, pixels
    shapes: tuple[StarShape, ...]  # one for each frame
    model: Floats  # (f, n, ny, nx) without noise


@attrs.frozen
class StarShape:
    """A PSF that is no Moffat: a core with a lopsided second component, like coma and a guiding error together."""

    fwhm: float  # pixels
    beta: float
    ellipticity: float  # 1 - minor / major axis
    angle: float  # radians, of the major axis from +x towards +y
    second_flux: float  # relative to the core
    second_sigma: float  # pixels
    second_x: float  # pixels from the core
    second_y: float

    def image(self, size: int, x: float, y: float) -> Floats:
        """Return a unit star at (x, y) pixels from the centre of a stamp with sides of `size` pixels."""
        grid = (np.arange(size * _FINE) - 0.5 * (size * _FINE - 1)) / _FINE
        dx, dy = grid[None, :] - x, grid[:, None] - y
        along = np.cos(self.angle) * dx + np.sin(self.angle) * dy
        across = np.cos(self.angle) * dy - np.sin(self.angle) * dx
        ratio = 1.0 - self.ellipticity
        core = 0.5 * self.fwhm / np.sqrt(2 ** (1 / self.beta) - 1)
        radius = (along**2 * ratio + across**2 / ratio) / core**2
        moffat = (self.beta - 1) / (np.pi * core**2) * (1 + radius) ** -self.beta
        distance = (dx - self.second_x) ** 2 + (dy - self.second_y) ** 2
        gaussian = np.exp(-0.5 * distance / self.second_sigma**2) / (2 * np.pi * self.second_sigma**2)
        total: Floats = np.asarray((moffat + self.second_flux * gaussian) / (1 + self.second_flux))
        blocks: Floats = total.reshape(size, _FINE, size, _FINE).mean(axis=(1, 3))
        return blocks


def random_shape(rng: np.random.Generator, fwhm: tuple[float, float] = (3.0, 6.0)) -> StarShape:
    """Return a random PSF with a FWHM in the range given, pixels."""
    width = rng.uniform(*fwhm)
    return StarShape(
        fwhm=width,
        beta=rng.uniform(2.5, 4.5),
        ellipticity=rng.uniform(0.0, 0.2),
        angle=rng.uniform(0.0, np.pi),
        second_flux=rng.uniform(0.1, 0.3),
        second_sigma=0.3 * width,
        second_x=rng.normal(0.0, 0.25 * width),
        second_y=rng.normal(0.0, 0.25 * width),
    )


@attrs.frozen
class FieldOptics:
    """How a PSF changes over a frame: at a place u, v, each from -1 to 1 over the frame's sides."""

    fwhm: float = 2.5  # pixels, at the centre
    coma: float = 0.0  # the second component's distance from the core in the corners, FWHM; grows linearly, radially
    corners: float = 0.0  # ellipticity in the corners, radial; grows with the square of the distance
    rotation: float = 0.0  # ellipticity in the corners, tangential, of a field that rotates; grows linearly
    curvature: float = 0.0  # relative widening in the corners; grows with the square of the distance

    def shape(self, u: float, v: float) -> StarShape:
        """Return the PSF at a place."""
        distance, angle = np.hypot(u, v) / np.sqrt(2.0), np.arctan2(v, u)
        # Ellipticities along and across the radius partly cancel.
        ellipticity = self.corners * distance**2 - self.rotation * distance
        return StarShape(
            fwhm=self.fwhm * (1.0 + self.curvature * distance**2),
            beta=3.5,
            ellipticity=abs(ellipticity),
            angle=angle if ellipticity > 0 else angle + 0.5 * np.pi,
            second_flux=0.2,
            second_sigma=0.35 * self.fwhm,
            second_x=self.coma * self.fwhm * distance * np.cos(angle),
            second_y=self.coma * self.fwhm * distance * np.sin(angle),
        )


def simulate_field(
    optics: FieldOptics,
    frames: int = 2,
    stars: int = 60,
    size: int = 20,
    *,
    seed: int = 0,
    flux: tuple[float, float] = (300.0, 10000.0),
    sky_noise: float = 0.6,
    exptime: float = 60.0,
) -> StarScene:
    """Return stamps of stars all over frames of 1000 pixels a side, whose PSF is that of `optics` at each star's place.

    The stars are the same in all frames, at other sub-pixel positions. The other parameters are those of
    :func:`simulate_stars`. `StarScene.shapes` holds the PSF at the frame's centre.
    """
    rng = np.random.default_rng(seed)
    side = 1000
    fluxes = np.tile(flux[0] * (flux[1] / flux[0]) ** rng.uniform(size=stars), (frames, 1))
    xy = np.tile(np.round(rng.uniform(0, side - 1, size=(stars, 2))), (frames, 1, 1))
    offsets = rng.uniform(-0.5, 0.5, size=(frames, stars, 2))
    places = 2.0 * (xy + offsets) / (side - 1) - 1.0
    model = np.array(
        [
            [
                f * optics.shape(*place).image(size, *position)
                for f, place, position in zip(fluxes[k], places[k].tolist(), offsets[k].tolist(), strict=True)
            ]
            for k in range(frames)
        ]
    )
    noise = np.sqrt(sky_noise**2 + model / exptime)
    batch = PsfBatch(
        data=model + noise * rng.normal(size=model.shape),
        noise=noise,
        mask=np.zeros(model.shape, bool),
        xy=xy,
        offset=np.zeros((frames, stars, 2)),
        seeing=np.full(frames, optics.fwhm),
        frame_shape=(side, side),
    )
    return StarScene(batch, fluxes, offsets, (optics.shape(0.0, 0.0),) * frames, model)


def simulate_stars(
    frames: int = 3,
    stars: int = 6,
    size: int = 24,
    *,
    seed: int = 0,
    fwhm: tuple[float, float] = (3.0, 6.0),
    flux: tuple[float, float] = (300.0, 10000.0),
    sky_noise: float = 0.6,
    exptime: float = 60.0,
    offset: float = 0.5,
) -> StarScene:
    """Return stamps of `stars` stars in each of `frames` frames, every frame with its own PSF.

    Parameters
    ----------
    frames, stars, size : int
        Size of the batch, and of the sides of stamps in pixels.
    seed : int
        The seed of all random numbers.
    fwhm : (float, float)
        Range of the PSFs' FWHM, pixels.
    flux : (float, float)
        Range of the stars' fluxes, e-/s, uniform in their logarithm.
    sky_noise : float
        e-/s per pixel.
    exptime : float
        Seconds; gives the stars' own noise.
    offset : float
        Stars lie within this of their stamp's centre, pixels.
    """
    rng = np.random.default_rng(seed)
    shapes = tuple(random_shape(rng, fwhm) for _ in range(frames))
    fluxes = np.tile(flux[0] * (flux[1] / flux[0]) ** rng.uniform(size=stars), (frames, 1))
    offsets = rng.uniform(-offset, offset, size=(frames, stars, 2))
    model = np.array(
        [
            [f * shape.image(size, *position) for f, position in zip(row, positions.tolist(), strict=True)]
            for shape, row, positions in zip(shapes, fluxes, offsets, strict=True)
        ]
    )
    noise = np.sqrt(sky_noise**2 + model / exptime)
    batch = PsfBatch(
        data=model + noise * rng.normal(size=model.shape),
        noise=noise,
        mask=np.zeros(model.shape, bool),
        xy=rng.uniform(100, 900, size=(frames, stars, 2)),
        offset=np.zeros((frames, stars, 2)),
        seeing=np.array([shape.fwhm for shape in shapes]),
        frame_shape=(1000, 1000),
    )
    return StarScene(batch, fluxes, offsets, shapes, model)
