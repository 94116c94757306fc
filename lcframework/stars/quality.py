"""Checks of a star's stamp in one frame.

A verdict is a kind with details, ``"kind: details"``, and is empty for a usable stamp. Verdicts depend only on one
frame, so that further frames change none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from lcframework.storage.stamp_files import Stamp
from lcframework.types import FWHM_PER_SIGMA, Bools, Floats, PixelFlag
from lcframework.types.robust import scatter_about_zero

if TYPE_CHECKING:
    from astropy.table import Table

#: The kinds of verdict and their meanings.
KINDS = {
    "saturated": "a pixel of its core is saturated",
    "edge": "its stamp reaches beyond the data",
    "masked": "too much of its stamp, or its core, is masked",
    "blended": "light of another source falls on it",
    "extended": "it is wider than the frame's other stars",
    "elongated": "its shape is not that of the frame's other stars",
}
#: A star is at the edge where more than this share of its stamp is outside the data.
MAX_OUTSIDE = 0.1
#: A star is rejected where more than this share of its stamp is masked.
MAX_MASKED = 0.4
#: An unmasked neighbour is taken into account where it has more than this share of the star's light.
FAINTEST_NEIGHBOUR = 0.02
#: A star is blended where masks of neighbours cover more than this share of its core.
MAX_CORE_COVERED = 0.3
#: Blended stars are used in frames with fewer other stars than this.
FEWEST_STARS = 3
#: Shapes are compared where at least so many stars of a frame have a measured shape.
FEWEST_SHAPES = 5
#: A shape differs where it exceeds these limits and `SIGMA`; the variation of a PSF over the frame is smaller.
WIDER, ROUNDNESS, SIGMA = 1.2, 0.15, 5.0
_FIELD_VARIATION = 0.03


@attrs.frozen(eq=False)
class Surroundings:
    """The surroundings of a frame's stars: sources in the frame, and catalogue stars."""

    sources: Table  # all of the frame
    seeing: float  # FWHM, pixels
    own_radius: float  # pixels; sources within it are not masked as neighbours
    stars: Floats  # (m, 2) positions of the field's catalogue stars, pixels
    light: Floats  # (m,) their brightness, any unit


def masked_fraction(stamp: Stamp) -> float:
    """Return the share of a stamp that is masked."""
    return float((stamp.mask > 0).mean())


def core_of(stamp: Stamp, seeing: float) -> Bools:
    """Return the pixels within one FWHM of the expected position."""
    return np.hypot(*_grid(stamp.data.shape[0], stamp.offset)) < max(1.5, seeing)


def is_saturated(stamp: Stamp, seeing: float) -> bool:
    """Return whether a pixel of the core is saturated."""
    return bool((core_of(stamp, seeing) & ((stamp.mask & PixelFlag.SATURATED.value) > 0)).any())


def signal_to_noise(stamp: Stamp, seeing: float) -> float:
    """Return the signal-to-noise of the core's usable pixels; 0 where there are none."""
    use = core_of(stamp, seeing) & (stamp.mask == 0)
    return float(stamp.data[use].sum() / np.sqrt((stamp.noise[use] ** 2).sum())) if use.any() else 0.0


def verdict(stamp: Stamp, around: Surroundings) -> str:
    """Return the verdict on one star's stamp without its shape; empty where nothing is wrong."""
    core = core_of(stamp, around.seeing)
    if is_saturated(stamp, around.seeing):
        count = int((core & ((stamp.mask & PixelFlag.SATURATED.value) > 0)).sum())
        return f"saturated: {count} pixels of its core"
    outside = float(((stamp.mask & PixelFlag.BLANK.value) > 0).mean())
    if outside > MAX_OUTSIDE:
        return f"edge: {outside:.0%} of its stamp lies outside the data"
    covered = float(((stamp.mask[core] & PixelFlag.NEIGHBOUR.value) > 0).mean())
    if covered > MAX_CORE_COVERED:
        return f"blended: neighbours reach over {covered:.0%} of its core"
    if masked_fraction(stamp) > MAX_MASKED:
        return f"masked: {masked_fraction(stamp):.0%} of its stamp"
    if not (core & (stamp.mask == 0)).any():
        return "masked: its core"
    return _detected_neighbour(stamp, around) or _catalogued_neighbour(stamp, around)


