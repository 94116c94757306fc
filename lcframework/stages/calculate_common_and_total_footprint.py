"""``calculate_common_and_total_footprint``: footprints of frames, the regions in them, and the fields of stars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np
from sqlmodel import Session, SQLModel, col, select

from lcframework.config.project_file import OF_REGION, Config
from lcframework.provenance import Components, Shared, complete, describe, digest, plain
from lcframework.sky import geometry
from lcframework.sky.footprints import Combined, combine
from lcframework.sky.observing_site import observing_site
from lcframework.sky.star_fields import LARGEST_DISK, StarField, area, disks
from lcframework.sky.tracks import Place, Track, place_doubts, places_of, tracks
from lcframework.stages.plate_solving import PlateSolving
from lcframework.storage.frame_files import read_wcs
from lcframework.storage.queries import frame_rows
from lcframework.storage.records import Record
from lcframework.storage.tables import Frame, FrameFootprint
from lcframework.types import Doubt, FrameFlag, LcfError, Severity, UnusableInput
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
#: The row in ``rois_in_frames`` of a region that is not in a frame, and whose place is not known.
_NOT_THERE = {column.name: None for column in SQLModel.metadata.tables["rois_in_frames"].columns} | {
    "roi_in_footprint": False, "comment": "",
}  # fmt: skip


@attrs.frozen
class FootprintPayload:
    """The path of a solved frame's WCS, and the columns of the frame that are needed."""

    frame_id: int
    wcs: str
    shape: tuple[int, int]
    mjd: float
    exptime: float  # s
    instrument: str
    pixel_scale: float
    seeing: float | None  # pixels
    flags: int


Outlines = list[list[list[float]]]  # polygons of (ra, dec), degrees
#: By frame and region: where the target is, or why that is not known.
Targets = dict[tuple[int, str], "tuple[Place, ephemerides.TargetState] | LcfError"]


@attrs.frozen(eq=False)
class SolvedFrame:
    """A frame and its WCS."""

    payload: FootprintPayload
    wcs: WCS


@attrs.frozen
class FrameOnSky:
    """The footprint of a frame, and the rows of its regions in ``rois_in_frames``."""

    polygon: list[list[float]]
    rois: list[dict[str, Any]]
    seeing: float | None
    flags: int  # FrameFlag bits, with TARGET_DOWN updated
    doubts: tuple[Doubt, ...] = ()


@attrs.frozen
class Covered:
    """The outlines of the frames that contain a region, and the tracks of the regions that move."""

    outlines: Outlines
    tracks: Mapping[str, Track]


@attrs.frozen
class Fields:
    """The fields of reference stars, and the joined footprints of the frames."""

    fields: tuple[StarField, ...]
    combined: Combined
    doubts: tuple[Doubt, ...] = ()


