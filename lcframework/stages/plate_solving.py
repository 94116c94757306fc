"""``plate_solving``: finds a WCS for each frame, and checks it before it is accepted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np
from sqlmodel import Session, col

from lcframework.config.sections import PlateSolving as Settings
from lcframework.config.sections import Roi
from lcframework.config.toolbox import Tool
from lcframework.protocols import NamesReference, NeedsPosition, NeedsReference
from lcframework.provenance import Components, Shared, canonical, complete, counted
from lcframework.sky import geometry, solver_hints, wcs_check
from lcframework.sky.chosen_solution import Solved, chosen
from lcframework.sky.solver_stars import FIELD_STARS, AskForSolverStars, SolverStars, needs_stars
from lcframework.sky.tracks import moving_regions, regions_at
from lcframework.stages.read_convert_skysub_character_catalog import ReadConvertSkysubCharacterCatalog as Import
from lcframework.storage.files import beside
from lcframework.storage.frame_files import (
    make_wcs,
    read_frame,
    read_frame_header,
    read_table,
    read_wcs_header,
    with_wcs,
    write_frame,
    write_wcs,
)
from lcframework.storage.queries import FrameRow, frame_rows, recorded_components
from lcframework.storage.records import Record
from lcframework.storage.tables import Frame
from lcframework.types import Doubt, FrameFlag, LcfError, NotSolved, SolveHint, UnusableInput, file_name
from lcframework.types.json_values import finite_or_none
from lcframework.work import (
    FrameKey,
    Ledger,
    Outcome,
    ProductState,
    SolverStarsKey,
    Stage,
    Task,
    Unit,
    UnitKey,
    Update,
)

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.table import Table

#: The component with the further inputs of an attempt. Where they change, a failed frame is tried again; a solved frame
#: remains up to date.
TRIED_WITH = "tried_with"


@attrs.frozen
class SolvingPayload:
    """A frame to solve: its files, and the files (sources, WCS) of possible reference frames."""

    frame_id: int
    key: str
    image: str
    sources: str
    instrument: str
    mjd: float
    flags: int
    stars: str
    references: tuple[tuple[str, str], ...] = ()


@attrs.frozen(eq=False)
class Unsolved:
    """What is known about a frame before it is solved; the hint does not yet contain position and reference."""

    sources: Table
    shape: tuple[int, int]
    hint: SolveHint
    instrument: str
    mjd: float
    references: tuple[tuple[Table, fits.Header], ...] = ()  # sources and WCS of solved frames


class SolveFrame(Task[SolvingPayload, Unsolved, Solved]):
    """Tries the solvers of ``[plate_solving] plugin`` one after another."""

    def load(self, unit: Unit[SolvingPayload]) -> Unsolved:
        """Read the frame's header and sources, and the catalogue stars and reference frames."""
        p = unit.payload
        workdir = self.toolbox.workdir
        header = read_frame_header(workdir / p.image)
        settings = self.toolbox.config_for(p.instrument).plate_solving
        bounded = settings.pixel_scale[0] > 0 and np.isfinite(settings.pixel_scale[1])
        hint = SolveHint(
            radius=settings.search_radius, scale=settings.pixel_scale if bounded else None, header=header,
            stars=read_table(workdir / p.stars) if p.stars else None,
        )  # fmt: skip
        shape = (int(header["NAXIS2"]), int(header["NAXIS1"]))
        references = tuple((read_table(workdir / s), read_wcs_header(workdir / w)) for s, w in p.references)
        return Unsolved(read_table(workdir / p.sources), shape, hint, p.instrument, p.mjd, references)

    def frames_read(self, unit: Unit[SolvingPayload]) -> tuple[str, ...]:
        """Return the frame: its header is read, and rewritten with the WCS."""
        return (unit.payload.image,)

    def compute(self, values: Unsolved) -> Solved:
        """Solve and check.

        Raises
        ------
        UnusableInput
            Where no solver finds a solution that passes the checks.
        """
        hint = values.hint
        if hint.stars is not None:
            stars = hint.stars.copy()
            stars["ra"], stars["dec"] = geometry.at_epoch(
                stars["ra"], stars["dec"], stars["pmra"], stars["pmdec"], stars["ref_epoch"], values.mjd
            )
            hint = attrs.evolve(hint, stars=stars)
        settings = self.toolbox.config_for(values.instrument).plate_solving
        # Stars that were queried only for the verification may cover a small part of the frame: not suited for a fit.
        given = hint if SolverStars(self.toolbox).needed else attrs.evolve(hint, stars=None)
        reasons: list[str] = []
        for tool, guess in self._attempts(values, given, settings):
            answer = tool.ask("solve", values.sources, values.shape, guess)
            if isinstance(answer, NotSolved):
                reasons.append(f"{tool.name}: {answer.reason}")
                continue
            believable: list[Solved] = []
            for solution in (answer, *answer.alternatives):
                scale, wrong = wcs_check.judge(solution, values.shape, settings)
                check = None
                if not wrong and settings.verify and hint.stars is not None:
                    check = wcs_check.check(make_wcs(solution.header), values.shape, values.sources, hint.stars)
                    wrong = check.wrong
                if wrong:
                    reasons.append(f"{tool.name}: {wrong}")
                else:
                    believable.append(Solved(solution, tool.name, scale, check))
            if believable:
                return chosen(believable)
        raise UnusableInput("not solved: " + ("; ".join(dict.fromkeys(reasons)) or "no solver is selected"))

    def _attempts(self, values: Unsolved, hint: SolveHint, settings: Settings) -> Iterator[tuple[Tool, SolveHint]]:
        """Yield each solver with a hint for each position and reference that it needs, in the order of the attempts."""
        rois = regions_at(self.toolbox, [values.mjd])
        for tool in self.toolbox.all("plate_solving", values.instrument):
            references = values.references if _needs_reference(tool) else ()
            for ra, dec in _positions(rois, tool, settings):
                here = attrs.evolve(hint, ra=ra, dec=dec)
                for sources, wcs in references or ((None, None),):
                    yield tool, attrs.evolve(here, reference_sources=sources, reference_wcs=wcs)

    def save(self, unit: Unit[SolvingPayload], values: Unsolved, result: Solved) -> Outcome:
        """Write the WCS, also to the header of the imported frame."""
        workdir, p = self.toolbox.workdir, unit.payload
        path = beside(p.image, f"{p.key}.wcs")
        write_wcs(workdir / path, result.solution.header)
        # What the header says itself stays as it is: it can be read anew, where the comparison chooses differently.
        if result.solver != "existing" or result.solution.refined:
            pixels, mask, header = read_frame(workdir / p.image)
            write_frame(workdir / p.image, pixels, mask, with_wcs(header, result.solution.header))
        flags = p.flags & ~FrameFlag.WCS_REFINED | (FrameFlag.WCS_REFINED if result.solution.refined else 0)
        matched, rms = result.solution.matched, result.solution.rms
        doubts: tuple[Doubt, ...] = ()
        if result.check is not None:
            if result.check.unsure:
                doubts = (Doubt(
                    "wcs_not_verified", f"the plate solution is not verified: {result.check.unsure}",
                    "Look at the stars in the report, or ask for more stars by [stars] radius and magnitude",
                ),)  # fmt: skip
            if not matched:
                matched, rms = result.check.matched, result.check.rms
        row = {
            "plate_solved": True, "attempted_plate_solve": True, "solver": result.solver, "wcs_relpath": path,
            "pixel_scale": result.scale.pixel_scale, "angle_to_north": result.scale.angle_to_north,
            "wcs_matched": matched or None, "comment": "", "flags": int(flags),
            "wcs_rms_pixels": finite_or_none(rms),
        }  # fmt: skip
        records = (Update("frames", {"id": p.frame_id}, row),)
        return Outcome(records, path, summary=f"by {result.solver}", doubts=(*result.doubts, *doubts))

    def unusable_records(self, unit: Unit[SolvingPayload], reason: str) -> tuple[Record, ...]:
        """Record the failed attempt."""
        row = {"plate_solved": False, "attempted_plate_solve": True, "roi_in_footprint": False, "comment": reason}
        return (Update("frames", {"id": unit.frame_id}, row),)


