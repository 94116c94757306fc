"""Epochs of a region of interest, ready for a fit: weights, scales, and the maps from the sky to each stamp."""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float, Int

from lcframework.types import Bools, Cutouts, Estimators, Floats, Ints, PointSources, UnusableInput

#: A source further than this from every stamp's edge (pixels, outwards) can't be measured.
EDGE = 0.5


@attrs.frozen(eq=False)
class Epochs:
    """Cutouts that were checked, whose unusable pixels have no weight.

    Stamp positions are 0-based pixels; `small` pixels are `1 / subsampling` of them.
    """

    data: Float[Floats, "e ny nx"]  # 0 where masked
    variance: Float[Floats, "e ny nx"]  # that of the noise maps, 1 where masked
    valid: Bool[Bools, "e ny nx"]
    kernels: Float[Floats, "e m m"]
    subsampling: int
    fwhm: float  # of the target Gaussian, small pixels
    transform: Float[Floats, "e 2 3"]
    registration: Float[Floats, "e 2 2"]  # pixels^2
    transparency_error: Float[Floats, " e"]  # relative, 0 where unknown
    seeing: Float[Floats, " e"]  # pixels
    photon_slope: Float[Floats, " e"]  # variance per e-/s of signal; 0 where the noise maps have none
    # tan z times the zenith's direction (xi, eta), less the mean; 0 where refraction is not fitted.
    zenith: Float[Floats, "e 2"]
    # Of a star's image of unit flux, 0 where not known; of all epochs, or of none.
    psf_precision: Float[Floats, "_ size size"]
    psf_residual: Float[Floats, "_ wide wide"]
    aperture: float = 0.0  # pixels; see `Cutouts`
    estimators: Estimators | None = None  # see `Cutouts`

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.data)

    def take(self, rows: Int[Ints, " rows"]) -> Epochs:
        """Return some of the epochs."""
        which = np.asarray(rows).tolist()
        return attrs.evolve(
            self,
            estimators=self.estimators.of_epochs(which) if self.estimators is not None else None,
            **{
                name: getattr(self, name)[rows]
                for name in (
                    "data", "variance", "valid", "kernels", "transform", "registration", "transparency_error",
                    "seeing", "photon_slope", "zenith",
                )
            },
        )  # fmt: skip

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of a stamp."""
        return self.data.shape[1], self.data.shape[2]

    @property
    def usable(self) -> Bool[Bools, " e"]:
        """Whether an epoch has enough pixels to be fitted."""
        return np.asarray(self.valid.sum(axis=(1, 2)) >= 9)

    @property
    def scale(self) -> float:
        """Arcsec a pixel, the median over epochs."""
        return float(np.median(pixel_scales(self.transform)))


def pixel_scales(transform: Float[Floats, "*e 2 3"]) -> Float[Floats, "*e"]:
    """Return arcsec a pixel of transforms."""
    return np.asarray(1.0 / np.sqrt(np.abs(np.linalg.det(transform[..., :2]))))


def to_pixels(transform: Float[Floats, "2 3"], offset: Float[Floats, "*stack 2"]) -> Float[Floats, "*stack 2"]:
    """Return stamp positions of tangent-plane offsets, arcsec, for one transform."""
    xy: Floats = offset @ transform[:, :2].T + transform[:, 2]
    return xy


def to_sky(transform: Float[Floats, "2 3"], xy: Float[Floats, "*stack 2"]) -> Float[Floats, "*stack 2"]:
    """Return tangent-plane offsets, arcsec, of stamp positions: the inverse of :func:`to_pixels`."""
    offset: Floats = (xy - transform[:, 2]) @ np.linalg.inv(transform[:, :2]).T
    return offset


def small_pixel_transform(transform: Float[Floats, "2 3"], subsampling: int) -> Float[Floats, "2 3"]:
    """Return a transform to small pixels, whose first centre lies a half small pixel inside the stamp's edge."""
    result = subsampling * transform
    result[:, 2] += 0.5 * (subsampling - 1)
    return result


def prepare(cutouts: Cutouts, point_sources: PointSources, refraction: bool = False) -> Epochs:
    """Return cutouts as epochs: checked, with no weight on their unusable pixels.

    Parameters
    ----------
    cutouts : Cutouts
        The epochs, divided by their normalisation coefficients.
    point_sources : PointSources
        Names and positions.
    refraction : bool
        Whether differential refraction is fitted, for which the direction of the zenith is needed.

    Raises
    ------
    UnusableInput
        Where no epoch can be fitted, naming each point source that lies outside every stamp, or where refraction is
        wanted and the zenith of an epoch is not known.
    """
    data = np.asarray(cutouts.data, float)
    noise = np.asarray(cutouts.noise, float)
    transform = np.asarray(cutouts.transform, float)
    valid = ~np.asarray(cutouts.mask, bool) & np.isfinite(data) & np.isfinite(noise) & (noise > 0)
    valid &= np.isfinite(transform).all(axis=(1, 2))[:, None, None]
    kernels = np.asarray(cutouts.kernels.values, float)
    valid &= np.isfinite(kernels).all(axis=(1, 2))[:, None, None]
    if len(data) == 0 or not valid.any():
        raise UnusableInput(
            "the cutouts hold no usable pixel: every epoch is masked or lacks a PSF; "
            "look at the frames' masks, or widen [roi_cutouts]"
        )
    _check_inside(transform[np.isfinite(transform).all(axis=(1, 2))], data.shape[1:], point_sources)
    transform = np.where(np.isfinite(transform), transform, np.nanmedian(transform, axis=0))
    registration = np.asarray(cutouts.registration_covariance, float)
    registration = np.where(np.isfinite(registration), registration, np.eye(2))
    variance = np.where(valid, noise, 1.0) ** 2
    error = np.nan_to_num(np.asarray(cutouts.normalization_error, float), nan=0.0, posinf=0.0)
    data = np.where(valid, data, 0.0)
    seeing = np.asarray(cutouts.seeing, float) / pixel_scales(transform)
    return Epochs(
        data=data,
        variance=variance,
        valid=valid,
        kernels=np.nan_to_num(kernels),
        subsampling=int(cutouts.kernels.subsampling_factor),
        fwhm=float(cutouts.kernels.target_fwhm),
        transform=transform,
        registration=0.5 * (registration + registration.swapaxes(1, 2)),
        transparency_error=error,
        seeing=np.where(np.isfinite(seeing), seeing, np.nanmedian(seeing) if np.isfinite(seeing).any() else 4.0),
        photon_slope=np.array([photon_slope(d, v, m) for d, v, m in zip(data, variance, valid, strict=True)]),
        zenith=_zenith(cutouts, valid) if refraction else np.zeros((len(data), 2)),
        psf_precision=np.nan_to_num(np.asarray(cutouts.psf_precision, float), nan=0.0, posinf=0.0),
        psf_residual=np.nan_to_num(np.asarray(cutouts.psf_residual, float), nan=0.0, posinf=0.0, neginf=0.0),
        aperture=cutouts.aperture,
        estimators=cutouts.estimators,
    )


