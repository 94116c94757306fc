"""``star_photometry``: fluxes and positions of the reference stars in each frame.

The unit is a frame, except where the plugin measures all epochs of a star jointly: then it is a star.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
from sqlmodel import Session, col, select

from lcframework.provenance import Components
from lcframework.stages.base import Ledger, Outcome, Stage, Unit
from lcframework.stages.psf_modeling import PHOTOMETRY, PsfModeling, check_names, chosen_stars, usable_stars
from lcframework.stages.scopes import Scope, field_rois
from lcframework.stages.stamp_extraction import StampExtraction
from lcframework.stars.selection import keep
from lcframework.storage.files import Stamp, read_psf, read_stamps
from lcframework.storage.records import Record, Replace
from lcframework.storage.tables import Frame, PsfRow
from lcframework.types import PSF, Floats, Kernels, PhotometryResult, Stamps, UnusableInput


@attrs.frozen
class FrameStars:
    """The stars to measure in one frame, and the files that hold their stamps and the PSF."""

    frame_id: int
    field: str
    instrument: str
    stamps: str
    psf: str
    psf_ref: str
    ids: tuple[str, ...]
    exptime: float = 0.0  # s; 0: unknown


@attrs.frozen
class PhotometryPayload:
    """What one unit measures: one frame's stars, or one star in many frames."""

    frames: tuple[FrameStars, ...]
    star: str = ""
    without: tuple[int, ...] = ()  # frames of the same kind in which it is not measured, or not any more


@attrs.frozen(eq=False)
class PhotometryValues:
    """Stamps and the PSFs of their frames, in the order of `rows` (frame's index, star)."""

    payload: PhotometryPayload
    stamps: list[Stamp]
    psfs: list[PSF]
    rows: list[tuple[int, str]]


