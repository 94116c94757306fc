"""``plots/light_curves/<roi>.png``: the light curves of a region's point sources, in magnitudes or fluxes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lcframework.report.plots import style
from lcframework.roi.light_curves import fill_texts
from lcframework.types import source_names


@attrs.frozen
class Payload:
    """Which light curve."""

    roi: str
    path: str  # of the .ecsv


@style.styled
def draw(table: Table, roi: str) -> Figure:
    """Return the figure: a strip a source, colours for instruments and bands."""
    names = source_names(table.colnames)
    in_magnitudes = bool(np.isfinite(np.asarray(table["zeropoint"], float)).any())
    unit = str(table.meta.get("magnitude_system", "") or "") if in_magnitudes else ""
    kind = f"mag ({unit})" if in_magnitudes and unit not in ("", "none") else ("mag" if in_magnitudes else "e⁻/s")
    strip = 1.25
    made = style.figure(8.0, strip * len(names) + 0.8, f"Light curves of {roi}")
    groups = sorted({*zip(map(str, table["instrument"]), map(str, table["band"]), strict=True)})
    for k, name in enumerate(names):
        ax = style.axes(made, 0.85, 0.45 + strip * (len(names) - 1 - k), 6.95, strip - 0.14)
        for g, (instrument, band) in enumerate(groups):
            of_group = table[(table["instrument"] == instrument) & (table["band"] == band)]
            _curve(ax, of_group, name, in_magnitudes, g, style.group_name(instrument, band))
        if in_magnitudes:
            ax.invert_yaxis()
        ax.set_ylabel(f"{name}   {kind}")
        ax.grid(axis="y", lw=0.3, color="#d6d9de")
        if k == 0:
            ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, handletextpad=0.2)
        if k < len(names) - 1:
            ax.tick_params(labelbottom=False)
        else:
            ax.set_xlabel("MJD (UTC, mid-exposure)")
    return made


def _curve(ax: Axes, table: Table, name: str, in_magnitudes: bool, g: int, label: str) -> None:
    mjd = np.asarray(table["mjd"], float)
    if in_magnitudes:
        y = np.asarray(table[f"{name}_mag"], float)
        up, down = (np.nan_to_num(np.asarray(table[f"{name}_d_mag_{d}"], float)) for d in ("up", "down"))
        error = np.stack([up, down])  # towards brighter is towards smaller magnitudes
    else:
        y = np.asarray(table[f"{name}_flux"], float)
        error = np.stack([np.asarray(table[f"{name}_d_flux"], float)] * 2)
    good = np.isfinite(y)
    ax.errorbar(
        mjd[good], y[good], error[:, good], fmt=style.MARKERS[g % 8], ms=3.2, lw=0.8, color=style.COLOURS[g % 8],
        label=label,
    )  # fmt: skip


def figures(workdir: Path, payload: Payload) -> Iterator[Figure]:
    """Read a light curve and draw it."""
    table = Table.read(workdir / payload.path, format="ascii.ecsv")
    fill_texts(table)
    yield draw(table, payload.roi)
