"""Figures of a region's stacks and of its colour picture, with north, east and a scale bar."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lcframework.report.pictures.stacks import Stacks
from lcframework.report.plots import style
from lcframework.report.plots.mosaic import intensity
from lcframework.types import Floats

_SIDE = 2.3
_TITLES = ("all light", "without point sources", "without background")
_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)  # arcsec


@attrs.frozen(eq=False)
class Row:
    """The stacks of an instrument and band, and the point sources' places."""

    name: str
    epochs: int
    stacks: Stacks
    offset: Floats  # (k, 2) arcsec
    names: tuple[str, ...]


@style.styled
def draw(rows: Sequence[Row], title: str) -> Figure:
    """Return the figure: a row a group, all light, no point sources, no background."""
    made = style.figure(3 * _SIDE + 0.55, (_SIDE + 0.34) * len(rows) + 0.3, f"Stacks of {title}")
    for k, row in enumerate(rows):
        bottom = 0.1 + (_SIDE + 0.34) * (len(rows) - 1 - k)
        s = row.stacks
        for j, image in enumerate((s.everything, s.without_sources, s.without_background)):
            ax = style.image_axes(made, 0.1 + j * (_SIDE + 0.15), bottom, _SIDE, _SIDE)
            ax.imshow(intensity(image, s.noise), origin="lower", interpolation="nearest")
            more = f"{row.name}, {row.epochs} epochs: " if j == 0 else ""
            ax.set_title(more + _TITLES[j], pad=3)
            if j == 0:
                _sources(ax, row)
                compass(ax, s.transform, image.shape)
    return made


@style.styled
def draw_colour(image: Floats, stack: Stacks, title: str) -> Figure:
    """Return the figure of a colour picture (ny, nx, 3)."""
    side = 3.6
    made = style.figure(side + 0.2, side + 0.4, f"{title} in colour")
    ax = style.image_axes(made, 0.1, 0.1, side, side)
    ax.imshow(image, origin="lower", interpolation="nearest")
    compass(ax, stack.transform, image.shape[:2])
    return made


def _sources(ax: Axes, row: Row) -> None:
    places = row.offset @ row.stacks.transform[:, :2].T + row.stacks.transform[:, 2]
    outwards = places - places.mean(axis=0)
    for (x, y), (u, v), name in zip(places, outwards, row.names, strict=True):
        long = float(np.hypot(u, v))
        shift = (16 * u / long, 16 * v / long) if long > 0 else (12.0, 12.0)
        ax.annotate(
            name, (x, y), xytext=shift, textcoords="offset points", color="white", weight="bold", ha="center",
            va="center", arrowprops={"arrowstyle": "-", "color": "white", "lw": 0.6},
        )  # fmt: skip


def compass(ax: Axes, transform: Floats, shape: tuple[int, ...]) -> None:
    """Draw north and east, and a scale bar.

    Parameters
    ----------
    ax : Axes
        Of an image with y upwards.
    transform : (2, 3) array
        From sky offsets (east, north) in arcsec to pixels.
    shape : (ny, nx)
        Of the image.
    """
    ny, nx = shape
    scale = float(np.sqrt(abs(np.linalg.det(transform[:, :2]))))  # pixels an arcsec
    # Both arms point into the picture, wherever north is.
    arm = 0.09 * nx
    unit = transform[:, :2] / np.linalg.norm(transform[:, :2], axis=0)
    right, up = unit.sum(axis=1)
    corner = np.array([0.88 * nx - arm * max(0.0, right), 0.13 * ny + arm * max(0.0, -up)])
    for column, name in ((0, "E"), (1, "N")):
        tip = corner + arm * unit[:, column]
        ax.plot(*np.stack([corner, tip], axis=1), color="white", lw=1.0)
        text = corner + 1.45 * arm * unit[:, column]
        ax.text(text[0], text[1], name, color="white", size=7, ha="center", va="center")
    long, label = style.scale_bar(_SCALES, 0.3 * nx / scale)
    left, low = 0.05 * nx, 0.05 * ny
    ax.plot([left, left + long * scale], [low, low], color="white", lw=1.6, solid_capstyle="butt")
    ax.text(left + long * scale / 2, low + 0.015 * ny, label, color="white", size=7, ha="center", va="bottom")
    ax.set_xlim(-0.5, nx - 0.5)
    ax.set_ylim(-0.5, ny - 0.5)
