"""Which calibration frames go with which frame, and what the masters do to pixels."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest
from astropy.io import fits

from lcframework.types import Exposure, Master, MasterPlan, PixelFlag, UnusableInput
from plugins_builtin.reductions.ccdproc import Ccdproc

SETUP = (("INSTRUME", "Cam"),)
SHAPE = (20, 30)


def exposure(name: str, kind: str = "light", **changes: object) -> Exposure:
    made = Exposure(name, kind, SETUP, "r" if kind in ("light", "flat") else "", 60.0, -10.0, SHAPE)
    return attrs.evolve(made, **changes)


BIASES = [exposure(f"b{i}", "bias", exptime=0.0) for i in range(3)]
FLATS = [exposure(f"{band}{i}", "flat", band=band, exptime=3.0 + i) for band in "ri" for i in range(3)]
DARKS = [exposure(f"d{t}-{i}", "dark", exptime=float(t)) for t in (30, 120, 300) for i in range(2)]
ALL = [*BIASES, *FLATS, *DARKS]
PATH = Path("a.fits")


def members(plans: tuple[MasterPlan, ...], kind: str) -> tuple[str, ...]:
    return next((p.members for p in plans if p.kind == kind), ())


@pytest.mark.parametrize(
    ("keyword", "value", "kind"),
    [
        ("IMAGETYP", "Bias Frame", "bias"), ("IMAGETYP", "zero", "bias"), ("IMAGETYP", "DARK", "dark"),
        ("IMAGETYP", "Flat Field", "flat"), ("IMAGETYP", "FLATDARK", "dark"), ("IMAGETYP", "Light Frame", "light"),
        ("OBSTYPE", "SKYFLAT", "flat"), ("IMAGETYP", "object", "light"), ("ESO DPR TYPE", "FLAT,SKY", "flat"),
        ("OBJECT", "flat", ""),
    ],
)  # fmt: skip
def test_kinds_by_header(keyword, value, kind):
    header = fits.Header()
    header[f"HIERARCH {keyword}" if " " in keyword else keyword] = value
    assert Ccdproc().describe(header, PATH, SHAPE).kind == kind


def test_keywords_and_values_are_options():
    header = fits.Header({"TYPE": "Offset", "CAM": 7, "BAND": "V", "TEXP": "12.5", "T_DET": -20})
    reduction = Ccdproc(kind_keywords=["TYPE"], bias=["offset"], match=["CAM", "MODE"], band_keywords=["BAND", "X"],
                        exptime_keywords=["TEXP"], temperature_keyword="T_DET")  # fmt: skip
    assert reduction.describe(header, PATH, SHAPE) == Exposure(
        "a.fits", "bias", (("CAM", "7"), ("MODE", "")), "V", 12.5, -20.0, SHAPE
    )
    assert Ccdproc(temperature_keyword="").describe(fits.Header({"CCD-TEMP": -3}), PATH, SHAPE).temperature is None


def test_one_value_is_one_text():
    texts = {Ccdproc(match=["XBINNING"]).describe(fits.Header({"XBINNING": v}), PATH, SHAPE).setup
             for v in (2, 2.0, "2", " 2 ")}  # fmt: skip
    assert texts == {(("XBINNING", "2"),)}


def test_flats_are_those_of_the_filter():
    plans = Ccdproc().plan(exposure("a"), ALL)
    assert [p.kind for p in plans] == ["bias", "dark", "flat"]
    assert members(plans, "bias") == ("b0", "b1", "b2")
    assert members(plans, "flat") == ("r0", "r1", "r2")
    flat = plans[2]
    assert [n.kind for n in flat.needs] == ["bias", "dark"]
    assert flat.needs[1].members == ("d30-0", "d30-1")  # scaled down to the flats' 4 s


@pytest.mark.parametrize(
    ("exptime", "expected"), [(60.0, "d120"), (120.5, "d120"), (20.0, "d30"), (200.0, "d300"), (900.0, "d300")]
)
def test_darks_of_the_exposure_or_scaled(exptime, expected):
    plans = Ccdproc().plan(exposure("a", exptime=exptime), ALL)
    assert members(plans, "dark") == (f"{expected}-0", f"{expected}-1")


def test_without_a_bias_a_dark_must_have_the_exposure():
    reduction = Ccdproc(use=["dark"])
    plans = reduction.plan(exposure("a", exptime=120.0), ALL)
    assert [(p.kind, p.needs) for p in plans] == [("dark", ())]
    words = r"no dark matches \(60 s, -10 C, INSTRUME = Cam, 30 x 20 pixels\) \(without a bias a dark can't be scaled"
    with pytest.raises(UnusableInput, match=words + r".*: there are 2 of 30 s, -10 C; 2 of 120"):
        reduction.plan(exposure("a"), ALL)
    with pytest.raises(UnusableInput, match=r"the flats can't be used: no dark matches \(4 s"):
        Ccdproc(use=["dark", "flat"]).plan(exposure("a", exptime=120.0), ALL)


def test_darks_of_another_temperature():
    warm = [attrs.evolve(d, name=f"w{d.name}", temperature=5.0) for d in DARKS]
    frame = exposure("a", exptime=120.0, temperature=4.2)
    assert members(Ccdproc().plan(frame, [*ALL, *warm]), "dark") == ("wd120-0", "wd120-1")
    with pytest.raises(UnusableInput, match="no dark matches"):
        Ccdproc().plan(frame, ALL)
    unknown = attrs.evolve(frame, temperature=None)
    assert members(Ccdproc().plan(unknown, ALL), "dark") == ("d120-0", "d120-1")
    drifting = [exposure(f"x{i}", "dark", exptime=120.0, temperature=-10.0 + 0.3 * i) for i in range(5)]
    assert len(members(Ccdproc().plan(exposure("a"), [*BIASES, *FLATS, *drifting]), "dark")) == 5


def test_the_nearest_temperature_wins_among_darks_of_one_time():
    near = [exposure(f"n{i}", "dark", exptime=300.02, temperature=-10.0) for i in range(2)]
    far = [exposure(f"f{i}", "dark", exptime=300.0, temperature=-12.5) for i in range(2)]
    reduction = Ccdproc(use=["bias", "dark"], temperature_tolerance=2.4)
    plans = reduction.plan(exposure("a", exptime=100.0, temperature=-10.3), [*BIASES, *near, *far])
    assert members(plans, "dark") == ("n0", "n1")


@pytest.mark.parametrize("difference", [{"setup": (("INSTRUME", "Other"),)}, {"shape": (10, 15)}])
def test_other_setups_never_match(difference):
    with pytest.raises(UnusableInput, match="no bias matches"):
        Ccdproc().plan(attrs.evolve(exposure("a"), **difference), ALL)
    assert Ccdproc(missing="skip").plan(attrs.evolve(exposure("a"), **difference), ALL) == ()


def test_what_is_missing_is_said():
    with pytest.raises(UnusableInput) as raised:
        Ccdproc().plan(exposure("a", band="z"), ALL)
    assert str(raised.value).startswith(
        "no flat matches (filter z, INSTRUME = Cam, 30 x 20 pixels): there are 3 of filter r; 3 of filter i. Add some"
    )
    with pytest.raises(UnusableInput, match=r"\[reduction\] dirs hold no bias\. Add some"):
        Ccdproc(use=["bias", "dark", "flat"]).plan(exposure("a"), [])


def test_flats_with_their_pedestal_are_skipped():
    reduction = Ccdproc(use=["bias", "flat"], missing="skip")
    assert reduction.plan(exposure("a"), FLATS) == ()
    assert [p.kind for p in Ccdproc(use=["flat"]).plan(exposure("a"), FLATS)] == ["flat"]


def test_frames_with_their_pedestal_are_not_divided():
    flat_darks = [exposure(f"fd{i}", "dark", exptime=4.0) for i in range(2)]
    reduction = Ccdproc(use=["dark", "flat"], missing="skip")
    assert reduction.plan(exposure("a"), [*FLATS, *flat_darks]) == ()
    plans = reduction.plan(exposure("a", exptime=4.0), [*FLATS, *flat_darks])
    assert [p.kind for p in plans] == ["dark", "flat"]


def test_without_a_bias_flats_are_those_that_have_a_dark():
    times = (2.0, 4.0, 10.0, 10.05, 20.0, 20.0, 20.0)
    twilight = [exposure(f"t{i}", "flat", exptime=t) for i, t in enumerate(times)]
    some = [exposure(f"d{t}", "dark", exptime=float(t)) for t in (4, 10, 60)]
    reduction = Ccdproc(use=["dark", "flat"])
    flat = reduction.plan(exposure("a"), [*twilight, *some])[1]
    assert flat.members == ("t2", "t3")
    assert [need.members for need in flat.needs] == [("d10",)]
    skipped = Ccdproc(missing="skip").plan(exposure("a"), [*twilight, *some])[1]
    assert skipped.members == flat.members
    scaled = Ccdproc().plan(exposure("a"), [*BIASES, *twilight, *some])[2]
    assert scaled.members == tuple(f"t{i}" for i in range(len(times)))


def test_names_of_masters_are_unique():
    others = [attrs.evolve(e, name=f"o{e.name}", setup=(("INSTRUME", "Other"),)) for e in ALL]
    frames = [exposure("a", band=b, exptime=t, setup=s) for b in "ri" for t in (30.0, 120.0, 300.0)
              for s in (SETUP, others[0].setup)]  # fmt: skip
    plans = {p for f in frames for p in Ccdproc().plan(f, [*ALL, *others])}
    assert len({p.name for p in plans}) == len(plans) == 12


# ---------------------------------------------------------------- pixels


def combined(kind: str, images: np.ndarray, masters: dict[str, Master] | None = None, **options: object) -> Master:
    exposures = [exposure(f"{i}", kind, exptime=10.0) for i in range(len(images))]
    plan = MasterPlan(kind, kind, tuple(e.name for e in exposures))
    return Ccdproc(**options).combine(plan, exposures, images.astype(np.float32), masters or {})


@pytest.mark.parametrize("method", ["clipped", "median"])
def test_combination_leaves_out_cosmic_rays(method):
    rng = np.random.default_rng(1)
    images = rng.normal(1000, 5, (9, 60, 50))
    images[3, 10:14, 20] += 4000
    images[:, 5, 5] = np.nan
    images[2, 7, 7] = np.nan
    made = combined("bias", images, combine_by=method)
    assert np.abs(made.image[10:14, 20] - 1000).max() < 10
    assert np.argwhere(made.bad).tolist() == [[5, 5]]
    good = ~made.bad
    noise = np.std(made.image[good])
    assert noise == pytest.approx(5 / 3 * (1.25 if method == "median" else 1.0), rel=0.06)
    assert made.used == tuple(map(str, range(9)))


def test_few_quantised_frames_are_not_clipped_to_their_median():
    rng = np.random.default_rng(2)
    images = np.round(rng.normal(300.4, 0.6, (5, 100, 100)))
    assert combined("bias", images).image.mean() == pytest.approx(300.4, abs=0.02)


def test_strips_make_no_difference(monkeypatch):
    rng = np.random.default_rng(3)
    images = rng.normal(1000, 5, (4, 41, 50))
    whole = combined("bias", images, combine_by="median").image
    monkeypatch.setattr("plugins_builtin.reductions.ccdproc._STRIP", 4 * 50 * 7)
    np.testing.assert_array_equal(combined("bias", images, combine_by="median").image, whole)


def test_flats_of_different_levels():
    rng = np.random.default_rng(4)
    truth = rng.normal(1, 0.02, (60, 60))
    truth /= np.median(truth)
    truth[3, 4] = 0.0
    levels = np.array([500.0, 4000.0, 20000.0, 21000.0, 70000.0])
    bias = Master("bias", np.full((60, 60), 400, np.float32), np.zeros((60, 60), bool))
    images = 400 + levels[:, None, None] * truth
    made = combined("flat", images, {"bias": bias}, flat_levels=(1000.0, 60000.0))
    assert made.used == ("1", "2", "3")
    np.testing.assert_allclose(made.image, truth, atol=2e-5)
    assert np.argwhere(made.bad).tolist() == [[3, 4]]
    with pytest.raises(UnusableInput, match=r"the levels of all 5 flats, 500 to 70000, lie outside .*\[1e\+06, inf\]"):
        combined("flat", images, {"bias": bias}, flat_levels=(1e6, np.inf))


def test_dark_is_scaled_and_hot_pixels_flagged():
    zero = np.zeros(SHAPE, bool)
    current = np.full(SHAPE, 100.0, np.float32)
    current[2, 2] = 5000.0
    masters = {
        "bias": Master("bias", np.full(SHAPE, 300, np.float32), zero),
        "dark": Master("dark", current, zero, 200.0),
    }
    raw = np.full(SHAPE, 300 + 30 + 77, np.float32)
    raw[2, 2] = 300 + 1500 + 77
    image, flags = Ccdproc(greatest_dark=10.0).reduce(raw, exposure("a", exptime=60.0), masters)
    np.testing.assert_allclose(image, 77, rtol=1e-5)
    assert image.dtype == np.float32
    assert (flags == PixelFlag.HOT).sum() == 1 == (flags > 0).sum()
    alone, _ = Ccdproc().reduce(raw, exposure("a", exptime=60.0), {"dark": masters["dark"]})
    np.testing.assert_allclose(alone[0, 0], raw[0, 0] - 100)  # with its bias in it, a dark is taken as it is


def test_hot_pixels_of_a_dark_with_its_bias_in_it():
    rng = np.random.default_rng(7)
    dark = rng.normal(1000 + 0.02 * 300, 3.0, SHAPE).astype(np.float32)  # ADU, in 300 s
    dark[4, 5] += 2.0 * 300
    masters = {"dark": Master("dark", dark, np.zeros(SHAPE, bool), 300.0)}
    raw = rng.normal(1200, 10, SHAPE).astype(np.float32)
    _, flags = Ccdproc(use=["dark"], greatest_dark=1.0).reduce(raw, exposure("a", exptime=300.0), masters)
    assert np.argwhere(flags == PixelFlag.HOT).tolist() == [[4, 5]] == np.argwhere(flags > 0).tolist()


def test_flat_divides_and_flags():
    flat = np.full(SHAPE, 0.5, np.float32)
    bad = np.zeros(SHAPE, bool)
    flat[1, 1], bad[1, 1] = 0.0, True
    image, flags = Ccdproc().reduce(np.full(SHAPE, 50, np.float32), exposure("a"), {"flat": Master("flat", flat, bad)})
    assert np.isfinite(image).all()
    assert (image[flags == 0] == 100).all()
    assert np.argwhere(flags == PixelFlag.DEFECT).tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"use": ["bias", "fringe"]}, r"use must be a list .* of 'bias', 'dark', 'flat', got \['bias', 'fringe'\]"),
        ({"use": []}, "a list of one or more"), ({"missing": "warn"}, "missing must be one of 'refuse', 'skip'"),
        ({"combine_by": "mean"}, "combine_by must be one of"), ({"clip": 0.0}, "clip must be positive"),
        ({"flat_levels": (2.0, 1.0)}, "the first value must be below"),
        ({"temperature_tolerance": -1.0}, "must not be negative"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense(option, words):
    with pytest.raises(ValueError, match=words):
        Ccdproc(**option)


def test_library_that_is_missing_is_named(monkeypatch):
    import sys

    from lcframework.types import NeedMissing

    monkeypatch.setitem(sys.modules, "ccdproc", None)
    with pytest.raises(NeedMissing, match=r'pip install "lcframework\[calibrate\]"'):
        combined("bias", np.zeros((2, *SHAPE)))
