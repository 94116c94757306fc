"""The check of ephemerides."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from lcframework.protocols import Ephemeris, StatesPositionErrors
from lcframework.sky.geometry import separation
from lcframework.testing.conformance.contract import (
    Array,
    check_array,
    check_plugin_class,
    name_of,
    refused,
    require,
    unchanged,
)
from lcframework.types import Moments

_SECOND = 1.0 / 86400.0
#: Arcsec a second: the Moon moves by half of one.
_FASTEST = 3600.0
#: Arcsec by which one time may have another place where it is asked for among others.
_ROUNDING = 1e-6


def check_ephemeris(
    plugin: Ephemeris,
    ra: float = 150.1,
    dec: float = -28.3,
    mjd: Sequence[float] = (60310.4, 60310.1, 60310.2, 60310.30003),
    outside: Sequence[float] = (),
) -> tuple[Array, Array]:
    """Check an ephemeris, and return the places (ra, dec) that it gives.

    Parameters
    ----------
    plugin : Ephemeris
        An instance.
    ra, dec : float
        ``ra`` and ``dec`` of the region that it is of, degrees.
    mjd : sequence of float
        Times (UTC) for which it has places, in any order.
    outside : sequence of float
        Times for which it must say that it has none.

    Raises
    ------
    AssertionError
        States which requirement is not fulfilled, and what to do.
    UnusableInput
        Where it has no place for one of `mjd`.
    """
    who = name_of(plugin)
    check_plugin_class(plugin, Ephemeris)
    moments = _moments(mjd)
    verify = unchanged(who, {"mjd": moments.mjd})
    places = _places(plugin, ra, dec, moments, who)
    verify()
    _check_same(places, _places(plugin, ra, dec, moments, who), who, "asked twice for the same times")
    backwards = _places(plugin, ra, dec, _moments(list(mjd)[::-1]), who)
    _check_same(places, (backwards[0][::-1], backwards[1][::-1]), who, "asked for the same times in another order")
    for i, when in enumerate(mjd):
        alone = _places(plugin, ra, dec, _moments([when]), who)
        _check_same((places[0][i : i + 1], places[1][i : i + 1]), alone, who, "asked for one of the times alone")
    _places(plugin, ra, dec, _moments([]), who)
    later = _places(plugin, ra, dec, _moments(np.asarray(mjd) - _SECOND * np.sign(np.asarray(mjd) - min(mjd))), who)
    jump = float(separation(*places, *later).max())
    require(jump < _FASTEST, who, f"jumps by {jump:.0f} arcsec within a second; are its answers in degrees?")
    if isinstance(plugin, StatesPositionErrors):
        errors = check_array(plugin.position_errors(moments), (len(moments),), who, "position_errors")
        require(
            np.all(errors >= 0), who, f"position_errors returned {errors.min():.3g}; standard errors are not negative"
        )
    for when in outside:
        ask = functools.partial(plugin.positions, ra, dec, _moments([when]))
        told = refused(ask, who, f"MJD {when:g}")
        require(told, who, f"gives a place for MJD {when:g}, for which it can have none: raise UnusableInput")
    return places


def _moments(mjd: Any) -> Moments:
    times = np.array(mjd, float)
    times.setflags(write=False)  # as the core gives them
    return Moments(times, -24.6272, -70.4042, 2635.0)


def _places(plugin: Ephemeris, ra: float, dec: float, moments: Moments, who: str) -> tuple[Array, Array]:
    answer = plugin.positions(ra, dec, moments)
    require(isinstance(answer, tuple) and len(answer) == 2, who, "positions must return a tuple (ra, dec)")
    alpha = check_array(answer[0], (len(moments),), who, "the right ascensions")
    delta = check_array(answer[1], (len(moments),), who, "the declinations")
    require(np.all((alpha >= 0) & (alpha <= 360)), who, "right ascensions must be degrees from 0 to 360")
    require(np.all(np.abs(delta) <= 90), who, "declinations must be degrees from -90 to 90")
    return alpha, delta


def _check_same(one: tuple[Array, Array], other: tuple[Array, Array], who: str, what: str) -> None:
    apart = float(separation(*one, *other).max())
    require(
        apart <= _ROUNDING,
        who,
        f"{what}, gives places {apart:.3g} arcsec away: an answer must depend on its options and on each time alone, "
        "not on what was asked before or beside it",
    )
