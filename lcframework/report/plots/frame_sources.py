"""``plots/sources/<name>.jpg``: a frame, and the sources that were found in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np

from lcframework.report.plots.canvas import COLOURS, Canvas, nice_ticks
from lcframework.storage.frame_files import read_frame, read_table
from lcframework.types import Floats

_LARGEST = 900  # pixels of the shown image's longer side


@attrs.frozen
class Payload:
    """The files of a frame, the title, and the regions to mark."""

    title: str
    image: str
    sources: str
    rms: float
    rois: tuple[tuple[str, float, float], ...]  # name, x, y in the frame
    roi_size: int


def draw(image: Floats, sources: tuple[Floats, Floats, Floats], payload: Payload) -> Canvas:
    """Return the picture.

    Parameters
    ----------
    image : (ny, nx) array
        e-/s.
    sources : three (n,) arrays
        x and y in pixels, and flags (0: clean).
    payload : Payload
        The title, the background's rms for the stretch, and the regions to mark.
    """
    x, y, flags = sources
    factor = max(1, -(-max(image.shape) // _LARGEST))
    small = _binned(image, factor)
    shown = np.arcsinh(small / np.float32(2.0 * payload.rms))
    grey = np.clip(255.0 - 42.5 * (shown + 1.5), 0, 255).astype(np.uint8)[::-1]
    width = 6.4
    height = width * small.shape[0] / small.shape[1]
    made = Canvas(width + 0.9, height + 0.85, payload.title)
    box = (0.55, 0.4, width, height)
    made.picture(np.repeat(grey[:, :, None], 3, axis=2), *box)
    limits = [(-0.5, factor * n - 0.5) for n in small.shape]
    axes = made.axes(box, limits[1], limits[0])
    clean = flags == 0
    made.rings(*axes.at(x[clean], y[clean]), 2.6, COLOURS[0])
    made.rings(*axes.at(x[~clean], y[~clean]), 2.6, COLOURS[1])
    keys = [(f"{clean.sum()} clean", COLOURS[0]), (f"{(~clean).sum()} flagged", COLOURS[1])]
    half = payload.roi_size / 2
    for name, rx, ry in payload.rois:
        outline = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) * half
        made.line(list(zip(*axes.at(rx + outline[:, 0], ry + outline[:, 1]), strict=True)), COLOURS[2], 1.4)
        u, v = axes.at(rx + half, ry + half)
        made.text(float(u) + 0.04, float(v) + 0.04, name, "ls", colour=COLOURS[2])
        keys.append((name, COLOURS[2]))
    for k, (label, colour) in enumerate(reversed(keys)):
        made.text(0.55 + width - 1.0 * k, 0.46 + height, label, "rs", 7.5, colour)
    for low_high, upright in ((limits[1], False), (limits[0], True)):
        ticks = nice_ticks(*low_high)
        axes.ticks(ticks, [f"{t:.0f}" for t in ticks], upright)
    made.text(0.55 + width / 2, 0.04, "x (pixels)", "md")
    made.text_upright(0.1, 0.4 + height / 2, "y (pixels)")
    return made


def _binned(image: Floats, factor: int) -> Floats:
    """Return the means of blocks of pixels."""
    ny, nx = (n // factor * factor for n in image.shape)
    total = sum(image[j:ny:factor, i:nx:factor] for j in range(factor) for i in range(factor))
    return np.asarray(total, np.float32) / np.float32(factor**2)


def figures(workdir: Path, payload: Payload) -> Iterator[Canvas]:
    """Read a frame and its sources, and draw them."""
    image, _, _ = read_frame(workdir / payload.image)
    table = read_table(workdir / payload.sources)
    x, y, flags = (np.asarray(table[c], float) for c in ("x", "y", "flags"))
    yield draw(image, (x, y, flags), payload)
