"""Draws the plots that are missing or out of date; many plots are drawn in worker processes."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from lcframework.executors.processes import pool_of
from lcframework.project import Project
from lcframework.report.plots.jobs import KINDS, jobs
from lcframework.report.plots.rendering import FOLDER, Drawn, Job, render
from lcframework.report.results import Results, read_results
from lcframework.storage.files import atomic
from lcframework.storage.seals import wrong_size
from lcframework.types import LcfError

log = logging.getLogger(__name__)

INDEX = "index.json"
#: With fewer plots, the start of workers would take longer than the drawing.
_WORTH_WORKERS = 48
#: Modules that workers need.
_IMPORTED = ("lcframework.report.plots.jobs",)


def draw(
    project: Project,
    workers: int = 0,
    kinds: Iterable[str] | None = None,
    only_missing: bool = True,
    results: Results | None = None,
) -> list[Path]:
    """Draw a project's diagnostic plots into ``workdir/plots/``.

    Plots of frames and stars that are no longer in use are removed.

    Parameters
    ----------
    project : Project
        The project.
    workers : int
        Processes; 0: one per core. Few plots are drawn in this process.
    kinds : iterable of str, optional
        Some of :data:`~lcframework.report.plots.jobs.KINDS`; all where not given.
    only_missing : bool
        Whether to keep plots whose products have not changed.
    results : Results, optional
        The contents of the database, where they have been read already.

    Returns
    -------
    list of Path
        The new plots. A plot that can't be drawn is logged; the others are drawn.

    Raises
    ------
    LcfError
        Where a kind is unknown, there is no database yet, or a process was killed.
    """
    wanted = list(KINDS if kinds is None else kinds)
    unknown = [k for k in wanted if k not in KINDS]
    if unknown:
        raise LcfError(f"there is no kind of plot {', '.join(unknown)}; kinds: {', '.join(KINDS)}")
    results = results or read_results(project)
    found = jobs(project, results, wanted)
    folder = project.workdir / FOLDER
    index = read_index(folder)
    _remove_others(folder, index, found, wanted)
    todo = [j for j in found if not only_missing or not _current(folder, index, j)]
    drawn: list[Path] = []
    try:
        for job, (paths, problem) in zip(todo, _render_all(project.workdir, todo, workers), strict=True):
            if problem:
                log.warning("the plot %s can't be drawn: %s", job.paths[len(paths)], problem)
            index.update({path: {"kind": job.kind, "fingerprint": job.fingerprint} for path in paths})
            drawn += [folder / path for path in paths]
    except BrokenProcessPool:
        raise LcfError(
            "a process that drew plots ended early, perhaps for want of memory: draw with fewer workers. In a script "
            'of your own, draw below `if __name__ == "__main__":`, or with workers=1.'
        ) from None
    finally:
        if todo or not (folder / INDEX).exists():
            _write_index(folder, index)
    return drawn


def read_index(folder: Path) -> dict[str, dict[str, str]]:
    """Return the index of the existing plots; empty where the file is missing or damaged."""
    try:
        content = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_index(folder: Path, index: dict[str, dict[str, str]]) -> None:
    with atomic(folder / INDEX) as temporary:
        temporary.write_text(json.dumps(dict(sorted(index.items())), indent=1) + "\n", encoding="utf-8")


def _current(folder: Path, index: dict[str, dict[str, str]], job: Job) -> bool:
    return all(
        index.get(path, {}).get("fingerprint") == job.fingerprint and not wrong_size(folder, path, None)
        for path in job.paths
    )


def _remove_others(folder: Path, index: dict[str, dict[str, str]], found: list[Job], kinds: list[str]) -> None:
    keep = {path for job in found for path in job.paths}
    stale = [path for path, entry in index.items() if entry.get("kind") in kinds and path not in keep]
    for path in stale:
        del index[path]
        target = (folder / path).resolve()
        if target.is_relative_to(folder.resolve()):
            target.unlink(missing_ok=True)
    if stale:
        _write_index(folder, index)


def _render_all(workdir: Path, todo: list[Job], workers: int) -> Iterator[Drawn]:
    count = min(workers or os.cpu_count() or 1, max(1, len(todo) // 4))
    if count == 1 or sum(len(j.paths) for j in todo) < _WORTH_WORKERS:
        for job in todo:
            yield render(workdir, job)
        return
    pool = pool_of(count, _IMPORTED)
    try:
        yield from pool.map(render, [workdir] * len(todo), todo)
    finally:
        pool.shutdown(cancel_futures=True)
