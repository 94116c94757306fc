"""``prepare_calibrated_cutouts``: normalised stamps of a region in all selected frames, with PSFs and registration."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col, select

from lcframework.config.project_file import Config
from lcframework.protocols import CombinesEstimates
from lcframework.provenance import Components, array_digest, complete, describe, digest
from lcframework.roi.choosing_model import model_of
from lcframework.roi.cutout_files import FOLDER, PREFIX, PreparedEpochs, distinct, stem, write_cutouts
from lcframework.roi.cutout_selection import measured, shown, star_positions
from lcframework.roi.epochs import FRAME_COLUMNS, EpochColumns, chosen, selected_epochs
from lcframework.roi.estimating import chosen_estimators
from lcframework.roi.psf_stack import stacked, unlike_the_others
from lcframework.roi.registration import register
from lcframework.roi.withdrawn import withdraw_cutouts
from lcframework.sky.geometry import local_map, zenith_on_plane
from lcframework.stages.calculate_absolute_zeropoints import CalculateAbsoluteZeropoints as Zeropoints
from lcframework.stages.calculate_normalization_coefficient import CalculateNormalizationCoefficient as Normalization
from lcframework.stages.combining_estimates import combines
from lcframework.stages.psf_modeling import PsfModeling
from lcframework.stages.stamp_extraction import StampExtraction
from lcframework.stars.selection import CHI2_FLOOR, keep
from lcframework.storage.frame_files import read_wcs
from lcframework.storage.psf_files import read_psf
from lcframework.storage.queries import fields_of_regions
from lcframework.storage.records import Record
from lcframework.storage.stamp_files import Stamp, read_stamps
from lcframework.storage.tables import AbsoluteZeropoint, Frame, Product, RoiInFrame
from lcframework.types import PSF, Cutouts, Estimators, Floats, Kernels, UnusableInput
from lcframework.work import (
    FieldGroupKey,
    FrameKey,
    Ledger,
    Outcome,
    ProductState,
    RegionGroupKey,
    Scope,
    Stage,
    Task,
    Unit,
    UnitKey,
    Update,
)


@attrs.frozen(eq=False)
class RegionEpochs:
    """The epochs of one region, instrument and band."""

    roi: str
    instrument: str
    band: str
    columns: EpochColumns  # of each epoch
    stamps: tuple[str, ...]  # files of the epochs' stamps
    stars: tuple[tuple[Floats, Floats, Floats], ...]  # positions from the WCS, measured ones, errors; (n, 2) each
    comments: tuple[str, ...]  # of the epochs' frames
    zeropoint: tuple[float, float, str]  # mag, its error, magnitude system
    stem: str = ""  # common part of the file names
    reason: str = ""  # why there are no epochs, where the cause is not a selection
    estimators: Estimators | None = None  # None: PSF fluxes
    places: Floats | None = None  # (e, 2) ra and dec, degrees, of a region that moves
    place_errors: Floats | None = None  # (e,) arcsec

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.stamps)


@attrs.frozen(eq=False)
class GroupValues:
    """The contents of the epochs' files."""

    group: RegionEpochs
    stamps: list[Stamp]
    psfs: list[PSF]
    transforms: list[Floats]  # (2, 3) local map of each frame's WCS at the region, to frame pixels


@attrs.frozen(eq=False)
class Prepared:
    """The epochs, and by frame id why a frame was left out."""

    epochs: PreparedEpochs
    left_out: dict[int, str]


