"""What is drawn on images of a region: the names of its point sources, north and east, and a scale bar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from lcframework.report.plots import style
from lcframework.types import Floats

_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)  # arcsec


def name_sources(ax: Axes, offset: Floats, names: Sequence[str], transform: Floats) -> None:
    """Write the names of point sources beside them, away from the others.

    Parameters
    ----------
    ax : Axes
        Of an image with y upwards.
    offset : (k, 2) array
        Where the sources are, arcsec east and north.
    names : sequence of str
        Of each.
    transform : (2, 3) array
        From sky offsets (east, north) in arcsec to pixels.
    """
    if not len(names):
        return
    places = offset @ transform[:, :2].T + transform[:, 2]
    outwards = places - places.mean(axis=0)
    for (x, y), (u, v), name in zip(places, outwards, names, strict=True):
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
