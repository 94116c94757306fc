"""A stage: which units of work there are, from what each is made, and which task does each kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
from sqlmodel import Session

from lcframework.config.toolbox import Toolbox
from lcframework.provenance import Components, describe
from lcframework.storage.tables import Run, RunOutcome
from lcframework.work.keys import UnitKey
from lcframework.work.ledger import Entry, Ledger, ProductState
from lcframework.work.scopes import Filter, Scope, frame_scopes
from lcframework.work.task import Task
from lcframework.work.unit import Unit

#: How runs end that had more to do; one that is running while nobody holds the workdir was killed.
_STOPPED = (RunOutcome.INTERRUPTED, RunOutcome.KILLED, RunOutcome.RUNNING)


@attrs.define
class Stage:
    """Base of all stages. A plugin's stage adds fields for the options of the section that bears its name.

    All of a stage's methods are called in the driver. What a plugin's stage must have are a `name`, the stage that it
    comes `after`, and the methods `units` and `tasks`.

    Attributes
    ----------
    name, title : str
        What the stage is called in commands, and for people.
    after : str
        The stage that it follows; for plugins' stages.
    needs : tuple of str
        The stages whose products it reads: their part of the ledger, and its own, is all that it sees.
    makes : tuple of str
        The tables and files that it makes.
    unit : str
        What a unit of its work is, in words.
    results_version : int
        Raised when its answers change, so that its products are made again.
    operational : frozenset of str
        Options that can't change a unit's answer, and are no part of what it is made from.
    toolbox : Toolbox
        The project's configuration and selected plugins.
    only : Filter
        What the run is limited to.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    after: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    makes: ClassVar[tuple[str, ...]] = ()
    unit: ClassVar[str] = "project"
    results_version: ClassVar[int] = 1
    operational: ClassVar[frozenset[str]] = frozenset()

    toolbox: Toolbox = attrs.field(init=False, repr=False, eq=False)
    only: Filter = attrs.field(init=False, repr=False, eq=False, default=Filter())

    # ---------------------------------------------------------------- what a stage says of itself

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return every unit that can be worked on with what is there now.

        Nothing is written: ``lcf status`` asks as well. A stage whose later units depend on its earlier ones is asked
        again once these are done.
        """
        raise NotImplementedError

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return the task that does each kind of unit, by the type of the units' keys."""
        raise NotImplementedError

    def prepare(self, session: Session, ledger: Ledger) -> None:
        """Write what must be in the database before the units are listed; only a run does this, once a stage."""

    def unprepared(self, session: Session, ledger: Ledger) -> bool:
        """Return whether `prepare` would change what later stages see, so that these can't be planned yet."""
        return False

    def ready(self, units: Sequence[Unit[Any]]) -> list[Unit[Any]]:
        """Return those of the pending units that need not wait for others of them."""
        return list(units)

    def finish(self, session: Session, ledger: Ledger, workdir: Path) -> None:
        """Do what follows once after units were made, such as joining files."""

    def outdated(self, workdir: Path) -> bool:
        """Return whether what `finish` makes is gone."""
        return False

    def forget(self, session: Session, units: Collection[str]) -> None:
        """Drop what is frozen once made, because the user forces these units, given as texts of their keys."""

    def retry(self, product: Entry) -> bool:
        """Return whether a unit that was unusable is tried again though nothing changed."""
        return False

    @property
    def filtered(self) -> bool:
        """Whether a run's filter applies; not where all regions and bands need all of the stage's products."""
        return True

    # ---------------------------------------------------------------- what follows from that

    def components(self, **parts: Any) -> Components:
        """Return what a unit is made from: the stage, its version and options, and the parts given.

        Parts are values as JSON has them: identities of plugins (:meth:`Toolbox.identity`), tokens of the products
        that are read, and whatever else changes the answer.
        """
        options = {name: value for name, value in describe(self).items() if name not in self.operational}
        own = {"stage_options": options} if options else {}
        return {"stage": self.name, "stage_version": self.results_version, **own, **parts}

    def task_of(self, unit: Unit[Any]) -> Task[Any, Any, Any]:
        """Return the task that does a unit."""
        return self.tasks()[type(unit.key)]

    def pending(self, units: Sequence[Unit[Any]], ledger: Ledger) -> list[Unit[Any]]:
        """Return the units without a product of their present fingerprint, or whose product's file is gone."""
        out = []
        for unit in units:
            product = ledger.product(self.name, unit.key)
            if (
                product is None
                or not product.made_from(unit)
                or (self.gone(product) if product.made else self.retry(product))
            ):
                out.append(unit)
        return out

    def gone(self, product: Entry) -> bool:
        """Return whether a product's file is not there any more."""
        return bool(product.path) and not (self.toolbox.workdir / product.path).exists()

    def within(self, session: Session, units: Sequence[Unit[Any]]) -> list[Unit[Any]]:
        """Return the units that the run's filter admits."""
        if not self.only or not self.filtered:
            return list(units)
        frames = frame_scopes(session, self.toolbox.config.roi)
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
        admitted = {str(u.key) for u in self.within(session, self.units(session, ledger))}
        products = ledger.of_stage(self.name)
        left = {u for u in admitted if u in products and products[u].state == ProductState.FORCED}
        before = [session.get(Run, int(token)) for token in {products[u].token for u in left}]
        if left and all(run is not None and run.outcome in _STOPPED and run.stages == asked for run in before):
            return left
        return {u for u in products if u in admitted or not self.only}
