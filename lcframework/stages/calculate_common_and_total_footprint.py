"""``calculate_common_and_total_footprint``: footprints of frames, the regions in them, and the fields of stars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np
from sqlmodel import Session, col, select

from lcframework.config.project_file import Config
from lcframework.provenance import Components, Shared, describe, digest, plain
from lcframework.sky import geometry
from lcframework.sky.footprints import Combined, StarField, area, combine, disk
from lcframework.stages.plate_solving import PlateSolving
from lcframework.stages.read_convert_skysub_character_catalog import observing_site
from lcframework.storage.frame_files import read_wcs
from lcframework.storage.queries import FrameRow, frame_rows
from lcframework.storage.records import Record
from lcframework.storage.tables import Frame, FrameFootprint
from lcframework.types import FrameFlag, UnusableInput
from lcframework.work import (
    BatchTask,
    FrameKey,
    Ledger,
    Outcome,
    ProjectKey,
    Replace,
    Stage,
    Task,
    Unit,
    UnitKey,
    Update,
)

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from lcframework.sky import ephemerides

OUTSIDE = "contains no region of interest"


@attrs.frozen
class FramePayload:
    """The path of a solved frame's WCS, and the columns of the frame that are needed."""

    frame_id: int
    wcs: str
    shape: tuple[int, int]
    mjd: float
    instrument: str
    pixel_scale: float
    seeing: float | None  # pixels
    flags: int


Outlines = list[list[list[float]]]  # polygons of (ra, dec), degrees


@attrs.frozen(eq=False)
class SolvedFrame:
    """A frame and its WCS."""

    payload: FramePayload
    wcs: WCS


@attrs.frozen
class FrameOnSky:
    """The footprint of a frame, and the rows of its regions in ``rois_in_frames``."""

    polygon: list[list[float]]
    rois: list[dict[str, Any]]
    seeing: float | None
    flags: int  # FrameFlag bits, with TARGET_DOWN updated


@attrs.frozen
class Fields:
    """The fields of reference stars, and the joined footprints of the frames."""

    fields: tuple[StarField, ...]
    combined: Combined


class FindFootprint(BatchTask[FramePayload, SolvedFrame, FrameOnSky]):
    """Computes the footprints of frames, and the regions that they contain."""

    light: ClassVar[bool] = True
    batch_size: ClassVar[int] = 32

    def load(self, unit: Unit[FramePayload]) -> SolvedFrame:
        """Read the WCS."""
        return SolvedFrame(unit.payload, read_wcs(self.toolbox.workdir / unit.payload.wcs))

    def compute_batch(self, batch: Sequence[SolvedFrame]) -> list[FrameOnSky | Exception]:
        """Compute several frames; one call computes the ephemerides of a region for all of them."""
        from lcframework.sky import ephemerides

        states: dict[tuple[int, str], ephemerides.TargetState] = {}
        for instrument in {frame.payload.instrument for frame in batch}:
            t = self.toolbox.config_for(instrument).telescope
            site = ephemerides.Site(t.latitude, t.longitude, t.elevation) if t else None
            payloads = [frame.payload for frame in batch if frame.payload.instrument == instrument]
            for name, roi in self.toolbox.config.roi.items():
                found = ephemerides.target_states([p.mjd for p in payloads], roi.ra, roi.dec, site)
                states.update({(p.frame_id, name): state for p, state in zip(payloads, found, strict=True)})
        results: list[FrameOnSky | Exception] = []
        for frame in batch:
            try:
                results.append(self._frame(frame.wcs, frame.payload, states))
            except Exception as error:
                results.append(error)
        return results

    def _frame(
        self, wcs: Any, frame: FramePayload, states: Mapping[tuple[int, str], ephemerides.TargetState]
    ) -> FrameOnSky:
        rows = []
        for name, roi in self.toolbox.config.roi.items():
            pixel = geometry.pixel_inside(wcs, frame.shape, roi.ra, roi.dec)
            x, y = pixel or (None, None)
            rows.append({"frame_id": frame.frame_id, "roi": name, "roi_in_footprint": pixel is not None,
                         "x": x, "y": y, **attrs.asdict(states[frame.frame_id, name])})  # fmt: skip
        down = any(r["roi_in_footprint"] and r["altitude"] is not None and r["altitude"] <= 0 for r in rows)
        flags = frame.flags & ~FrameFlag.TARGET_DOWN | (FrameFlag.TARGET_DOWN if down else 0)
        seeing = frame.seeing * frame.pixel_scale if frame.seeing else None
        return FrameOnSky(geometry.outline(wcs, frame.shape), rows, seeing, int(flags))

    def save(self, unit: Unit[FramePayload], values: SolvedFrame, result: FrameOnSky) -> Outcome:
        """Return the rows of the frame, its footprint and its regions."""
        inside = any(r["roi_in_footprint"] for r in result.rois)
        frame = {"roi_in_footprint": inside, "seeing_arcseconds": result.seeing, "flags": result.flags,
                 "comment": "" if inside else OUTSIDE}  # fmt: skip
        records: list[Record] = [
            Update("frames", {"id": unit.frame_id}, frame),
            Replace(
                "footprints", {"frame_id": unit.frame_id}, [{"frame_id": unit.frame_id, "polygon": result.polygon}]
            ),
            Replace("rois_in_frames", {"frame_id": unit.frame_id}, result.rois),
        ]
        # Star positions depend only on the WCS: a new region or another telescope site does not change them.
        return Outcome(tuple(records), token=digest(unit.components["wcs"]))


