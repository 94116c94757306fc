"""The end state of a fit."""

from __future__ import annotations

import enum

import attrs


class FitState(enum.StrEnum):
    """The end state of a fit; the values of `BOUND` and `CONVERGED` may be used, those of `FAILED` may not."""

    CONVERGED = "converged"
    BOUND = "stopped at the bound"
    FAILED = "failed"


@attrs.frozen
class FitStatus:
    """How a fit ended, after how many evaluations, and why."""

    state: FitState
    evaluations: int = 0
    reason: str = ""

    @property
    def usable(self) -> bool:
        """Whether the values may be used."""
        return self.state is not FitState.FAILED
