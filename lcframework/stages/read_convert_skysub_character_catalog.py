"""``read_convert_skysub_character_catalog``: imports raw files as sky-subtracted frames with mask and sources."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np
from sqlmodel import Session, select

from lcframework.config.structuring import resolve_path
from lcframework.frames.fits_names import likely_pattern
from lcframework.frames.frame_folders import folder_of
from lcframework.frames.frame_list import FrameList, stamps_of
from lcframework.frames.header_gains import measured_gain, note_gains, with_gain
from lcframework.frames.header_parsing import parse_header, read_header
from lcframework.frames.masters import (
    CombineMaster,
    Reductions,
    forget_old_masters,
    plan_reductions,
    read_masters,
    ready_masters,
    remove_old_masters,
)
from lcframework.frames.pixels import pixel_flags, to_rate
from lcframework.frames.raw_folders import find_files
from lcframework.frames.reduction import FramePlan, calibration_files
from lcframework.frames.seeing import shape_of_stars
from lcframework.provenance import Components, Shared, counted_elsewhere, describe, digest
from lcframework.sky.observing_site import observing_site
from lcframework.sky.times import check_time, time_is_odd
from lcframework.storage.files import beside
from lcframework.storage.frame_files import ascii_text, write_frame, write_table
from lcframework.storage.records import Record
from lcframework.storage.tables import Frame
from lcframework.types import (
    DataUnit,
    Doubt,
    Exposure,
    Floats,
    FrameFlag,
    HeaderInfo,
    Ints,
    LcfError,
    Master,
    PixelFlag,
    UnusableInput,
    file_name,
)
from lcframework.types.json_values import finite_or_none
from lcframework.types.robust import robust_scatter
from lcframework.work import Entry, FrameKey, Ledger, MasterKey, Outcome, Stage, Task, Unit, UnitKey, Update
from lcframework.work.time_limit import OPTION

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.table import Table

    from lcframework.frames.raw_frames import RawFrame
    from lcframework.sky import ephemerides

#: A frame is flagged where it has fewer sources: its seeing and plate solution are then unreliable.
FEW_SOURCES = 5


@attrs.frozen
class RawPayload:
    """A raw file to import, the plan of its reduction, and the frame's file where it was imported before."""

    key: str
    path: str
    plan: FramePlan
    image: str = ""


@attrs.frozen(eq=False)
class RawValues:
    """A raw frame, and the master frames for its reduction by kind."""

    path: Path
    raw: RawFrame
    exposure: Exposure | None  # None: it is not reduced
    masters: Mapping[str, Master]


@attrs.frozen(eq=False)
class Imported:
    """An imported frame: image (ny, nx) e-/s, mask of PixelFlag bits, header values by a parser, sources and sky."""

    image: Floats
    mask: Ints
    header: fits.Header
    parser: str
    info: HeaderInfo
    sources: Table
    sky_level: float
    rms: float
    sky: ephemerides.SkyState
    doubts: tuple[Doubt, ...] = ()


