"""``stamp_extraction``: stamps of the reference stars and of the regions of interest, with noise maps and masks."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import sqlalchemy as sa
from astropy.io import fits
from astropy.table import Table
from sqlmodel import Session, col, select

from lcframework.config.structuring import place
from lcframework.frames.stamping import HotPixels, corner_of, cut, hot_pixel_map, neighbour_mask, noise_map
from lcframework.provenance import describe, digest, file_digest
from lcframework.sky.geometry import separation
from lcframework.stages.base import Ledger, Outcome, Stage, Unit
from lcframework.stages.plate_solving import PlateSolving
from lcframework.stages.query_gaia_for_stars import QueryGaiaForStars
from lcframework.stages.read_convert_skysub_character_catalog import ReadConvertSkysubCharacterCatalog as Import
from lcframework.stages.scopes import Scope, field_rois
from lcframework.stars.quality import Surroundings, is_saturated, judge, masked_fraction, serve, signal_to_noise
from lcframework.storage.files import (
    REGIONS,
    Stamp,
    atomic,
    read_frame,
    read_table,
    read_wcs,
    write_regions,
    write_stamps,
)
from lcframework.storage.records import Record, Update
from lcframework.storage.tables import CombinedFootprint, Frame, Product, PsfRow, RoiInFrame, StarInFrame, active_stars
from lcframework.types import Floats, Ints, PixelFlag, UnusableInput

#: As many frames as tell hot pixels apart, spread over the night.
HOT_PIXEL_FRAMES = 60
FEWEST_FOR_HOT_PIXELS = 5
#: What a region holds is rounded up to this, so that correcting a point source's place leaves stamps as they are.
REACH_STEP = 2.0  # arcsec


@attrs.frozen
class Target:
    """A star or region to cut out: its name in the files, and where it is in the frame."""

    name: str
    x: float
    y: float
    magnitude: float = float("nan")


@attrs.frozen
class FramePayload:
    """A frame to cut the stamps of one field from."""

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
    stars: tuple[Target, ...]
    rois: tuple[Target, ...]
    hot_map: str


@attrs.frozen(eq=False)
class FrameValues:
    """A frame in memory."""

    payload: FramePayload
    image: Floats
    flags: Ints
    sources: Table
    wcs: Any
    wcs_text: str
    hot: HotPixels | None


@attrs.frozen(eq=False)
class FrameStamps:
    """A frame's stamps by name, and what the stars' stamps are worth."""

    stamps: dict[str, Stamp]
    stars: dict[str, dict[str, Any]]
    shape: tuple[int, int]


@attrs.define
class StampExtraction(Stage):
    """One unit a frame and field, with the field's regions; before them one an instrument whose hot pixels are wanted.

    A region somewhere else is a field more, and leaves the stamps of the others as they are.
    """

    name: ClassVar[str] = "stamp_extraction"
    title: ClassVar[str] = "Stamps"
    needs: ClassVar[tuple[str, ...]] = (QueryGaiaForStars.name,)
    makes: ClassVar[tuple[str, ...]] = ("regions.h5", "regions/<name>/stamps_<fingerprint>.h5", "stars_in_frames")
    unit: ClassVar[str] = "frame and field"
    results_version: ClassVar[int] = 3

    def units(self, session: Session, ledger: Ledger) -> list[Unit]:
        """Return the hot-pixel maps that are missing; then the fields in the frames that hold a region."""
        frames = session.exec(
            select(Frame).where(Frame.roi_in_footprint, ~col(Frame.eliminated)).order_by(col(Frame.mjd))
        ).all()
        maps = self._hot_map_units(list(frames))
        done = ledger.of_stage(self.name)
        self._forget_fields(session, list(done))
        waiting = {u.payload[0] for u in maps if u.key not in done or done[u.key].fingerprint != u.fingerprint}
        tokens = ledger.tokens(self.name)
        solved, placed = ledger.tokens(PlateSolving.name), ledger.tokens(QueryGaiaForStars.name)
        imported = ledger.tokens(Import.name)
        stars, rois, regions = self._stars(session), self._rois(session), field_rois(session)
        units = list(maps)
        for f in frames:
            config = self.setup.config_for(f.instrument)
            hot = config.stamps.hot_pixels
            hot_path = self._hot_path(f.instrument) if hot == "auto" else hot
            for field, here in stars.get(f.id or 0, {}).items():
                key = f"frame:{f.id}:{field}"
                if f.instrument in waiting or key not in placed or f"frame:{f.id}" not in solved:
                    continue
                mine = regions[field]
                parts = {
                    "frame": imported.get(f"frame:{f.id}"), "wcs": solved[f"frame:{f.id}"], "stars": placed[key],
                    "rois": {n: [r.ra, r.dec, self.reach(n)] for n, r in config.roi.items() if n in mine},
                    "stamps": {**describe(config.stamps), "saturation": None,
                               "hot_pixels": self._hot_identity(hot, f, tokens)},
                    "cosmics": self.setup.identity("cosmics", f.instrument),
                }  # fmt: skip
                payload = FramePayload(
                    f.id or 0, f.key, f.image_relpath or "", f.sources_relpath or "", f.wcs_relpath or "",
                    f.instrument, f.exptime or 1.0, f.background_rms_electron_per_second or 1.0,
                    f.seeing_pixels or 3.0, f.pixel_scale or 1.0, field, tuple(here),
                    tuple(t for t in rois.get(f.id or 0, ()) if t.name in mine), hot_path,
                )  # fmt: skip
                scope = Scope(mine, f.instrument, f.band)
                units.append(Unit(key, f.key, self.components(**parts), payload, f.id, scope))
        return units

    def _forget_fields(self, session: Session, units: list[str]) -> None:
        """Drop the stamps of fields that no region has any more: their files go when the others are joined."""
        fields = set(session.exec(select(CombinedFootprint.hash).where(CombinedFootprint.active)))
        gone = [u for u in units if u.startswith("frame:") and u.split(":", 2)[-1] not in fields]
        if gone:
            session.execute(sa.delete(Product).where(col(Product.stage) == self.name, col(Product.unit).in_(gone)))

    def _hot_identity(self, hot: str, frame: Frame, tokens: dict[str, str]) -> str:
        if hot in ("", "auto"):
            return tokens.get(f"hot:{frame.instrument}", "") if hot else ""
        return file_digest(place(hot, self.setup.config.directory))

    @staticmethod
    def _hot_path(instrument: str) -> str:
        return f"frames/hot_pixels_{digest(instrument, 8)}.fits"

    def _hot_map_units(self, frames: list[Frame]) -> list[Unit]:
        units = []
        for instrument in sorted({f.instrument for f in frames}):
            if self.setup.config_for(instrument).stamps.hot_pixels != "auto":
                continue
            shapes = [(f.height, f.width) for f in frames if f.instrument == instrument]
            shape = max(set(shapes), key=shapes.count)
            mine = [f for f in frames if f.instrument == instrument and (f.height, f.width) == shape]
            if len(mine) < FEWEST_FOR_HOT_PIXELS:
                continue  # too few to tell a hot pixel from a star: the map is made when there are more
            step = max(1, len(mine) // HOT_PIXEL_FRAMES)
            chosen = [(f.image_relpath, f.sources_relpath) for f in mine[::step]]
            # Frozen once made: which frames served is not part of what it depends on.
            components = self.components(hot_pixels="auto", instrument=instrument)
            units.append(
                Unit(
                    f"hot:{instrument}", f"hot pixels of {instrument}", components, (instrument, chosen),
                    scope=Scope(instrument=instrument),
                )
            )  # fmt: skip
        return units

    @staticmethod
    def _stars(session: Session) -> dict[int, dict[str, list[Target]]]:
        """Return the stars of each frame by field."""
        active = active_stars(session)
        out: dict[int, dict[str, list[Target]]] = {}
        for s in session.exec(select(StarInFrame).order_by(col(StarInFrame.gaia_id))):
            if (s.combined_footprint_hash, s.gaia_id) in active:
                star = active[s.combined_footprint_hash, s.gaia_id]
                here = out.setdefault(s.frame_id, {}).setdefault(s.combined_footprint_hash, [])
                here.append(Target(s.gaia_id, s.x, s.y, star.magnitude))
        return out

    @staticmethod
    def _rois(session: Session) -> dict[int, list[Target]]:
        out: dict[int, list[Target]] = {}
        for r in session.exec(select(RoiInFrame).where(RoiInFrame.roi_in_footprint)):
            out.setdefault(r.frame_id, []).append(Target(r.roi, r.x or 0.0, r.y or 0.0))
        return out

    def load(self, unit: Unit) -> Any:
        """Read the frame; or, for hot pixels, many."""
        workdir = self.setup.workdir
        if not isinstance(unit.payload, FramePayload):
            _, chosen = unit.payload
            return [(*read_frame(workdir / i)[:2], read_table(workdir / s)) for i, s in chosen]
        p = unit.payload
        image, flags, _ = read_frame(workdir / p.image)
        hot = self._read_hot(p) if p.hot_map else None
        if hot is not None and hot.bad.shape != image.shape:
            if self.setup.config_for(p.instrument).stamps.hot_pixels != "auto":
                raise UnusableInput(f"the hot-pixel map {p.hot_map} has shape {hot.bad.shape}, the frame {image.shape}")
            hot = None  # a frame of another size has other pixels
        wcs = read_wcs(workdir / p.wcs)
        return FrameValues(p, image, flags, read_table(workdir / p.sources), wcs, header_text(wcs), hot)

    def _read_hot(self, payload: FramePayload) -> HotPixels | None:
        auto = self.setup.config_for(payload.instrument).stamps.hot_pixels == "auto"
        path = place(payload.hot_map, self.setup.workdir if auto else self.setup.config.directory)
        if auto and not path.exists():
            return None
        try:
            with fits.open(path) as hdus:
                image = np.asarray(hdus[0].data)
                if auto:
                    return HotPixels(image.astype(np.float32), np.asarray(hdus["BAD"].data) != 0)
                return HotPixels(np.zeros(image.shape, np.float32), image != 0)  # a user's map says what to mask
        except (OSError, KeyError) as error:
            raise UnusableInput(f"[stamps] hot_pixels = {payload.hot_map!r} can't be read: {error}") from None

    def compute(self, values: Any) -> Any:
        """Find hot pixels, or cut and mask."""
        if isinstance(values, list):
            return hot_pixel_map(values)
        return self._cut(values)

    def _cut(self, v: FrameValues) -> FrameStamps:
        settings = self.setup.config_for(v.payload.instrument).stamps
        flags = v.flags if settings.mask_bad_lines else v.flags & ~np.uint8(PixelFlag.BAD_LINE.value)
        if v.hot is not None:
            flags = flags | np.where(v.hot.bad, np.uint8(PixelFlag.HOT.value), np.uint8(0))
        stars = {t.name: self._stamp(v, flags, t, settings.star_size, 0.0) for t in v.payload.stars}
        rois = {}
        for target in v.payload.rois:
            radius = self.reach(target.name) / v.payload.pixel_scale
            rois[target.name] = self._stamp(v, flags, target, settings.roi_size, radius)
        stamps = self._with_cosmics({**stars, **rois}, v.payload.instrument)
        return FrameStamps(stamps, self._worth({name: stamps[name] for name in stars}, v), v.image.shape)

    def reach(self, roi: str) -> float:
        """Return how far from a region's position, in arcsec, sources belong to it and are not masked as neighbours."""
        region = self.setup.config.roi[roi]
        points = list(region.point_sources.values())
        farthest = 0.0
        if points:
            ra, dec = np.array(points).T
            farthest = float(separation(ra, dec, region.ra, region.dec).max())
        return float(max(region.exclusion_radius, REACH_STEP * np.ceil((farthest + 1.0) / REACH_STEP)))

    def _stamp(self, v: FrameValues, flags: Ints, target: Target, size: int, radius: float) -> Stamp:
        corner = corner_of(target.x, target.y, size)
        counted = cut(v.image, corner, size, 0.0)
        data = counted - cut(v.hot.excess, corner, size, 0.0) if v.hot is not None else counted
        mask = cut(flags, corner, size, PixelFlag.BLANK.value)
        p = v.payload
        near = max(own_radius(p.seeing), radius)
        neighbours = neighbour_mask(v.sources, corner, size, (target.x, target.y), near, p.rms)
        mask = mask | np.where(neighbours, np.uint8(PixelFlag.NEIGHBOUR.value), np.uint8(0))
        half = (size - 1) / 2
        offset = (target.x - corner[0] - half, target.y - corner[1] - half)
        return Stamp(
            data, noise_map(counted, p.rms, p.exptime), mask, corner, offset, moved(v.wcs_text, v.wcs.wcs.crpix, corner)
        )

    def _with_cosmics(self, stamps: dict[str, Stamp], instrument: str) -> dict[str, Stamp]:
        tool = self.setup.tool("cosmics", instrument)
        if tool is None:
            return stamps
        out = dict(stamps)
        for size in {s.data.shape for s in stamps.values()}:
            names = [n for n, s in stamps.items() if s.data.shape == size]
            found = tool.instance.mask(
                np.stack([stamps[n].data for n in names]), np.stack([stamps[n].noise for n in names])
            )
            for name, cosmics in zip(names, found, strict=True):
                mask = stamps[name].mask | np.where(cosmics, np.uint8(PixelFlag.COSMIC.value), np.uint8(0))
                out[name] = attrs.evolve(stamps[name], mask=mask)
        return out

    @staticmethod
    def _worth(stamps: dict[str, Stamp], v: FrameValues) -> dict[str, dict[str, Any]]:
        """Return the columns of ``stars_in_frames`` that judge the stars' stamps."""
        seeing, targets = v.payload.seeing, v.payload.stars
        around = Surroundings(
            v.sources, seeing, own_radius(seeing), np.array([(t.x, t.y) for t in targets]).reshape(-1, 2),
            10 ** (-0.4 * np.array([t.magnitude for t in targets])),
        )  # fmt: skip
        said = judge(stamps, around)
        usable = serve(said)
        return {
            name: {"usable": usable[name], "masked_fraction": masked_fraction(stamps[name]),
                   "saturated": is_saturated(stamps[name], seeing),
                   "signal_to_noise": signal_to_noise(stamps[name], seeing), "comment": comment}
            for name, comment in said.items()
        }  # fmt: skip

    def save(self, unit: Unit, result: Any) -> Outcome:
        """Write the stamps' file."""
        if not isinstance(unit.payload, FramePayload):
            path = self._hot_path(unit.payload[0])
            hot: HotPixels = result
            with atomic(self.setup.workdir / path) as temporary:
                bad = fits.ImageHDU(hot.bad.astype(np.uint8), name="BAD")
                fits.HDUList([fits.PrimaryHDU(hot.excess), bad]).writeto(temporary)
            token = hashlib.sha256(hot.excess.tobytes() + np.packbits(hot.bad).tobytes()).hexdigest()
            summary = f"{int((hot.excess != 0).sum())} hot pixels, {int(hot.bad.sum())} bad"
            return Outcome(path=path, token=token, summary=summary)
        path = f"regions/{unit.payload.key}/stamps_{unit.fingerprint[:12]}.h5"
        write_stamps(self.setup.workdir / path, result.stamps, result.shape)
        records: list[Record] = [
            Update(
                "stars_in_frames",
                {"frame_id": unit.frame_id, "combined_footprint_hash": unit.payload.field, "gaia_id": star},
                row,
            )
            for star, row in result.stars.items()
        ]
        usable = sum(r["usable"] for r in result.stars.values())
        return Outcome(tuple(records), path, summary=f"{usable} usable stars")

    def outdated(self, workdir: Path) -> bool:
        """Whether ``regions.h5`` is gone."""
        return not (workdir / REGIONS).exists()

    def finish(self, session: Session, workdir: Path) -> None:
        """Join the files in ``regions.h5``."""
        join_regions(session, workdir, next(iter(self.setup.config.roi)))


