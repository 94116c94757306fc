"""Later stages that want an accelerator load what they need while workers are busy."""

from __future__ import annotations

import threading
import time

import pytest

from lcframework.project import Project


@pytest.fixture
def said(toys, monkeypatch):
    """Return a function that runs the toys, their sum on an accelerator, and returns what that one did, and where."""

    def run(workers, failure=None):
        toys.write("size = 4", f"workers = {workers}")
        project = Project.open(toys.path)
        (adding,) = (type(t) for s in project.stages if s.name == "toy_sum" for t in s.tasks().values())
        words = []

        def warm_up(self):
            time.sleep(0.5)
            words.append(("warm", threading.current_thread() is threading.main_thread()))
            if failure:
                raise failure

        def load(self, unit, original=adding.load):
            words.append(("load", threading.current_thread() is threading.main_thread()))
            return original(self, unit)

        for name, value in (("accelerator", True), ("light", False), ("warm_up", warm_up), ("load", load)):
            monkeypatch.setattr(adding, name, value)
        assert project.run(stop="toy_sum").exit_code == 0
        assert (toys.folder / "sum").read_text() == "14"
        return words

    return run


@pytest.mark.parametrize("failure", [None, RuntimeError("no device")])
def test_a_stage_is_warmed_up_in_a_thread_and_waits_for_it(said, failure):
    assert said(2, failure) == [("warm", False), ("load", True)]


def test_one_worker_means_one_thread(said):
    assert said(1) == [("load", True)]
