"""Inputs that can't be used, for people: each reason once."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: The number of inputs with one reason that are named.
_NAMED = 3
#: Figures and file names differ between inputs that share a reason.
_PARTICULAR = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def by_reason(inputs: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return a line for each stage and reason, with the input, or with how many share it and the first of them.

    Parameters
    ----------
    inputs : iterable of (str, str, str)
        The stage, the input's name and the reason.
    """
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for stage, name, reason in inputs:
        alike = _PARTICULAR.sub("#", reason.replace(name, ""))
        groups.setdefault((stage, alike), []).append((name, reason))
    lines = []
    for (stage, _), same in groups.items():
        name, reason = same[0]
        if len(same) == 1:
            lines.append(f"{name} ({stage}): {reason}")
        else:
            one = "" if all(r == reason for _, r in same) else "; of the first"
            names = ", ".join([n for n, _ in same[:_NAMED]] + (["..."] if len(same) > _NAMED else []))
            lines.append(f"{len(same)} inputs ({names}; {stage}){one}: {reason}")
    return lines
