"""The events of a run, of which listeners are notified."""

from __future__ import annotations

from typing import ClassVar

import attrs


@attrs.frozen
class RunEvent:
    """Something that happened in a run; `kind` is one of `KINDS`."""

    KINDS: ClassVar[tuple[str, ...]] = (
        "run_started",
        "stage_started",
        "setting_decided",
        "unit_done",
        "stage_finished",
        "run_finished",
    )
    kind: str
    stage: str = ""
    unit: str = ""
    message: str = ""
    done: int = 0  # units of the stage that are finished
    total: int = 0  # units of the stage that were pending