@attrs.define
class PlateSolving(Stage):
    """One unit for each imported frame; before them one that queries the catalogue stars, where these are used."""

    name: ClassVar[str] = "plate_solving"
    title: ClassVar[str] = "Plate solving"
    needs: ClassVar[tuple[str, ...]] = (Import.name,)
    makes: ClassVar[tuple[str, ...]] = ("frames", "frames/<name>.wcs")
    unit: ClassVar[str] = "frame"
    reads: ClassVar[tuple[str, ...] | None] = ("frames",)
    results_version: ClassVar[int] = 4

    @property
    def filtered(self) -> bool:
        """Whether a run's filter applies: not where the field of reference stars depends on all frames."""
        return self.toolbox.config.stars.strategy == "roi_disk"

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return the task that queries catalogue stars, and the task that solves frames."""
        return {
            SolverStarsKey: AskForSolverStars(self.name, self.toolbox),
            FrameKey: SolveFrame(self.name, self.toolbox),
        }

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return the query of the catalogue stars, where they are used; then one unit for each imported frame."""
        imported = ledger.made(Import.name, FrameKey)
        frames = [f for f in frame_rows(session, ~col(Frame.eliminated)) if FrameKey(f.id) in imported]
        queries: list[Unit[Any]] = []
        stars = ""
        sky: Components = {}
        catalogue = SolverStars(self.toolbox, tuple(f.mjd or 0.0 for f in frames))
        if frames and (regions := catalogue.regions()):
            key, identity = SolverStarsKey(), catalogue.identity(regions)
            query: Unit[Any] = Unit(key, str(key), self.components(**identity), regions)
            queries = [query]
            if not ledger.is_done(self.name, query):
                return queries
            if (product := ledger.product(self.name, query.key)) is not None and product.made:
                stars, sky = FIELD_STARS, identity
        parts = {instrument: self._parts(instrument, sky) for instrument in {f.instrument for f in frames}}
        units = [self._unit(f, imported[FrameKey(f.id or 0)].token, parts[f.instrument], stars) for f in frames]
        return [*queries, *self._again(session, ledger, units, frames)]

    def _parts(self, instrument: str, sky: Components) -> Components:
        """Return the components for the first attempt on a frame of an instrument, besides the frame itself."""
        identity = self.toolbox.identity("plate_solving", instrument)
        for option in ("retry_failed", "min_success_fraction"):
            identity.pop(option)
        tools = self.toolbox.all("plate_solving", instrument)
        settings = self.toolbox.config_for(instrument).plate_solving
        rois = self.toolbox.config.roi
        tried_with = {
            "places": list(dict.fromkeys(p for tool in tools for p in _positions(rois.values(), tool, settings))),
            "stars": sky if settings.verify or any(needs_stars(t) for t in tools) else {},
            "references": [],
        }
        if moving := moving_regions(self.toolbox):
            tried_with["ephemerides"] = {name: complete(tool.identity()) for name, tool in moving.items()}
        return {"plate_solving": Shared(identity), TRIED_WITH: Shared(tried_with)}

    def _unit(self, f: FrameRow, token: str, parts: Components, stars: str) -> Unit[SolvingPayload]:
        components = self.components(frame=token, **parts)
        payload = SolvingPayload(
            f.id or 0, f.key, f.image_relpath or "", f.sources_relpath or "", f.instrument, f.mjd or 0.0, f.flags, stars
        )
        return Unit(FrameKey(f.id or 0), file_name(f.original_image_path), components, payload, f.id)

    def _again(
        self, session: Session, ledger: Ledger, units: list[Unit[SolvingPayload]], frames: list[FrameRow]
    ) -> list[Unit[SolvingPayload]]:
        """Return the units, changed according to earlier attempts.

        A solved frame keeps the components with which it was solved; a frame that failed with the present settings gets
        reference frames.
        """
        tried = {
            key: product
            for key, product in ledger.keyed(self.name, FrameKey).items()
            if product.state != ProductState.FORCED
        }
        stale = {str(u.key) for u in units if u.key in tried and not tried[u.key].made_from(u)}
        stored = recorded_components(session, self.name, stale)
        references: dict[str, Mapping[str, FrameRow]] = {}
        out = []
        for unit, frame in zip(units, frames, strict=True):
            before = stored.get(str(unit.key))
            if unit.key not in tried or (before is not None and not _lasting(before, unit.components)):
                out.append(unit)
            elif tried[unit.key].made:
                out.append(unit if before is None else attrs.evolve(unit, components=before))
            else:
                if frame.instrument not in references:
                    references[frame.instrument] = self._references(frame.instrument, frames, ledger)
                out.append(_with_references(unit, references[frame.instrument]))
        return out

    def _references(self, instrument: str, frames: Sequence[FrameRow], ledger: Ledger) -> Mapping[str, FrameRow]:
        """Return the reference frames for a solver: the one that it names, or the best matched of each region."""
        tools = [t for t in self.toolbox.all("plate_solving", instrument) if _needs_reference(t)]
        if not tools:
            return {}
        products, workdir = ledger.made(self.name, FrameKey), self.toolbox.workdir
        solved = [
            f for f in frames if f.plate_solved and f.instrument == instrument and FrameKey(f.id or 0) in products
        ]
        solver = tools[0].instance
        if isinstance(solver, NamesReference) and (name := solver.frame):
            named = [f for f in solved if name in (f.key, Path(f.original_image_path).name)]
            return {name: named[0]} if named else {}
        wcs_files = {f.id: (workdir / (f.wcs_relpath or ""), products[FrameKey(f.id or 0)].token) for f in solved}
        return solver_hints.best_of_each(solved, wcs_files, self.toolbox.config.roi)

    def pending(self, units: Sequence[Unit[Any]], ledger: Ledger) -> list[Unit[Any]]:
        """Return the units that are out of date, and the failed frames where ``retry_failed`` is set."""
        stale = {u.key for u in super().pending(units, ledger)}
        return [u for u in units if u.key in stale or self._retried(u, ledger)]

    def _retried(self, unit: Unit[Any], ledger: Ledger) -> bool:
        product = ledger.product(self.name, unit.key)
        if not isinstance(unit.key, FrameKey) or product is None or product.made:
            return False
        return self.toolbox.config_for(unit.payload.instrument).plate_solving.retry_failed

    def finish(self, session: Session, ledger: Ledger, workdir: Path) -> None:
        """Stop the run where so few frames are solved that something general must be wrong.

        Raises
        ------
        LcfError
            Where the solved fraction is below ``min_success_fraction``.
        """
        tried: dict[float, list[FrameRow]] = {}
        for f in frame_rows(session, col(Frame.attempted_plate_solve), ~col(Frame.eliminated)):
            wanted = self.toolbox.config_for(f.instrument).plate_solving.min_success_fraction
            tried.setdefault(wanted, []).append(f)
        for wanted, frames in tried.items():
            solved = sum(f.plate_solved for f in frames)
            if solved < wanted * len(frames):
                example = next(f for f in frames if not f.plate_solved)
                names = sorted({f.instrument or "no named instrument" for f in frames})
                whose = f" of {', '.join(names)}" if len(tried) > 1 else ""
                raise LcfError(
                    f"{solved} of {len(frames)} frames{whose} are solved, fewer than [plate_solving] "
                    f"min_success_fraction = {wanted}. {file_name(example.original_image_path)}: {example.comment}. "
                    "`lcf status` lists the others; correct the settings, or lower min_success_fraction to "
                    "continue without them."
                )


