"""The overscan that headers name, subtracted without being asked for."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest
from astropy.io import fits

from lcframework.types import Exposure, Floats, Master, UnusableInput
from plugins_builtin.reductions.ccdproc import Ccdproc

pytest.importorskip("ccdproc")
SHAPE, STRIP, NOISE = (60, 90), 12, 3.0  # (ny, nx), columns of overscan at the right, ADU
SECTION = "[79:90,1:60]"


def described(kind: str, name: str, cards: dict[str, str]) -> Exposure:
    header = fits.Header({"IMAGETYP": kind, "EXPTIME": 0.0 if kind == "bias" else 10.0, **cards})
    return attrs.evolve(Ccdproc().describe(header, Path("a.fits"), SHAPE), name=name, band="V")


def image(rng: np.random.Generator, level: float, light: float) -> Floats:
    """Return a raw image of a detector whose zero level is `level`, with a slope in x; its last column is odd."""
    x = np.arange(SHAPE[1]) * np.ones((SHAPE[0], 1))
    out = level + 0.5 * x + rng.normal(0, NOISE, SHAPE)
    out[:, :-STRIP] += light
    out[:, -1] -= 400.0
    return out.astype(np.float32)


def master(kind: str, light: float, cards: dict[str, str], masters: dict[str, Master], cut: int = 0) -> Master:
    rng = np.random.default_rng(len(kind))
    exposures = [described(kind, f"{kind}{i}", cards) for i in range(5)]
    levels = rng.normal(1600.0, 100.0, 5)  # it drifts from frame to frame
    images = np.stack([image(rng, level, light) for level in levels])[:, :, cut : SHAPE[1] - cut]
    (plan,) = [p for p in Ccdproc().plan(described("light", "a", cards), exposures) if p.kind == kind] or [None]
    if plan is None:
        plan = Ccdproc(use=[kind]).plan(described("light", "a", cards), exposures)[0]
    return Ccdproc().combine(plan, exposures, images, masters)


def test_a_drifting_level_is_followed():
    cards = {"BIASSEC": SECTION}
    masters = {"bias": master("bias", 0.0, cards, {})}
    frame = image(np.random.default_rng(7), 1900.0, 500.0)
    exposed = np.s_[:, :-STRIP]
    reduced, _ = Ccdproc().reduce(frame, described("light", "a", cards), masters)
    error = NOISE / np.sqrt(frame[exposed].size) + NOISE / np.sqrt(60 * 11) * np.sqrt(1 + 1 / 5)
    assert np.mean(reduced[exposed]) == pytest.approx(500.0, abs=5 * error)
    without, _ = Ccdproc().reduce(frame, described("light", "a", {}), {"bias": master("bias", 0.0, {}, {})})
    assert abs(np.mean(without[exposed]) - 500.0) > 100.0


def test_a_flat_alone_is_freed_by_it():
    cards = {"BIASSEC": SECTION}
    made = master("flat", 20000.0, cards, {})
    assert made.bad[:, -STRIP:].all()
    assert not made.bad[:, :-STRIP].any()
    slope = np.polyfit(np.arange(SHAPE[1] - STRIP), made.image[:, :-STRIP].mean(axis=0), 1)[0]
    assert slope == pytest.approx(0.5 / 20000.0, abs=3e-6)  # the detector's own slope in x has no bias here


def test_an_overscan_that_was_trimmed_off():
    cards = {"BIASSEC": SECTION}
    masters = {"bias": master("bias", 0.0, cards, {}, cut=STRIP)}
    frame = image(np.random.default_rng(7), 1600.0, 500.0)[:, STRIP:-STRIP]
    reduced, flags = Ccdproc().reduce(frame, described("light", "a", cards), masters)
    assert np.mean(reduced) == pytest.approx(500.0, abs=200.0)  # as far as the zero level drifts
    assert not flags.any()
    with pytest.raises(UnusableInput, match="trim_horizontal"):
        master("flat", 20000.0, cards, {}, cut=STRIP)