def _detected_neighbour(stamp: Stamp, around: Surroundings) -> str:
    """Judge sources too close to the star to be masked, by the light that remains after the star's symmetric part."""
    if len(around.sources) == 0:
        return ""
    position = np.add(stamp.centre, stamp.offset)
    xy = np.stack([np.asarray(around.sources["x"], float), np.asarray(around.sources["y"], float)], axis=-1)
    distance = np.hypot(*(xy - position).T)
    # Narrower than any star: a cosmic ray or a hot pixel.
    stellar = np.asarray(around.sources["fwhm"], float) > 0.6 * around.seeing
    near = np.flatnonzero((distance < around.own_radius) & stellar)
    if len(near) < 2:
        return ""
    own = near[np.argmin(distance[near])]
    centre = xy[own] - stamp.centre
    light = _light(stamp, centre, around.seeing, stamp.data)[0]
    unexplained = stamp.data - _reflected(stamp.data, centre)
    for other in near[near != own]:
        offset = xy[other] - stamp.centre
        excess, error = _light(stamp, offset, around.seeing, unexplained)
        # The reflected image is as noisy as the image, hence sqrt(2).
        if light > 0 and excess > max(FAINTEST_NEIGHBOUR * light, SIGMA * np.sqrt(2.0) * error):
            apart = float(np.hypot(*(offset - centre)))
            return f"blended: a source {apart:.1f} px away has {excess / light:.0%} of its light"
    return ""


def _light(stamp: Stamp, offset: Floats, seeing: float, image: Floats) -> tuple[float, float]:
    """Return the sum of an image within half a FWHM of a point, without masked pixels, and its error."""
    inside = np.hypot(*_grid(stamp.data.shape[0], (float(offset[0]), float(offset[1])))) < max(1.0, 0.5 * seeing)
    use = inside & (stamp.mask == 0)
    return float(image[use].sum()), float(np.sqrt((stamp.noise[use] ** 2).sum()))


def _reflected(image: Floats, centre: Floats) -> Floats:
    """Return an image reflected through a point between its pixels; 0 outside the reflected image."""
    from scipy.ndimage import map_coordinates

    n = len(image)
    columns, rows = (2.0 * (float(c) + (n - 1) / 2) - np.arange(n) for c in centre)
    return np.asarray(map_coordinates(image, np.meshgrid(rows, columns, indexing="ij"), order=3, cval=0.0))


def _catalogued_neighbour(stamp: Stamp, around: Surroundings) -> str:
    """Judge neighbouring catalogue stars, also those that are not detected as separate sources in the frame."""
    position = np.add(stamp.centre, stamp.offset)
    distance = np.hypot(*(around.stars - position).T)
    if not len(distance):
        return ""
    own = int(np.argmin(distance))
    near = (distance < 2.0 * around.own_radius) & (np.arange(len(distance)) != own)
    for other in np.flatnonzero(near):
        share = float(around.light[other] / around.light[own])
        if share > FAINTEST_NEIGHBOUR and not _is_masked(stamp, around.stars[other]):
            return f"blended: a catalogue star {distance[other]:.1f} px away has {share:.0%} of its light"
    return ""


def _is_masked(stamp: Stamp, position: Floats) -> bool:
    column, row = (round(float(v)) for v in position - np.asarray(stamp.corner))
    n = stamp.data.shape[0]
    return not (0 <= column < n and 0 <= row < n) or bool(stamp.mask[row, column])


# ---------------------------------------------------------------- shapes


@attrs.frozen(eq=False)
class Shape:
    """A star's size and ellipticity from weighted moments, with one-sigma errors; `size` is the log of the rms."""

    size: float
    size_error: float
    ellipticity: tuple[float, float]
    ellipticity_error: float


def shape_of(stamp: Stamp, seeing: float) -> Shape | None:
    """Measure a star with a round Gaussian weight of the frame's seeing; return None where the measurement fails.

    With weights w of rms s and moments T = <r^2>, a Gaussian star of rms t has ``T = 2 s^2 t^2 / (s^2 + t^2)``, which
    gives t. Masked pixels get the value of the pixel reflected through the star's centre.
    """
    index = np.arange(stamp.data.shape[0]) - (stamp.data.shape[0] - 1) / 2
    weight_rms = max(seeing, 1.5) / FWHM_PER_SIGMA
    centre = np.array(stamp.offset, float)
    for _ in range(6):
        data, noise = _completed(stamp, centre)
        dx, dy = index - centre[0], index - centre[1]
        across, down = np.exp(-0.5 * (dx / weight_rms) ** 2), np.exp(-0.5 * (dy / weight_rms) ** 2)
        light = float(down @ data @ across)
        if not light > 0:
            return None
        step = np.array([down @ data @ (across * dx), (down * dy) @ data @ across]) / light
        centre = centre + 2.0 * step  # the weight moves the centroid half the way back
        if np.abs(centre - stamp.offset).max() > max(3.0, seeing):
            return None
    weight, dy = down[:, None] * across, dy[:, None]
    square, plus, cross = dx**2 + dy**2, dx**2 - dy**2, 2 * dx * dy
    moment = float((weight * data * square).sum()) / light
    if not moment > 0:
        return None
    e = np.array([(weight * data * plus).sum(), (weight * data * cross).sum()]) / (light * moment)
    moment_error = np.sqrt((weight**2 * (square - moment) ** 2 * noise**2).sum()) / light
    e_error = np.sqrt((weight**2 * ((plus - e[0] * square) ** 2) * noise**2).sum()) / (light * moment)
    own = max(1.0 - 0.5 * moment / weight_rms**2, 0.05)  # 1 - T / 2 s^2; 0 for an image that is flat in the weight
    size = 0.5 * np.log(0.5 * moment / own)
    # The weight halves the ellipticity of a star that is as wide as the weight.
    return Shape(float(size), float(0.5 * moment_error / (moment * own)), (float(e[0] / own), float(e[1] / own)),
                 float(e_error / own))  # fmt: skip


