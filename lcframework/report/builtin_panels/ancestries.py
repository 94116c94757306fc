"""Where each number of the light curves comes from, in a window that a click on a point opens."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable
from typing import Any

import attrs
from markupsafe import Markup

from lcframework.ancestry import Section
from lcframework.ancestry.facts import date_of
from lcframework.ancestry.tracing import every_frame
from lcframework.project import Project
from lcframework.report import html
from lcframework.report.results import Results
from lcframework.types import file_name

_TEXT = Markup(
    "A click on a point of a light curve shows where its number comes from: the raw file, what its header said, sky, "
    "WCS, stars, PSF, transparency, zero point, doubts, and the arithmetic of its error. For a file that has no point "
    "it says why. <code>lcf why {} {}FRAME</code> shows the same on a terminal, with <code>--full</code> every star, "
    "fingerprint and option."
)
_WINDOW = Markup(
    '<dialog id="ancestry" aria-labelledby="ancestry-title"><form method="dialog">'
    '<h2 id="ancestry-title">Where it comes from</h2>'
    '<div class="choice"><label>Source <select name="source"></select></label>'
    '<label>Frame <select name="frame"></select></label>'
    '<button type="button" name="earlier">Earlier</button><button type="button" name="later">Later</button>'
    '<button name="close">Close</button></div></form><div class="sections" tabindex="0" aria-live="polite"></div>'
    '</dialog><script type="text/plain" id="ancestry-data">{}</script>'
)


@attrs.frozen
class Ancestries:
    """A window with the ancestry of every number, and for every file without one the reason."""

    results: Results
    title: str = "Where a number comes from"

    def render(self, project: Project) -> str:
        """Return the panel; empty where there is no light curve."""
        if not self.results.light_curves:
            return ""
        several = len(project.config.roi) > 1
        names = ("REGION " if several else "") + "SOURCE "
        button = Markup('<p><button type="button" class="opens-ancestry">Look up a number</button></p>')
        text = html.paragraph(_TEXT.format(project.config.path.name, names))
        return text + button + _WINDOW.format(Markup(packed(self._content(project))))

    def _content(self, project: Project) -> dict[str, Any]:
        """Return what the page's script shows: titles, and the sections' lines by region, source and frame."""
        frames = sorted(self.results.frames.values(), key=lambda f: (f.mjd is None, f.mjd or 0.0, f.id or 0))
        in_curve = {roi: {int(i) for i in curve["frame_id"]} for roi, curve in self.results.light_curves.items()}
        shared: dict[str, dict[int, Any]] = {}
        own: dict[str, dict[str, dict[int, Any]]] = {}
        with project.session() as session:
            for found in every_frame(project, session, [f.id for f in frames if f.id is not None]):
                frame_id = int(found.frame.id)
                shared.setdefault(found.roi, {})[frame_id] = [_compact(found.before), _compact(found.after)]
                for source, sections in found.sources.items():
                    own.setdefault(found.roi, {}).setdefault(source, {})[frame_id] = _compact(sections)
        listed = [
            [f.id, f"{file_name(f.original_image_path)}{f', {date_of(f.mjd)[:16]}' if f.mjd is not None else ''}",
             [roi for roi in project.config.roi if f.id in in_curve.get(roi, ())]]
            for f in frames
        ]  # fmt: skip
        sources = [[roi, name] for roi, region in project.config.roi.items() for name in region.point_sources]
        return {"frames": listed, "sources": sources, "shared": shared, "own": own}


def packed(content: Any) -> str:
    """Return a value that JSON can hold as base64 of its gzip: epochs repeat one another, and shrink to a tenth."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return base64.b64encode(gzip.compress(text.encode("utf-8", "backslashreplace"), mtime=0)).decode("ascii")


def _compact(sections: Iterable[Section]) -> list[Any]:
    """Return sections as lists: title, and the lines as label, text and, where it is one, 1 for a problem."""
    return [
        [s.title, [[line.label, line.text, *([1] if line.problem else [])] for line in s.lines]]
        for s in sections
        if s.lines
    ]
