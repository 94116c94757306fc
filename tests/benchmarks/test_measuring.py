"""Benchmarks measure the methods of stages, tasks and the driver by their names, which are still there."""

from __future__ import annotations

import programs

from lcframework.running.runner import Runner
from lcframework.work import Stage, Task

MEASURING = programs.benchmark("measuring")


def test_what_is_measured_exists() -> None:
    assert callable(Runner._run_stage)
    assert all(callable(getattr(Stage, method)) for method in MEASURING.OF_STAGE.values())
    assert all(callable(getattr(Task, method)) for method in MEASURING.OF_TASK.values())
    assert all(callable(getattr(owner, method)) for owner, method in MEASURING.OF_RUNNER.values())
