"""When a watch runs, waits, tries again and ends: with runs that only note what they were given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from lcframework.project import Project
from lcframework.storage.lock import WorkdirLocked, hold
from lcframework.testing import example_project
from lcframework.types import LcfError
from lcframework.watching import watcher
from lcframework.watching.batches import After, Batch
from lcframework.watching.watcher import LONGEST_WAIT, News, Plan, Stopped, Trouble, Waiting, Watcher


class Scene:
    """A project without products, and a watch over it whose pauses do what the test says."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project = example_project(folder, finished=False)
        self.raw = folder / "raw"
        self.news: list[News] = []
        self.runs: list[list[str]] = []
        self.admitted: list[set[str]] = []
        self.answers: list[Batch | LcfError] = []
        self.waits: list[float] = []
        monkeypatch.setattr(watcher, "run_batch", self._run)

    def _run(
        self, project: Project, new: Sequence[Path], admitted: Collection[Path], after: After, memory: Any, stop: Any
    ) -> Batch:
        self.runs.append([p.name for p in new])
        self.admitted.append({p.name for p in admitted})
        answer = self.answers.pop(0) if self.answers else Batch(tuple(p.name for p in new))
        if isinstance(answer, LcfError):
            raise answer
        return answer

    def frame(self, name: str, whole: bool = True) -> Path:
        path = self.raw / name
        fits.PrimaryHDU(np.full((30, 30), len(name), np.int16)).writeto(path, overwrite=True)
        if not whole:
            path.write_bytes(path.read_bytes()[:3000])
        return path

    def watch(
        self, *steps: Callable[[], object], first: int = 1, settle: float = 0.0, patience: float = 1e9
    ) -> Stopped:
        """Watch; each pause does a step, and the last one asks for a stop."""
        todo = list(steps)
        asked: list[bool] = []

        def pause(seconds: float) -> None:
            self.waits.append(seconds)
            if todo:
                todo.pop(0)()
            else:
                asked.append(True)

        plan = Plan(1.0, settle, patience, first)
        return Watcher(self.project, plan, After(), self.news.append, pause, lambda: bool(asked)).watch()


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path / "project", monkeypatch)


def nothing() -> None:
    """Let time pass."""


def test_each_whole_file_once_and_half_ones_held_back(scene: Scene) -> None:
    def grow() -> None:
        scene.frame("b.fits")

    ended = scene.watch(
        lambda: scene.frame("a.fits"), lambda: scene.frame("b.fits", whole=False), lambda: scene.frame("c.fits.part"),
        grow, nothing,
    )  # fmt: skip
    assert scene.runs == [["a.fits"], ["b.fits"]]
    assert scene.admitted == [{"a.fits"}, {"a.fits", "b.fits"}]
    assert (ended.ending, ended.batches, ended.taken, ended.unfinished) == ("signal", 2, 2, False)
    told = [n for n in scene.news if isinstance(n, Waiting)]
    assert told[0].why == "waits for frames"
    assert "bytes" in told[1].files["b.fits"]


def test_a_broken_file_does_not_keep_the_others_waiting(scene: Scene) -> None:
    scene.frame("broken.fits", whole=False)
    ended = scene.watch(lambda: scene.frame("a.fits"), nothing)
    assert scene.runs == [["a.fits"]]
    assert list(ended.waiting) == ["broken.fits"]
    scene.watch(nothing, patience=0.0)
    assert scene.runs[1] == ["a.fits", "broken.fits"]  # after all patience the run records what is wrong with it


def test_the_first_frames_are_waited_for(scene: Scene) -> None:
    ended = scene.watch(lambda: scene.frame("a.fits"), lambda: scene.frame("b.fits"), nothing, first=2)
    assert scene.runs == [["a.fits", "b.fits"]]
    assert ended.taken == 2


def test_failures_are_tried_again_after_longer_and_longer(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(watcher.time, "monotonic", lambda: now[0])

    def later() -> None:
        now[0] += 1.0

    scene.frame("a.fits")
    scene.answers += [LcfError("the drive is away")] * 3 + [Batch(failed=True, trouble=("no star is measured",))]
    scene.watch(*[later] * 40)
    troubles = [n for n in scene.news if isinstance(n, Trouble)]
    assert [t.seconds for t in troubles] == [2.0, 4.0, 8.0, 16.0]
    assert troubles[0].why == "the drive is away"
    assert scene.runs == [["a.fits"]] * 5
    assert LONGEST_WAIT == 600.0


def test_what_failed_in_the_end_is_unfinished(scene: Scene) -> None:
    (scene.raw / "a.fits").touch()
    scene.raw.rename(scene.raw.with_name("elsewhere"))
    ended = scene.watch(nothing)
    assert ended.unfinished
    assert "is not a folder" in next(n.why for n in scene.news if isinstance(n, Trouble))


def test_a_run_beside_it_is_waited_for(scene: Scene) -> None:
    scene.frame("a.fits")
    scene.answers += [WorkdirLocked("another run holds it")] * 2
    ended = scene.watch(nothing, nothing)
    assert scene.runs == [["a.fits"]] * 3
    assert [n.why for n in scene.news if isinstance(n, Waiting)] == ["another run holds it"]
    assert (ended.batches, ended.taken) == (1, 1)


def test_a_lock_is_told_apart_from_other_errors(tmp_path: Path) -> None:
    with hold(tmp_path), pytest.raises(WorkdirLocked, match="another run holds"), hold(tmp_path):
        pass


def test_a_changed_project_file_is_a_reason_to_run(scene: Scene) -> None:
    scene.frame("a.fits")
    text = scene.project.read_text()
    scene.watch(nothing, lambda: scene.project.write_text(text + "\n[psf]\nstars = 5\n"), nothing)
    assert scene.runs == [["a.fits"], []]
    # A wrong one is told, and the watch goes on once it is mended.
    scene.watch(lambda: scene.project.write_text("[psf]\nstar = 5\n"), lambda: scene.project.write_text(text))
    assert any("stars" in n.why for n in scene.news if isinstance(n, Trouble))


def test_it_ends_when_no_more_frames_come(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(watcher.time, "monotonic", lambda: now[0])

    def pause(seconds: float) -> None:
        now[0] += seconds

    scene.frame("a.fits")
    plan = Plan(1.0, 0.0, 60.0, first=3, idle=10.0)
    ended = Watcher(scene.project, plan, After(), scene.news.append, pause, lambda: False).watch()
    assert ended.ending == "idle"
    assert scene.runs == [["a.fits"]]  # fewer than it was to begin with: what there is counts in the end
    assert 10.0 <= now[0] < 13.0
