"""Makes all network queries of a run in advance, so that a run finds the answers in the cache.

The code of the stages makes the queries, with the same tools, regions and limits as a run; so a run finds the stored
answers. Each query is repeated with the network switched off, as an offline run would make it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
from astropy.table import Table
from sqlmodel import col, select

from lcframework.config.toolbox import Tool, Toolbox
from lcframework.options import one_of
from lcframework.project import Project
from lcframework.protocols import KeepsCache, UsesNetwork
from lcframework.sky.passed_stars import FindPassedStars, PassedQuery
from lcframework.sky.solver_stars import SolverStars
from lcframework.sky.star_fields import disks, region_of
from lcframework.sky.tracks import moving_regions, own_tracks, tracks
from lcframework.stages.calculate_absolute_zeropoints import CalculateAbsoluteZeropoints
from lcframework.stages.calculate_common_and_total_footprint import CalculateCommonAndTotalFootprint
from lcframework.stages.plate_solving import PlateSolving
from lcframework.stages.query_gaia_for_stars import (
    ChooseStars,
    FieldQuery,
    QueryGaiaForStars,
    star_rows,
)
from lcframework.stars.survey_magnitudes import survey_magnitudes
from lcframework.storage.queries import frame_rows
from lcframework.storage.tables import CombinedFootprint, Frame
from lcframework.types import LcfError, Region

#: The settings that the query of reference stars depends on, and that frames may decide.
_OF_THE_QUERY = ("stars.radius", "stars.magnitude")
#: Results of a query; `later`: it can't be made yet; `impossible`: it can only be made during a run.
STATES = ("fetched", "stored", "local", "later", "impossible", "failed")


@attrs.frozen
class Answer:
    """One query of a run, and its result."""

    stage: str
    what: str
    plugin: str
    state: str = attrs.field(validator=one_of(*STATES))
    rows: int = 0
    reason: str = ""


@attrs.frozen
class Prefetched:
    """All queries of a project's run."""

    answers: tuple[Answer, ...]
    cache: Path

    @property
    def complete(self) -> bool:
        """Whether a run with ``offline = true`` finds all that it needs."""
        return all(a.state in ("fetched", "stored", "local") for a in self.answers)


def prefetch(project: Project) -> Prefetched:
    """Make all network queries of a project's run; the answers are stored in its cache.

    Parameters
    ----------
    project : Project
        ``[run] offline = true`` is ignored: the purpose of this call is to use the network.

    Returns
    -------
    Prefetched
        Includes failed queries: a service that does not answer does not prevent the other queries.
    """
    project.decide_online(CalculateCommonAndTotalFootprint.name)
    asker = _Asker(_reaching(project.toolbox, offline=False), _reaching(project.toolbox, offline=True))
    answers = [*_solving(asker, project), *_stars_and_magnitudes(asker, project)]
    return Prefetched(tuple(answers), asker.cache)


@attrs.define
class _Asker:
    """Makes queries, first online and then offline."""

    online: Toolbox
    offline: Toolbox

    @property
    def cache(self) -> Path:
        return self.online.workdir / "cache"

    def ask(
        self, stage: str, what: str, tool: Tool, question: Callable[[Toolbox], Table]
    ) -> tuple[Answer, Table | None]:
        """Make one query; return its result, and the table (None where it failed)."""
        keeper = tool.instance
        folder = (keeper.cache_dir if isinstance(keeper, KeepsCache) else None) or self.cache
        before = _files(folder)
        try:
            table = question(self.online)
            question(self.offline)
        except LcfError as error:
            return Answer(stage, what, tool.name, "failed", reason=str(error)), None
        state = "local" if not _networked(tool) else "fetched" if _files(folder) != before else "stored"
        return Answer(stage, what, tool.name, state, len(table)), table


def _solving(asker: _Asker, project: Project) -> Iterator[Answer]:
    """Query the stars that plate solvers use; report the solvers that need the network during a run."""
    toolbox = asker.online
    for tool in _distinct(toolbox, "plate_solving"):
        if _networked(tool):
            yield Answer(
                PlateSolving.name, "solutions of the frames", tool.name, "impossible",
                reason="its service is sent each frame's sources: run with --stop plate_solving where there is a "
                "network, or choose another solver",
            )  # fmt: skip
    catalogue = toolbox.tool("stars")
    if catalogue is None:
        return
    with project.session() as session:  # a region that moves is looked for where it is in the frames so far
        times = tuple(f.mjd or 0.0 for f in frame_rows(session, ~col(Frame.eliminated)))
    for region in SolverStars(toolbox, times).regions():
        what = f"stars for the solvers within {region.radius:g} deg of {region.ra:.5f} {region.dec:+.5f}"
        yield asker.ask(PlateSolving.name, what, catalogue, functools.partial(_solver_stars, region=region))[0]


def _solver_stars(toolbox: Toolbox, region: Region) -> Table:
    return SolverStars(toolbox).query(region)


