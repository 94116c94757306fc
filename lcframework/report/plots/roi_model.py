"""``plots/ROI/<roi>_<instrument>_<band>.jpg``: the joint model of a region in its best, median and worst epochs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lcframework.report.plots import style
from lcframework.report.plots.mosaic import diverging, intensity, mosaic
from lcframework.report.plots.sky_marks import compass, name_sources
from lcframework.roi.cutout_files import FitFile, PreparedEpochs, read_cutouts, read_fit
from lcframework.types import Floats

_LIMIT = 5.0  # sigma


@attrs.frozen
class Payload:
    """The files of a fit, and the title."""

    title: str
    cutouts: str
    fit: str


def chosen_epochs(chi2: Floats) -> list[tuple[str, int]]:
    """Return the epochs of the least, the median and the greatest chi2; fewer where there are fewer epochs."""
    order = np.argsort(np.where(np.isfinite(chi2), chi2, np.inf), kind="stable")
    ranks = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1}
    out: list[tuple[str, int]] = []
    for label, rank in ranks.items():
        if len(order) and order[rank] not in [i for _, i in out]:
            out.append((label, int(order[rank])))
    return out


@style.styled
def draw(epochs: PreparedEpochs, content: FitFile, title: str) -> Figure:
    """Return the figure: epochs at the left; high-resolution images, loss and chi2 at the right."""
    picks = chosen_epochs(content.fit.reduced_chi2)
    cell = 1.45
    tall = 3 * cell
    made = style.figure(1.15 + 3 * cell + 0.55 + 2 * 2.1 + 0.35, tall + 0.72, title)
    ax = style.image_axes(made, 1.1, 0.2 + tall - len(picks) * cell, 3 * cell, len(picks) * cell)
    _epochs(ax, epochs, content, picks)
    left = 1.1 + 3 * cell + 0.5
    high = content.fit.high_resolution
    for i, (image, label, marked) in enumerate(
        ((high.model, "high-resolution model", True), (high.background, "background alone", False))
    ):
        ax = style.image_axes(made, left + i * 2.15, 0.2 + tall - 2.1, 2.05, 2.05)
        level = float(np.nanmax(np.abs(high.background))) / 30 if np.any(high.background) else 1e-3
        shown = intensity(image, max(level / 3, float(np.nanmax(high.model)) * 1e-5))
        ax.imshow(shown, origin="lower", interpolation="nearest")
        ax.set_title(label, pad=3)
        if marked:
            name_sources(ax, content.fit.offset, content.names, high.transform)
            compass(ax, high.transform, image.shape)
    below = tall - 2.1 - 0.55 - 0.2
    loss = style.axes(made, left + 0.3, 0.45, 1.6, below)
    style.convergence(loss, content.fit.loss_history)
    chi2 = style.axes(made, left + 2.15 + 0.3, 0.45, 1.75, below)
    chi2.plot(np.arange(len(content.fit.flux)), content.fit.reduced_chi2, "o", ms=2.5, color=style.COLOURS[0])
    chi2.axhline(1.0, color=style.COLOURS[1], lw=0.8)
    chi2.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    chi2.set_title("reduced χ² of each epoch", pad=3)
    chi2.set_xlabel("epoch, by time", labelpad=1)
    return made


def _epochs(ax: Axes, epochs: PreparedEpochs, content: FitFile, picks: list[tuple[str, int]]) -> None:
    c, fit = epochs.cutouts, content.fit
    rows = []
    for _, i in picks:
        mask = c.mask[i] | fit.outliers[i]
        noise = float(np.median(c.noise[i]))
        sigma = (c.data[i] - fit.model[i]) / c.noise[i]
        rows.append([intensity(c.data[i], noise, mask), intensity(fit.model[i], noise), diverging(sigma, _LIMIT, mask)])
    if not rows:
        return
    tiles = mosaic(rows)
    ax.imshow(tiles.image, interpolation="nearest", aspect="auto")
    for j, label in enumerate(("data", "model", f"residual, ± {_LIMIT:.0f} σ")):
        ax.text(tiles.column(j), -1.5, label, ha="center", va="bottom")
    for k, (label, i) in enumerate(picks):
        text = f"{label}\nχ² {fit.reduced_chi2[i]:.2f}\nseeing {c.seeing[i]:.2f}″\nMJD {c.mjd[i]:.2f}"
        ax.text(-1.5, tiles.row(k), text, ha="right", va="center", size=7.5)


def figures(workdir: Path, payload: Payload) -> Iterator[Figure]:
    """Read a fit and draw it."""
    yield draw(read_cutouts(workdir / payload.cutouts), read_fit(workdir / payload.fit), payload.title)
