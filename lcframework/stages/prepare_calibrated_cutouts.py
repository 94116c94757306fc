"""``prepare_calibrated_cutouts``: a region's stamps of all selected frames, normalised, with PSFs and registration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col, select

from lcframework.provenance import describe, digest
from lcframework.roi.cutout_files import FOLDER, PREFIX, PreparedEpochs, distinct, stem, write_cutouts
from lcframework.roi.cutout_selection import measured, selected, shown, star_positions
from lcframework.roi.psf_stack import stacked, unlike_the_others
from lcframework.roi.registration import register
from lcframework.sky.geometry import local_map, zenith_on_plane
from lcframework.stages.base import FORCED, Ledger, Outcome, Stage, Unit
from lcframework.stages.calculate_absolute_zeropoints import CalculateAbsoluteZeropoints as Zeropoints
from lcframework.stages.calculate_normalization_coefficient import CalculateNormalizationCoefficient as Normalization
from lcframework.stages.psf_modeling import PsfModeling
from lcframework.stages.scopes import Scope
from lcframework.stages.stamp_extraction import StampExtraction
from lcframework.stages.withdrawn import withdraw_cutouts
from lcframework.stars.selection import keep
from lcframework.storage.files import Stamp, read_psf, read_stamps, read_wcs
from lcframework.storage.records import Record, Update
from lcframework.storage.tables import (
    AbsoluteZeropoint,
    CombinedFootprint,
    Frame,
    Product,
    PsfRow,
    RoiInFrame,
)
from lcframework.types import PSF, Cutouts, Floats, Kernels, UnusableInput


@attrs.frozen(eq=False)
class Epoch:
    """One frame of a region: its rows, files and stars."""

    frame: dict[str, Any]
    roi: dict[str, Any]
    coefficient: float
    coefficient_uncertainty: float
    extra_scatter: float
    stamps: str
    psf: str
    predicted: Floats  # (n, 2) star positions by the WCS
    measured: Floats  # (n, 2)
    error: Floats  # (n, 2)


@attrs.frozen(eq=False)
class Group:
    """The epochs of one region, instrument and band."""

    roi: str
    instrument: str
    band: str
    epochs: list[Epoch]
    zeropoint: tuple[float, float, str]
    stem: str = ""  # of the files' names
    reason: str = ""  # why there are no epochs, where no selection left them out


@attrs.frozen(eq=False)
class GroupValues:
    """What the epochs' files hold."""

    group: Group
    stamps: list[Stamp]
    psfs: list[PSF]
    transforms: list[Floats]  # of the frames' WCS around the region, to frame pixels


@attrs.frozen(eq=False)
class Prepared:
    """The epochs, and why frames are none of them, by the frames' ids."""

    epochs: PreparedEpochs
    left_out: dict[int, str]


