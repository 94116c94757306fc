"""``model_calibrated_cutouts``: the light curves of a region's point sources, from a joint fit of all epochs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, SQLModel

from lcframework.config.sections import Roi
from lcframework.provenance import describe, digest
from lcframework.roi.choosing_model import discs_of, knows_motion, model_of
from lcframework.roi.cutout_files import (
    FOLDER,
    WITHDRAWN,
    FitFile,
    PreparedEpochs,
    cutouts_of,
    read_cutouts,
    read_fit,
    source_positions,
    stem_of,
    write_astrometry,
    write_fit,
    write_images,
)
from lcframework.roi.light_curves import join, per_night, write_light_curve
from lcframework.roi.model_doubts import model_doubts
from lcframework.roi.slow_change_doubts import slow_change_doubts
from lcframework.roi.support import harmful_pixels
from lcframework.roi.withdrawn import withdraw_fits
from lcframework.sky.geometry import to_plane
from lcframework.stages.prepare_calibrated_cutouts import PrepareCalibratedCutouts
from lcframework.types import Doubt, Floats, PointSources, RoiFit, UnusableInput
from lcframework.work import (
    FitKey,
    Ledger,
    LightCurveKey,
    Outcome,
    ProductState,
    RegionGroupKey,
    Scope,
    Stage,
    Task,
    Unit,
    UnitKey,
)

#: The version of the columns of the tables; raised with new ones, so that tables are made again and fits are not.
_COLUMNS = 2


@attrs.frozen
class ModelPayload:
    """One region, instrument and band to model."""

    roi: str
    instrument: str
    band: str
    cutouts: str


@attrs.frozen
class TablePayload:
    """One region, and the files of its fits, which are joined in one light curve.

    Attributes
    ----------
    roi : str
        The region.
    fits, cutouts : tuple of str
        The files of the fits, and of the cutouts to which they were made.
    places : mapping
        Where each frame's WCS puts the region, (x, y) in pixels, by the frame's id.
    """

    roi: str
    fits: tuple[str, ...]
    cutouts: tuple[str, ...]
    places: Mapping[int, tuple[float, float]] = attrs.field(repr=False)


@attrs.frozen(eq=False)
class LocatedFit:
    """A fit of a region, and where its sources are in the frames; None where that is not known."""

    fit: FitFile
    positions: Floats | None  # (e, k, 2) pixels


@attrs.frozen(eq=False)
class Epochs:
    """The epochs to which a region's model is fitted."""

    payload: ModelPayload
    epochs: PreparedEpochs


class ModelRegion(Task[ModelPayload, Epochs, RoiFit]):
    """Fits all epochs of a region, instrument and band jointly."""

    accelerator: ClassVar[bool] = True

    def load(self, unit: Unit[ModelPayload]) -> Epochs:
        """Read the cutouts."""
        payload = unit.payload
        epochs = read_cutouts(self.toolbox.workdir / payload.cutouts)
        aperture = self.toolbox.config_for(payload.instrument).photometry.aperture
        discs = discs_of(self.toolbox, payload.instrument)
        return Epochs(
            payload, attrs.evolve(epochs, cutouts=attrs.evolve(epochs.cutouts, aperture=aperture, discs=discs))
        )

    def compute(self, values: Epochs) -> RoiFit:
        """Fit all epochs jointly."""
        payload, epochs = values.payload, values.epochs
        region = self.toolbox.config.roi[payload.roi]
        tool = model_of(self.toolbox, payload.roi, payload.instrument)
        if tool is None:
            raise UnusableInput('[roi_model] plugin = "none": light curves need a model of the region')
        if not region.point_sources:
            raise UnusableInput(
                f"[roi.{payload.roi}.point_sources] is empty: name at least one point source to measure"
            )
        sources = point_sources(region)
        harmful = harmful_pixels(epochs.cutouts, sources, epochs.zeropoint_uncertainty)
        cutouts = attrs.evolve(epochs.cutouts, mask=epochs.cutouts.mask | harmful)
        fit: RoiFit = tool.ask("fit", cutouts, sources)
        if not fit.status.usable:
            raise UnusableInput(f"the model of {payload.roi} failed: {fit.status.reason or fit.status.state.value}")
        return fit.with_variance(self.toolbox.config_for(payload.instrument).stamps.noise_correlation)

    def save(self, unit: Unit[ModelPayload], values: Epochs, result: RoiFit) -> Outcome:
        """Write the fit, its images and its astrometry."""
        p, epochs = unit.payload, values.epochs
        folder, name = self.toolbox.workdir / FOLDER, stem_of(p.cutouts)
        region = self.toolbox.config.roi[p.roi]
        names = list(region.point_sources)
        write_fit(folder / f"{name}_fit.h5", FitFile(
            p.instrument, p.band, names, result, epochs.columns, epochs.zeropoint, epochs.zeropoint_uncertainty,
            epochs.system,
        ))  # fmt: skip
        write_images(folder, name, result, region.ra, region.dec)
        moves = self.toolbox.ephemeris(p.roi) is not None
        place = None if moves else (region.ra, region.dec)
        write_astrometry(folder / f"{name}_astrometry.json", names, result, place)
        chi2 = float(np.nanmedian(result.reduced_chi2))
        doubts = (
            *result.doubts,
            *model_doubts(p.roi, unit.label, names, epochs.cutouts, result, place),
            *slow_change_doubts(unit.label, names, epochs.columns, result),
        )
        tool = self.toolbox.tool("roi_model", p.instrument)
        if moves and tool is not None and not knows_motion(tool):
            doubts += (Doubt(
                "model_not_for_motion",
                f'[roi_model] plugin = "{tool.name}" does not say how it measures targets that move: what it holds '
                f"fixed beside the point sources of {unit.label} moved",
                'Choose a model that does, such as "joint", or see that it fits point sources alone',
                subject=unit.label,
            ),)  # fmt: skip
        summary = f"chi2 {chi2:.2f}, {result.status.state.value}"
        return Outcome(path=f"{FOLDER}/{name}_fit.h5", summary=summary, doubts=doubts)


