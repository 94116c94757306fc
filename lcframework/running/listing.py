"""The units of a stage, which are listed again in a run only where what they are listed from has changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from sqlmodel import Session

from lcframework.running.memory import Basis
from lcframework.work import Ledger, OwnAsked, Stage, Unit


@attrs.frozen
class _Listed:
    stage: str
    basis: str
    states: Mapping[str, str] | None  # of its own products, where it asked for them
    units: list[Unit[Any]]

    def holds(self, stage: str, basis: str, ledger: Ledger) -> bool:
        """Return whether listing the units again would give the same."""
        return (self.stage, self.basis) == (stage, basis) and self.states in (None, ledger.own_states())


@attrs.define
class Listing:
    """Lists the units of stages, and holds those of the last one.

    A stage's units are asked for before and after some of them are made, for others may then be possible. At thousands
    of frames that costs more than the work for a new one. Most stages list theirs from earlier stages' products alone,
    and from which products of their own there are: these are listed once where their work changes neither.
    """

    _last: _Listed | None = None

    def units(self, session: Session, stage: Stage, ledger: Ledger, basis: Basis | None) -> list[Unit[Any]]:
        """Return all units of a stage.

        Parameters
        ----------
        session : Session
            On the project's database.
        stage : Stage
            With the tools of now.
        ledger : Ledger
            As the stage sees it; a new one in each call.
        basis : Basis, optional
            What they are listed from; without it they are listed.
        """
        if basis is not None and self._last is not None and self._last.holds(stage.name, basis.before, ledger):
            return self._last.units
        self._last = None
        units = stage.units(session, ledger)
        if basis is not None and ledger.own_asked < OwnAsked.PRODUCTS:
            states = ledger.own_states() if ledger.own_asked == OwnAsked.STATES else None
            self._last = _Listed(stage.name, basis.before, states, units)
        return units