def _stars_and_magnitudes(asker: _Asker, project: Project) -> Iterator[Answer]:
    catalogue = asker.online.tool("stars")
    if catalogue is None:
        return
    undecided = [s.setting for s in project.settings() if s.by == "documentation" and not s.frames]
    left_open = [name for name in undecided if name in _OF_THE_QUERY]
    if left_open:
        yield Answer(
            QueryGaiaForStars.name, "the reference stars", catalogue.name, "later",
            reason=f"the frames decide {' and '.join(left_open)} once they are plate solved: run with --stop "
            f"{PlateSolving.name}, then prefetch again; or give them in the project file",
        )  # fmt: skip
        return
    fields = _fields(project)
    if not fields:
        strategy = project.config.stars.strategy
        yield Answer(
            QueryGaiaForStars.name, f'stars of [stars] strategy = "{strategy}"', catalogue.name, "later",
            reason="its field is known once the frames are plate solved: run with --stop "
            f"{CalculateCommonAndTotalFootprint.name}, then prefetch again",
        )  # fmt: skip
    for query in fields:
        r = query.region
        what = f"stars within {r.radius * 3600:.0f} arcsec of {r.ra:.5f} {r.dec:+.5f} ({', '.join(query.rois)})"
        put = functools.partial(_field_stars, query)
        answer, table = asker.ask(QueryGaiaForStars.name, what, catalogue, put)
        yield answer
        if table is not None:
            yield from _magnitudes(asker, query, star_rows(table, query))
        if own := own_tracks(query.rois, query.tracks):
            passing = functools.partial(_passed_stars, PassedQuery(query.hash, tuple(own.values())))
            yield asker.ask(QueryGaiaForStars.name, f"stars that {', '.join(own)} passes", catalogue, passing)[0]


def _magnitudes(asker: _Asker, query: FieldQuery, stars: list[dict[str, Any]]) -> Iterator[Answer]:
    """Query each survey for each band that frames may need; the bands in use are known only after the import."""
    asked: set[tuple[str, str]] = set()
    for instrument in ("", *asker.online.configs):
        tool = asker.online.tool("calibration", instrument)
        if tool is None:
            continue
        settings = asker.online.config_for(instrument).calibration
        for band in dict.fromkeys((settings.band_of(""), *settings.bands.values())):
            if (repr(tool.instance), band) in asked:
                continue
            asked.add((repr(tool.instance), band))

            put = functools.partial(_star_magnitudes, stars, instrument, band)
            what = f"magnitudes in {band} of {len(stars)} stars ({', '.join(query.rois)})"
            yield asker.ask(CalculateAbsoluteZeropoints.name, what, tool, put)[0]


def _fields(project: Project) -> list[FieldQuery]:
    """Return queries of the fields: from the project file, or from the database where a run has found the fields."""
    config, toolbox = project.toolbox.config, project.toolbox
    if config.stars.strategy == "roi_disk" and not moving_regions(toolbox):
        return [FieldQuery(f.hash, f.region, f.rois, {}) for f in disks(config)]
    with project.session() as session:
        ways = tracks(session, toolbox)
        rows = session.exec(
            select(CombinedFootprint).where(
                CombinedFootprint.active, CombinedFootprint.strategy == config.stars.strategy
            )
        )
        return [FieldQuery(row.hash, region_of(row), tuple(row.rois), {}, tracks=ways) for row in rows]


def _reaching(toolbox: Toolbox, offline: bool) -> Toolbox:
    """Return the toolbox with the option `offline` of its tools set."""

    def changed(tool: Tool) -> Tool:
        if not _networked(tool):
            return tool
        return attrs.evolve(tool, instance=attrs.evolve(tool.instance, offline=offline))

    tools = {i: {s: tuple(map(changed, t)) for s, t in sections.items()} for i, sections in toolbox.tools.items()}
    return attrs.evolve(toolbox, tools=tools)


def _networked(tool: Tool) -> bool:
    """Return whether a plugin may use the network; such plugins have the option `offline`."""
    return isinstance(tool.instance, UsesNetwork)


def _distinct(toolbox: Toolbox, section: str) -> list[Tool]:
    tools = [t for instrument in ("", *toolbox.configs) for t in toolbox.all(section, instrument)]
    return list({t.name: t for t in tools}.values())


def _field_stars(query: FieldQuery, toolbox: Toolbox) -> Table:
    return ChooseStars(QueryGaiaForStars.name, toolbox).compute(query)


def _passed_stars(query: PassedQuery, toolbox: Toolbox) -> Table:
    return FindPassedStars(QueryGaiaForStars.name, toolbox).compute(query)


def _star_magnitudes(stars: list[dict[str, Any]], instrument: str, band: str, toolbox: Toolbox) -> Table:
    return survey_magnitudes(toolbox.all("calibration", instrument)[0], stars, band)


def _files(folder: Path) -> set[tuple[str, int]]:
    return {(p.name, p.stat().st_mtime_ns) for p in folder.iterdir()} if folder.is_dir() else set()
