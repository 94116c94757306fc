"""``query_gaia_for_stars``: the reference stars of each field, and their positions in each frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np
from sqlmodel import Session, select

from lcframework.config.sections import Roi
from lcframework.provenance import digest, plain
from lcframework.sky import geometry
from lcframework.sky.footprints import contains
from lcframework.sky.passed_stars import FindPassedStars, Passed, PassedQuery, Passing, passing_doubt
from lcframework.sky.star_fields import frames_of_field, region_of
from lcframework.sky.tracks import Track, own_tracks, tracks
from lcframework.stages.calculate_common_and_total_footprint import CalculateCommonAndTotalFootprint as Footprints
from lcframework.stars.choice import VARIABLE
from lcframework.stars.known_variables import KNOWN_VARIABLE, known_variables, variable_name
from lcframework.stars.names import give_names, given_names
from lcframework.storage.frame_files import read_wcs
from lcframework.storage.queries import frames_with_regions
from lcframework.storage.records import Record
from lcframework.storage.tables import CombinedFootprint, PassedStar, RoiInFrame, Star
from lcframework.types import CatalogLimits, Doubt, Floats, NeedMissing, Region, Severity, StarTable, UnusableInput
from lcframework.types.arrays import plain_floats
from lcframework.types.json_values import finite_or_none
from lcframework.work import (
    FieldStarsKey,
    FrameKey,
    Ledger,
    Outcome,
    PassedStarsKey,
    ProjectKey,
    Replace,
    Scope,
    Stage,
    Task,
    Unit,
    UnitKey,
    Update,
)

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.wcs import WCS

#: Stars nearer to the edge of a frame than this, in pixels, do not count as inside.
EDGE = 3.0
#: The metadata key of a table for the number of stars it lost because the catalogue lists them twice.
_TWICE = "listed_twice"
#: The column for what a catalogue of variable stars calls a star.
_KNOWN = "known_variable"


@attrs.frozen(eq=False)
class FieldQuery:
    """The query for the stars of one field."""

    hash: str
    region: Region
    rois: tuple[str, ...]
    given: dict[str, str]  # letters assigned before, by identifier
    one_within: float = 0.0  # arcsec: catalogue stars that are closer are one
    tracks: Mapping[str, Track] = attrs.field(factory=dict)  # of the regions that move


@attrs.frozen(eq=False)
class FrameQuery:
    """A frame, and the stars of a field that it may contain."""

    hash: str
    frame_id: int
    wcs_path: str
    shape: tuple[int, int]
    mjd: float
    stars: list[dict[str, Any]]
    passed: tuple[Passed, ...] = ()  # stars within the seeing of targets that move


@attrs.frozen(eq=False)
class FrameToSearch:
    """The WCS of a frame, and the stars that it may contain."""

    query: FrameQuery
    wcs: WCS


class ChooseStars(Task[FieldQuery, FieldQuery, StarTable]):
    """Queries the catalogue for the stars of a field, and selects reference stars."""

    light: ClassVar[bool] = True

    def load(self, unit: Unit[FieldQuery]) -> FieldQuery:
        """Return the payload: the query."""
        return unit.payload

    def compute(self, values: FieldQuery) -> Table:
        """Return the stars that fulfil the limits of ``[stars]``, nearest to a region first.

        Raises
        ------
        NeedMissing
            Where there is no catalogue, or it does not answer.
        UnusableInput
            Where there are fewer than ``min_number``.
        """
        config = self.toolbox.config
        catalogue = self.toolbox.tool("stars")
        if catalogue is None:
            raise NeedMissing('[stars] plugin = "none": reference stars are needed for the PSF and the normalization')
        s = config.stars
        limits = CatalogLimits(s.magnitude, s.max_astrometric_excess_noise, s.min_flux_over_error)
        table = catalogue.ask("query", values.region, limits)
        table = table[within_limits(table, limits)]
        listed = len(table)
        table = table[geometry.singles(table["ra"], table["dec"], values.one_within, table["magnitude"])]
        table.meta[_TWICE] = listed - len(table)
        if values.region.vertices is not None:
            vertices = [list(v) for v in values.region.vertices]
            table = table[contains(vertices, table["ra"], table["dec"], values.region.ra, values.region.dec)]
        for name, roi in config.roi.items():
            table = table[_apart(table, roi, values.tracks.get(name)) > roi.exclusion_radius]
        if len(table) < s.min_number:
            raise UnusableInput(
                f"{catalogue.name} has {len(table)} stars that fulfil [stars] within {values.region.radius * 3600:.0f}"
                f" arcsec of {values.region.ra:.5f} {values.region.dec:+.5f}; min_number = {s.min_number}. Widen radius"
                f" or magnitude = [{s.magnitude[0]}, {s.magnitude[1]}], or lower min_number"
            )
        # Of a region that moves the field's middle is taken: the order of the stars then stays while frames are added.
        middle = (values.region.ra, values.region.dec)
        places = [middle if n in values.tracks else (config.roi[n].ra, config.roi[n].dec) for n in values.rois]
        table["distance"] = np.min([geometry.separation(table["ra"], table["dec"], *p) for p in places], axis=0)
        table.sort("distance")
        table[_KNOWN] = self._known_variables(table, values.region)
        return table

    def _known_variables(self, table: Table, region: Region) -> list[str]:
        """Return what the catalogue of variable stars calls each star; an empty text where it does not know it."""
        catalogue, radius = self.toolbox.tool("variables"), self.toolbox.config.variables.radius
        if catalogue is None:
            return [""] * len(table)
        wider = Region(region.ra, region.dec, region.radius + radius / 3600.0)
        return known_variables(table, catalogue.ask("variables", wider), radius)

    def save(self, unit: Unit[FieldQuery], values: FieldQuery, result: Table) -> Outcome:
        """Return the rows of the stars; earlier stars of the field become inactive."""
        rows = star_rows(result, values)
        records: list[Record] = [Update("stars", {"combined_footprint_hash": values.hash}, {"active": False})]
        for row in rows:
            where = {"combined_footprint_hash": values.hash, "gaia_id": row["gaia_id"]}
            records.append(Replace("stars", where, [row]))
        token = digest(
            [[r[c] for c in ("gaia_id", "name", "ra", "dec", "pmra", "pmdec", "ref_epoch", "magnitude")] for r in rows]
        )
        twice = int(result.meta.get(_TWICE, 0))
        doubt = Doubt(
            "star_listed_twice",
            f"the catalogue lists {twice} stars a second time, closer than {values.one_within:.2g} arcsec: each is "
            "used once, with the brighter magnitude",
            severity=Severity.NOTE,
            value=twice,
        )
        doubts = (*([doubt] if twice else []), *self._variable_doubts(rows))
        return Outcome(tuple(records), token=token, summary=f"{len(rows)} stars", doubts=doubts)

    def _variable_doubts(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Doubt, ...]:
        known = {r["name"]: variable_name(r["comment"]) for r in rows if variable_name(r["comment"])}
        if not known:
            return ()
        listed = ", ".join(f"{letter} is {name}" for letter, name in known.items())
        kept = self.toolbox.config.variables.keep
        role = "are measured all the same" if kept else "take no part in the photometry"
        what = f"{len(known)} reference stars are known variables and {role}: {listed}"
        cure = "" if kept else "To use one all the same, name the stars in [photometry] stars, or set [variables] keep"
        return (Doubt("known_variable", what, cure, severity=Severity.NOTE, value=len(known)),)


@attrs.frozen(eq=False)
class StarsInFrame:
    """The rows of ``stars_in_frames`` of a field's stars, and what is doubtful about targets that pass others."""

    rows: list[dict[str, Any]]
    doubts: tuple[Doubt, ...]


