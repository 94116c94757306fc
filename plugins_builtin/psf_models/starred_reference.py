"""PSFs by STARRED's own routine, frame by frame: slow; what the built-in solver is compared with."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import whole_number
from lcframework.types import PSF, Bools, FitState, FitStatus, Floats, PsfBatch
from plugins_builtin.psf_models.starred import TARGET_FWHM, failed_psf, mean_residual, star_precision


@attrs.frozen
class StarredReference:
    """``starred.procedures.psf_routines.build_psf`` with the options that a pipeline gives it.

    It always runs all its iterations (12 s a frame for ten stars), masks nothing and drops no star but those with too
    many masked pixels.
    """

    results_version: ClassVar[int] = 3

    subsampling_factor: int = attrs.field(default=2, validator=whole_number(1, 4))
    field_distortion: bool = False  # let the PSF stretch and shear linearly over the frame
    iterations_analytic: int = attrs.field(default=100, validator=whole_number(1))  # of the fit of the Moffat
    iterations_pixels: int = attrs.field(default=3000, validator=whole_number(1))  # of the fit of the pixels
    max_masked: float = 0.4  # share of a stamp: stars with more masked pixels are left out

    def fit(self, batch: PsfBatch) -> list[PSF]:
        """Return one PSF a frame; a frame that can't be fitted has a status that says why."""
        import jax

        clear_caches: Callable[[], None] = jax.clear_caches
        psfs = []
        for f in range(len(batch)):
            psfs.append(self._frame(batch, f))
            # STARRED compiles anew for every frame; what that leaves behind ends in a crash after some twenty.
            clear_caches()
        return psfs

    def at(self, psf: PSF, xy: Floats) -> Floats:
        """Return the narrow PSFs (n, m, m), each with sum 1, at positions (n, 2) of the frame, pixels."""
        from plugins_builtin.engine.psf.distortion import kernels_at

        kernels: Floats = kernels_at(psf.narrow, psf.distortion, xy, psf.frame_shape)
        return kernels

    def _frame(self, batch: PsfBatch, f: int) -> PSF:
        from plugins_builtin.engine.psf.prepare import usable_stars

        data, noise = np.asarray(batch.data[f], float), np.asarray(batch.noise[f], float)
        good, rejected = usable_stars(data, noise, np.asarray(batch.mask[f], bool), self.max_masked)
        used = np.asarray(good.any(axis=(1, 2)))
        if not used.any():
            return failed_psf("no usable star", 0, data.shape, self.subsampling_factor, rejected)
        try:
            result = self._build(data[used], noise[used], good[used], batch, f, used)
        except Exception as error:  # STARRED raises what its libraries raise; one frame must not end the batch.
            reason = f"STARRED failed: {type(error).__name__}: {error}"
            return failed_psf(reason, 0, data.shape, self.subsampling_factor, rejected)
        return self._psf(result, data, noise, good, batch.frame_shape, rejected)

    def _build(self, data: Floats, noise: Floats, good: Bools, batch: PsfBatch, f: int, used: Bools) -> dict[str, Any]:
        """Call STARRED, without its progress bars, on copies: it divides its arguments in place."""
        from starred.procedures.psf_routines import build_psf

        from plugins_builtin.engine.psf.distortion import scaled_positions

        seeing = float(batch.seeing[f])
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dict(
                build_psf(
                    np.where(good, data, 0.0).astype(np.float32),
                    np.where(good, noise, np.median(noise[good])).astype(np.float32),
                    self.subsampling_factor,
                    masks=good.astype(np.float32),
                    n_iter_analytic=self.iterations_analytic,
                    n_iter_adabelief=self.iterations_pixels,
                    guess_method_star_position="center",
                    guess_fwhm_pixels=seeing if np.isfinite(seeing) else 3.0,
                    field_distortion=self.field_distortion,
                    stamp_coordinates=scaled_positions(batch.xy[f], batch.frame_shape)[used],
                )
            )

    def _psf(
        self,
        result: dict[str, Any],
        data: Floats,
        noise: Floats,
        good: Bools,
        frame_shape: tuple[int, int],
        rejected: dict[int, str],
    ) -> PSF:
        from plugins_builtin.engine.target import convolve_target

        used = np.asarray(good.any(axis=(1, 2)))
        fitted = result["kwargs_psf"]
        narrow = np.asarray(result["narrow_psf"], float)
        if not np.isfinite(narrow).all():
            reason = "STARRED's fit met a value that is not finite"
            return failed_psf(reason, self.iterations_pixels, data.shape, self.subsampling_factor, rejected)
        # STARRED divided the data by their 99th percentile.
        norm = np.nanpercentile(np.where(good[used], data[used], 0.0).astype(np.float32), 99.0)
        amplitude, offset = np.full(len(data), np.nan), np.full((len(data), 2), np.nan)
        residuals = np.full(data.shape, np.nan)
        kernel = np.asarray(result["model_instance"].get_amplitudes(**fitted), float)
        amplitude[used] = kernel * norm / self.subsampling_factor**2
        gaussian = fitted["kwargs_gaussian"]
        offset[used] = np.stack([np.asarray(gaussian["x0"], float), np.asarray(gaussian["y0"], float)], axis=-1)
        residuals[used] = data[used] - norm * np.asarray(result["models"], float)
        chi2 = np.where(good, (residuals / np.where(good, noise, 1.0)) ** 2, 0.0).sum(axis=(1, 2))
        pixels = good.sum(axis=(1, 2))
        weight = np.where(good, 1.0 / np.where(good, noise, 1.0) ** 2, 0.0)
        distortion = {name: np.asarray(value, float) for name, value in fitted["kwargs_distortion"].items()}
        return PSF(
            narrow=narrow,
            full=convolve_target(narrow, TARGET_FWHM),
            subsampling_factor=self.subsampling_factor,
            target_fwhm=TARGET_FWHM,
            status=FitStatus(
                FitState.BOUND,
                self.iterations_analytic + self.iterations_pixels,
                "STARRED runs all its iterations and has no test of convergence",
            ),
            reduced_chi2=float(chi2.sum() / pixels.sum()),
            distortion=distortion if self.field_distortion else {},
            frame_shape=frame_shape,
            amplitude=amplitude,
            offset=offset,
            star_chi2=np.where(used, chi2 / np.maximum(pixels, 1), np.nan),
            outliers=np.zeros(data.shape, bool),
            residuals=residuals,
            loss_history=np.asarray(result["adabelief_extra_fields"]["loss_history"], float),
            rejected=rejected,
            precision=star_precision(amplitude, weight, residuals),
            mean_residual=mean_residual(amplitude, weight, residuals, offset),
        )


@hookimpl
def lcf_psf_models() -> dict[str, type]:
    """Offer the PSF model ``starred-reference``."""
    return {"starred-reference": StarredReference}
