"""The ROI model `aperture`: isolated point sources in the discs in which the comparison stars are measured."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import at_least
from lcframework.types import (
    Bools,
    Cutouts,
    Discs,
    Doubt,
    FitState,
    FitStatus,
    Floats,
    HighResolution,
    PointSources,
    RoiFit,
    Severity,
    UnusableInput,
)
from plugins_builtin.engine.roi.geometry import Epochs, prepare, to_pixels, to_sky
from plugins_builtin.engine.stars.discs import DiscLight, measure_discs
from plugins_builtin.engine.stars.point_source_fit import PointSourceStamps
from plugins_builtin.engine.stars.psf_width import fwhm_on_pixels
from plugins_builtin.engine.stars.stamp_outliers import TRANSIENT

#: How often sources are measured with each other's light taken off.
_ROUNDS = 2
#: Pixels beyond a source's disc that are no sky of another source either.
_GAP = 1.5
#: An error of registered positions that no covariance states, pixels.
_POSITION_FLOOR = 0.02
#: Positions further from their mean than so many standard errors take no part in it.
_POSITION_CLIP = 5.0
#: A disc may hold more than its source where its light and the PSF's differ by more than this share of the flux, and by
#: so many standard errors, ...
_DIFFERENT, _SIGNIFICANT = 0.02, 5.0
#: ... or where what the PSF leaves in it is more than this share of the light, at such a reduced chi2 in the disc.
_MISSHAPEN, _HIGH_CHI2 = 0.02, 1.5
#: ... or where one pixel does not fit in more epochs than cosmic rays do, and in so many of them where there are.
_FEWEST_EPOCHS = 2


@attrs.frozen
class ApertureModel:
    """Sources that stand alone, each in a disc above the sky around it, as the photometry `aperture` measures stars.

    How the discs lie is an option of that photometry. Blends are refused: a disc gives the sum of their light. Other
    sources' wings are taken off by the PSF.
    """

    results_version: ClassVar[int] = 1
    applies_discs: ClassVar[bool] = True

    isolation: float = attrs.field(default=3.0, validator=at_least(2.0))  # FWHM; sources closer together are refused

    def for_moving_target(self) -> Self:
        """Return the model itself: nothing in the cutouts is held fixed."""
        return self

    def fit(self, cutouts: Cutouts, point_sources: PointSources) -> RoiFit:
        """Measure the sources in all epochs.

        Raises
        ------
        UnusableInput
            Where sources are too close together for discs, or the stars are not measured in discs; where no pixel can
            be used, or a source lies outside all stamps.
        """
        discs = cutouts.discs
        if discs is None:
            raise UnusableInput(
                '[roi_model] plugin = "aperture" measures in the discs of the comparison stars, and these are not '
                'measured in discs: write [photometry] plugin = "aperture" too'
            )
        epochs = prepare(cutouts, point_sources)
        width = fwhm_on_pixels(epochs.kernels, epochs.subsampling, epochs.fwhm)
        offset: Floats = np.asarray(point_sources.offset, float)
        self._refuse_blends(epochs, width, discs, point_sources)
        lights = _measured(epochs, offset, discs, width)
        covariance: Floats = np.tile(np.eye(2) * (discs.position_prior * epochs.scale) ** 2, (len(offset), 1, 1))
        if discs.recentred:  # the expected places are known better now, which matters to faint sources
            offset, _ = _places(epochs, lights, offset)
            lights = _measured(epochs, offset, discs, width)
            offset, covariance = _places(epochs, lights, offset)
        return _result(epochs, lights, offset, covariance, point_sources.names, discs.radius * width)

    def _refuse_blends(self, epochs: Epochs, width: Floats, discs: Discs, sources: PointSources) -> None:
        """Raise where two sources are too close for discs, in the median seeing."""
        fwhm = float(np.median(width[epochs.usable])) if epochs.usable.any() else 0.0
        least = max(self.isolation, 2.0 * discs.radius)
        xy = np.asarray(sources.offset, float) / epochs.scale
        for j in range(len(xy)):
            for k in range(j):
                apart = float(np.hypot(*(xy[j] - xy[k]))) / fwhm if fwhm > 0 else np.inf
                if apart < least:
                    raise UnusableInput(
                        f"{sources.names[k]} and {sources.names[j]} are {apart:.1f} times the PSF's median FWHM apart, "
                        f"and discs of {discs.radius:g} FWHM need {least:g}: blends are measured by the PSF. Leave "
                        '[photometry] and [roi_model] without plugin, or write [photometry] plugin = "starred" and '
                        '[roi_model] plugin = "starred" or "joint"'
                    )


def _measured(epochs: Epochs, offset: Floats, discs: Discs, width: Floats) -> list[DiscLight]:
    """Measure each source, with the light of the others taken off.

    Parameters
    ----------
    epochs : Epochs
        The data.
    offset : (k, 2) array
        Where sources are expected, arcsec.
    discs : Discs
        How the discs lie.
    width : (e,) array
        FWHM of the PSFs, pixels.
    """
    ny, nx = epochs.shape
    middle = 0.5 * (np.array([nx, ny]) - 1)
    expected = np.array([to_pixels(t, offset) for t in epochs.transform]) - middle  # (e, k, 2)
    stamps = [
        PointSourceStamps(
            data=epochs.data,
            weight=np.where(epochs.valid, 1.0 / epochs.variance, 0.0),
            kernels=epochs.kernels,
            subsampling=epochs.subsampling,
            fwhm=epochs.fwhm,
            expected=expected[:, k],
            prior=discs.position_prior,
            pedestal=True,
            photon_variance=epochs.photon_slope,
        )
        for k in range(len(offset))
    ]
    if len(stamps) == 1:
        return [measure_discs(stamps[0], discs)]
    y, x = np.mgrid[:ny, :nx]
    radius = (discs.radius * width + 0.5 + _GAP)[:, None, None]
    near = np.array(
        [np.hypot(x - (s.expected + middle)[:, 0, None, None], y - (s.expected + middle)[:, 1, None, None]) < radius
         for s in stamps]
    )  # fmt: skip
    images = np.array([s.images(s.expected).value for s in stamps])
    light = _psf_fluxes(epochs, images)[:, :, None, None] * images
    found: list[DiscLight] = []
    for _ in range(_ROUNDS):
        found = []
        for k, own in enumerate(stamps):
            others = np.delete(np.arange(len(stamps)), k)
            alone = attrs.evolve(own, data=np.where(epochs.valid, epochs.data - light[others].sum(axis=0), 0.0))
            found.append(measure_discs(alone, discs, np.asarray(near[others].any(axis=0))))
            light[k] = np.nan_to_num(found[-1].flux)[:, None, None] * found[-1].image
    return found


def _psf_fluxes(epochs: Epochs, images: Floats) -> Floats:
    """Return the fluxes of all sources by the PSF, at their expected places, to begin with."""
    out = np.zeros(images.shape[:2])
    for e in np.flatnonzero(epochs.usable).tolist():
        use = epochs.valid[e]
        columns = np.stack([*(image[use] for image in images[:, e]), np.ones(np.count_nonzero(use))], axis=1)
        out[:, e] = np.linalg.lstsq(columns, epochs.data[e][use], rcond=1e-8)[0][:-1]
    return out


def _usable(epochs: Epochs, light: DiscLight) -> Bools:
    return np.asarray(epochs.usable & np.array([s.usable for s in light.status]))


def _places(epochs: Epochs, lights: list[DiscLight], offset: Floats) -> tuple[Floats, Floats]:
    """Return the sources' mean places on the sky, arcsec, and their covariances; as expected where none is measured."""
    middle = 0.5 * (np.array(epochs.shape[::-1]) - 1)
    places, covariances = offset.copy(), np.zeros((len(offset), 2, 2))
    for k, light in enumerate(lights):
        rows = np.flatnonzero(_usable(epochs, light))
        if not len(rows):
            covariances[k] = np.eye(2) * epochs.scale**2
            continue
        found = np.array([to_sky(epochs.transform[e], light.position[e] + middle) for e in rows])
        to_arcsec = np.linalg.inv(epochs.transform[rows][:, :, :2])
        pixels = light.covariance[rows][:, 1:, 1:] + epochs.registration[rows] + np.eye(2) * _POSITION_FLOOR**2
        precision = np.linalg.inv(to_arcsec @ pixels @ to_arcsec.swapaxes(1, 2))
        about = np.median(found, axis=0)
        distance = np.einsum("na,nab,nb->n", found - about, precision, found - about)
        close = distance <= max(_POSITION_CLIP**2, float(np.median(distance)))
        covariances[k] = np.linalg.inv(precision[close].sum(axis=0))
        places[k] = covariances[k] @ np.einsum("nab,nb->a", precision[close], found[close])
    return places, covariances


