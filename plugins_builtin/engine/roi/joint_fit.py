"""The joint fit of all epochs: point sources, Sersic galaxies and Gaussian-process bumps."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np
from jaxtyping import Bool, Float

from lcframework.types import FWHM_PER_SIGMA, Bools, FitState, FitStatus, Floats
from plugins_builtin.engine.roi.geometry import (
    Epochs,
    pixel_scales,
    require_flux,
    small_pixel_transform,
    to_pixels,
    to_sky,
)
from plugins_builtin.engine.roi.newton import (
    Local,
    Pass,
    Prior,
    Refresh,
    Weights,
    first_weights,
    one_pass,
    solve_step,
)
from plugins_builtin.engine.roi.outlying_pixels import persistent, relative_model_error
from plugins_builtin.engine.roi.registration import shift_covariances
from plugins_builtin.engine.roi.scene import NO_BUMPS, Bumps, Scene, SkyImages, bump_images
from plugins_builtin.engine.roi.sersic import LIMITS, N_PARAMETERS
from plugins_builtin.engine.roi.start import galaxy_prior, lattice, offset_prior, start_galaxies

_BUMP_SIGMA = 3.0  # small pixels
_BUMP_SPACING = 4.0  # small pixels
_MAX_BUMPS = 600
_CONVERGED = 0.02  # expected decrease of the objective below which a step moves no parameter by a fifth of its error
_REFRACTION = 0.05  # arcsec per tan z: prior sd of the refraction by a source's colour; 0.7 mag of g - r in the g band
_STEP_LIMIT = np.array([1.5, np.inf, np.inf, 0.7, 0.5, 0.15, 0.15])  # largest step of a galaxy's parameters


@attrs.frozen(eq=False)
class Settings:
    """What to fit."""

    galaxies: int = 1
    galaxy_positions: Float[Floats, "known 2"] = attrs.field(factory=lambda: np.zeros((0, 2)))  # arcsec
    bump_amplitude: float = 0.2  # of the smoothed galaxy; 0: no bumps
    fix_astrometry: bool | float = False
    clip: float | None = 5.0
    noise_from_model: bool = True
    iterations: int = 20
    refraction: bool = False


@attrs.define(eq=False)
class State:
    """A fit in progress, or its end."""

    scene: Scene
    local: Local
    weights: Weights
    prior: Prior
    found: Pass
    history: list[float]
    passes: int
    converged: bool = False
    notes: list[str] = attrs.field(factory=list)
    floor: float = 0.0  # pixels, of the registration


def fit_jointly(epochs: Epochs, offset: Float[Floats, "k 2"], settings: Settings) -> State:
    """Fit all epochs together.

    Parameters
    ----------
    epochs : Epochs
        The data.
    offset : (k, 2) array
        First guess of the point sources' positions, arcsec; also the mean of the astrometric prior.
    settings : Settings
        What to fit.

    Returns
    -------
    State
        The end of the fit.

    Raises
    ------
    UnusableInput
        Where no epoch measures the flux of any source.
    """
    galaxies, notes = start_galaxies(epochs, offset, settings.galaxies, settings.galaxy_positions)
    scene = Scene(offset.copy(), galaxies, NO_BUMPS, np.zeros(0), np.zeros(len(offset) * settings.refraction))
    state = _begin(epochs, scene, settings, notes)
    # Before anything moves: sources that are hidden where they are would go to where pixels are left.
    require_flux(state.found.seen)
    _iterate(epochs, state, settings, settings.iterations, goal=1.0)
    for _ in range(3):
        _refreshed(epochs, state, settings)
    if len(galaxies) and settings.bump_amplitude > 0:
        _add_bumps(epochs, state, settings)
        for _ in range(2):
            _refreshed(epochs, state, settings)
    _iterate(epochs, state, settings, settings.iterations, goal=_CONVERGED)
    require_flux(state.found.seen)
    return state


def prepare_again(epochs: Epochs, known: Float[Floats, "e ny nx"]) -> Epochs:
    """Return the epochs less a `known` part of their images; the noise remains that of the whole image."""
    data = np.where(epochs.valid, epochs.data - known, 0.0)
    return attrs.evolve(epochs, data=data, photon_slope=np.zeros(len(epochs)))


def chi2_note(chi2: float) -> str:
    """Return a warning on the noise maps and PSFs for a reduced chi2 far from one, else an empty text."""
    if 0.8 < chi2 < 1.25:
        return ""
    return f"reduced chi2 {chi2:.2f}: the noise maps or the PSFs are not right"


def status_of(state: State) -> FitStatus:
    """Return how the fit ended."""
    reasons = list(state.notes)
    chi2 = np.nansum(state.found.chi2) / max(state.found.pixels.sum(), 1.0)
    reasons += [r for r in [chi2_note(float(chi2))] if r]
    if not np.isfinite(state.found.objective):
        return FitStatus(FitState.FAILED, state.passes, "the objective is not finite")
    if not state.converged:
        reasons.insert(0, f"not at a minimum after {state.passes} passes")
    return FitStatus(FitState.CONVERGED if state.converged else FitState.BOUND, state.passes, "; ".join(reasons))


def _begin(epochs: Epochs, scene: Scene, settings: Settings, notes: list[str]) -> State:
    k = len(scene.offset)
    prior = _prior(epochs, scene, settings, np.zeros(k))
    local, weights = Local.start(len(epochs), k), first_weights(epochs)
    found = one_pass(epochs, scene, local, weights, prior)
    return State(scene, local, weights, prior, found, [found.objective], 1, notes=notes)


def _prior(epochs: Epochs, scene: Scene, settings: Settings, flux_guess: Float[Floats, " k"]) -> Prior:
    """Return the priors about a scene's own parameters, with the registration's covariance as given."""
    k = len(scene.offset)
    mean, sd = galaxy_prior(epochs, scene.galaxies)
    precision = np.zeros((scene.size, scene.size))
    precision[: 2 * k, : 2 * k] = np.linalg.inv(offset_prior(epochs, k, settings.fix_astrometry))
    refraction = np.full(len(scene.refraction), 1 / _REFRACTION**2)
    precision[2 * k :, 2 * k :] = np.diag(np.concatenate([refraction, 1 / sd**2, np.ones(len(scene.z))]))
    start = np.concatenate([scene.offset.ravel(), 0 * refraction, mean, np.zeros(len(scene.z))])
    shift = epochs.registration + 0.01**2 * np.eye(2)
    return Prior(start, precision, shift, flux_guess)


def _limited(scene: Scene, step: Float[Floats, " shared"], scale: float) -> Scene:
    """Return the scene after a step that is limited to where the linearisation is valid."""
    k = scene.offset.size
    g = scene.galaxies.size
    move = step.copy()
    move[:k] = np.clip(move[:k], -0.5 * scale, 0.5 * scale)
    k += len(scene.refraction)
    limit = np.tile(_STEP_LIMIT, len(scene.galaxies))
    limit[1::N_PARAMETERS] = limit[2::N_PARAMETERS] = scale
    move[k : k + g] = np.clip(move[k : k + g], -limit, limit)
    moved = scene.with_vector(scene.vector + move)
    if len(moved.galaxies):
        moved = attrs.evolve(moved, galaxies=np.clip(moved.galaxies, LIMITS[:, 0], LIMITS[:, 1]))
    return moved


def _pushed_beyond_limits(scene: Scene, step: Float[Floats, " shared"]) -> Bool[Bools, " shared"]:
    """Return which parameters of galaxies are at a limit that a step would pass."""
    held = np.zeros(len(step), bool)
    first = scene.offset.size + len(scene.refraction)
    own = step[first : first + scene.galaxies.size].reshape(scene.galaxies.shape)
    low, high = LIMITS.T
    pushed = ((scene.galaxies <= low) & (own < 0)) | ((scene.galaxies >= high) & (own > 0))
    held[first : first + scene.galaxies.size] = pushed.ravel()
    return held


def _iterate(epochs: Epochs, state: State, settings: Settings, limit: int, goal: float) -> None:
    """Take Gauss-Newton steps at fixed weights, shortened where they overshoot.

    The fit has converged where the expected decrease of the objective is below `goal`.
    """
    state.converged = False
    for _ in range(limit):
        shared, local, decrease = solve_step(state.found)
        held = _pushed_beyond_limits(state.scene, shared)
        if held.any():
            shared, local, decrease = solve_step(state.found, held)
        if decrease < goal:
            state.converged = True
            return
        for fraction in (1.0, 0.5, 0.25, 0.1, 0.02):
            scene = _limited(state.scene, fraction * shared, epochs.scale)
            trial = state.local.stepped(local, fraction)
            found = one_pass(epochs, scene, trial, state.weights, state.prior)
            state.passes += 1
            if found.objective <= state.found.objective + 1e-9 * abs(state.found.objective):
                break
        else:
            return  # the promised decrease does not come: the linear model is wrong here, so this is no minimum
        state.scene, state.local, state.found = scene, trial, found
        state.history.append(found.objective)


def _refreshed(epochs: Epochs, state: State, settings: Settings) -> None:
    """Take one step, and compute weights, the registration's floor and flux guesses from the present model."""
    flux = np.where(state.found.seen, state.local.flux, np.nan)
    guess = np.array([np.nanmedian(f) if np.isfinite(f).any() else 0.0 for f in flux.T])
    covariance, state.floor = shift_covariances(epochs, state.found)
    state.prior = attrs.evolve(state.prior, flux_guess=guess, shift_covariance=covariance)
    shared, local, _ = solve_step(state.found)
    state.scene = _limited(state.scene, shared, epochs.scale)
    state.local = state.local.stepped(local, 1.0)
    lasting = persistent(state.weights.suspects)
    error = _model_error(epochs, state)
    refresh = Refresh(epochs, error, settings.clip, settings.noise_from_model, lasting)
    state.found = one_pass(epochs, state.scene, state.local, state.weights, state.prior, refresh)
    state.passes += 1
    state.history.append(state.found.objective)


