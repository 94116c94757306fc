"""The check of stages: what they declare, the units that they list, and the work on these."""

from __future__ import annotations

import json
import pickle
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs
import sqlalchemy as sa
from sqlmodel import Session, SQLModel

from lcframework.config.sections import SECTIONS
from lcframework.project import Project
from lcframework.provenance import counted
from lcframework.stages import CHAIN
from lcframework.storage.product_files import KnownFile
from lcframework.storage.records import Replace, Update
from lcframework.testing.conformance.contract import require
from lcframework.testing.finished_project import example_project
from lcframework.types import LcfError
from lcframework.work import Ending, Entry, Ledger, Outcome, Stage, Task, Unit, UnitKey, UnitResult, work

#: How many units of each kind are worked on.
_WORKED_ON = 3


def check_stage(kind: type[Any], project: Path | None = None, works: bool = True) -> None:
    """Check a stage: its declarations, that it lists the same units twice and writes nothing, and the work on them.

    Parameters
    ----------
    kind : type
        The stage's class.
    project : Path, optional
        The project file of a finished project, in whose workdir the stage writes its files; its database stays as it
        is. Without it, the small one of :func:`lcframework.testing.example_project`.
    works : bool
        Whether some of its units are worked on, as workers do.

    Raises
    ------
    AssertionError
        States which requirement is not fulfilled, and what to do.
    """
    who = getattr(kind, "__name__", str(kind))
    _check_declarations(kind, who)
    with tempfile.TemporaryDirectory() as folder:
        _units(kind, Project.open(example_project(Path(folder) / "empty", finished=False)), who)
        opened = Project.open(project or example_project(Path(folder) / "finished"))
        stage, units, ledger = _units(kind, opened, who)
        for unit in units:
            _check_unit(stage, unit, who)
        require(len({str(u.key) for u in units}) == len(units), who, "lists two units with the same key")
        if works:
            _check_work(stage, units, ledger, opened, who)
        opened.engine().dispose()


def _check_declarations(kind: Any, who: str) -> None:
    chain = [s.name for s in CHAIN]
    require(isinstance(kind, type) and issubclass(kind, Stage), who, "is no subclass of lcframework.work.Stage")
    require(attrs.has(kind), who, "is not an attrs class; put @attrs.define before it")
    ours = kind in CHAIN
    require(
        re.fullmatch(r"[a-z][a-z0-9_]*", kind.name), who, f"name = {kind.name!r}; lower case letters and _ are needed"
    )
    require(ours or kind.name not in (*chain, *SECTIONS, "roi", "instrument"), who,
            f"is called {kind.name}, as a stage or a section of lcframework; choose another name")  # fmt: skip
    require(kind.title, who, "has no title, which progress and status show")
    require(ours or kind.after, who, f"names no stage in `after`; those of lcframework are {', '.join(chain)}")
    for name in ("needs", "makes"):
        value = getattr(kind, name)
        require(
            isinstance(value, tuple) and all(isinstance(v, str) for v in value), who, f"{name} must be a tuple of texts"
        )
    if kind.after in chain:
        late = [n for n in kind.needs if n in chain[chain.index(kind.after) + 1 :]]
        require(not late, who, f"needs {', '.join(late)}, which run after it: name the last of them in `after`")
    require(isinstance(kind.results_version, int) and kind.results_version >= 1, who, "results_version: an int from 1")
    options = [f for f in attrs.fields(kind) if f.init]
    for option in options:
        require(option.default is not attrs.NOTHING, who, f"the option {option.name!r} has no default")
        require(
            option.type is not None, who, f"the option {option.name!r} has no type annotation; TOML values need one"
        )
    unknown = set(kind.operational) - {o.name for o in options}
    require(not unknown, who, f"operational names {', '.join(sorted(unknown))}, which are no options")
    for name in ("units", "tasks"):
        require(getattr(kind, name) is not getattr(Stage, name), who, f"does not define {name}")


def _units(kind: type[Stage], project: Project, who: str) -> tuple[Stage, list[Unit[Any]], Ledger]:
    """Return a stage with the units that it lists for a project; it must list the same twice, and write nothing."""
    stage = kind()
    with project.session() as session:
        stage.toolbox = project.toolbox
        ledger = Ledger.read(session).seen_by(stage.name, stage.needs)
        before = _contents(session)
        lists = []
        for _ in range(2):
            try:
                lists.append(stage.units(session, ledger))
            except LcfError as error:
                raise AssertionError(f"{who}: units: {error}") from error
            lists[-1] = stage.filled(session, lists[-1])
            written = [*session.new, *session.dirty, *session.deleted]
            require(not written, who, "units changes the database; what must be written first goes into `prepare`")
        require(_contents(session) == before, who, "units changes the database; `lcf status` calls it too")
    first, second = lists
    require(
        isinstance(first, list) and all(isinstance(u, Unit) for u in first), who, "units must return a list of Unit"
    )
    same = [(str(u.key), u.fingerprint) for u in first] == [(str(u.key), u.fingerprint) for u in second]
    require(same, who, "units lists other units, or other components, when it is asked again")
    return stage, first, ledger


