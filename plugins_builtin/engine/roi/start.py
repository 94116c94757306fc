"""The start of a joint fit: galaxies found in the residuals of point sources, and the priors."""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Float, Int

from lcframework.types import Floats, Ints
from plugins_builtin.engine.roi.geometry import Epochs, to_pixels, to_sky
from plugins_builtin.engine.roi.scene import Bumps, bump_images, source_images
from plugins_builtin.engine.roi.sersic import N_PARAMETERS

#: Decrease of chi2 that a galaxy must bring to be added.
DETECTION = 25.0
_WIDTHS = (0.8, 1.6, 3.2)  # pixels, sigma of the Gaussians that represent a galaxy in the search
_STEP = 0.75  # distance of the positions that are tried, in widths; at least a pixel
_START_INDEX = 2.0

#: Prior standard deviations of `sersic.PARAMETERS`; centre in pixels.
PRIOR_SD = np.array([3.0, 1.5, 1.5, 0.7, 0.6, 0.2, 0.2])


@attrs.frozen(eq=False)
class Found:
    """A galaxy that was found: parameters to start from and the decrease of chi2."""

    theta: Float[Floats, " 7"]
    gain: float


def best_epochs(epochs: Epochs, number: int) -> Int[Ints, " best"]:
    """Return the indices of the sharpest and deepest usable epochs, best first."""
    depth = np.where(epochs.valid, 1.0 / epochs.variance, 0.0).sum(axis=(1, 2)) / np.maximum(epochs.seeing, 0.5) ** 2
    order = np.argsort(-np.where(epochs.usable, depth, -1.0))
    return order[: min(number, int(epochs.usable.sum()))]


def find_galaxy(
    epochs: Epochs,
    offset: Float[Floats, "k 2"],
    known: list[Float[Floats, " 7"]],
    positions: Float[Floats, "positions 2"] | None = None,
) -> Found:
    """Return the round galaxy that decreases chi2 most, with point sources and known galaxies in the model.

    Parameters
    ----------
    epochs : Epochs
        The data; the six best epochs are used.
    offset : (k, 2) array
        Positions of the point sources, arcsec.
    known : list of (7,) arrays
        Galaxies found before; their light is projected out.
    positions : (positions, 2) array, optional
        Positions to try, arcsec; a grid over the stamp where not given.
    """
    chosen = best_epochs(epochs, 6).tolist()
    best = Found(np.zeros(N_PARAMETERS), -np.inf)
    for width in _WIDTHS:
        sigma = width * epochs.scale
        tried = _grid(epochs, chosen[0], width) if positions is None else positions
        bumps = Bumps(tried, sigma, np.full(len(tried), 1 / (2 * np.pi * sigma**2)))  # of flux 1
        projected, power = zip(*(_project(epochs, i, offset, known, bumps) for i in chosen), strict=True)
        gain, amplitude = _combine(np.array(projected), np.array(power))
        j = int(np.argmax(gain))
        if gain[j] > best.gain:
            radius = np.log(1.18 * sigma)
            theta = [np.log(max(amplitude[j], 1e-30)), *tried[j], radius, np.log(_START_INDEX), 0.0, 0.0]
            best = Found(np.array(theta), float(gain[j]))
    return best


def _grid(epochs: Epochs, e: int, width: float) -> Float[Floats, "positions 2"]:
    """Return a grid of tangent-plane positions, arcsec, over an epoch's stamp."""
    ny, nx = epochs.shape
    step = max(1.0, _STEP * width)
    y, x = np.mgrid[1 : ny - 1 : step, 1 : nx - 1 : step]
    return to_sky(epochs.transform[e], np.stack([x.ravel(), y.ravel()], axis=1))


