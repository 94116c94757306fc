"""What the rules decide about simulated frames whose seeing, stars and light are known."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lcframework.config import sections as config_sections
from lcframework.testing.conformance.settings import RMS, SCALE, ZEROPOINT, check_setting_rule, example_evidence
from lcframework.types import Discs, Evidence, FrameEvidence, MeasuredGain
from plugins_builtin.setting_rules.aperture_radius import ApertureRadius
from plugins_builtin.setting_rules.extended_light import ExtendedLight
from plugins_builtin.setting_rules.gain import GainByNoise
from plugins_builtin.setting_rules.local_sky import LocalSky
from plugins_builtin.setting_rules.noise_correlation import NoiseCorrelation
from plugins_builtin.setting_rules.psf_sampling import PsfSampling
from plugins_builtin.setting_rules.reference_stars import ReferenceStars
from plugins_builtin.setting_rules.seeing_limit import SeeingLimit
from plugins_builtin.setting_rules.stamps import Stamps
from plugins_builtin.setting_rules.star_numbers import StarNumbers


def values(rule: Any, evidence: Evidence) -> dict[str, Any]:
    return {d.setting: d.value for d in check_setting_rule(rule, evidence)}


def test_a_gain_is_what_the_noise_says() -> None:
    assert values(GainByNoise(), example_evidence()) == {"header.gain": 2.5}


def test_levels_that_do_not_differ_decide_no_gain() -> None:
    nothing = MeasuredGain(np.nan, np.nan, (350.0, 360.0), 1.0, 900, 8, "the levels (350 to 360) differ too little")
    (decision,) = GainByNoise().decide(attrs.evolve(example_evidence(), gain=lambda: nothing))
    assert decision.value is None
    assert "differ too little" in decision.why


@pytest.mark.parametrize(("header", "doubted"), [(2.6, False), (1.3, True), (5.0, True)])
def test_a_headers_gain_is_kept_and_doubted_where_the_noise_excludes_it(header: float, doubted: bool) -> None:
    evidence = example_evidence()
    stated = tuple(attrs.evolve(f, values={**f.values, "flags": 0, "gain": header}) for f in evidence.frames)
    (decision,) = check_setting_rule(GainByNoise(), attrs.evolve(evidence, frames=stated))
    assert decision.value is None
    assert (f"the headers' gain, {header:g} e-/ADU, is excluded by the noise: 2.5" in decision.doubt) is doubted


@pytest.mark.parametrize(("header", "doubted"), [(2.6, False), (1.3, True)])
def test_a_headers_gain_is_doubted_beside_frames_whose_headers_give_none(header: float, doubted: bool) -> None:
    evidence = example_evidence()
    stated = tuple(attrs.evolve(f, values={**f.values, "flags": 0, "gain": header}) for f in evidence.frames[:9])
    both = attrs.evolve(evidence, frames=(*stated, *evidence.frames[9:]))
    (decision,) = check_setting_rule(GainByNoise(), both)
    assert (decision.value, decision.frames) == (2.5, 15)
    assert (f"the headers' gain, {header:g} e-/ADU, is excluded by the noise: 2.5" in decision.doubt) is doubted


def test_a_gain_that_was_measured_before_is_no_headers() -> None:
    evidence = example_evidence()
    imported = tuple(attrs.evolve(f, values={**f.values, "gain": 1.3}) for f in evidence.frames)
    (decision,) = check_setting_rule(GainByNoise(), attrs.evolve(evidence, frames=imported))
    assert (decision.value, decision.doubt) == (2.5, "")


@pytest.mark.parametrize(("seeing", "star", "roi"), [(1.5, 20, 24), (5.0, 24, 32), (10.0, 48, 64)])
def test_stamps_are_as_wide_as_documented_in_units_of_the_seeing(seeing: float, star: int, roi: int) -> None:
    found = values(Stamps(), example_evidence(seeing=seeing))
    # The seeing of 24 frames is known to 1.25 * 5 % / sqrt(24).
    assert found["stamps.star_size"] == pytest.approx(star, abs=2)
    assert found["stamps.roi_size"] == pytest.approx(roi, abs=2)


def test_stamps_have_room_for_discs_and_their_sky_where_stars_are_measured_in_these() -> None:
    found = values(Stamps(), attrs.evolve(example_evidence(seeing=5.0), discs=Discs(1.5)))
    assert (found["stamps.star_size"], found["stamps.roi_size"]) == pytest.approx((35, 35), abs=2)


@pytest.mark.parametrize(("seeing", "factor"), [(1.1, 3), (1.5, 2), (5.0, 2)])
def test_undersampled_stars_get_finer_kernels(seeing: float, factor: int) -> None:
    assert values(PsfSampling(), example_evidence(seeing=seeing)) == {"psf.starred.subsampling_factor": factor}


def test_a_region_of_far_sources_gets_a_stamp_that_holds_them() -> None:
    evidence = example_evidence(seeing=3.0)
    at = evidence.rois["TARGET"]
    far = np.array([at[0], at[0], at[0] + [0.0, 20 * SCALE / 3600]])  # 20 pixels north
    size = values(Stamps(), attrs.evolve(evidence, rois={"TARGET": far}))["stamps.roi_size"]
    assert size == pytest.approx(2 * 20 + 4.8 * 3.0, abs=2)


@pytest.mark.parametrize(("drift", "wanted"), [(0.5, ""), (40.0, "auto")])
def test_hot_pixels_show_where_stars_move_off_them(drift: float, wanted: str) -> None:
    assert values(Stamps(), example_evidence(drift=drift))["stamps.hot_pixels"] == wanted


def test_magnitudes_go_down_to_the_documented_signal_to_noise() -> None:
    evidence = example_evidence(frames=9, seeing=3.0)
    found = values(ReferenceStars(), evidence)
    flux = 10 ** (0.4 * (ZEROPOINT - found["stars.magnitude"][1]))
    noise = np.sqrt(np.pi * 4.5**2 * RMS**2 + flux / 30.0)
    assert flux / noise == pytest.approx(20.0, rel=0.12)  # a tenth of a magnitude is left by rounding down
    assert found["roi.TARGET.exclusion_radius"] == pytest.approx(2.5 * 3.0 * SCALE, rel=0.1)


def test_the_radius_holds_a_hundred_stars_or_the_frame() -> None:
    few = values(ReferenceStars(), example_evidence(frames=3, stars=30))["stars.radius"]
    corner = np.hypot(120, 120) * SCALE
    assert corner <= few <= 1.1 * corner
    evidence = example_evidence(frames=3, stars=250, seeing=1.2)
    table = evidence.frames[0].stars()
    radius = values(ReferenceStars(), evidence)["stars.radius"]
    x, y = np.asarray(table["x"]), np.asarray(table["y"])
    apart = np.hypot(x[:, None] - x, y[:, None] - y) + np.where(np.eye(len(x)), np.inf, 0.0)
    alone = apart.min(axis=1) > 4 * evidence.frames[0].values["seeing_pixels"]
    within = np.asarray(table["distance"]) <= radius
    assert radius < 0.9 * corner
    assert np.count_nonzero(within & alone) == pytest.approx(100, rel=0.15)  # radii have two digits


@pytest.mark.parametrize(("stars", "fewest"), [(3, 1), (60, 6)])
def test_a_field_of_few_stars_is_measured_with_what_it_has(stars: int, fewest: int) -> None:
    evidence = example_evidence(frames=3, stars=stars, seeing=1.2)
    assert values(ReferenceStars(), evidence)["stars.min_number"] == fewest


def test_a_sparse_catalogue_is_asked_for_a_wider_field() -> None:
    evidence = example_evidence(frames=3, stars=250, seeing=1.2)
    sparse = attrs.evolve(evidence, catalogue=lambda region, limits: evidence.catalogue(region, limits)[::3])
    dense = values(ReferenceStars(), evidence)["stars.radius"]
    assert values(ReferenceStars(), sparse)["stars.radius"] > 1.3 * dense


def test_a_catalogue_of_other_stars_decides_no_magnitude() -> None:
    evidence = example_evidence(frames=3)
    decisions = {d.setting: d for d in ReferenceStars().decide(
        attrs.evolve(evidence, catalogue=lambda region, limits: evidence.catalogue(region, limits)[:0]))}  # fmt: skip
    assert decisions["stars.magnitude"].value is None
    assert "only 0" in decisions["stars.magnitude"].why


def test_numbers_of_stars_are_those_that_weigh() -> None:
    evidence = example_evidence(stars=60)
    found = values(StarNumbers(), evidence)
    table = evidence.frames[0].stars()
    s = np.asarray(table["signal_to_noise"])[np.argsort(table["distance"])]
    share = np.cumsum(s**2) / np.sum(s**2)
    assert share[found["psf.stars"] - 1] >= 0.93
    assert found["photometry.stars"] == pytest.approx(np.count_nonzero(s >= 20), abs=2)


def test_the_limit_of_seeing_spares_ordinary_frames_and_not_what_is_far_beyond() -> None:
    evidence = example_evidence(frames=40, seeing=3.0)
    low, high = values(SeeingLimit(), evidence)["roi_cutouts.frames"]["seeing_arcseconds"]
    assert low == 0
    assert max(f.values["seeing_arcseconds"] for f in evidence.frames) < high < 2.0 * 3.0 * SCALE


def test_two_pointings_leave_faint_stars_in_the_median() -> None:
    evidence = example_evidence(frames=12, drift=0.5)
    other = example_evidence(frames=12, drift=0.5, seed=6)
    far = tuple(attrs.evolve(f, wcs=lambda f=f: moved(f.wcs(), 60.0)) for f in other.frames)  # type: ignore[misc]
    both = attrs.evolve(evidence, frames=(*evidence.frames, *far))
    assert values(Stamps(), both)["stamps.hot_pixels"] == ""


def moved(wcs: Any, pixels: float) -> Any:
    wcs = wcs.deepcopy()
    wcs.wcs.crpix += pixels
    return wcs


@pytest.mark.parametrize(("halo", "needed"), [(0.0, False), (0.7, True)])
def test_an_image_of_extended_light_is_fitted_where_there_is_some(halo: float, needed: bool) -> None:
    found = values(ExtendedLight(), example_evidence(frames=6, halo=halo))
    assert found == {"roi_model.starred.background": needed, "roi_model.joint.background": needed}


def test_a_blend_keeps_its_image_of_extended_light() -> None:
    evidence = example_evidence(frames=6)
    at = evidence.rois["TARGET"][0]
    blend = attrs.evolve(evidence, rois={"TARGET": np.array([at, at, at + 1e-4])})
    assert set(values(ExtendedLight(), blend).values()) == {True}


@pytest.mark.parametrize(("tilt", "needed"), [(0.0, False), (1.0, True)])
def test_stars_get_a_sky_of_their_own_where_the_frames_is_not_theirs(tilt: float, needed: bool) -> None:
    """A wave of one sigma of a pixel across the frame moves a flux by 2 to 3 times its sky noise."""
    evidence = example_evidence(frames=3, stars=40, seeing=2.0)

    def tilted(frame: FrameEvidence) -> FrameEvidence:
        image, flags = frame.image()
        wave = tilt * RMS * np.sin(np.arange(image.shape[1]) / 12.0)
        return attrs.evolve(frame, image=lambda: (image + wave, flags))

    found = values(LocalSky(), attrs.evolve(evidence, frames=tuple(map(tilted, evidence.frames))))
    assert found == {"photometry.starred.background_per_epoch": needed}


def lone_stars(scintillation: float, halo: float, seeing: float = 3.0) -> Evidence:
    """Return frames of bright stars far from each other, a part of whose light goes to and fro between core and halo.

    `scintillation` is the scatter of all of their light, `halo` that of the part that lies at 1.7 times the seeing.
    """
    evidence = example_evidence(frames=12, seeing=seeing, stars=3)
    y, x = (axis.ravel() for axis in np.mgrid[30:220:48, 30:220:48].astype(float))
    n = len(x)
    table = evidence.frames[0].stars()[[0] * n]
    table["gaia_id"] = [str(i) for i in range(n)]
    table["x"], table["y"], table["signal_to_noise"], table["usable"] = x, y, 100.0, True

    def frame(number: int, one: FrameEvidence) -> FrameEvidence:
        def image() -> Any:
            rng = np.random.default_rng(number)
            yy, xx = np.mgrid[:240, :240]
            sigma = one.values["seeing_pixels"] / 2.3548
            out = rng.normal(0.0, RMS, (240, 240))
            for cx, cy in zip(x, y, strict=True):
                r = np.hypot(xx - cx, yy - cy) / sigma
                flux, moved = 2e4 * (1 + scintillation * rng.normal()), 2e4 * halo * rng.normal()
                ring = np.exp(-0.5 * ((r - 1.7 * 2.3548) / 0.3) ** 2)
                core = np.exp(-0.5 * r**2) / (2 * np.pi * sigma**2)
                out += (flux - moved) * core + moved * ring / ring.sum()
            return out, np.zeros((240, 240), np.uint8)

        return attrs.evolve(one, image=image, stars=lambda: table)

    return attrs.evolve(evidence, frames=tuple(frame(i, f) for i, f in enumerate(evidence.frames)))


def test_the_radius_of_discs_holds_the_light_that_moves_within_them() -> None:
    """Where light moves from the core to 1.7 FWHM, discs of 2 FWHM and more have all of it; sky makes 3 FWHM worse."""
    (decision,) = check_setting_rule(ApertureRadius(), lone_stars(0.0, 0.01))
    assert decision.value in (2.0, 2.5)
    assert "16 comparison stars scatter by" in decision.why


def test_the_usual_radius_stays_where_no_other_is_better() -> None:
    (decision,) = check_setting_rule(ApertureRadius(), lone_stars(0.01, 0.0))
    assert decision.value == 1.5


@pytest.mark.parametrize(("old", "new", "differs"), [(None, 1.5, True), (1.5, 1.75, False), (1.5, 2.5, True)])
def test_radii_differ_also_from_none(old: float | None, new: float, differs: bool) -> None:
    assert ApertureRadius().differ("photometry.aperture.radius", old, new) is differs


def test_too_few_stars_choose_no_radius_and_small_stamps_no_large_one() -> None:
    (decision,) = check_setting_rule(ApertureRadius(), example_evidence(frames=6, stars=3))
    assert decision.value is None
    stamps = config_sections.Stamps(star_size=14, roi_size=20)
    (decision,) = ApertureRadius().decide(attrs.evolve(lone_stars(0.0, 0.01), settings={"stamps": stamps}))
    assert decision.value <= (7 - 2) / 3.0


def resampled(evidence: Evidence, sigma: float) -> Evidence:
    """Evidence whose frames were smoothed by a Gaussian, and the noise of whose pixels was measured then."""

    def smoothed(frame: FrameEvidence) -> FrameEvidence:
        image, flags = frame.image()
        image = gaussian_filter(image.astype(float), sigma)
        rms = RMS / np.sqrt(4 * np.pi * sigma**2)
        values = {**frame.values, "background_rms_electron_per_second": rms}
        return attrs.evolve(frame, values=values, image=lambda: (image, flags))

    return attrs.evolve(evidence, frames=tuple(map(smoothed, evidence.frames)))


def test_pixels_of_frames_as_they_were_exposed_share_no_noise() -> None:
    assert values(NoiseCorrelation(), example_evidence(drift=4.0)) == {"stamps.noise_correlation": 1.0}


def test_pixels_of_resampled_frames_share_their_noise() -> None:
    (decision,) = check_setting_rule(NoiseCorrelation(), resampled(example_evidence(drift=4.0), 0.8))
    # The squared integral of the smoothing kernel, 4 pi sigma^2, less what stars of 3 pixels see of it.
    whole, width = 4 * np.pi * 0.8**2, (0.8 / (3.0 / 2.355)) ** 2
    assert decision.value == pytest.approx(whole / (1 + width), rel=0.1)
    assert "resampling" in decision.why
    assert f"up to {decision.value:.1f} times too large" in decision.doubt  # no header gives these frames' gain
    given = tuple(attrs.evolve(f, values={**f.values, "flags": 0}) for f in example_evidence(drift=4.0).frames)
    stated = resampled(attrs.evolve(example_evidence(drift=4.0), frames=given), 0.8)
    assert NoiseCorrelation().decide(stated)[0].doubt == ""


def test_a_pair_that_was_turned_tells_nothing_of_shared_noise() -> None:
    evidence = example_evidence(frames=3)
    wcs = evidence.frames[1].wcs()
    wcs.wcs.pc = [[-1.0, 0.0], [0.0, -1.0]]
    turned = attrs.evolve(evidence.frames[1], wcs=lambda: wcs)
    found = attrs.evolve(evidence, frames=(evidence.frames[0], turned, evidence.frames[2]))
    assert NoiseCorrelation().decide(found) == ()
    assert NoiseCorrelation().decide(attrs.evolve(evidence, frames=evidence.frames[:2])) == ()  # one pair alone


@pytest.mark.parametrize(("new", "another"), [(1.0, False), (1.2, False), (1.4, True)])
def test_another_share_of_noise(new: float, another: bool) -> None:
    assert NoiseCorrelation().differ("stamps.noise_correlation", 1.0, new) is another
    assert NoiseCorrelation().differ("stamps.noise_correlation", new, 1.0) is another


def test_a_gain_by_shared_noise_is_doubted() -> None:
    evidence = example_evidence()
    shared = attrs.evolve(evidence, gain=lambda: attrs.evolve(evidence.gain(), shared=2.0))
    (decision,) = check_setting_rule(GainByNoise(), shared)
    assert decision.value == 2.5
    assert "sums of pixels have 2.0 times the variance" in decision.doubt
    stated = tuple(attrs.evolve(f, values={**f.values, "flags": 0, "gain": 3.6}) for f in evidence.frames)
    (decision,) = check_setting_rule(GainByNoise(), attrs.evolve(shared, frames=stated))
    assert decision.doubt == ""  # 1.1 away, three errors of 0.2 times 2.5