def _contents(session: Session) -> dict[str, list[str]]:
    """Return the rows of every table as texts."""
    there = sa.inspect(session.connection()).get_table_names()
    tables = [table for name, table in SQLModel.metadata.tables.items() if name in there]
    return {table.name: sorted(map(repr, session.execute(sa.select(table)).all())) for table in tables}


def _check_unit(stage: Stage, unit: Unit[Any], who: str) -> None:
    require(isinstance(unit.key, UnitKey), who, f"the key {unit.key!r} is no UnitKey")
    require(
        type(unit.key).parse(str(unit.key)) == unit.key, who, f"the key {unit.key!r} can't be read from its own text"
    )
    require(unit.label, who, f"the unit {unit.key} has no label")
    require(type(unit.key) in stage.tasks(), who, f"tasks has no task for units with a {type(unit.key).__name__}")
    require(unit.components.get("stage") == stage.name, who, f"{unit.key}: make components by self.components(...)")
    try:
        json.dumps(counted(unit.components))
    except (TypeError, ValueError) as error:
        raise AssertionError(
            f"{who}: the components of {unit.key} are no values that JSON can hold ({error}): they are recorded, and "
            "compared in later runs"
        ) from error


def _check_work(stage: Stage, units: Sequence[Unit[Any]], ledger: Ledger, project: Project, who: str) -> None:
    made: dict[str, Entry] = {}
    files: dict[str, list[KnownFile]] = {}
    for kind, task in stage.tasks().items():
        mine = [u for u in units if type(u.key) is kind][:_WORKED_ON]
        require(isinstance(task, Task), who, f"tasks has a {type(task).__name__} for {kind.__name__}, not a Task")
        if not mine:
            continue
        try:
            sent, payloads = pickle.loads(pickle.dumps((attrs.evolve(task, toolbox=stage.toolbox), mine)))
        except Exception as error:
            raise AssertionError(
                f"{who}: {type(task).__name__} or its units do not pickle ({error}), so they can't reach a worker "
                "process; define classes at module level, and keep sessions and open files out of them"
            ) from error
        for batch in sent.batches(payloads):
            for unit, result in zip(batch, work(sent, batch), strict=True):
                _check_result(result, stage.toolbox.workdir, who)
                if result.ending is Ending.MADE:
                    key = str(unit.key)
                    files[key] = [KnownFile(f.path, stage.name, key, f.size, f.digest, "") for f in result.files]
                    made[key] = Entry(stage.name, key, unit.fingerprint, 2, unit.fingerprint, "made", "",
                                      result.outcome.path, 0.0)  # fmt: skip
    if made:
        products = {**{n: ledger.of_stage(n) for n in stage.needs}, stage.name: made}
        known = Ledger(products, lambda name: files if name == stage.name else {})
        with project.session() as session:
            again = [u for u in stage.units(session, known.seen_by(stage.name, stage.needs)) if str(u.key) in made]
        left = stage.pending(again, known)
        require(not left, who, f"{left and left[0].key}: is out of date as soon as it is made: its components "
                               "change with its own product")  # fmt: skip


def _check_result(result: UnitResult, workdir: Path, who: str) -> None:
    if result.ending is not Ending.MADE:
        require(result.ending is not Ending.BUG, who, f"{result.unit.key}: {result.reason}")
        require(result.reason.strip(), who, f"{result.unit.key}: could not be used, without a reason")
        return
    outcome = result.outcome
    require(isinstance(outcome, Outcome), who, f"save returned a {type(outcome).__name__}, not an Outcome")
    if outcome.path:
        path = Path(outcome.path)
        require(
            not path.is_absolute() and ".." not in path.parts, who, f"the path {path} must be relative to the workdir"
        )
        require((workdir / path).exists(), who, f"{result.unit.key}: there is no {path}, which save names")
    records: Iterable[Any] = outcome.records
    require(all(isinstance(r, Update | Replace) for r in records), who, "records must be Update or Replace")
