"""``calculate_common_and_total_footprint``: what frames cover, which regions they contain, and how the sky stood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
from sqlmodel import Session, col, select

from lcframework.config.project_file import Config
from lcframework.provenance import describe, digest
from lcframework.sky import ephemerides, geometry
from lcframework.sky.footprints import Combined, StarField, area, combine, disk
from lcframework.stages.base import Ledger, Outcome, Stage, Unit
from lcframework.stages.plate_solving import PlateSolving
from lcframework.stages.read_convert_skysub_character_catalog import ReadConvertSkysubCharacterCatalog
from lcframework.storage.files import read_wcs
from lcframework.storage.records import Record, Replace, Update
from lcframework.storage.tables import Frame, FrameFootprint
from lcframework.types import FrameFlag, UnusableInput

PROJECT = "project"
OUTSIDE = "contains no region of interest"


@attrs.frozen
class FramePayload:
    """A solved frame."""

    frame_id: int
    wcs: str
    shape: tuple[int, int]
    mjd: float
    instrument: str
    pixel_scale: float
    seeing: float | None  # pixels
    flags: int


@attrs.frozen
class FrameOnSky:
    """What a frame covers, and its regions' rows."""

    polygon: list[list[float]]
    rois: list[dict[str, Any]]
    seeing: float | None
    flags: int  # of the frame, with what is found here


@attrs.frozen
class Fields:
    """The fields of reference stars, and what frames cover."""

    fields: tuple[StarField, ...]
    combined: Combined