class PrepareCutouts(Task[RegionEpochs, GroupValues, Prepared]):
    """Registers and normalises the stamps of a group."""

    def load(self, unit: Unit[RegionEpochs]) -> GroupValues:
        """Read the epochs' stamps, PSFs and WCSs."""
        group, workdir = unit.payload, self.toolbox.workdir
        if group.reason:
            raise UnusableInput(group.reason)
        if not len(group):
            limits = selection(self.toolbox.config_for(group.instrument))
            found = [f"[roi_cutouts] {k} = {complete(v)}" for k, v in limits.items() if k != "psf_chi2"]
            found.append(f"[photometry] psf_chi2 = {complete(limits['psf_chi2'])}")
            raise UnusableInput(f"no frame of {group.instrument} {group.band} passes the selection: {'; '.join(found)}")
        region = self.toolbox.config.roi[group.roi]
        stamps = [read_stamps(workdir / path, [group.roi])[group.roi] for path in group.stamps]
        psfs = [read_psf(workdir / path) for path in group.columns["psf_path"]]
        wcs = [read_wcs(workdir / path) for path in group.columns["wcs_path"]]
        places = [(region.ra, region.dec)] * len(wcs) if group.places is None else group.places.tolist()
        return GroupValues(group, stamps, psfs, [local_map(w, *at) for w, at in zip(wcs, places, strict=True)])

    def compute(self, values: GroupValues) -> Prepared:
        """Register, normalise and stack the stamps; PSFs that do not fit in the stack are left out."""
        group = values.group
        model = self.toolbox.tool("psf", group.instrument)
        if model is None:
            raise UnusableInput('[psf] plugin = "none": cutouts need PSFs')
        odd = unlike_the_others(values.psfs)
        usable = [i for i in range(len(values.psfs)) if i not in odd]
        first = values.psfs[usable[0]]
        transforms, covariances, offsets, kernels = [], [], [], []
        for i in usable:
            centre = values.transforms[i][:, 2]
            fit = register(*group.stars[i], centre)
            transform = fit.apply(values.transforms[i])
            transform[:, 2] -= values.stamps[i].corner
            transforms.append(transform)
            covariances.append(fit.covariance + _of_place(group, i, transform))
            offsets.append(fit.offset)
            kernels.append(model.ask("at", values.psfs[i], (centre + fit.offset)[None])[0])
        columns, stamps = chosen(group.columns, np.array(usable)), [values.stamps[i] for i in usable]
        scale = columns["normalization_coefficient"][:, None, None]
        psfs = [values.psfs[i] for i in usable]
        cutouts = Cutouts(
            data=np.stack([s.data for s in stamps]) / scale,
            noise=np.stack([s.noise for s in stamps]) / scale,
            mask=np.stack([s.mask for s in stamps]) > 0,
            kernels=Kernels(stacked(kernels), first.subsampling_factor, first.target_fwhm),
            transform=np.stack(transforms),
            registration_covariance=np.stack(covariances),
            mjd=columns["mjd"],
            seeing=columns["seeing"],
            airmass=columns["airmass"],
            normalization_error=columns["relative_normalization_error"],
            zenith=self._zenith(group, usable, columns),
            psf_precision=stacked([p.precision for p in psfs]),
            psf_residual=stacked(
                [p.mean_residual if p.mean_residual.size else np.zeros_like(p.precision) for p in psfs]
            ),
            estimators=group.estimators.of_epochs(usable) if group.estimators is not None else None,
        )
        prepared = PreparedEpochs(cutouts, columns, np.array(offsets), [s.wcs for s in stamps], *group.zeropoint)
        return Prepared(prepared, {int(group.columns["frame_id"][i]): why for i, why in odd.items()})

    def _zenith(self, group: RegionEpochs, usable: list[int], columns: EpochColumns) -> Floats:
        """Return tan z times the direction to the zenith (e, 2) at the region; nan without a telescope's position."""
        telescope = self.toolbox.config_for(group.instrument).telescope
        latitude = telescope.latitude if telescope else float("nan")
        dec = self.toolbox.config.roi[group.roi].dec if group.places is None else group.places[usable, 1]
        return zenith_on_plane(columns["altitude"], columns["azimuth"], dec, latitude)

    def save(self, unit: Unit[RegionEpochs], values: GroupValues, result: Prepared) -> Outcome:
        """Write the cutouts, and update the comments of frames that are left out."""
        group = unit.payload
        path = f"{FOLDER}/{PREFIX}{group.stem}.h5"
        write_cutouts(self.toolbox.workdir / path, result.epochs)
        own = f"{self.stage}: {group.roi}: "
        records: list[Record] = []
        for frame_id, comment in zip(group.columns["frame_id"].tolist(), group.comments, strict=True):
            reason = result.left_out.get(frame_id, "")
            if reason or comment.startswith(own):
                records.append(Update("frames", {"id": frame_id}, {"comment": own + reason if reason else ""}))
        return Outcome(tuple(records), path, summary=f"{len(result.epochs.cutouts)} epochs")


