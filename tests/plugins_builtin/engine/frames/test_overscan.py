"""The level of an overscan against the truth and ccdproc's, and what it does to masters and frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lcframework.types import Exposure, MasterPlan, PixelFlag, UnusableInput
from plugins_builtin.engine.frames.overscan import find_overscan, is_section, read_section
from plugins_builtin.reductions.ccdproc import Ccdproc

NY, NX, WIDE = 300, 220, 24  # of which the last 24 columns are overscan
SECTION = f"[{NX - WIDE + 1}:{NX},1:{NY}]"
NOISE = 4.0
WHOLE = Exposure("a", "light", (("BIASSEC", SECTION),), "r", 60.0, None, (NY, NX))
Y = np.arange(NY)[:, None]


def level(rng: np.random.Generator) -> np.ndarray:
    """Return the level of one read-out, which drifts from frame to frame and along the rows."""
    return 1000 + rng.normal(0, 30) + rng.normal(0, 10) * (Y / NY - 0.5)


def raw(rng: np.random.Generator, light: np.ndarray | float = 0.0) -> np.ndarray:
    seen = np.zeros((NY, NX))
    seen[:, :-WIDE] = light
    pattern = 5 * np.sin(np.arange(NX) / 7.0)  # of the bias, and in the overscan another
    return (level(rng) + pattern + seen + rng.normal(0, NOISE, (NY, NX))).astype(np.float32)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[1:20,1:300]", ((0, 300), (0, 20))), ("[ 201 : 220 , 5:300 ]", ((4, 300), (200, 220))),
     ("[*,1:3]", ((0, 3), (0, 220))), ("[20:1,:]", ((0, 300), (0, 20)))],
)  # fmt: skip
def test_sections(text, expected):
    y, x = read_section(text, (NY, NX))
    assert ((y.start, y.stop), (x.start, x.stop)) == expected
    assert is_section(text)


@pytest.mark.parametrize("text", ["[0:20,1:300]", "[1:221,1:300]", "BIASSEC", "", "[1:20]", "[a:b,1:2]"])
def test_sections_that_make_no_sense(text):
    with pytest.raises(UnusableInput, match="overscan"):
        read_section(text, (NY, NX))


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("across", [False, True])
def test_level_is_that_of_ccdproc(order, across):
    ccdproc = pytest.importorskip("ccdproc")
    from astropy.modeling.models import Legendre1D
    from astropy.nddata import CCDData

    image, section = raw(np.random.default_rng(1)), SECTION
    if across:
        image, section = np.ascontiguousarray(image.T), f"[1:{NY},{NX - WIDE + 1}:{NX}]"
    exposure = Exposure("a", shape=image.shape)
    mine = find_overscan(image, exposure, section, order).less(image, slice(0, len(image)))
    theirs = ccdproc.subtract_overscan(
        CCDData(image, unit="adu"), fits_section=section, overscan_axis=0 if across else 1,
        model=Legendre1D(order), add_keyword=False,
    )  # fmt: skip
    np.testing.assert_allclose(mine, theirs.data, atol=0.02)


def test_level_follows_the_truth_whatever_is_in_some_rows():
    rng = np.random.default_rng(2)
    truth = level(rng)
    image = (truth + rng.normal(0, NOISE, (NY, NX))).astype(np.float32)
    image[100:103, -WIDE:] += 2000.0  # charge that came late
    image[50, -WIDE:] = np.nan
    found = find_overscan(image, WHOLE, SECTION, 1)
    assert np.abs(found.level - truth).max() < 5 * 2 * NOISE / np.sqrt(NY * WIDE)


def test_trimmed_frames_count_in_the_file():
    image = raw(np.random.default_rng(3))
    whole = find_overscan(image, WHOLE, SECTION, 0)
    cut = find_overscan(image[10:-10, 6:-6], WHOLE, SECTION, 0)
    assert cut.strip == (slice(0, NY - 20), slice(NX - WIDE - 6, NX - 12))
    assert cut.level[0, 0] == pytest.approx(whole.level[0, 0], abs=1.0)
    with pytest.raises(UnusableInput, match=r"nothing of the overscan .* trim_horizontal"):
        find_overscan(image[:, WIDE:-WIDE], WHOLE, SECTION, 0)


def combined(reduction: Ccdproc, kind: str, images: np.ndarray, masters=None):
    exposures = [Exposure(f"{kind}{i}", kind, WHOLE.setup, "r", 60.0, None, (NY, NX)) for i in range(len(images))]
    return reduction.combine(MasterPlan(kind, kind, tuple(e.name for e in exposures)), exposures, images, masters or {})


@pytest.mark.parametrize("overscan", ["BIASSEC", SECTION])
def test_drifting_levels_go_from_flats_and_frames(overscan):
    pytest.importorskip("ccdproc")
    rng = np.random.default_rng(4)
    reduction = Ccdproc(use=["bias", "flat"], overscan=overscan)
    truth = np.clip(rng.normal(1, 0.03, (NY, NX - WIDE)), 0.5, None) * (1 - 0.3 * (Y / NY))
    truth /= np.median(truth)
    flats = np.stack([raw(rng, 20000.0 * truth) for _ in range(8)])
    masters = {"bias": combined(reduction, "bias", np.stack([raw(rng) for _ in range(8)]))}
    masters["flat"] = combined(reduction, "flat", flats, masters)
    assert masters["bias"].noise == pytest.approx(NOISE / np.sqrt(8), rel=0.05)
    assert masters["flat"].bad[:, -WIDE:].all()
    assert not masters["flat"].bad[:, :-WIDE].any()
    np.testing.assert_allclose(masters["flat"].image[:, :-WIDE], truth, atol=6 * NOISE / 20000)
    image, flags = reduction.reduce(raw(rng, 500.0 * truth), WHOLE, masters)
    assert (flags[:, -WIDE:] == PixelFlag.DEFECT).all()
    assert not flags[:, :-WIDE].any()
    light = image[:, :-WIDE]
    assert light.mean() == pytest.approx(500.0, abs=0.3)
    assert np.abs(light.mean(axis=1) - 500.0).max() < 6 * 2 * NOISE / np.sqrt(NX)
    assert np.isfinite(image).all()


def test_without_it_a_drift_stays():
    pytest.importorskip("ccdproc")
    rng = np.random.default_rng(5)
    plain = Ccdproc(use=["bias"])
    masters = {"bias": combined(plain, "bias", np.stack([raw(rng) for _ in range(8)]))}
    off = [plain.reduce(raw(rng, 500.0), WHOLE, masters)[0][:, :-WIDE].mean() - 500.0 for _ in range(5)]
    assert np.std(off) > 10


def test_keyword_belongs_to_the_setup():
    reduction = Ccdproc(overscan="BIASSEC", match=["INSTRUME"])
    header = fits.Header({"IMAGETYP": "Light", "INSTRUME": "C", "BIASSEC": SECTION})
    described = reduction.describe(header, Path("a.fits"), (NY, NX))
    assert described.setup == (("INSTRUME", "C"), ("BIASSEC", SECTION))
    assert Ccdproc(overscan=SECTION, match=["INSTRUME"]).describe(header, Path("a"), (NY, NX)).setup == (
        ("INSTRUME", "C"),
    )
    del header["BIASSEC"]
    lacking = reduction.describe(header, Path("a.fits"), (NY, NX))
    with pytest.raises(UnusableInput, match="has no BIASSEC"):
        reduction.reduce(np.zeros((NY, NX), np.float32), lacking, {})
