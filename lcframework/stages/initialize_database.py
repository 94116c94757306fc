"""``initialize_database``: the database is there, and of this version's schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
from sqlmodel import Session

from lcframework.work import Ledger, Outcome, ProjectKey, Stage, Task, Unit, UnitKey


class NoteDatabase(Task[None, None, None]):
    """Does nothing: the tables are made, or upgraded, when the database is opened."""

    light: ClassVar[bool] = True

    def load(self, unit: Unit[None]) -> None:
        """Read nothing."""

    def compute(self, values: None) -> None:
        """Compute nothing."""

    def save(self, unit: Unit[None], values: None, result: None) -> Outcome:
        """Write nothing; that the unit was made is recorded."""
        return Outcome()


@attrs.define
class InitializeDatabase(Stage):
    """One unit."""

    name: ClassVar[str] = "initialize_database"
    title: ClassVar[str] = "Database"
    makes: ClassVar[tuple[str, ...]] = ("database.sqlite3",)

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return what notes that the database is there."""
        return {ProjectKey: NoteDatabase(self.name, self.toolbox)}

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return the one unit."""
        return [Unit(ProjectKey(), "the database", self.components(), None)]
