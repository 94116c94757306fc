"""Hot pixels: found in frames between which the field drifts, and stored as a map for each instrument."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

import attrs
import numpy as np

from lcframework.config.structuring import resolve_path
from lcframework.frames.samples import at_equal_steps
from lcframework.provenance import digest, file_digest
from lcframework.storage.faults import not_read
from lcframework.storage.files import atomic
from lcframework.storage.frame_files import read_frame, read_table
from lcframework.storage.tables import Frame
from lcframework.types import Bools, DamagedProduct, Floats, Ints, PixelFlag, UnusableInput
from lcframework.types.robust import SIGMA_PER_MAD, finite_median
from lcframework.work import HotPixelsKey, Outcome, Scope, Stage, Task, Toolbox, Unit

if TYPE_CHECKING:
    from astropy.table import Table

#: Hot pixels are found in at most so many frames, spread over the night, and from so many on: the error of a median
#: falls with the root of their number.
MOST_FRAMES, FEWEST_FRAMES = 120, 5
#: Of large frames fewer are taken, at least the second number: bytes that images and flags of all may take.
_BYTES, _OF_LARGE = 2e9, 10
#: Pixels of all frames that are sorted at a time.
_AT_ONCE = 8_000_000

FrameOfSources: TypeAlias = "tuple[Floats, Ints, Table]"  # an image, its flags and its sources


@attrs.frozen(eq=False)
class HotPixels:
    """Hot pixels of a detector: a constant excess to subtract, and bad pixels that can't be corrected."""

    excess: Floats  # (ny, nx) e-/s; 0 for a good pixel
    bad: Bools  # (ny, nx)


