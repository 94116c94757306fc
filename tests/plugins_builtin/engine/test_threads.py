"""Work side by side: in order, and with the same answers whatever the number of threads."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from lcframework.testing.regions import quad, simulate
from plugins_builtin.engine.threads import in_order, threads
from plugins_builtin.roi_models.joint import Joint


def test_results_come_in_order_whatever_finishes_first(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    seen = set()

    def slow_first(i):
        time.sleep(0.02 if i % 3 == 0 else 0.0)
        seen.add(threading.get_ident())
        return i

    assert list(in_order(slow_first, range(20))) == list(range(20))
    assert len(seen) > 1


def test_results_are_not_computed_far_ahead(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    begun = []
    results = in_order(lambda i: begun.append(i) or i, range(1000))
    next(results)
    time.sleep(0.05)
    assert len(begun) <= 8


def test_an_error_is_raised_where_its_result_is_due(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    results = in_order(lambda i: 1 // (3 - i), range(6))
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize(("stated", "count"), [("1", 1), ("5", 5)])
def test_a_worker_s_limit_holds(monkeypatch, stated, count):
    monkeypatch.setenv("OMP_NUM_THREADS", stated)
    assert threads() == count


@pytest.mark.parametrize("stated", ["", "many", "0"])
def test_without_a_limit_all_cores_are_used(monkeypatch, stated):
    monkeypatch.setenv("OMP_NUM_THREADS", stated)
    assert threads() >= 1


@pytest.mark.slow
def test_the_number_of_threads_changes_no_light_curve(monkeypatch):
    cutouts, sources, _ = simulate(quad(5, 3), 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone = Joint().fit(cutouts, sources)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    together = Joint().fit(cutouts, sources)
    np.testing.assert_array_equal(alone.flux, together.flux)
    np.testing.assert_array_equal(alone.covariance, together.covariance)
    np.testing.assert_array_equal(alone.common_covariance, together.common_covariance)
