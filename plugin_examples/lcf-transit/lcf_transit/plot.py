"""The plot of a transit as it is published: what was measured, what is left without the baseline, and residuals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lcframework.types import Floats

if TYPE_CHECKING:
    from lcf_transit.results import Curves, Fitted

_BIN = 10 / 1440  # d
_GREY, _BLUE, _RED, _ORANGE = "0.65", "#1f4e9c", "#c0392b", "#d98c1f"


def draw(fitted: Fitted, curves: Curves, results: Mapping[str, Any], paths: Sequence[Path]) -> None:
    """Draw three panels: flux with model and baseline, flux without the baseline with bins, residuals with bins."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    series, (predicted, _) = fitted.problem.series, fitted.ephemeris.middle(fitted.number)
    hours = 24 * (series.time - predicted)
    figure = Figure(figsize=(6.4, 8.0), layout="constrained")
    FigureCanvasAgg(figure)
    raw, clean, rest = figure.subplots(3, sharex=True, height_ratios=(3, 3, 1.4))
    shown: dict[str, Any] = {"fmt": ".", "color": _GREY, "ms": 4, "lw": 0.7, "zorder": 1}
    raw.errorbar(hours, series.flux, series.error, **shown, label="measured")
    raw.plot(hours, curves.transit * curves.baseline, color=_RED, lw=1.5, label="transit × baseline", zorder=3)
    raw.plot(hours, curves.transit * curves.baseline + curves.red, color=_BLUE, lw=1, label="with correlated noise")
    raw.plot(hours, curves.baseline, color=_ORANGE, lw=1, ls="--", label="baseline")
    raw.set_ylabel("relative flux")
    raw.legend(fontsize="small", frameon=False, ncols=2)
    clean.errorbar(hours, curves.detrended, series.error / curves.baseline, **shown)
    clean.errorbar(*_binned(hours, curves.detrended), fmt="o", color=_BLUE, ms=5, zorder=3, label="means of 10 min")
    order = np.argsort(hours)
    clean.plot(hours[order], curves.transit[order], color=_RED, lw=1.5, zorder=2, label="transit")
    clean.set_ylabel("less baseline and\ncorrelated noise")
    clean.legend(fontsize="small", frameon=False)
    left = 1000 * (curves.residual + curves.red)
    rest.errorbar(hours, left, 1000 * series.error, **shown)
    rest.errorbar(*_binned(hours, left), fmt="o", color=_BLUE, ms=5, zorder=3)
    rest.axhline(0, color=_RED, lw=1)
    rest.set_ylabel("residual (ppt)")
    rest.set_xlabel(f"hours from the predicted middle, BJD$_{{TDB}}$ {predicted:.5f}")
    middle = results["mid_time_bjd_tdb"]["value"]
    for panel in (raw, clean, rest):
        panel.axvline(24 * (middle - predicted), color=_GREY, lw=0.7, ls=":")
    figure.suptitle(_title(fitted, results), fontsize="medium")
    for path in paths:
        figure.savefig(path, dpi=150)


def _title(fitted: Fitted, results: Mapping[str, Any]) -> str:
    def text(name: str, digits: int) -> str:
        found = results[name]
        return f"{found['value']:.{digits}f} ± {found['error']:.{digits}f}"

    terms = ", ".join(fitted.best.terms) or "a constant"
    return (
        f"{fitted.region} {fitted.source}, {fitted.band}, {fitted.instrument}\n"
        f"T$_{{mid}}$ = {text('mid_time_bjd_tdb', 5)}   O−C = {text('o_minus_c_minutes', 2)} min   "
        f"R$_p$/R$_*$ = {text('rp_rs', 4)}\nbaseline: {terms}; rms {1000 * results['residuals']['scatter']:.2f} ppt, "
        f"β = {results['residuals']['beta']:.2f}"
    )


def _binned(hours: Floats, values: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the means in bins, with the errors of the means by the scatter of all values about them."""
    bins = np.floor((hours - hours.min()) / (24 * _BIN)).astype(int)
    count = np.bincount(bins)
    full = count > 0
    means = np.bincount(bins, values)[full] / count[full]
    scatter = float(np.std(values - (np.bincount(bins, values) / np.maximum(count, 1))[bins]))
    return np.bincount(bins, hours)[full] / count[full], means, scatter / np.sqrt(count[full])
