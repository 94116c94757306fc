"""Selections of values, and the letters of stars."""

from __future__ import annotations

import numpy as np
import pytest

from lcframework.config.sections import Selection
from lcframework.stars.names import give_names, index_of, letter
from lcframework.stars.selection import CHI2_FLOOR, clipping_limit, keep, limits


def test_everything_finite_is_kept_without_a_selection():
    assert keep(np.array([1.0, np.nan, np.inf, -5.0]), Selection()).tolist() == [True, False, False, True]


def test_interval():
    values = np.array([0.0, 0.5, 1.5, 1.6, np.nan])
    assert keep(values, Selection(between=(0.0, 1.5))).tolist() == [True, True, True, False, False]


def test_clipping_takes_the_high_side_alone():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(1.0, 0.1, 200), [5.0, 2.0, 0.0, np.nan]])
    kept = keep(values, Selection(sigma_clip=4.0))
    assert kept[-4:].tolist() == [False, False, True, False]
    assert kept[:200].sum() >= 198


def test_clipping_of_equal_few_and_no_values():
    # Values that agree exactly say nothing of their scatter.
    assert keep(np.array([1.0, 1.0, 1.0, 3.0]), Selection(sigma_clip=3.0)).all()
    assert keep(np.array([7.0]), Selection(sigma_clip=3.0)).all()
    assert keep(np.zeros(0), Selection(sigma_clip=3.0)).shape == (0,)
    assert not keep(np.array([np.nan, np.nan]), Selection(sigma_clip=3.0)).any()


@pytest.mark.parametrize("count", [3, 4, 5, 7, 9, 12, 20, 60])
def test_few_values_of_pure_noise_are_not_clipped_more_often_than_many(count):
    rng = np.random.default_rng(count)
    trials = 60_000 // count
    rejected = sum(int((~keep(v, Selection(sigma_clip=3.0))).sum()) for v in rng.normal(1.0, 0.1, (trials, count)))
    expected = 0.00135 * trials * count  # 81: the tail of the normal law beyond 3 sigma
    # 1.6 is the calibration's accuracy, and three times the counting error comes on top
    assert rejected < 1.6 * expected + 3.0 * np.sqrt(expected)
    # five and more values also lose no fewer than they should; four are spared, as their scale is the least certain
    assert count < 5 or rejected > 0.6 * expected - 3.0 * np.sqrt(expected)


def test_gross_outliers_among_few_values_are_clipped_all_the_same():
    assert keep(np.array([1.0, 1.1, 0.95, 50.0]), Selection(sigma_clip=4.0)).tolist() == [True, True, True, False]
    values = np.array([0.98, 1.02, 1.0, 1.05, 0.96, 1.01, 0.99, 1.03, 2.0])
    assert keep(values, Selection(sigma_clip=4.0)).tolist() == [True] * 8 + [False]


def test_a_floor_spares_good_fits_among_better_ones():
    chi2 = np.concatenate([np.full(25, 1.01) + 0.01 * np.arange(25) % 0.03, [1.2, 1.47, 1.6]])
    assert not keep(chi2, Selection(sigma_clip=4.0))[-3:].any()
    assert keep(chi2, Selection(sigma_clip=4.0), CHI2_FLOOR)[-3:].tolist() == [True, True, False]
    assert limits(chi2, Selection(sigma_clip=4.0), CHI2_FLOOR) == (-np.inf, CHI2_FLOOR)
    # An interval is the user's own.
    assert not keep(chi2, Selection(between=(0.0, 1.3)), CHI2_FLOOR)[-2:].any()


def test_limits_are_those_that_a_selection_kept_by():
    values = np.concatenate([np.random.default_rng(1).normal(2.0, 0.1, 50), [9.0]])
    low, high = limits(values, Selection(sigma_clip=4.0))
    assert low == -np.inf
    assert (keep(values, Selection(sigma_clip=4.0)) == (values <= high)).all()
    assert limits(values[:0], Selection(sigma_clip=4.0)) == (-np.inf, np.inf)


def test_the_limit_of_many_values_is_that_of_the_normal_law():
    assert clipping_limit(3.0, 100_000) == pytest.approx(3.0, abs=1e-3)
    assert clipping_limit(3.0, 1) == np.inf


def test_letters():
    names = [letter(i) for i in range(26 + 26 * 26 + 2)]
    assert names[:3] == ["a", "b", "c"]
    assert names[25:28] == ["z", "aa", "ab"]
    assert names[26 + 26 * 26 :] == ["aaa", "aab"]
    assert len(set(names)) == len(names)
    assert [index_of(n) for n in names] == list(range(len(names)))


def test_names_are_given_once_and_never_again():
    first = give_names(["s1", "s2", "s3"], {})
    assert first == {"s1": "a", "s2": "b", "s3": "c"}
    # A nearer star appears, another goes: nobody is renamed, no letter is used twice.
    second = give_names(["s0", "s1", "s3"], first)
    assert second == {"s1": "a", "s2": "b", "s3": "c", "s0": "d"}
    assert give_names(["s9"], second)["s9"] == "e"
    many = give_names([f"s{i}" for i in range(12_000)], {})
    assert len(set(many.values())) == 12_000
    assert give_names(["new"], many)["new"] not in many.values()