class FindFootprint(BatchTask[FootprintPayload, SolvedFrame, FrameOnSky]):
    """Computes the footprints of frames, and the regions that they contain."""

    light: ClassVar[bool] = True
    batch_size: ClassVar[int] = 32

    def load(self, unit: Unit[FootprintPayload]) -> SolvedFrame:
        """Read the WCS."""
        return SolvedFrame(unit.payload, read_wcs(self.toolbox.workdir / unit.payload.wcs))

    def compute_batch(self, batch: Sequence[SolvedFrame]) -> list[FrameOnSky | Exception]:
        """Compute several frames; one call computes the ephemerides of a region for all of them."""
        targets: Targets = {}
        for instrument in {frame.payload.instrument for frame in batch}:
            payloads = [frame.payload for frame in batch if frame.payload.instrument == instrument]
            for name in self.toolbox.config.roi:
                targets.update(self._targets(name, instrument, payloads))
        results: list[FrameOnSky | Exception] = []
        for frame in batch:
            try:
                results.append(self._frame(frame.wcs, frame.payload, targets))
            except Exception as error:
                results.append(error)
        return results

    def _targets(self, name: str, instrument: str, frames: Sequence[FootprintPayload]) -> Targets:
        """Return where the target of a region is in frames of one instrument, in the sky and above the horizon."""
        from lcframework.sky import ephemerides

        roi, tool = self.toolbox.config.roi[name], self.toolbox.tool(OF_REGION + name)
        if tool is None:
            raise UnusableInput(f"[roi.{name}] has no ephemeris")
        t = self.toolbox.config_for(instrument).telescope
        site = ephemerides.Site(t.latitude, t.longitude, t.elevation) if t else None
        found = places_of(tool, roi, [f.mjd for f in frames], [f.exptime for f in frames], t)
        known = [(f, place) for f, place in zip(frames, found, strict=True) if isinstance(place, Place)]
        ra, dec = (np.array([getattr(place, axis) for _, place in known], float) for axis in ("ra", "dec"))
        states = ephemerides.target_states([f.mjd for f, _ in known], ra, dec, site)
        out: Targets = {
            (f.frame_id, name): why for f, why in zip(frames, found, strict=True) if isinstance(why, LcfError)
        }
        return out | {(f.frame_id, name): (p, state) for (f, p), state in zip(known, states, strict=True)}

    def _frame(self, wcs: Any, frame: FootprintPayload, targets: Targets) -> FrameOnSky:
        rows: list[dict[str, Any]] = []
        doubts: list[Doubt] = []
        seeing = frame.seeing * frame.pixel_scale if frame.seeing else None
        for name in self.toolbox.config.roi:
            row = {**_NOT_THERE, "frame_id": frame.frame_id, "roi": name}
            rows.append(row)
            target = targets[frame.frame_id, name]
            if isinstance(target, UnusableInput):
                row["comment"] = str(target)
                continue
            if isinstance(target, LcfError):
                raise target
            place, state = target
            row |= {**attrs.asdict(state), **attrs.asdict(place)}
            pixel = geometry.pixel_inside(wcs, frame.shape, place.ra, place.dec)
            if pixel is not None:
                row |= {"roi_in_footprint": True, "x": pixel[0], "y": pixel[1]}
                doubts += place_doubts(name, place, seeing)
        down = any(r["roi_in_footprint"] and r["altitude"] is not None and r["altitude"] <= 0 for r in rows)
        flags = frame.flags & ~FrameFlag.TARGET_DOWN | (FrameFlag.TARGET_DOWN if down else 0)
        return FrameOnSky(geometry.outline(wcs, frame.shape), rows, seeing, int(flags), tuple(doubts))

    def save(self, unit: Unit[FootprintPayload], values: SolvedFrame, result: FrameOnSky) -> Outcome:
        """Return the rows of the frame, its footprint and its regions."""
        inside = any(r["roi_in_footprint"] for r in result.rois)
        unknown = [f"{r['roi']}: {r['comment']}" for r in result.rois if r["comment"]]
        frame = {"roi_in_footprint": inside, "seeing_arcseconds": result.seeing, "flags": result.flags,
                 "comment": "" if inside else "; ".join(unknown or [OUTSIDE])}  # fmt: skip
        records: list[Record] = [
            Update("frames", {"id": unit.frame_id}, frame),
            Replace(
                "footprints", {"frame_id": unit.frame_id}, [{"frame_id": unit.frame_id, "polygon": result.polygon}]
            ),
            Replace("rois_in_frames", {"frame_id": unit.frame_id}, result.rois),
        ]
        # Star positions depend only on the WCS: a new region or another telescope site does not change them.
        return Outcome(tuple(records), token=digest(unit.components["wcs"]), doubts=result.doubts)


class JoinFootprints(Task[Covered, Covered, Fields]):
    """Joins the footprints of frames, and defines the fields of reference stars."""

    light: ClassVar[bool] = True

    def load(self, unit: Unit[Covered]) -> Covered:
        """Return the payload: the outlines of the frames."""
        return unit.payload

    def compute(self, values: Covered) -> Fields:
        """Join the outlines, and define the fields according to ``[stars] strategy``."""
        config = self.toolbox.config
        if not values.outlines:
            raise UnusableInput(
                f"no frame contains a region of interest ({', '.join(config.roi)}); compare [roi.NAME] ra, dec with "
                "`select * from footprints`"
            )
        centre = _centre(config, values.tracks)
        combined = combine(values.outlines, *centre)
        if config.stars.strategy == "roi_disk":
            return self._disks(values.tracks, combined)
        else:
            polygons = [combined.common] if config.stars.strategy == "common_footprint" else combined.total
            if not any(polygons):
                raise UnusableInput(
                    'the frames have no area in common; use [stars] strategy = "roi_disk" or "per_frame"'
                )
        return Fields((area(config.stars.strategy, list(config.roi), polygons, *centre),), combined)

    def _disks(self, tracks: Mapping[str, Track], combined: Combined) -> Fields:
        """Return the fields of ``roi_disk``; targets whose tracks are too long for one have none."""
        fields = disks(self.toolbox.config, tracks)
        small = tuple(f for f in fields if f.region.radius <= LARGEST_DISK or tracks.keys().isdisjoint(f.rois))
        doubts = tuple(
            Doubt(
                "track_too_long",
                f"the frames show the target of {roi} in places that a disk of {f.region.radius:.1f} degrees covers, "
                f"more than {LARGEST_DISK:g}: no reference stars are taken for it, and it is not measured",
                "Make a region of each night or so: [roi.NAME] with a table that covers no more than that",
                severity=Severity.SERIOUS, value=f.region.radius, subject=roi,
            )
            for f in fields if f not in small for roi in f.rois
        )  # fmt: skip
        if not small:
            raise UnusableInput(doubts[0].text + ". " + doubts[0].remedy)
        return Fields(small, combined, doubts)

    def save(self, unit: Unit[Covered], values: Covered, result: Fields) -> Outcome:
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
        return Outcome(tuple(records), token=digest([plain(f) for f in result.fields]), doubts=result.doubts)


