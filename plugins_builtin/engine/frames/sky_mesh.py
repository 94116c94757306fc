"""The sky of a frame: a smooth surface whose mean in each box of a coarse mesh is that of the pixels without source.

The frame is divided into blocks of a few pixels a side; a box of the mesh has many of them. The mean of a block shows
the wings of stars, which no single pixel shows, and its noise is not skewed. So blocks that hold a source can be
recognised; they and those around them are left out, and the mean of the others has no bias. The surface is then moved
until its own mean over the same blocks agrees: a spline through the boxes' means alone makes a curved sky too flat.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float, Int

from lcframework.types import Bools, Floats, Ints
from plugins_builtin.engine.robust import clip_and_refit, robust_scatter

#: Pixels along the side of a block, at most, and blocks along the side of a box, at least.
_BLOCK = 8
_BLOCKS = 8
#: Pixels beyond so many rms are no sky; a block of which less than this share is left holds a source.
_PIXEL_CLIP = 5.0
_LEAST_PIXELS = 0.75
#: A block whose mean exceeds the median by so many times the blocks' scatter holds a source too.
_SOURCE = 5.0
#: Blocks within this many blocks of a source are left out; the first number that leaves this share of a box is used.
_REACHES = (2, 1, 0)
_LEAST_BLOCKS = 0.2
#: Of the remaining blocks, those whose mean is further from the median than so many times their scatter are left out.
_MEAN_CLIP = 2.5
#: Pixels averaged at a time: so many stay in the processor's cache.
_AT_ONCE = 1 << 17
#: How often the blocks of sky are chosen, and how often the surface is moved to their means after each choice.
_SELECTIONS = 2
_STEPS = 3


@attrs.frozen(eq=False)
class Blocks:
    """Means of blocks of good pixels; nan where too few are left."""

    mean: Float[Floats, "my mx"]
    variance: Float[Floats, "my mx"]  # of a pixel about its block's mean; nan for blocks of one pixel


@attrs.frozen(eq=False)
class Axis:
    """One axis of the mesh: `n` pixels in `boxes` equal boxes."""

    n: int
    boxes: int

    def box(self, position: Float[Floats, " positions"]) -> Int[Ints, " positions"]:
        """Return the box of each position, pixels."""
        return np.asarray(np.clip(((position + 0.5) * self.boxes / self.n).astype(int), 0, self.boxes - 1))

    @property
    def centres(self) -> Float[Floats, " boxes"]:
        """The boxes' centres, pixels."""
        return (np.arange(self.boxes) + 0.5) * self.n / self.boxes - 0.5

    def spline(self, position: Float[Floats, " positions"]) -> Float[Floats, "positions boxes"]:
        """Return the matrix from values at the boxes' centres to a spline through them."""
        from scipy.interpolate import make_interp_spline

        if self.boxes == 1:
            return np.ones((len(position), 1))
        through = make_interp_spline(self.centres, np.eye(self.boxes), k=min(3, self.boxes - 1))
        return np.asarray(through(position))


