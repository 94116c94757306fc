"""The check of rules for settings, and simulated evidence with known truth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS

from lcframework.protocols import SettingRule
from lcframework.testing.conformance.contract import check_plugin_class, name_of, require
from lcframework.types import (
    FWHM_PER_SIGMA,
    SOURCES,
    CatalogLimits,
    Decision,
    Evidence,
    FrameEvidence,
    MeasuredGain,
    Region,
)

#: Of the simulated frames: their size and scale, what they are like, and the magnitude of 1 e-/s.
SIZE, SCALE, RMS, EXPTIME, ZEROPOINT = 240, 2.0, 0.5, 30.0, 22.0
_RA, _DEC = 150.0, 20.0


def example_evidence(
    frames: int = 24, seeing: float = 3.0, drift: float = 0.0, stars: int = 60, halo: float = 0.0, seed: int = 5
) -> Evidence:
    """Return evidence of simulated frames: a region with one source in the middle of a field of stars.

    Parameters
    ----------
    frames : int
        How many.
    seeing : float
        FWHM of their stars, pixels; it varies by 5 %.
    drift : float
        Rms in pixels of the field's position.
    stars : int
        In the field, with magnitudes from 12 to 17.
    halo : float
        Light in the ring around the region's source, in units of the source's.
    seed : int
        Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    xy = rng.uniform(12, SIZE - 12, (stars, 2))
    magnitude = rng.uniform(12.0, 17.0, stars)
    sky = _wcs((0.0, 0.0)).all_pix2world(xy, 0)
    catalogue = Table({
        "source_id": [str(i) for i in range(stars)], "ra": sky[:, 0], "dec": sky[:, 1], "magnitude": magnitude,
    })  # fmt: skip
    made = [
        _frame(i, seeing * rng.normal(1.0, 0.05), rng.normal(0.0, drift / np.sqrt(2), 2) if drift else np.zeros(2), xy,
               magnitude, halo, rng)
        for i in range(frames)
    ]  # fmt: skip

    def asked(region: Region, limits: CatalogLimits) -> Table:
        apart = np.hypot((catalogue["ra"] - region.ra) * np.cos(np.radians(region.dec)), catalogue["dec"] - region.dec)
        return catalogue[apart <= region.radius]

    gain = MeasuredGain(2.5, 0.05, (1000.0, 5000.0), 20.0, 900, 8)
    return Evidence("camera", tuple(made), {"TARGET": np.array([[_RA, _DEC], [_RA, _DEC]])}, {}, lambda: gain, asked)


def _wcs(shift: Any) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [_RA, _DEC], [SIZE / 2 + 1 + shift[0], SIZE / 2 + 1 + shift[1]]
    wcs.wcs.cdelt = [-SCALE / 3600, SCALE / 3600]
    return wcs


def _frame(
    number: int, seeing: float, shift: Any, xy: Any, magnitude: Any, halo: float, rng: np.random.Generator
) -> FrameEvidence:
    positions, flux = xy + shift, 10 ** (0.4 * (ZEROPOINT - magnitude))
    inside = ((positions > 0) & (positions < SIZE - 1)).all(axis=1)
    positions, flux, magnitude = positions[inside], flux[inside], magnitude[inside]
    names = np.flatnonzero(inside)
    values = {
        "id": number + 1, "width": SIZE, "height": SIZE, "exptime": EXPTIME, "pixel_scale": SCALE,
        "seeing_pixels": seeing, "seeing_arcseconds": seeing * SCALE, "flags": 64, "mjd": 60000.0 + number / 100,
        "gain": None, "background_rms_electron_per_second": RMS,
    }  # fmt: skip
    noise = np.sqrt(np.pi * (1.5 * seeing) ** 2 * RMS**2 + flux / EXPTIME)
    centre = np.array([SIZE / 2 + shift[0], SIZE / 2 + shift[1]])
    stars = Table({
        "gaia_id": [str(i) for i in names], "name": [str(i) for i in names], "x": positions[:, 0],
        "y": positions[:, 1], "magnitude": magnitude, "distance": SCALE * np.hypot(*(positions - centre).T),
        "signal_to_noise": flux / noise, "usable": np.ones(len(flux), bool),
    })  # fmt: skip
    sigma = seeing / FWHM_PER_SIGMA
    rows = {"x": positions[:, 0], "y": positions[:, 1], "flux": flux, "fwhm": np.full(len(flux), seeing)}
    rows |= {"a": np.full(len(flux), sigma), "b": np.full(len(flux), sigma), "theta": np.zeros(len(flux))}
    rows |= {"flags": np.zeros(len(flux), int)}
    sources = Table({c.name: rows[c.name] for c in SOURCES.columns})
    target = float(np.median(flux))
    seed = int(rng.integers(1 << 31))

    def image() -> Any:
        out = np.random.default_rng(seed).normal(0.0, RMS, (SIZE, SIZE))
        for (x, y), light in zip([*positions, centre], [*flux, target], strict=True):
            _add(out, x, y, light, sigma)
        if halo:
            _add(out, centre[0], centre[1], halo * target, 2.5 * sigma)
        return out.astype(np.float32), np.zeros((SIZE, SIZE), np.uint8)

    return FrameEvidence(values, image, lambda: sources, lambda: _wcs(shift), lambda: stars)


