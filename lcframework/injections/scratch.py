"""A scratch copy of a project, in which the frames are imported again with sources drawn in them.

The database is copied, and files that stay as they are become links: to make a product again replaces the link, so the
project's own files are never written. WCSs, footprints, catalogue stars and zero points are those of the project.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col

from lcframework.config.project_file import config_of
from lcframework.config.toolbox import Toolbox, select
from lcframework.frames.masters import CombineMaster
from lcframework.injections.drawing import Drawing, DrawingPayload, ImportDrawn
from lcframework.injections.light import Injection
from lcframework.plugins import Plugins
from lcframework.project import Project
from lcframework.provenance import digest
from lcframework.running.chain import resolve, stage_names
from lcframework.running.imported_frames import ImportedFrames
from lcframework.settings.deciding import decide, open_settings, rules
from lcframework.sky.geometry import pixel_inside
from lcframework.stages import CHAIN
from lcframework.stages.model_calibrated_cutouts import ModelCalibratedCutouts
from lcframework.stages.prepare_calibrated_cutouts import PrepareCalibratedCutouts
from lcframework.stages.read_convert_skysub_character_catalog import ReadConvertSkysubCharacterCatalog
from lcframework.storage.connection import open_engine
from lcframework.storage.frame_files import read_wcs
from lcframework.storage.tables import CombinedFootprint, DecidedSetting, Frame, Product, ProductFile, RoiInFrame
from lcframework.types import LcfError
from lcframework.work import FrameKey, Ledger, MasterKey, Task, Unit, UnitKey

#: Stages whose products hold in the scratch project: nothing that is drawn changes them.
REUSED = (
    "initialize_database", "plate_solving", "calculate_common_and_total_footprint", "query_gaia_for_stars",
    "calculate_absolute_zeropoints",
)  # fmt: skip
#: Tables that start empty there.
_NOT_COPIED = ("runs", "plans", "doubts", "changes")
#: Folders whose files are made again there.
_REMADE = ("regions", "prepared_roi_cutouts", "plots", "report")
#: Rows of a table that are copied together.
_AT_ONCE = 2000


@attrs.define
class ImportWithSources(ReadConvertSkysubCharacterCatalog):
    """Imports the frames in which something is drawn, and no others."""

    reads: ClassVar[tuple[str, ...] | None] = None  # it is planned each time
    drawings: Mapping[int, Drawing] = attrs.field(init=False, repr=False, eq=False)  # by frame id

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return the task that makes master frames, and the task that draws and imports."""
        return {
            MasterKey: CombineMaster(self.name, self.toolbox),
            FrameKey: ImportDrawn(self.name, self.toolbox),
        }

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return the units of the frames in which something is drawn, and of the masters that they need."""
        out = []
        for unit in super().units(session, ledger):
            if unit.frame_id is None:
                out.append(unit)
            elif (drawing := self.drawings.get(unit.frame_id)) is not None:
                drawn = [drawing.seed, drawing.ra.tolist(), drawing.dec.tolist(), drawing.flux.tolist()]
                components = {**unit.components, "drawn": digest(drawn)}
                out.append(attrs.evolve(unit, components=components, payload=DrawingPayload(unit.payload, drawing)))
        return out


@attrs.frozen
class Copy:
    """What the scratch project is to be.

    Attributes
    ----------
    folder : Path
        Its workdir.
    roi, field : str
        The target, and the field of reference stars that it has.
    held_out : tuple of str
        Letters of the stars that take no part in the measuring.
    frames : tuple of int
        The frames in which something is drawn.
    """

    folder: Path
    roi: str
    field: str
    held_out: tuple[str, ...]
    frames: tuple[int, ...]


def make_scratch(project: Project, copy: Copy, drawn: Sequence[Injection], drawings: Mapping[int, Drawing]) -> Project:
    """Return a scratch project with a region for each injection; an earlier one in its folder is deleted.

    Parameters
    ----------
    project : Project
        The project, which has run to its end.
    copy : Copy
        What is copied, and where to.
    drawn : sequence of Injection
        The regions.
    drawings : mapping
        What is drawn in each frame, by its id.
    """
    shutil.rmtree(copy.folder, ignore_errors=True)
    copy.folder.mkdir(parents=True)
    engine = open_engine("", copy.folder)
    with project.session() as theirs, Session(engine) as session:
        _copy_tables(theirs, session)
        _link_files(theirs, project.workdir, copy.folder)
        _use_field(session, copy, [i.region for i in drawn])
        _place_regions(session, copy, drawn)
        session.commit()
    engine.dispose()
    return _opened(project, copy, drawn, drawings)


def _copy_tables(theirs: Session, session: Session) -> None:
    for table in SQLModel.metadata.sorted_tables:
        if table.name in _NOT_COPIED:
            continue
        for rows in theirs.execute(sa.select(table)).mappings().partitions(_AT_ONCE):
            session.execute(sa.insert(table), [dict(row) for row in rows])
    session.flush()


def _link_files(theirs: Session, workdir: Path, folder: Path) -> None:
    """Link the products that stay as they are, and those that are compared before they are made again."""
    products = (col(ProductFile.path), col(Product.path))
    paths = {p for column in products for (p,) in theirs.execute(sa.select(column)) if p}
    paths = {p for p in paths if p.split("/", 1)[0] not in _REMADE}
    paths |= {p for (p,) in theirs.execute(sa.select(col(Frame.wcs_relpath))) if p}
    imported = {
        p for row in theirs.execute(sa.select(col(Frame.image_relpath), col(Frame.sources_relpath))) for p in row
    }
    for path in sorted(paths - imported):
        source, link = workdir / path, folder / path
        if source.is_file() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            _link(source, link)


def _link(source: Path, link: Path) -> None:
    """Make a hard link; where the file system has none, or is another, a symbolic one, or else a copy."""
    for make in (os.link, os.symlink, shutil.copyfile):
        try:
            make(source, link)
            return
        except OSError:
            continue
    raise LcfError(f"{source} can be neither linked nor copied to {link}: is there room, and may it be written?")


def _use_field(session: Session, copy: Copy, names: Sequence[str]) -> None:
    """Let the target's field serve all regions; settings that frames decided stay as they are."""
    session.execute(sa.update(CombinedFootprint).values(active=False))
    session.execute(
        sa.update(CombinedFootprint)
        .where(col(CombinedFootprint.hash) == copy.field)
        .values(active=True, rois=[copy.roi, *names])
    )
    session.execute(sa.update(DecidedSetting).values(frozen=True))
    session.execute(sa.update(Frame).where(col(Frame.id).not_in(copy.frames)).values(roi_in_footprint=False))
    old = (PrepareCalibratedCutouts.name, ModelCalibratedCutouts.name)
    session.execute(sa.delete(Product).where(col(Product.stage).in_(old)))
    session.execute(sa.delete(ProductFile).where(col(ProductFile.stage).in_(old)))