class ImportFrame(Task[RawPayload, RawValues, Imported]):
    """Imports a raw file as a frame."""

    def files(self, unit: Unit[RawPayload]) -> int:
        """Return 1: the raw file."""
        return 1

    def load(self, unit: Unit[RawPayload]) -> RawValues:
        """Read the raw file and the master frames that it is reduced with."""
        from lcframework.frames.raw_frames import read_raw

        p = unit.payload
        if p.plan.not_read:
            raise OSError(errno.EIO, p.plan.not_read)
        masters = read_masters(self.toolbox.workdir, p.plan)
        path = Path(p.path)
        return RawValues(path, read_raw(path, self.toolbox.config.frames), p.plan.exposure, masters)

    def compute(self, values: RawValues) -> Imported:
        """Reduce the image, convert it to e-/s, subtract the sky and find sources."""
        from lcframework.frames.exposed_region import unexposed
        from lcframework.frames.raw_examination import examine
        from lcframework.sky import ephemerides

        path, raw = values.path, values.raw
        parser, info = read_header(self.toolbox.all("header"), raw.header, path)
        check_time(info.mjd_mid)
        config = self.toolbox.config_for(info.instrument)
        info = with_gain(info, config.header.gain)
        reduced, defects = self._reduced(raw, values.exposure, values.masters, info)
        dark, doubts = unexposed(raw.image, raw.header, self._full_shape(raw), self.toolbox.config.frames.trim_section)
        if dark is not None:
            raw = attrs.evolve(raw, image=np.where(dark, np.float32(np.nan), raw.image))
            reduced = np.where(dark, np.float32(np.nan), reduced)  # blank: beyond the data
        examined = examine(raw, info, config.stamps.saturation, self._gain_is_chosen(info))
        info = attrs.evolve(info, saturation=examined.saturation, doubts=(*info.doubts, *examined.doubts))
        mask = pixel_flags(raw.image, info.saturation, reduced) | defects
        # A reduction may divide by zero where the raw image is valid.
        mask |= np.where(np.isfinite(reduced), 0, PixelFlag.BLANK.value).astype(np.uint8)
        image = to_rate(reduced, info)
        bad = mask > 0
        if bad.all():
            raise UnusableInput(f"{path.name}: every pixel is blank, saturated or on a bad line")
        sky, rms = self._sky(np.where(np.isfinite(image), image, 0).astype(np.float32), bad, info.instrument)
        level = float(np.median(sky))
        if config.background.subtract:
            image = image - sky
        image = np.where(np.isfinite(image), image, 0).astype(np.float32)
        sources = self._sources(image, rms, bad, info)
        t = config.telescope
        site = ephemerides.Site(t.latitude, t.longitude, t.elevation) if t else None
        state = ephemerides.sky_state(info.mjd_mid, site)
        return Imported(image, mask, raw.header, parser, info, sources, level, rms, state, (*info.doubts, *doubts))

    def _full_shape(self, raw: RawFrame) -> tuple[int, int]:
        """Return the (ny, nx) of the image in the file, from which `[frames]` may trim."""
        frames, (ny, nx) = self.toolbox.config.frames, raw.image.shape
        return ny + 2 * frames.trim_vertical, nx + 2 * frames.trim_horizontal

    def _gain_is_chosen(self, info: HeaderInfo) -> bool:
        """Return whether the gain is what the user set as an option of a header parser, or what the noise says."""
        return bool(info.flags & FrameFlag.GAIN_MEASURED) or any(
            getattr(tool.instance, "gain", None) == info.gain for tool in self.toolbox.all("header")
        )

    def _reduced(
        self, raw: RawFrame, exposure: Exposure | None, masters: Mapping[str, Master], info: HeaderInfo
    ) -> tuple[Floats, Any]:
        """Return the reduced image in the raw unit and pixel flags of defects; or the raw image without a reduction."""
        tool = self.toolbox.tool("reduction", info.instrument)
        if exposure is None or tool is None or not masters:
            return raw.image, np.uint8(0)
        if info.data_unit in (DataUnit.ADU_PER_SECOND, DataUnit.ELECTRON_PER_SECOND):
            section = f'[instrument."{info.instrument}".reduction]' if info.instrument else "[reduction]"
            raise UnusableInput(
                f"its unit is {info.data_unit.value}, so it has been reduced before: counts are needed to subtract a "
                f'bias or a dark. Set plugin = "none" in {section}'
            )
        image, flags = tool.ask("reduce", raw.image, exposure, masters)
        return np.asarray(image, np.float32), np.asarray(flags, np.uint8)

    def _sky(self, image: Floats, bad: Any, instrument: str) -> tuple[Floats, float]:
        tool = self.toolbox.tool("background", instrument)
        if tool is None:
            return np.zeros_like(image), robust_scatter(image[~bad])
        sky, rms = tool.ask("estimate", image, bad)
        if not (np.isfinite(rms) and rms > 0):
            raise UnusableInput(
                f"the background's rms is {rms} e-/s: the frame has no noise (constant pixels?) and can't be weighted"
            )
        return np.asarray(sky, np.float32), float(rms)

    def _sources(self, image: Floats, rms: float, bad: Any, info: HeaderInfo) -> Table:
        tool = self.toolbox.tool("sources", info.instrument)
        if tool is None:
            raise UnusableInput('[sources] plugin = "none": seeing, neighbours and plate solving need sources')
        variance = np.float32(rms**2) + np.maximum(image, 0) / np.float32(info.exptime)
        table: Table = tool.ask("extract", image, variance, bad)
        return table

    def save(self, unit: Unit[RawPayload], values: RawValues, result: Imported) -> Outcome:
        """Write the frame and its sources."""
        p = unit.payload
        image_path = p.image or self._new_path(unit, result.info)
        sources_path = beside(image_path, f"{p.key}_sources.fits")
        write_frame(self.toolbox.workdir / image_path, result.image, result.mask, frame_header(result, p.plan))
        write_table(self.toolbox.workdir / sources_path, result.sources)
        seeing, ellipticity = shape_of_stars(result.sources, result.mask)
        info = result.info
        flags = info.flags
        flags |= FrameFlag.FEW_SOURCES if len(result.sources) < FEW_SOURCES else 0
        flags |= FrameFlag.ODD_TIME if time_is_odd(info.mjd_mid) else 0
        flags |= FrameFlag.SUN_UP if (result.sky.sun_altitude or -90) > 0 else 0
        row = {
            "image_relpath": image_path, "sources_relpath": sources_path, "band": info.band,
            "instrument": info.instrument, "mjd": info.mjd_mid, "mjd_start": info.mjd_start, "mjd_end": info.mjd_end,
            "time_source": info.time_source, "header_parser": result.parser, "exptime": info.exptime, "gain": info.gain,
            "read_noise": finite_or_none(info.read_noise), "saturation": finite_or_none(info.saturation),
            "width": result.image.shape[1], "height": result.image.shape[0],
            "seeing_pixels": seeing, "ellipticity": ellipticity,
            "sky_level_electron_per_second": result.sky_level, "background_rms_electron_per_second": result.rms,
            "sun_altitude": result.sky.sun_altitude, "moon_phase": result.sky.moon_phase,
            "eliminated": False, "comment": "", "flags": int(flags), "plate_solved": False, "roi_in_footprint": False,
            "calibration": p.plan.text,
        }  # fmt: skip
        return Outcome(
            (Update("frames", {"id": unit.frame_id}, row),),
            image_path,
            summary=f"{len(result.sources)} sources",
            doubts=(*result.doubts, *p.plan.doubts),
        )

    def _new_path(self, unit: Unit[RawPayload], info: HeaderInfo) -> str:
        site = self.toolbox.config.telescope
        folder = folder_of(unit.frame_id or 0, info.mjd_mid, site.longitude if site else 0.0)
        return "/".join(filter(None, ("frames", folder, f"{unit.payload.key}.fits")))

    def unusable_records(self, unit: Unit[RawPayload], reason: str) -> tuple[Record, ...]:
        """Record that the frame is eliminated, and why."""
        row = {"eliminated": True, "comment": reason, "plate_solved": False, "roi_in_footprint": False}
        return (Update("frames", {"id": unit.frame_id}, row),)


