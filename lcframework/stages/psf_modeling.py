"""``psf_modeling``: one PSF per frame and field, from stamps of reference stars; frames are fitted in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
from sqlmodel import Session

from lcframework.frames.joined_regions import aliased_region, join_regions
from lcframework.protocols import WarmsUp
from lcframework.provenance import Shared, counted_elsewhere, digest
from lcframework.stages.stamp_extraction import StampExtraction
from lcframework.stars.choice import check_names, chosen_stars, usable_stars
from lcframework.storage.files import beside
from lcframework.storage.psf_files import write_psf
from lcframework.storage.queries import frames_with_regions
from lcframework.storage.records import Record
from lcframework.storage.stamp_files import Stamp, read_stamps
from lcframework.types import PSF, PsfBatch, UnusableInput
from lcframework.work import (
    BatchTask,
    FrameKey,
    Ledger,
    Outcome,
    Replace,
    Scope,
    Stage,
    Task,
    Unit,
    UnitKey,
    Update,
)
from lcframework.work.batching import in_batches
from lcframework.work.scopes import field_rois

PHOTOMETRY = "star_photometry"  # the stage that uses the PSFs; its units have the same unit keys


@attrs.frozen
class PsfPayload:
    """The PSF fit of one frame; `ids` and `names` are the identifiers and letters of its stars, the nearest first."""

    frame_id: int
    field: str
    stamps: str
    instrument: str
    shape: tuple[int, int]
    seeing: float
    ids: tuple[str, ...]
    names: tuple[str, ...]


@attrs.frozen(eq=False)
class PsfValues:
    """The star stamps of a frame."""

    payload: PsfPayload
    stamps: list[Stamp]


class FitPsfs(BatchTask[PsfPayload, PsfValues, PSF]):
    """Fits the PSFs of frames."""

    accelerator: ClassVar[bool] = True
    batch_size: ClassVar[int] = 16

    def batches(self, units: Sequence[Unit[PsfPayload]]) -> list[list[Unit[PsfPayload]]]:
        """Group frames of one instrument and shape; the PSF model gives the size of a batch."""
        groups: dict[tuple[str, tuple[int, int]], list[Unit[PsfPayload]]] = {}
        for unit in units:
            groups.setdefault((unit.payload.instrument, unit.payload.shape), []).append(unit)
        out = []
        for (instrument, _), group in groups.items():
            tool, size = self.toolbox.tool("psf", instrument), self.toolbox.config_for(instrument).stamps.star_size
            out += in_batches(group, tool, max(len(u.payload.ids) for u in group), size, self.batch_size)
        return out

    def warm_up(self) -> None:
        """Prepare the PSF model for the number of stars in ``[psf] stars``."""
        tool, config = self.toolbox.tool("psf"), self.toolbox.config
        if tool is not None and isinstance(tool.instance, WarmsUp):
            stars = config.psf.stars
            tool.ask("warm_up", stars if isinstance(stars, int) else len(stars), config.stamps.star_size)

    def load(self, unit: Unit[PsfPayload]) -> PsfValues:
        """Read the stars' stamps."""
        p = unit.payload
        if not p.ids:
            raise UnusableInput("no usable star for the PSF: see stars_in_frames.comment, [psf] stars and exclude")
        stamps = read_stamps(self.toolbox.workdir / p.stamps, list(p.ids), wcs=False)
        return PsfValues(p, [stamps[i] for i in p.ids])

    def compute_batch(self, batch: Sequence[PsfValues]) -> list[PSF | Exception]:
        """Fit frames together."""
        first = batch[0].payload
        tool = self.toolbox.tool("psf", first.instrument)
        if tool is None:
            return [UnusableInput('[psf] plugin = "none": photometry needs a PSF')] * len(batch)
        sizes: dict[tuple[int, ...], list[int]] = {}
        for i, values in enumerate(batch):  # a filter may have excluded some frames when the size of stamps was changed
            sizes.setdefault(values.stamps[0].data.shape, []).append(i)
        results: list[Any] = [None] * len(batch)
        for alike in sizes.values():
            for i, psf in zip(alike, tool.ask("fit", psf_batch([batch[i] for i in alike])), strict=True):
                why = psf.status.reason or psf.status.state
                results[i] = psf if psf.status.usable else UnusableInput(f"the PSF fit failed: {why}")
        return results

    def save(self, unit: Unit[PsfPayload], values: PsfValues, result: PSF) -> Outcome:
        """Write the PSF, and return its row and the reasons for rejected stars."""
        p = unit.payload
        ref = digest([p.field, sorted(p.ids)], 10)
        path = beside(p.stamps, f"psf_{ref}_{unit.fingerprint[:12]}.h5")
        write_psf(self.toolbox.workdir / path, result, list(p.ids))
        left_out = [f"{p.names[i]}: {why}" for i, why in result.rejected.items() if i < len(p.names)]
        comment = "; ".join(filter(None, [result.status.reason, *left_out]))
        row = {
            "combined_footprint_hash": p.field, "frame_id": p.frame_id, "psf_ref": ref, "path": path,
            "chi2": float(result.reduced_chi2), "subsampling_factor": result.subsampling_factor,
            "stars": ",".join(p.names), "status": result.status.state.value,
            "evaluations": result.status.evaluations, "comment": comment,
        }  # fmt: skip
        where = {"combined_footprint_hash": p.field, "frame_id": p.frame_id}
        records: list[Record] = [Replace("PSFs", where, [row]), Update("stars_in_frames", where, {"psf_comment": ""})]
        records += [
            Update("stars_in_frames", {**where, "gaia_id": p.ids[i]}, {"psf_comment": why})
            for i, why in result.rejected.items() if i < len(p.ids)
        ]  # fmt: skip
        return Outcome(tuple(records), path, summary=f"chi2 {result.reduced_chi2:.2f}")

    def unusable_records(self, unit: Unit[PsfPayload], reason: str) -> tuple[Record, ...]:
        """Record the reason; delete the frame's earlier PSF and the fluxes that were measured with it."""
        key = unit.key
        assert isinstance(key, FrameKey)
        where = {"combined_footprint_hash": key.field, "frame_id": key.frame_id}
        records: list[Record] = [*super().unusable_records(unit, reason), Replace("PSFs", where)]
        tool = self.toolbox.tool("photometry", (unit.scope and unit.scope.instrument) or "")
        if tool is None or not tool.instance.joint:  # a joint plugin measures the stars again without this frame
            records.append(Replace("star_flux_in_frame", where))
            # Otherwise the photometry would count as done where the same PSF is made again.
            records.append(Replace("products", {"stage": PHOTOMETRY, "unit": str(key)}))
        return tuple(records)


