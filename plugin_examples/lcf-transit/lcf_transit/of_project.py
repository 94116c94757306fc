"""A transit of a project: its epochs, what the user knows of the planet, and the fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lcf_transit.model import Ephemeris, Prior
from lcframework.types import LcfError, source_names

if TYPE_CHECKING:
    from astropy.table import Table

    from lcf_transit.results import Fitted
    from lcframework import Project

#: A value and its error; an error of 0 says that the value is exact.
Known = tuple[float, float]

#: Points beyond so many robust standard deviations are left out.
_CLIP = 4.5
#: Limb darkening where none is given: that of Sun-like stars in red light, loosely.
_DARKENING = {"u1": Prior(0.4, 0.2, 0.0, 1.0), "u2": Prior(0.2, 0.2, -1.0, 1.0)}


def fit(
    project: Project, steps: int, seed: int, *, period: Known, epoch: Known,
    roi: str | None = None, source: str | None = None, band: str | None = None, instrument: str | None = None,
    number: int | None = None, window: float = 6.0, terms: tuple[str, ...] = (), **known: Known | None,
) -> Fitted:  # fmt: skip
    """Return the fitted transit of a project; arguments as the options of the command."""
    from lcf_transit.baseline import TIMES, best_fit, choose_baseline, outliers
    from lcf_transit.model import Transit
    from lcf_transit.problem import Problem
    from lcf_transit.results import Fitted
    from lcf_transit.sampling import sample
    from lcf_transit.series import series_of

    region = roi or next(iter(project.config.roi))
    curve = _one_group(project.light_curve_table(region), band, instrument)
    source = source or source_names(curve.colnames)[0]
    ephemeris = Ephemeris(epoch[0], period[0], epoch[1], period[1])
    number = _fullest(curve, ephemeris, window / 24) if number is None else number
    middle, _ = ephemeris.middle(number)
    exposure, positions = _of_frames(project, region, curve)
    series = series_of(curve, source, middle, window / 24, exposure, positions)
    _check_terms(terms, (*TIMES, *series.regressors))
    before, clipped = len(series), 0
    priors = priors_of(known, series.time[0] - middle, series.time[-1] - middle)
    for _ in range(3):
        problem = Problem(series, priors, Transit(series.time, exposure, middle, ephemeris.period))
        first = best_fit(problem, ("time",), problem.start())
        bad = outliers(problem, first, _CLIP)
        clipped = before - len(series)
        if not bad.any():
            break
        series = series.without(bad)
    tried = choose_baseline(problem, terms or None)
    samples = sample(problem, tried, steps, 32, seed)
    names = (str(curve["band"][0]), str(curve["instrument"][0]))
    return Fitted(region, source, *names, ephemeris, number, problem, tried, samples, clipped)


def priors_of(known: Mapping[str, Known | None], first: float, last: float) -> dict[str, Prior]:
    """Return the priors by what the user knows: (value, error) or None of each parameter.

    Parameters
    ----------
    known : mapping
        Of ``a_rs``, ``inclination`` or ``impact``, ``rp_rs``, ``u1``, ``u2``.
    first, last : float
        Its ends after the predicted middle, d: the transit's middle lies between them.
    """
    angle, impact, axis = known.get("inclination"), known.get("impact"), known.get("a_rs")
    if angle and impact:
        raise LcfError("--inclination and --impact say the same: give one of them")
    delay = Prior(float(np.clip(0.0, first, last)), np.inf, first, last)
    radius = known.get("rp_rs") or (0.1, 0.0)
    rp_rs = Prior(radius[0], radius[1] or np.inf, 1e-3, 0.6)
    a_rs = Prior(8.0, np.inf, 1.5, 100.0) if axis is None else Prior(*axis, 1.1, 1e4)
    b = Prior(0.3, np.inf, 0.0, 1.3)
    if impact:
        b = Prior(*impact, 0.0, 1.3)
    elif angle and axis is None:
        raise LcfError("--inclination needs --a-rs, to become an impact parameter")
    elif angle and axis:
        tilt, error = np.radians(angle)
        spread = np.hypot(axis[0] * np.sin(tilt) * error, np.cos(tilt) * axis[1])
        b = Prior(float(axis[0] * np.cos(tilt)), float(spread), 0.0, 1.3)
    given = {n: Prior(*found, p.low, p.high) if (found := known.get(n)) else p for n, p in _DARKENING.items()}
    return {"delay": delay, "rp_rs": rp_rs, "a_rs": a_rs, "b": b, **given}


def _one_group(curve: Table, band: str | None, instrument: str | None) -> Table:
    """Return the epochs of one instrument and band."""
    for column, wanted in (("band", band), ("instrument", instrument)):
        there = sorted({str(value) for value in curve[column]})
        if wanted is None and len(there) > 1:
            raise LcfError(f"the light curve has several: {', '.join(there)}. Choose one by --{column}")
        if wanted is not None and wanted not in there:
            raise LcfError(f'no epoch is of {column} "{wanted}"; there are {", ".join(there)}')
        curve = curve[np.array([wanted is None or str(value) == wanted for value in curve[column]])]
    return curve


def _fullest(curve: Table, ephemeris: Ephemeris, window: float) -> int:
    """Return the number of the transit around which there are most epochs."""
    time = np.asarray(getattr(curve["bjd_tdb"], "value", curve["bjd_tdb"]), float)
    time = time[np.isfinite(time)]
    if len(time) == 0:
        raise LcfError("the epochs have no barycentric time (bjd_tdb), which the time of a transit is given in")
    numbers, counts = np.unique(np.rint((time - ephemeris.epoch) / ephemeris.period).astype(int), return_counts=True)
    near = [np.sum(np.abs(time - ephemeris.middle(int(n))[0]) <= window) for n in numbers]
    return int(numbers[int(np.argmax(near if max(near) else counts))])


def _of_frames(project: Project, region: str, curve: Table) -> tuple[float, dict[str, Any]]:
    """Return the epochs' median exposure time in d, and where on the detector the region was."""
    from sqlmodel import select

    from lcframework.storage.tables import Frame, RoiInFrame

    with project.session() as session:
        exposures = dict(session.exec(select(Frame.id, Frame.exptime)).all())
        rows = session.exec(select(RoiInFrame.frame_id, RoiInFrame.x, RoiInFrame.y).where(RoiInFrame.roi == region))
        places = {i: (x, y) for i, x, y in rows}
    ids = [int(i) for i in curve["frame_id"]]
    x, y = (np.array([np.nan if v is None else v for v in (places.get(i, (None, None))[k] for i in ids)], float)
            for k in (0, 1))  # fmt: skip
    return float(np.median([exposures.get(i) or 0.0 for i in ids])) / 86400, {"x": x, "y": y}


def _check_terms(wanted: tuple[str, ...], there: tuple[str, ...]) -> None:
    for name in wanted:
        if name not in there:
            raise LcfError(f"--term {name}: the light curve has {', '.join(there)}")
