"""``psf_modeling``: one PSF per frame and field, from stamps of reference stars; frames are fitted in batches."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
from sqlmodel import Session, col, select

from lcframework.provenance import digest
from lcframework.stages.base import Ledger, Outcome, Stage, Unit
from lcframework.stages.scopes import Scope, field_rois
from lcframework.stages.stamp_extraction import StampExtraction, join_regions
from lcframework.stars.names import choose
from lcframework.storage.files import Stamp, read_stamps, write_psf
from lcframework.storage.records import Record, Replace, Update
from lcframework.storage.tables import Frame, Star, StarInFrame, active_stars
from lcframework.types import PSF, LcfError, PsfBatch, UnusableInput

log = logging.getLogger(__name__)

#: Fainter stars add noise to a PSF and next to nothing to a coefficient; they serve where there are too few others.
MIN_SIGNAL_TO_NOISE = 20.0
FEWEST = 3
PHOTOMETRY = "star_photometry"  # the stage that measures with the PSFs, one unit of the same key a frame and field


@attrs.frozen
class PsfPayload:
    """One frame's PSF fit: identifiers and letters of its stars, nearest the region first."""

    frame_id: int
    field: str
    key: str
    stamps: str
    instrument: str
    shape: tuple[int, int]
    seeing: float
    ids: tuple[str, ...]
    names: tuple[str, ...]


@attrs.frozen(eq=False)
class PsfValues:
    """A frame's star stamps."""

    payload: PsfPayload
    stamps: list[Stamp]


def usable_stars(session: Session) -> dict[tuple[int, str], list[tuple[Star, StarInFrame]]]:
    """Return each frame's and field's stars with a usable stamp, nearest the region first; maybe none."""
    stars = active_stars(session)
    out: dict[tuple[int, str], list[tuple[Star, StarInFrame]]] = {}
    for row in session.exec(select(StarInFrame)):
        star = stars.get((row.combined_footprint_hash, row.gaia_id))
        if star is not None and row.signal_to_noise is not None:
            mine = out.setdefault((row.frame_id, row.combined_footprint_hash), [])
            if row.usable:
                mine.append((star, row))
    for rows in out.values():
        rows.sort(key=lambda pair: (pair[0].distance_to_roi_arcsec, pair[0].gaia_id))
    return out


def chosen_stars(rows: list[tuple[Star, StarInFrame]], wanted: int | list[str], exclude: list[str]) -> list[Star]:
    """Return the stars of a frame to use, of its usable ones, nearest the region first.

    A number means the nearest that have a signal-to-noise of `MIN_SIGNAL_TO_NOISE` in this frame; where fewer than
    `FEWEST` have, the nearest of all. A list of letters is taken as it is.
    """
    if isinstance(wanted, int):
        bright = [r for r in rows if (r[1].signal_to_noise or 0) >= MIN_SIGNAL_TO_NOISE and r[0].name not in exclude]
        rows = bright if len(bright) >= FEWEST else rows
    by_name = {s.name: s for s, _ in rows}
    return [by_name[n] for n in choose(list(by_name), wanted, exclude)]


def check_names(session: Session, where: str, wanted: int | list[str], exclude: list[str]) -> None:
    """Refuse letters that no star has.

    Raises
    ------
    LcfError
        Naming them, and the letters there are.
    """
    known = {s.name for s in active_stars(session).values()}
    asked = [*exclude, *(wanted if isinstance(wanted, list) else [])]
    unknown = [n for n in asked if n not in known]
    if unknown and known:
        there = ", ".join(sorted(known, key=lambda n: (len(n), n)))
        raise LcfError(f"{where} names {', '.join(unknown)}; the reference stars are {there}")


