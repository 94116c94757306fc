"""``initialize_database``: the tables are there, and rows of settings that a run needs."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
from sqlmodel import Session

from lcframework.stages.base import Ledger, Outcome, Stage, Unit


@attrs.define
class InitializeDatabase(Stage):
    """The tables are made, and their columns checked, when the database is opened: this says that it was."""

    name: ClassVar[str] = "initialize_database"
    title: ClassVar[str] = "Database"
    makes: ClassVar[tuple[str, ...]] = ("database.sqlite3",)
    light: ClassVar[bool] = True

    def units(self, session: Session, ledger: Ledger) -> list[Unit]:
        """Return one unit."""
        return [Unit("project", "the database", self.components(), None)]

    def load(self, unit: Unit) -> Any:
        """Nothing to read."""
        return None

    def compute(self, values: Any) -> Any:
        """Nothing to compute."""
        return None

    def save(self, unit: Unit, result: Any) -> Outcome:
        """Nothing to write."""
        return Outcome()
