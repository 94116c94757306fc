"""Reasons and names in messages: what inputs share is said once, and of many names the first few are given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: The number of names that are given.
_NAMED = 3
#: Figures differ between inputs that share a reason, as their names do.
_PARTICULAR = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def first_names(names: Sequence[str]) -> str:
    """Return the first few of some names."""
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def alike(reason: str, name: str) -> str:
    """Return what is left of an input's reason without its name and figures: it is shared."""
    return _PARTICULAR.sub("#", reason.replace(name, ""))


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
        groups.setdefault((common, alike(reason, name)), []).append((name, reason))
    return [(common, same) for (common, _), same in groups.items()]