def _model_error(epochs: Epochs, state: State) -> float:
    """Return the relative error of the model, from the residuals of the last pass."""
    used = state.weights.inverse_variance > 0
    sigma = 1 / np.sqrt(state.weights.inverse_variance[used])
    z = (epochs.data - state.found.model)[used] / sigma
    return relative_model_error(z, (state.found.model - state.local.sky[:, None, None])[used], sigma)


def _add_bumps(epochs: Epochs, state: State, settings: Settings) -> None:
    """Add Gaussian-process bumps to the scene, whose prior amplitudes follow the galaxies' smoothed brightness."""
    small = epochs.scale / epochs.subsampling
    scene = state.scene
    sky = lattice(epochs, scene.galaxies[0, 1:3], _BUMP_SPACING * small)
    bumps = Bumps(sky, _BUMP_SIGMA * small, settings.bump_amplitude * _smooth_brightness(epochs, scene, sky))
    information = np.zeros(len(sky))
    for i in np.flatnonzero(epochs.usable).tolist():
        images = bump_images(epochs, i, bumps, state.local.shift[i]).reshape(len(sky), -1)
        information += images**2 @ state.weights.inverse_variance[i].ravel()
    # A bump that the data do not constrain would only cost time.
    keep = information > max(0.03, np.sort(information)[::-1][min(_MAX_BUMPS, len(sky) - 1)])
    bumps = Bumps(bumps.sky[keep], bumps.sigma, bumps.prior[keep])
    state.scene = attrs.evolve(scene, bumps=bumps, z=np.zeros(len(bumps)))
    mean = np.concatenate([state.prior.mean, np.zeros(len(bumps))])
    precision = np.eye(state.scene.size)
    precision[: scene.size, : scene.size] = state.prior.precision
    state.prior = attrs.evolve(state.prior, mean=mean, precision=precision)
    state.found = one_pass(epochs, state.scene, state.local, state.weights, state.prior)
    state.passes += 1