@attrs.define
class PrepareCalibratedCutouts(Stage):
    """One unit for each region, instrument and band."""

    name: ClassVar[str] = "prepare_calibrated_cutouts"
    title: ClassVar[str] = "Calibrated cutouts"
    needs: ClassVar[tuple[str, ...]] = (StampExtraction.name, PsfModeling.name, Normalization.name, Zeropoints.name)
    makes: ClassVar[tuple[str, ...]] = ("prepared_roi_cutouts/cutouts_<roi>_<instrument>_<band>.h5",)
    unit: ClassVar[str] = "region, instrument and band"
    reads: ClassVar[tuple[str, ...] | None] = (
        "frames",
        "combined_footprint",
        "rois_in_frames",
        "stars_in_frames",
        "star_flux_in_frame",
        "PSFs",
        "normalization_coefficients",
        "region_coefficients",
        "absolute_zeropoints",
        "estimator_weights",
        "estimator_scales",
    )
    results_version: ClassVar[int] = 8

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return the task that prepares cutouts."""
        return {RegionGroupKey: PrepareCutouts(self.name, self.toolbox)}

    def prepare(self, session: Session, ledger: Ledger) -> None:
        """Delete failures of groups that have no frames any more, because these are no errors now."""
        states = ledger.states(self.name, RegionGroupKey)
        old = [str(key) for key, state in states.items() if self._is_over(session, key, state)]
        if old:
            session.execute(sa.delete(Product).where(col(Product.stage) == self.name, col(Product.unit).in_(old)))

    @staticmethod
    def _is_over(session: Session, key: RegionGroupKey, state: str) -> bool:
        return state == ProductState.UNUSABLE and not shown(session, key.roi, key.instrument, key.band)

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return a unit for each group with normalised frames, or with earlier cutouts, which are then withdrawn."""
        fields = fields_of_regions(session)
        stems = self._stems(session)
        units: list[Unit[Any]] = []
        for roi in self.toolbox.config.roi:
            if (field := fields.get(roi)) is not None:
                for key in self._groups(session, ledger, field, roi):
                    unit = self._unit(session, ledger, key, field, stems.get(key, _stem(key)))
                    if unit is not None:
                        units.append(unit)
        return units

    def _groups(self, session: Session, ledger: Ledger, field: str, roi: str) -> list[RegionGroupKey]:
        """Return the groups of a region that have normalised frames of the region, or cutouts."""
        c, r = (SQLModel.metadata.tables[t] for t in ("normalization_coefficients", "rois_in_frames"))
        query = (
            sa.select(c.c.instrument, c.c.band)
            .join(r, r.c.frame_id == c.c.frame_id)
            .where(c.c.combined_footprint_hash == field, r.c.roi == roi, r.c.roi_in_footprint)
        )
        found = {RegionGroupKey(roi, str(i), str(b)) for i, b in session.execute(query.distinct())}
        for key, state in ledger.states(self.name, RegionGroupKey).items():
            if key.roi == roi and not self._is_over(session, key, state):
                found.add(key)
        return sorted(found, key=attrs.astuple)

    def _stems(self, session: Session) -> dict[RegionGroupKey, str]:
        """Return distinct file names for all groups: bands may differ by characters not allowed in file names."""
        found = session.exec(select(Frame.instrument, Frame.band).distinct()).all()
        keys = [RegionGroupKey(roi, i, b) for roi in self.toolbox.config.roi for i, b in found]
        names = distinct({attrs.astuple(key): _stem(key) for key in keys})
        return {key: names[attrs.astuple(key)] for key in keys}

    def _unit(
        self, session: Session, ledger: Ledger, key: RegionGroupKey, field: str, name: str
    ) -> Unit[RegionEpochs] | None:
        roi, instrument, band = key.roi, key.instrument, key.band
        normalized = FieldGroupKey(field, instrument, band)
        product = ledger.product(Normalization.name, normalized)
        reason = ""
        if not shown(session, roi, instrument, band):
            reason = f"no frame of {instrument} {band} that takes part shows {roi} any more"
        elif product is None or product.state == ProductState.FORCED:
            return None  # it is not normalised yet
        elif not product.made:
            reason = f"its frames can't be normalised: {product.reason}"
        elif not measured(session, field, instrument, band):
            reason = f"no star is measured any more in frames of {instrument} {band}: see star_photometry"
        calibrated = ledger.product(Zeropoints.name, normalized)
        zeropoint = calibrated.token if calibrated is not None and calibrated.made else ""
        row = session.get(AbsoluteZeropoint, (field, instrument, band)) if zeropoint else None
        zero = (row.zeropoint, row.zeropoint_uncertainty, row.system) if row else (float("nan"), float("nan"), "")
        group = RegionEpochs(roi, instrument, band, {}, (), (), (), zero, name, reason)
        inputs: list[Any] = []
        how: Components = {}
        if not reason:
            group, inputs = self._with_epochs(session, ledger, group, field)
            inputs.append(array_digest(itertools.chain.from_iterable(group.stars)))
            group, how = self._with_estimators(session, group, field)
        region = self.toolbox.config.roi[roi]
        place: Any = [region.ra, region.dec]
        if group.places is not None and group.place_errors is not None:
            place = digest([np.round(group.places, 6).tolist(), np.round(group.place_errors, 4).tolist()])
        parts: Components = {
            "normalization": product.token if product is not None and product.made else "", "zeropoint": zeropoint,
            "epochs": digest(inputs), "roi": place,
            "roi_cutouts": selection(self.toolbox.config_for(instrument)),
        }  # fmt: skip
        if how:
            parts["estimators"] = how
        if name != _stem(key):  # a digest was added because another group has the same name
            parts["file"] = name
        if reason:
            parts["without"] = reason
        scope = Scope(frozenset([roi]), instrument, band)
        return Unit(key, f"{roi} {instrument} {band}", self.components(**parts), group, scope=scope)

    def _with_epochs(
        self, session: Session, ledger: Ledger, group: RegionEpochs, field: str
    ) -> tuple[RegionEpochs, list[Any]]:
        """Return a group with its epochs, and the values of these that enter the fingerprint beside their stars."""
        config = self.toolbox.config_for(group.instrument)
        columns = selected_epochs(
            session, field, group.roi, group.instrument, group.band,
            config.roi_cutouts.frames, config.roi_cutouts.normalization,
        )  # fmt: skip
        ids = columns["frame_id"].tolist()
        good = keep(columns["psf_chi2"], config.photometry.psf_chi2, CHI2_FLOOR) if ids else np.zeros(0, bool)
        stamped, modelled = ledger.made(StampExtraction.name, FrameKey), ledger.made(PsfModeling.name, FrameKey)
        keys = [FrameKey(i, field) for i in ids]
        used = [i for i, key in enumerate(keys) if good[i] and key in stamped and key in modelled]
        columns = chosen(columns, np.array(used, int))
        nothing = (np.zeros((0, 2)),) * 3
        positions = star_positions(session, field)
        stars = tuple(positions.get(keys[i].frame_id, nothing) for i in used)
        of_frames = list(zip(*(columns[name].tolist() for name in FRAME_COLUMNS), strict=True))
        inputs = [
            [keys[i].frame_id, stamped[keys[i]].token, modelled[keys[i]].token, of_frame]
            for of_frame, i in zip(of_frames, used, strict=True)
        ]
        comments = dict(session.exec(select(Frame.id, Frame.comment)).all())
        return attrs.evolve(
            self._with_places(session, group, [keys[i].frame_id for i in used]),
            columns=columns,
            stamps=tuple(stamped[keys[i]].path for i in used),
            stars=stars,
            comments=tuple(comments[keys[i].frame_id] for i in used),
        ), inputs

    def _with_places(self, session: Session, group: RegionEpochs, frames: list[int]) -> RegionEpochs:
        """Return a group with the places of its region in these frames, where it moves."""
        if self.toolbox.ephemeris(group.roi) is None:
            return group
        r = RoiInFrame
        columns = (r.frame_id, r.ra, r.dec, r.position_error)
        found = {f: row for f, *row in session.execute(sa.select(*map(col, columns)).where(col(r.roi) == group.roi))}
        values = np.array([[v or 0.0 for v in found[f]] for f in frames], float).reshape(-1, 3)
        return attrs.evolve(group, places=values[:, :2], place_errors=values[:, 2])

    def _with_estimators(self, session: Session, group: RegionEpochs, field: str) -> tuple[RegionEpochs, Components]:
        """Return a group with what combines its sources' estimates, its scatter included in the epochs' columns."""
        region, tool = self.toolbox.config.roi[group.roi], model_of(self.toolbox, group.roi, group.instrument)
        if not len(group) or not combines(self.toolbox, group.instrument):
            return group, {}
        able = tool is not None and isinstance(tool.instance, CombinesEstimates) and tool.instance.combines_estimates
        choice = chosen_estimators(session, field, group.instrument, group.band, group.columns, region, able)
        if choice is None:
            return group, {}
        scatter = np.hypot(np.asarray(group.columns["relative_extra_scatter"], float), choice.scatter)
        columns = {**group.columns, "relative_extra_scatter": scatter}
        return attrs.evolve(group, columns=columns, estimators=choice.estimators), choice.identity

    def noted(self, units: Sequence[Unit[Any]]) -> Any:
        """Return by region the ids of the frames in its cutouts."""
        return {roi: sorted(ids) for roi, ids in frames_in_cutouts(units).items()}

    def finish(self, session: Session, ledger: Ledger, workdir: Path) -> None:
        """Move cutouts that belong to no product any more to another folder."""
        withdraw_cutouts(ledger, self.name, workdir)


def frames_in_cutouts(units: Iterable[Unit[RegionEpochs]]) -> dict[str, set[int]]:
    """Return by region the ids of the frames that the cutouts of these units contain."""
    found: dict[str, set[int]] = {}
    for unit in units:
        ids = np.asarray(unit.payload.columns.get("frame_id", ()), int)
        found.setdefault(unit.payload.roi, set()).update(ids.tolist())
    return found


def _of_place(group: RegionEpochs, epoch: int, transform: Floats) -> Floats:
    """Return the covariance (2, 2) in pixels^2 that the error of the target's place adds to an epoch's registration."""
    if group.place_errors is None:
        return np.zeros((2, 2))
    pixels = transform[:, :2] * group.place_errors[epoch]
    return np.asarray(pixels @ pixels.T)


def _stem(key: RegionGroupKey) -> str:
    return stem(key.roi, key.instrument, key.band)


def selection(config: Config) -> Components:
    """Return the options that select the frames of an instrument for its cutouts."""
    return {**describe(config.roi_cutouts), "psf_chi2": describe(config.photometry)["psf_chi2"]}
