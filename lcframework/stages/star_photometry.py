"""``star_photometry``: fluxes and positions of the reference stars in each frame.

A unit is a frame and field; where the plugin measures all epochs of a star jointly, it is a star. Where several
estimates of a flux are combined, a unit of each field, instrument and band follows its frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, col, select

from lcframework.config.toolbox import Tool
from lcframework.provenance import Components, Shared, digest
from lcframework.stages.combining_estimates import CombineEstimates, FrameFile, GroupPayload, combines, no_flux
from lcframework.stages.psf_modeling import PHOTOMETRY, PsfModeling
from lcframework.stages.stamp_extraction import StampExtraction
from lcframework.stars.choice import check_names, chosen_stars, usable_stars
from lcframework.stars.combining import RADII
from lcframework.stars.measuring import (
    FrameStars,
    PhotometryPayload,
    PhotometryValues,
    alike_in_sampling,
    misfits,
    part,
    stacked,
)
from lcframework.stars.selection import CHI2_FLOOR, keep
from lcframework.storage.estimate_files import FrameEstimates, write_estimates
from lcframework.storage.files import beside
from lcframework.storage.psf_files import read_psf
from lcframework.storage.queries import FrameRow, frames_with_regions
from lcframework.storage.records import Record
from lcframework.storage.stamp_files import read_stamps
from lcframework.storage.tables import EstimatorScales, EstimatorWeights, PsfRow
from lcframework.types import Kernels, PhotometryResult, UnusableInput
from lcframework.work import (
    BatchTask,
    FieldGroupKey,
    FrameKey,
    Ledger,
    Outcome,
    Replace,
    Scope,
    Stage,
    StarKey,
    Task,
    Unit,
    UnitKey,
)
from lcframework.work.batching import in_batches
from lcframework.work.scopes import field_rois


class MeasureStars(BatchTask[PhotometryPayload, PhotometryValues, PhotometryResult]):
    """Measures the stars of frames, or a star in many frames."""

    accelerator: ClassVar[bool] = True
    batch_size: ClassVar[int] = 16

    def batches(self, units: Sequence[Unit[PhotometryPayload]]) -> list[list[Unit[PhotometryPayload]]]:
        """Group frames of one instrument; the plugin gives the size of a batch. Joint units are measured one by one."""
        groups: dict[str, list[Unit[PhotometryPayload]]] = {}
        out = [[unit] for unit in units if unit.payload.star]
        for unit in units:
            if not unit.payload.star:
                groups.setdefault(unit.payload.frames[0].instrument, []).append(unit)
        for instrument, group in groups.items():
            tool = self.toolbox.tool("photometry", instrument)
            stars = max(len(unit.payload.frames[0].ids) for unit in group)
            size = self.toolbox.config_for(instrument).stamps.star_size
            out += in_batches(group, tool, stars, size, self.batch_size)
        return out

    def load(self, unit: Unit[PhotometryPayload]) -> PhotometryValues:
        """Read stamps and PSFs."""
        payload = unit.payload
        stamps, psfs, rows = [], [], []
        for i, frame in enumerate(payload.frames):
            if not frame.ids:
                raise UnusableInput("no usable star to measure: see [photometry] stars and exclude")
            psfs.append(read_psf(self.toolbox.workdir / frame.psf))
            found = read_stamps(self.toolbox.workdir / frame.stamps, list(frame.ids), wcs=False)
            stamps += [found[star] for star in frame.ids]
            rows += [(i, star) for star in frame.ids]
        return PhotometryValues(payload, stamps, psfs, rows)

    def compute_batch(self, batch: Sequence[PhotometryValues]) -> list[PhotometryResult | Exception]:
        """Measure units together: their stamps are independent unless the plugin is joint."""
        instrument = batch[0].payload.frames[0].instrument
        tool, model = self.toolbox.tool("photometry", instrument), self.toolbox.tool("psf", instrument)
        if tool is None or model is None:
            return [UnusableInput('[photometry] plugin = "none": the normalization needs star fluxes')] * len(batch)
        settings = self.toolbox.config_for(instrument)
        correlation, aperture = settings.stamps.noise_correlation, settings.photometry.aperture
        results: list[Any] = [None] * len(batch)
        for indices in alike_in_sampling(batch).values():
            alike = [batch[i] for i in indices]
            first = alike[0].psfs[0]
            kernels = np.concatenate([self._kernels(v, model) for v in alike])
            measured = tool.ask(
                "measure",
                stacked(alike, correlation, aperture),
                Kernels(kernels, first.subsampling_factor, first.target_fwhm, misfits(alike)),
            ).with_variance(correlation)
            ends = np.cumsum([len(v.stamps) for v in alike])
            for i, v, end in zip(indices, alike, ends, strict=True):
                results[i] = part(measured, end - len(v.stamps), end)
        return results

    @staticmethod
    def _kernels(values: PhotometryValues, model: Tool) -> np.ndarray:
        out = []
        for i, psf in enumerate(values.psfs):
            stamps = [s for s, (frame, _) in zip(values.stamps, values.rows, strict=True) if frame == i]
            xy = np.array([np.add(s.centre, s.offset) for s in stamps])
            out.append(model.ask("at", psf, xy))
        return np.concatenate(out)

    def save(self, unit: Unit[PhotometryPayload], values: PhotometryValues, result: PhotometryResult) -> Outcome:
        """Return the records that replace the fluxes."""
        payload = unit.payload
        rows, measured = _rows(values, result)
        if payload.frames[0].radii:
            return self._save_estimates(unit, rows, result, measured)
        records: list[Record] = []
        for frame in payload.frames:
            where: dict[str, Any] = {"combined_footprint_hash": frame.field, "frame_id": frame.frame_id}
            if payload.star:
                where["gaia_id"] = payload.star
            records.append(Replace("star_flux_in_frame", where, [r for r in rows if r["frame_id"] == frame.frame_id]))
        field = payload.frames[0].field
        records += [no_flux(field, frame, payload.star) for frame in payload.without]
        return Outcome(tuple(records), summary=f"{len(rows)} fluxes")

    def _save_estimates(
        self, unit: Unit[PhotometryPayload], rows: list[dict[str, Any]], result: PhotometryResult, measured: list[int]
    ) -> Outcome:
        """Write the estimates of one frame; the fluxes are published where those of all frames are there."""
        frame = unit.payload.frames[0]
        path = beside(frame.stamps, f"fluxes_{unit.fingerprint[:12]}.h5")
        light, covariance = result.residual_light[measured], result.residual_covariance[measured]
        found = FrameEstimates(rows, np.array(frame.radii), light, covariance)
        write_estimates(self.toolbox.workdir / path, found)
        return Outcome(path=path)  # the stage's summary is what the stars choose

    def unusable_records(self, unit: Unit[PhotometryPayload], reason: str) -> tuple[Record, ...]:
        """Record the reason, and delete earlier fluxes."""
        records = super().unusable_records(unit, reason)
        key = unit.key
        if isinstance(key, FrameKey):
            return (*records, no_flux(key.field, key.frame_id))
        assert isinstance(key, StarKey)
        return (*records, *(no_flux(key.field, int(frame), key.star) for frame in unit.components["frames"]))


def _rows(values: PhotometryValues, result: PhotometryResult) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the rows of ``star_flux_in_frame``, and which of the stamps they are of."""
    rows, measured = [], []
    for i, ((frame_index, star), stamp) in enumerate(zip(values.rows, values.stamps, strict=True)):
        frame = values.payload.frames[frame_index]
        error = np.sqrt(np.diag(result.covariance[i]))
        if result.status[i].usable and np.isfinite(result.flux[i]) and np.isfinite(error).all():
            measured.append(i)
            rows.append({
                "combined_footprint_hash": frame.field, "frame_id": frame.frame_id, "gaia_id": star,
                "psf_ref": frame.psf_ref, "flux": float(result.flux[i]), "flux_uncertainty": float(error[0]),
                "x": float(stamp.centre[0] + result.x[i]), "y": float(stamp.centre[1] + result.y[i]),
                "x_offset": float(result.x[i] - stamp.offset[0]), "y_offset": float(result.y[i] - stamp.offset[1]),
                "x_uncertainty": float(error[1]), "y_uncertainty": float(error[2]),
                "background": float(result.background[i]), "chi2": float(result.reduced_chi2[i]),
                "status": result.status[i].state.value, "masked_outliers": int(result.outliers[i].sum()),
            })  # fmt: skip
    return rows, measured


