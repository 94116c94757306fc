"""The report of a run: the results of each stage and of the run."""

from __future__ import annotations

import attrs

from lcframework.running.plugin_calls import CallTable
from lcframework.storage.tables import RunOutcome
from lcframework.work.scopes import Filter


@attrs.frozen
class Unusable:
    """An input that could not be used, with the label of its unit and the unit key."""

    stage: str
    unit: str
    reason: str
    key: str = attrs.field(default="", repr=False)


@attrs.define
class StageReport:
    """The results of one stage in a run."""

    name: str
    done: int = 0
    up_to_date: int = 0
    left_out: int = 0  # pending, and outside the run's filter
    unusable: list[Unusable] = attrs.field(factory=list)
    missing: list[str] = attrs.field(factory=list)
    bugs: list[Unusable] = attrs.field(factory=list)
    not_read: list[Unusable] = attrs.field(factory=list)  # files that could not be read; the next run tries again
    seconds: float = 0.0
    summaries: list[str] = attrs.field(factory=list)
    broken: str = ""  # why the stage itself, which is a plugin's, failed or was skipped


@attrs.define
class RunReport:
    """The results of a run; `message` states why it stopped early."""

    stages: list[StageReport] = attrs.field(factory=list)
    message: str = ""
    interrupted: bool = False
    unusable_before: list[Unusable] = attrs.field(factory=list)  # since earlier runs
    only: Filter = attrs.field(factory=Filter)  # what the run was limited to
    calls: CallTable = attrs.field(factory=CallTable)  # of plugins
    upgraded: str = ""  # what was done to the database of an earlier version
    repaired: list[str] = attrs.field(factory=list)  # which products were damaged or missing, and are made again

    def of(self, stage: str) -> StageReport:
        """Return the report of a stage, which is added where it has none yet."""
        for entry in self.stages:
            if entry.name == stage:
                return entry
        self.stages.append(StageReport(stage))
        return self.stages[-1]

    @property
    def units_done(self) -> int:
        """How many units were made."""
        return sum(s.done for s in self.stages)

    @property
    def unusable(self) -> list[Unusable]:
        """Every input that can't be used, from this run and earlier ones."""
        new = [u for s in self.stages for u in s.unusable]
        named = {(u.stage, u.key) for u in new}
        return new + [u for u in self.unusable_before if (u.stage, u.key) not in named]

    @property
    def bugs(self) -> list[Unusable]:
        """Units that failed with an unexpected exception."""
        return [u for s in self.stages for u in s.bugs]

    @property
    def not_read(self) -> list[Unusable]:
        """Units whose files could not be read."""
        return [u for s in self.stages for u in s.not_read]

    @property
    def exit_code(self) -> int:
        """0 success; 1 failure; 3 finished, but some inputs were unusable."""
        if self.message or self.interrupted or self.bugs or any(s.missing or s.broken for s in self.stages):
            return 1
        return 3 if self.unusable or self.not_read else 0

    @property
    def outcome(self) -> RunOutcome:
        """The outcome, as in the table ``runs``."""
        if self.interrupted:
            return RunOutcome.INTERRUPTED
        return {0: RunOutcome.SUCCESS, 3: RunOutcome.PARTLY}.get(self.exit_code, RunOutcome.FAILED)
