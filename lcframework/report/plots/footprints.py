"""``plots/footprints.jpg`` and ``footprints_with_gaia_stars.jpg``: what the frames cover, and where the stars are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon

from lcframework.report.plots import style
from lcframework.types import Floats


@attrs.frozen(eq=False)
class Stars:
    """Reference stars: offsets, magnitudes, letters, and whether photometry uses them."""

    xy: Floats  # (n, 2) arcmin
    magnitude: Floats
    names: tuple[str, ...]
    used: tuple[bool, ...]


@attrs.frozen(eq=False)
class Payload:
    """Polygons on the plane tangent at the first region, arcmin towards east and north."""

    outlines: tuple[Floats, ...]
    common: Floats  # (k, 2)
    rois: tuple[tuple[str, float, float], ...]  # those that move in the middle of their tracks
    disks: tuple[tuple[float, float, float], ...]  # x, y, radius of star fields
    tracks: tuple[Floats, ...] = ()  # (k, 2): the places of a region that moves, in the order of time
    stars: Stars | None = None


@style.styled
def draw(payload: Payload) -> Figure:
    """Return the figure."""
    made = style.figure(7.4, 7.2, "Footprints" + (" and reference stars" if payload.stars else ""))
    ax = style.axes(made, 0.65, 0.5, 6.55, 6.3)
    alpha = float(np.clip(6.0 / max(len(payload.outlines), 1), 0.06, 0.6))
    closed = [np.concatenate([o, o[:1]]) for o in payload.outlines]
    ax.add_collection(LineCollection(closed, colors=style.COLOURS[0], linewidths=0.8, alpha=alpha))
    if len(payload.common):
        ax.add_patch(Polygon(payload.common, facecolor=style.COLOURS[0], edgecolor=style.COLOURS[0], alpha=0.09))
    for x, y, radius in payload.disks:
        ax.add_patch(Circle((x, y), radius, fill=False, edgecolor=style.COLOURS[2], linestyle="--", linewidth=1.0))
    if payload.stars is not None:
        _stars(ax, payload.stars)
    for track in payload.tracks:
        ax.plot(track[:, 0], track[:, 1], color=style.COLOURS[1], linewidth=1.0)
    for name, x, y in payload.rois:
        ax.plot(x, y, marker="+", markersize=13, markeredgewidth=1.6, color=style.COLOURS[1], linestyle="none")
        ax.annotate(name, (x, y), xytext=(7, 7), textcoords="offset points", color=style.COLOURS[1], weight="bold")
    ax.set_aspect("equal")
    ax.autoscale_view()
    ax.invert_xaxis()
    ax.set_xlabel("east (arcmin)")
    ax.set_ylabel("north (arcmin)")
    note = f"{len(payload.outlines)} frames; shaded: what all of them cover"
    ax.set_title(note + ("; dashed: field of the reference stars" if payload.disks else ""), color=style.GREY)
    return made


def _stars(ax: Axes, stars: Stars) -> None:
    size = 10.0 + 60.0 * np.clip((np.nanmax(stars.magnitude) - stars.magnitude) / 4.0, 0, 1.5)
    used = np.array(stars.used, bool)
    for which, colour, label in ((used, style.COLOURS[0], "measured"), (~used, style.GREY, "not measured")):
        if which.any():
            face = colour if label == "measured" else "none"
            ax.scatter(
                stars.xy[which, 0],
                stars.xy[which, 1],
                s=size[which],
                facecolors=face,
                edgecolors=colour,
                label=label,
                zorder=3,
            )
    for (x, y), name in zip(stars.xy, stars.names, strict=True):
        ax.annotate(name, (x, y), xytext=(5, 3), textcoords="offset points", fontsize=8)
    ax.legend(loc="upper right", title="reference stars", title_fontsize=7.5)


def figures(workdir: Path, payload: Payload) -> Iterator[Figure]:
    """Draw; everything is in the payload."""
    yield draw(payload)
