"""What the work of a stage consists of, and what authors of stages import.

A :class:`Stage` lists its units of work. A :class:`Unit` is the smallest piece that has a fingerprint of its own, and
is named by a :class:`UnitKey`; a :class:`Task` does the units of one kind; the :class:`Ledger` holds what was made.
"""

from __future__ import annotations

from lcframework.config.toolbox import Toolbox
from lcframework.storage.records import Replace, Update
from lcframework.work.keys import (
    FieldGroupKey,
    FieldStarsKey,
    FitKey,
    FrameKey,
    HotPixelsKey,
    LightCurveKey,
    MasterKey,
    ProjectKey,
    RegionGroupKey,
    SolverStarsKey,
    StarKey,
    UnitKey,
)
from lcframework.work.ledger import Entry, Ledger, ProductState
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