def _result(
    epochs: Epochs,
    lights: list[DiscLight],
    offset: Floats,
    covariance: Floats,
    names: tuple[str, ...],
    radius: Floats,
) -> RoiFit:
    """Return what was measured, in discs of `radius` (e,) pixels, as light curves."""
    from plugins_builtin.engine.roi.joint_fit import high_resolution

    e, k = len(epochs), len(lights)
    seen = np.stack([_usable(epochs, light) for light in lights], axis=1)
    flux = np.where(seen, np.stack([light.flux for light in lights], axis=1), np.nan)
    of_places = np.zeros((2 * k, 2 * k))
    for j in range(k):
        of_places[2 * j : 2 * j + 2, 2 * j : 2 * j + 2] = covariance[j]
    sources = [np.nan_to_num(flux[:, j])[:, None, None] * light.image for j, light in enumerate(lights)]
    skies = np.sum([np.where(seen[:, j], light.sky, 0.0) for j, light in enumerate(lights)], axis=0)
    sky = skies / np.maximum(seen.sum(axis=1), 1)
    model = np.where(epochs.usable[:, None, None], np.sum(sources, axis=0) + sky[:, None, None], 0.0)
    outliers = np.any([light.outliers for light in lights], axis=0)
    used = epochs.valid & ~outliers
    chi2 = np.where(used, (epochs.data - model) ** 2 / lights[0].variance, 0.0).sum(axis=(1, 2))
    mean = np.array([float(np.median(f[s])) if s.any() else 0.0 for f, s in zip(flux.T, seen.T, strict=True)])
    background, sharp, transform = high_resolution(epochs, offset, mean, lambda _, size: np.zeros(size))
    return RoiFit(
        flux=flux,
        covariance=_flux_covariance(lights, seen),
        common_covariance=np.zeros((e, k, k)),
        offset=offset,
        offset_covariance=of_places,
        translation=_translations(epochs, lights, offset, seen),
        high_resolution=HighResolution(background, sharp, transform),
        model=model,
        outliers=outliers,
        reduced_chi2=np.where(seen.any(axis=1), chi2 / np.maximum(used.sum(axis=(1, 2)) - 3 * k - 1, 1), np.nan),
        status=_status(lights, seen, names),
        doubts=tuple(d for j in range(k) for d in _doubts(names[j], lights[j], seen[:, j], radius)),
    )


