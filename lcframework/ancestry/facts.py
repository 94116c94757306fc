"""An ancestry as values: sections with their data for programs, and their lines for people; numbers as texts."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from lcframework.types import redacted
from lcframework.types.secrets import HIDDEN

#: The version of the structure that ``lcf why --json`` prints.
FORMAT = 1
#: MJD 0.
_MJD_EPOCH = dt.datetime(1858, 11, 17, tzinfo=dt.UTC)
_UNKNOWN = "unknown"


@attrs.frozen
class Line:
    """One fact for people.

    Attributes
    ----------
    label : str
        What it is.
    text : str
        The fact.
    problem : bool
        Whether it deserves a look before all others: a file that changed, a number that does not follow.
    """

    label: str
    text: str
    problem: bool = False


@attrs.frozen(eq=False)
class Section:
    """One step of the way from the raw file to the flux.

    Attributes
    ----------
    name : str
        Its name in ``--json``.
    title : str
        Its heading.
    data
        Everything, as values that JSON can hold; None where the frame did not come so far.
    lines : tuple of Line
        The few facts that matter.
    more : tuple of Line
        What ``--full`` adds.
    """

    name: str
    title: str
    data: Any
    lines: tuple[Line, ...] = ()
    more: tuple[Line, ...] = ()


@attrs.frozen(eq=False)
class Ancestry:
    """The ancestry of a source's flux in a frame; or, where there is none, why.

    Attributes
    ----------
    region, source : str
        Whose flux.
    frame_id : int
        The row of ``frames``.
    frame : str
        The frame's name.
    exists : bool
        Whether the light curve has the number.
    sections : tuple of Section
        In the order of the way, the answer first.
    """

    region: str
    source: str
    frame_id: int
    frame: str
    exists: bool
    sections: tuple[Section, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as the structure that ``lcf why --json`` prints."""
        head = {"format": FORMAT, "region": self.region, "source": self.source, "exists": self.exists,
                "frame": {"id": self.frame_id, "name": self.frame}, "worth_a_look": self.problems}  # fmt: skip
        return plain({**head, **{s.name: s.data for s in self.sections}})  # type: ignore[no-any-return]

    @property
    def problems(self) -> list[str]:
        """Where something deserves a look before all else: the sections, and what it is in each."""
        found = [(s.title, line.label) for s in self.sections for line in s.lines if line.problem]
        return [f"{title}: {label}" for title, label in dict.fromkeys(found)]

    @property
    def title(self) -> str:
        """Whose number it is."""
        return f"{self.source} of {self.region} in {self.frame}"


def plain(value: Any) -> Any:
    """Return a value that JSON can hold: nan and infinities as None, NumPy's numbers as Python's, secrets hidden."""
    if isinstance(value, Mapping):
        return {str(k): _of_key(str(k), v) if isinstance(v, str) else plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, int | bool) else redacted(str(value))


def _of_key(key: str, text: str) -> str:
    """Return a text without secrets: its key may say that all of it is one."""
    return redacted(text) if redacted(f'{key}="x"') == f'{key}="x"' else HIDDEN


# ---------------------------------------------------------------- numbers and times as texts


def known(value: Any) -> bool:
    """Return whether a value is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def figures(value: float | None, count: int = 4) -> str:
    """Return a number with `count` significant figures, without an exponent where it can be read without one."""
    if value is None or not math.isfinite(value):
        return _UNKNOWN
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if not -5 <= size < 7:
        return f"{value:.{count - 1}e}"
    return f"{value:.{max(0, count - 1 - size)}f}"


def with_error(value: float, error: float, unit: str) -> str:
    """Return a value with its error, both to four figures of the error."""
    if not known(error) or error <= 0:
        return f"{figures(value, 7)} {unit}"
    count = max(0, 3 - math.floor(math.log10(error)))
    return f"{value:.{count}f} ± {error:.{count}f} {unit}"


def decimals(value: float | None, count: int, unit: str = "") -> str:
    """Return a number with `count` decimals and a unit."""
    return _UNKNOWN if value is None or not math.isfinite(value) else f"{value:.{count}f}{f' {unit}' if unit else ''}"


def percent(share: float | None) -> str:
    """Return a share in per cent."""
    return _UNKNOWN if share is None or not math.isfinite(share) else f"{figures(100 * share, 2)} %"


def counted(count: int, what: str) -> str:
    """Return how many there are of something, in words."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def date_of(mjd: float | None) -> str:
    """Return a MJD (UTC) as date and time, to the second."""
    if mjd is None or not math.isfinite(mjd):
        return _UNKNOWN
    return f"{(_MJD_EPOCH + dt.timedelta(days=mjd)).strftime('%Y-%m-%d %H:%M:%S')} UTC"


def mjd_of(moment: dt.datetime) -> float:
    """Return a time as MJD; one without a zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return (aware - _MJD_EPOCH) / dt.timedelta(days=1)


def moment_of(nanoseconds: int) -> str:
    """Return the time of a file in words."""
    return dt.datetime.fromtimestamp(nanoseconds / 1e9, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def some(lines: Sequence[Line | None]) -> tuple[Line, ...]:
    """Return the lines that there are."""
    return tuple(line for line in lines if line is not None and line.text)