class FindStarsInFrame(Task[FrameQuery, FrameToSearch, StarsInFrame]):
    """Finds the stars of a field in a frame, and their positions."""

    light: ClassVar[bool] = True
    batch_size: ClassVar[int] = 32

    def load(self, unit: Unit[FrameQuery]) -> FrameToSearch:
        """Read the frame's WCS."""
        return FrameToSearch(unit.payload, read_wcs(self.toolbox.workdir / unit.payload.wcs_path))

    def compute(self, values: FrameToSearch) -> StarsInFrame:
        """Find the stars in the frame, and those that are within the seeing of a target."""
        query, wcs = values.query, values.wcs
        ra, dec, pmra, pmdec, epoch = (
            np.array([s[c] for s in query.stars], float) for c in ("ra", "dec", "pmra", "pmdec", "ref_epoch")
        )
        ra, dec = geometry.at_epoch(ra, dec, pmra, pmdec, epoch, query.mjd)
        x, y = geometry.sky_to_pixel(wcs, ra, dec)
        ny, nx = query.shape
        inside = np.isfinite(x) & (x > EDGE) & (y > EDGE) & (x < nx - 1 - EDGE) & (y < ny - 1 - EDGE)
        rows = [
            {"frame_id": query.frame_id, "combined_footprint_hash": query.hash, "gaia_id": query.stars[i]["gaia_id"],
             "x": float(x[i]), "y": float(y[i]), "usable": True, "saturated": False, "comment": "",
             "psf_comment": ""}
            for i in np.flatnonzero(inside)
        ]  # fmt: skip
        return StarsInFrame(rows, tuple(passing_doubt(passed) for passed in query.passed))

    def save(self, unit: Unit[FrameQuery], values: FrameToSearch, result: StarsInFrame) -> Outcome:
        """Return the record that replaces the stars of the field in the frame."""
        where = {"frame_id": unit.payload.frame_id, "combined_footprint_hash": unit.payload.hash}
        return Outcome((Replace("stars_in_frames", where, result.rows),), doubts=result.doubts)