class JoinLightCurve(Task[TablePayload, list[LocatedFit], list[LocatedFit]]):
    """Joins the fits of a region in one light curve."""

    light: ClassVar[bool] = True

    def load(self, unit: Unit[TablePayload]) -> list[LocatedFit]:
        """Read the fits, and what places their sources in the frames."""
        payload, workdir = unit.payload, self.toolbox.workdir
        if not payload.fits:
            raise UnusableInput(
                f"no fit of {payload.roi} is left; the light curve of earlier runs is in {FOLDER}/{WITHDRAWN}/"
            )
        located = []
        for path, cutouts in zip(payload.fits, payload.cutouts, strict=True):
            fit = read_fit(workdir / path)
            known = (workdir / cutouts).exists()
            located.append(LocatedFit(fit, source_positions(workdir / cutouts, fit, payload.places) if known else None))
        return located

    def compute(self, values: list[LocatedFit]) -> list[LocatedFit]:
        """Return the fits unchanged."""
        return values

    def save(self, unit: Unit[TablePayload], values: list[LocatedFit], result: list[LocatedFit]) -> Outcome:
        """Write the tables of epochs, nights and visits."""
        roi, fits = unit.payload.roi, [r.fit for r in result]
        telescopes = {c.instrument: self.toolbox.config_for(c.instrument).telescope for c in fits}
        longitudes = {name: t.longitude if t else 0.0 for name, t in telescopes.items()}
        names = list(dict.fromkeys(n for c in fits for n in c.names))
        table = join(fits, [r.positions for r in result])
        nightly = per_night(table, names, longitudes)
        paths = write_light_curve(self.toolbox.workdir / FOLDER, roi, table, nightly, [c.system for c in fits])
        return Outcome(path=f"{FOLDER}/{paths[0].name}", summary=f"{len(table)} epochs")


