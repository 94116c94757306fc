"""The state of every file, and the inputs that could not be used."""

from __future__ import annotations

import attrs
from markupsafe import Markup

from lcframework.project import Project
from lcframework.report import html
from lcframework.report.builtin_panels.shared import fates, frame_flags, group_name, number
from lcframework.report.results import Results
from lcframework.stars.quality import KINDS
from lcframework.types import LcfError, file_name
from lcframework.work import FrameKey, ProductState


@attrs.frozen
class Frames:
    """A table of every file that was found."""

    results: Results
    title: str = "Every frame"

    def render(self, project: Project) -> str:
        """Return the panel."""
        r = self.results
        psf = {p.frame_id: p.chi2 for p in r.psfs}
        coefficient = {c.frame_id: c.coefficient for c in r.coefficients}
        rows = []
        for fate in fates(project, r):
            f = fate.frame
            kind = "measured" if fate.state == "measured" else "out"
            state = Markup('<span class="state-{}">{}</span>').format(kind, fate.state)
            rows.append((
                file_name(f.original_image_path), state,
                number(f.mjd, 5), group_name(f.instrument, f.band) if f.mjd else None,
                number(f.exptime, 1), number(f.seeing_arcseconds, 2), number(f.sky_level_electron_per_second, 2),
                number(psf.get(f.id or 0), 2), number(coefficient.get(f.id or 0), 4),
                "; ".join(t for t in (fate.why, frame_flags(f.flags)) if t),
            ))  # fmt: skip
        columns = ("file", "state", "MJD", "instrument, band", "exposure s", "seeing ″", "sky e⁻/s", "PSF χ²",
                   "coefficient", "comment")  # fmt: skip
        return html.table(columns, rows, f"{len(rows)} files", numeric=(2, 4, 5, 6, 7, 8), sortable=True)


@attrs.frozen
class Unusable:
    """Inputs that a stage could not use, with the reasons."""

    results: Results
    title: str = "What could not be used"

    def render(self, project: Project) -> str:
        """Return the panel."""
        rows = []
        try:
            present = {(stage, unit) for stage, unit, _ in project.status().unusable}
        except LcfError:  # what there is can't be told, for example because the raw folder is away
            present = None
        fields = {"", *(f.hash for f in self.results.fields)}
        for stage in project.stages:
            for unit, product in sorted(self.results.ledger.of_stage(stage.name).items()):
                key = FrameKey.parse(unit)
                if key is not None:
                    old = key.field not in fields
                else:
                    old = present is not None and (stage.name, unit) not in present
                if product.state == ProductState.UNUSABLE and not old:
                    frame = self.results.frames.get(key.frame_id) if key is not None else None
                    name = file_name(frame.original_image_path) if frame is not None else unit
                    rows.append((name, stage.title, product.reason))
        stars = sorted(
            {
                (s.name, row.comment)
                for row in self.results.levels
                if row.comment and (s := self.results.stars.get((row.combined_footprint_hash, row.gaia_id)))
            }
        )
        rows += [(f"star {name}", "Normalization", why) for name, why in stars]
        rows += self._stamps()
        if not rows:
            return html.paragraph("Every input could be used.")
        return html.table(("input", "stage", "reason"), rows, "Unusable inputs and their reasons")

    def _stamps(self) -> list[tuple[str, str, str]]:
        """Return the stars that were not used in some frames, with the reason and the number of frames."""
        rows = []
        for record in self.results.records.values():
            for kind, count in record.verdicts.items():
                stage = "Stamps" if kind in KINDS else "PSF models"
                why = KINDS.get(kind, "it does not look like the PSF's other stars")
                rows.append((f"star {record.name}", stage, f"{kind}: {why}, in {count} of {record.frames} frames"))
        return rows
