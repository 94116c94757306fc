"""``plate_solving``: each frame gets a WCS, checked before it is believed."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np
from astropy.io import fits
from astropy.table import Table
from sqlmodel import Session, col, select

from lcframework import geometry
from lcframework.database import Frame, Product, Record, Update
from lcframework.sections import PlateSolving as Settings
from lcframework.stages.base import Ledger, Outcome, Stage, Unit
from lcframework.stages.read_convert_skysub_character_catalog import ReadConvertSkysubCharacterCatalog as Import
from lcframework.store import make_wcs, read_frame, read_table, write_frame, write_table, write_wcs
from lcframework.types import (
    STARS,
    CatalogLimits,
    FrameFlag,
    LcfError,
    NeedMissing,
    NotSolved,
    PlateSolution,
    Region,
    SolveHint,
    UnusableInput,
)

FIELD = "field"
FIELD_STARS = "frames/field_stars.fits"


@attrs.frozen(eq=False)
class Field:
    """What is known of a frame before it is solved."""

    sources: Table
    shape: tuple[int, int]
    hint: SolveHint
    instrument: str
    mjd: float


@attrs.frozen(eq=False)
class Solved:
    """A believed solution."""

    solution: PlateSolution
    solver: str
    scale: geometry.Scale


@attrs.define
class PlateSolving(Stage):
    """Asks the solvers of ``[plate_solving] plugin`` in turn."""

    name: ClassVar[str] = "plate_solving"
    title: ClassVar[str] = "Plate solving"
    needs: ClassVar[tuple[str, ...]] = (Import.name,)
    makes: ClassVar[tuple[str, ...]] = ("frames", "frames/<name>.wcs")
    unit: ClassVar[str] = "frame"

    def units(self, session: Session, ledger: Ledger) -> list[Unit]:
        """Return the catalogue query that some solvers need first; then one unit an imported frame."""
        imported = ledger.tokens(Import.name)
        frames = [
            f
            for f in session.exec(select(Frame).order_by(col(Frame.id)))
            if f"frame:{f.id}" in imported and not f.eliminated
        ]
        stars = ""
        if frames and self._wants_stars():
            query = self._query_unit()
            product = ledger.product(self.name, query.key)
            if product is None or product.fingerprint != query.fingerprint:
                return [query]
            stars = FIELD_STARS if product.state == "made" else ""
        units = []
        for f in frames:
            identity = self.setup.identity("plate_solving", f.instrument)
            for key in ("retry_failed", "min_success_fraction"):
                identity.pop(key)
            components = self.components(frame=imported[f"frame:{f.id}"], plate_solving=identity)
            payload = (f.id, f.key, f.image_relpath, f.sources_relpath, f.instrument, f.mjd, f.flags, stars)
            units.append(Unit(f"frame:{f.id}", Path(f.original_image_path).name, components, payload, f.id))
        return units

    def _wants_stars(self) -> bool:
        names = ("", *self.setup.configs)
        solvers = [t for name in names for t in self.setup.all("plate_solving", name)]
        return any(getattr(t.instance, "needs_stars", False) for t in solvers)

    def _query_unit(self) -> Unit:
        roi = next(iter(self.setup.config.roi.values()))
        radius = self.setup.config.plate_solving.search_radius
        parts = {
            "region": [roi.ra, roi.dec, radius],
            "faintest": self.setup.config.stars.magnitude[1],
            "catalogue": {t.name: t.identity() for t in self.setup.all("stars")},
        }
        return Unit(FIELD, "catalogue stars of the field", self.components(**parts), Region(roi.ra, roi.dec, radius))

    def retry(self, product: Product) -> bool:
        """Try failed frames again where the user asks for it."""
        return self.setup.config.plate_solving.retry_failed

    def load(self, unit: Unit) -> Field | Region:
        """Read the frame's header and sources."""
        if unit.key == FIELD:
            region: Region = unit.payload
            return region
        _, _, image, sources, instrument, mjd, _, stars = unit.payload
        workdir = self.setup.workdir
        header = fits.getheader(workdir / image)
        roi = next(iter(self.setup.config.roi.values()))
        settings = self.setup.config_for(instrument).plate_solving
        hint = SolveHint(
            roi.ra, roi.dec, settings.search_radius, settings.pixel_scale, header,
            stars=read_table(workdir / stars) if stars else None,
        )  # fmt: skip
        shape = (int(header["NAXIS2"]), int(header["NAXIS1"]))
        return Field(read_table(workdir / sources), shape, hint, instrument, mjd)

    def compute(self, values: Field | Region) -> Solved | Table:
        """Solve and check."""
        if isinstance(values, Region):
            catalogue = self.setup.tool("stars")
            if catalogue is None:
                raise NeedMissing('a plate solver needs catalogue stars, but [stars] plugin = "none"')
            # Brighter stars than those for the PSF serve here; fainter ones would only be many.
            limits = CatalogLimits(magnitude=(-np.inf, self.setup.config.stars.magnitude[1]))
            return STARS.check(catalogue.instance.query(values, limits), f"[stars] {catalogue.name}")
        hint = values.hint
        if hint.stars is not None:
            stars = hint.stars.copy()
            stars["ra"], stars["dec"] = geometry.at_epoch(
                stars["ra"], stars["dec"], stars["pmra"], stars["pmdec"], stars["ref_epoch"], values.mjd
            )
            hint = attrs.evolve(hint, stars=stars)
        settings = self.setup.config_for(values.instrument).plate_solving
        reasons = []
        for tool in self.setup.all("plate_solving", values.instrument):
            answer = tool.instance.solve(values.sources, values.shape, hint)
            if isinstance(answer, NotSolved):
                reasons.append(f"{tool.name}: {answer.reason}")
                continue
            scale, wrong = judge(answer, values.shape, settings)
            if not wrong:
                return Solved(answer, tool.name, scale)
            reasons.append(f"{tool.name}: {wrong}")
        raise UnusableInput("not solved: " + ("; ".join(reasons) or "no solver is selected"))

    def save(self, unit: Unit, result: Solved | Table) -> Outcome:
        """Write the WCS, and the frame again with it."""
        workdir = self.setup.workdir
        if isinstance(result, Table):
            write_table(workdir / FIELD_STARS, result)
            return Outcome(path=FIELD_STARS)
        frame_id, key, image, _, _, _, flags, _ = unit.payload
        path = f"frames/{key}.wcs"
        write_wcs(workdir / path, result.solution.header)
        if result.solver != "existing" or result.solution.refined:
            pixels, mask, header = read_frame(workdir / image)
            write_frame(workdir / image, pixels, mask, with_wcs(header, result.solution.header))
        flags = flags & ~FrameFlag.WCS_REFINED | (FrameFlag.WCS_REFINED if result.solution.refined else 0)
        row = {
            "plate_solved": True, "attempted_plate_solve": True, "solver": result.solver, "wcs_relpath": path,
            "pixel_scale": result.scale.pixel_scale, "angle_to_north": result.scale.angle_to_north,
            "wcs_matched": result.solution.matched or None, "comment": "", "flags": int(flags),
            "wcs_rms_pixels": float(result.solution.rms) if np.isfinite(result.solution.rms) else None,
        }  # fmt: skip
        return Outcome((Update("frames", {"id": frame_id}, row),), path, summary=f"by {result.solver}")

    def unusable_records(self, unit: Unit, reason: str) -> tuple[Record, ...]:
        """Record the failed attempt."""
        row = {"plate_solved": False, "attempted_plate_solve": True, "roi_in_footprint": False, "comment": reason}
        return (Update("frames", {"id": unit.frame_id}, row),)

    def finish(self, session: Session, workdir: Path) -> None:
        """Stop where so few frames solve that something general must be wrong."""
        tried = [f for f in session.exec(select(Frame)) if f.attempted_plate_solve and not f.eliminated]
        solved = sum(f.plate_solved for f in tried)
        wanted = self.setup.config.plate_solving.min_success_fraction
        if tried and solved < wanted * len(tried):
            example = next(f for f in tried if not f.plate_solved)
            raise LcfError(
                f"{solved} of {len(tried)} frames are solved, fewer than [plate_solving] min_success_fraction = "
                f"{wanted}. {Path(example.original_image_path).name}: {example.comment}. `lcf status` lists the "
                "others; mend the settings, or lower min_success_fraction to go on without them."
            )