@attrs.define
class ModelCalibratedCutouts(Stage):
    """One unit for each region, instrument and band; then one for each region, which joins the fits."""

    name: ClassVar[str] = "model_calibrated_cutouts"
    title: ClassVar[str] = "Light curves"
    needs: ClassVar[tuple[str, ...]] = (PrepareCalibratedCutouts.name,)
    makes: ClassVar[tuple[str, ...]] = ("prepared_roi_cutouts/<roi>_photometry_per_epoch.csv",)
    unit: ClassVar[str] = "region, instrument and band"
    reads: ClassVar[tuple[str, ...] | None] = ("rois_in_frames",)
    results_version: ClassVar[int] = 5

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return the task that fits a group, and the task that joins the fits of a region."""
        return {
            FitKey: ModelRegion(self.name, self.toolbox),
            LightCurveKey: JoinLightCurve(self.name, self.toolbox),
        }

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return the units of fits, and of tables for regions whose fits are all done or that have none any more."""
        fits: dict[str, list[Unit[ModelPayload]]] = {}
        waiting: dict[str, list[FitKey]] = {}
        prepared = ledger.keyed(PrepareCalibratedCutouts.name, RegionGroupKey)
        for group, product in sorted(prepared.items(), key=lambda item: str(item[0])):
            key = FitKey(group.roi, group.instrument, group.band)
            region = self.toolbox.config.roi.get(key.roi)
            if region is None or self.toolbox.tool("roi_model", key.instrument) is None:
                continue
            if product.made:
                fits.setdefault(key.roi, []).append(self._fit(key, region, product.token, product.path))
            else:
                waiting.setdefault(key.roi, []).extend([key] if product.state == ProductState.FORCED else [])
        units: list[Unit[Any]] = [u for group in fits.values() for u in group]
        left = {key.roi for key, p in prepared.items() if p.state in (ProductState.MADE, ProductState.FORCED)}
        had = {key.roi for key in ledger.keyed(self.name, LightCurveKey)} & set(self.toolbox.config.roi)
        for roi in sorted({*fits, *(had - left)}):
            units += self._table(session, ledger, roi, fits.get(roi, []), waiting.get(roi, []))
        return units

    def _fit(self, key: FitKey, region: Roi, token: str, path: str) -> Unit[ModelPayload]:
        parts: dict[str, Any] = {
            "cutouts": token, "point_sources": sorted(region.point_sources.items()),
            "roi_model": self.toolbox.identity("roi_model", key.instrument),
        }  # fmt: skip
        if self.toolbox.ephemeris(key.roi) is not None:
            parts["moves"] = True
        if aperture := self.toolbox.config_for(key.instrument).photometry.aperture:
            parts["aperture"] = aperture
        if discs := discs_of(self.toolbox, key.instrument):
            parts["discs"] = describe(discs)
        payload = ModelPayload(key.roi, key.instrument, key.band, path)
        scope = Scope(frozenset([key.roi]), key.instrument, key.band)
        return Unit(key, f"{key.roi} {key.instrument} {key.band}", self.components(**parts), payload, scope=scope)

    def _table(
        self, session: Session, ledger: Ledger, roi: str, group: list[Unit[ModelPayload]], waiting: list[FitKey]
    ) -> list[Unit[TablePayload]]:
        """Return the unit of the table where all fits are done; fits outside the filter enter it as they are."""
        if any(self.only.admits(u.scope or Scope()) for u in self.pending(group, ledger)):
            return []
        key = LightCurveKey(roi)
        products = [ledger.product(self.name, k) for k in sorted([*(u.key for u in group), *waiting], key=str)]
        made = [p for p in products if p is not None and p.state in (ProductState.MADE, ProductState.FORCED)]
        if not made and ledger.product(self.name, key) is None:
            return []
        # The places of sources follow from the WCS, on which the fits depend: they are no component of their own.
        components = self.components(fits=digest([[p.unit, p.token] for p in made]), columns=_COLUMNS)
        paths = tuple(p.path for p in made)
        payload = TablePayload(roi, paths, tuple(map(cutouts_of, paths)), _places(session, roi))
        return [Unit(key, f"light curve of {roi}", components, payload, scope=Scope(frozenset([roi])))]

    def finish(self, session: Session, ledger: Ledger, workdir: Path) -> None:
        """Move files that belong to no product any more to another folder."""
        withdraw_fits(session, ledger, PrepareCalibratedCutouts.name, self.name, workdir)


def _places(session: Session, roi: str) -> dict[int, tuple[float, float]]:
    """Return where the WCS of each frame puts a region, pixels, by the frame's id."""
    t = SQLModel.metadata.tables["rois_in_frames"]
    rows = session.execute(sa.select(t.c.frame_id, t.c.x, t.c.y).where(t.c.roi == roi, t.c.x.is_not(None)))
    return {i: (x, y) for i, x, y in rows}


def point_sources(region: Roi) -> PointSources:
    """Return a region's point sources as offsets from its position."""
    ra, dec = np.array(list(region.point_sources.values())).T
    return PointSources(tuple(region.point_sources), np.stack(to_plane(ra, dec, region.ra, region.dec), axis=1))
