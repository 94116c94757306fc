"""The parts of a stage's work; authors of stages import from here.

A :class:`Stage` lists its units of work. A :class:`Unit` is the smallest piece of work with its own fingerprint; a
:class:`UnitKey` identifies it. A :class:`Task` does the units of one kind. The :class:`Ledger` contains the products.
"""

from __future__ import annotations

from lcframework.config.toolbox import Toolbox
from lcframework.storage.records import Replace, Update
from lcframework.storage.tables import ProductState
from lcframework.work.keys import (
    FieldGroupKey,
    FieldStarsKey,
    FitKey,
    FrameKey,
    HotPixelsKey,
    LightCurveKey,
    MasterKey,
    PassedStarsKey,
    ProjectKey,
    RegionGroupKey,
    SolverStarsKey,
    StarKey,
    UnitKey,
)
from lcframework.work.ledger import Entry, Ledger, OwnAsked
from lcframework.work.scopes import Filter, Scope
from lcframework.work.stage import Stage
from lcframework.work.task import BatchTask, Task, work
from lcframework.work.unit import Ending, Outcome, Unit, UnitResult

__all__ = [
    "BatchTask",
    "Ending",
    "Entry",
    "FieldGroupKey",
    "FieldStarsKey",
    "Filter",
    "FitKey",
    "FrameKey",
    "HotPixelsKey",
    "Ledger",
    "LightCurveKey",
    "MasterKey",
    "Outcome",
    "OwnAsked",
    "PassedStarsKey",
    "ProductState",
    "ProjectKey",
    "RegionGroupKey",
    "Replace",
    "Scope",
    "SolverStarsKey",
    "Stage",
    "StarKey",
    "Task",
    "Toolbox",
    "Unit",
    "UnitKey",
    "UnitResult",
    "Update",
    "work",
]
