"""A colour picture of a region from its stacks in three bands."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from lcframework.report.pictures.stacks import Stacks
from lcframework.types import Floats

#: Effective wavelengths of common bands, nm; `'` and what follows a `_` or `-` don't count.
_WAVELENGTHS = {
    "u": 355, "g": 475, "r": 622, "i": 763, "z": 905, "y": 1000, "w": 610, "U": 365, "B": 440, "V": 550, "R": 650,
    "I": 800, "J": 1240, "H": 1650, "K": 2180, "Ks": 2160, "G": 640, "BP": 510, "RP": 780, "BT": 420, "VT": 530,
}  # fmt: skip
_BRIGHTEST = 0.995  # the quantile of pixels that is shown at full intensity
#: Intensities below this many sigma are on a linear scale, ...
_LINEAR = 5.0
#: ... as far as they are not below this part of the brightest.
_RANGE = 100.0


@attrs.frozen(eq=False)
class Band:
    """A band's name, wavelength, stack and zero point."""

    band: str
    wavelength: float  # nm
    stack: Stacks
    zeropoint: float  # mag; nan where there is none


def wavelength(band: str) -> float | None:
    """Return a band's wavelength, nm; None where its name is not a common one."""
    plain = band.strip().rstrip("'p*").split("_")[0].split("-")[0].strip()
    return _WAVELENGTHS.get(plain)


def three_bands(stacks: Sequence[tuple[str, Stacks]], zeropoints: Sequence[float]) -> tuple[Band, Band, Band] | None:
    """Return three bands, the reddest first: both ends of those known, and the one nearest to their middle.

    None where there are no three. Of several stacks in one band, the one with the least noise counts.
    """
    best: dict[float, Band] = {}
    for (name, stack), zeropoint in zip(stacks, zeropoints, strict=True):
        at = wavelength(name)
        if at is not None and (at not in best or stack.noise < best[at].stack.noise):
            best[at] = Band(name, at, stack, zeropoint)
    if len(best) < 3:
        return None
    order = sorted(best)
    middle = min(order[1:-1], key=lambda w: abs(w - (order[0] + order[-1]) / 2))
    return best[order[-1]], best[middle], best[order[0]]


def colour_picture(bands: tuple[Band, Band, Band]) -> Floats:
    """Return an image (ny, nx, 3) uint8 of red, green and blue bands, on the pixels of the red one's stack."""
    from astropy.visualization import make_lupton_rgb

    scaled = np.isfinite([b.zeropoint for b in bands]).all()
    channels, noises = [], []
    for band in bands:
        image = _on_pixels_of(band.stack, bands[0].stack)
        # Without zero points nothing is known of colours: each band's peak is then equally bright.
        peak = max(float(np.nanmax(image)), 1e-12)
        factor = 10 ** (-0.4 * (band.zeropoint - bands[0].zeropoint)) if scaled else 1 / peak
        channels.append(np.nan_to_num(factor * (image - np.nanmedian(image))))
        noises.append(factor * band.stack.noise)
    bright = max(float(np.quantile(np.mean(channels, axis=0), _BRIGHTEST)), 1e-12)
    linear = min(max(_LINEAR * float(np.nanmedian(noises)), bright / _RANGE), bright / 2)
    return np.asarray(make_lupton_rgb(*channels, minimum=0.0, stretch=linear, Q=_softening(bright / linear)))


def _softening(ratio: float) -> float:
    """Return the Q by which an intensity of `ratio` times the stretch is shown in full: Q = asinh(Q ratio)."""
    q = 1.0
    for _ in range(30):
        q = float(np.arcsinh(q * ratio))
    return q


def _on_pixels_of(stack: Stacks, reference: Stacks) -> Floats:
    """Return a stack's image on the pixels of another, by linear interpolation and the transforms of both."""
    from scipy.ndimage import affine_transform

    own, other = stack.transform, reference.transform
    if own.shape == other.shape and np.allclose(own, other, atol=1e-9):
        return stack.everything
    matrix = own[:, :2] @ np.linalg.inv(other[:, :2])  # from pixels (x, y) of the reference to the stack's
    shift = own[:, 2] - matrix @ other[:, 2]
    area = abs(np.linalg.det(matrix))
    moved = affine_transform(
        np.nan_to_num(stack.everything), matrix[::-1, ::-1], shift[::-1], reference.everything.shape, order=1
    )
    return np.asarray(moved * area)
