"""What makes a number doubtful, as a value: what it is, how bad, and what to do about it."""

from __future__ import annotations

import enum

import attrs
import numpy as np


class Severity(enum.StrEnum):
    """How bad a doubt is, the worst first."""

    SERIOUS = "serious"  # numbers are probably wrong by more than their errors
    DOUBT = "doubt"  # numbers may be wrong by more than their errors
    NOTE = "note"  # numbers are as good as their errors; something else deserves a look

    @property
    def rank(self) -> int:
        """0 for the worst, and so on."""
        return list(Severity).index(self)


@attrs.frozen
class Doubt:
    """A doubt about what a unit of work made.

    Attributes
    ----------
    kind : str
        Its name, the same for all doubts with one cause: they are counted together. Lower case with underscores.
    text : str
        One clause that says what is doubtful, without the frame's name.
    remedy : str
        What to do about it.
    severity : Severity
        How bad it is.
    value : float
        How bad it is as a number, whose meaning the kind gives; nan where there is none.
    subject : str
        The star, source, region or file that it is about, beside the unit's frame.
    """

    kind: str
    text: str
    remedy: str = ""
    severity: Severity = attrs.field(default=Severity.DOUBT, converter=Severity)
    value: float = attrs.field(default=np.nan, converter=float)
    subject: str = ""
