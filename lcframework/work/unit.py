"""A unit of work, and the result of the work on it."""

from __future__ import annotations

import enum
import functools
from typing import Any, Generic, TypeVar

import attrs

from lcframework.plugins import Call
from lcframework.provenance import Components, fingerprint
from lcframework.storage.records import Record
from lcframework.storage.seals import Seal
from lcframework.types import Doubt
from lcframework.work.keys import UnitKey
from lcframework.work.scopes import Scope

P = TypeVar("P", covariant=True)


@attrs.frozen
class Unit(Generic[P]):
    """The smallest piece of work with its own fingerprint.

    Attributes
    ----------
    key : UnitKey
        Identifies the unit; its type determines the task of the stage that makes it.
    label : str
        The name of the unit in messages.
    components : dict
        Everything that it is made from: see :meth:`lcframework.work.Stage.components`.
    payload
        Everything that its work needs, so that any worker can do it.
    frame_id : int, optional
        The frame, where the unit belongs to one.
    scope : Scope, optional
        The regions, band and instrument that it belongs to, for filters; None: those of its frame.
    reads : tuple of Seal
        The files of other units' products that its work reads, as they were written; the driver adds them.
    """

    key: UnitKey
    label: str
    components: Components
    payload: P = attrs.field(repr=False, eq=False)
    frame_id: int | None = None
    scope: Scope | None = None
    reads: tuple[Seal, ...] = attrs.field(default=(), repr=False, eq=False)

    @functools.cached_property
    def fingerprint(self) -> str:
        """The digest of the components: products with another fingerprint are out of date."""
        return fingerprint(self.components)


@attrs.frozen(eq=False)
class Outcome:
    """What :meth:`Task.save` returns.

    Attributes
    ----------
    records : tuple of Update and Replace
        Changes of the database.
    path : str
        The product's file, relative to the workdir; empty where there is none.
    token : str
        What units that read the product depend on; empty: the unit's fingerprint. With a digest of the result, later
        units remain up to date where the unit is made again with the same result.
    summary : str
        A few words for messages.
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
    UNUSABLE = "unusable"  # this input can't be used; the run continues
    NOT_READ = "not read"  # a file can't be read at present; nothing is recorded, and the next run tries again
    DAMAGED = "damaged"  # a product that it reads is damaged, and is made again first
    MISSING = "missing"  # something that the work needs is missing; the run stops
    BUG = "bug"  # an unexpected exception


@attrs.frozen(eq=False)
class UnitResult:
    """How the work on a unit ended, and why, where it failed.

    Attributes
    ----------
    calls : tuple of Call
        Of plugins, that the work on its batch took.
    files : tuple of Seal
        The files that were written, where it was made.
    damaged : tuple of (str, str)
        The files that are damaged, relative to the workdir, and what is wrong with each.
    """

    unit: Unit[Any]
    ending: Ending
    reason: str = ""
    outcome: Outcome = attrs.field(factory=Outcome)
    seconds: float = 0.0
    calls: tuple[Call, ...] = ()
    files: tuple[Seal, ...] = ()
    damaged: tuple[tuple[str, str], ...] = ()
