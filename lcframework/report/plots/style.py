"""What all plots share: figures without pyplot, colours, and how they are saved."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, cast

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from lcframework.report.plots import canvas
from lcframework.report.plots.canvas import Canvas, phases_of
from lcframework.storage.files import atomic
from lcframework.types import Floats

P = ParamSpec("P")

COLOURS, DPI = canvas.COLOURS, canvas.DPI
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
GREY = "#8a8f98"

_RC = {
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # fixed: the search for a free position would take as long as the rest of the axes
    "axes.labelsize": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5c6370",
    "axes.linewidth": 0.7,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.color": "#3b4048",
    "ytick.color": "#3b4048",
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "axes.formatter.useoffset": False,
    "path.simplify": True,
    "pdf.fonttype": 42,  # journals want fonts that can be edited
}


def looks() -> contextlib.AbstractContextManager[None]:
    """Apply our style to figures that are made and drawn inside; matplotlib's global settings are not changed."""
    return matplotlib.rc_context(cast(Any, _RC))


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorate a function so that its figure is drawn in our style."""

    @functools.wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with looks():
            return draw(*args, **kwargs)

    return wrapped


def figure(width: float, height: float, title: str = "") -> Figure:
    """Return an empty figure of a size in inches, with a title at its upper left."""
    made = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(made)
    if title:
        made.text(0.08 / width, 1 - 0.06 / height, title, ha="left", va="top", fontsize=9.5, fontweight="bold")
    return made


def axes(made: Figure, left: float, bottom: float, width: float, height: float, **options: Any) -> Axes:
    """Return axes at a position in inches from the figure's lower left corner."""
    w, h = made.get_size_inches()
    return made.add_axes((left / w, bottom / h, width / w, height / h), **options)


def image_axes(made: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Return axes without ticks and spines, for images."""
    made_axes = axes(made, left, bottom, width, height)
    made_axes.set_axis_off()
    return made_axes


def save(made: Figure | Canvas, path: Path) -> None:
    """Write a figure atomically; the suffix of the path gives the format."""
    kind = path.suffix.lstrip(".")
    if isinstance(made, Canvas):
        with atomic(path, durable=False) as temporary:
            made.save(temporary, kind)
        return
    options: dict[str, Any] = {"pil_kwargs": {"quality": 88}} if kind in ("jpg", "jpeg") else {}
    with atomic(path, durable=False) as temporary, looks():
        made.savefig(temporary, format=kind, **options)


def convergence(ax: Axes, loss: Floats) -> None:
    """Draw how a fit converged: the loss above where each of its phases ended."""
    ax.set_title("loss above its phase's end", pad=3)
    ax.set_xlabel("iteration", labelpad=1)
    ax.tick_params(length=2, pad=2)
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    for k, (steps, excess) in enumerate(phases_of(loss)):
        ax.set_yscale("log")
        ax.yaxis.set_minor_locator(NullLocator())
        ax.plot(steps, excess, color=COLOURS[k % 2], lw=1.2)


def scale_bar(lengths: Sequence[float], most: float) -> tuple[float, str]:
    """Return the longest of some lengths (arcsec, rising) that is not above `most`, else the first, and its text."""
    long = next((s for s in reversed(lengths) if s <= most), lengths[0])
    return long, f"{long:g}″" if long < 60 else f"{long / 60:g}′"


def group_name(instrument: str, band: str) -> str:
    """Return the name of an instrument and band for titles."""
    return " ".join(part for part in (instrument, band) if part) or "all frames"
