"""Pieces of HTML for panels: charts, tables, images, notes. Everything that is not marked as HTML is escaped.

A chart is a Plotly figure as a plain dictionary (``{"data": [...], "layout": {...}}``). Colours ``"@c0"`` to ``"@c7"``,
``"@ink"``, ``"@muted"`` and ``"@grid"`` are replaced by those of the reader's light or dark theme when it is drawn.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from lcframework.report.plots.style import looks

Chart = Mapping[str, Any]


def plain(value: Any) -> Any:
    """Return a value that JSON can hold: arrays as lists, nan and infinities as None, numbers to 11 digits."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        # Eleven digits: a time in MJD keeps its milliseconds.
        return float(f"{float(value):.11g}") if np.isfinite(value) else None
    return value if value is None or isinstance(value, str) else str(value)


def embedded(value: Any) -> Markup:
    """Return a value as JSON for a script element of the page."""
    text = json.dumps(plain(value), separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def chart(figure: Chart, label: str, caption: str | Markup = "", height: int = 360) -> Markup:
    """Return a chart.

    Parameters
    ----------
    figure : mapping
        Plotly's `data` and `layout`.
    label : str
        A description of the chart, for screen readers.
    caption : str
        The text below the chart.
    height : int
        The height in CSS pixels.
    """
    return captioned(_plot(figure, label, height), caption)


def switched_charts(
    charts: Sequence[tuple[str, Chart]], label: str, caption: str | Markup = "", height: int = 360
) -> Markup:
    """Return several charts of which one is visible, with a button for each: (text of the button, figure)."""
    if len(charts) == 1:
        return chart(charts[0][1], label, caption, height)
    buttons = Markup("").join(
        Markup('<button type="button" aria-pressed="{}">{}</button>').format("true" if i == 0 else "false", name)
        for i, (name, _) in enumerate(charts)
    )
    views = Markup("").join(
        Markup('<div class="view"{}>{}</div>').format(Markup(" hidden") if i else "", _plot(f, f"{label}: {n}", height))
        for i, (n, f) in enumerate(charts)
    )
    switch = Markup('<div class="switch" role="group" aria-label="What to show">{}</div>').format(buttons)
    return captioned(Markup('<div class="switched">{}{}</div>').format(switch, views), caption)


def _plot(figure: Chart, label: str, height: int) -> Markup:
    return Markup(
        '<div class="plot" role="img" aria-label="{}" style="height:{}px"></div>'
        '<script type="application/json" class="figure">{}</script>'
    ).format(label, height, embedded(figure))


def captioned(content: Markup, caption: str | Markup) -> Markup:
    """Return content in a frame, with a text below it where there is one."""
    below = Markup("<figcaption>{}</figcaption>").format(caption) if caption else ""
    return Markup("<figure>{}{}</figure>").format(content, below)


def image(figure: Figure, alt: str, caption: str | Markup = "", dpi: int = 120) -> Markup:
    """Return a matplotlib figure as an embedded PNG."""
    stream = io.BytesIO()
    with looks():
        figure.savefig(stream, format="png", dpi=dpi)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    tag = Markup('<img class="plate" alt="{}" src="data:image/png;base64,{}">').format(alt, Markup(data))
    return captioned(tag, caption)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    caption: str,
    *,
    numeric: Sequence[int] = (),
    sortable: bool = False,
    classes: str = "",
) -> Markup:
    """Return a table; the first cell of a row is its header.

    Parameters
    ----------
    columns : sequence of str
        Names of the columns.
    rows : iterable of sequences
        Cells: text, HTML as Markup, or None.
    caption : str
        A description of the table.
    numeric : sequence of int
        Columns whose cells are aligned as numbers.
    sortable : bool
        Whether the reader can sort and search the table.
    classes : str
        CSS classes.
    """
    kinds = [' class="number"' if i in numeric else "" for i in range(len(columns))]
    head = Markup("").join(
        Markup('<th scope="col"{}>{}</th>').format(
            Markup(kinds[i]), Markup('<button type="button">{}</button>').format(c) if sortable else c
        )
        for i, c in enumerate(columns)
    )
    body = Markup("").join(_row(row, kinds) for row in rows)
    mark = f"{classes} sortable".strip() if sortable else classes
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{}"><table class="{}">'
        "<caption><span>{}</span></caption><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(caption, mark, caption, head, body)


def _row(cells: Sequence[Any], kinds: Sequence[str]) -> Markup:
    out = Markup("")
    for i, cell in enumerate(cells):
        text = "–" if cell is None or cell == "" else cell
        tag = 'th scope="row"' if i == 0 else "td"
        out += Markup("<{}{}>{}</{}>").format(Markup(tag), Markup(kinds[i]), text, Markup(tag.split()[0]))
    return Markup("<tr>{}</tr>").format(out)


def details(summary: str, content: Markup) -> Markup:
    """Return content that is hidden until the reader opens it."""
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, content)


def paragraph(text: str | Markup) -> Markup:
    """Return a paragraph."""
    return Markup("<p>{}</p>").format(text)


def note(text: str | Markup, kind: str = "note") -> Markup:
    """Return a highlighted remark; `kind` is note or problem."""
    return Markup('<p class="{}">{}</p>').format(kind, text)


def code(text: str) -> Markup:
    """Return preformatted text."""
    return Markup("<pre>{}</pre>").format(escape(text))


def number(value: float | None, digits: int = 3, unit: str = "") -> str:
    """Return a number with a fixed count of decimals, or a dash."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:.{digits}f}{unit}".replace("-", "−")
