"""The simulated campaign against its own truth, measured by other means."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from astropy.wcs import WCS

from lcframework.testing import (
    CampaignSettings,
    CampaignTruth,
    cramer_rao_scatter,
    evaluate_light_curves,
    extend_campaign,
    read_truth,
    simulate_campaign,
)
from lcframework.testing.campaign.observing import observe
from lcframework.testing.campaign.optics import FieldPsf, stamp_image
from lcframework.testing.campaign.render import flux_bounds, render
from lcframework.testing.campaign.sky import make_catalog, make_sky
from lcframework.types import LcfError, NeedMissing

galsim = pytest.importorskip("galsim")

SMALL: dict[str, Any] = dict(size=400, stars=8, saturated_stars=1, faint_stars=8, field_galaxies=2, dither=3.0)
CLEAN = SMALL | dict(noise=False, cosmic_rays=0, bad_columns=0)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> CampaignTruth:
    return simulate_campaign(tmp_path_factory.mktemp("campaign"), frames=3, **SMALL)


def frame_of(**options: Any) -> Any:
    settings = CampaignSettings(**options)
    sky, conditions = make_sky(settings), observe(settings, 2)
    return sky, conditions, render(sky, conditions)


def test_what_is_written(campaign: CampaignTruth) -> None:
    assert sorted(p.name for p in campaign.directory.iterdir()) == ["project.toml", "raw", "stars.ecsv", "truth"]
    assert campaign.targets == ["A", "B", "C", "D"]
    assert len(campaign.frames) == 3
    assert len(campaign.fluxes) == 3 * (4 + 8)
    with fits.open(campaign.directory / "raw" / campaign.frames["frame"][0], do_not_scale_image_data=True) as hdus:
        assert hdus[0].data.dtype.kind == "i"
        assert hdus[0].data.itemsize == 2
        header = hdus[0].header
    assert header["BZERO"] == 32768
    assert header["GAIN"] == 2.5
    assert abs(Time(header["DATE-OBS"], scale="utc").mjd - campaign.frames["mjd_start"][0]) * 86400 < 2e-3
    assert campaign.frames["mjd"][0] - campaign.frames["mjd_start"][0] == pytest.approx(160 / 86400, rel=1e-4)


def test_project_file_is_a_project(campaign: CampaignTruth) -> None:
    project = tomllib.loads(campaign.project.read_text())
    roi = project["roi"]["QUAD"]
    images = campaign.objects[campaign.objects["kind"] == "target"]
    for image in images:
        ra, dec = roi["point_sources"][str(image["name"])]
        assert np.hypot((ra - image["ra"]) * np.cos(np.radians(dec)), dec - image["dec"]) * 3600 < 0.1
    assert project["run"]["offline"] is True
    assert (campaign.directory / project["stars"]["file"]["path"]).exists()


def test_a_frame_does_not_depend_on_the_others(campaign: CampaignTruth, tmp_path: Path) -> None:
    simulate_campaign(tmp_path, frames=1, **SMALL)
    project = tmp_path / "project.toml"
    project.write_text(project.read_text() + "\n# edited\n")
    truth = extend_campaign(tmp_path, 2)
    for name in campaign.frames["frame"]:
        assert (tmp_path / "raw" / name).read_bytes() == (campaign.directory / "raw" / name).read_bytes()
    for name in ("fluxes", "frames", "objects"):
        assert np.all(getattr(truth, name) == getattr(campaign, name))
    assert project.read_text().endswith("# edited\n")


def test_other_settings_are_refused(campaign: CampaignTruth) -> None:
    with pytest.raises(LcfError, match=r"other settings \(seed, exptime\)"):
        simulate_campaign(campaign.directory, frames=1, **SMALL | dict(seed=2, exptime=20.0))


def test_workers_make_the_same(campaign: CampaignTruth, tmp_path: Path) -> None:
    told = []
    truth = simulate_campaign(tmp_path, frames=3, workers=2, progress=lambda done, of: told.append((done, of)), **SMALL)
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert np.all(truth.fluxes == campaign.fluxes)


def test_fluxes_and_places_of_isolated_stars() -> None:
    sky, conditions, frame = frame_of(**CLEAN, target="single", lens_galaxies=0, variation=0.0, sky_gradient=0.0)
    settings = sky.settings
    rates = 10 ** (0.4 * (settings.zeropoint - sky.magnitudes(conditions.mjd))) * conditions.transparency
    electrons = frame.expected.astype(float) - conditions.sky * settings.exptime
    x = np.array([d.x for d in frame.drawn.values()])
    y = np.array([d.y for d in frame.drawn.values()])
    checked = 0
    for row, drawn in frame.drawn.items():
        alone = np.sort(np.hypot(x - drawn.x, y - drawn.y))[1] > 50
        i, j = round(drawn.x), round(drawn.y)
        if not alone or rates[row] < 300 or not (40 < i < 360 and 40 < j < 360):
            continue
        cut = electrons[j - 15 : j + 16, i - 15 : i + 16]
        # Wings beyond 3 arcsec hold 3 to 6 %.
        assert 0.92 < cut.sum() / (rates[row] * settings.exptime) < 1.01
        moments = [np.sum(cut.sum(axis=a) * np.arange(-15, 16)) / cut.sum() for a in (0, 1)]
        assert np.hypot(moments[0] - (drawn.x - i), moments[1] - (drawn.y - j)) < 0.15  # coma
        checked += 1
    assert checked >= 3


def test_stamp_is_what_galsim_draws() -> None:
    conditions = observe(CampaignSettings(**SMALL, psf_varies=False), 0)
    psf = FieldPsf(conditions)
    atmosphere = galsim.Kolmogorov(fwhm=conditions.seeing).shear(g1=conditions.guiding[0], g2=conditions.guiding[1])
    defocus, astig1, astig2, coma1, coma2 = conditions.aberrations
    optics = galsim.OpticalPSF(
        lam=640.0,
        diam=2.6,
        obscuration=0.3,
        defocus=defocus,
        astig1=astig1,
        astig2=astig2,
        coma1=coma1,
        coma2=coma2,
        trefoil1=0.06,
    )
    whole = galsim.Convolve(atmosphere, optics)
    # GalSim's centre is (n + 1) / 2 counted from 1; ours is pixel n / 2 counted from 0.
    drawn = whole.drawImage(nx=64, ny=64, scale=0.21, offset=(0.5 + 0.3, 0.5 - 0.2)).array
    ours = stamp_image(psf.transform(200, 200), 0.3, -0.2)
    assert ours.sum() == pytest.approx(1.0, abs=1e-3)
    assert np.abs(ours - drawn).max() < 0.004 * drawn.max()


def test_noise_is_photon_and_read_noise() -> None:
    options = SMALL | dict(cosmic_rays=0, bad_columns=0, saturated_stars=0)
    _, conditions, frame = frame_of(**options)
    settings = conditions.settings
    electrons = (frame.counts.astype(float) - settings.pedestal) * settings.gain
    variance = frame.expected + settings.read_noise**2 + settings.gain**2 / 12
    z = ((electrons - frame.expected) / np.sqrt(variance))[frame.usable]
    # The variance of a variance of n normal deviates is 2 / n.
    assert abs(z.mean()) < 5 / np.sqrt(z.size)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / z.size)
    bright = frame.expected[frame.usable] > 2 * np.median(frame.expected)
    assert abs(z[bright].var() - 1) < 5 * np.sqrt(2 / bright.sum())


def test_bounds_are_those_of_a_perfect_fit() -> None:
    _, conditions, frame = frame_of(**SMALL)
    settings = conditions.settings
    bounds = flux_bounds(frame, conditions)
    targets = [row for row in frame.drawn if row < 4]
    x, y = (round(np.mean([getattr(frame.drawn[r], axis) for r in targets])) for axis in "xy")
    window = (slice(y - 20, y + 21), slice(x - 20, x + 21))
    templates = []
    for row in targets:
        canvas = np.zeros(frame.expected.shape)
        canvas[frame.drawn[row].where] = frame.drawn[row].image
        templates.append(canvas[window].ravel() * conditions.transparency * settings.exptime)
    design = np.array(templates).T
    variance = frame.expected[window].ravel() + settings.read_noise**2 + settings.gain**2 / 12
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(1500, variance.size))
    scaled = design / np.sqrt(variance)[:, None]
    solutions = np.linalg.lstsq(scaled, noise.T, rcond=None)[0]
    scatter = solutions.std(axis=1)
    expected = [bounds[row] for row in targets]
    assert scatter == pytest.approx(expected, rel=0.1)  # 1500 draws: 1.8 %; the window leaves out the wings


def test_psf_varies_over_the_field_only_where_asked() -> None:
    def change(varies: bool) -> float:
        psf = FieldPsf(observe(CampaignSettings(seeing=(0.7, 0.7), psf_varies=varies), 0))
        one, other = (stamp_image(psf.transform(*place), 0, 0) for place in ((60, 60), (1100, 1100)))
        return float(np.abs(one - other).max() / one.max())

    assert change(True) > 0.03
    assert change(False) == 0.0


def test_refraction_lifts_blue_light_towards_the_zenith() -> None:
    settings = CampaignSettings(refraction=0.05)
    conditions = observe(settings, 4)
    assert conditions.zenith_distance > 20
    here = np.array([settings.ra]), np.array([settings.dec])
    lift = np.array(conditions.pixels(*here, np.array([0.2]))) - np.array(conditions.pixels(*here, np.array([2.2])))
    # An independent zenith: astropy's, by the sidereal time of the moment.
    lst = Time(conditions.mjd, format="mjd").sidereal_time("mean", longitude=settings.longitude, model="IAU1982").deg
    step = 1e-3
    towards = []
    for angle in np.radians([0, 90, 180, 270]):
        dec = settings.dec + step * np.cos(angle)
        ra = settings.ra + step * np.sin(angle) / np.cos(np.radians(dec))
        p, d, h = np.radians([settings.latitude, dec, lst - ra])
        towards.append(np.sin(p) * np.sin(d) + np.cos(p) * np.cos(d) * np.cos(h))
    north, east = towards[0] - towards[2], towards[1] - towards[3]
    dx, dy = lift.ravel() * settings.pixel_scale  # x towards west
    along = (-dx * east + dy * north) / np.hypot(east, north)
    assert along == pytest.approx(0.05 * 2.0 * np.tan(np.radians(conditions.zenith_distance)), rel=0.02)


def test_header_wcs_is_off_by_a_fraction_of_a_pixel(campaign: CampaignTruth) -> None:
    for name in campaign.frames["frame"]:
        wcs = WCS(fits.getheader(campaign.directory / "raw" / name))
        rows = campaign.fluxes[(campaign.fluxes["frame"] == name) & (campaign.fluxes["kind"] == "star")]
        by_name = {str(o["name"]): o for o in campaign.objects}
        objects = [by_name[str(n)] for n in rows["name"]]
        years = (rows["mjd"][0] - 57388.5) / 365.25
        dec = np.array([o["dec"] + o["pmdec"] * years / 3.6e6 for o in objects])
        ra = np.array([o["ra"] + o["pmra"] * years / 3.6e6 / np.cos(np.radians(o["dec"])) for o in objects])
        x, y = wcs.all_world2pix(ra, dec, 0)
        off = np.hypot(x - rows["x"], y - rows["y"])
        assert off.max() < 0.8
        assert np.median(off) > 0.02
        assert np.std(x - rows["x"]) < 0.2  # smooth


def test_detector_faults(campaign: CampaignTruth) -> None:
    name = str(campaign.frames["frame"][0])
    counts = fits.getdata(campaign.directory / "raw" / name).astype(float)
    columns = np.median(counts, axis=0)
    assert np.sum(columns < np.median(counts) - 20) == 1
    assert counts.max() == campaign.settings.saturation
    assert (counts == counts.max()).sum() > 20
    assert campaign.frames["cosmic_rays"][0] > 0


def test_proper_motion_moves_a_star() -> None:
    sky = make_sky(CampaignSettings())
    fast = int(np.argmax(np.hypot(sky.objects["pmra"], sky.objects["pmdec"])))
    _, dec = sky.positions(57388.5 + 8 * 365.25)
    moved = (dec[fast] - sky.objects["dec"][fast]) * 3.6e6
    assert moved == pytest.approx(8 * sky.objects["pmdec"][fast], rel=1e-6)
    assert abs(moved) > 1000  # mas
    still = make_sky(CampaignSettings(proper_motions=False))
    assert not np.any(still.objects["pmra"])


def test_catalogue_is_noisy_as_stated() -> None:
    sky = make_sky(CampaignSettings(stars=200, size=4000))
    catalog = make_catalog(sky)
    true = {str(o["name"]): o for o in sky.objects}
    stars = catalog[[str(n) in true for n in catalog["source_id"]]]
    pulls = (stars["r_mag"] - [true[str(n)]["mag"] for n in stars["source_id"]]) / stars["r_mag_err"]
    assert len(stars) > 200
    assert abs(np.mean(pulls)) < 4 / np.sqrt(len(stars))
    assert np.std(pulls) == pytest.approx(1.0, abs=4 / np.sqrt(2 * len(stars)))
    # Gaia's own relation between G, BP - RP and r holds for them.
    colour = stars["phot_bp_mean_mag"] - stars["phot_rp_mean_mag"]
    r = stars["phot_g_mean_mag"] + 0.09837 - 0.08592 * colour - 0.1907 * colour**2 + 0.1701 * colour**3
    r -= 0.02263 * colour**4
    assert abs(np.median(r - [true[str(n)]["mag"] for n in stars["source_id"]])) < 0.01
    extended = catalog[catalog["astrometric_excess_noise"] > 5]
    assert 0 < len(extended) < 20


def test_conditions_cover_their_ranges() -> None:
    conditions = [observe(CampaignSettings(), i) for i in range(24)]
    seeing = np.array([c.seeing for c in conditions])
    assert seeing.min() < 0.8
    assert seeing.max() > 1.45
    transparency = np.array([c.transparency for c in conditions])
    assert transparency.min() < 0.7
    assert transparency.max() > 0.97
    assert max(c.airmass for c in conditions) > 1.3
    times = np.array([c.mjd_start for c in conditions])
    assert np.all(np.diff(times) * 86400 > 320)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(size=10), "size"),
        (dict(target="quintet"), "quad"),
        (dict(seeing=(2.0, 1.0)), "least, most"),
        (dict(frames=0), "at least 1"),
        (dict(stars=-1), "stars"),
    ],
)
def test_settings_teach(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        simulate_campaign(tmp_path, **options)


def test_without_galsim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "galsim", None)
    with pytest.raises(NeedMissing, match=r'pip install "lcframework\[demo\]"'):
        simulate_campaign(tmp_path)


def test_no_truth(tmp_path: Path) -> None:
    with pytest.raises(LcfError, match="holds no simulated campaign"):
        read_truth(tmp_path)


@pytest.mark.parametrize(
    ("options", "targets"),
    [(dict(target="single", lens_galaxies=0), 1), (dict(target="double", lens_galaxies=2, hot_pixels=20), 2)],
)
def test_other_targets(options: dict[str, Any], targets: int) -> None:
    sky, _, frame = frame_of(**SMALL, **options)
    assert len(sky.targets) == targets
    assert np.sum(sky.objects["role"] == "lens") == options["lens_galaxies"]
    assert np.sum(~frame.usable) >= options.get("hot_pixels", 0)


# ---------------------------------------------------------------- evaluation


def measured(truth: CampaignTruth, scale: float, stated: float, seed: int = 1) -> Table:
    """A light curve that scatters by 1 % with a stated error of `stated` times that."""
    rng = np.random.default_rng(seed)
    table = Table()
    for name in truth.targets:
        rows = truth.fluxes[truth.fluxes["name"] == name]
        table["mjd"] = np.asarray(rows["mjd"]) + 20 / 86400
        flux = np.asarray(rows["flux"])
        table[f"{name}_flux"] = scale * flux * (1 + 0.01 * rng.normal(size=len(flux)))
        table[f"{name}_d_flux"] = scale * flux * 0.01 * stated
    table["zeropoint"] = truth.settings.zeropoint + 2.5 * np.log10(scale) + 0.03
    return table


def many_epochs(truth: CampaignTruth, epochs: int) -> CampaignTruth:
    parts = []
    for i in range(epochs):
        rows = truth.fluxes[truth.fluxes["frame"] == truth.frames["frame"][0]].copy()
        rows["mjd"] += i
        parts.append(rows)
    from astropy.table import vstack

    return attrs.evolve(truth, fluxes=vstack(parts))


@pytest.mark.parametrize(("scale", "stated"), [(1.0, 1.0), (0.8, 0.5)])
def test_evaluation_finds_what_was_put_in(campaign: CampaignTruth, scale: float, stated: float) -> None:
    truth = many_epochs(campaign, 400)
    answer = evaluate_light_curves(truth, measured(truth, scale, stated)[::-1])
    assert list(answer["name"]) == ["A", "B", "C", "D"]
    assert np.all(answer["epochs"] == 400)
    assert np.asarray(answer["scatter"]) == pytest.approx(10.86, rel=0.12)  # 400 epochs: 3.5 %
    assert np.asarray(answer["stated"]) == pytest.approx(10.86 * stated, rel=0.01)
    assert np.asarray(answer["pull"]) == pytest.approx(1 / stated, rel=0.12)
    assert np.asarray(answer["offset"]) == pytest.approx(0.03, abs=0.004)
    assert np.asarray(answer["ratio"] * answer["bound"]) == pytest.approx(np.asarray(answer["scatter"]))


def test_evaluation_by_folder_and_its_refusals(campaign: CampaignTruth) -> None:
    curve = measured(campaign, 1.0, 1.0)
    curve.remove_columns(["zeropoint", "D_flux"])
    curve["A_flux"][0] = np.nan
    answer = evaluate_light_curves(campaign.directory, curve)
    assert list(answer["epochs"]) == [2, 3, 3]
    assert np.all(np.isnan(answer["offset"]))
    curve["mjd"] += 0.3
    with pytest.raises(LcfError, match="mid-exposure"):
        evaluate_light_curves(campaign, curve)
    with pytest.raises(LcfError, match="no column"):
        evaluate_light_curves(campaign, curve["mjd",])


def test_cramer_rao_table(campaign: CampaignTruth) -> None:
    table = cramer_rao_scatter(campaign.directory)
    assert list(table["name"][:4]) == ["A", "B", "C", "D"]
    assert np.all(np.diff(table["bound"][:4]) > 0)
    assert 2 < table["bound"][0] < 30
