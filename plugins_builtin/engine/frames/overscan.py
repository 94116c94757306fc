"""The overscan of a raw image: its pixels, and the detector's level measured in them."""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float, Int, Real

from lcframework.types import Bools, Exposure, Floats, Ints, UnusableInput, is_section, section_slices
from plugins_builtin.engine.robust import clip_and_refit, masked_median, scatter_about_zero

#: Rows of the overscan further from the level than this many sigma are not fitted.
_CLIP = 4.0
#: A line along the strip whose level is further from the others' than this many sigma is left aside: the first after
#: the image, into which charge trails, and the last of the read-out.
_LINE_CLIP = 5.0


@attrs.frozen(eq=False)
class Overscan:
    """One image's overscan."""

    level: Float[Floats, "#ny #nx"]  # constant along one axis; raw unit
    strip: tuple[slice, slice]  # (y, x) in the image

    def less(self, image: Float[Floats, "rows nx"], rows: slice) -> Float[Floats, "rows nx"]:
        """Return rows of the image less the level."""
        return image - (self.level[rows] if len(self.level) > 1 else self.level)

    def blank(self, image: Float[Floats, "rows nx"], rows: slice) -> Float[Floats, "rows nx"]:
        """Return rows of an image with nan in the overscan, on which no light falls."""
        y, x = self.strip
        out = image.copy()
        out[max(y.start - rows.start, 0) : max(y.stop - rows.start, 0), x] = np.nan
        return out


def read_section(text: str, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return a section, which counts pixels from 1 and names x first, as slices (y, x) of an image (ny, nx).

    Raises
    ------
    UnusableInput
        Where it is no section, or not within the image.
    """
    if not is_section(text):
        raise UnusableInput(f'the overscan "{text}" is no section of an image, such as [1:20,1:2048]')
    slices = section_slices(text, shape)
    if slices is None:
        raise UnusableInput(f"the overscan {text} does not lie within the image of {shape[1]} x {shape[0]} pixels")
    return slices


def find_overscan(image: Real[np.ndarray, "ny nx"], exposure: Exposure, text: str, order: int) -> Overscan:
    """Return an image's overscan, its level a polynomial along the strip.

    Parameters
    ----------
    image : (ny, nx) array
        Raw; may have been trimmed, equally on opposite sides.
    exposure : Exposure
        Its shape is that of the image in the file, to which the pixel numbers of `text` refer.
    text : str
        The section, in the notation of FITS headers: ``[x1:x2,y1:y2]``, from 1.
    order : int
        Order of the polynomial; 0: one level.

    Raises
    ------
    UnusableInput
        Where the section makes no sense, or nothing of it is left.
    """
    full = exposure.shape if min(exposure.shape) > 0 else image.shape
    strip = []
    for part, n, whole in zip(read_section(text, full), image.shape, full, strict=True):
        trimmed = (whole - n) // 2
        strip.append(slice(max(part.start - trimmed, 0), min(part.stop - trimmed, n)))
    y, x = strip
    if y.stop <= y.start or x.stop <= x.start:
        raise UnusableInput(
            f"nothing of the overscan {text} is left in the image: [frames] trim_horizontal or trim_vertical cut it off"
        )
    values = np.asarray(image[y, x], float)
    tall = values.shape[0] >= values.shape[1]
    means = _means(values if tall else values.T)
    along = np.arange(*((y.start, y.stop) if tall else (x.start, x.stop)))
    level = _polynomial(along, means, order, image.shape[0 if tall else 1])
    return Overscan((level[:, None] if tall else level[None, :]).astype(np.float32), (y, x))


def _means(values: Float[np.ndarray, "length width"]) -> Float[Floats, " length"]:
    """Return the means across the strip, without the lines along it whose level is not that of the others."""
    masked = np.ma.masked_invalid(values)
    levels = masked_median(values, np.isfinite(values), axis=0)
    if not np.isfinite(levels).any():
        return np.full(len(values), np.nan)
    middle = float(np.nanmedian(levels))
    spread = scatter_about_zero((levels - middle)[np.isfinite(levels)])
    # A count: levels of whole numbers have no scatter where they are all alike.
    with np.errstate(invalid="ignore"):
        kept = np.abs(levels - middle) <= max(_LINE_CLIP * spread, 1.0)
    return np.asarray(masked[:, kept].mean(axis=1).filled(np.nan), float)


def _polynomial(
    along: Int[Ints, " length"], means: Float[Floats, " length"], order: int, n: int
) -> Float[Floats, " {n}"]:
    """Return a polynomial through the means, at each of `n` pixels along the strip; it is held beyond its ends."""
    good = np.isfinite(means)
    if good.sum() <= order:
        raise UnusableInput("the overscan has too few pixels with a value")
    domain = [along[0], max(along[-1], along[0] + 1)]

    def fit(used: Bool[Bools, " length"]) -> tuple[np.polynomial.Legendre, Bool[Bools, " length"]]:
        polynomial = np.polynomial.Legendre.fit(along[used], means[used], order, domain=domain)
        residual = means - polynomial(along)
        return polynomial, np.abs(residual) <= max(_CLIP * scatter_about_zero(residual[used]), 1e-6)

    polynomial, _ = clip_and_refit(fit, good, fewest=order + 1)
    return np.asarray(polynomial(np.clip(np.arange(n), along[0], along[-1])))
