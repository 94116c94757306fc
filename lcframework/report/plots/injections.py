"""``injections/<roi>.png``: what came of drawn sources, by brightness and by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lcframework.report.plots import style
from lcframework.roi.injected import MILLIMAGNITUDES, InjectionOutcome, Limit, Summary


@style.styled
def draw(summary: Summary, roi: str) -> Figure:
    """Return the figure: bias, scatter beside stated errors, pulls and completeness by magnitude; limits by epoch."""
    made = style.figure(8.0, 6.4, f"Sources drawn in the frames of {roi}")
    boxes = [(0.75, 4.55), (4.75, 4.55), (0.75, 2.5), (4.75, 2.5), (0.75, 0.45), (4.75, 0.45)]
    bias, scatter, pull, found, epochs, seeing = (style.axes(made, *at, 3.1, 1.4) for at in boxes)
    for g, (instrument, band, own) in enumerate(summary.of_groups()):
        label = style.group_name(instrument, band)
        for twins in (False, True):
            rows = [o for o in own.by_brightness if o.twin == twins]
            _of_brightness((bias, scatter, pull, found), rows, g, label, twins)
        _of_epochs(epochs, seeing, own.limits, g)
    for ax, title in ((bias, "bias (mmag)"), (scatter, "scatter; line: stated (mmag)"), (pull, "pull"),
                      (found, "found with 5 sigma (%)"), (epochs, "limit of 5 sigma; line: stated (mag)"),
                      (seeing, "the same by seeing")):  # fmt: skip
        ax.set_title(title, pad=3)
        ax.grid(axis="y", lw=0.3, color="#d6d9de")
    bias.axhline(0, lw=0.8, color=style.GREY)
    bias.set_yscale("symlog", linthresh=20)
    scatter.set_yscale("log")
    pull.axhline(1, lw=0.8, color=style.GREY)
    for ax in (pull, found):
        ax.set_xlabel("magnitude")
    epochs.xaxis.set_major_locator(MaxNLocator(4))
    epochs.set_xlabel("MJD (UTC, mid-exposure)")
    seeing.set_xlabel("seeing (arcsec)")
    bias.legend(loc="best", handletextpad=0.2)
    return made


def _of_brightness(axes: tuple[Axes, ...], rows: list[InjectionOutcome], g: int, label: str, twins: bool) -> None:
    """Draw what came of singles or of twins, the latter hollow."""
    if not rows:
        return
    bias, scatter, pull, found = axes
    colour = style.COLOURS[g % 8]
    look = {"fmt": "s" if twins else "o", "ms": 4, "color": colour, "mfc": "white" if twins else colour, "lw": 0.9}
    mag = np.array([o.magnitude for o in rows])
    bias.errorbar(mag, _mmag([o.bias for o in rows]), _mmag([o.bias_error for o in rows]),
                  label=f"{label}{', twins' if twins else ''}", **look)  # type: ignore[arg-type]  # fmt: skip
    scatter.errorbar(mag, _mmag([o.scatter for o in rows]), **look)  # type: ignore[arg-type]
    if not twins:
        scatter.plot(mag, _mmag([o.stated for o in rows]), color=colour, lw=1.0)
    pull.errorbar(mag, [o.pull for o in rows], [o.pull_error for o in rows], **look)  # type: ignore[arg-type]
    found.errorbar(mag, [100 * o.complete for o in rows], **look)  # type: ignore[arg-type]


def _mmag(values: list[float]) -> np.ndarray:
    return np.asarray(np.array(values) * MILLIMAGNITUDES)


def _of_epochs(epochs: Axes, seeing: Axes, limits: Sequence[Limit], g: int) -> None:
    colour = style.COLOURS[g % 8]
    for ax, x in ((epochs, [v.mjd for v in limits]), (seeing, [v.seeing for v in limits])):
        order = np.argsort(x)
        ax.plot(np.array(x)[order], np.array([v.stated_magnitude for v in limits])[order], color=colour, lw=1.0)
        ax.plot(x, [v.magnitude for v in limits], style.MARKERS[g % 8], ms=3.2, color=colour)


def write_plot(summary: Summary, roi: str, table: Path) -> Path:
    """Write the figure beside the table of the epochs, and return its path."""
    path = table.with_name(f"{roi}.png")
    style.save(draw(summary, roi), path)
    return path