def _positions(rois: Iterable[Roi], tool: Tool, settings: Settings) -> tuple[solver_hints.Position, ...]:
    """Return the sky positions around which a solver is tried, in order."""
    positions = solver_hints.positions(rois, settings.search_radius)
    one_will_do = isinstance(tool.instance, NeedsPosition) and not tool.instance.needs_position
    return positions[:1] if one_will_do else positions


def _needs_reference(tool: Tool) -> bool:
    return isinstance(tool.instance, NeedsReference) and tool.instance.needs_reference


def _lasting(before: Mapping[str, Any], now: Components) -> bool:
    """Return whether the components are equal whose change puts a solved frame out of date."""
    ways = (counted, complete)  # as this version records components, and as earlier versions did
    return any(canonical(_without_attempt(before)) == canonical(_without_attempt(way(now))) for way in ways)


def _without_attempt(components: Mapping[str, Any]) -> Components:
    return {key: value for key, value in components.items() if key != TRIED_WITH}


def _with_references(unit: Unit[SolvingPayload], references: Mapping[str, FrameRow]) -> Unit[SolvingPayload]:
    """Return the unit of a frame with reference frames."""
    if not references:
        return unit
    # The components name the regions, not the reference frames: a better reference is no reason to try again.
    tried_with = {**unit.components[TRIED_WITH], "references": list(references)}
    frames = {f.id: (f.sources_relpath or "", f.wcs_relpath or "") for f in references.values()}
    payload = attrs.evolve(unit.payload, references=tuple(frames.values()))
    return attrs.evolve(unit, components={**unit.components, TRIED_WITH: tried_with}, payload=payload)
