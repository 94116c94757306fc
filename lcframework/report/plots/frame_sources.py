"""``plots/sources/<name>.jpg``: a frame, and the sources that were found in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
from matplotlib.figure import Figure

from lcframework.report.plots import style
from lcframework.store import read_frame, read_table
from lcframework.types import Floats

_LARGEST = 900  # pixels of the shown image's longer side


@attrs.frozen
class Payload:
    """Which frame, and what its title says."""

    title: str
    image: str
    sources: str
    rms: float
    rois: tuple[tuple[str, float, float], ...]  # name, x, y in the frame
    roi_size: int


@style.styled
def draw(image: Floats, rms: float, sources: tuple[Floats, Floats, Floats], rois: Payload | None, title: str) -> Figure:
    """Return the figure.

    Parameters
    ----------
    image : (ny, nx) array
        e-/s.
    rms : float
        Of the background, e-/s.
    sources : three (n,) arrays
        x and y in pixels, and flags (0: clean).
    rois : Payload or None
        Whose regions to mark.
    title : str
        Above the image.
    """
    x, y, flags = sources
    ny, nx = image.shape
    factor = max(1, -(-max(nx, ny) // _LARGEST))
    small = image[: ny // factor * factor, : nx // factor * factor]
    small = small.reshape(ny // factor, factor, nx // factor, factor).mean(axis=(1, 3))
    shown = np.arcsinh(small / (2.0 * rms))
    width = 6.4
    height = width * ny / nx
    made = style.figure(width + 0.9, height + 0.85, title)
    ax = style.axes(made, 0.55, 0.4, width, height)
    extent = (-0.5, factor * small.shape[1] - 0.5, -0.5, factor * small.shape[0] - 0.5)
    ax.imshow(shown, cmap="Greys", origin="lower", extent=extent, vmin=-1.5, vmax=4.5, interpolation="nearest")
    clean = flags == 0
    for which, colour, label in (
        (clean, style.COLOURS[0], f"{clean.sum()} clean"),
        (~clean, style.COLOURS[1], f"{(~clean).sum()} flagged"),
    ):
        ax.scatter(x[which], y[which], s=26, facecolors="none", edgecolors=colour, linewidths=0.7, label=label)
    for name, rx, ry in rois.rois if rois else ():
        half = rois.roi_size / 2 if rois else 0
        box = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) * half
        ax.plot(rx + box[:, 0], ry + box[:, 1], color=style.COLOURS[2], lw=1.4, label=name)
        ax.annotate(name, (rx + half, ry + half), xytext=(3, 3), textcoords="offset points", color=style.COLOURS[2])
    ax.set_xlim(extent[0], extent[1])
    ax.set_ylim(extent[2], extent[3])
    ax.set_xlabel("x (pixels)")
    ax.set_ylabel("y (pixels)")
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, handletextpad=0.3, columnspacing=1.2)
    return made


def figures(workdir: Path, payload: Payload) -> Iterator[Figure]:
    """Read a frame and its sources, and draw them."""
    image, _, _ = read_frame(workdir / payload.image)
    table = read_table(workdir / payload.sources)
    sources = tuple(np.asarray(table[c], float) for c in ("x", "y", "flags"))
    yield draw(image, payload.rms, sources, payload, payload.title)  # type: ignore[arg-type]