def _zenith(cutouts: Cutouts, valid: Bool[Bools, "e ny nx"]) -> Float[Floats, "e 2"]:
    """Return the zenith's directions less their mean; the mean's effect is part of the sources' positions."""
    zenith = np.asarray(cutouts.zenith, float)
    used = np.asarray(valid.any(axis=(1, 2)))
    unknown = used & ~np.isfinite(zenith).all(axis=1)
    if unknown.any():
        raise UnusableInput(
            f"differential_refraction needs the direction to the zenith, which is unknown in {unknown.sum()} of "
            f"{used.sum()} epochs; give [telescope] with latitude and longitude, or set differential_refraction = false"
        )
    return np.where(used[:, None], zenith - zenith[used].mean(axis=0), 0.0)


def squared(epochs: Epochs) -> Epochs:
    """Return the epochs in square stamps; the rows or columns added at the end have no weight."""
    ny, nx = epochs.shape
    if ny == nx:
        return epochs
    pad = ((0, 0), (0, max(nx - ny, 0)), (0, max(ny - nx, 0)))
    return attrs.evolve(
        epochs,
        data=np.pad(epochs.data, pad),
        variance=np.pad(epochs.variance, pad, constant_values=1.0),
        valid=np.pad(epochs.valid, pad),
    )


def require_flux(seen: Bool[Bools, "e k"]) -> None:
    """Raise where no epoch measures the flux of any source.

    Parameters
    ----------
    seen : (e, k) bool array
        The fluxes that an epoch measures.

    Raises
    ------
    UnusableInput
        With what usually masks sources.
    """
    if seen.size and not seen.any():
        raise UnusableInput(
            f"no source has a flux in any of {len(seen)} epochs: their cores are masked. They may be saturated "
            "(`lcf settings` shows from which level on; shorter exposures are needed then), lie on bad pixels, or be "
            "taken for cosmic rays ([cosmics])"
        )


def _check_inside(transform: Float[Floats, "e 2 3"], shape: tuple[int, ...], point_sources: PointSources) -> None:
    """Raise where a source is outside all stamps."""
    ny, nx = shape
    outside = []
    for name, offset in zip(point_sources.names, np.asarray(point_sources.offset, float), strict=True):
        xy = transform[:, :, :2] @ offset + transform[:, :, 2]
        inside = (xy > -EDGE - 0.5).all(axis=1) & (xy[:, 0] < nx - 0.5 + EDGE) & (xy[:, 1] < ny - 0.5 + EDGE)
        if not inside.any():
            x, y = np.median(xy, axis=0)
            outside.append(f"{name} (at x = {x:.1f}, y = {y:.1f})")
    if outside:
        raise UnusableInput(
            f"point source {', '.join(outside)} lies outside the {nx} x {ny} pixel stamps of the region in every "
            "epoch; check its coordinates in [roi.*.point_sources] (degrees, ICRS), or enlarge roi_size in [stamps]"
        )


def photon_slope(data: Float[Floats, "ny nx"], variance: Float[Floats, "ny nx"], valid: Bool[Bools, "ny nx"]) -> float:
    """Return the variance per unit of signal that a noise map was made with, 0 where it was made otherwise.

    A noise map that was made from the data follows ``variance = floor + slope * max(data, 0)`` exactly. That is tested
    on the brightest fifth of the pixels.
    """
    d, v = data[valid], variance[valid]
    if d.size < 20:
        return 0.0
    bright = d > max(float(np.percentile(d, 80)), 0.0)
    if bright.sum() < 5:
        return 0.0
    slope, floor = np.polyfit(d[bright], v[bright], 1)
    misfit = np.abs(v[bright] - floor - slope * d[bright])
    exact = np.median(misfit) < 0.02 * np.median(v[bright])
    return float(slope) if exact and slope > 0 and floor > 0 else 0.0


def model_variance(epochs: Epochs, e: int, model: Float[Floats, "ny nx"]) -> Float[Floats, "ny nx"]:
    """Return the noise variance that the model predicts at epoch `e`.

    Weights made from noisy data are larger where a pixel is faint by chance, which makes fluxes too small. With the
    model's signal they are not.
    """
    slope = epochs.photon_slope[e]
    if slope == 0:
        return np.asarray(epochs.variance[e])
    change = slope * (np.maximum(model, 0.0) - np.maximum(epochs.data[e], 0.0))
    return np.asarray(np.maximum(epochs.variance[e] + change, 0.1 * epochs.variance[e]))
