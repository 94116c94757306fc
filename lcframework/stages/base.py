"""What a stage is: it lists its units, and loads, computes and saves one.

The driver calls `units` and `pending` and writes the records that come back; workers call `load`, `compute` and `save`,
and never see the database.
"""

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import sqlalchemy as sa
from sqlmodel import Session

from lcframework.config.tools import Setup
from lcframework.provenance import Components, digest
from lcframework.stages.scopes import Filter, Scope, frame_scopes
from lcframework.storage.records import Record, Update
from lcframework.storage.tables import Product, Run
from lcframework.types import NeedMissing, UnusableInput

#: No other unit would fare better: the run stops.
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
#: The state of a product that the user wants made again; its token says which run was asked for it.
FORCED = "forced"
#: How runs end that had more to do; one that is running while nobody holds the workdir was killed.
_STOPPED = ("interrupted", "killed", "running")


@attrs.frozen
class Unit:
    """The smallest piece of work that has a fingerprint of its own.

    `payload` holds everything that its work needs, so that any worker can do it. `scope` says which regions, band and
    instrument it belongs to, for runs that are limited to some; left out, its frame says it.
    """

    key: str
    label: str
    components: Components
    payload: Any = attrs.field(repr=False, eq=False)
    frame_id: int | None = None  # where the unit is one frame
    scope: Scope | None = None

    @property
    def fingerprint(self) -> str:
        """What the unit is made from."""
        return digest(self.components)


@attrs.frozen(eq=False)
class Outcome:
    """What saving a unit made: records for the database, and the file."""

    records: tuple[Record, ...] = ()
    path: str = ""
    token: str = ""  # what users of the product depend on; empty: the fingerprint
    summary: str = ""


@attrs.frozen(eq=False)
class UnitResult:
    """How the work on a unit ended; `state` is one of made, unusable, missing, bug."""

    unit: Unit
    state: str
    reason: str = ""
    outcome: Outcome = attrs.field(factory=Outcome)
    seconds: float = 0.0


@attrs.frozen
class Entry:
    """A row of ``products`` without its components, which are many and seldom asked for."""

    stage: str
    unit: str
    fingerprint: str
    token: str
    state: str
    reason: str
    path: str
    seconds: float


_COLUMNS = [getattr(Product, field.name) for field in attrs.fields(Entry)]


class Ledger:
    """The products that are there, by stage and unit."""

    def __init__(self, session: Session) -> None:
        self._products: dict[str, dict[str, Entry]] = {}
        for row in session.execute(sa.select(*_COLUMNS)):
            entry = Entry(*row)
            self._products.setdefault(entry.stage, {})[entry.unit] = entry

    def forcing(self, stage: str, units: Collection[str]) -> Ledger:
        """Return the ledger as it would be with these products of a stage to be made again."""
        other = Ledger.__new__(Ledger)
        mine = {
            u: attrs.evolve(p, state=FORCED, fingerprint="") if u in units else p
            for u, p in self.of_stage(stage).items()
        }
        other._products = {**self._products, stage: mine}
        return other

    def product(self, stage: str, unit: str) -> Entry | None:
        """Return the product of a unit, or None."""
        return self._products.get(stage, {}).get(unit)

    def tokens(self, stage: str) -> dict[str, str]:
        """Return the tokens of a stage's usable products by unit."""
        return {u: p.token for u, p in self._products.get(stage, {}).items() if p.state == "made"}

    def of_stage(self, stage: str) -> Mapping[str, Entry]:
        """Return a stage's products by unit."""
        return self._products.get(stage, {})