def _project(
    epochs: Epochs, i: int, offset: Float[Floats, "k 2"], known: list[Float[Floats, " 7"]], bumps: Bumps
) -> tuple[Float[Floats, " b"], Float[Floats, " b"]]:
    """Return each bump's product with the data and its power, both without what the other components can fit.

    The other components are the point sources, their shifts, the sky and the known galaxies.
    """
    none = np.zeros(2)
    sources, by_x, by_y = source_images(epochs, i, to_pixels(epochs.transform[i], offset))
    basis = [*sources, *by_x, *by_y, np.ones(epochs.shape)]
    for theta in known:
        sigmas = np.exp(theta[3]) * np.array([0.5, 1.0, 2.0])
        for sigma in np.maximum(sigmas, 0.3 * epochs.scale):
            basis.extend(bump_images(epochs, i, Bumps(theta[None, 1:3], sigma, np.ones(1)), none))
    root = np.sqrt(np.where(epochs.valid[i], 1 / epochs.variance[i], 0.0)).ravel()
    orthogonal, _, _ = np.linalg.svd((np.array(basis).reshape(len(basis), -1) * root).T, full_matrices=False)
    data = epochs.data[i].ravel() * root
    images = bump_images(epochs, i, bumps, none).reshape(len(bumps), -1) * root
    power = (images**2).sum(axis=1)
    images = images - (images @ orthogonal) @ orthogonal.T
    # A bump that the other components can imitate to one part in a thousand is no evidence of a galaxy.
    left = (images**2).sum(axis=1)
    return np.where(left > 1e-3 * power, images @ data, 0.0), np.maximum(left, 1e-30)


def _combine(
    projected: Float[Floats, "e b"], power: Float[Floats, "e b"]
) -> tuple[Float[Floats, " b"], Float[Floats, " b"]]:
    """Return the decrease of chi2 and the amplitude of each candidate; a single epoch (a cosmic ray) counts little."""
    significance = projected / np.sqrt(power)
    if len(significance) > 2:
        typical = np.maximum(np.median(significance, axis=0), 0.0)
        significance = np.minimum(significance, 3 * typical + 1)
    clipped = significance * np.sqrt(power)
    total = np.maximum(clipped.sum(axis=0), 0.0)
    return total**2 / power.sum(axis=0), total / power.sum(axis=0)


def start_galaxies(
    epochs: Epochs, offset: Float[Floats, "k 2"], number: int, positions: Float[Floats, "known 2"]
) -> tuple[Float[Floats, "g 7"], list[str]]:
    """Return the galaxies to start from, and a note where fewer than `number` are found.

    `positions`, arcsec, are those of known galaxies; further ones are searched for, up to `number` in all.
    """
    found: list[Floats] = []
    notes: list[str] = []
    for position in positions:
        found.append(find_galaxy(epochs, offset, found, np.atleast_2d(position)).theta)
        if found[-1][0] < -20:
            found[-1][0] = np.log(10 * np.sqrt(np.median(epochs.variance)))
    for _ in range(number - len(found)):
        candidate = find_galaxy(epochs, offset, found)
        if candidate.gain < DETECTION:
            notes.append(f"no {'further ' if found else ''}galaxy stands out (chi2 gain {max(candidate.gain, 0):.0f})")
            break
        found.append(candidate.theta)
    return np.array(found).reshape(-1, N_PARAMETERS), notes


def galaxy_prior(epochs: Epochs, galaxies: Float[Floats, "g 7"]) -> tuple[Float[Floats, " 7*g"], Float[Floats, " 7*g"]]:
    """Return prior means and standard deviations around the galaxies that a fit starts from."""
    sd = PRIOR_SD.copy()
    sd[1:3] *= epochs.scale
    return galaxies.ravel().copy(), np.tile(sd, len(galaxies))


def offset_prior(epochs: Epochs, number: int, fix_astrometry: bool | float) -> Float[Floats, "2*{number} 2*{number}"]:
    """Return the prior covariance, arcsec^2, of point-source positions.

    `fix_astrometry`: True holds them; a number is the sigma in pixels. False: 0.5 px for each source, and 2 px for all
    together. So well are positions known that were read off an image, and it bounds sources that are too faint for a
    position of their own.
    """
    if fix_astrometry is True:
        single, together = 1e-5, 0.0
    elif fix_astrometry is False:
        single, together = 0.5, 2.0
    else:
        single, together = float(fix_astrometry), 0.0
    covariance = (single * epochs.scale) ** 2 * np.eye(2 * number)
    axis = np.tile(np.eye(2), (number, number))
    return covariance + (together * epochs.scale) ** 2 * axis


def lattice(epochs: Epochs, centre: Float[Floats, " 2"], spacing: float) -> Float[Floats, "b 2"]:
    """Return a square lattice of points, `spacing` arcsec apart, that covers the stamps and has a point at `centre`."""
    ny, nx = epochs.shape
    corners = np.array([[0, 0], [nx, 0], [0, ny], [nx, ny]], float)
    sky = np.concatenate([to_sky(t, corners) for t in epochs.transform]) - centre
    low, high = np.floor(sky.min(axis=0) / spacing), np.ceil(sky.max(axis=0) / spacing)
    x, y = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
    return centre + spacing * np.stack([x.ravel(), y.ravel()], axis=1)
