"""The effective PSF of photutils (Anderson & King 2000, PASP 112, 1360) as a PSF model of lcframework.

An effective PSF says what a pixel gets at a distance from the star: the PSF is summed over the pixel already.
lcframework sums kernels on small pixels over a pixel itself, so that sum is undone before the kernel is handed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import above, whole_number, within
from lcframework.types import PSF, Bools, FitState, FitStatus, Floats, NeedMissing, PsfBatch

if TYPE_CHECKING:
    from photutils.psf import EPSFStar

#: Power of the pixel's response below which a spatial frequency is rather left out than restored.
_LEAST_POWER = 1e-3


def _odd(instance: Any, attribute: Any, value: int) -> None:
    if value % 2 == 0:
        raise ValueError(f"{attribute.name} must be odd, so that it has a middle, got {value}")


@attrs.frozen
class Epsf:
    """One effective PSF a frame, the same everywhere in it, from all its stars by iteration."""

    results_version: ClassVar[int] = 1

    subsampling: int = attrs.field(default=3, validator=[whole_number(1, 9), _odd])  # small pixels along a pixel; odd
    iterations: int = attrs.field(default=6, validator=whole_number(1))  # at most
    accuracy: float = attrs.field(default=0.01, validator=above(0.0, finite=True))  # pixels; stars move less at the end
    smoothing: float = attrs.field(default=1.0, validator=within(0.0, 3.0))  # FWHM, across; 0: none
    fit_size: float = attrs.field(default=2.0, validator=above(0.0, finite=True))  # FWHM, across what places a star
    min_stars: int = attrs.field(default=3, validator=whole_number(1))

    def fit(self, batch: PsfBatch) -> list[PSF]:
        """Return a PSF a frame; one that can't be fitted has a failed status that says why.

        Raises
        ------
        NeedMissing
            Where photutils is not installed.
        """
        try:
            import photutils.psf  # noqa: F401
        except ImportError:
            raise NeedMissing('[psf] plugin = "epsf" needs photutils 3: pip install "photutils>=3.0"') from None
        return [self._fit_frame(batch, i) for i in range(len(batch))]

    def at(self, psf: PSF, xy: Floats) -> Floats:
        """Return the kernels (n, m, m) at positions of the frame: the same everywhere."""
        return np.repeat(np.asarray(psf.narrow)[None], len(xy), axis=0)

    def _fit_frame(self, batch: PsfBatch, i: int) -> PSF:
        from photutils.psf import EPSFBuilder, EPSFStars

        usable = np.flatnonzero(~np.asarray(batch.mask[i]).all(axis=(1, 2)))
        if len(usable) < self.min_stars:
            return self._failed(batch, f"{len(usable)} stars, and min_stars is {self.min_stars}")
        stars = [_star(batch, i, int(j)) for j in usable]
        seeing, stamp = float(batch.seeing[i]), min(batch.data.shape[2:])
        smooth = smoothing_kernel(_odd_size(self.smoothing * seeing * self.subsampling, stamp * self.subsampling))
        builder = EPSFBuilder(
            oversampling=self.subsampling, maxiters=self.iterations, progress_bar=False,
            smoothing_kernel=smooth if self.smoothing else None, fit_shape=_odd_size(self.fit_size * seeing, stamp),
            center_accuracy=self.accuracy,
        )  # fmt: skip
        try:
            built = builder(EPSFStars(stars))
        except ValueError as error:
            return self._failed(batch, f"photutils: {' '.join(str(error).split())[:150]}")
        fitted = built.fitted_stars.all_stars
        left_out = {int(usable[k]): "photutils could not fit it" for k in built.excluded_star_indices}
        state = FitState.CONVERGED if built.converged else FitState.BOUND
        return self._psf(batch, i, usable, fitted, built.epsf, FitStatus(state, built.iterations), left_out)

    def _psf(
        self, batch: PsfBatch, i: int, usable: np.ndarray, fitted: list[EPSFStar], epsf: Any, status: FitStatus,
        left_out: dict[int, str],
    ) -> PSF:  # fmt: skip
        """Return lcframework's PSF of a finished effective PSF."""
        n, ny, nx = batch.data.shape[1:]
        data, noise, mask = batch.data[i], batch.noise[i], np.asarray(batch.mask[i])
        amplitude, offset = np.full(n, np.nan), np.full((n, 2), np.nan)
        star_chi2, residuals = np.full(n, np.nan), np.zeros((n, ny, nx))
        y, x = np.mgrid[0:ny, 0:nx].astype(float)
        chi2, count = 0.0, 0
        for j, star in zip(usable, fitted, strict=True):
            at_x, at_y = star.cutout_center
            unit = epsf.evaluate(x, y, flux=1.0, x_0=at_x, y_0=at_y)
            good = ~mask[j]
            weight = np.where(good, noise[j], np.inf) ** -2.0
            flux = np.sum(np.where(good, data[j], 0.0) * unit * weight) / np.sum(unit**2 * weight)
            residuals[j] = np.where(good, data[j] - flux * unit, 0.0)
            star_chi2[j] = np.sum(residuals[j] ** 2 * weight) / max(1, good.sum() - 3)
            amplitude[j], offset[j] = flux, (at_x - 0.5 * (nx - 1), at_y - 0.5 * (ny - 1))
            if int(j) not in left_out:
                chi2, count = chi2 + np.sum(residuals[j] ** 2 * weight), count + int(good.sum()) - 3
        kernel = small_pixel_kernel(self._samples(epsf, (ny, nx)), self.subsampling)
        if not np.isfinite(kernel).all():
            return self._failed(batch, "the effective PSF has values that are not finite")
        return PSF(
            narrow=kernel, full=kernel, subsampling_factor=self.subsampling, target_fwhm=0.0, status=status,
            reduced_chi2=float(chi2 / max(1, count)), frame_shape=batch.frame_shape, amplitude=amplitude,
            offset=offset, star_chi2=star_chi2, residuals=residuals, rejected=left_out,
            outliers=np.zeros((n, ny, nx), bool),
        )  # fmt: skip

    def _samples(self, epsf: Any, shape: tuple[int, int]) -> Floats:
        """Return the effective PSF on the small pixels of a stamp, about its centre."""
        v, u = ((np.arange(n * self.subsampling) - 0.5 * (n * self.subsampling - 1)) for n in shape)
        x, y = np.meshgrid(u / self.subsampling, v / self.subsampling)
        return np.asarray(epsf.evaluate(x, y, flux=1.0, x_0=0.0, y_0=0.0), float)

    def _failed(self, batch: PsfBatch, reason: str) -> PSF:
        n, ny, nx = batch.data.shape[1:]
        nothing = np.full((ny * self.subsampling, nx * self.subsampling), np.nan)
        return PSF(
            narrow=nothing, full=nothing, subsampling_factor=self.subsampling, target_fwhm=0.0,
            status=FitStatus(FitState.FAILED, 0, reason), reduced_chi2=np.nan, frame_shape=batch.frame_shape,
            amplitude=np.full(n, np.nan), offset=np.full((n, 2), np.nan), star_chi2=np.full(n, np.nan),
            outliers=np.zeros((n, ny, nx), bool), residuals=np.zeros((n, ny, nx)),
        )  # fmt: skip


