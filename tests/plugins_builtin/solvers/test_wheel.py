from __future__ import annotations

import builtins

import numpy as np
import pytest
from tycho2_field import HAS_INDEX, HINT, INDEX, SHAPE, error_of, field, header, no_field

from lcframework.types import NeedMissing, NotSolved, PlateSolution, SolveHint
from plugins_builtin.solvers.wheel import Wheel

with_index = pytest.mark.skipif(not HAS_INDEX, reason="needs index files: apt install astrometry-data-tycho2")


@pytest.fixture
def engine():
    return pytest.importorskip("astrometry", reason="not installed: pip install 'lcframework[solve]'")


@with_index
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("angle", "parity"), [(179.5, -1), (33.0, 1)])
@pytest.mark.parametrize("sip_order", [0, 1])
def test_solves_simulated_sources(angle, parity, sip_order):
    truth = header(angle, parity)
    solution = Wheel(index_dir=INDEX, sip_order=sip_order).solve(field(truth), SHAPE, HINT)
    assert isinstance(solution, PlateSolution)
    error = error_of(solution, truth)
    assert np.median(error) < 0.1
    assert error.max() < 0.3
    assert solution.matched > 10


@with_index
@pytest.mark.usefixtures("engine")
def test_sources_of_no_sky_are_not_solved():
    answer = Wheel(index_dir=INDEX).solve(no_field(), SHAPE, SolveHint(31.04, 46.69, 0.3, (5.0, 5.3)))
    assert isinstance(answer, NotSolved)
    assert "pixel_scale" in answer.reason


@pytest.mark.usefixtures("engine")
def test_index_files_are_a_need(tmp_path):
    for folder in (None, tmp_path):
        with pytest.raises(NeedMissing, match="index_dir"):
            Wheel(index_dir=folder).solve(field(header()), SHAPE, HINT)


@pytest.mark.usefixtures("engine")
def test_too_few_sources():
    assert "3 sources" in Wheel().solve(field(header())[:3], SHAPE, HINT).reason


def test_the_package_is_a_need(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "astrometry":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NeedMissing, match=r"lcframework\[solve\]"):
        Wheel().solve(field(header()), SHAPE, HINT)
