"""``plots/normalization/<group>.jpg``: the coefficient of each frame, and the light curve of each reference star."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lcframework.report.plots import style
from lcframework.types import Bools, Floats, Ints


@attrs.frozen(eq=False)
class Payload:
    """Coefficients, and normalised star fluxes (1 for a constant star)."""

    title: str
    coefficient: Floats  # (f,) by time
    coefficient_error: Floats  # (f,)
    names: tuple[str, ...]
    flux: Floats  # (f, n)
    error: Floats  # (f, n)
    selected: Bools  # (f, n)


@style.styled
def draw(payload: Payload) -> Figure:
    """Return the figure; frames are in the order of time."""
    n = len(payload.names)
    strip, top = 0.52, 1.7
    made = style.figure(8.0, top + strip * n + 1.5, payload.title)
    frame = np.arange(len(payload.coefficient))
    below = style.axes(made, 0.75, 0.45, 6.1, strip * n)
    above = style.axes(made, 0.75, 0.45 + strip * n + 0.55, 6.1, top)
    above.errorbar(
        frame, payload.coefficient, payload.coefficient_error, fmt="o", ms=3.0, lw=0.8, color=style.COLOURS[0]
    )
    above.axhline(1.0, color=style.GREY, lw=0.6)
    above.set_title("coefficient (relative transparency)", pad=4)
    above.set_xticklabels([])
    _stars(below, payload, frame)
    for ax in (above, below):
        ax.set_xlim(-0.7, len(frame) - 0.3)
    return made


def _stars(ax: Axes, payload: Payload, frame: Ints) -> None:
    """Draw all curves in one pair of axes, a strip each: the strips' height is the same number of per cent."""
    percent = 100.0 * (payload.flux - 1.0)
    shown = np.where(payload.selected, percent, np.nan)
    finite = np.abs(shown[np.isfinite(shown)])
    half = max(0.1, float(np.quantile(finite, 0.99))) if finite.size else 1.0
    for k, name in enumerate(payload.names):
        y = -k + np.clip(percent[:, k] / (2 * half), -0.5, 0.5)
        error = 100.0 * payload.error[:, k] / (2 * half)
        good = payload.selected[:, k] & np.isfinite(y)
        ax.axhline(-k, color=style.GREY, lw=0.5)
        ax.errorbar(frame[good], y[good], error[good], fmt="o", ms=2.4, lw=0.7, color=style.COLOURS[k % 7])
        left = ~payload.selected[:, k] & np.isfinite(y)
        ax.plot(frame[left], y[left], "x", ms=3.5, color=style.GREY)
        of_star = shown[np.isfinite(shown[:, k]), k]
        rms = float(of_star.std()) if of_star.size else np.nan
        ax.text(1.01, -k, f"{name}   rms {rms:.2f} %", transform=ax.get_yaxis_transform(), va="center")
    ax.set_ylim(-len(payload.names) + 0.4, 0.6)
    ax.set_yticks(-np.arange(len(payload.names)), payload.names)
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.set_xlabel("frame, by time")
    ax.set_title(f"normalised fluxes of the reference stars; a strip is ± {half:.2g} %  (×: left out)", pad=4)


def figures(workdir: Path, payload: Payload) -> Iterator[Figure]:
    """Draw; everything is in the payload."""
    yield draw(payload)
