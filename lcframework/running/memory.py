"""Remembers plans: a stage of which nothing changed since nothing was left to be done is not planned again.

What a stage's units are listed from is the code, the options and plugins with the contents of files that they name,
tables and products, and what the stage finds outside (:meth:`~lcframework.work.Stage.outside`). A digest of all that is
the *basis* of a plan. Rows are not read for it: the database counts its changes. Where the basis differs in anything,
or can't be told, the stage is planned anew. Whether products' files are there, as large as they were, is asked each
time.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from types import ModuleType
from typing import Any

import attrs
import sqlalchemy as sa
from sqlmodel import Session, col, select

from lcframework.config.project_file import Config
from lcframework.config.sections import SECTIONS
from lcframework.config.toolbox import Toolbox
from lcframework.provenance import Components, complete, describe, digest, plain
from lcframework.storage.changes import changes, name_of
from lcframework.storage.seals import wrong_size
from lcframework.storage.tables import Plan, Product, ProductFile, ProductState
from lcframework.types import LcfError
from lcframework.work import Entry, Ledger, Stage, Unit


@attrs.frozen
class Basis:
    """What a stage's units are listed from, as digests."""

    whole: str
    before: str  # without what the stage itself changes: its own products, and the tables that it annotates


@attrs.define
class PlanMemory:
    """The remembered plans of a project."""

    _toolbox: Toolbox | None = None
    _tools: str = ""

    def recall(self, session: Session, stage: Stage, files: bool = True) -> Plan | None:
        """Return the plan of a stage that still holds: none of its units is pending.

        None where it has to be planned; also for a run that is limited to a part.

        Parameters
        ----------
        session : Session
            On the project's database.
        stage : Stage
            With the tools of now.
        files : bool
            Whether all files of its products must be there, as large as they were written.
        """
        if stage.only:
            return None
        plan = session.get(Plan, stage.name, populate_existing=True)
        if plan is None or (basis := self.basis(session, stage)) is None or plan.basis != basis.whole:
            return None
        return None if files and _any_harmed(session, stage) else plan

    @staticmethod
    def remember(
        session: Session, stage: Stage, basis: Basis, units: Sequence[Unit[Any]], failed: Sequence[Entry]
    ) -> None:
        """Remember that nothing of a stage is pending.

        Parameters
        ----------
        session : Session
            On the project's database.
        stage : Stage
            With the tools of now.
        basis : Basis
            What :meth:`basis` returned before the units were listed: what changed since is then noticed.
        units : sequence of Unit
            All of the stage.
        failed : sequence of Entry
            The products of those that can't be used.
        """
        of_stage = (col(Product.stage) == stage.name, Product.state == ProductState.MADE.value)
        made = session.execute(select(sa.func.count()).select_from(Product).where(*of_stage)).scalar_one()
        keys = {str(u.key) for u in units}
        session.merge(
            Plan(stage=stage.name, basis=basis.whole, units=len(keys), made=made, unusable=[p.unit for p in failed],
                 noted=stage.noted(units))
        )  # fmt: skip

    def basis(self, session: Session, stage: Stage) -> Basis | None:
        """Return digests of all that a stage's units are listed from; None where it can't be told."""
        counts = changes(session)
        if stage.reads is None or counts is None:
            return None
        try:
            outside = digest(complete(stage.outside()))
        except (LcfError, OSError):
            return None  # its planning says what is wrong
        given = [stage.name, self._digest_of(stage.toolbox), plain(stage), outside]
        others = {name: counts.get(name, 0) for name in stage.reads if name not in stage.annotates}
        others |= {name_of(name): counts.get(name_of(name), 0) for name in stage.needs}
        own = {name: counts.get(name, 0) for name in (*stage.annotates, name_of(stage.name))}
        return Basis(digest([given, others, own]), digest([given, others]))

    def _digest_of(self, toolbox: Toolbox) -> str:
        if self._toolbox is not toolbox:
            self._toolbox, self._tools = toolbox, digest([code_stamp(toolbox), _settings(toolbox)])
        return self._tools


