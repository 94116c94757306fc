"""Checks of plugins that reduce raw images, on a simulated detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
from astropy.io import fits

from lcframework.protocols import Reduction
from lcframework.testing.conformance.contract import (
    Array,
    check_array,
    check_plugin_class,
    name_of,
    refused,
    require,
    unchanged,
)
from lcframework.testing.detector import Detector
from lcframework.types import Exposure, Master, MasterPlan

_EXPTIME, _BAND = 60.0, "r"


@attrs.frozen(eq=False)
class _Raw:
    """A raw file in memory."""

    header: fits.Header
    image: Array


def _night(camera: Detector, rng: np.random.Generator) -> dict[str, _Raw]:
    """Return calibration frames: bias frames, darks of 120 s, flats in r and i; and a file of another kind."""
    out = {}
    for i in range(9):
        out[f"bias{i}"] = _Raw(camera.header("Bias Frame", 0.0), camera.read(rng, 0.0))
        out[f"dark{i}"] = _Raw(camera.header("Dark Frame", 120.0), camera.read(rng, 120.0))
        for band in (_BAND, "i"):
            level = 2000.0 + 400.0 * i  # twilight changes
            header = camera.header("Flat Field", 8.0 + i, band)
            out[f"flat-{band}{i}"] = _Raw(header, camera.read(rng, 8.0 + i, level, band))
    return out


def check_reduction(plugin: Any, seed: int = 1) -> None:
    """Check a reduction on a simulated detector with bias columns, dark current, hot pixels and a vignetted flat.

    The headers have ``IMAGETYP``, ``FILTER``, ``INSTRUME``, ``XBINNING``, ``YBINNING``, ``EXPTIME`` and ``CCD-TEMP``.
    A reduced frame must agree with the truth, up to the scale that the flat's normalization leaves open, to within its
    noise; it must be refused, or left without a flat, where no flat of its filter is there.

    Raises
    ------
    AssertionError
    """
    check_plugin_class(plugin, Reduction)
    who = name_of(plugin)
    camera, rng = Detector(seed=seed), np.random.default_rng(seed)
    raws = _night(camera, rng)
    known = [_described(plugin, raw, name, who) for name, raw in raws.items()]
    y, x = np.mgrid[: camera.shape[0], : camera.shape[1]]
    light = 20.0 + 200.0 * np.exp(-0.5 * ((x - 40) ** 2 + (y - 110) ** 2) / 9.0)
    raw = _Raw(camera.header("Light Frame", _EXPTIME, _BAND), camera.read(rng, _EXPTIME, light, _BAND))
    frame = _described(plugin, raw, "frame", who)
    require(frame.kind == "light", who, f'describe calls a frame of the sky "{frame.kind}"; "light" is needed')
    plans = plugin.plan(frame, tuple(known))
    require(plugin.plan(frame, tuple(known)) == plans, who, "plan answers differently the second time")
    made: dict[str, Master] = {}
    masters = {p.kind: _made(plugin, p, raws, known, made, who) for p in plans}
    require(masters, who, "plans no master for a frame that has bias, darks and flats of its kind")
    image = raw.image.astype(np.float32)
    verify = unchanged(who, {"image": image, **{k: m.image for k, m in masters.items()}})
    reduced, flags = plugin.reduce(image, frame, masters)
    verify()
    check_array(reduced, image.shape, who, "the reduced image", finite=False)
    check_array(flags, image.shape, who, "the flags")
    _check_against_truth(camera, light, reduced, flags, who)
    other = attrs.evolve(frame, band="z")
    found: list[tuple[MasterPlan, ...]] = []
    if not refused(lambda: found.append(plugin.plan(other, tuple(known))), who, "a frame in a filter without flats"):
        require("flat" not in {p.kind for p in found[0]}, who, "reduces a frame with the flat of another filter")


def _described(plugin: Any, raw: _Raw, name: str, who: str) -> Exposure:
    before = raw.header.tostring()
    ny, nx = raw.image.shape
    exposure = plugin.describe(raw.header, Path(f"{name}.fits"), (ny, nx))
    require(raw.header.tostring() == before, who, "describe changed the header; others read it too")
    require(isinstance(exposure, Exposure), who, f"describe returned a {type(exposure).__name__}, not an Exposure")
    require(exposure.shape == (ny, nx), who, f"describe gives the shape {exposure.shape}, and {(ny, nx)} was given")
    # A run fills in the filter that the header parser reads where a reduction reads none.
    named: Exposure = attrs.evolve(exposure, name=name, band=exposure.band or str(raw.header.get("FILTER", "")))
    return named


def _made(
    plugin: Any, plan: MasterPlan, raws: dict[str, _Raw], known: list[Exposure], made: dict[str, Master], who: str
) -> Master:
    """Make a master, and before it the masters that it needs; each is made once."""
    if plan.name not in made:
        needs = {p.kind: _made(plugin, p, raws, known, made, who) for p in plan.needs}
        members = [next(e for e in known if e.name == name) for name in plan.members]
        images = np.stack([raws[e.name].image for e in members]).astype(np.float32)
        verify = unchanged(who, {"images": images})
        master = plugin.combine(plan, members, images, needs)
        verify()
        require(isinstance(master, Master), who, f"combine returned a {type(master).__name__}, not a Master")
        check_array(master.image, images.shape[1:], who, f"the master {plan.kind}")
        check_array(master.bad, images.shape[1:], who, f"the master {plan.kind}'s bad pixels")
        made[plan.name] = master
    return made[plan.name]


def _check_against_truth(camera: Detector, light: Array, reduced: Array, flags: Array, who: str) -> None:
    good = (np.asarray(flags) == 0) & np.isfinite(reduced)
    require(not good[camera.dead()].any(), who, "does not flag pixels that see no light in the flat")
    require(good.mean() > 0.95, who, f"flags {1 - good.mean():.0%} of the pixels; 5 % are allowed here")
    rate = np.asarray(reduced, float) * camera.gain / _EXPTIME
    scale = float(np.median(rate[good] / light[good]))
    require(0.8 < scale < 1.25, who, f"the sky is {scale:.3f} of what it should be; a flat of median or mean 1 is due")
    sigma = np.sqrt(camera.variance(_EXPTIME, light, _BAND))
    pulls = (rate[good] / scale - light[good]) / sigma[good]
    require(
        float(np.std(pulls)) < 1.25,
        who,
        f"a reduced pixel deviates from the truth by {np.std(pulls):.2f} of its noise (rms); 1.1 is expected of 9 "
        "frames a master",
    )
    columns = np.where(good, (rate / scale - light) / sigma, 0.0).mean(axis=0)
    limit = 6 / np.sqrt(rate.shape[0])
    require(np.abs(columns).max() < limit, who, "leaves the bias pattern of columns in the image")
