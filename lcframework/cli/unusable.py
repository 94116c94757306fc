"""Inputs that can't be used, for people: each reason once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: The number of inputs with one reason that are named.
_NAMED = 3
#: Figures and file names differ between inputs that share a reason.
_PARTICULAR = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def grouped(inputs: Iterable[tuple[str, str, str]]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return inputs by what they have in common.

    Parameters
    ----------
    inputs : iterable of (str, str, str)
        A stage or state, the input's name and the reason.

    Returns
    -------
    list of (str, list of (str, str))
        The stage or state, and name and reason of each input; reasons are equal but for names and figures in them.
    """
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for common, name, reason in inputs:
        alike = _PARTICULAR.sub("#", reason.replace(name, ""))
        groups.setdefault((common, alike), []).append((name, reason))
    return [(common, same) for (common, _), same in groups.items()]


def by_reason(inputs: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return a line for each stage and reason, with the input, or with how many share it and the first of them."""
    lines = []
    for stage, same in grouped(inputs):
        name, reason = same[0]
        if len(same) == 1:
            lines.append(f"{name} ({stage}): {reason}")
        else:
            lines.append(f"{len(same)} inputs ({first_names(same)}; {stage}){of_the_first(same)}: {reason}")
    return lines


def first_names(same: Sequence[tuple[str, str]]) -> str:
    """Return the first few names of inputs that share a reason."""
    return ", ".join([n for n, _ in same[:_NAMED]] + (["..."] if len(same) > _NAMED else []))


def of_the_first(same: Sequence[tuple[str, str]]) -> str:
    """Return what to write before the first input's reason, where the others differ from it in names or figures."""
    return "" if all(reason == same[0][1] for _, reason in same) else "; of the first"