@attrs.define
class StarPhotometry(Stage):
    """Measures stars."""

    name: ClassVar[str] = PHOTOMETRY
    title: ClassVar[str] = "Star photometry"
    needs: ClassVar[tuple[str, ...]] = (PsfModeling.name,)
    makes: ClassVar[tuple[str, ...]] = ("star_flux_in_frame",)
    unit: ClassVar[str] = "batch of frames"
    accelerator: ClassVar[bool] = True
    batch_size: ClassVar[int] = 16

    def units(self, session: Session, ledger: Ledger) -> list[Unit]:
        """Return one unit a frame and field; or a star, field and instrument where the plugin is joint."""
        for where, config in self.setup.by_instrument().items():
            check_names(session, f"[{where}photometry]", config.photometry.stars, config.photometry.exclude)
        frames = {f.id: f for f in session.exec(select(Frame).where(Frame.roi_in_footprint, ~col(Frame.eliminated)))}
        psfs = {(p.frame_id, p.combined_footprint_hash): p for p in session.exec(select(PsfRow))}
        stamped, modelled = ledger.of_stage(StampExtraction.name), ledger.tokens(PsfModeling.name)
        found: list[tuple[FrameStars, Components, Frame, float]] = []
        alike: dict[tuple[str, str, str], list[int]] = {}
        for (frame_id, field), rows in sorted(usable_stars(session).items()):
            if (f := frames.get(frame_id)) is None:
                continue
            alike.setdefault((field, f.instrument, f.band), []).append(frame_id)
            psf, token = psfs.get((frame_id, field)), modelled.get(f"frame:{frame_id}:{field}")
            product = stamped.get(f"frame:{frame_id}:{field}")
            if psf is None or token is None or product is None or product.state != "made":
                continue
            settings = self.setup.config_for(f.instrument).photometry
            ids = tuple(s.gaia_id for s in chosen_stars(rows, settings.stars, settings.exclude))
            stars = FrameStars(
                frame_id, field, f.instrument, product.path, psf.path, psf.psf_ref, ids, f.exptime or 0.0
            )
            found.append((stars, {"stamps": product.token, "psf": token}, f, psf.chi2))
        units = [self._frame_unit(*item[:3]) for item in found if not self._joint(item[0].instrument)]
        units += self._joint_units([item for item in found if self._joint(item[0].instrument)], alike)
        rois = field_rois(session)
        band_of = {frame.id: frame.band for *_, frame, _ in found}
        return [attrs.evolve(u, scope=self._scope(u.payload.frames[0], rois, band_of)) for u in units]

    @staticmethod
    def _scope(stars: FrameStars, rois: dict[str, frozenset[str]], band_of: dict[int | None, str]) -> Scope:
        return Scope(rois.get(stars.field), stars.instrument, band_of[stars.frame_id])

    def _joint(self, instrument: str) -> bool:
        tool = self.setup.tool("photometry", instrument)
        return bool(tool is not None and tool.instance.joint)

    def _identity(self, instrument: str) -> Components:
        identity = self.setup.identity("photometry", instrument)
        for key in ("psf_chi2", "stars", "exclude"):  # who consumes selects; which stars is a part of its own
            identity.pop(key)
        if identity["aperture"] == 0:  # fluxes are what they were before there was the choice
            identity.pop("aperture")
        return identity

    def _frame_unit(self, stars: FrameStars, inputs: Components, frame: Frame) -> Unit:
        components = self.components(photometry=self._identity(stars.instrument), stars=list(stars.ids), **inputs)
        return Unit(
            f"frame:{stars.frame_id}:{stars.field}", frame.key, components, PhotometryPayload((stars,)), frame.id
        )

    def _joint_units(
        self, found: list[tuple[FrameStars, Components, Frame, float]], alike: Mapping[tuple[str, str, str], list[int]]
    ) -> list[Unit]:
        groups: dict[tuple[str, str, str, str], list[tuple[FrameStars, Components, Frame, float]]] = {}
        for item in found:
            for star in item[0].ids:
                groups.setdefault((star, item[0].field, item[0].instrument, item[2].band), []).append(item)
        units = []
        for (star, field, instrument, band), items in sorted(groups.items()):
            selection = self.setup.config_for(instrument).photometry.psf_chi2
            good = keep(np.array([chi2 for *_, chi2 in items]), selection)
            chosen = [item for item, use in zip(items, good, strict=True) if use]
            if not chosen:
                continue
            inputs = {str(i[0].frame_id): i[1] for i in chosen}
            components = self.components(photometry=self._identity(instrument), frames=inputs, band=band)
            frames = tuple(attrs.evolve(i[0], ids=(star,)) for i in chosen)
            without = tuple(i for i in alike[field, instrument, band] if str(i) not in inputs)
            key = f"star:{star}:{field}:{instrument}:{band}"
            units.append(Unit(key, f"star {star}", components, PhotometryPayload(frames, star, without)))
        return units

    def batches(self, units: Sequence[Unit]) -> list[list[Unit]]:
        """Group units of one instrument; joint ones are measured one by one."""
        groups: dict[Any, list[Unit]] = {}
        for unit in units:
            key = unit.key if unit.payload.star else unit.payload.frames[0].instrument
            groups.setdefault(key, []).append(unit)
        return [batch for group in groups.values() for batch in Stage.batches(self, group)]

    def load(self, unit: Unit) -> PhotometryValues:
        """Read stamps and PSFs."""
        payload: PhotometryPayload = unit.payload
        stamps, psfs, rows = [], [], []
        for i, frame in enumerate(payload.frames):
            if not frame.ids:
                raise UnusableInput("no usable star to measure: see [photometry] stars and exclude")
            psfs.append(read_psf(self.setup.workdir / frame.psf))
            there = read_stamps(self.setup.workdir / frame.stamps, list(frame.ids), wcs=False)
            stamps += [there[star] for star in frame.ids]
            rows += [(i, star) for star in frame.ids]
        return PhotometryValues(payload, stamps, psfs, rows)

    def compute(self, values: PhotometryValues) -> PhotometryResult:
        """Measure one unit."""
        result = self.compute_batch([values])[0]
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[no-any-return]

    def compute_batch(self, batch: Sequence[PhotometryValues]) -> list[Any]:
        """Measure units together: their stamps are independent unless the plugin is joint."""
        instrument = batch[0].payload.frames[0].instrument
        tool, model = self.setup.tool("photometry", instrument), self.setup.tool("psf", instrument)
        if tool is None or model is None:
            return [UnusableInput('[photometry] plugin = "none": the normalization needs star fluxes')] * len(batch)
        results: list[Any] = [None] * len(batch)
        for places in alike_in_sampling(batch).values():
            mine = [batch[i] for i in places]
            stamps = [s for v in mine for s in v.stamps]
            first = mine[0].psfs[0]
            kernels = np.concatenate([self._kernels(v, model.instance) for v in mine])
            measured = tool.instance.measure(
                Stamps(
                    np.stack([s.data for s in stamps]),
                    np.stack([s.noise for s in stamps]),
                    np.stack([s.mask > 0 for s in stamps]),
                    np.array([s.offset for s in stamps]),
                    np.concatenate([_photon_variance(v) for v in mine]),
                    self.setup.config_for(instrument).photometry.aperture,
                ),
                Kernels(kernels, first.subsampling_factor, first.target_fwhm),
            )
            ends = np.cumsum([len(v.stamps) for v in mine])
            for i, v, end in zip(places, mine, ends, strict=True):
                results[i] = part(measured, end - len(v.stamps), end)
        return results

    @staticmethod
    def _kernels(values: PhotometryValues, model: Any) -> np.ndarray:
        out = []
        for i, psf in enumerate(values.psfs):
            mine = [s for s, (frame, _) in zip(values.stamps, values.rows, strict=True) if frame == i]
            xy = np.array([np.add(s.centre, s.offset) for s in mine])
            out.append(model.at(psf, xy))
        return np.concatenate(out)

    def save(self, unit: Unit, result: PhotometryResult) -> Outcome:
        """Return the rows."""
        payload: PhotometryPayload = unit.payload
        rows = self._rows(payload, result)
        records: list[Record] = []
        for frame in payload.frames:
            where: dict[str, Any] = {"combined_footprint_hash": frame.field, "frame_id": frame.frame_id}
            if payload.star:
                where["gaia_id"] = payload.star
            mine = [r for r in rows if (r["frame_id"], r["combined_footprint_hash"]) == (frame.frame_id, frame.field)]
            records.append(Replace("star_flux_in_frame", where, mine))
        field = payload.frames[0].field
        records += [_no_flux(field, frame, payload.star) for frame in payload.without]
        return Outcome(tuple(records), summary=f"{len(rows)} fluxes")

    def unusable_records(self, unit: Unit, reason: str) -> tuple[Record, ...]:
        """Record why; fluxes from before go."""
        records = super().unusable_records(unit, reason)
        if unit.frame_id is not None:
            return (*records, _no_flux(unit.key.split(":", 2)[2], unit.frame_id))
        star, field, *_ = unit.key.removeprefix("star:").rsplit(":", 3)
        return (*records, *(_no_flux(field, int(frame), star) for frame in unit.components["frames"]))

    def _rows(self, payload: PhotometryPayload, result: PhotometryResult) -> list[dict[str, Any]]:
        rows, i = [], 0
        for frame in payload.frames:
            stamps = read_stamps(self.setup.workdir / frame.stamps, list(frame.ids), wcs=False)
            for star in frame.ids:
                error = np.sqrt(np.diag(result.covariance[i]))
                centre = stamps[star].centre
                offset = stamps[star].offset
                if result.status[i].usable and np.isfinite(result.flux[i]) and np.isfinite(error).all():
                    rows.append({
                        "combined_footprint_hash": frame.field, "frame_id": frame.frame_id, "gaia_id": star,
                        "psf_ref": frame.psf_ref, "flux": float(result.flux[i]), "flux_uncertainty": float(error[0]),
                        "x": float(centre[0] + result.x[i]), "y": float(centre[1] + result.y[i]),
                        "x_offset": float(result.x[i] - offset[0]), "y_offset": float(result.y[i] - offset[1]),
                        "x_uncertainty": float(error[1]), "y_uncertainty": float(error[2]),
                        "background": float(result.background[i]), "chi2": float(result.reduced_chi2[i]),
                        "status": result.status[i].state.value,
                        "masked_outliers": int(result.outliers[i].sum()),
                    })  # fmt: skip
                i += 1
        return rows


