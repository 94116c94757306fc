"""Columns that follow from a source's fluxes: signal-to-noise, depth, limits, asinh magnitudes, differences.

They are what other programs ask for. A light curve holds flux and error of each epoch, whatever their signs; nothing
here is needed to get them back.
"""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.types import Floats

#: Sigmas of the depth.
DEPTH_SIGMAS = 5.0
#: A source with fewer sigma has an upper limit, of so many sigma above its flux, or above 0.
LIMIT_SIGMAS = 3.0
#: Magnitudes of a factor e in flux, Pogson's ratio.
POGSON = 2.5 / np.log(10)
#: The softening that keeps both the bias and the error of asinh magnitudes small, in sigmas (Lupton et al. 1999).
_SOFTENING = float(np.sqrt(POGSON))


@attrs.frozen
class Reference:
    """What all epochs of a source in one instrument and band share.

    Attributes
    ----------
    flux : float
        The weighted mean of its fluxes, e-/s, from which differences are counted.
    variance : float
        Of that mean, (e-/s)^2.
    softening : float
        Of its asinh magnitudes, e-/s.
    """

    flux: float
    variance: float
    softening: float


def reference(flux: Floats, error: Floats, fitted: Floats) -> Reference:
    """Return what all epochs of a source share; nan where it was never measured.

    Parameters
    ----------
    flux, error, fitted : (e,) arrays
        Fluxes, their random errors and the fit's part of these, e-/s.
    """
    good = np.isfinite(flux) & np.isfinite(error) & (error > 0)
    if not good.any():
        return Reference(np.nan, np.nan, np.nan)
    weight = 1 / error[good] ** 2
    return Reference(float(np.average(flux[good], weights=weight)), float(1 / weight.sum()), softening(fitted[good]))


def softening(fitted: Floats) -> float:
    """Return the softening of asinh magnitudes for epochs with these errors, e-/s.

    It is 1.042 times the median error, rounded to steps of a tenth of a decade, so that a new epoch hardly ever moves
    the magnitudes of earlier ones.
    """
    positive = fitted[np.isfinite(fitted) & (fitted > 0)]
    if not len(positive):
        return float("nan")
    return float(10 ** (np.round(10 * np.log10(_SOFTENING * np.median(positive))) / 10))


def derived(flux: Floats, error: Floats, fitted: Floats, zeropoint: float, shared: Reference) -> dict[str, Floats]:
    """Return the derived columns of a source, by name; nan where they are not defined.

    Parameters
    ----------
    flux, error, fitted : (e,) arrays
        Fluxes, their random errors and the fit's part of these, e-/s.
    zeropoint : float
        The magnitude of 1 e-/s; nan where there is none.
    shared : Reference
        What all epochs of the source share.

    Notes
    -----
    The asinh magnitude (Lupton, Gunn & Szalay 1999, AJ 118, 1406) of a flux f with the softening b is
    ``zeropoint - 2.5 log10(b) - (2.5 / ln 10) asinh(f / 2b)``. Means of a night use the weights of the mean flux, so
    that the variance of a difference from the mean is that of the flux less that of the mean, for nights as for epochs.
    """
    sigma = np.where(error > 0, error, np.nan)
    b = shared.softening
    with np.errstate(invalid="ignore", divide="ignore"):
        limit = zeropoint - POGSON * np.log(np.maximum(flux, 0) + LIMIT_SIGMAS * sigma)
        return {
            "snr": flux / sigma,
            "depth": zeropoint - POGSON * np.log(DEPTH_SIGMAS * np.where(fitted > 0, fitted, np.nan)),
            "mag_limit": np.where(flux < LIMIT_SIGMAS * sigma, limit, np.nan),
            "asinh_mag": zeropoint - POGSON * (np.log(b) + np.arcsinh(flux / (2 * b))),
            "d_asinh_mag": POGSON * sigma / np.sqrt(flux**2 + 4 * b**2),
            "asinh_softening": np.full(len(flux), b),
            "diff_flux": flux - shared.flux,
            "d_diff_flux": np.sqrt(np.clip(sigma**2 - shared.variance, 0, None)),
        }