@attrs.define
class CalculateCommonAndTotalFootprint(Stage):
    """One unit a solved frame, then one that joins them."""

    name: ClassVar[str] = "calculate_common_and_total_footprint"
    title: ClassVar[str] = "Footprints"
    needs: ClassVar[tuple[str, ...]] = (PlateSolving.name,)
    makes: ClassVar[tuple[str, ...]] = ("footprints", "combined_footprint", "rois_in_frames")
    unit: ClassVar[str] = "frame"
    results_version: ClassVar[int] = 2
    light: ClassVar[bool] = True
    batch_size: ClassVar[int] = 32

    @property
    def filtered(self) -> bool:
        """Never: which regions a frame contains is found here, and the fields rest on all frames."""
        return False

    def units(self, session: Session, ledger: Ledger) -> list[Unit]:
        """Return one unit a solved frame; the joint one once all of those are done."""
        solved = ledger.tokens(PlateSolving.name)
        config = self.setup.config
        rois = {n: [r.ra, r.dec] for n, r in config.roi.items()}
        units = []
        for f in session.exec(select(Frame).order_by(col(Frame.id))):
            if f"frame:{f.id}" not in solved or f.eliminated or not f.plate_solved:
                continue
            place = ReadConvertSkysubCharacterCatalog.telescope(self.setup.config_for(f.instrument))
            components = self.components(wcs=solved[f"frame:{f.id}"], rois=rois, telescope=place)
            payload = FramePayload(f.id or 0, f.wcs_relpath or "", (f.height or 0, f.width or 0), f.mjd or 0.0,
                                   f.instrument, f.pixel_scale or np.nan, f.seeing_pixels, f.flags)  # fmt: skip
            units.append(Unit(f"frame:{f.id}", f.key, components, payload, f.id))
        done = ledger.of_stage(self.name)
        if not units or any(u.key not in done or done[u.key].fingerprint != u.fingerprint for u in units):
            return units
        return [*units, self._joint(session, ledger, [u.key for u in units])]

    def _joint(self, session: Session, ledger: Ledger, keys: list[str]) -> Unit:
        tokens = ledger.tokens(self.name)
        config = self.setup.config
        parts = {
            "frames": digest(sorted((k, tokens[k]) for k in keys if k in tokens)),
            "strategy": config.stars.strategy,
            "radius": config.stars.radius,
            "rois": {n: [r.ra, r.dec] for n, r in config.roi.items()},
        }
        inside = {f.id for f in session.exec(select(Frame)) if f.roi_in_footprint and not f.eliminated}
        outlines = [r.polygon for r in session.exec(select(FrameFootprint)) if r.frame_id in inside]
        return Unit(PROJECT, "all frames", self.components(**parts), outlines)

    def load(self, unit: Unit) -> Any:
        """Read the WCS."""
        if unit.key == PROJECT:
            return unit.payload
        return read_wcs(self.setup.workdir / unit.payload.wcs), unit.payload

    def compute(self, values: Any) -> FrameOnSky | Fields:
        """Work out what a frame covers, or join all."""
        if isinstance(values, list):
            return self._fields(values)
        result = self.compute_batch([values])[0]
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[no-any-return]

    def compute_batch(self, batch: Sequence[Any]) -> list[Any]:
        """Work out several frames: the sky of all moments is asked for in one call."""
        if any(isinstance(values, list) for values in batch):
            return Stage.compute_batch(self, batch)
        states: dict[tuple[int, str], ephemerides.TargetState] = {}
        for instrument in {payload.instrument for _, payload in batch}:
            t = self.setup.config_for(instrument).telescope
            site = ephemerides.Site(t.latitude, t.longitude, t.elevation) if t else None
            mine = [payload for _, payload in batch if payload.instrument == instrument]
            for name, roi in self.setup.config.roi.items():
                found = ephemerides.target_states([p.mjd for p in mine], roi.ra, roi.dec, site)
                states.update({(p.frame_id, name): state for p, state in zip(mine, found, strict=True)})
        results: list[Any] = []
        for wcs, payload in batch:
            try:
                results.append(self._frame(wcs, payload, states))
            except Exception as error:
                results.append(error)
        return results

    def _frame(
        self, wcs: Any, frame: FramePayload, states: Mapping[tuple[int, str], ephemerides.TargetState]
    ) -> FrameOnSky:
        rows = []
        for name, roi in self.setup.config.roi.items():
            pixel = geometry.pixel_inside(wcs, frame.shape, roi.ra, roi.dec)
            x, y = pixel or (None, None)
            rows.append({"frame_id": frame.frame_id, "roi": name, "roi_in_footprint": pixel is not None,
                         "x": x, "y": y, **attrs.asdict(states[frame.frame_id, name])})  # fmt: skip
        down = any(r["roi_in_footprint"] and r["altitude"] is not None and r["altitude"] <= 0 for r in rows)
        flags = frame.flags & ~FrameFlag.TARGET_DOWN | (FrameFlag.TARGET_DOWN if down else 0)
        seeing = frame.seeing * frame.pixel_scale if frame.seeing else None
        return FrameOnSky(geometry.outline(wcs, frame.shape), rows, seeing, int(flags))

    def _fields(self, outlines: list[list[list[float]]]) -> Fields:
        config = self.setup.config
        first = next(iter(config.roi.values()))
        if not outlines:
            raise UnusableInput(
                f"no frame contains a region of interest ({', '.join(config.roi)}); compare [roi.NAME] ra, dec with "
                "`select * from footprints`"
            )
        combined = combine(outlines, first.ra, first.dec)
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

    def save(self, unit: Unit, result: FrameOnSky | Fields) -> Outcome:
        """Return the rows."""
        if isinstance(result, Fields):
            return self._save_fields(result)
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
        # Stars are placed by the frame's WCS: a region more, or a telescope elsewhere, does not move them.
        return Outcome(tuple(records), token=digest(unit.components["wcs"]))

    def _save_fields(self, result: Fields) -> Outcome:
        records: list[Record] = [Update("combined_footprint", {}, {"active": False})]
        for field in result.fields:
            region = field.region
            row = {
                "hash": field.hash, "strategy": field.strategy, "rois": list(field.rois), "ra": region.ra,
                "dec": region.dec, "radius": region.radius, "region": describe(region)["vertices"],
                "common": result.combined.common, "total": result.combined.total, "active": True,
            }  # fmt: skip
            records.append(Replace("combined_footprint", {"hash": field.hash}, [row]))
        # Whoever uses the fields depends on which they are, not on each frame's outline.
        return Outcome(tuple(records), token=digest([describe(f) for f in result.fields]))


def disks(config: Config) -> tuple[StarField, ...]:
    """Return the fields of ``strategy = "roi_disk"``, one a place of regions; no frame is needed to know them."""
    found: dict[str, StarField] = {}
    for name, roi in config.roi.items():
        field = disk(name, roi.ra, roi.dec, config.stars.radius)
        there = found.get(field.hash)
        found[field.hash] = attrs.evolve(there, rois=(*there.rois, name)) if there else field
    return tuple(found.values())


def frames_of_field(frames: list[Frame], inside: dict[tuple[int, str], bool], rois: list[str]) -> list[Frame]:
    """Return the frames that contain one of a field's regions.

    Parameters
    ----------
    frames : list of Frame
        Those to choose from.
    inside : dict
        Whether a frame, by its id, contains a region, by its name; what is left out counts as no.
    rois : list of str
        The field's regions.
    """
    return [f for f in frames if any(inside.get((f.id or 0, roi), False) for roi in rois)]
