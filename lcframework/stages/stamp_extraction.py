"""``stamp_extraction``: stamps of the reference stars and of the regions of interest, with noise maps and masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, col, select

from lcframework.frames.halo_doubts import halo_doubt
from lcframework.frames.halos import FrameLight, Halo
from lcframework.frames.hot_pixels import (
    FindHotPixels,
    HotPixels,
    hot_pixel_units,
    hot_pixels_identity,
    hot_pixels_path,
    read_hot_pixels,
)
from lcframework.frames.joined_regions import aliased_region, join_regions
from lcframework.frames.region_reach import reach_of_region
from lcframework.frames.stamp_cutting import StampCutter
from lcframework.frames.stamp_targets import StampTarget, fields_in_frames, regions_in_frames, stars_in_frames
from lcframework.frames.stamp_wcs import header_text
from lcframework.frames.stamping import own_radius
from lcframework.frames.target_detection import target_doubt
from lcframework.provenance import Components, Option, Shared, describe
from lcframework.sky.tracks import carried, moving_regions
from lcframework.stages.plate_solving import PlateSolving
from lcframework.stages.query_gaia_for_stars import QueryGaiaForStars
from lcframework.stages.read_convert_skysub_character_catalog import ReadConvertSkysubCharacterCatalog as Import
from lcframework.stars.quality import (
    Surroundings,
    is_saturated,
    judge,
    masked_fraction,
    signal_to_noise,
    usable_by_verdict,
)
from lcframework.storage.files import beside
from lcframework.storage.frame_files import read_frame, read_table, read_wcs
from lcframework.storage.queries import FrameRow, frames_with_regions
from lcframework.storage.records import Record
from lcframework.storage.regions_file import REGIONS
from lcframework.storage.seals import wrong_size
from lcframework.storage.stamp_files import Stamp, write_stamps
from lcframework.storage.tables import CombinedFootprint, Product
from lcframework.types import Doubt, Floats, Ints, PixelFlag, UnusableInput
from lcframework.work import (
    FrameKey,
    HotPixelsKey,
    Ledger,
    Outcome,
    Scope,
    Stage,
    Task,
    Unit,
    UnitKey,
    Update,
)
from lcframework.work.scopes import field_rois

if TYPE_CHECKING:
    from astropy.table import Table


@attrs.frozen
class StampPayload:
    """A frame, and the stars and regions of one field whose stamps are cut from it."""

    frame_id: int
    key: str
    image: str
    sources: str
    wcs: str
    instrument: str
    exptime: float
    rms: float
    seeing: float
    pixel_scale: float
    field: str  # of the stars
    stars: tuple[StampTarget, ...]
    rois: tuple[StampTarget, ...]


@attrs.frozen(eq=False)
class FrameValues:
    """The contents of a frame's files, and the map of hot pixels."""

    payload: StampPayload
    image: Floats
    flags: Ints
    sources: Table
    wcs: Any
    wcs_text: str
    hot: HotPixels | None


@attrs.frozen(eq=False)
class FrameStamps:
    """The stamps of a frame by name, and the columns of ``stars_in_frames`` for the stars."""

    stamps: dict[str, Stamp]
    stars: dict[str, dict[str, Any]]
    shape: tuple[int, int]
    doubts: tuple[Doubt, ...] = ()


