"""A stage: lists its units of work, the components of each, and the task for each kind of unit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
from sqlmodel import Session

from lcframework.config.toolbox import Toolbox
from lcframework.local_plugins import contents_of
from lcframework.plugins import Source
from lcframework.provenance import Components, describe
from lcframework.storage.tables import ProductState, Run, RunOutcome
from lcframework.work.keys import UnitKey
from lcframework.work.ledger import Entry, Ledger
from lcframework.work.scopes import Filter, Scope, frame_scopes
from lcframework.work.task import Task
from lcframework.work.unit import Unit

#: Outcomes of runs that stopped early. A run that is recorded as running while the workdir is not locked was killed.
_STOPPED = (RunOutcome.INTERRUPTED, RunOutcome.KILLED, RunOutcome.RUNNING)


@attrs.define
class Stage:
    """Base class of all stages. A plugin's stage adds attributes: the options of the section with its name.

    All methods of a stage are called in the driver. A plugin's stage defines `name`, `after`, `units` and `tasks`.

    Attributes
    ----------
    name, title : str
        The name of the stage in commands, and its title in messages.
    after : str
        The stage that it follows; only for stages of plugins.
    needs : tuple of str
        The stages whose products it reads; it can read no others except its own.
    makes : tuple of str
        The tables and files that it makes.
    unit : str
        What one of its units is, in words.
    results_version : int
        Increased when its results change, so that its products are made again.
    operational : frozenset of str
        Options that can't change results; they are no components of units.
    source : Source, optional
        The plugin that it comes from; given by the core.
    reads : tuple of str, optional
        The tables that `units` reads. A stage that names them is planned only where one of them, the products of the
        stage or of those in `needs`, a setting, or the program changed since nothing was left to be done; None: in each
        run.
    annotates : tuple of str
        Those of `reads` of which the stage's own work changes nothing that its units are listed from. After its work a
        stage is listed again only where others of them changed, or where `units` asked the ledger for its own products:
        it must not read these from the table.
    toolbox : Toolbox
        The project's configuration and selected plugins.
    only : Filter
        The filter of the run.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    after: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    makes: ClassVar[tuple[str, ...]] = ()
    unit: ClassVar[str] = "project"
    results_version: ClassVar[int] = 1
    operational: ClassVar[frozenset[str]] = frozenset()
    source: ClassVar[Source | None] = None
    reads: ClassVar[tuple[str, ...] | None] = None
    annotates: ClassVar[tuple[str, ...]] = ()

    toolbox: Toolbox = attrs.field(init=False, repr=False, eq=False)
    only: Filter = attrs.field(init=False, repr=False, eq=False, default=Filter())

    # ---------------------------------------------------------------- defined by each stage

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return every unit that can be made from the existing products.

        Nothing may be written, because ``lcf status`` calls this too. It is called again after units were made, so that
        a stage can add units that depend on its earlier units.
        """
        raise NotImplementedError

    def filled(self, session: Session, units: Sequence[Unit[Any]]) -> list[Unit[Any]]:
        """Return units with what `units` left out of their payloads; called for those that are to be made.

        A stage that reads many rows for its work, and not for its components, reads them here.
        """
        return list(units)

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return the task for each kind of unit, by the type of the unit keys."""
        raise NotImplementedError

    def prepare(self, session: Session, ledger: Ledger) -> None:
        """Write what must be in the database before the units are listed; called once for each stage, only in a run."""

    def unprepared(self, session: Session, ledger: Ledger) -> bool:
        """Return whether `prepare` would change what later stages see, so that these can't be planned yet."""
        return False

    def outside(self) -> Components:
        """Return what `prepare` and `units` find outside the database, the options and the plugins, such as files.

        Only of a stage that names what it `reads`.
        """
        return {}

    def noted(self, units: Sequence[Unit[Any]]) -> Any:
        """Return what else is to be known of the units where they are not listed; a value that JSON can hold."""
        return None

    def ready(self, units: Sequence[Unit[Any]]) -> list[Unit[Any]]:
        """Return the pending units that do not depend on other pending units."""
        return list(units)

    def finish(self, session: Session, ledger: Ledger, workdir: Path) -> None:
        """Finish the stage after its units were made, for example join files; called once."""

    def outdated(self, workdir: Path) -> bool:
        """Return whether what `finish` makes is missing."""
        return False

    def forget(self, session: Session, units: Collection[str]) -> None:
        """Delete values that normally never change, because these units (texts of their unit keys) are forced."""

    def retry(self, product: Entry) -> bool:
        """Return whether an unusable unit is tried again although nothing changed."""
        return False

    @property
    def filtered(self) -> bool:
        """Whether a run's filter applies; False where every region and band needs all products of the stage."""
        return True

    # ---------------------------------------------------------------- common to all stages

    def components(self, **parts: Any) -> Components:
        """Return the components of a unit: the stage, its version and options, and the given parts.

        Parts are values that JSON can hold: identities of plugins (:meth:`Toolbox.identity`), tokens of the products
        that are read, and everything else that changes the result.
        """
        options = {name: value for name, value in describe(self).items() if name not in self.operational}
        own: Components = {"stage_options": options} if options else {}
        if file := contents_of(type(self)):
            own["stage_file"] = file
        return {"stage": self.name, "stage_version": self.results_version, **own, **parts}

    def task_of(self, unit: Unit[Any]) -> Task[Any, Any, Any]:
        """Return the task for a unit."""
        return self.tasks()[type(unit.key)]

    def pending(self, units: Sequence[Unit[Any]], ledger: Ledger) -> list[Unit[Any]]:
        """Return the units whose product is missing or out of date, or whose product's files are missing or damaged."""
        out = []
        for unit in units:
            product = ledger.product(self.name, unit.key)
            if (
                product is None
                or not product.made_from(unit)
                or (self.harm(product, ledger) if product.made else self.retry(product))
            ):
                out.append(unit)
        return out

    def harm(self, product: Entry, ledger: Ledger) -> str:
        """Return what is wrong with a product's files, in words; empty where nothing is known to be."""
        return ledger.harm(product, self.toolbox.workdir)

    def within(self, session: Session, units: Sequence[Unit[Any]]) -> list[Unit[Any]]:
        """Return the units that the run's filter admits."""
        if not self.only or not self.filtered:
            return list(units)
        frames = frame_scopes(session, self.toolbox.config.roi)
        return [u for u in units if self.only.admits(u.scope or frames.get(u.frame_id or 0, Scope()))]

    def to_force(self, session: Session, ledger: Ledger, asked: str) -> set[str]:
        """Return the units whose products ``--force`` makes again: all, or those that the filter admits.

        Where an earlier run with the same request was stopped, only the units that it did not finish are returned.

        Parameters
        ----------
        session : Session
            On the project's database.
        ledger : Ledger
            The existing products.
        asked : str
            Stages and filter of the run, as in ``runs.stages``.
        """
        admitted = {str(u.key) for u in self.within(session, self.units(session, ledger))}
        products = ledger.of_stage(self.name)
        left = {u for u in admitted if u in products and products[u].state == ProductState.FORCED}
        before = [session.get(Run, int(token)) for token in {products[u].token for u in left}]
        if left and all(run is not None and run.outcome in _STOPPED and run.stages == asked for run in before):
            return left
        return {u for u in products if u in admitted or not self.only}