def _settings(toolbox: Toolbox) -> Components:
    """Return all settings, and all selected plugins with their options."""
    configs = {"": toolbox.config, **toolbox.configs, **{f"decided {n}": c for n, c in toolbox.decided.items()}}
    tools = {
        instrument: {section: [[t.name, complete(t.identity())] for t in found] for section, found in tools.items()}
        for instrument, tools in toolbox.tools.items()
    }
    return {"configs": {name: _sections(config) for name, config in configs.items()}, "tools": tools}


def _sections(config: Config) -> Components:
    sections = {name: getattr(config, name) for name in SECTIONS if name != "run"}
    described = {n: complete(describe(s)) if attrs.has(type(s)) else str(s) for n, s in sections.items()}
    return {"given": config.raw, "by_frames": sorted(config.by_frames), "at": str(config.path), **described}


def code_stamp(toolbox: Toolbox) -> str:
    """Return a digest of which program plans: its files and those of selected plugins, by size and time.

    Other versions, and other installations, plan anew. So do installed libraries that come, go or change.
    """
    tools = [t.instance for by_section in toolbox.tools.values() for found in by_section.values() for t in found]
    return _stamp_of(frozenset({__name__.partition(".")[0], *(type(t).__module__.partition(".")[0] for t in tools)}))


@functools.cache
def _stamp_of(names: frozenset[str]) -> str:
    """Return the stamp of modules; asked once, because a process keeps the program with which it began."""
    modules = [sys.modules[name] for name in sorted(names) if name in sys.modules]
    libraries = [p for p in sys.path if p.endswith("-packages") and os.path.isdir(p)]
    files = [[name, *_stamp(path)] for module in modules for name, path in _files(module)]
    return digest([metadata.version("lcframework"), sys.version, files, [_stamp(p) for p in libraries]])


def _files(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Yield the Python files of a package or module, in order."""
    folders = list(getattr(module, "__path__", []))
    if not folders and (path := getattr(module, "__file__", None)):
        yield module.__name__, path
    while folders:
        folder = folders.pop()
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                if entry.is_dir() and entry.name != "__pycache__":
                    folders.append(entry.path)
                elif entry.name.endswith(".py"):
                    yield entry.path, entry.path


def _stamp(path: str) -> tuple[int, int]:
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns


def _any_harmed(session: Session, stage: Stage) -> bool:
    """Return whether a file of a stage's products is missing or damaged, by a look at sizes and marks."""
    workdir = stage.toolbox.workdir
    if type(stage).harm is not Stage.harm:  # some of its files need not be there
        ledger = Ledger.of(session).seen_by(stage.name, stage.needs)
        return any(stage.harm(product, ledger) for product in ledger.of_stage(stage.name).values() if product.made)
    own = select(ProductFile.path, ProductFile.size, ProductFile.damage).where(col(ProductFile.stage) == stage.name)
    if any(damage or wrong_size(workdir, path, size) for path, size, damage in session.exec(own)):
        return True
    made = (col(Product.stage) == stage.name, Product.state == ProductState.MADE.value, Product.path != "")
    same = (col(ProductFile.stage) == col(Product.stage), col(ProductFile.unit) == col(Product.unit))
    unsealed = select(Product.path).where(*made, ~sa.exists().where(*same))  # an earlier version made them
    return any(wrong_size(workdir, path, None) for path in session.exec(unsealed))


def unusable_of(session: Session, plan: Plan) -> list[Entry]:
    """Return the products of a remembered plan's units that can't be used, in their order."""
    if not plan.unusable:
        return []
    columns = [getattr(Product, a.name) for a in attrs.fields(Entry)]
    state = (col(Product.stage) == plan.stage, Product.state == ProductState.UNUSABLE.value)
    found: Mapping[str, Entry] = {r.unit: Entry(*r) for r in session.execute(select(*columns).where(*state))}
    return [found[unit] for unit in plan.unusable if unit in found]