class CutStamps(Task[StampPayload, FrameValues, FrameStamps]):
    """Cuts the stamps of a field's stars and regions from a frame."""

    def reads(self, unit: Unit[StampPayload]) -> Iterable[str]:
        """Return the frame's files, and the map of hot pixels where it is made here."""
        instrument = unit.payload.instrument
        own = self.toolbox.config_for(instrument).stamps.hot_pixels == "auto"
        return [*super().reads(unit), *([hot_pixels_path(instrument)] if own else [])]

    def load(self, unit: Unit[StampPayload]) -> FrameValues:
        """Read the frame, and the map of its hot pixels."""
        p, workdir = unit.payload, self.toolbox.workdir
        image, flags, _ = read_frame(workdir / p.image)
        hot = read_hot_pixels(self.toolbox, p.instrument)
        if hot is not None and hot.bad.shape != image.shape:
            setting = self.toolbox.config_for(p.instrument).stamps.hot_pixels
            if setting != "auto":
                raise UnusableInput(f"the hot-pixel map {setting} has shape {hot.bad.shape}, the frame {image.shape}")
            hot = None  # the map does not apply to a frame of another size
        wcs = read_wcs(workdir / p.wcs)
        return FrameValues(p, image, flags, read_table(workdir / p.sources), wcs, header_text(wcs), hot)

    def frames_read(self, unit: Unit[StampPayload]) -> tuple[str, ...]:
        """Return the frame."""
        return (unit.payload.image,)

    def compute(self, values: FrameValues) -> FrameStamps:
        """Cut, mask and judge the stamps."""
        v = values
        settings = self.toolbox.config_for(v.payload.instrument).stamps
        flags = v.flags if settings.mask_bad_lines else v.flags & ~np.uint8(PixelFlag.BAD_LINE.value)
        if v.hot is not None:
            flags = flags | np.where(v.hot.bad, np.uint8(PixelFlag.HOT.value), np.uint8(0))
        cutter = self._cutter(v, flags)
        stars = {t.name: cutter.star(t, settings.star_size) for t in v.payload.stars}
        rois, doubts, size = {}, list[Doubt](), settings.roi_size
        for target in v.payload.rois:
            radius = reach_of_region(self.toolbox.config, target.name) / v.payload.pixel_scale
            halos = cutter.halos(target, size, radius)
            rois[target.name] = cutter.region(target, size, radius, halos)
            doubts += self._doubts(v, target, rois[target.name], halos)
        stamps = self._with_cosmics({**stars, **rois}, v.payload.instrument)
        quality = self._quality({name: stamps[name] for name in stars}, v)
        return FrameStamps(stamps, quality, v.image.shape, tuple(doubts))

    def _cutter(self, v: FrameValues, flags: Ints) -> StampCutter:
        p = v.payload
        correlation = self.toolbox.config_for(p.instrument).stamps.noise_correlation
        light = FrameLight(v.image, flags, v.sources, p.rms, p.seeing, p.exptime)
        return StampCutter(light, None if v.hot is None else v.hot.excess, v.wcs, v.wcs_text, correlation)

    def _doubts(self, v: FrameValues, target: StampTarget, stamp: Stamp, halos: list[Halo]) -> Iterator[Doubt]:
        """Yield that a region seems to be elsewhere, or that a bright star beside it spoils it."""
        p, region = v.payload, self.toolbox.config.roi[target.name]
        sky = carried(region, *target.sky) if target.sky else list(region.point_sources.values())
        positions = np.array(v.wcs.all_world2pix(sky, 0)).reshape(-1, 2) if len(sky) else np.zeros((0, 2))
        known = np.array([(t.x, t.y) for t in p.stars]).reshape(-1, 2)
        found = [
            target_doubt(target.name, v.sources, positions, known, v.wcs, stamp, p.seeing, p.rms),
            halo_doubt(target.name, list(region.point_sources), positions, halos, stamp, p.pixel_scale, p.seeing),
        ]
        yield from (doubt for doubt in found if doubt is not None)

    def _with_cosmics(self, stamps: dict[str, Stamp], instrument: str) -> dict[str, Stamp]:
        """Return the stamps with cosmic rays in their masks.

        All go to the finder at once, in the largest one's size: what a star looks like is what the frame's stars show,
        and a region's stamp alone would not tell a ray in its middle from its source.
        """
        tool = self.toolbox.tool("cosmics", instrument)
        if tool is None or not stamps:
            return stamps
        size = max(len(s.data) for s in stamps.values())
        found = tool.ask(
            "mask",
            np.stack([_widened(s.data, size) for s in stamps.values()]),
            np.stack([_widened(s.noise, size) for s in stamps.values()]),
        )
        out = {}
        for (name, stamp), wide in zip(stamps.items(), found, strict=True):
            cosmics = wide[_middle(len(stamp.data), size)]
            mask = stamp.mask | np.where(cosmics, np.uint8(PixelFlag.COSMIC.value), np.uint8(0))
            out[name] = attrs.evolve(stamp, mask=mask)
        return out

    @staticmethod
    def _quality(stamps: dict[str, Stamp], v: FrameValues) -> dict[str, dict[str, Any]]:
        """Return the columns of ``stars_in_frames`` with the quality of the stars' stamps."""
        seeing, targets = v.payload.seeing, v.payload.stars
        around = Surroundings(
            v.sources, seeing, own_radius(seeing), np.array([(t.x, t.y) for t in targets]).reshape(-1, 2),
            10 ** (-0.4 * np.array([t.magnitude for t in targets])),
        )  # fmt: skip
        verdicts = judge(stamps, around)
        usable = usable_by_verdict(verdicts)
        return {
            name: {"usable": usable[name], "masked_fraction": masked_fraction(stamps[name]),
                   "saturated": is_saturated(stamps[name], seeing),
                   "signal_to_noise": signal_to_noise(stamps[name], seeing), "comment": comment}
            for name, comment in verdicts.items()
        }  # fmt: skip

    def save(self, unit: Unit[StampPayload], values: FrameValues, result: FrameStamps) -> Outcome:
        """Write the file of stamps, and return the quality of the stars' stamps."""
        p = unit.payload
        folder = beside(p.image, p.key).removeprefix("frames/")
        path = f"regions/{folder}/stamps_{unit.fingerprint[:12]}.h5"
        write_stamps(self.toolbox.workdir / path, result.stamps, result.shape, aliased_region(self.toolbox.config))
        records: list[Record] = [
            Update(
                "stars_in_frames",
                {"frame_id": unit.frame_id, "combined_footprint_hash": unit.payload.field, "gaia_id": star},
                row,
            )
            for star, row in result.stars.items()
        ]
        usable = sum(r["usable"] for r in result.stars.values())
        return Outcome(tuple(records), path, summary=f"{usable} usable stars", doubts=result.doubts)