def unlike_others(shapes: Mapping[str, Shape | None]) -> dict[str, str]:
    """Return the verdicts on the stars of a frame whose shapes differ from the others.

    A star is rejected where it is wider than the median star by the factor `WIDER`, or its ellipticity differs by
    `ROUNDNESS`. The difference must also exceed `SIGMA` standard deviations, from the star's noise and from the scatter
    of the stars, which contains the variation of the PSF over the frame.
    """
    known = {name: s for name, s in shapes.items() if s is not None}
    if len(known) < FEWEST_SHAPES:
        return {}
    size = np.array([s.size for s in known.values()])
    e = np.array([s.ellipticity for s in known.values()])
    size_error = np.array([s.size_error for s in known.values()])
    e_error = np.array([s.ellipticity_error for s in known.values()])
    wider = size - np.median(size)
    apart = np.hypot(*(e - np.median(e, axis=0)).T)
    size_sigma = np.hypot(size_error, max(_FIELD_VARIATION, scatter_about_zero(wider)))
    # The modulus of two normal components has a median of 1.1774 sigma.
    e_sigma = np.hypot(e_error, max(_FIELD_VARIATION, float(np.median(apart)) / 1.1774))
    out = {}
    for i, name in enumerate(known):
        if wider[i] > max(np.log(WIDER), SIGMA * size_sigma[i]):
            out[name] = f"extended: {np.expm1(wider[i]):.0%} wider than the frame's other stars"
        elif apart[i] > max(ROUNDNESS, SIGMA * e_sigma[i]):
            out[name] = f"elongated: its ellipticity is {apart[i]:.2f} off that of the frame's other stars"
    return out


def judge(stamps: Mapping[str, Stamp], around: Surroundings) -> dict[str, str]:
    """Return the verdict on every star of a frame; empty where the stamp is usable."""
    out = {name: verdict(stamp, around) for name, stamp in stamps.items()}
    shapes = {name: shape_of(stamps[name], around.seeing) for name, found in out.items() if not found}
    return {**out, **unlike_others(shapes)}


def usable_by_verdict(verdicts: Mapping[str, str]) -> dict[str, bool]:
    """Return which stars are usable; blended ones are, where fewer than `FEWEST_STARS` others are left."""
    crowded = sum(not comment for comment in verdicts.values()) < FEWEST_STARS
    return {name: not comment or (crowded and kind_of(comment) == "blended") for name, comment in verdicts.items()}


def kind_of(comment: str) -> str:
    """Return the kind of a verdict; empty for none."""
    return comment.partition(":")[0]


def _completed(stamp: Stamp, centre: Floats) -> tuple[Floats, Floats]:
    """Return data and noise; masked pixels get those of the pixel reflected through `centre`, or else 0."""
    n = stamp.data.shape[0]
    masked = np.nonzero(stamp.mask)
    row, column = (np.rint(2 * (c + (n - 1) / 2) - i).astype(int) for c, i in zip(centre[::-1], masked, strict=True))
    at = np.clip(row, 0, n - 1), np.clip(column, 0, n - 1)
    usable = (row >= 0) & (row < n) & (column >= 0) & (column < n) & (stamp.mask[at] == 0)
    data, noise = stamp.data.astype(float), stamp.noise.astype(float)
    for image in (data, noise):
        image[masked] = np.where(usable, image[at], 0.0)
    return data, noise


def _grid(n: int, offset: Sequence[float]) -> tuple[Floats, Floats]:
    """Return (n, n) arrays of x and y distances of pixels from a point, given relative to the stamp's centre."""
    index = np.arange(n) - (n - 1) / 2
    return (index - offset[0])[None, :] + np.zeros((n, 1)), (index - offset[1])[:, None] + np.zeros((1, n))
