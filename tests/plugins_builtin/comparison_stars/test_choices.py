"""Which comparison stars the built-in choices take."""

from __future__ import annotations

import numpy as np
import pytest

from lcframework.config.toolbox import Tool
from lcframework.stars.choice import VARIABLE, FieldStars, UsableStars, chosen_stars
from lcframework.storage.tables import Star
from lcframework.types import CandidateStars, LcfError
from plugins_builtin.comparison_stars.choices import Nearest, Worth


def candidates(distance, signal, variable=None) -> CandidateStars:
    n = len(distance)
    return CandidateStars(np.array(distance, float), np.array(signal, float), np.full(n, 17.0), np.full(n, np.nan),
                          np.zeros(n, bool) if variable is None else np.array(variable))  # fmt: skip


def test_worth_takes_bright_stars_first_and_near_ones_among_those_alike():
    stars = candidates([10, 20, 30, 40, 50], [30, 500, 100, 2000, 110])
    # 500 and 2000 tell alike where bright stars scatter by 0.3 %; so do 100 and 110.
    assert Worth().choose(stars, 5).tolist() == [1, 3, 2, 4, 0]
    assert Worth(scatter=1e-4).choose(stars, 1).tolist() == [3]
    assert Nearest().choose(stars, 2).tolist() == [0, 1]


def test_variable_stars_come_last():
    stars = candidates([10, 20, 30], [900, 900, 50], [True, False, False])
    assert Worth().choose(stars, 2).tolist() == [1, 2]
    assert Worth().choose(stars, 3).tolist() == [1, 2, 0]


def tool(instance) -> Tool:
    return Tool("comparison_stars", "own", instance, 1)


def rows(signals, comments=()) -> UsableStars:
    out = []
    for i in range(len(signals)):
        star = Star(combined_footprint_hash="f", gaia_id=str(i), name="abcdefgh"[i], ra=0.0, dec=0.0, pmra=0.0,
                    pmdec=0.0, ref_epoch=2016.0, magnitude=15.0, distance_to_roi_arcsec=10.0 * i,
                    comment=VARIABLE if i in comments else "")  # fmt: skip
        out.append(star)
    return UsableStars(FieldStars(out), np.arange(len(signals)), np.array(signals, float))


def test_a_frame_s_stars_are_chosen_among_those_with_signal_and_named_by_distance():
    stars = rows([50, 400, 19, 800, 60, 300], comments=(3,))
    assert [s.name for s in chosen_stars(stars, 3, [], tool(Worth()))] == ["b", "e", "f"]
    assert [s.name for s in chosen_stars(stars, 3, ["b"], tool(Worth()))] == ["a", "e", "f"]
    assert [s.name for s in chosen_stars(stars, 3, [], tool(Nearest()))] == [s.name for s in chosen_stars(stars, 3, [])]
    assert [s.name for s in chosen_stars(stars, ["c", "a"], [], tool(Worth()))] == ["c", "a"]
    assert len(chosen_stars(stars, 20, [], tool(Worth()))) == 5


@pytest.mark.parametrize("answer", [[0, 0], [9], [-1], [], [0, 1, 2]])
def test_a_choice_that_is_none_names_the_plugin(answer):
    class Odd:
        def choose(self, candidates, wanted):
            return np.array(answer, int)

    with pytest.raises(LcfError, match=r"\[comparison_stars\] own: choose returned"):
        chosen_stars(rows([50, 400, 100, 800]), 2, [], tool(Odd()))