def _flux_covariance(lights: list[DiscLight], seen: Bools) -> Floats:
    """Return the covariances of each epoch's fluxes; discs share the noise of their skies' common pixels alone."""
    e, k = seen.shape
    out = np.zeros((e, k, k))
    for i in range(k):
        out[:, i, i] = np.where(seen[:, i], lights[i].covariance[:, 0, 0], 0.0)
        for j in range(i):
            shared = np.einsum("nij,nij,nij->n", lights[i].weighting, lights[j].weighting, lights[i].variance)
            out[:, i, j] = out[:, j, i] = np.where(seen[:, i] & seen[:, j], shared, 0.0)
    return out


def _translations(epochs: Epochs, lights: list[DiscLight], offset: Floats, seen: Bools) -> Floats:
    """Return by how much the sources of each epoch lie beside the registration, weighted means, pixels."""
    middle = 0.5 * (np.array(epochs.shape[::-1]) - 1)
    total, weight = np.zeros((len(epochs), 2)), np.zeros((len(epochs), 1))
    for j, light in enumerate(lights):
        where = np.array([to_pixels(t, offset[j]) for t in epochs.transform]) - middle
        precision = np.where(seen[:, j], 1.0 / np.trace(light.covariance[:, 1:, 1:], axis1=1, axis2=2), 0.0)[:, None]
        total += precision * np.where(seen[:, j, None], light.position - where, 0.0)
        weight += precision
    return total / np.where(weight > 0, weight, 1.0)


def _status(lights: list[DiscLight], seen: Bools, names: tuple[str, ...]) -> FitStatus:
    evaluations = sum(s.evaluations for light in lights for s in light.status)
    if not seen.any():
        return FitStatus(FitState.FAILED, evaluations, f"{names[0]}: {_commonest(lights[0])}")
    return FitStatus(FitState.CONVERGED, evaluations)