#: The inputs of a unit: the stars, their components, their frame, and the chi2 of its PSF.
_Found = tuple[FrameStars, Components, FrameRow, float]


@attrs.define
class StarPhotometry(Stage):
    """One unit for each frame and field; or for each star, field, instrument and band where the plugin is joint."""

    name: ClassVar[str] = PHOTOMETRY
    title: ClassVar[str] = "Star photometry"
    needs: ClassVar[tuple[str, ...]] = (StampExtraction.name, PsfModeling.name)
    makes: ClassVar[tuple[str, ...]] = (
        "star_flux_in_frame", "estimator_weights", "estimator_scales", "regions/<name>/fluxes_<fingerprint>.h5",
    )  # fmt: skip
    unit: ClassVar[str] = "frame and field"
    reads: ClassVar[tuple[str, ...] | None] = ("frames", "combined_footprint", "stars", "stars_in_frames", "PSFs")

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return the task that measures stars, and the task that combines their estimates."""
        measure = MeasureStars(self.name, self.toolbox)
        return {FrameKey: measure, StarKey: measure, FieldGroupKey: CombineEstimates(self.name, self.toolbox)}

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return units for each frame and field; where the plugin is joint, for each star, field, instrument, band."""
        for where, config in self.toolbox.by_instrument().items():
            check_names(session, f"[{where}photometry]", config.photometry.stars, config.photometry.exclude)
        frames = frames_with_regions(session)
        columns = (PsfRow.frame_id, PsfRow.combined_footprint_hash, PsfRow.path, PsfRow.psf_ref, PsfRow.chi2)
        psfs = {FrameKey(p[0], p[1]): p for p in session.execute(sa.select(*map(col, columns)))}
        stamped, modelled = ledger.made(StampExtraction.name, FrameKey), ledger.made(PsfModeling.name, FrameKey)
        found: list[_Found] = []
        in_group: dict[tuple[str, str, str], list[int]] = {}
        for (frame_id, field), usable in sorted(usable_stars(session).items()):
            if (f := frames.get(frame_id)) is None:
                continue
            in_group.setdefault((field, f.instrument, f.band), []).append(frame_id)
            key = FrameKey(frame_id, field)
            psf, model, stamps = psfs.get(key), modelled.get(key), stamped.get(key)
            if psf is None or model is None or stamps is None:
                continue
            settings = self.toolbox.config_for(f.instrument).photometry
            chooser = self.toolbox.tool("comparison_stars", f.instrument)
            without = frozenset(settings.exclude)
            if isinstance(settings.stars, int) and not self.toolbox.config.variables.keep:
                without |= usable.field.known_variables
            chosen = chosen_stars(usable, settings.stars, without, chooser)
            ids = tuple(s.gaia_id for s in chosen)
            stars = FrameStars(frame_id, field, f.instrument, stamps.path, psf.path, psf.psf_ref, ids, f.exptime or 0.0,
                               self._radii(f))  # fmt: skip
            found.append((stars, {"stamps": stamps.token, "psf": model.token}, f, psf.chi2))
        joint = {name: self._joint(name) for name in {item[0].instrument for item in found}}
        identities = {name: Shared(self._identity(name)) for name in joint}
        units = [
            self._frame_unit(*item[:3], identities[item[0].instrument])
            for item in found
            if not joint[item[0].instrument]
        ]
        units += self._joint_units([item for item in found if joint[item[0].instrument]], in_group)
        rois = field_rois(session)
        band_of = {frame.id: frame.band for *_, frame, _ in found}
        units = [attrs.evolve(u, scope=self._scope(u.payload.frames[0], rois, band_of)) for u in units]
        return [*units, *self._combining_units(found, units, in_group, ledger)]

    def _radii(self, frame: FrameRow) -> tuple[float, ...]:
        """Return the radii of a frame's discs, pixels, the largest ones bounded by the stamps of stars and regions."""
        if not combines(self.toolbox, frame.instrument):
            return ()
        stamps = self.toolbox.config_for(frame.instrument).stamps
        largest = 0.5 * (min(stamps.star_size, stamps.roi_size) - 2)
        return tuple(min(r * (frame.seeing_pixels or 3.0), largest) for r in RADII)

    def _combining_units(
        self,
        found: Sequence[_Found],
        units: Sequence[Unit[PhotometryPayload]],
        in_group: Mapping[tuple[str, str, str], list[int]],
        ledger: Ledger,
    ) -> list[Unit[GroupPayload]]:
        """Return a unit for each field, instrument and band all of whose frames are measured."""
        of_key = {u.key: u for u in units}
        groups: dict[FieldGroupKey, list[_Found]] = {}
        for item in found:
            if item[0].radii:
                key = FieldGroupKey(item[0].field, item[0].instrument, item[2].band)
                groups.setdefault(key, []).append(item)
        made, out = ledger.made(self.name, FrameKey), []
        for key, items in sorted(groups.items(), key=lambda pair: attrs.astuple(pair[0])):
            keys = [FrameKey(i[0].frame_id, key.field) for i in items]
            if not all(ledger.is_done(self.name, of_key[k]) for k in keys):
                continue
            items.sort(key=lambda i: (i[2].mjd or 0.0, i[0].frame_id))
            measured = {k: made[k] for k in keys if k in made}
            frames = [FrameFile(i[0].frame_id, measured[k].path) for i in items
                      if (k := FrameKey(i[0].frame_id, key.field)) in measured]  # fmt: skip
            if not frames:
                continue
            group = in_group[key.field, key.instrument, key.band]
            measured_ids = {f.frame_id for f in frames}
            without = tuple(i for i in group if i not in measured_ids)
            tokens = digest([[f.frame_id, measured[FrameKey(f.frame_id, key.field)].token] for f in frames])
            components = self.components(frames=tokens, combining=CombineEstimates.results_version, band=key.band)
            label = f"{len(frames)} frames of {key.instrument or 'one instrument'} {key.band}".strip()
            payload = GroupPayload(key.field, key.instrument, key.band, tuple(frames), without)
            out.append(Unit(key, label, components, payload, scope=of_key[keys[0]].scope))
        return out

    @staticmethod
    def _scope(stars: FrameStars, rois: dict[str, frozenset[str]], band_of: dict[int | None, str]) -> Scope:
        return Scope(rois.get(stars.field), stars.instrument, band_of[stars.frame_id])

    def ready(self, units: Sequence[Unit[Any]]) -> list[Unit[Any]]:
        """Return the units of frames first: where a frame's file is gone, the group's unit needs it again."""
        return [u for u in units if not isinstance(u.key, FieldGroupKey)] or list(units)

    def finish(self, session: Session, ledger: Ledger, workdir: Path) -> None:
        """Delete files that belong to no product, and choices of instruments that combine no estimates any more."""
        wanted = {product.path for product in ledger.made(self.name, FrameKey).values()}
        for path in (workdir / "regions").rglob("fluxes_*.h5"):  # later frames' folders are in one of the night
            if str(path.relative_to(workdir)) not in wanted:
                path.unlink()
        for table in (EstimatorWeights, EstimatorScales):
            for instrument in session.exec(select(table.instrument).distinct()).all():
                if not combines(self.toolbox, instrument):
                    session.execute(sa.delete(table).where(col(table.instrument) == instrument))

    def _joint(self, instrument: str) -> bool:
        tool = self.toolbox.tool("photometry", instrument)
        return bool(tool is not None and tool.instance.joint)

    def _identity(self, instrument: str) -> Components:
        identity = self.toolbox.identity("photometry", instrument)
        for option in ("psf_chi2", "stars", "exclude"):  # not used here, or a separate component
            identity.pop(option)
        identity.pop("estimator")  # what it changes are the radii
        return identity

    def _frame_unit(
        self, stars: FrameStars, inputs: Components, frame: FrameRow, identity: Shared
    ) -> Unit[PhotometryPayload]:
        discs = {"radii": [round(r, 4) for r in stars.radii]} if stars.radii else {}
        components = self.components(photometry=identity, stars=list(stars.ids), **inputs, **discs)
        key = FrameKey(stars.frame_id, stars.field)
        return Unit(key, frame.key, components, PhotometryPayload((stars,)), frame.id)

    def _joint_units(
        self, found: list[_Found], in_group: Mapping[tuple[str, str, str], list[int]]
    ) -> list[Unit[PhotometryPayload]]:
        groups: dict[StarKey, list[_Found]] = {}
        for item in found:
            for star in item[0].ids:
                key = StarKey(star, item[0].field, item[0].instrument, item[2].band)
                groups.setdefault(key, []).append(item)
        units = []
        for key, items in sorted(groups.items(), key=lambda pair: attrs.astuple(pair[0])):
            selection = self.toolbox.config_for(key.instrument).photometry.psf_chi2
            good = keep(np.array([chi2 for *_, chi2 in items]), selection, CHI2_FLOOR)
            chosen = [item for item, use in zip(items, good, strict=True) if use]
            if not chosen:
                continue
            inputs = {str(i[0].frame_id): i[1] for i in chosen}
            components = self.components(photometry=self._identity(key.instrument), frames=inputs, band=key.band)
            frames = tuple(attrs.evolve(i[0], ids=(key.star,)) for i in chosen)
            group = in_group[key.field, key.instrument, key.band]
            without = tuple(i for i in group if str(i) not in inputs)
            units.append(Unit(key, f"star {key.star}", components, PhotometryPayload(frames, key.star, without)))
        return units
