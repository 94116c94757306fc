"""A unit of work, and what becomes of it."""

from __future__ import annotations

import enum
from typing import Any, Generic, TypeVar

import attrs

from lcframework.provenance import Components, counted, digest
from lcframework.storage.records import Record
from lcframework.types import Doubt
from lcframework.work.keys import UnitKey
from lcframework.work.scopes import Scope

P = TypeVar("P", covariant=True)


@attrs.frozen
class Unit(Generic[P]):
    """The smallest piece of work that has a fingerprint of its own.

    Attributes
    ----------
    key : UnitKey
        What it is called; its type says which of the stage's tasks does it.
    label : str
        What people are shown.
    components : dict
        What it is made from: see :meth:`lcframework.work.Stage.components`.
    payload
        Everything that its work needs, so that any worker can do it.
    frame_id : int, optional
        The frame, where the unit belongs to one.
    scope : Scope, optional
        The regions, band and instrument it belongs to, for runs that are limited to some; left out: its frame's.
    """

    key: UnitKey
    label: str
    components: Components
    payload: P = attrs.field(repr=False, eq=False)
    frame_id: int | None = None
    scope: Scope | None = None

    @property
    def fingerprint(self) -> str:
        """What the unit is made from."""
        return digest(counted(self.components))


@attrs.frozen(eq=False)
class Outcome:
    """What saving a unit's result made.

    Attributes
    ----------
    records : tuple of Update and Replace
        What is to change in the database.
    path : str
        The file, relative to the workdir; empty where there is none.
    token : str
        What users of the product depend on; empty: the unit's fingerprint. A digest of the answer lets the work stop
        here where a unit is done again and comes out the same.
    summary : str
        A few words for people.
    doubts : tuple of Doubt
        What makes the product doubtful.
    """

    records: tuple[Record, ...] = ()
    path: str = ""
    token: str = ""
    summary: str = ""
    doubts: tuple[Doubt, ...] = ()


class Ending(enum.StrEnum):
    """How the work on a unit ended."""

    MADE = "made"
    UNUSABLE = "unusable"  # this input can't be used; the rest of the run goes on
    MISSING = "missing"  # something that the work needs is not there; the run stops
    BUG = "bug"  # nobody foresaw it


@attrs.frozen(eq=False)
class UnitResult:
    """How the work on a unit ended, and why, where it failed."""

    unit: Unit[Any]
    ending: Ending
    reason: str = ""
    outcome: Outcome = attrs.field(factory=Outcome)
    seconds: float = 0.0
