"""Gathers the ancestry of numbers: of one, or of all epochs of a region."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import attrs
from sqlmodel import Session

from lcframework.ancestry.absence import absence, absence_section
from lcframework.ancestry.calibrations import normalization, zero_point
from lcframework.ancestry.doubtful import decisions, doubts
from lcframework.ancestry.facts import Ancestry, Line, Section
from lcframework.ancestry.footprints import footprint
from lcframework.ancestry.headers import header
from lcframework.ancestry.images import sky, wcs
from lcframework.ancestry.numbers import number_section
from lcframework.ancestry.points import Asked
from lcframework.ancestry.products import Pending, chain, made_by
from lcframework.ancestry.psfs import psf
from lcframework.ancestry.raw_files import raw_file
from lcframework.ancestry.records import Row, read_records
from lcframework.ancestry.reduction import reduction
from lcframework.ancestry.reference_stars import reference_stars
from lcframework.ancestry.region_models import region_model
from lcframework.ancestry.surroundings import Surroundings
from lcframework.project import Project
from lcframework.types import LcfError

Sections = tuple[Section, ...]
#: The number of frames whose rows are in memory at once.
_AT_ONCE = 200


def trace(project: Project, asked: Asked) -> Ancestry:
    """Return the ancestry of one number; raw and calibration files are read whole, to see whether they changed.

    Parameters
    ----------
    project : Project
        The project; nothing of it is written.
    asked : Asked
        The number.

    Raises
    ------
    LcfError
        Where the frame is not there.
    """
    pending = _pending(project)
    with project.session() as session:
        tracer = Tracer(session, Surroundings(project, session), [asked.frame_id], contents=True)
        return tracer.ancestry(asked, pending)


def _pending(project: Project) -> Pending:
    """Return why units are pending, by stage and unit; None where it can't be told."""
    if project.absent:
        return None
    try:
        status = project.status()
    except LcfError:
        return None  # raw files are away, say: the sections of the ancestry tell
    return {(stage.name, unit.unit): unit.why for stage in status.stages for unit in stage.pending}


class Tracer:
    """Gathers sections about some frames.

    Parameters
    ----------
    session : Session
        One of :meth:`Project.session`, open while the tracer is used.
    around : Surroundings
        What all numbers of the project share.
    frame_ids : collection of int
        The frames that will be asked about.
    contents : bool
        Whether raw files are read whole, to see whether they changed; else where their size or time changed.
    """

    def __init__(
        self, session: Session, around: Surroundings, frame_ids: Collection[int], contents: bool = False
    ) -> None:
        self._records = read_records(session, frame_ids, around)
        self._contents = contents
        self._of_files: dict[int, Sections] = {}

    def ancestry(self, asked: Asked, pending: Pending = None) -> Ancestry:
        """Return the ancestry of one number.

        Raises
        ------
        LcfError
            Where the frame is not there.
        """
        answer, model = self.of_source(asked)
        before, after = self.of_frame(asked.frame_id, asked.roi, pending)
        if asked.how:
            answer = attrs.evolve(answer, lines=(Line("asked for", asked.how), *answer.lines))
        exists = answer.name == "number"
        other = Section("absence" if exists else "number", "", None)
        sections = (answer, *before, model, *after, other)
        key = self.frame(asked.frame_id).key
        return Ancestry(asked.roi, asked.source, asked.frame_id, key, exists, sections)

    def of_source(self, asked: Asked) -> tuple[Section, Section]:
        """Return the sections about a source in a frame: the number, or why there is none; and the region's model."""
        records, frame = self._records, self.frame(asked.frame_id)
        field = self._field(asked.roi)
        answer = number_section(records, frame, asked.roi, asked.source, field)
        if answer.data is None:
            answer = absence_section(absence(records, frame, asked.roi, asked.source, field), frame)
        return answer, region_model(records, frame, asked.roi, asked.source)

    def of_frame(self, frame_id: int, roi: str, pending: Pending = None) -> tuple[Sections, Sections]:
        """Return the sections about a frame and a region that all its sources share: before the model, and after."""
        records, frame, field = self._records, self.frame(frame_id), self._field(roi)
        units = chain(records, frame, roi, field)
        before = (
            *self._files(frame),
            sky(records, frame),
            wcs(records, frame),
            footprint(records, frame, roi),
            reference_stars(records, frame, field),
            psf(records, frame, field),
            normalization(records, frame, roi, field),
            zero_point(records, frame, field),
        )
        after = (
            decisions(records, frame, roi),
            doubts(records, frame, roi, units),
            made_by(records, frame, units, pending),
        )
        return before, after

    def _files(self, frame: Row) -> Sections:
        """Return the sections that read a frame's raw and calibration files, which all regions share: once a frame."""
        if frame.id not in self._of_files:
            raw = raw_file(self._records, frame, self._contents)
            self._of_files[frame.id] = (
                raw,
                header(self._records, frame, raw.data["state"], self._contents),
                reduction(self._records, frame, self._contents),
            )
        return self._of_files[frame.id]

    def frame(self, frame_id: int) -> Row:
        """Return the row of a frame; raises as :meth:`ancestry`."""
        if frame_id not in self._records.frames:
            raise LcfError(f"there is no frame {frame_id}; `lcf status` lists the files")
        return self._records.frames[frame_id]

    def _field(self, roi: str) -> str:
        field = self._records.field_of(roi)
        return field.hash if field is not None else ""


@attrs.frozen(eq=False)
class FrameAncestry:
    """The sections of a frame for a region: those that its sources share, and those of each source."""

    frame: Row
    roi: str
    before: Sections
    after: Sections
    sources: Mapping[str, tuple[Section, Section]]


def every_frame(project: Project, session: Session, frame_ids: Sequence[int]) -> Iterator[FrameAncestry]:
    """Yield the sections of frames for every region, a bounded number of frames in memory at once.

    Parameters
    ----------
    project : Project
        The project.
    session : Session
        One of :meth:`Project.session`.
    frame_ids : sequence of int
        The rows of ``frames``.
    """
    around = Surroundings(project, session)
    for start in range(0, len(frame_ids), _AT_ONCE):
        ids = frame_ids[start : start + _AT_ONCE]
        tracer = Tracer(session, around, ids)
        for frame_id in ids:
            for roi, region in project.config.roi.items():
                sources = {s: tracer.of_source(Asked(roi, s, frame_id)) for s in region.point_sources}
                yield FrameAncestry(tracer.frame(frame_id), roi, *tracer.of_frame(frame_id, roi), sources)