@attrs.define
class CalculateCommonAndTotalFootprint(Stage):
    """One unit for each solved frame, then one that joins the frames."""

    name: ClassVar[str] = "calculate_common_and_total_footprint"
    title: ClassVar[str] = "Footprints"
    needs: ClassVar[tuple[str, ...]] = (PlateSolving.name,)
    makes: ClassVar[tuple[str, ...]] = ("footprints", "combined_footprint", "rois_in_frames")
    unit: ClassVar[str] = "frame"
    reads: ClassVar[tuple[str, ...] | None] = ("frames", "footprints", "rois_in_frames")
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
        rois = Shared(self._regions())
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
            payload = FootprintPayload(
                f.id or 0, f.wcs_relpath or "", (f.height or 0, f.width or 0), f.mjd or 0.0, f.exptime or 0.0,
                f.instrument, f.pixel_scale or np.nan, f.seeing_pixels, f.flags,
            )  # fmt: skip
            units.append(Unit(key, f.key, components, payload, f.id))
            keys.append(key)
        if not units or not all(ledger.is_done(self.name, u) for u in units):
            return units
        return [*units, self._joint(session, ledger, keys)]

    def _regions(self) -> Components:
        """Return the places of the regions, and how those that move do."""
        out: Components = {}
        for name, roi in self.toolbox.config.roi.items():
            tool = self.toolbox.ephemeris(name)
            out[name] = [roi.ra, roi.dec, *([tool.name, complete(tool.identity())] if tool is not None else [])]
        return out

    def _joint(self, session: Session, ledger: Ledger, keys: list[FrameKey]) -> Unit[Covered]:
        footprints = ledger.made(self.name, FrameKey)
        config = self.toolbox.config
        moving = tracks(session, self.toolbox)
        stars = describe(config.stars)
        parts = {
            "frames": digest(sorted((str(k), footprints[k].token) for k in keys if k in footprints)),
            "strategy": stars["strategy"],
            "radius": stars["radius"],
            "rois": {n: moving[n].identity if n in moving else [r.ra, r.dec] for n, r in config.roi.items()},
        }
        return Unit(ProjectKey(), "all frames", self.components(**parts), Covered([], moving))

    def filled(self, session: Session, units: Sequence[Unit[Any]]) -> list[Unit[Any]]:
        """Return units, the joint one with the outlines of the frames that contain a region."""
        joint = ProjectKey()
        return [
            attrs.evolve(u, payload=attrs.evolve(u.payload, outlines=_outlines(session))) if u.key == joint else u
            for u in units
        ]


def _outlines(session: Session) -> Outlines:
    """Return the outlines of the frames that contain a region."""
    inside = set(session.exec(select(Frame.id).where(col(Frame.roi_in_footprint), ~col(Frame.eliminated))))
    rows = session.exec(select(FrameFootprint.frame_id, FrameFootprint.polygon))
    return [list(polygon) for frame_id, polygon in rows if frame_id in inside]


def _centre(config: Config, tracks: Mapping[str, Track]) -> tuple[float, float]:
    """Return the position of the first region, or where its target was first."""
    name, first = next(iter(config.roi.items()))
    track = tracks.get(name)
    return (float(track.ra[0]), float(track.dec[0])) if track is not None and len(track) else (first.ra, first.dec)