def _add(image: Any, x: float, y: float, light: float, sigma: float) -> None:
    reach = int(np.ceil(5 * sigma))
    x0, y0 = max(round(x) - reach, 0), max(round(y) - reach, 0)
    part = image[y0 : round(y) + reach + 1, x0 : round(x) + reach + 1]
    yy, xx = np.mgrid[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]]
    part += light * np.exp(-0.5 * ((xx - x) ** 2 + (yy - y) ** 2) / sigma**2) / (2 * np.pi * sigma**2)


def check_setting_rule(rule: SettingRule, evidence: Evidence | None = None) -> list[Decision]:
    """Check a rule for settings, and return what it decides.

    Parameters
    ----------
    rule : SettingRule
        An instance.
    evidence : Evidence, optional
        What it is shown; without it, simulated frames of :func:`example_evidence`.

    Raises
    ------
    AssertionError
        States which requirement is not fulfilled, and what to do.
    """
    who = name_of(rule)
    check_plugin_class(rule, SettingRule)
    for name, kind in (("settings", tuple), ("before", str), ("frames", int), ("shared", bool)):
        require(isinstance(getattr(rule, name, None), kind), who, f"has no class attribute {name}: a {kind.__name__}")
    require(rule.settings, who, "names no setting")
    require(rule.frames >= 1, who, "must rest on at least one frame")
    decisions = list(rule.decide(example_evidence() if evidence is None else evidence))
    for decision in decisions:
        _check_decision(rule, decision, who)
    none = list(rule.decide(Evidence("camera", ())))
    require(all(d.value is None for d in none), who, "decides something without any frame")
    return decisions


def _check_decision(rule: SettingRule, decision: Decision, who: str) -> None:
    require(isinstance(decision, Decision), who, f"returned {decision!r}, which is no Decision")
    require(
        any(_matches(decision.setting, pattern) for pattern in rule.settings),
        who,
        f"decided {decision.setting}, which its `settings` do not name",
    )
    require(decision.why, who, f"does not say why {decision.setting} is {decision.value!r}")
    require(decision.frames >= 1, who, f"does not say on how many frames {decision.setting} rests")
    if decision.value is None:
        return
    try:
        copy = json.loads(json.dumps(decision.value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise AssertionError(
            f"{who}: {decision.setting} = {decision.value!r} can't be recorded ({error}): use what TOML and JSON both "
            "have, finite numbers among it"
        ) from error
    require(_plain(copy) == _plain(decision.value), who, f"{decision.setting} = {decision.value!r} changes in JSON")
    require(
        not rule.differ(decision.setting, copy, copy),
        who,
        f"says that {decision.setting} differs from itself",
    )


def _matches(setting: str, pattern: str) -> bool:
    before, star, after = pattern.partition("*")
    return setting.startswith(before) and setting.endswith(after) if star else setting == pattern


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