def _star(batch: PsfBatch, i: int, j: int) -> EPSFStar:
    """Return a stamp as photutils takes it: masked pixels have no weight, and no invalid values."""
    from photutils.psf import EPSFStar

    good: Bools = ~np.asarray(batch.mask[i, j])
    weights = np.where(good, 1.0 / np.where(good, batch.noise[i, j], 1.0), 0.0)
    ny, nx = good.shape
    x, y = (float(v) for v in batch.offset[i, j])
    return EPSFStar(
        np.where(good, batch.data[i, j], 0.0), weights=weights, cutout_center=(x + 0.5 * (nx - 1), y + 0.5 * (ny - 1))
    )


def _odd_size(size: float, most: int) -> int:
    """Return the odd number of pixels next to a size, from 5 to what fits."""
    return min(max(5, 2 * round(0.5 * (size - 1.0)) + 1), most - (most % 2 == 0))


def smoothing_kernel(size: int) -> Floats:
    """Return the kernel that fits a polynomial of degree 4 to the square about each small pixel.

    Those of photutils are 5 pixels wide whatever the PSF, so that in poor seeing each star's noise stays.
    """
    y, x = np.mgrid[-1.0 : 1.0 : size * 1j, -1.0 : 1.0 : size * 1j]
    terms = np.stack([(x**i * y**j).ravel() for i in range(5) for j in range(5 - i)], axis=-1)
    return np.asarray(np.linalg.pinv(terms)[0].reshape(size, size))  # what the square's centre gets


def small_pixel_kernel(samples: Floats, subsampling: int) -> Floats:
    """Return the kernel on small pixels whose sums over pixels are these samples of an effective PSF; its sum is 1.

    Parameters
    ----------
    samples : array (m, m)
        What a pixel gets that is centred on each small pixel.
    subsampling : int
        How many small pixels a pixel is wide; odd.
    """
    if subsampling == 1:
        return np.asarray(samples / samples.sum())
    padded = np.pad(samples, subsampling * 4)
    box = [
        np.sinc(np.fft.fftfreq(n) * subsampling) / np.sinc(np.fft.fftfreq(n)) for n in padded.shape
    ]  # of a row of small pixels, relative to its sum
    response = np.outer(*box)
    restored = np.fft.ifft2(np.fft.fft2(padded) * response / (response**2 + _LEAST_POWER)).real
    margin = subsampling * 4
    kernel = restored[margin:-margin, margin:-margin]
    return np.asarray(kernel / kernel.sum())


@hookimpl
def lcf_psf_models() -> dict[str, type]:
    """Offer the PSF model under the name that [psf] plugin picks."""
    return {"epsf": Epsf}
