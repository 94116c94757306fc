"""Imported frames that are not kept: removed once their stamps are cut, and made again where a stage reads them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from lcframework.config.toolbox import Toolbox
from lcframework.frames.exclusions import IMPORT
from lcframework.stages.read_convert_skysub_character_catalog import (
    Imported,
    ImportFrame,
    RawPayload,
    RawValues,
    ReadConvertSkysubCharacterCatalog,
    frame_header,
)
from lcframework.stages.stamp_extraction import StampExtraction
from lcframework.storage.frame_files import read_frame, read_wcs_header, with_wcs, write_frame
from lcframework.storage.product_files import forget_files
from lcframework.storage.queries import FrameRow
from lcframework.storage.tables import Frame
from lcframework.types import Floats, FrameFlag, Ints, NeedMissing
from lcframework.work import Ending, FrameKey, Ledger, Outcome, Task, Unit, UnitResult, work

log = logging.getLogger(__name__)

#: Runs batches of a task, and yields the results of each.
Results: TypeAlias = Callable[[Task[Any, Any, Any], Sequence[Sequence[Unit[Any]]]], Iterator[list[UnitResult]]]


@attrs.frozen
class RestorePayload:
    """A frame to import again: its file, and the WCS that plate solving wrote in its header, where it did."""

    raw: RawPayload
    image: str
    wcs: str


class RestoreFrame(Task[RestorePayload, RawValues, Imported]):
    """Makes the FITS of an imported frame again; the database has all else that the import found."""

    def load(self, unit: Unit[RestorePayload]) -> RawValues:
        """Read the raw file as the import does."""
        return self._importing.load(self._raw(unit))

    def compute(self, values: RawValues) -> Imported:
        """Import the frame."""
        return self._importing.compute(values)

    def save(self, unit: Unit[RestorePayload], values: RawValues, result: Imported) -> Outcome:
        """Write the frame, with the WCS that it had."""
        p, workdir = unit.payload, self.toolbox.workdir
        header = frame_header(result, p.raw.plan)
        if p.wcs:
            header = with_wcs(header, read_wcs_header(workdir / p.wcs))
        write_frame(workdir / p.image, result.image, result.mask, header)
        return Outcome()

    @property
    def _importing(self) -> ImportFrame:
        return ImportFrame(self.stage, self.toolbox)

    @staticmethod
    def _raw(unit: Unit[RestorePayload]) -> Unit[RawPayload]:
        return Unit(unit.key, unit.label, unit.components, unit.payload.raw, unit.frame_id)


class ImportedFrames:
    """The imported frames of a project, of which files may be missing that can be made again.

    Parameters
    ----------
    engine : sqlalchemy.engine.Engine
        The project's database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def restore(
        self,
        toolbox: Toolbox,
        task: Task[Any, Any, Any],
        units: Sequence[Unit[Any]],
        results: Results,
    ) -> tuple[list[Unit[Any]], list[str]]:
        """Make the imported frames again that units read, where these are not there.

        Returns
        -------
        units : list of Unit
            Those whose frames are there now.
        missing : list of str
            Why others are not.
        """
        read = {unit.key: task.frames_read(unit) for unit in units}
        gone = {path for paths in read.values() for path in paths if not os.path.exists(toolbox.workdir / path)}
        if not gone:
            return list(units), []
        why = self._make(toolbox, gone, results)
        usable = [unit for unit in units if not any(path in why for path in read[unit.key])]
        return usable, list(dict.fromkeys(why.values()))

    def pixels(self, toolbox: Toolbox, frame: FrameRow) -> tuple[Floats, Ints]:
        """Return the image and mask of an imported frame, also of one whose file is not there."""
        path = frame.image_relpath or ""
        if not (toolbox.workdir / path).exists():
            why = self._make(toolbox, {path}, _in_this_process)
            if why:
                raise NeedMissing(why[path])
        return read_frame(toolbox.workdir / path)[:2]

    def _make(self, toolbox: Toolbox, gone: set[str], results: Results) -> dict[str, str]:
        """Make frames again, and return by path why some can't be."""
        with Session(self._engine) as session:
            units, why = _restorable(session, toolbox, gone)
        log.info("%d imported frames are made again", len(units))
        for batch in results(RestoreFrame(IMPORT, toolbox), [[unit] for unit in units.values()]):
            for result in batch:
                if result.ending is not Ending.MADE:
                    path = next(path for path, unit in units.items() if unit.key == result.unit.key)
                    why[path] = _refusal(result)
                    log.warning("%s: %s", path, result.reason)
        return why

    def drop(self, toolbox: Toolbox) -> None:
        """Remove the files of frames whose stamps are cut, and of those that need none; unsolved ones may yet be."""
        names = ("id", "image_relpath", "plate_solved", "roi_in_footprint", "eliminated")
        with Session(self._engine) as session:
            ledger = Ledger.of(session)
            cut = {key.frame_id for key in ledger.made(StampExtraction.name, FrameKey)}
            query = sa.select(*(col(getattr(Frame, name)) for name in names))
            rows = session.execute(query.where(col(Frame.image_relpath).is_not(None))).all()
            gone = []
            for frame_id, path, solved, shows_region, eliminated in rows:
                if eliminated or frame_id in cut or (solved and not shows_region):
                    try:
                        (toolbox.workdir / path).unlink(missing_ok=True)
                    except OSError as error:
                        log.warning("the imported frame %s can't be removed: %s", path, error.strerror)
                    else:
                        gone.append(path)
            forget_files(session, gone)
            session.commit()


def _in_this_process(task: Task[Any, Any, Any], batches: Sequence[Sequence[Unit[Any]]]) -> Iterator[list[UnitResult]]:
    return (work(task, batch) for batch in batches)


def _restorable(
    session: Session, toolbox: Toolbox, gone: set[str]
) -> tuple[dict[str, Unit[RestorePayload]], dict[str, str]]:
    """Return by path a unit for each frame that can be made again as it was, and why others can't."""
    stage = ReadConvertSkysubCharacterCatalog()
    stage.toolbox = toolbox
    ledger = Ledger.of(session)
    imports: Mapping[Any, Unit[Any]] = {unit.key: unit for unit in stage.units(session, ledger.seen_by(IMPORT, ()))}
    units, why = {}, {}
    for frame in session.exec(select(Frame)):
        path, name, unit = frame.image_relpath or "", frame.original_image_path, imports.get(FrameKey(frame.id or 0))
        if path not in gone:
            continue
        if unit is None:
            why[path] = f"the imported frame {path} is not kept, and its raw file {name} is gone: put it back"
        elif not ledger.is_done(IMPORT, unit):
            why[path] = f"the imported frame {path} is not kept, and out of date: let the run begin with {IMPORT}"
        else:
            solved = frame.plate_solved and (frame.solver != "existing" or frame.flags & FrameFlag.WCS_REFINED)
            payload = RestorePayload(unit.payload, path, (frame.wcs_relpath or "") if solved else "")
            units[path] = attrs.evolve(unit, payload=payload)
    return units, why


def _refusal(result: UnitResult) -> str:
    reason = result.reason.split("\n")[0]
    return f"{result.unit.label}: the imported frame is not kept, and can't be made again from the raw file: {reason}"