@attrs.define
class PrepareCalibratedCutouts(Stage):
    """One unit a region, instrument and band."""

    name: ClassVar[str] = "prepare_calibrated_cutouts"
    title: ClassVar[str] = "Calibrated cutouts"
    needs: ClassVar[tuple[str, ...]] = (Normalization.name, Zeropoints.name)
    makes: ClassVar[tuple[str, ...]] = ("prepared_roi_cutouts/cutouts_<roi>_<instrument>_<band>.h5",)
    unit: ClassVar[str] = "region, instrument and band"
    results_version: ClassVar[int] = 5

    def units(self, session: Session, ledger: Ledger) -> list[Unit]:
        """Return the groups that have normalised frames, or had them: their cutouts are withdrawn then."""
        fields = session.exec(select(CombinedFootprint).where(CombinedFootprint.active)).all()
        stems = self._stems(session)
        units = []
        for roi in self.setup.config.roi:
            field = next((f.hash for f in sorted(fields, key=lambda f: f.hash) if roi in f.rois), None)
            if field is not None:
                for instrument, band in self._groups(session, ledger, field, roi):
                    name = stems.get((roi, instrument, band), stem(roi, instrument, band))
                    unit = self._unit(session, ledger, roi, field, instrument, band, name)
                    if unit is not None:
                        units.append(unit)
        return units

    def _groups(self, session: Session, ledger: Ledger, field: str, roi: str) -> list[tuple[str, str]]:
        """Return the instruments and bands that have normalised frames with the region in them, or cutouts of it."""
        c, r = (SQLModel.metadata.tables[t] for t in ("normalization_coefficients", "rois_in_frames"))
        query = (
            sa.select(c.c.instrument, c.c.band)
            .join(r, r.c.frame_id == c.c.frame_id)
            .where(c.c.combined_footprint_hash == field, r.c.roi == roi, r.c.roi_in_footprint)
        )
        found = {(str(i), str(b)) for i, b in session.execute(query.distinct())}
        for key, product in ledger.of_stage(self.name).items():
            name, instrument, band = key.split(":", 2)
            if name != roi or (instrument, band) in found:
                continue
            if product.state != "unusable" or shown(session, roi, instrument, band):
                found.add((instrument, band))
            else:  # it was told once; that a telescope looks elsewhere is no fault
                mine = (col(Product.stage) == self.name, col(Product.unit) == key)
                session.execute(sa.delete(Product).where(*mine))
        return sorted(found)

    def _stems(self, session: Session) -> dict[tuple[str, str, str], str]:
        """Return the files' names of every group that there may be: bands may differ by what no file name can tell."""
        found = session.exec(select(Frame.instrument, Frame.band).distinct()).all()
        groups = [(roi, i, b) for roi in self.setup.config.roi for i, b in found]
        return distinct({group: stem(*group) for group in groups})

    def _unit(
        self, session: Session, ledger: Ledger, roi: str, field: str, instrument: str, band: str, name: str
    ) -> Unit | None:
        product = ledger.product(Normalization.name, f"{field}:{instrument}:{band}")
        reason = ""
        if not shown(session, roi, instrument, band):
            reason = f"no frame of {instrument} {band} that takes part shows {roi} any more"
        elif product is None or product.state == FORCED:
            return None  # its turn has not come
        elif product.state != "made":
            reason = f"its frames can't be normalised: {product.reason}"
        elif not measured(session, field, instrument, band):
            reason = f"no star is measured any more in frames of {instrument} {band}: see star_photometry"
        token = product.token if product is not None and product.state == "made" else ""
        epochs, inputs = ([], []) if reason else self._epochs(session, ledger, roi, field, instrument, band)
        zeropoint = ledger.tokens(Zeropoints.name).get(f"{field}:{instrument}:{band}", "")
        region = self.setup.config.roi[roi]
        parts = {
            "normalization": token, "zeropoint": zeropoint, "epochs": digest(inputs), "roi": [region.ra, region.dec],
            "roi_cutouts": self.selection(instrument),
        }  # fmt: skip
        if name != stem(roi, instrument, band):  # since another group came that would have the same name
            parts["file"] = name
        if reason:
            parts["without"] = reason
        zero = self._zeropoint(session, field, instrument, band, zeropoint)
        group = Group(roi, instrument, band, epochs, zero, name, reason)
        scope = Scope(frozenset([roi]), instrument, band)
        return Unit(
            f"{roi}:{instrument}:{band}", f"{roi} {instrument} {band}", self.components(**parts), group, scope=scope
        )

    def selection(self, instrument: str) -> dict[str, Any]:
        """Return what selects the frames."""
        cuts = describe(self.setup.config_for(instrument).roi_cutouts)
        return {**cuts, "psf_chi2": self.setup.identity("photometry", instrument)["psf_chi2"]}

    def _limits(self, instrument: str) -> str:
        cuts = self.selection(instrument)
        found = [f"[roi_cutouts] {k} = {v}" for k, v in cuts.items() if k != "psf_chi2"]
        return "; ".join([*found, f"[photometry] psf_chi2 = {cuts['psf_chi2']}"])

    @staticmethod
    def _zeropoint(session: Session, field: str, instrument: str, band: str, token: str) -> tuple[float, float, str]:
        row = session.get(AbsoluteZeropoint, (field, instrument, band)) if token else None
        return (row.zeropoint, row.zeropoint_uncertainty, row.system) if row else (float("nan"), float("nan"), "")

    def _epochs(
        self, session: Session, ledger: Ledger, roi: str, field: str, instrument: str, band: str
    ) -> tuple[list[Epoch], list[Any]]:
        config = self.setup.config_for(instrument)
        chosen = selected(session, field, instrument, band, config.roi_cutouts.frames, config.roi_cutouts.normalization)
        places = {
            r.frame_id: r
            for r in session.exec(select(RoiInFrame).where(RoiInFrame.roi == roi, RoiInFrame.roi_in_footprint))
        }
        psfs = {p.frame_id: p for p in session.exec(select(PsfRow).where(PsfRow.combined_footprint_hash == field))}
        stars = star_positions(session, field)
        stamped, modelled = ledger.of_stage(StampExtraction.name), ledger.tokens(PsfModeling.name)
        there = [(f, c) for f, c in chosen if f.id in places and f.id in psfs]
        good = (
            keep(np.array([psfs[f.id or 0].chi2 for f, _ in there]), config.photometry.psf_chi2)
            if there
            else np.zeros(0, bool)
        )
        epochs, inputs = [], []
        for (f, c), use in zip(there, good, strict=True):
            unit = f"frame:{f.id}:{field}"
            product, token, place = stamped.get(unit), modelled.get(unit), places[f.id or 0]
            if not use or product is None or product.state != "made" or token is None:
                continue
            positions = stars.get(f.id or 0, (np.zeros((0, 2)),) * 3)
            epochs.append(Epoch(f.model_dump(), place.model_dump(), *c, product.path, psfs[f.id or 0].path, *positions))
            inputs.append([f.id, product.token, token, place.airmass, place.altitude, place.azimuth, place.bjd_tdb])
        return epochs, inputs

    def load(self, unit: Unit) -> GroupValues:
        """Read the epochs' stamps, PSFs and WCSs."""
        group: Group = unit.payload
        workdir = self.setup.workdir
        if group.reason:
            raise UnusableInput(group.reason)
        if not group.epochs:
            raise UnusableInput(
                f"no frame of {group.instrument} {group.band} passes the selection: " + self._limits(group.instrument)
            )
        region = self.setup.config.roi[group.roi]
        stamps = [read_stamps(workdir / e.stamps, [group.roi])[group.roi] for e in group.epochs]
        psfs = [read_psf(workdir / e.psf) for e in group.epochs]
        wcs = [read_wcs(workdir / str(e.frame["wcs_relpath"])) for e in group.epochs]
        return GroupValues(group, stamps, psfs, [local_map(w, region.ra, region.dec) for w in wcs])

    def compute(self, values: GroupValues) -> Prepared:
        """Register, normalise and stack."""
        group = values.group
        model = self.setup.tool("psf", group.instrument)
        if model is None:
            raise UnusableInput('[psf] plugin = "none": cutouts need PSFs')
        odd = unlike_the_others(values.psfs)
        usable = [i for i in range(len(values.psfs)) if i not in odd]
        first = values.psfs[usable[0]]
        transforms, covariances, offsets, kernels = [], [], [], []
        for i in usable:
            epoch, stamp = group.epochs[i], values.stamps[i]
            place = values.transforms[i][:, 2]
            fit = register(epoch.predicted, epoch.measured, epoch.error, place)
            transform = fit.apply(values.transforms[i])
            transform[:, 2] -= stamp.corner
            transforms.append(transform)
            covariances.append(fit.covariance)
            offsets.append(fit.offset)
            kernels.append(model.instance.at(values.psfs[i], (place + fit.offset)[None])[0])
        epochs, stamps = [group.epochs[i] for i in usable], [values.stamps[i] for i in usable]
        coefficient = np.array([e.coefficient for e in epochs])
        scale = coefficient[:, None, None]
        cutouts = Cutouts(
            data=np.stack([s.data for s in stamps]) / scale,
            noise=np.stack([s.noise for s in stamps]) / scale,
            mask=np.stack([s.mask for s in stamps]) > 0,
            kernels=Kernels(stacked(kernels), first.subsampling_factor, first.target_fwhm),
            transform=np.stack(transforms),
            registration_covariance=np.stack(covariances),
            mjd=_column(epochs, "mjd"),
            seeing=_column(epochs, "seeing_arcseconds"),
            airmass=np.array([_nan(e.roi["airmass"]) for e in epochs]),
            normalization_error=np.array([e.coefficient_uncertainty for e in epochs]) / coefficient,
            zenith=self._zenith(group, epochs),
            psf_precision=stacked([values.psfs[i].precision for i in usable]),
        )
        prepared = PreparedEpochs(
            cutouts, np.array([e.frame["id"] for e in epochs]), _column(epochs, "exptime"),
            _column(epochs, "pixel_scale"), _column(epochs, "angle_to_north"),
            _column(epochs, "background_rms_electron_per_second"), coefficient, np.array(offsets),
            np.array([_nan(e.roi["bjd_tdb"]) for e in epochs]), [s.wcs for s in stamps], *group.zeropoint,
            np.array([e.extra_scatter for e in epochs]),
        )  # fmt: skip
        return Prepared(prepared, {group.epochs[i].frame["id"]: why for i, why in odd.items()})

    def _zenith(self, group: Group, epochs: list[Epoch]) -> Floats:
        """Return where the zenith lies as the region sees it, (e, 2); nan without a telescope's place."""
        telescope = self.setup.config_for(group.instrument).telescope
        altitude, azimuth = (np.array([_nan(e.roi[name]) for e in epochs]) for name in ("altitude", "azimuth"))
        latitude = telescope.latitude if telescope else float("nan")
        return zenith_on_plane(altitude, azimuth, self.setup.config.roi[group.roi].dec, latitude)

    def save(self, unit: Unit, result: Prepared) -> Outcome:
        """Write the cutouts."""
        group: Group = unit.payload
        path = f"{FOLDER}/{PREFIX}{group.stem}.h5"
        write_cutouts(self.setup.workdir / path, result.epochs)
        said = f"{self.name}: {group.roi}: "
        records: list[Record] = []
        for frame in (e.frame for e in group.epochs):
            reason = result.left_out.get(frame["id"], "")
            if reason or frame["comment"].startswith(said):
                comment = said + reason if reason else ""
                records.append(Update("frames", {"id": frame["id"]}, {"comment": comment}))
        return Outcome(tuple(records), path, summary=f"{len(result.epochs.cutouts)} epochs")

    def finish(self, session: Session, workdir: Path) -> None:
        """Set aside the cutouts of groups that have none any more."""
        withdraw_cutouts(Ledger(session), self.name, workdir)


def _nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _column(epochs: list[Epoch], name: str) -> Floats:
    return np.array([_nan(e.frame[name]) for e in epochs])
