"""The picture that opens the README: the demo's light curves, and the truth that the simulator knows."""

from __future__ import annotations

import numpy as np
from astropy.table import QTable
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from lcframework import Project
from lcframework.testing.campaign import read_truth

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b0437f")


def light_curves(project: Project) -> Image.Image:
    """Return the curves of all point sources in one chart; lines are the true ones, at the measured mean level."""
    roi = next(iter(project.config.roi))
    table = QTable.read(project.workdir / "prepared_roi_cutouts" / f"{roi}_photometry_per_epoch.ecsv")
    truth = read_truth(project.workdir)
    made = Figure((9.0, 4.0), dpi=100, facecolor="white")
    ax = made.add_axes((0.075, 0.13, 0.905, 0.78))
    for name, colour in zip(truth.targets, _COLOURS, strict=True):
        true = truth.fluxes[truth.fluxes["name"] == name]
        up, down = (np.array(table[f"{name}_d_mag_{d}"].value, float) for d in ("up", "down"))
        magnitude = np.array(table[f"{name}_mag"].value, float)
        there = np.isfinite(magnitude)  # the frames of the truth are the epochs, in the same order
        level = np.average((magnitude - true["mag"])[there], weights=(0.5 * (up + down))[there] ** -2)
        ax.plot(true["mjd"], true["mag"] + level, color=colour, lw=1.0, alpha=0.55)
        ax.errorbar(table["mjd"].value, magnitude, [up, down], fmt="o", ms=4, lw=1.0, color=colour)
        ax.annotate(name, (true["mjd"][-1], true["mag"][-1] + level), xytext=(9, 0), textcoords="offset points",
                    color=colour, weight="bold", va="center")  # fmt: skip
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", lw=0.4, color="#d6d9de")
    ax.set(xlabel="MJD (UTC, mid-exposure)", ylabel="r (AB mag)")
    ax.set_title("Four images of a simulated quasar, an arcsec apart: measured (points) and true (lines)",
                 loc="left", size=10.5)  # fmt: skip
    canvas = FigureCanvasAgg(made)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