def frame_header(imported: Imported, plan: FramePlan) -> fits.Header:
    """Return the header of an imported frame's file: the raw one, with the unit and what the frame is reduced by."""
    header = imported.header.copy()
    header["BUNIT"] = "electron/s"
    for master in plan.masters:
        header["HISTORY"] = ascii_text(f"reduced with {master.text}")
    return header


@attrs.define
class ReadConvertSkysubCharacterCatalog(Stage):
    """One unit for each frame; before them one for each master frame, where frames are reduced."""

    name: ClassVar[str] = "read_convert_skysub_character_catalog"
    title: ClassVar[str] = "Import"
    makes: ClassVar[tuple[str, ...]] = (
        "frames", "frames/<name>.fits", "frames/<name>_sources.fits", "exposures", "frames/master_<digest>.fits"
    )  # fmt: skip
    unit: ClassVar[str] = "frame"
    reads: ClassVar[tuple[str, ...] | None] = ("frames", "exposures", "combined_footprint")
    results_version: ClassVar[int] = 6

    @property
    def filtered(self) -> bool:
        """Whether a run's filter applies: not where the field of reference stars depends on all frames."""
        return self.toolbox.config.stars.strategy == "roi_disk"

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return the task that makes master frames, and the task that imports frames."""
        return {
            MasterKey: CombineMaster(self.name, self.toolbox),
            FrameKey: ImportFrame(self.name, self.toolbox),
        }

    def outside(self) -> Components:
        """Return the raw files and the calibration files that there are, with their sizes and times."""
        toolbox, found = self.toolbox, {"": stamps_of(find_files(self.toolbox.config))}
        for name in ("", *toolbox.configs):
            if toolbox.tool("reduction", name) is not None:
                found[f"reduction {name}"] = stamps_of(calibration_files(toolbox.config_for(name)).values())
        return {name: digest(files) for name, files in found.items()}

    def prepare(self, session: Session, ledger: Ledger) -> None:
        """Record the raw files that exist, and what the reduction has read from their headers."""
        frame_list = FrameList(session, self.toolbox.config)
        reductions = self._plan(session, frame_list, ledger)
        frame_list.record()
        note_gains(session, self.toolbox)
        if reductions.calibrations is not None:
            reductions.calibrations.record()
        forget_old_masters(session, self.name, ledger, reductions)

    def unprepared(self, session: Session, ledger: Ledger) -> bool:
        """Return whether exclusions of frames have changed and are not recorded yet."""
        frame_list = FrameList(session, self.toolbox.config)
        self._plan(session, frame_list, ledger)
        return bool(frame_list.changed)

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return a unit for each master frame that is needed, and for each raw file that is not excluded."""
        config = self.toolbox.config
        parts = {
            "frames": {k: v for k, v in describe(config.frames).items() if k.startswith(("hdu", "trim"))},
            "header": counted_elsewhere(self.toolbox.identity("header"), "gain"),
            "telescope": observing_site(config),
            "by_instrument": {name: self._identity(name) for name in ("", *self.toolbox.configs)},
        }
        parts = {name: Shared(part) if isinstance(part, dict) else part for name, part in parts.items()}
        frame_list = FrameList(session, config)
        reductions = self._plan(session, frame_list, ledger)
        plans = reductions.plans
        return [*reductions.units] + [
            Unit(FrameKey(f.id or 0), file_name(f.original_image_path),
                 self.components(raw=f.raw_digest, **parts, **plans[f.id].parts, **measured_gain(f, self.toolbox)),
                 RawPayload(f.key, f.original_image_path, plans[f.id], f.image_relpath or ""), f.id)
            for f in frame_list.frames
            if f.id in plans
        ]  # fmt: skip

    def _plan(self, session: Session, frame_list: FrameList, ledger: Ledger) -> Reductions:
        parsers = self.toolbox.all("header")
        return plan_reductions(
            self, session, frame_list, ledger, lambda header, path: parse_header(parsers, header, path).instrument
        )

    def _identity(self, instrument: str) -> Components:
        config = self.toolbox.config_for(instrument)
        return {
            "background": self.toolbox.identity("background", instrument),
            "sources": self.toolbox.identity("sources", instrument),
            "saturation": describe(config.stamps)["saturation"],
            "telescope": observing_site(config),
        }

    def harm(self, product: Entry, ledger: Ledger) -> str:
        """Return what is wrong with a product's files; a frame's may be gone where imported frames are not kept."""
        wrong = super().harm(product, ledger)
        if not product.made or FrameKey.parse(product.unit) is None:
            return wrong
        gone = f"its file is gone: {product.path}"
        if self.toolbox.config.frames.keep_imported:
            return wrong or ("" if os.path.exists(os.path.join(self.toolbox.workdir, product.path)) else gone)
        return "" if wrong == gone else wrong

    def retry(self, product: Entry) -> bool:
        """Return whether a file that took too long has another limit now."""
        limit = self.toolbox.config.run.seconds_per_file
        return OPTION in product.reason and f"longer than {limit:g} s" not in product.reason

    def ready(self, units: Sequence[Unit[Any]]) -> list[Unit[Any]]:
        """Return only master frames while these are pending, because frames need them."""
        return list(ready_masters(units) or units)

    def finish(self, session: Session, ledger: Ledger, workdir: Path) -> None:
        """Delete master frames that are not needed any more; raise `LcfError` where no raw file was found."""
        remove_old_masters(session, workdir)
        if session.exec(select(Frame)).first() is None:
            frames = self.toolbox.config.frames
            folders = [resolve_path(d, self.toolbox.config.directory) for d in frames.raw_dirs]
            other = next(filter(None, map(likely_pattern, folders)), "")
            cure = f'; files are there whose names end otherwise: write pattern = "{other}"' if other else ""
            raise LcfError(
                f'no file matches [frames] pattern = "{frames.pattern}" in {", ".join(map(str, folders))}{cure}'
            )