@attrs.define
class QueryGaiaForStars(Stage):
    """One unit for each field, then one for each field and frame."""

    name: ClassVar[str] = "query_gaia_for_stars"
    title: ClassVar[str] = "Reference stars"
    needs: ClassVar[tuple[str, ...]] = (Footprints.name,)
    makes: ClassVar[tuple[str, ...]] = ("stars", "stars_in_frames", "passed_stars")
    unit: ClassVar[str] = "frame"
    reads: ClassVar[tuple[str, ...] | None] = (
        "frames", "combined_footprint", "rois_in_frames", "stars", "passed_stars",
    )  # fmt: skip
    results_version: ClassVar[int] = 2

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return the task that queries the stars of a field, and the task that finds them in frames."""
        return {
            FieldStarsKey: ChooseStars(self.name, self.toolbox),
            PassedStarsKey: FindPassedStars(self.name, self.toolbox),
            FrameKey: FindStarsInFrame(self.name, self.toolbox),
        }

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return the units of the fields' queries, and those of the frames of fields whose stars are known."""
        fields = session.exec(select(CombinedFootprint).where(CombinedFootprint.active)).all()
        joined = ledger.product(Footprints.name, ProjectKey())
        if joined is None or not joined.made:
            return []  # the fields are not known yet
        units: list[Unit[Any]] = []
        moving = tracks(session, self.toolbox)
        for field in sorted(fields, key=lambda f: f.hash):
            query = attrs.evolve(self._query(session, field, moving), scope=Scope(frozenset(field.rois)))
            passed = self._passed(field, moving)
            asked: list[Unit[Any]] = [query] if passed is None else [query, passed]
            units += asked
            answers = [ledger.product(self.name, unit.key) for unit in asked]
            if all(a is not None and a.made and a.made_from(u) for a, u in zip(answers, asked, strict=True)):
                token = answers[0].token if answers[0] is not None else ""
                units += self._frames(session, ledger, field, token, own_tracks(field.rois, moving))
        return units

    def _passed(self, field: CombinedFootprint, moving: Mapping[str, Track]) -> Unit[PassedQuery] | None:
        """Return the query for all stars near the tracks of a field's regions; None where none of them moves."""
        own = own_tracks(field.rois, moving)
        if not own:
            return None
        identities = {name: track.identity for name, track in own.items()}
        stars = {t.name: t.identity() for t in self.toolbox.all("stars")}
        payload = PassedQuery(field.hash, tuple(own.values()))
        label = f"stars that {', '.join(own)} passes"
        components = self.components(tracks=identities, catalogue=stars)
        return Unit(PassedStarsKey(field.hash), label, components, payload, scope=Scope(frozenset(field.rois)))

    def _query(self, session: Session, field: CombinedFootprint, moving: Mapping[str, Track]) -> Unit[FieldQuery]:
        """Return the query for the reference stars of a field."""
        region = region_of(field)
        rois = {
            n: [*([moving[n].identity] if n in moving else [r.ra, r.dec]), r.exclusion_radius]
            for n, r in self.toolbox.config.roi.items()
        }
        settings = self.toolbox.identity("stars")
        for option in ("strategy", "radius"):  # the region already includes them
            settings.pop(option)
        within = one_star_within(session)
        components = self.components(field=plain(region), rois=rois, stars=settings, one_within=within)
        if self.toolbox.tool("variables") is not None:
            known = self.toolbox.identity("variables")
            known.pop("keep")  # who measures the stars decides
            components["variables"] = known
        payload = FieldQuery(field.hash, region, tuple(field.rois), given_names(session, field), within, moving)
        return Unit(FieldStarsKey(field.hash), f"stars around {', '.join(field.rois)}", components, payload)

    def _frames(
        self, session: Session, ledger: Ledger, field: CombinedFootprint, token: str, moving: Mapping[str, Track]
    ) -> list[Unit[FrameQuery]]:
        """Return the units of a field's frames; `moving` are the tracks of its regions that move."""
        passing = self._passing(session, field, moving)
        stars = [
            s.model_dump()
            for s in session.exec(select(Star).where(Star.combined_footprint_hash == field.hash, Star.active))
        ]
        footprints = ledger.made(Footprints.name, FrameKey)
        rows = session.exec(select(RoiInFrame.frame_id, RoiInFrame.roi, RoiInFrame.roi_in_footprint))
        inside = {(frame_id, roi): contained for frame_id, roi, contained in rows}
        units = []
        for f in frames_of_field(list(frames_with_regions(session).values()), inside, field.rois):
            if (outline := footprints.get(FrameKey(f.id or 0))) is None:
                continue
            components = self.components(wcs=outline.token, stars=token)
            shape = (f.height or 0, f.width or 0)
            payload = FrameQuery(field.hash, f.id or 0, f.wcs_relpath or "", shape, f.mjd or 0.0, stars)
            if passed := tuple(p for name in moving if (p := passing.in_frame(name, f)) is not None):
                components["passed"] = [plain(p) for p in passed]
                payload = attrs.evolve(payload, passed=passed)
            scope = Scope(frozenset(field.rois), f.instrument, f.band)
            units.append(Unit(FrameKey(f.id or 0, field.hash), f.key, components, payload, f.id, scope))
        return units

    @staticmethod
    def _passing(session: Session, field: CombinedFootprint, moving: Mapping[str, Track]) -> Passing:
        """Return the stars that a field's moving regions pass, and where these are in frames."""
        of_field = select(PassedStar).where(PassedStar.combined_footprint_hash == field.hash)
        return Passing(moving, [row.model_dump() for row in session.exec(of_field)] if moving else [])


