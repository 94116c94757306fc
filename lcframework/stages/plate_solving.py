"""``plate_solving``: each frame gets a WCS, checked before it is believed."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np
from astropy.io import fits
from astropy.table import Table, vstack
from sqlmodel import Session, col, select

from lcframework import geometry, wcs_check
from lcframework.database import Frame, Record, Update
from lcframework.sections import PlateSolving as Settings
from lcframework.stages.base import Entry, Ledger, Outcome, Stage, Unit
from lcframework.stages.read_convert_skysub_character_catalog import ReadConvertSkysubCharacterCatalog as Import
from lcframework.store import make_wcs, read_frame, read_table, read_wcs_header, write_frame, write_table, write_wcs
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

FIELD = "catalogue stars of the field"
FIELD_STARS = "frames/field_stars.fits"


@attrs.frozen
class FramePayload:
    """A frame to solve: its products, and those of the frame that may serve as a reference (sources, WCS)."""

    frame_id: int
    key: str
    image: str
    sources: str
    instrument: str
    mjd: float
    flags: int
    stars: str
    reference: tuple[str, str] | None = None


@attrs.frozen(eq=False)
class Field:
    """What is known of a frame before it is solved."""

    sources: Table
    shape: tuple[int, int]
    hint: SolveHint
    instrument: str
    mjd: float
    elsewhere: tuple[tuple[float, float], ...] = ()  # where else it may lie, (ra, dec) degrees


@attrs.frozen(eq=False)
class Solved:
    """A believed solution."""

    solution: PlateSolution
    solver: str
    scale: geometry.Scale
    check: wcs_check.Check | None = None  # None where there was no catalogue to compare with


@attrs.define
class PlateSolving(Stage):
    """Asks the solvers of ``[plate_solving] plugin`` in turn."""

    name: ClassVar[str] = "plate_solving"
    title: ClassVar[str] = "Plate solving"
    needs: ClassVar[tuple[str, ...]] = (Import.name,)
    makes: ClassVar[tuple[str, ...]] = ("frames", "frames/<name>.wcs")
    unit: ClassVar[str] = "frame"
    results_version: ClassVar[int] = 2

    @property
    def filtered(self) -> bool:
        """Not where the sky from which stars are taken follows from all frames."""
        return self.setup.config.stars.strategy == "roi_disk"

    def units(self, session: Session, ledger: Ledger) -> list[Unit]:
        """Return the query for the stars that solvers and the verification need; then one unit an imported frame."""
        imported = ledger.tokens(Import.name)
        frames = [
            f
            for f in session.exec(select(Frame).order_by(col(Frame.id)))
            if f"frame:{f.id}" in imported and not f.eliminated
        ]
        stars = ""
        if frames and self._asks_catalogue():
            query = self._query_unit()
            product = ledger.product(self.name, query.key)
            if product is None or product.fingerprint != query.fingerprint:
                return [query]
            stars = FIELD_STARS if product.state == "made" else ""
        return [self._unit(f, imported[f"frame:{f.id}"], stars, frames, ledger) for f in frames]

    def _unit(self, f: Frame, token: str, stars: str, frames: list[Frame], ledger: Ledger) -> Unit:
        """Return a frame's unit; where it did not solve and another frame did, with that one as a reference."""
        identity = self.setup.identity("plate_solving", f.instrument)
        for key in ("retry_failed", "min_success_fraction"):
            identity.pop(key)
        components = self.components(frame=token, plate_solving=identity)
        payload = FramePayload(
            f.id or 0, f.key, f.image_relpath or "", f.sources_relpath or "", f.instrument, f.mjd or 0.0, f.flags, stars
        )
        unit = Unit(f"frame:{f.id}", Path(f.original_image_path).name, components, payload, f.id)
        product = ledger.product(self.name, unit.key)
        if product is None or (product.fingerprint == unit.fingerprint and product.state == "made"):
            return unit
        reference = self._reference(f, frames)
        if reference is None:
            return unit
        # Which frame served is left out: a better reference that comes later does not undo what is solved.
        again = attrs.evolve(
            unit, components={**components, "with_reference": True}, payload=attrs.evolve(payload, reference=reference)
        )
        return again if product.fingerprint in (unit.fingerprint, again.fingerprint) else unit

    def _reference(self, f: Frame, frames: list[Frame]) -> tuple[str, str] | None:
        """Return the sources and WCS of the solved frame that a solver asks for, by name or else the best matched."""
        wanting = [
            t for t in self.setup.all("plate_solving", f.instrument) if getattr(t.instance, "needs_reference", False)
        ]
        solved = [o for o in frames if o.plate_solved and o.id != f.id and o.instrument == f.instrument]
        if not wanting or not solved:
            return None
        name = str(getattr(wanting[0].instance, "frame", ""))
        named = [o for o in solved if name in (o.key, Path(o.original_image_path).name)]
        best = max(named if name else solved, key=lambda o: (o.wcs_matched or 0, -(o.id or 0)), default=None)
        return (best.sources_relpath or "", best.wcs_relpath or "") if best is not None else None

    def _solvers_need_stars(self) -> bool:
        names = ("", *self.setup.configs)
        solvers = [t for name in names for t in self.setup.all("plate_solving", name)]
        return any(getattr(t.instance, "needs_stars", False) for t in solvers)

    def _asks_catalogue(self) -> bool:
        verifies = self.setup.config.plate_solving.verify and self.setup.tool("stars") is not None
        return verifies or self._solvers_need_stars()

    def field_regions(self) -> tuple[Region, ...]:
        """Return the regions whose stars solvers and the verification match with; none where neither does."""
        return self._regions() if self._asks_catalogue() else ()

    def _regions(self) -> tuple[Region, ...]:
        """Return the sky around the first region of interest, and around others that it does not hold well."""
        radius = self.setup.config.plate_solving.search_radius
        if not self._solvers_need_stars():  # frames that hold the region show what is near it
            radius = min(radius, self.setup.config.stars.radius / 3600.0)
        found: list[Region] = []
        for roi in self.setup.config.roi.values():
            away = [float(geometry.separation(roi.ra, roi.dec, r.ra, r.dec)) / 3600.0 for r in found]
            if all(distance > 0.5 * radius for distance in away):
                found.append(Region(roi.ra, roi.dec, radius))
        return tuple(found)

    def _query_unit(self) -> Unit:
        regions = self._regions()
        places = [[r.ra, r.dec, r.radius] for r in regions]
        parts = {
            "region": places[0] if len(places) == 1 else places,
            "faintest": self.setup.config.stars.magnitude[1],
            "catalogue": {t.name: t.identity() for t in self.setup.all("stars")},
        }
        return Unit(FIELD, FIELD, self.components(**parts), regions)

    def retry(self, product: Entry) -> bool:
        """Try failed frames again where the user asks for it."""
        return self.setup.config.plate_solving.retry_failed

    def load(self, unit: Unit) -> Field | tuple[Region, ...]:
        """Read the frame's header and sources."""
        if unit.key == FIELD:
            regions: tuple[Region, ...] = unit.payload
            return regions
        p: FramePayload = unit.payload
        workdir = self.setup.workdir
        header = fits.getheader(workdir / p.image)
        first, *others = self._regions()
        settings = self.setup.config_for(p.instrument).plate_solving
        bounded = settings.pixel_scale[0] > 0 and np.isfinite(settings.pixel_scale[1])
        hint = SolveHint(
            first.ra, first.dec, settings.search_radius, settings.pixel_scale if bounded else None, header,
            stars=read_table(workdir / p.stars) if p.stars else None,
            reference_sources=read_table(workdir / p.reference[0]) if p.reference else None,
            reference_wcs=read_wcs_header(workdir / p.reference[1]) if p.reference else None,
        )  # fmt: skip
        shape = (int(header["NAXIS2"]), int(header["NAXIS1"]))
        places = tuple((r.ra, r.dec) for r in others)
        return Field(read_table(workdir / p.sources), shape, hint, p.instrument, p.mjd, places)

    def field_stars(self, region: Region) -> Table:
        """Ask the catalogue for the stars to match with.

        Raises
        ------
        NeedMissing
            Where there is no catalogue, or it does not answer.
        """
        catalogue = self.setup.tool("stars")
        if catalogue is None:
            raise NeedMissing('a plate solver needs catalogue stars, but [stars] plugin = "none"')
        # Brighter stars than those for the PSF serve here; fainter ones would only be many.
        limits = CatalogLimits(magnitude=(-np.inf, self.setup.config.stars.magnitude[1]))
        try:
            return STARS.check(catalogue.instance.query(region, limits), f"[stars] {catalogue.name}")
        except NeedMissing as error:
            if self._solvers_need_stars():
                raise
            raise NeedMissing(
                f"{error} (solutions are to be compared with the catalogue; [plate_solving] verify = false "
                "believes them without)"
            ) from error

    def compute(self, values: Field | tuple[Region, ...]) -> Solved | Table:
        """Solve and check; or ask for the stars."""
        if isinstance(values, tuple):
            tables = [self.field_stars(region) for region in values]
            if len(tables) == 1:
                return tables[0]
            joined = vstack(tables, metadata_conflicts="silent")
            return joined[np.sort(np.unique(np.asarray(joined["source_id"]).astype(str), return_index=True)[1])]
        hint = values.hint
        if hint.stars is not None:
            stars = hint.stars.copy()
            stars["ra"], stars["dec"] = geometry.at_epoch(
                stars["ra"], stars["dec"], stars["pmra"], stars["pmdec"], stars["ref_epoch"], values.mjd
            )
            hint = attrs.evolve(hint, stars=stars)
        settings = self.setup.config_for(values.instrument).plate_solving
        # Stars asked for to verify alone may cover a part of the frame: a fit to them would run away elsewhere.
        given = hint if self._solvers_need_stars() else attrs.evolve(hint, stars=None)
        reasons: list[str] = []
        hints = [given, *(attrs.evolve(given, ra=ra, dec=dec) for ra, dec in values.elsewhere)]
        tools = self.setup.all("plate_solving", values.instrument)
        for tool, guess in ((tool, guess) for tool in tools for guess in hints):
            answer = tool.instance.solve(values.sources, values.shape, guess)
            if isinstance(answer, NotSolved):
                reasons.append(f"{tool.name}: {answer.reason}")
                continue
            scale, wrong = judge(answer, values.shape, settings)
            check = None
            if not wrong and settings.verify and hint.stars is not None:
                check = wcs_check.check(make_wcs(answer.header), values.shape, values.sources, hint.stars)
                wrong = check.wrong
            if not wrong:
                return Solved(answer, tool.name, scale, check)
            reasons.append(f"{tool.name}: {wrong}")
        raise UnusableInput("not solved: " + ("; ".join(dict.fromkeys(reasons)) or "no solver is selected"))

    def save(self, unit: Unit, result: Solved | Table) -> Outcome:
        """Write the WCS, and the frame again with it."""
        workdir = self.setup.workdir
        if isinstance(result, Table):
            write_table(workdir / FIELD_STARS, result)
            return Outcome(path=FIELD_STARS)
        p: FramePayload = unit.payload
        path = f"frames/{p.key}.wcs"
        write_wcs(workdir / path, result.solution.header)
        if result.solver != "existing" or result.solution.refined:
            pixels, mask, header = read_frame(workdir / p.image)
            write_frame(workdir / p.image, pixels, mask, with_wcs(header, result.solution.header))
        flags = p.flags & ~FrameFlag.WCS_REFINED | (FrameFlag.WCS_REFINED if result.solution.refined else 0)
        matched, rms, doubt = result.solution.matched, result.solution.rms, ""
        if result.check is not None:
            doubt = f"; not verified: {result.check.unsure}" if result.check.unsure else ""
            if not matched:
                matched, rms = result.check.matched, result.check.rms
        row = {
            "plate_solved": True, "attempted_plate_solve": True, "solver": result.solver, "wcs_relpath": path,
            "pixel_scale": result.scale.pixel_scale, "angle_to_north": result.scale.angle_to_north,
            "wcs_matched": matched or None, "comment": "", "flags": int(flags),
            "wcs_rms_pixels": float(rms) if np.isfinite(rms) else None,
        }  # fmt: skip
        return Outcome((Update("frames", {"id": p.frame_id}, row),), path, summary=f"by {result.solver}{doubt}")

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


_WCS_PREFIXES = ("CRVAL", "CRPIX", "CDELT", "CROTA", "CTYPE", "CUNIT", "CD1_", "CD2_", "PC1_", "PC2_", "PC001", "PC002",
                 "PV1_", "PV2_", "A_", "B_", "AP_", "BP_", "LONPOLE", "LATPOLE", "WCSAXES", "CPDIS", "CQDIS", "DP1",
                 "DP2", "DQ1", "DQ2", "D2IMDIS")  # fmt: skip


def with_wcs(header: fits.Header, wcs: fits.Header) -> fits.Header:
    """Return a header whose WCS keywords are those of another."""
    out = header.copy()
    for key in [k for k in out if k.startswith(_WCS_PREFIXES)]:
        del out[key]
    for card in wcs.cards:
        if card.keyword.startswith((*_WCS_PREFIXES, "RADESYS", "EQUINOX")):
            out[card.keyword] = (card.value, card.comment)
    return out
