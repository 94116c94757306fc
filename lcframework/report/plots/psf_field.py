"""The PSF at a grid of positions in a frame, and how it differs from the one in the middle."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from matplotlib.figure import Figure

from lcframework.report.plots import style
from lcframework.report.plots.mosaic import diverging, intensity, mosaic
from lcframework.types import FWHM_PER_SIGMA, PSF, Floats

_SIDE = 2.9
_SHOWN = 3.5  # FWHM: half of the shown width of a kernel
#: Kernels that differ by less of the peak are the same.
_SAME = 1e-6


@attrs.frozen(eq=False)
class Field:
    """PSFs of a frame on a grid.

    Attributes
    ----------
    title : str
        Of the figure.
    kernels : (g, g, m, m) array
        Full PSFs on small pixels, the first at the frame's lower left corner.
    """

    title: str
    kernels: Floats

    @property
    def middle(self) -> Floats:
        """The PSF in the frame's middle, (m, m)."""
        g = len(self.kernels) // 2
        return np.asarray(self.kernels[g, g])

    @property
    def differences(self) -> Floats:
        """The PSFs less the one in the middle, in units of its peak, (g, g, m, m)."""
        return np.asarray((self.kernels - self.middle) / self.middle.max())

    @property
    def varies(self) -> bool:
        """Whether the PSF differs over the frame."""
        return bool(np.abs(self.differences).max() > _SAME)


def grid(shape: tuple[int, int], count: int) -> Floats:
    """Return positions (count², 2) in a frame of a shape (ny, nx), pixels: centres of equal parts, row by row."""
    share = (np.arange(count) + 0.5) / count
    y, x = np.meshgrid(share * shape[0] - 0.5, share * shape[1] - 0.5, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], axis=1)


def field_of(title: str, psf: PSF, narrow: Floats) -> Field:
    """Return the full PSFs of narrow ones (g², m, m), which :func:`grid` has the positions of."""
    from scipy.ndimage import gaussian_filter

    g = round(float(np.sqrt(len(narrow))))
    full = np.asarray(narrow, float)
    if psf.target_fwhm > 0:
        sigma = psf.target_fwhm / FWHM_PER_SIGMA
        full = np.stack([gaussian_filter(k, sigma, mode="constant") for k in full])
    return Field(title, full.reshape(g, g, *full.shape[1:]))


@style.styled
def draw(fields: Sequence[Field]) -> Figure:
    """Return the figure, a row a frame."""
    tall = _SIDE + 0.55
    columns = 2 if any(field.varies for field in fields) else 1
    made = style.figure(columns * (_SIDE + 0.25), tall * len(fields) + 0.05)
    for k, field in enumerate(fields):
        bottom = tall * (len(fields) - 1 - k) + 0.1
        top = bottom + _SIDE + 0.24
        w, h = made.get_size_inches()
        made.text(0.1 / w, top / h, field.title, fontsize=9, fontweight="bold", va="bottom")
        cut = _cut(field.middle)
        ax = style.image_axes(made, 0.1, bottom, _SIDE, _SIDE)
        if not field.varies:
            ax.imshow(intensity(field.middle[cut], field.middle.max() * 1e-3), origin="lower", interpolation="nearest")
            ax.set_title("the same everywhere in the frame", pad=3)
            continue
        shown = field.kernels[:, :, cut[0], cut[1]]
        noise = float(field.middle.max()) * 1e-3
        tiles = mosaic([[intensity(image, noise) for image in row] for row in shown[::-1]])
        ax.imshow(tiles.image, interpolation="nearest")
        ax.set_title("PSF over the frame", pad=3)
        parts = field.differences[:, :, cut[0], cut[1]]
        limit = float(np.abs(parts).max())
        tiles = mosaic([[diverging(image, limit) for image in row] for row in parts[::-1]])
        ax = style.image_axes(made, _SIDE + 0.4, bottom, _SIDE, _SIDE)
        ax.imshow(tiles.image, interpolation="nearest")
        ax.set_title(f"less the one in the middle, ± {100 * limit:.2g} % of its peak", pad=3)
    return made


def _cut(kernel: Floats) -> tuple[slice, slice]:
    """Return the part of a kernel around its core that is worth showing."""
    m = len(kernel)
    area = float((kernel > kernel.max() / 2).sum())
    half = min(m // 2, max(4, round(_SHOWN * float(np.sqrt(area / np.pi)) * 2)))
    start = (m - 2 * half) // 2
    part = slice(start, m - start)
    return part, part