def _photon_variance(values: PhotometryValues) -> Floats:
    """Return the variance per e-/s that :func:`lcframework.frames.stamping.noise_map` gave the stamps' light."""
    exptimes = [values.payload.frames[frame].exptime for frame, _ in values.rows]
    return np.array([1 / t if t > 0 else 0.0 for t in exptimes])


def _no_flux(field: str, frame_id: int, star: str = "") -> Replace:
    """Return the record that deletes a frame's fluxes, or one star's."""
    where: dict[str, Any] = {"combined_footprint_hash": field, "frame_id": frame_id}
    return Replace("star_flux_in_frame", {**where, "gaia_id": star} if star else where)


def alike_in_sampling(batch: Sequence[PhotometryValues]) -> dict[Any, list[int]]:
    """Return the places in a batch of units whose stamps and kernels make one array each.

    Those of other options may stand beside them, where a filter kept some from being made again.
    """
    out: dict[Any, list[int]] = {}
    for i, values in enumerate(batch):
        kinds = [(p.subsampling_factor, p.target_fwhm, p.narrow.shape) for p in values.psfs]
        out.setdefault((values.stamps[0].data.shape, *dict.fromkeys(kinds)), []).append(i)
    return out


def part(result: PhotometryResult, start: int, end: int) -> PhotometryResult:
    """Return the measurements of some stamps."""
    return PhotometryResult(*(getattr(result, f.name)[start:end] for f in attrs.fields(PhotometryResult)))
