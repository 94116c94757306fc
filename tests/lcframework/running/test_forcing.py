"""``--force``: what is made again, also where a forced run was stopped or failed."""

from __future__ import annotations

import pytest

from lcframework.project import Project
from lcframework.types import LcfError


def test_force_makes_again_what_rests_on_it(toys):
    toys.run()
    assert toys.done(force=["toy"]) == {"toy": 3, "toy_sum": 1}
    assert toys.done(force=["toy_sum"]) == {"toy_sum": 1}
    with pytest.raises(LcfError, match=r'"toys" is not a stage; did you mean "toy"'):
        toys.run(force=["toys"])


def test_forced_run_that_was_stopped_is_finished_by_the_next(toys, stop_after):
    toys.run()
    before = toys.tokens()
    assert toys.run(force=["toy", "toy_sum"], listeners=stop_after("unit 1")).interrupted
    assert [p.why for p in toys.status()["toy"].pending] == [("to be made again: --force",)]
    assert toys.status()["toy"].made == 2
    assert toys.done() == {"toy": 1, "toy_sum": 1}
    assert toys.made() == {"u0": 2, "u1": 2, "u2": 2}
    after = toys.tokens()
    assert all(after[unit] != before[unit] for unit in before)  # what rests on any of them is out of date
    assert toys.done() == {}


def test_forcing_again_after_a_stop_goes_on_with_what_is_left(toys, stop_after):
    toys.run()
    toys.run(force=["toy"], listeners=stop_after("unit 0"))
    plan = Project.open(toys.path).plan(stop="toy_sum", force=["toy"])
    assert [len(s.pending) for s in plan if s.name == "toy"] == [2]
    assert toys.done(force=["toy"]) == {"toy": 2, "toy_sum": 1}
    assert toys.made() == {"u0": 2, "u1": 2, "u2": 2}
    assert toys.done(force=["toy"]) == {"toy": 3, "toy_sum": 1}


def test_forced_unit_that_fails_stays_forced(toys):
    toys.run()
    before = toys.tokens()
    toys.plan(u1="bug")
    assert toys.run(force=["toy"]).bugs
    toys.plan()
    assert toys.done()["toy"] == 1
    assert toys.tokens()["u1"] != before["u1"]


def test_forcing_again_after_a_failure_makes_all_again(toys):
    """A unit that failed is left from a run that came to its end: there is nothing to go on with."""
    toys.run()
    toys.plan(u1="bug")
    assert toys.run(force=["toy"]).bugs
    toys.plan()
    plan = Project.open(toys.path).plan(stop="toy_sum", force=["toy"])
    assert [len(s.pending) for s in plan if s.name == "toy"] == [3]
    assert toys.done(force=["toy"])["toy"] == 3


def test_failure_of_a_run_that_went_on_with_another_is_no_stop(toys, stop_after):
    toys.run()
    toys.run(force=["toy"], listeners=stop_after("unit 0"))
    toys.plan(u2="bug")
    assert toys.run(force=["toy"]).bugs
    assert toys.made() == {"u0": 2, "u1": 2, "u2": 1}
    toys.plan()
    assert toys.done(force=["toy"])["toy"] == 3


@pytest.mark.parametrize(("first", "then", "count"), [({"rois": "X"}, {}, 3), ({}, {"rois": "X"}, 2)])
def test_forcing_another_part_after_a_stop_makes_all_of_it(toys, stop_after, first, then, count):
    """What a stopped run was not asked for is not done; what it made is made again, as asked now."""
    toys.run()
    assert toys.run(force=["toy"], listeners=stop_after("unit 0"), **first).interrupted
    plan = Project.open(toys.path).plan(stop="toy_sum", force=["toy"], **then)
    assert [len(s.pending) for s in plan if s.name == "toy"] == [count]
    assert toys.done(force=["toy"], **then)["toy"] == count


def test_forced_stage_must_be_one_that_runs(toys):
    toys.run()
    with pytest.raises(LcfError, match="toy_sum is to be forced, but it does not lie between"):
        toys.run(stop="toy", force=["toy_sum"])