def _place_regions(session: Session, copy: Copy, drawn: Sequence[Injection]) -> None:
    """Write the places of the regions in the frames; time and height above the horizon are those of the target."""
    own = session.execute(
        sa.select(SQLModel.metadata.tables["rois_in_frames"]).where(
            col(RoiInFrame.roi) == copy.roi, col(RoiInFrame.frame_id).in_(copy.frames)
        )
    ).mappings()
    targets = {row["frame_id"]: dict(row) for row in own}
    frames = session.execute(
        sa.select(col(Frame.id), col(Frame.wcs_relpath), col(Frame.height), col(Frame.width)).where(
            col(Frame.id).in_(copy.frames)
        )
    ).all()
    rows = []
    for frame_id, path, height, width in frames:
        wcs = read_wcs(copy.folder / path)
        for injection in drawn:
            ra, dec = centre_of(injection)
            pixel = pixel_inside(wcs, (height, width), ra, dec)
            x, y = pixel or (None, None)
            where = {"roi": injection.region, "roi_in_footprint": pixel is not None, "x": x, "y": y}
            rows.append({**targets[frame_id], **where})
    session.execute(sa.delete(RoiInFrame).where(sa.not_(col(RoiInFrame.frame_id).in_(copy.frames))))
    session.execute(sa.insert(SQLModel.metadata.tables["rois_in_frames"]), rows)