def _commonest(light: DiscLight) -> str:
    """Return the reason why most of the failed epochs failed."""
    reasons = Counter(s.reason for s in light.status if not s.usable)
    return reasons.most_common(1)[0][0] if reasons else "its epochs have too few usable pixels"


def _doubts(name: str, light: DiscLight, seen: Bools, radius: Floats) -> list[Doubt]:
    """Return why a source's light curve is doubtful."""
    out = []
    if not seen.all():
        out.append(Doubt(
            "disc_not_measured",
            f"{name} has no flux in {np.count_nonzero(~seen)} of {len(seen)} epochs: {_commonest(light)}",
            "Look at the cutouts in the report", severity=Severity.NOTE, value=np.count_nonzero(~seen), subject=name,
        ))  # fmt: skip
    excess, error = _excess(light, seen)
    if abs(excess) > max(_DIFFERENT, _SIGNIFICANT * error):
        told = f"it holds {abs(excess):.1%} +- {error:.1%} {'more' if excess > 0 else 'less'} light than the PSF finds"
        out.append(_not_alone(name, told, excess))
    elif (often := _lasting(light, seen, radius)) > TRANSIENT:
        told = f"pixels in it or beside it do not fit its PSF in {often:.0%} of the epochs, which no cosmic ray does"
        out.append(_not_alone(name, told, often))
    else:
        share, chi2 = _misshapen(light, seen)
        if share > _MISSHAPEN and chi2 > _HIGH_CHI2:
            told = f"the light in it is off the PSF's shape by {share:.1%}, reduced chi2 {chi2:.1f}"
            out.append(_not_alone(name, told, share))
    return out


def _not_alone(name: str, told: str, value: float) -> Doubt:
    return Doubt(
        "disc_not_alone",
        f"the disc of {name} may hold more than one source: {told}",
        'A blend needs all its point sources in [roi], and the plugins "starred" or "joint"; where comparison stars '
        "are as badly described (chi2 in star_flux_in_frame) it is the PSF that is wrong, and no blend",
        value=value, subject=name,
    )  # fmt: skip


def _lasting(light: DiscLight, seen: Bools, radius: Floats) -> float:
    """Return the largest share of epochs in which one pixel within two radii of the source does not fit its PSF."""
    n = int(np.count_nonzero(seen))
    if n == 0:
        return 0.0
    ny, nx = light.outliers.shape[1:]
    y, x = np.mgrid[:ny, :nx]
    at = np.median(light.position[seen], axis=0) + 0.5 * (np.array([nx, ny]) - 1)
    near = np.hypot(x - at[0], y - at[1]) < 2.0 * np.median(radius[seen])
    often = int(light.outliers[seen].sum(axis=0)[near].max(initial=0))
    return often / n if often >= min(_FEWEST_EPOCHS, n) else 0.0


def _misshapen(light: DiscLight, seen: Bools) -> tuple[float, float]:
    """Return what the PSF leaves in the discs beyond the noise, relative to the light, and its reduced chi2."""
    inside = (light.weighting > 0) & seen[:, None, None]
    squares = light.residual[inside] ** 2
    noise = light.variance[inside]
    power = float(np.sum((light.flux[:, None, None] * light.image)[inside] ** 2))
    if not power > 0:
        return 0.0, 1.0
    return float(np.sqrt(max(np.sum(squares - noise), 0.0) / power)), float(np.mean(squares / noise))


def _excess(light: DiscLight, seen: Bools) -> tuple[float, float]:
    """Return by how much fluxes in discs are above those by the PSF, relative, with its error; infinite without light.

    A PSF flux follows the core, where noise is small, and a disc all light alike; of one point both have the same.
    """
    variance = light.covariance[:, 0, 0]
    variance = np.maximum(variance - light.psf_variance, 0.1 * variance)  # the PSF's is a part of the disc's
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(seen, light.flux / variance, 0.0)
    power = float(np.sum(np.where(seen, weight * light.flux, 0.0)))
    if not power > 0:
        return 0.0, np.inf
    return float(np.sum(np.where(seen, weight * (light.flux - light.psf_flux), 0.0))) / power, power**-0.5


@hookimpl
def lcf_roi_models() -> dict[str, type[Any]]:
    """Offer the ROI model ``aperture``."""
    return {"aperture": ApertureModel}
