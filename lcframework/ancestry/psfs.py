"""The PSF of the frame, and how well it fits."""

from __future__ import annotations

from typing import Any

from lcframework.ancestry.facts import Line, Section, counted, figures, some
from lcframework.ancestry.makers import by_line, makers
from lcframework.ancestry.records import Records, Row
from lcframework.stages.psf_modeling import PsfModeling
from lcframework.types import FitState
from lcframework.work import FrameKey


def psf(records: Records, frame: Row, field: str) -> Section:
    """Return the PSF of a frame."""
    row = records.psfs.get((frame.id, field))
    if row is None:
        return Section("psf", "PSF", None)
    by = makers(records, records.product(PsfModeling.name, FrameKey(frame.id, field)), "psf", frame.instrument)
    stars = [name for name in row.stars.split(",") if name]
    data: dict[str, Any] = {
        "ref": row.psf_ref, "file": row.path, "chi2": row.chi2, "status": row.status, "evaluations": row.evaluations,
        "subsampling_factor": row.subsampling_factor, "stars": stars, "comment": row.comment,
        "plugin": [m.as_json() for m in by],
    }  # fmt: skip
    ended = f"{row.status} after {counted(row.evaluations, 'evaluation')}" if row.evaluations else row.status
    lines = [
        by_line(by),
        Line("fit", f"{ended}, reduced chi2 {figures(row.chi2, 3)}, of {counted(len(stars), 'star')}, "
             f"{row.subsampling_factor} small pixels a pixel", problem=row.status != FitState.CONVERGED.value),
    ]  # fmt: skip
    more = [Line("stars", ", ".join(stars)), Line("comment", row.comment), Line("file", row.path)]
    return Section("psf", "PSF", data, some(lines), some(more))
