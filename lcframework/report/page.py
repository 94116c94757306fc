"""Writes the report: one HTML file that needs no other files."""

from __future__ import annotations

import datetime as dt
import logging
import re
from pathlib import Path
from typing import Any

import attrs
import jinja2
from markupsafe import Markup

from lcframework import __version__
from lcframework.plugins import Source, asked
from lcframework.project import Project
from lcframework.report import html
from lcframework.report.panels import Panel, builtin_panels
from lcframework.report.results import read_results
from lcframework.storage.files import atomic
from lcframework.types import LcfError

log = logging.getLogger(__name__)

FOLDER = "report"
FILE = "index.html"
_TEMPLATES = Path(__file__).parent / "templates"
#: In the order of the page.
_STYLES = ("report.css", "tools.css", "ancestries.css")
_SCRIPTS = ("pictures.js", "delays.js", "report.js", "ancestries.js")


@attrs.frozen
class Section:
    """A rendered panel."""

    id: str
    title: str
    content: Markup


def write_report(project: Project) -> Path:
    """Write ``workdir/report/index.html``.

    Built-in panels come first, then those of plugins. A panel that fails is replaced by a note.

    Parameters
    ----------
    project : Project
        The project; only its database and products are read.

    Returns
    -------
    Path
        The path of the page.

    Raises
    ------
    LcfError
        Where there is no database yet.
    """
    results = read_results(project)
    panels: list[Any] = [*builtin_panels(results), *_plugins_panels(project)]
    sections: list[Section] = []
    for panel in panels:
        section = _render(panel, project, len(sections))
        if section is not None:
            sections.append(section)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    text = environment.get_template("report.html").render(
        name=project.config.project.name,
        regions=", ".join(project.config.roi),
        sections=sections,
        version=__version__,
        written=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        css=Markup("\n").join(map(_template, _STYLES)),
        scripts=list(map(_template, _SCRIPTS)),
        plotly=_plotly(),
    )
    path = project.workdir / FOLDER / FILE
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return path


def _template(name: str) -> Markup:
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))


def _plotly() -> Markup:
    """Return plotly.js, escaped for the script element of the page."""
    from plotly.offline import get_plotlyjs

    return Markup(re.sub(r"</(?=script)", r"<\\/", get_plotlyjs(), flags=re.IGNORECASE))


def _plugins_panels(project: Project) -> list[Any]:
    made: list[Any] = []
    for offer in project.plugins.offers("lcf_report_panels"):
        try:
            made.append(_OfPlugin(offer.source, asked(offer.source, "__init__", offer.cls)))
        except LcfError as error:
            made.append(_Broken(offer.name, str(error)))
    return made


@attrs.frozen
class _OfPlugin:
    """A plugin's panel, which is asked by guarded calls."""

    source: Source
    panel: Any

    @property
    def title(self) -> str:
        return str(self.panel.title)

    def render(self, project: Project) -> str:
        return str(asked(self.source, "render", self.panel.render, project))


@attrs.frozen
class _Broken:
    """Replaces a panel of a plugin that can't be made."""

    title: str
    why: str

    def render(self, project: Project) -> str:
        return html.note(f"This panel can't be made: {self.why}", "problem")


def _render(panel: Panel, project: Project, index: int) -> Section | None:
    title = str(getattr(panel, "title", type(panel).__name__))
    try:
        content = str(panel.render(project))
    except Exception as error:  # an error in one panel must not stop the report
        log.warning("the panel %s failed", title, exc_info=True)
        what = str(error) if isinstance(error, LcfError) else f"{type(error).__name__}: {error}"
        content = str(html.note(f"This panel failed: {what}", "problem"))
    return Section(f"section-{index + 1}", title, Markup(content)) if content else None