@attrs.define
class PsfModeling(Stage):
    """Models PSFs."""

    name: ClassVar[str] = "psf_modeling"
    title: ClassVar[str] = "PSF models"
    needs: ClassVar[tuple[str, ...]] = (StampExtraction.name,)
    makes: ClassVar[tuple[str, ...]] = ("PSFs", "regions/<name>/psf_<ref>_<fingerprint>.h5")
    unit: ClassVar[str] = "batch of frames"
    accelerator: ClassVar[bool] = True
    batch_size: ClassVar[int] = 16

    def units(self, session: Session, ledger: Ledger) -> list[Unit]:
        """Return one unit a frame and field."""
        stamped = ledger.of_stage(StampExtraction.name)
        frames = {f.id: f for f in session.exec(select(Frame).where(Frame.roi_in_footprint, ~col(Frame.eliminated)))}
        for where, config in self.setup.by_instrument().items():
            check_names(session, f"[{where}psf]", config.psf.stars, config.psf.exclude)
        usable, rois = usable_stars(session), field_rois(session)
        units = []
        for (frame_id, field), rows in sorted(usable.items()):
            product, f = stamped.get(f"frame:{frame_id}:{field}"), frames.get(frame_id)
            if product is None or product.state != "made" or f is None:
                continue
            settings = self.setup.config_for(f.instrument).psf
            chosen = chosen_stars(rows, settings.stars, settings.exclude)
            ids, names = tuple(s.gaia_id for s in chosen), tuple(s.name for s in chosen)
            identity = self.setup.identity("psf", f.instrument)
            components = self.components(stamps=product.token, psf=identity, stars=list(ids))
            payload = PsfPayload(frame_id, field, f.key, product.path, f.instrument, (f.height or 0, f.width or 0),
                                 f.seeing_pixels or 3.0, ids, names)  # fmt: skip
            scope = Scope(rois.get(field), f.instrument, f.band)
            units.append(Unit(f"frame:{frame_id}:{field}", f.key, components, payload, frame_id, scope))
        return units

    def batches(self, units: Sequence[Unit]) -> list[list[Unit]]:
        """Group frames of one instrument and shape."""
        groups: dict[Any, list[Unit]] = {}
        for unit in units:
            groups.setdefault((unit.payload.instrument, unit.payload.shape), []).append(unit)
        out = []
        for group in groups.values():
            n = self._at_once(group)
            out += [group[i : i + n] for i in range(0, len(group), n)]
        return out

    def _at_once(self, units: list[Unit]) -> int:
        """Return how many frames to fit together: what the model forecasts from the device's free memory."""
        tool = self.setup.tool("psf", units[0].payload.instrument)
        forecast = getattr(tool.instance, "frames_at_once", None) if tool is not None else None
        if forecast is None:
            return self.batch_size
        stars = max(1, max(len(u.payload.ids) for u in units))
        frames, words = forecast(stars, self.setup.config_for(units[0].payload.instrument).stamps.star_size)
        batches = -(-len(units) // frames)
        log.info("PSFs of %d frames with up to %d stars in %d batches. %s", len(units), stars, batches, words)
        return int(frames)

    def warm_up(self) -> None:
        """Let the model load what it needs for as many stars as are asked for."""
        tool, config = self.setup.tool("psf"), self.setup.config
        warm_up = getattr(tool.instance, "warm_up", None) if tool is not None else None
        if warm_up is not None:
            stars = config.psf.stars
            warm_up(stars if isinstance(stars, int) else len(stars), config.stamps.star_size)

    def load(self, unit: Unit) -> PsfValues:
        """Read the stars' stamps."""
        p: PsfPayload = unit.payload
        if not p.ids:
            raise UnusableInput("no usable star for the PSF: see stars_in_frames.comment, [psf] stars and exclude")
        stamps = read_stamps(self.setup.workdir / p.stamps, list(p.ids), wcs=False)
        return PsfValues(p, [stamps[i] for i in p.ids])

    def compute(self, values: PsfValues) -> PSF:
        """Fit one frame."""
        result = self.compute_batch([values])[0]
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[no-any-return]

    def compute_batch(self, batch: Sequence[PsfValues]) -> list[Any]:
        """Fit frames together."""
        first = batch[0].payload
        tool = self.setup.tool("psf", first.instrument)
        if tool is None:
            return [UnusableInput('[psf] plugin = "none": photometry needs a PSF')] * len(batch)
        sizes: dict[tuple[int, ...], list[int]] = {}
        for i, values in enumerate(batch):  # a filter may have kept some stamps from being cut anew
            sizes.setdefault(values.stamps[0].data.shape, []).append(i)
        results: list[Any] = [None] * len(batch)
        for places in sizes.values():
            for i, psf in zip(places, tool.instance.fit(psf_batch([batch[i] for i in places])), strict=True):
                why = psf.status.reason or psf.status.state
                results[i] = psf if psf.status.usable else UnusableInput(f"the PSF fit failed: {why}")
        return results

    def save(self, unit: Unit, result: PSF) -> Outcome:
        """Write the PSF."""
        p: PsfPayload = unit.payload
        ref = digest([p.field, sorted(p.ids)], 10)
        path = f"regions/{p.key}/psf_{ref}_{unit.fingerprint[:12]}.h5"
        write_psf(self.setup.workdir / path, result, list(p.ids))
        left_out = "; ".join(f"{p.names[i]}: {why}" for i, why in result.rejected.items() if i < len(p.names))
        row = {
            "combined_footprint_hash": p.field, "frame_id": p.frame_id, "psf_ref": ref, "path": path,
            "chi2": float(result.reduced_chi2), "subsampling_factor": result.subsampling_factor,
            "stars": ",".join(p.names), "status": result.status.state.value,
            "evaluations": result.status.evaluations, "comment": left_out,
        }  # fmt: skip
        where = {"combined_footprint_hash": p.field, "frame_id": p.frame_id}
        records: list[Record] = [Replace("PSFs", where, [row]), Update("stars_in_frames", where, {"psf_comment": ""})]
        records += [
            Update("stars_in_frames", {**where, "gaia_id": p.ids[i]}, {"psf_comment": why})
            for i, why in result.rejected.items() if i < len(p.ids)
        ]  # fmt: skip
        return Outcome(tuple(records), path, summary=f"chi2 {result.reduced_chi2:.2f}")

    def unusable_records(self, unit: Unit, reason: str) -> tuple[Record, ...]:
        """Record why; the frame's former PSF goes, and with it what was measured with it."""
        _, frame, field = unit.key.split(":", 2)
        where = {"combined_footprint_hash": field, "frame_id": int(frame)}
        records: list[Record] = [*super().unusable_records(unit, reason), Replace("PSFs", where)]
        tool = self.setup.tool("photometry", (unit.scope and unit.scope.instrument) or "")
        if tool is None or not tool.instance.joint:  # stars of many frames are measured again without this one
            records.append(Replace("star_flux_in_frame", where))
            # Without it, the same PSF made again would find its photometry done.
            records.append(Replace("products", {"stage": PHOTOMETRY, "unit": unit.key}))
        return tuple(records)

    def finish(self, session: Session, workdir: Path) -> None:
        """Join the new files in ``regions.h5``."""
        join_regions(session, workdir, next(iter(self.setup.config.roi)))


def psf_batch(batch: Sequence[PsfValues]) -> PsfBatch:
    """Return stamps of several frames, padded with masked stamps to one number of stars."""
    most = max(len(v.stamps) for v in batch)
    size = batch[0].stamps[0].data.shape
    shape = (len(batch), most, *size)
    data, noise, mask = np.zeros(shape, np.float32), np.ones(shape, np.float32), np.ones(shape, bool)
    xy, offset = np.zeros((len(batch), most, 2)), np.zeros((len(batch), most, 2))
    for i, values in enumerate(batch):
        for j, stamp in enumerate(values.stamps):
            data[i, j], noise[i, j], mask[i, j] = stamp.data, stamp.noise, stamp.mask > 0
            xy[i, j], offset[i, j] = stamp.centre, stamp.offset
    seeing = np.array([v.payload.seeing for v in batch])
    return PsfBatch(data, noise, mask, xy, offset, seeing, batch[0].payload.shape)