class JoinFootprints(Task[Outlines, Outlines, Fields]):
    """Joins the footprints of frames, and defines the fields of reference stars."""

    light: ClassVar[bool] = True

    def load(self, unit: Unit[Outlines]) -> Outlines:
        """Return the payload: the outlines of the frames."""
        return unit.payload

    def compute(self, values: Outlines) -> Fields:
        """Join the outlines, and define the fields according to ``[stars] strategy``."""
        config = self.toolbox.config
        first = next(iter(config.roi.values()))
        if not values:
            raise UnusableInput(
                f"no frame contains a region of interest ({', '.join(config.roi)}); compare [roi.NAME] ra, dec with "
                "`select * from footprints`"
            )
        combined = combine(values, first.ra, first.dec)
        if config.stars.strategy == "roi_disk":
            fields = disks(config)
        else:
            polygons = [combined.common] if config.stars.strategy == "common_footprint" else combined.total
            if not any(polygons):
                raise UnusableInput(
                    'the frames have no area in common; use [stars] strategy = "roi_disk" or "per_frame"'
                )
            fields = (area(config.stars.strategy, list(config.roi), polygons, first.ra, first.dec),)
        return Fields(fields, combined)

    def save(self, unit: Unit[Outlines], values: Outlines, result: Fields) -> Outcome:
        """Return the rows of the fields; earlier fields become inactive."""
        records: list[Record] = [Update("combined_footprint", {}, {"active": False})]
        for field in result.fields:
            region = field.region
            row = {
                "hash": field.hash, "strategy": field.strategy, "rois": list(field.rois), "ra": region.ra,
                "dec": region.dec, "radius": region.radius, "region": plain(region)["vertices"],
                "common": result.combined.common, "total": result.combined.total, "active": True,
            }  # fmt: skip
            records.append(Replace("combined_footprint", {"hash": field.hash}, [row]))
        # Later units depend on the fields, not on the outline of each frame.
        return Outcome(tuple(records), token=digest([plain(f) for f in result.fields]))