def centre_of(injection: Injection) -> tuple[float, float]:
    """Return the place of a region, degrees: the mean of its sources."""
    places = np.array([(s.ra, s.dec) for s in injection.sources])
    first = places[0]
    turns = np.round((places[:, 0] - first[0]) / 360.0)  # across the meridian of 0 degrees
    return float((places[:, 0] - 360.0 * turns).mean() % 360.0), float(places[:, 1].mean())


def _opened(project: Project, copy: Copy, drawn: Sequence[Injection], drawings: Mapping[int, Drawing]) -> Project:
    """Open the scratch project: the project's settings, with its regions, its workdir and its held-out stars."""
    own, settled = project.config, project.toolbox.config
    raw: dict[str, Any] = dict(own.raw)
    raw["project"] = {**raw.get("project", {}), "workdir": str(copy.folder), "database": ""}
    raw["frames"] = {**raw.get("frames", {}), "keep_imported": True}  # to be made again they would lack what is drawn
    regions = dict(raw["roi"])
    for injection in drawn:
        ra, dec = centre_of(injection)
        regions[injection.region] = {
            "ra": ra, "dec": dec, "exclusion_radius": settled.roi[copy.roi].exclusion_radius,
            "point_sources": {s.name: [s.ra, s.dec] for s in injection.sources},
        }  # fmt: skip
    raw["roi"] = regions
    _exclude(raw, copy.held_out)
    if special := raw.get("instrument"):
        raw["instrument"] = {name: dict(table) for name, table in special.items()}
        for table in raw["instrument"].values():
            _exclude(table, copy.held_out, only_there=True)
    toolbox = _tools(own.path, raw, project.plugins)
    every, _ = resolve(toolbox, project.plugins)
    documented = {cls.name for cls in CHAIN}
    stages = [s for s in every if s.name in documented and s.name not in REUSED]
    drawing = ImportWithSources()
    drawing.toolbox, drawing.drawings = toolbox, drawings
    stages[0] = drawing
    return Project(toolbox.config, toolbox, stages, project.plugins)


def _tools(path: Path, raw: dict[str, Any], plugins: Plugins) -> Toolbox:
    return select(config_of(path, "", raw, stage_names(plugins), open_settings(plugins)), plugins)


def decide_as_for_one_source(scratch: Project, region: str) -> None:
    """Have the rules of the last two stages decide anew, as for a project whose one region is a single source.

    What is left open in the project file was decided for the target: for a blend, such as that a galaxy may lie under
    it. Nobody measures a single star in that way.
    """
    plugins, config = scratch.plugins, scratch.config
    raw = {**config.raw, "roi": {region: config.raw["roi"][region]}}
    alone = _tools(config.path, raw, plugins)
    stages = (PrepareCalibratedCutouts.name, ModelCalibratedCutouts.name)
    names = [rule.name for rule in rules(plugins) if rule.instance.before in stages]
    engine = scratch.engine()
    with Session(engine) as session:
        session.execute(sa.delete(DecidedSetting).where(col(DecidedSetting.rule).in_(names)))
        for stage in stages:
            decide(stage, session, alone, plugins, ImportedFrames(engine).pixels)
        session.execute(sa.update(DecidedSetting).values(frozen=True))
        session.commit()
    engine.dispose()


def _exclude(table: dict[str, Any], letters: Collection[str], only_there: bool = False) -> None:
    """Exclude stars from the PSF and the photometry in tables of a project file."""
    for section in ("psf", "photometry"):
        there = table.get(section, {})
        if only_there and "exclude" not in there:
            continue
        table[section] = {**there, "exclude": [*there.get("exclude", []), *letters]}