def hot_pixel_map(frames: list[tuple[Floats, Ints, Table]], sigma: float = 6.0, unstable: float = 3.0) -> HotPixels:
    """Find the pixels that remain bright while the field drifts over them.

    The median in time of sky-subtracted frames, without each frame's sources, contains no stars where the field moves.
    A constant excess is subtracted instead of masked, so that a hot pixel in the core of a star can still be used.

    Parameters
    ----------
    frames : list of (image, flags, sources)
        All images have the same shape; e-/s.
    sigma : float
        A pixel is hot where the median exceeds this many times its usual spread.
    unstable : float
        A pixel is bad where its scatter in time exceeds this many times the usual one: its excess is not constant.
    """
    ny, nx = frames[0][0].shape
    boxes = [_boxes(sources) for _, _, sources in frames]
    median, scatter = np.empty((2, ny, nx))
    for first in range(0, ny, rows := max(1, _AT_ONCE // (nx * len(frames)))):
        strip = slice(first, first + rows)
        stack = np.stack([_sky(image, flags, own, strip) for (image, flags, _), own in zip(frames, boxes, strict=True)])
        seen = np.isfinite(stack).sum(axis=0) >= max(3, len(frames) // 4)
        median[strip] = np.where(seen, finite_median(stack, 0), np.nan)
        scatter[strip] = np.where(seen, SIGMA_PER_MAD * finite_median(np.abs(stack - median[strip]), 0), np.nan)
    level, usual = np.nanmedian(median), np.nanmedian(scatter)
    spread = SIGMA_PER_MAD * np.nanmedian(np.abs(median - level))
    with np.errstate(invalid="ignore"):
        hot = np.abs(median - level) > sigma * spread
        bad = hot & (scatter > unstable * usual)
    return HotPixels(np.where(hot & ~bad, median - level, 0).astype(np.float32), np.asarray(bad))


def _boxes(sources: Table) -> Ints:
    """Return the squares (n, 4) of sources: first and last row, first and last column, the last ones not inside."""
    starlike = ~(np.asarray(sources["fwhm"], float) < 1.2)  # a hot pixel is a narrow source: it stays in the median
    x, y, a = (np.asarray(sources[name], float)[starlike] for name in ("x", "y", "a"))
    r = np.ceil(np.fmax(4.0, 4.0 * a))
    x, y = np.round(x), np.round(y)
    limits = np.stack([y - r, y + r + 1, x - r, x + r + 1], axis=1)
    return np.asarray(np.maximum(limits, 0).astype(int))


def _sky(image: Floats, flags: Ints, boxes: Ints, rows: slice) -> Floats:
    """Return rows of an image without its sources, and without blank and saturated pixels; nan there."""
    out = image[rows].astype(np.float32)
    out[(flags[rows] & (PixelFlag.BLANK | PixelFlag.SATURATED).value) > 0] = np.nan
    for top, bottom, left, right in boxes[(boxes[:, 1] > rows.start) & (boxes[:, 0] < rows.stop)]:
        out[max(top - rows.start, 0) : bottom - rows.start, left:right] = np.nan
    return out


# ---------------------------------------------------------------- as a product


@attrs.frozen
class HotPixelsPayload:
    """The files (images, tables of sources) of the frames from which an instrument's hot pixels are found."""

    instrument: str
    frames: tuple[tuple[str, str], ...]


def hot_pixels_path(instrument: str) -> str:
    """Return the path of an instrument's map, relative to the workdir."""
    return f"frames/hot_pixels_{digest(instrument, 8)}.fits"


def most_frames(shape: tuple[int, int]) -> int:
    """Return in how many frames of a shape (ny, nx) hot pixels are found at most."""
    return int(np.clip(_BYTES / (5 * shape[0] * shape[1]), _OF_LARGE, MOST_FRAMES))


def hot_pixel_units(stage: Stage, frames: Iterable[Frame]) -> list[Unit[HotPixelsPayload]]:
    """Return a unit for each instrument with ``hot_pixels = "auto"`` and enough frames.

    Parameters
    ----------
    stage : Stage
        The stage of the units.
    frames : iterable of Frame
        In the order of time.
    """
    frames, units = list(frames), []
    for instrument in sorted({f.instrument for f in frames}):
        if stage.toolbox.config_for(instrument).stamps.hot_pixels != "auto":
            continue
        own = [f for f in frames if f.instrument == instrument]
        shapes = [(f.height or 0, f.width or 0) for f in own]
        shape = max(set(shapes), key=shapes.count)
        alike = [f for f, its in zip(own, shapes, strict=True) if its == shape]
        if len(alike) < FEWEST_FRAMES:
            continue  # too few to distinguish hot pixels from stars: the map is made when there are more frames
        some = at_equal_steps(alike, most_frames(shape))
        chosen = tuple((f.image_relpath or "", f.sources_relpath or "") for f in some)
        # The frames are no component: a map remains unchanged when new frames are added.
        components = stage.components(hot_pixels="auto", instrument=instrument)
        payload = HotPixelsPayload(instrument, chosen)
        scope = Scope(instrument=instrument)
        units.append(Unit(HotPixelsKey(instrument), f"hot pixels of {instrument}", components, payload, scope=scope))
    return units


class FindHotPixels(Task[HotPixelsPayload, list[FrameOfSources], HotPixels]):
    """Makes the map of an instrument's hot pixels."""

    def load(self, unit: Unit[HotPixelsPayload]) -> list[FrameOfSources]:
        """Read the frames."""
        workdir = self.toolbox.workdir
        return [(*read_frame(workdir / i)[:2], read_table(workdir / s)) for i, s in unit.payload.frames]

    def frames_read(self, unit: Unit[HotPixelsPayload]) -> tuple[str, ...]:
        """Return the frames of the sample."""
        return tuple(image for image, _ in unit.payload.frames)

    def compute(self, values: list[FrameOfSources]) -> HotPixels:
        """Find the hot pixels."""
        return hot_pixel_map(values)

    def save(self, unit: Unit[HotPixelsPayload], values: list[FrameOfSources], result: HotPixels) -> Outcome:
        """Write the map."""
        from astropy.io import fits

        path = hot_pixels_path(unit.payload.instrument)
        with atomic(self.toolbox.workdir / path) as temporary:
            bad = fits.ImageHDU(result.bad.astype(np.uint8), name="BAD")
            fits.HDUList([fits.PrimaryHDU(result.excess), bad]).writeto(temporary)
        token = hashlib.sha256(result.excess.tobytes() + np.packbits(result.bad).tobytes()).hexdigest()
        summary = f"{int((result.excess != 0).sum())} hot pixels, {int(result.bad.sum())} bad"
        return Outcome(path=path, token=token, summary=summary)


def hot_pixels_identity(toolbox: Toolbox, instrument: str, found: str) -> str:
    """Return the component of stamps: `found`, the token of the map made here, or the digest of the user's map."""
    setting = toolbox.config_for(instrument).stamps.hot_pixels
    if setting in ("", "auto"):
        return found if setting else ""
    return file_digest(resolve_path(setting, toolbox.config.directory))


def read_hot_pixels(toolbox: Toolbox, instrument: str) -> HotPixels | None:
    """Return an instrument's map, made here or given by the user; None where there is none.

    Raises
    ------
    UnusableInput
        Where the user's map can't be read.
    DamagedProduct
        Where the map made here can't be read.
    """
    from astropy.io import fits

    setting = toolbox.config_for(instrument).stamps.hot_pixels
    if not setting:
        return None
    auto = setting == "auto"
    path = toolbox.workdir / hot_pixels_path(instrument) if auto else resolve_path(setting, toolbox.config.directory)
    if auto and not path.exists():
        return None
    try:
        with fits.open(path) as hdus:
            image = np.asarray(hdus[0].data)
            if auto:
                return HotPixels(image.astype(np.float32), np.asarray(hdus["BAD"].data) != 0)
            return HotPixels(np.zeros(image.shape, np.float32), image != 0)  # a user's map gives pixels to mask
    except (OSError, KeyError, TypeError, ValueError) as error:
        if not_read(error):
            raise
        if auto:
            raise DamagedProduct(path, f"it can't be read: {error}") from None
        raise UnusableInput(f"[stamps] hot_pixels = {setting!r} can't be read: {error}") from None