def _smooth_brightness(epochs: Epochs, scene: Scene, sky: Float[Floats, "b 2"]) -> Float[Floats, " b"]:
    """Return the galaxies' brightness (e-/s per square arcsec) smoothed by a bump's width, at tangent-plane points."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    images = SkyImages(epochs, scene)
    width = _BUMP_SIGMA * epochs.scale / epochs.subsampling / images.grid.spacing
    # A spline's coefficients, smoothed by this much, are its values.
    total = gaussian_filter(np.sum(images.coefficients, axis=0), width, mode="nearest")
    return np.asarray(np.maximum(map_coordinates(total, images.grid.index(sky), order=1, mode="nearest"), 0.0))


def background_image(
    epochs: Epochs, scene: Scene, transform: Float[Floats, "2 3"], size: tuple[int, int]
) -> Float[Floats, "rows columns"]:
    """Return the galaxies and bumps at the target's resolution, e-/s per small pixel.

    Parameters
    ----------
    epochs, scene : Epochs, Scene
        The data, and the result of the fit.
    transform : (2, 3) array
        From tangent-plane offsets, arcsec, to small pixels.
    size : (int, int)
        (ny, nx) of the image.
    """
    from scipy.ndimage import map_coordinates

    y, x = np.mgrid[: size[0], : size[1]]
    sky = to_sky(transform, np.stack([x, y], axis=-1).astype(float))
    area = pixel_scales(transform) ** 2
    images = SkyImages(epochs, scene)
    total = np.zeros(size)
    for coefficients in images.coefficients:
        total += map_coordinates(coefficients, images.grid.index(sky), order=3, mode="nearest", prefilter=False)
    for centre, prior, z in zip(scene.bumps.sky, scene.bumps.prior, scene.z, strict=True):
        total += z * prior * np.exp(-0.5 * ((sky - centre) ** 2).sum(axis=-1) / scene.bumps.sigma**2)
    return area * total


def high_resolution(
    epochs: Epochs,
    offset: Float[Floats, "k 2"],
    mean_flux: Float[Floats, " k"],
    background: Callable[[Floats, tuple[int, int]], Floats],
) -> tuple[Float[Floats, "rows columns"], Float[Floats, "rows columns"], Float[Floats, "2 3"]]:
    """Return a background image, the same with the mean point sources, and their transform.

    Parameters
    ----------
    epochs : Epochs
        The first one gives the orientation.
    offset : (k, 2) array
        Positions of the point sources, arcsec.
    mean_flux : (k,) array
        Their fluxes, e-/s.
    background : function of (transform, size)
        As :func:`background_image`.
    """
    s = epochs.subsampling
    transform = small_pixel_transform(epochs.transform[0], s)
    size = (epochs.shape[0] * s, epochs.shape[1] * s)
    image = background(transform, size)
    sigma = max(epochs.fwhm, 2.0) / FWHM_PER_SIGMA
    y, x = np.mgrid[: size[0], : size[1]]
    model = image.copy()
    for (cx, cy), flux in zip(to_pixels(transform, offset), np.nan_to_num(mean_flux), strict=True):
        gaussian = np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / sigma**2)
        model += flux * gaussian / max(gaussian.sum(), 1e-30)
    return image, model, transform
