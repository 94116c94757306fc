"""``model_calibrated_cutouts``: the light curves of a region's point sources, from all its epochs jointly."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
from sqlmodel import Session

from lcframework.config.sections import Roi
from lcframework.provenance import digest
from lcframework.roi.cutout_files import (
    FOLDER,
    WITHDRAWN,
    FitFile,
    PreparedEpochs,
    read_cutouts,
    read_fit,
    stem_of,
    write_astrometry,
    write_fit,
    write_images,
)
from lcframework.roi.light_curves import join, per_night, write_light_curve
from lcframework.sky.geometry import to_plane
from lcframework.stages.base import FORCED, Ledger, Outcome, Stage, Unit
from lcframework.stages.prepare_calibrated_cutouts import PrepareCalibratedCutouts
from lcframework.stages.scopes import Scope
from lcframework.stages.withdrawn import withdraw_fits
from lcframework.types import PointSources, RoiFit, UnusableInput


@attrs.frozen
class ModelPayload:
    """One region, instrument and band to model."""

    roi: str
    instrument: str
    band: str
    cutouts: str


@attrs.frozen
class TablePayload:
    """One region whose fits are joined in one light curve."""

    roi: str
    fits: tuple[str, ...]


@attrs.frozen(eq=False)
class Modelled:
    """A fit beside its epochs."""

    epochs: PreparedEpochs
    fit: RoiFit


@attrs.define
class ModelCalibratedCutouts(Stage):
    """One unit a region, instrument and band; then one a region that joins their light curves."""

    name: ClassVar[str] = "model_calibrated_cutouts"
    title: ClassVar[str] = "Light curves"
    needs: ClassVar[tuple[str, ...]] = (PrepareCalibratedCutouts.name,)
    makes: ClassVar[tuple[str, ...]] = ("prepared_roi_cutouts/<roi>_photometry_per_epoch.csv",)
    unit: ClassVar[str] = "region, instrument and band"
    results_version: ClassVar[int] = 2
    accelerator: ClassVar[bool] = True

    def units(self, session: Session, ledger: Ledger) -> list[Unit]:
        """Return the fits; and the tables of regions whose fits are all done, or that have none any more."""
        fits: dict[str, list[Unit]] = {}
        waiting: dict[str, list[str]] = {}
        for key, product in sorted(ledger.of_stage(PrepareCalibratedCutouts.name).items()):
            roi, instrument, band = key.split(":", 2)
            region = self.setup.config.roi.get(roi)
            if region is None or self.setup.tool("roi_model", instrument) is None:
                continue
            if product.state != "made":
                waiting.setdefault(roi, []).extend([f"fit:{key}"] if product.state == FORCED else [])
                continue
            parts: dict[str, Any] = {
                "cutouts": product.token, "point_sources": sorted(region.point_sources.items()),
                "roi_model": self.setup.identity("roi_model", instrument),
            }  # fmt: skip
            if aperture := self.setup.config_for(instrument).photometry.aperture:
                parts["aperture"] = aperture
            payload = ModelPayload(roi, instrument, band, product.path)
            scope = Scope(frozenset([roi]), instrument, band)
            unit = Unit(f"fit:{key}", f"{roi} {instrument} {band}", self.components(**parts), payload, scope=scope)
            fits.setdefault(roi, []).append(unit)
        units = [u for group in fits.values() for u in group]
        prepared = ledger.of_stage(PrepareCalibratedCutouts.name)
        left = {key.split(":", 1)[0] for key, p in prepared.items() if p.state in ("made", FORCED)}
        had = {roi for roi in self.setup.config.roi if ledger.product(self.name, f"light_curve:{roi}") is not None}
        for roi in sorted({*fits, *(had - left)}):
            units += self._table(ledger, roi, fits.get(roi, []), waiting.get(roi, []))
        return units

    def _table(self, ledger: Ledger, roi: str, group: list[Unit], waiting: list[str]) -> list[Unit]:
        """Return the table's unit once the fits are done; fits that are not to be done now stay in it as they are."""
        pending = {u.key: u for u in self.pending(group, ledger)}
        if any(self.only.admits(u.scope or Scope()) for u in pending.values()):
            return []
        products = [ledger.product(self.name, key) for key in sorted([*(u.key for u in group), *waiting])]
        made = [p for p in products if p is not None and p.state in ("made", FORCED)]
        if not made and ledger.product(self.name, f"light_curve:{roi}") is None:
            return []
        components = self.components(fits=digest([[p.unit, p.token] for p in made]))
        payload = TablePayload(roi, tuple(p.path for p in made))
        scope = Scope(frozenset([roi]))
        return [Unit(f"light_curve:{roi}", f"light curve of {roi}", components, payload, scope=scope)]

    def load(self, unit: Unit) -> Any:
        """Read the cutouts, or the fits."""
        payload = unit.payload
        if isinstance(payload, TablePayload):
            if not payload.fits:
                raise UnusableInput(
                    f"no fit of {payload.roi} is left; the light curve of earlier runs is in {FOLDER}/{WITHDRAWN}/"
                )
            return [read_fit(self.setup.workdir / path) for path in payload.fits]
        return payload, read_cutouts(self.setup.workdir / payload.cutouts)

    def compute(self, values: Any) -> Any:
        """Fit; or join."""
        if isinstance(values, list):
            return values
        payload, epochs = values
        region = self.setup.config.roi[payload.roi]
        tool = self.setup.tool("roi_model", payload.instrument)
        if tool is None:
            raise UnusableInput('[roi_model] plugin = "none": light curves need a model of the region')
        if not region.point_sources:
            raise UnusableInput(
                f"[roi.{payload.roi}.point_sources] is empty: name at least one point source to measure"
            )
        aperture = self.setup.config_for(payload.instrument).photometry.aperture
        fit = tool.instance.fit(attrs.evolve(epochs.cutouts, aperture=aperture), point_sources(region))
        if not fit.status.usable:
            raise UnusableInput(f"the model of {payload.roi} failed: {fit.status.reason or fit.status.state.value}")
        return Modelled(epochs, fit)

    def save(self, unit: Unit, result: Any) -> Outcome:
        """Write the products."""
        payload = unit.payload
        return (
            self._save_table(payload, result) if isinstance(payload, TablePayload) else self._save_fit(payload, result)
        )

    def _save_fit(self, p: ModelPayload, result: Modelled) -> Outcome:
        folder, name = self.setup.workdir / FOLDER, stem_of(p.cutouts)
        region = self.setup.config.roi[p.roi]
        epochs, names = result.epochs, list(region.point_sources)
        c = epochs.cutouts
        write_fit(folder / f"{name}_fit.h5", FitFile(
            p.instrument, p.band, names, result.fit, epochs.frame_id, c.mjd, epochs.bjd_tdb, c.seeing,
            c.normalization_error, epochs.zeropoint, epochs.zeropoint_uncertainty, epochs.system,
            epochs.extra_scatter,
        ))  # fmt: skip
        write_images(folder, name, result.fit, region.ra, region.dec)
        write_astrometry(folder / f"{name}_astrometry.json", names, result.fit, region.ra, region.dec)
        chi2 = float(np.nanmedian(result.fit.reduced_chi2))
        return Outcome(path=f"{FOLDER}/{name}_fit.h5", summary=f"chi2 {chi2:.2f}, {result.fit.status.state.value}")

    def _save_table(self, p: TablePayload, contents: list[FitFile]) -> Outcome:
        folder = self.setup.workdir / FOLDER
        telescopes = {c.instrument: self.setup.config_for(c.instrument).telescope for c in contents}
        longitudes = {name: t.longitude if t else 0.0 for name, t in telescopes.items()}
        names = list(dict.fromkeys(n for c in contents for n in c.names))
        table = join(contents)
        nightly = per_night(table, names, longitudes)
        paths = write_light_curve(folder, p.roi, table, nightly, [c.system for c in contents])
        return Outcome(path=f"{FOLDER}/{paths[0].name}", summary=f"{len(table)} epochs")

    def finish(self, session: Session, workdir: Path) -> None:
        """Set aside the files of what there is no more."""
        withdraw_fits(session, Ledger(session), PrepareCalibratedCutouts.name, self.name, workdir)


def point_sources(region: Roi) -> PointSources:
    """Return a region's point sources as offsets from its position."""
    ra, dec = np.array(list(region.point_sources.values())).T
    return PointSources(tuple(region.point_sources), np.stack(to_plane(ra, dec, region.ra, region.dec), axis=1))
