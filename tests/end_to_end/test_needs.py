"""What stages declare that they need is what they read: no less (they would fail), and no more."""

from __future__ import annotations

from typing import Any

from lcframework.project import Project
from lcframework.work import Ledger


class Noting(Ledger):
    """A ledger that notes whose products are asked for."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger._products)
        self.asked: set[str] = set()

    def of_stage(self, stage: str) -> Any:
        self.asked.add(stage)
        return super().of_stage(stage)


def test_stages_read_what_they_declare(finished: Any) -> None:
    project = Project.open(finished.project)
    with project.session() as session:
        for stage in project.stages:
            ledger = Noting(Ledger.read(session))
            assert stage.units(session, ledger)
            assert ledger.asked - {stage.name} == set(stage.needs), stage.name