@attrs.define
class StampExtraction(Stage):
    """One unit for each frame and field; before them one for each instrument with ``hot_pixels = "auto"``.

    A unit contains the stamps of the field's stars and regions. A new region with another field does not change the
    stamps of existing fields.
    """

    name: ClassVar[str] = "stamp_extraction"
    title: ClassVar[str] = "Stamps"
    needs: ClassVar[tuple[str, ...]] = (Import.name, PlateSolving.name, QueryGaiaForStars.name)
    makes: ClassVar[tuple[str, ...]] = ("regions.h5", "regions/<name>/stamps_<fingerprint>.h5", "stars_in_frames")
    unit: ClassVar[str] = "frame and field"
    reads: ClassVar[tuple[str, ...] | None] = (
        "frames",
        "combined_footprint",
        "rois_in_frames",
        "stars",
        "stars_in_frames",
    )
    annotates: ClassVar[tuple[str, ...]] = ("stars_in_frames",)  # the quality of their stamps
    results_version: ClassVar[int] = 6

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return the task that finds hot pixels, and the task that cuts stamps."""
        return {
            HotPixelsKey: FindHotPixels(self.name, self.toolbox),
            FrameKey: CutStamps(self.name, self.toolbox),
        }

    def prepare(self, session: Session, ledger: Ledger) -> None:
        """Delete products of fields that are not in use any more; files are deleted when the others are joined."""
        fields = set(session.exec(select(CombinedFootprint.hash).where(CombinedFootprint.active)))
        gone = [str(key) for key in ledger.keyed(self.name, FrameKey) if key.field not in fields]
        if gone:
            session.execute(sa.delete(Product).where(col(Product.stage) == self.name, col(Product.unit).in_(gone)))

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return units of hot-pixel maps; then a unit for each field in each frame that contains a region."""
        frames = frames_with_regions(session)
        maps = hot_pixel_units(self, frames.values())
        waiting = {u.payload.instrument for u in maps if not ledger.is_done(self.name, u)}
        names = {f.instrument for f in frames.values()}
        hot = self._maps(ledger, names)
        imported, solved = ledger.made(Import.name, FrameKey), ledger.made(PlateSolving.name, FrameKey)
        located = ledger.made(QueryGaiaForStars.name, FrameKey)
        moving = set(moving_regions(self.toolbox))
        fields, rois, regions = fields_in_frames(session), regions_in_frames(session, moving), field_rois(session)
        units: list[Unit[Any]] = [*maps]
        of_instrument = {name: self._settings(name, hot.get(name, "")) for name in names}
        reaches = {field: Shared(self._reaches(own)) for field, own in regions.items()}
        for frame_id, f in frames.items():
            settings = of_instrument[f.instrument]
            for field in fields.get(frame_id, ()):
                key, frame = FrameKey(frame_id, field), FrameKey(frame_id)
                if f.instrument in waiting or key not in located or frame not in solved:
                    continue
                parts = {
                    "frame": imported[frame].token if frame in imported else None, "wcs": solved[frame].token,
                    "stars": located[key].token, "rois": reaches[field], **settings,
                }  # fmt: skip
                own_rois = tuple(t for t in rois.get(frame_id, ()) if t.name in regions[field])
                if not moving.isdisjoint(regions[field]):
                    parts["rois"] = {**reaches[field], **self._moving_reaches(moving & regions[field], own_rois)}
                payload = self._payload(f, field, own_rois)
                scope = Scope(regions[field], f.instrument, f.band)
                units.append(Unit(key, f.key, self.components(**parts), payload, f.id, scope))
        return units

    def filled(self, session: Session, units: Sequence[Unit[Any]]) -> list[Unit[Any]]:
        """Return units with the stars of their fields in their frames."""
        stars = stars_in_frames(session, [u.frame_id for u in units if u.frame_id is not None])
        return [
            attrs.evolve(u, payload=attrs.evolve(u.payload, stars=tuple(stars[u.key.frame_id, u.key.field])))
            if isinstance(u.key, FrameKey)
            else u
            for u in units
        ]

    def _maps(self, ledger: Ledger, instruments: Iterable[str]) -> dict[str, str]:
        """Return the tokens of the maps of hot pixels, also of one that too few frames are left to make again."""
        if not any(self.toolbox.config_for(name).stamps.hot_pixels == "auto" for name in instruments):
            return {}  # and the stage's own products are not asked for
        return {key.instrument: product.token for key, product in ledger.made(self.name, HotPixelsKey).items()}

    def _settings(self, instrument: str, hot: str) -> Components:
        stamps = describe(self.toolbox.config_for(instrument).stamps)
        # The masks from the import already include saturated pixels.
        stamps |= {
            "saturation": Option(None, None),
            "hot_pixels": Option(hot_pixels_identity(self.toolbox, instrument, hot), ""),
        }
        return {"stamps": Shared(stamps), "cosmics": Shared(self.toolbox.identity("cosmics", instrument))}

    def _reaches(self, rois: frozenset[str]) -> Components:
        config = self.toolbox.config
        return {n: [r.ra, r.dec, reach_of_region(config, n)] for n, r in config.roi.items() if n in rois}

    def _moving_reaches(self, moving: Iterable[str], targets: Iterable[StampTarget]) -> Components:
        """Return, for the regions that move, where they are in a frame, and their reach; None: not in it."""
        here = {t.name: t.sky for t in targets if t.sky is not None}
        config = self.toolbox.config
        return {n: [*np.round(here[n], 6).tolist(), reach_of_region(config, n)] if n in here else None for n in moving}

    @staticmethod
    def _payload(f: FrameRow, field: str, rois: tuple[StampTarget, ...]) -> StampPayload:
        return StampPayload(
            f.id or 0, f.key, f.image_relpath or "", f.sources_relpath or "", f.wcs_relpath or "",
            f.instrument, f.exptime or 1.0, f.background_rms_electron_per_second or 1.0,
            f.seeing_pixels or 3.0, f.pixel_scale or 1.0, field, (), rois,
        )  # fmt: skip

    def outside(self) -> Components:
        """Return the digests of the users' maps of hot pixels."""
        toolbox = self.toolbox
        names = ("", *toolbox.configs, *toolbox.decided)
        return {name: hot_pixels_identity(toolbox, name, "") for name in names}

    def outdated(self, workdir: Path) -> bool:
        """Return whether ``regions.h5`` is missing or empty."""
        return bool(wrong_size(workdir, REGIONS, None))

    def finish(self, session: Session, ledger: Ledger, workdir: Path) -> None:
        """Join the files in ``regions.h5``."""
        join_regions(session, workdir, ledger.keyed(self.name, FrameKey), aliased_region(self.toolbox.config))


def _widened(stamp: Floats, size: int) -> Floats:
    """Return a stamp (size, size) with mirrored margins."""
    before = (size - len(stamp)) // 2
    return np.pad(stamp, (before, size - len(stamp) - before), mode="symmetric")


def _middle(length: int, size: int) -> tuple[slice, slice]:
    """Return where a stamp of `length` pixels lies in what :func:`_widened` made of it."""
    first = (size - length) // 2
    return (slice(first, first + length),) * 2
