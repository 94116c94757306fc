"""How a fit ended."""

from __future__ import annotations

import enum

import attrs


class FitState(enum.StrEnum):
    """How a fit ended."""

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
