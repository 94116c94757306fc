"""Inputs that can't be used, for people: each reason once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lcframework.work.reasons import first_names, grouped


def by_reason(inputs: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return a line for each stage and reason, with the input, or with how many share it and the first of them.

    Parameters
    ----------
    inputs : iterable of (str, str, str)
        The stage, the input's name and the reason.
    """
    lines = []
    for stage, same in grouped(inputs):
        name, reason = same[0]
        if len(same) == 1:
            lines.append(f"{name} ({stage}): {reason}")
        else:
            names = first_names([n for n, _ in same])
            lines.append(f"{len(same)} inputs ({names}; {stage}){of_the_first(same)}: {reason}")
    return lines


def of_the_first(same: Sequence[tuple[str, str]]) -> str:
    """Return what to write before the first input's reason, where the others differ from it in names or figures."""
    return "" if all(reason == same[0][1] for _, reason in same) else "; of the first"