@attrs.define
class PsfModeling(Stage):
    """One unit for each frame and field."""

    name: ClassVar[str] = "psf_modeling"
    title: ClassVar[str] = "PSF models"
    needs: ClassVar[tuple[str, ...]] = (StampExtraction.name,)
    makes: ClassVar[tuple[str, ...]] = ("PSFs", "regions/<name>/psf_<ref>_<fingerprint>.h5")
    unit: ClassVar[str] = "frame and field"
    reads: ClassVar[tuple[str, ...] | None] = ("frames", "combined_footprint", "stars", "stars_in_frames")
    annotates: ClassVar[tuple[str, ...]] = ("stars_in_frames",)  # which stars the fits rejected

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return the task that fits PSFs."""
        return {FrameKey: FitPsfs(self.name, self.toolbox)}

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return one unit for each frame and field with judged stamps."""
        stamped = ledger.made(StampExtraction.name, FrameKey)
        frames = frames_with_regions(session)
        for where, config in self.toolbox.by_instrument().items():
            check_names(session, f"[{where}psf]", config.psf.stars, config.psf.exclude)
        usable, rois = usable_stars(session), field_rois(session)
        identities: dict[str, Shared] = {}
        units: list[Unit[Any]] = []
        for (frame_id, field), stars in sorted(usable.items()):
            key = FrameKey(frame_id, field)
            product, f = stamped.get(key), frames.get(frame_id)
            if product is None or f is None:
                continue
            settings = self.toolbox.config_for(f.instrument).psf
            chosen = chosen_stars(stars, settings.stars, settings.exclude)
            ids, names = tuple(s.gaia_id for s in chosen), tuple(s.name for s in chosen)
            if f.instrument not in identities:
                identity = counted_elsewhere(self.toolbox.identity("psf", f.instrument), "stars", "exclude")
                identities[f.instrument] = Shared(identity)
            components = self.components(stamps=product.token, psf=identities[f.instrument], stars=list(ids))
            payload = PsfPayload(frame_id, field, product.path, f.instrument, (f.height or 0, f.width or 0),
                                 f.seeing_pixels or 3.0, ids, names)  # fmt: skip
            scope = Scope(rois.get(field), f.instrument, f.band)
            units.append(Unit(key, f.key, components, payload, frame_id, scope))
        return units

    def finish(self, session: Session, ledger: Ledger, workdir: Path) -> None:
        """Join the new files in ``regions.h5``."""
        stamps = ledger.keyed(StampExtraction.name, FrameKey)
        join_regions(session, workdir, stamps, aliased_region(self.toolbox.config))


def psf_batch(batch: Sequence[PsfValues]) -> PsfBatch:
    """Return the stamps of several frames, padded with masked stamps so that all have the same number of stars."""
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