def level_sky(
    image: Float[Floats, "ny nx"],
    bad: Bool[Bools, "ny nx"],
    first: Float[Floats, "ny nx"],
    rms: float,
    boxes: int,
    filter_size: int = 1,
) -> tuple[Float[Floats, "ny nx"], float]:
    """Return the sky, and one sigma of a pixel's noise.

    Parameters
    ----------
    image : (ny, nx) array
        e-/s; finite everywhere.
    bad : (ny, nx) bool array
        Pixels not to use.
    first : (ny, nx) array
        First estimate of the sky, good to some rms.
    rms : float
        First estimate of a pixel's noise.
    boxes : int
        Boxes of the mesh along each side.
    filter_size : int
        Width of a median filter of the mesh's values, boxes; 1: no filter.

    Returns
    -------
    sky : (ny, nx) array
    rms : float
    """
    from scipy.ndimage import median_filter

    axes = [Axis(n, min(boxes, n)) for n in image.shape]
    size = max(1, min(_BLOCK, *(n // boxes // _BLOCKS for n in image.shape)))
    blocks = average(image, bad, first, rms, size)
    means = blocks.mean
    middles = [np.arange(n) * size + 0.5 * (size - 1) for n in means.shape]
    start = [np.clip(np.rint(a.centres).astype(int), 0, a.n - 1) for a in axes]
    values = first[np.ix_(*start)].astype(float)
    rows, columns = (a.spline(m) for a, m in zip(axes, middles, strict=True))
    box = [a.box(m) for a, m in zip(axes, middles, strict=True)]
    index = box[0][:, None] * axes[1].boxes + box[1]
    for _ in range(_SELECTIONS):
        sky = sky_blocks(means - rows @ values @ columns.T, index)
        for _ in range(_STEPS):
            values += _box_means(means - rows @ values @ columns.T, sky, index, values.shape)
    if filter_size > 1:
        values = median_filter(values, filter_size)
    down, across = (a.spline(np.arange(a.n, dtype=float)).astype(image.dtype) for a in axes)
    return down @ values.astype(image.dtype) @ across.T, _pixel_rms(blocks, sky, index, rms)


def average(
    image: Float[Floats, "ny nx"], bad: Bool[Bools, "ny nx"], first: Float[Floats, "ny nx"], rms: float, size: int
) -> Blocks:
    """Return the means of blocks of `size` pixels a side, without pixels that are bad or a few `rms` off the first sky.

    Pixels that fill no block, at the upper edges, are left out.
    """
    my, mx = (n // size for n in image.shape)
    mean, variance = np.full((my, mx), np.nan), np.full((my, mx), np.nan)
    step = max(1, _AT_ONCE // (size * image.shape[1]))
    for start in range(0, my, step):
        rows = slice(start, min(start + step, my))
        inside = np.s_[rows.start * size : rows.stop * size, : mx * size]
        residual = image[inside] - first[inside]
        good = (np.abs(residual) < _PIXEL_CLIP * rms) & ~bad[inside]
        residual[~good] = 0
        sums = (_block_sums(v, size) for v in (good.astype(np.float32), residual, residual * residual, first[inside]))
        count, total, square, sky = sums
        enough = count >= _LEAST_PIXELS * size**2
        mean_residual = np.where(enough, total / np.maximum(count, 1), np.nan)
        mean[rows] = mean_residual + sky / size**2
        spread = np.maximum(square - count * mean_residual**2, 0) / np.maximum(count - 1, 1)
        variance[rows] = np.where(count > 1, spread, np.nan)
    return Blocks(mean, variance)


def _block_sums(image: Float[Floats, "rows columns"], size: int) -> Float[Floats, "my mx"]:
    my, mx = (n // size for n in image.shape)
    rows = image.reshape(my, size, mx * size).sum(axis=1)
    return np.asarray(rows.reshape(my, mx, size).sum(axis=2, dtype=float))


def sky_blocks(residual: Float[Floats, "my mx"], index: Int[Ints, "my mx"]) -> Bool[Bools, "my mx"]:
    """Return which blocks hold sky alone, from their means less the sky; `index` is the box of each block."""
    from scipy.ndimage import distance_transform_cdt

    finite = np.isfinite(residual)
    centre, scatter = _centre_and_scatter(residual[finite])
    source = ~finite | (np.nan_to_num(residual) > centre + _SOURCE * scatter)
    distance = (
        distance_transform_cdt(~source, "chessboard") if source.any() else np.full(source.shape, max(source.shape))
    )
    out = np.zeros(residual.shape, bool)
    for box in np.unique(index):
        here = index == box
        candidates = [here & (distance > reach) for reach in _REACHES]
        chosen = next((f for f in candidates if f.sum() >= _LEAST_BLOCKS * here.sum()), here & finite)
        out[chosen] = _unclipped(residual[chosen])
    return out


def _unclipped(values: Float[Floats, " values"]) -> Bool[Bools, " values"]:
    def around_median(used: Bool[Bools, " values"]) -> tuple[None, Bool[Bools, " values"]]:
        centre, scatter = _centre_and_scatter(values[used])
        return None, np.abs(values - centre) <= _MEAN_CLIP * scatter

    return clip_and_refit(around_median, np.ones(len(values), bool), fewest=1)[1]


def _centre_and_scatter(values: Float[Floats, " values"]) -> tuple[float, float]:
    if not len(values):
        return 0.0, 0.0
    return float(np.median(values)), robust_scatter(values)


def _box_means(
    values: Float[Floats, "my mx"], chosen: Bool[Bools, "my mx"], index: Int[Ints, "my mx"], shape: tuple[int, ...]
) -> Float[Floats, "rows columns"]:
    """Return the boxes' means of the chosen blocks; 0 for a box without any."""
    length = int(np.prod(shape))
    total = np.bincount(index[chosen], values[chosen], length)
    return np.asarray((total / np.maximum(np.bincount(index[chosen], minlength=length), 1)).reshape(shape))


def _pixel_rms(blocks: Blocks, sky: Bool[Bools, "my mx"], index: Int[Ints, "my mx"], otherwise: float) -> float:
    """Return one sigma of a pixel about its neighbours, the median over the boxes."""
    chosen = sky & np.isfinite(blocks.variance)
    boxes = [float(np.mean(blocks.variance[chosen & (index == b)])) for b in np.unique(index[chosen])]
    found = float(np.sqrt(np.median(boxes))) if boxes else 0.0
    return found if found > 0 else otherwise
