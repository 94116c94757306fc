"""Drawing jobs and their execution in a worker process; this module is quick to import."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
from matplotlib.figure import Figure

from lcframework.report.plots.canvas import Canvas
from lcframework.report.plots.style import save

FOLDER = "plots"

Figures = Callable[[Path, Any], Iterator[Figure | Canvas]]
Drawn = tuple[list[str], str]  # plots that were drawn, and the error with the others


@attrs.frozen(eq=False)
class Job:
    """Plots that are drawn together: their files below ``plots/``, in the order in which `figures` yields them."""

    kind: str
    paths: tuple[str, ...]
    fingerprint: str
    figures: Figures
    payload: Any


def render(workdir: Path, job: Job) -> Drawn:
    """Draw one job's plots and save them."""
    done: list[str] = []
    try:
        for path, made in zip(job.paths, job.figures(workdir, job.payload), strict=True):
            save(made, workdir / FOLDER / path)
            done.append(path)
    except Exception as error:  # an error in a diagnostic plot must not stop the run
        return done, f"{type(error).__name__}: {error}"
    return done, ""
