"""Figures of a region's stacks and of its colour picture, with north, east and a scale bar."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from matplotlib.figure import Figure

from lcframework.report.pictures.stacks import Stacks
from lcframework.report.plots import style
from lcframework.report.plots.mosaic import intensity
from lcframework.report.plots.sky_marks import compass, name_sources
from lcframework.types import Floats

_SIDE = 2.3
_TITLES = ("all light", "without point sources", "without background")


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
                name_sources(ax, row.offset, row.names, s.transform)
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