@attrs.define
class Stage:
    """Base of all stages. A plugin's stage adds fields for the options of the section that bears its name."""

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""  # for people
    after: ClassVar[str] = ""  # the stage that it follows; for plugins' stages
    needs: ClassVar[tuple[str, ...]] = ()  # stages whose products it reads
    makes: ClassVar[tuple[str, ...]] = ()  # tables and files
    unit: ClassVar[str] = "project"
    accelerator: ClassVar[bool] = False
    light: ClassVar[bool] = False  # so little work that sending it to a worker costs more
    batch_size: ClassVar[int] = 1
    results_version: ClassVar[int] = 1

    setup: Setup = attrs.field(init=False, repr=False, eq=False)
    only: Filter = attrs.field(init=False, repr=False, eq=False, default=Filter())  # what the run is limited to

    @property
    def filtered(self) -> bool:
        """Whether a run's filter applies; not where all regions and bands need all of the stage's products."""
        return True

    def units(self, session: Session, ledger: Ledger) -> list[Unit]:
        """Return every unit that can be worked on with what is there now."""
        raise NotImplementedError

    def load(self, unit: Unit) -> Any:
        """Read a unit's files into values."""
        raise NotImplementedError

    def compute(self, values: Any) -> Any:
        """Turn values into a result: no files, no database."""
        raise NotImplementedError

    def save(self, unit: Unit, result: Any) -> Outcome:
        """Write a result's files and return the records."""
        raise NotImplementedError

    def warm_up(self) -> None:
        """Load what `compute` needs, where that takes long; called in the driver while workers are busy.

        Only a stage that wants an accelerator is asked. It may be called in a thread, and may fail.
        """

    def compute_batch(self, batch: Sequence[Any]) -> list[Any]:
        """Compute several units; an exception in the list stands for the unit that failed with it."""
        results: list[Any] = []
        for values in batch:
            try:
                results.append(self.compute(values))
            except Exception as error:
                results.append(error)
        return results

    def finish(self, session: Session, workdir: Path) -> None:
        """Do what follows once after units were made, in the driver; such as joining files."""

    def outdated(self, workdir: Path) -> bool:
        """Whether what `finish` makes is gone."""
        return False

    def forget(self, session: Session, units: Collection[str]) -> None:
        """Drop what is frozen once made, because the user forces these units."""

    def retry(self, product: Entry) -> bool:
        """Whether a unit that was unusable is tried again though nothing changed."""
        return False

    def unusable_records(self, unit: Unit, reason: str) -> tuple[Record, ...]:
        """Return what to record of a unit that could not be used, beside its row in ``products``."""
        if unit.frame_id is None:
            return ()
        return (Update("frames", {"id": unit.frame_id}, {"comment": f"{self.name}: {reason}"}),)

    def components(self, **parts: Any) -> Components:
        """Return a unit's components: this stage and its version, and the parts given."""
        return {"stage": self.name, "stage_version": self.results_version, **parts}

    def pending(self, units: Sequence[Unit], ledger: Ledger) -> list[Unit]:
        """Return the units without a product of their present fingerprint, or whose product's file is gone."""
        out = []
        for unit in units:
            product = ledger.product(self.name, unit.key)
            if (
                product is None
                or product.fingerprint != unit.fingerprint
                or (self.gone(product) if product.state == "made" else self.retry(product))
            ):
                out.append(unit)
        return out

    def gone(self, product: Entry) -> bool:
        """Return whether a product's file is not there any more."""
        return bool(product.path) and not (self.setup.workdir / product.path).exists()

    def within(self, session: Session, units: Sequence[Unit]) -> list[Unit]:
        """Return the units that the run's filter admits."""
        if not self.only or not self.filtered:
            return list(units)
        frames = frame_scopes(session, self.setup.config.roi)
        return [u for u in units if self.only.admits(u.scope or frames.get(u.frame_id or 0, Scope()))]

    def to_force(self, session: Session, ledger: Ledger, asked: str) -> set[str]:
        """Return the units whose products forcing the stage makes again: all, or those that the filter admits.

        Where a run that was asked for the same was stopped in the midst of it, those that it left: this one goes on.

        Parameters
        ----------
        session : Session
            On the project's database.
        ledger : Ledger
            The products that are there.
        asked : str
            Stages and filter of the run, as ``runs.stages`` has them.
        """
        mine = {u.key for u in self.within(session, self.units(session, ledger))}
        products = ledger.of_stage(self.name)
        left = {u for u in mine if u in products and products[u].state == FORCED}
        before = [session.get(Run, int(token)) for token in {products[u].token for u in left}]
        if left and all(run is not None and run.outcome in _STOPPED and run.stages == asked for run in before):
            return left
        return {u for u in products if u in mine or not self.only}

    def batches(self, units: Sequence[Unit]) -> list[list[Unit]]:
        """Group units for execution; what belongs together may depend on their sizes.

        Units left out wait for those that are returned: the stage is asked again once these are done.
        """
        return [list(units[i : i + self.batch_size]) for i in range(0, len(units), self.batch_size)]


def work(stage: Stage, units: Sequence[Unit]) -> list[UnitResult]:
    """Load, compute and save a batch; each unit ends on its own terms."""
    started = time.perf_counter()
    results: dict[str, UnitResult] = {}
    loaded: list[tuple[Unit, Any]] = []
    for unit in units:
        try:
            loaded.append((unit, stage.load(unit)))
        except Exception as error:
            results[unit.key] = _failed(unit, error)
    try:
        computed = stage.compute_batch([values for _, values in loaded]) if loaded else []
    except Exception as error:
        computed = [error] * len(loaded)
    for (unit, _), result in zip(loaded, computed, strict=True):
        try:
            if isinstance(result, Exception):
                raise result
            results[unit.key] = UnitResult(unit, "made", outcome=stage.save(unit, result))
        except Exception as error:
            results[unit.key] = _failed(unit, error)
    seconds = (time.perf_counter() - started) / max(1, len(units))
    # The payload has served; a light unit travels back to the driver.
    return [
        attrs.evolve(results[u.key], unit=attrs.evolve(results[u.key].unit, payload=None), seconds=seconds)
        for u in units
    ]


def _failed(unit: Unit, error: Exception) -> UnitResult:
    if isinstance(error, UnusableInput):
        return UnitResult(unit, "unusable", str(error))
    if isinstance(error, NeedMissing):
        return UnitResult(unit, "missing", str(error))
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        where = f" ({error.filename})" if error.filename else ""
        return UnitResult(unit, "missing", f"{error.strerror}{where}: give the workdir room, or leave to write in it")
    text = "".join(traceback.format_exception(error))
    return UnitResult(unit, "bug", f"{type(error).__name__}: {error}\n{text}")
