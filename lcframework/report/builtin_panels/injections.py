"""What came of sources that ``lcf inject`` drew in the frames, beside the stated errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from markupsafe import Markup

from lcframework.project import Project
from lcframework.report import html
from lcframework.report.builtin_panels.shared import group_name, number
from lcframework.report.charts import Row, line, points, rows_layout
from lcframework.report.results import Results
from lcframework.roi.injected import (
    FOLDER,
    MILLIMAGNITUDES,
    InjectionOutcome,
    Summary,
    injection_doubts,
    read_injected,
    results_path,
    summarise,
)
from lcframework.running.injection_doubts import present_light_curve


@attrs.frozen
class Injections:
    """For each region: bias, scatter and pulls by brightness and seeing, and the limit of each epoch."""

    results: Results
    title: str = "Are the errors true? Sources drawn in the frames"

    def render(self, project: Project) -> str:
        """Return the panel; empty where nothing was drawn yet."""
        out = Markup("")
        for roi in project.config.roi:
            table = read_injected(project.workdir, roi)
            if table is None:
                continue
            with project.session() as session:
                present = present_light_curve(session, roi) == table.meta.get("light_curve")
            out += self._region(project, roi, summarise(table), present)
        return out

    def _region(self, project: Project, roi: str, summary: Summary, present: bool) -> Markup:
        out = Markup("<h3>{}</h3>").format(roi) if len(project.config.roi) > 1 else Markup("")
        if not present:
            out += html.note(
                "These were drawn before the present light curve was made; `lcf inject` draws them again.", "problem"
            )
        doubts = list(injection_doubts(roi, summary))
        for doubt in doubts:
            out += html.note(f"{doubt.text[0].upper()}{doubt.text[1:]}.", "problem")
        if not doubts:
            out += html.note("Nothing of what came of the drawn sources speaks against the stated errors.")
        caption = Markup(
            "Points: what came of drawn sources (outlined: twins of the target, as bright and as blended); lines: what "
            'the errors of light curves state. <a href="../{0}/{1}">All sources and epochs</a>.'
        ).format(FOLDER, results_path(project.workdir, roi).name)
        charts = [("By brightness", self._by_brightness(summary))]
        if summary.limits:
            charts.append(("Limit of each epoch", self._limits(summary)))
        label = f"Bias, scatter and pull of sources drawn in the frames of {roi}"
        return out + html.switched_charts(charts, label, caption, 620) + self._table(roi, summary)

    def _by_brightness(self, summary: Summary) -> dict[str, Any]:
        traces = []
        for g, (instrument, band, group) in enumerate(summary.of_groups()):
            own = group.by_brightness
            name, mag = group_name(instrument, band), np.array([o.magnitude for o in own])
            text = [_hover(o) for o in own]
            hollow = [o.twin for o in own]
            for row, values, errors in (
                (1, _mmag(own, "bias"), _mmag(own, "bias_error")),
                (2, _mmag(own, "scatter"), None),
                (3, np.array([o.pull for o in own]), np.array([o.pull_error for o in own])),
                (4, np.array([100 * o.complete for o in own]), None),
            ):
                traces.append(points(mag, values, error=errors, name=name, series=g, text=text, hollow=hollow, row=row,
                                     legend=row == 1))  # fmt: skip
            singles = [o for o in own if not o.twin]
            traces.append(_line([o.magnitude for o in singles], _mmag(singles, "stated"), g, 2))
        rows = [Row("bias (mmag)"), Row("scatter (mmag)", {"type": "log"}), Row("pull"), Row("found (%)")]
        layout = rows_layout(rows, "magnitude")
        layout["shapes"] = [line(0.0), line(1.0, 3)]
        return {"data": traces, "layout": layout}

    def _limits(self, summary: Summary) -> dict[str, Any]:
        traces = []
        for g, (instrument, band, group) in enumerate(summary.of_groups()):
            own = sorted(group.limits, key=lambda v: v.mjd)
            if not own:
                continue
            mjd, name = np.array([v.mjd for v in own]), group_name(instrument, band)
            text = [
                f"<b>{self._key(v.frame_id)}</b><br>{number(v.magnitude, 2)} mag by {v.sources} faint sources<br>"
                f"{number(v.stated_magnitude, 2)} mag as errors state it<br>seeing {number(v.seeing, 2)}″"
                for v in own
            ]
            found = np.array([v.magnitude for v in own])
            traces.append(points(mjd, found, name=name, series=g, text=text))
            traces.append(_line(mjd, np.array([v.stated_magnitude for v in own]), g, 1))
        layout = rows_layout([Row("limit of 5 σ (mag)", {"autorange": "reversed"})], "MJD (UTC, mid-exposure)")
        return {"data": traces, "layout": layout}

    def _key(self, frame_id: int) -> str:
        frame = self.results.frames.get(frame_id)
        return frame.key if frame is not None else str(frame_id)

    def _table(self, roi: str, summary: Summary) -> Markup:
        rows = []
        for o in (*summary.by_brightness, *summary.by_seeing):
            rows.append((
                _name(o), group_name(o.instrument, o.band), number(o.magnitude, 2), str(o.sources), str(o.epochs),
                f"{number(o.bias * MILLIMAGNITUDES, 1)} ± {number(o.bias_error * MILLIMAGNITUDES, 1)}",
                number(o.scatter * MILLIMAGNITUDES, 1), number(o.stated * MILLIMAGNITUDES, 1),
                f"{number(o.pull, 2)} ± {number(o.pull_error, 2)}", number(o.pull_epochs, 2), number(o.pull_fit, 2),
                number(100 * o.complete, 0), number(100 * o.lost, 0),
            ))  # fmt: skip
        columns = ("what", "instrument, band", "mag", "sources", "epochs", "bias mmag", "scatter mmag", "stated mmag",
                   "pull", "of epochs", "of the fit", "found %", "lost %")  # fmt: skip
        caption = f"{roi}: what came of drawn sources; the pull is 1 where errors are true"
        return html.table(columns, rows, caption, numeric=range(2, 13))


def _name(o: InjectionOutcome) -> str:
    return "single" if o.level.isdigit() else o.level


def _mmag(outcomes: Sequence[InjectionOutcome], name: str) -> np.ndarray:
    return np.asarray(np.array([getattr(o, name) for o in outcomes]) * MILLIMAGNITUDES)


def _line(x: Any, y: Any, series: int, row: int) -> dict[str, Any]:
    """Return a line without markers, of what is stated."""
    trace = points(np.asarray(x), np.asarray(y), name="stated", series=series, row=row, legend=False)
    return trace | {"mode": "lines", "line": {"width": 1.2}}


def _hover(o: InjectionOutcome) -> str:
    lines = [
        f"<b>{_name(o)}</b>, {number(o.magnitude, 2)} mag",
        f"bias {number(o.bias * MILLIMAGNITUDES, 1)} ± {number(o.bias_error * MILLIMAGNITUDES, 1)} mmag",
        f"scatter {number(o.scatter * MILLIMAGNITUDES, 1)}, stated {number(o.stated * MILLIMAGNITUDES, 1)} mmag",
        f"pull {number(o.pull, 2)} ± {number(o.pull_error, 2)}, of epochs about their mean {number(o.pull_epochs, 2)}",
        f"{o.sources} sources, {o.epochs} epochs",
    ]
    return "<br>".join(lines)