def join_regions(session: Session, workdir: Path, first_roi: str) -> None:
    """Rebuild ``regions.h5`` from the products that the database knows, and delete files that none refers to."""
    keys = {f.id: f.key for f in session.exec(select(Frame))}
    ledger = Ledger(session)
    psfs: dict[int, dict[str, str]] = {}
    for row in session.exec(select(PsfRow)):
        psfs.setdefault(row.frame_id, {})[row.psf_ref] = row.path
    frames: dict[str, tuple[list[str], dict[str, str]]] = {}
    for unit, product in sorted(ledger.of_stage(StampExtraction.name).items()):
        if product.state == "made" and unit.startswith("frame:"):
            frame_id = int(unit.split(":")[1])
            there = {ref: path for ref, path in psfs.get(frame_id, {}).items() if (workdir / path).exists()}
            if (workdir / product.path).exists():
                frames.setdefault(keys[frame_id], ([], there))[0].append(product.path)
    write_regions(workdir, frames, first_roi)
    wanted = {path for stamps, there in frames.values() for path in (*stamps, *there.values())}
    for path in (workdir / "regions").glob("*/*.h5"):
        if str(path.relative_to(workdir)) not in wanted:
            path.unlink()


def own_radius(seeing: float) -> float:
    """Return how near to a star, in pixels, a source is taken to be the star itself."""
    return max(3.0, 1.5 * seeing)


def header_text(wcs: Any) -> str:
    """Return a WCS as header text that always has CRPIX cards."""
    header = wcs.to_header(relax=True)
    for axis in (0, 1):  # astropy leaves out a CRPIX of 0
        header[f"CRPIX{axis + 1}"] = float(wcs.wcs.crpix[axis])
    return str(header.tostring(sep="\n", padding=False))


def moved(text: str, reference: Floats, corner: tuple[int, int]) -> str:
    """Return a frame's WCS header text as it holds for a stamp that starts at `corner`.

    `reference` is the frame's CRPIX. Only those two cards differ between stamps: writing them by hand spares a header
    for each.
    """
    for axis in (0, 1):
        key = f"CRPIX{axis + 1}"
        card = f"{key}  = {reference[axis] - corner[axis]:20.9f}".ljust(80)
        text = re.sub(rf"(?m)^{key}  =.*$", card, text)
    return text