@attrs.define
class CalculateCommonAndTotalFootprint(Stage):
    """One unit for each solved frame, then one that joins the frames."""

    name: ClassVar[str] = "calculate_common_and_total_footprint"
    title: ClassVar[str] = "Footprints"
    needs: ClassVar[tuple[str, ...]] = (PlateSolving.name,)
    makes: ClassVar[tuple[str, ...]] = ("footprints", "combined_footprint", "rois_in_frames")
    unit: ClassVar[str] = "frame"
    reads: ClassVar[tuple[str, ...] | None] = ("frames", "footprints")
    results_version: ClassVar[int] = 3

    @property
    def filtered(self) -> bool:
        """False: this stage finds the regions of a frame, and the fields depend on all frames."""
        return False

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return the task for footprints, and the task that joins them."""
        return {
            FrameKey: FindFootprint(self.name, self.toolbox),
            ProjectKey: JoinFootprints(self.name, self.toolbox),
        }

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return one unit for each solved frame; also the joint unit where all of these are done."""
        solved = ledger.made(PlateSolving.name, FrameKey)
        rois = Shared({n: [r.ra, r.dec] for n, r in self.toolbox.config.roi.items()})
        units: list[Unit[Any]] = []
        keys = []
        sites: dict[str, Components | None] = {}
        for f in frame_rows(session, col(Frame.plate_solved), ~col(Frame.eliminated)):
            key = FrameKey(f.id)
            if key not in solved:
                continue
            if f.instrument not in sites:
                sites[f.instrument] = observing_site(self.toolbox.config_for(f.instrument))
            site = sites[f.instrument]
            components = self.components(wcs=solved[key].token, rois=rois, telescope=site)
            payload = FramePayload(f.id or 0, f.wcs_relpath or "", (f.height or 0, f.width or 0), f.mjd or 0.0,
                                   f.instrument, f.pixel_scale or np.nan, f.seeing_pixels, f.flags)  # fmt: skip
            units.append(Unit(key, f.key, components, payload, f.id))
            keys.append(key)
        if not units or not all(ledger.is_done(self.name, u) for u in units):
            return units
        return [*units, self._joint(session, ledger, keys)]

    def _joint(self, session: Session, ledger: Ledger, keys: list[FrameKey]) -> Unit[Outlines]:
        footprints = ledger.made(self.name, FrameKey)
        config = self.toolbox.config
        stars = describe(config.stars)
        parts = {
            "frames": digest(sorted((str(k), footprints[k].token) for k in keys if k in footprints)),
            "strategy": stars["strategy"],
            "radius": stars["radius"],
            "rois": {n: [r.ra, r.dec] for n, r in config.roi.items()},
        }
        inside = {f.id for f in frame_rows(session, col(Frame.roi_in_footprint), ~col(Frame.eliminated))}
        rows = session.exec(select(FrameFootprint.frame_id, FrameFootprint.polygon))
        outlines: Outlines = [list(polygon) for frame_id, polygon in rows if frame_id in inside]
        return Unit(ProjectKey(), "all frames", self.components(**parts), outlines)


def disks(config: Config) -> tuple[StarField, ...]:
    """Return the fields of ``strategy = "roi_disk"``, one for each position of regions; no frames are needed."""
    found: dict[str, StarField] = {}
    for name, roi in config.roi.items():
        field = disk(name, roi.ra, roi.dec, config.stars.radius)
        same = found.get(field.hash)
        found[field.hash] = attrs.evolve(same, rois=(*same.rois, name)) if same else field
    return tuple(found.values())


def frames_of_field(frames: list[FrameRow], inside: dict[tuple[int, str], bool], rois: list[str]) -> list[FrameRow]:
    """Return the frames that contain one of a field's regions.

    Parameters
    ----------
    frames : list of rows of ``frames``
        The frames to choose from.
    inside : dict
        Whether a frame contains a region, by (frame id, region name); a missing entry means no.
    rois : list of str
        The regions of the field.
    """
    return [f for f in frames if any(inside.get((f.id or 0, roi), False) for roi in rois)]
