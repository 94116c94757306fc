"""Plotly figures as plain dictionaries: rows of axes, points with errors, lines and histograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from lcframework.types import Bools, Floats

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")


def colour(index: int) -> str:
    """Return the placeholder of a series' colour in the theme."""
    return f"@c{index % 8}"


def points(
    x: Floats,
    y: Floats,
    *,
    error: Floats | None = None,
    error_below: Floats | None = None,
    name: str = "",
    series: int = 0,
    text: Sequence[str] | None = None,
    hollow: Sequence[bool] | Bools | None = None,
    row: int = 1,
    legend: bool = True,
    **options: Any,
) -> dict[str, Any]:
    """Return a trace of points.

    Parameters
    ----------
    x, y : arrays
        Coordinates of the points.
    error, error_below : arrays, optional
        Lengths of the error bars towards larger and smaller y; `error_below` is `error` where not given.
    name : str
        The name in the legend; traces with the same name are switched on and off together.
    series : int
        The index of the colour and symbol.
    text : sequence of str, optional
        Texts that are shown when the pointer is over a point.
    hollow : sequence of bool, optional
        Points that are drawn as outlines.
    row : int
        The index of the pair of axes, from 1.
    legend : bool
        Whether the legend has an entry for it.
    """
    symbol = SYMBOLS[series % len(SYMBOLS)]
    symbols: Any = symbol if hollow is None else [f"{symbol}-open" if h else symbol for h in hollow]
    trace: dict[str, Any] = {
        "type": "scatter", "mode": "markers", "x": x, "y": y, "name": name, "legendgroup": name,
        "showlegend": legend and bool(name), "marker": {"color": colour(series), "size": 7, "symbol": symbols},
        "xaxis": "x", "yaxis": "y" if row == 1 else f"y{row}",
    }  # fmt: skip
    if error is not None:
        bars = {"type": "data", "array": error, "color": colour(series), "thickness": 1.1, "width": 0}
        trace["error_y"] = bars | ({"symmetric": False, "arrayminus": error_below} if error_below is not None else {})
    if text is not None:
        trace |= {"text": list(text), "hovertemplate": "%{text}<extra></extra>"}
    return trace | options


def line(y: float, row: int = 1, dash: str = "dot") -> dict[str, Any]:
    """Return a horizontal line across a pair of axes, as a shape of the layout."""
    axis = "y" if row == 1 else f"y{row}"
    return {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": axis, "y0": y, "y1": y, "layer": "below",
        "line": {"color": "@muted", "width": 1, "dash": dash},
    }  # fmt: skip


@attrs.frozen
class Row:
    """One of several pairs of axes above each other: the title of its y axis, and Plotly's further settings."""

    title: str
    options: dict[str, Any] = attrs.field(factory=dict)


def rows_layout(rows: Sequence[Row], x_title: str, gap: float = 0.05, **options: Any) -> dict[str, Any]:
    """Return the layout of rows that share their x axis; the first is the uppermost."""
    layout: dict[str, Any] = {"showlegend": True}
    height = (1.0 - gap * (len(rows) - 1)) / len(rows)
    for i, row in enumerate(rows):
        top = 1.0 - i * (height + gap)
        key = "yaxis" if i == 0 else f"yaxis{i + 1}"
        layout[key] = {"domain": [max(0.0, top - height), top], "title": {"text": row.title}, "zeroline": False}
        layout[key] |= {"anchor": "x"} | row.options
    last = "y" if len(rows) == 1 else f"y{len(rows)}"
    layout["xaxis"] = {"title": {"text": x_title}, "anchor": last, "zeroline": False, "tickformat": "~f"}
    return layout | options


def histogram(values: Floats, low: float, high: float, bins: int) -> tuple[Floats, Floats, float]:
    """Return the bins' centres, the densities and the width; values outside are counted in the first and last bin."""
    edges = np.linspace(low, high, bins + 1)
    inside = np.clip(values[np.isfinite(values)], low, np.nextafter(high, low))
    counts, _ = np.histogram(inside, edges)
    width = float(edges[1] - edges[0])
    density = counts / max(1, counts.sum()) / width
    return (edges[:-1] + edges[1:]) / 2, density, width