def _apart(table: Table, roi: Roi, track: Track | None) -> Floats:
    """Return the distance of stars from a region, or from its track where it moves, arcsec."""
    if track is not None:
        return track.separation(np.asarray(table["ra"], float), np.asarray(table["dec"], float))
    return geometry.separation(table["ra"], table["dec"], roi.ra, roi.dec)


def one_star_within(session: Session) -> float:
    """Return the distance in arcsec below which no frame shows two stars apart: a third to two thirds of a pixel.

    It goes in steps of a factor of two, so that one frame more with nearly the same scale does not change it.
    """
    scales = [f.pixel_scale for f in frames_with_regions(session).values() if f.pixel_scale]
    return 0.0 if not scales else float(2.0 ** np.round(np.log2(0.47 * min(scales))))


def within_limits(table: Table, limits: CatalogLimits) -> np.ndarray:
    """Return which stars (n,) fulfil the limits; a limit on a quantity that the catalogue lacks is ignored."""
    magnitude = np.asarray(table["magnitude"], float)
    good = (magnitude >= limits.magnitude[0]) & (magnitude <= limits.magnitude[1])
    if "astrometric_excess_noise" in table.colnames:
        noise = plain_floats(table["astrometric_excess_noise"])
        good &= ~(noise > limits.max_astrometric_excess_noise)
    if "flux_over_error" in table.colnames:
        signal = plain_floats(table["flux_over_error"])
        good &= ~(signal < limits.min_flux_over_error)
    return np.asarray(good)


def star_rows(table: Table, query: FieldQuery) -> list[dict[str, Any]]:
    """Return the rows of the table ``stars``, with the letters of the stars."""
    ids = [str(i).replace("/", "_") for i in table["source_id"]]  # they are names of HDF5 datasets: / separates groups
    names = give_names(ids, query.given)
    rows = []
    for i, star in enumerate(table):
        row = {
            "combined_footprint_hash": query.hash, "gaia_id": ids[i], "name": names[ids[i]],
            "magnitude": float(star["magnitude"]), "distance_to_roi_arcsec": float(star["distance"]),
            "ra": float(star["ra"]), "dec": float(star["dec"]), "ref_epoch": float(star["ref_epoch"]),
            "active": True, "comment": _comment(star),
        }  # fmt: skip
        for column in ("pmra", "pmdec"):
            row[column] = float(np.nan_to_num(_number(star, column)))
        for column in ("bp", "rp"):
            value = _number(star, column)
            row[column] = finite_or_none(value)
        rows.append(row)
    return rows


def _comment(star: Any) -> str:
    """Return what speaks against a star from the beginning: that catalogues call it variable."""
    parts = [VARIABLE] if "variable" in star.colnames and star["variable"] else []
    known = str(star[_KNOWN]) if _KNOWN in star.colnames else ""
    return "; ".join([*parts, *([f"{KNOWN_VARIABLE}{known}"] if known else [])])


def _number(row: Any, column: str) -> float:
    if column not in row.colnames or np.ma.is_masked(row[column]):
        return float("nan")
    return float(row[column])
