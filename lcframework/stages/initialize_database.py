"""``initialize_database``: the first stage; it only records that the project has a database.

The tables themselves are created, or migrated, when the database is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
from sqlmodel import Session

from lcframework.work import Ledger, Outcome, ProjectKey, Stage, Task, Unit, UnitKey


class RecordDatabase(Task[None, None, None]):
    """Does nothing; only the product of its unit is recorded."""

    light: ClassVar[bool] = True

    def load(self, unit: Unit[None]) -> None:
        """Read nothing."""

    def compute(self, values: None) -> None:
        """Compute nothing."""

    def save(self, unit: Unit[None], values: None, result: None) -> Outcome:
        """Write nothing; the driver records the product."""
        return Outcome()


@attrs.define
class InitializeDatabase(Stage):
    """One unit for the project."""

    name: ClassVar[str] = "initialize_database"
    title: ClassVar[str] = "Database"
    makes: ClassVar[tuple[str, ...]] = ("database.sqlite3",)
    reads: ClassVar[tuple[str, ...] | None] = ()

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return the task of the unit."""
        return {ProjectKey: RecordDatabase(self.name, self.toolbox)}

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return the one unit."""
        return [Unit(ProjectKey(), "the database", self.components(), None)]