def judge(solution: PlateSolution, shape: tuple[int, int], settings: Settings) -> tuple[geometry.Scale, str]:
    """Return a solution's scale, and what is wrong with it or an empty string."""
    none = geometry.Scale(np.nan, np.nan, np.nan)
    try:
        wcs = make_wcs(solution.header)
        if not wcs.has_celestial:
            return none, "the WCS has no celestial axes"
        scale = geometry.scale_at(wcs, (shape[1] - 1) / 2, (shape[0] - 1) / 2)
    except Exception as error:  # wcslib raises a dozen kinds of error on headers that make no sense
        return none, f"the WCS is invalid ({str(error).strip().splitlines()[0]})"
    low, high = settings.pixel_scale
    if not np.isfinite(scale.pixel_scale):
        return scale, "the WCS gives no finite pixel scale"
    if not low <= scale.pixel_scale <= high:
        return scale, f"its pixel scale of {scale.pixel_scale:.4f} arcsec lies outside pixel_scale = [{low}, {high}]"
    if scale.anisotropy > settings.max_anisotropy:
        return scale, f"its anisotropy of {scale.anisotropy:.4f} exceeds max_anisotropy = {settings.max_anisotropy}"
    return scale, ""


_WCS_PREFIXES = ("CRVAL", "CRPIX", "CDELT", "CROTA", "CTYPE", "CUNIT", "CD1_", "CD2_", "PC1_", "PC2_", "PV1_", "PV2_",
                 "A_", "B_", "AP_", "BP_", "LONPOLE", "LATPOLE", "WCSAXES")  # fmt: skip


def with_wcs(header: fits.Header, wcs: fits.Header) -> fits.Header:
    """Return a header whose WCS keywords are those of another."""
    out = header.copy()
    for key in [k for k in out if k.startswith(_WCS_PREFIXES)]:
        del out[key]
    for card in wcs.cards:
        if card.keyword.startswith((*_WCS_PREFIXES, "RADESYS", "EQUINOX")):
            out[card.keyword] = (card.value, card.comment)
    return out
