"""Plugins and their options, stages and their run times, and the runs."""

from __future__ import annotations

import json
import platform
from importlib import metadata

import attrs
from markupsafe import Markup

from lcframework import __version__, provenance
from lcframework.config.selections import seam_of, selecting_sections
from lcframework.project import Project
from lcframework.report import html
from lcframework.report.html import number
from lcframework.report.results import Results
from lcframework.settings.deciding import shown
from lcframework.types import redacted

_PACKAGES = ("numpy", "scipy", "astropy", "starred-astro", "jax", "sep", "astroscrappy", "h5py", "sqlmodel")


@attrs.frozen
class HowItWasMade:
    """Plugins with versions and options, stages with their cost, runs, software, and the project file."""

    results: Results
    title: str = "How it was made"

    def render(self, project: Project) -> str:
        """Return the panel."""
        runs = [r for r in self.results.runs if r.settings]
        settings = runs[-1].settings if runs else project.config.path.read_text(encoding="utf-8")
        return Markup("").join((
            self._settings(project), self._plugins(project), self._stages(project), self._runs(), self._software(),
            html.details("The project file, as of the last run", html.code(redacted(settings))),
        ))  # fmt: skip

    @staticmethod
    def _settings(project: Project) -> Markup:
        rows = [
            (
                s.setting, s.instrument or "all", shown(s.value), "; ".join(filter(None, (s.why, s.alternatives))),
                f"{s.frames}, frozen" if s.frozen else f"{s.frames} of {s.wanted}",
                "; ".join(filter(None, (s.doubt, s.disagreement))),
            )
            for s in project.settings()
            if s.by == "frames"
        ]  # fmt: skip
        columns = ("setting", "instrument", "value", "why", "frames", "doubts")
        return html.table(columns, rows, "What frames decided")

    @staticmethod
    def _plugins(project: Project) -> Markup:
        rows = []
        for section in selecting_sections(project.config):
            offers = project.plugins.offers(seam_of(section).hook)
            origins = {o.name: f"{o.plugin} of {o.origin}" for o in offers}
            common = project.toolbox.all(section)
            for instrument in project.toolbox.tools:
                tools = project.toolbox.all(section, instrument)
                if instrument and tools == common:
                    continue
                for tool in tools:
                    options = json.dumps(provenance.plain(tool.instance), ensure_ascii=False, default=str)
                    rows.append((
                        section, instrument or "all", tool.name, origins.get(tool.name, "–"),
                        str(tool.results_version), html.details("options", html.code(redacted(options))),
                    ))  # fmt: skip
        columns = ("section", "instrument", "plugin", "from", "results version", "options")
        return html.table(columns, rows, "Who did what")

    def _stages(self, project: Project) -> Markup:
        rows = []
        for stage in project.stages:
            products = list(self.results.ledger.of_stage(stage.name).values())
            made = [p for p in products if p.made]
            seconds = sum(p.seconds for p in products)
            rows.append((stage.title, stage.name, str(len(made)), str(len(products) - len(made)), number(seconds, 1)))
        columns = ("stage", "name", "units made", "not usable", "seconds of work")
        return html.table(columns, rows, "Stages", numeric=(2, 3, 4))

    def _runs(self) -> Markup:
        rows = [
            (
                str(r.id), r.started.strftime("%Y-%m-%d %H:%M"), r.version, r.outcome, r.stages, str(r.units_done),
                str(r.units_unusable), redacted(r.message),
            )
            for r in self.results.runs[::-1]
        ]  # fmt: skip
        columns = ("run", "started", "version", "outcome", "stages", "units", "not usable", "message")
        return html.table(columns, rows, "Runs, the latest first", numeric=(5, 6))

    @staticmethod
    def _software() -> Markup:
        rows = [("lcframework", __version__), ("Python", platform.python_version())]
        for name in _PACKAGES:
            try:
                rows.append((name, metadata.version(name)))
            except metadata.PackageNotFoundError:
                continue
        return html.table(
            ("software", "version"), rows, f"Software, when this report was written ({platform.system()})"
        )
