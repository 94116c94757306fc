"""One hard campaign from raw frames to light curves, compared with its truth column by column.

What is expected is worked out here from the truth, by astropy, or from other tables; tolerances come from the noise.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import astropy.units as u
import attrs
import h5py
import numpy as np
import pytest
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_sun
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from astropy.wcs import WCS
from hard_campaign import (
    LINEAR,
    NIGHTS,
    SETTINGS,
    TWINKLING,
    VEGA_MINUS_AB,
    HardCampaign,
    simulate_hard_campaign,
)
from numpy.typing import NDArray

from lcframework import Project
from lcframework.types import EpochFlag, PixelFlag

Array = NDArray[Any]

SOURCES = ("A", "B")
TARGET = SkyCoord(SETTINGS.ra, SETTINGS.dec, unit="deg")
SITE = EarthLocation.from_geodetic(SETTINGS.longitude, SETTINGS.latitude, SETTINGS.elevation)


@attrs.frozen(eq=False)
class Finished:
    """The campaign and what `lcf run` made of it; rows are in the order of time."""

    truth: HardCampaign
    epochs: Table
    nights: Table
    exit_code: int

    @property
    def folder(self) -> Path:
        return self.truth.folder

    def query(self, sql: str) -> Table:
        """Return the answer to a query; numbers that are not known are nan."""
        connection = sqlite3.connect(self.folder / "database.sqlite3")
        try:
            cursor = connection.execute(sql)
            rows = [[np.nan if v is None else v for v in row] for row in cursor]
            return Table(rows=rows, names=[c[0] for c in cursor.description])
        finally:
            connection.close()

    def frames(self, columns: str, join: str = "") -> Table:
        """Return columns of `frames` as f, and of tables joined to it, in the order of time."""
        return self.query(f"select {columns} from frames f {join} order by f.mjd")

    @property
    def scatter(self) -> Array:
        """The relative scatter of a blend beyond its errors: that of the stars, and what PSF fluxes add."""
        (stars,) = self.query("select psf_scatter, scatter from estimator_weights")
        more = np.sqrt(max(stars["psf_scatter"] ** 2 - stars["scatter"] ** 2, 0.0))
        return np.hypot(np.asarray(self.coefficients["extra_scatter"]), more)

    @property
    def coefficients(self) -> Table:
        return self.frames(
            "c.coefficient, c.coefficient_uncertainty, c.extra_scatter, c.scatter",
            "join normalization_coefficients c on c.frame_id = f.id",
        )

    def star_fluxes(self) -> Table:
        """Return what the PSFs measured of the stars that are alone in the sky, with their truth.

        The errors are those of the pixels' noise: the stars' twinkling is in the true fluxes.
        """
        measured = self.query(
            "select f.key, s.gaia_id, s.psf_flux flux, s.psf_flux_uncertainty flux_uncertainty, "
            "s.x, s.y, s.x_uncertainty, s.y_uncertainty, s.chi2 "
            "from star_flux_in_frame s join frames f on f.id = s.frame_id"
        )
        measured = measured[np.isin(measured["gaia_id"], self._lonely())]
        at = {e.key: i for i, e in enumerate(self.truth.exposures)}
        measured["frame"] = [at[key] for key in measured["key"]]
        light = {star: self.truth.detected_flux(star) for star in set(measured["gaia_id"])}
        pairs = list(zip(measured["frame"], measured["gaia_id"], strict=True))
        drawn = [self.truth.exposures[i].frame.drawn[self.truth.row(star)] for i, star in pairs]
        measured["true_flux"] = [light[star][i] for i, star in pairs]
        measured["true_x"] = [d.x for d in drawn]
        measured["true_y"] = [d.y for d in drawn]
        return measured

    def _lonely(self) -> list[str]:
        """Return the stars with nothing brighter than a fiftieth of them within 5 arcsec."""
        objects = self.truth.sky.objects
        ra, dec = self.truth.sky.positions(float(np.mean(self.truth.middle)))
        places = SkyCoord(ra, dec, unit="deg")
        names = []
        for i in np.flatnonzero(objects["role"] == "reference"):
            near = places.separation(places[i]).arcsec < 5
            near[i] = False
            if not (near & (objects["mag"] < objects["mag"][i] + 4.2)).any():
                names.append(str(objects["name"][i]))
        return names

    def response(self) -> tuple[Array, Array]:
        """Return by how much the frames' star fluxes are of the light above the atmosphere, with errors.

        That is the clouds' transparency times the share of light that stamps and PSF hold.
        """
        stars = self.star_fluxes()
        clouds = np.array([e.conditions.transparency for e in self.truth.exposures])
        found = []
        for i in range(len(clouds)):
            here = stars[stars["frame"] == i]
            steady = here["true_flux"] / clouds[i]
            error = np.hypot(here["flux_uncertainty"] / steady, TWINKLING * clouds[i])
            weight = 1 / error**2
            found.append([np.average(here["flux"] / steady, weights=weight), weight.sum() ** -0.5])
        response, error = np.array(found).T
        return response, error

    def scale(self) -> float:
        """Return what a source's normalised flux is of its light above the atmosphere."""
        return float(np.exp(np.mean(np.log(self.response()[0] / self.coefficients["coefficient"]))))

    def wcs(self, key: str) -> WCS:
        """Return the WCS that was found for a frame."""
        text = (self.folder / "frames" / f"{key}.wcs").read_text()
        return WCS(fits.Header.fromstring(text, sep="\n"))


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Return the campaign after its run."""
    pytest.importorskip("galsim")
    truth = simulate_hard_campaign(tmp_path_factory.mktemp("hard") / "campaign")
    report = Project.open(truth.folder / "project.toml").run()
    products = truth.folder / "prepared_roi_cutouts"
    epochs = Table.read(products / "HARD_photometry_per_epoch.ecsv")
    nights = Table.read(products / "HARD_photometry_per_night.ecsv")
    return Finished(truth, epochs, nights, report.exit_code)


def assert_true_errors(pulls: Any, free: int | None = None) -> None:
    """Pulls have a standard deviation of 1 and a mean of 0, to four of these numbers' own standard errors.

    `free` is how many of them are independent; all where not given.
    """
    pulls = np.asarray(pulls, float).ravel()
    n = len(pulls) if free is None else free
    assert np.isfinite(pulls).all()
    assert abs(np.mean(pulls)) < 4 / np.sqrt(n)
    assert abs(np.std(pulls) - 1) < 4 / np.sqrt(2 * n)


def robust_std(values: Any) -> float:
    values = np.asarray(values, float)
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def test_every_frame_becomes_an_epoch(hard):
    assert hard.exit_code == 0
    assert list(hard.epochs["frame"]) == [e.key for e in hard.truth.exposures]
    np.testing.assert_allclose(hard.epochs["mjd"], hard.truth.middle, rtol=0, atol=1e-8)
    assert set(hard.epochs["band"]) == {"V"}
    assert set(hard.epochs["instrument"]) == {"VST-HardCam"}
    # The campaign is as hard as it should be.
    assert hard.truth.coefficients.min() == pytest.approx(0.3)
    assert hard.truth.coefficients.max() == pytest.approx(2.0)


# ---------------------------------------------------------------- fluxes and their errors


@pytest.mark.parametrize("source", SOURCES)
def test_fluxes(hard, source):
    expected = hard.scale() * hard.truth.steady_flux(source)
    assert_true_errors((hard.epochs[f"{source}_flux"] - expected) / hard.epochs[f"{source}_d_flux"])


@pytest.mark.parametrize("source", SOURCES)
def test_the_fits_errors(hard, source):
    """With what clouds and twinkling did in each frame taken from the truth, the fit's error is all that is left."""
    response, error = hard.response()
    clouds = np.array([e.conditions.transparency for e in hard.truth.exposures])
    coefficient = np.asarray(hard.coefficients["coefficient"])
    expected = hard.truth.detected_flux(source) * response / clouds / coefficient
    stated = np.hypot(hard.epochs[f"{source}_d_flux_fit"], expected * error / response)
    assert_true_errors((hard.epochs[f"{source}_flux"] - expected) / stated)


@pytest.mark.parametrize("source", SOURCES)
def test_parts_of_the_errors(hard, source):
    parts, coefficients = hard.epochs, hard.coefficients
    relative = coefficients["coefficient_uncertainty"] / coefficients["coefficient"]
    np.testing.assert_allclose(parts["relative_normalization_error"], relative, rtol=1e-6)
    np.testing.assert_allclose(parts["relative_extra_scatter"], hard.scatter, rtol=1e-6)
    flux, fit = parts[f"{source}_flux"], parts[f"{source}_d_flux_fit"]
    total = np.sqrt(fit**2 + (flux * relative) ** 2 + (flux * hard.scatter) ** 2)
    np.testing.assert_allclose(parts[f"{source}_d_flux"], total, rtol=1e-6)


def test_magnitudes(hard):
    for source in SOURCES:
        flux, error, zeropoint = (hard.epochs[n] for n in (f"{source}_flux", f"{source}_d_flux", "zeropoint"))
        np.testing.assert_allclose(hard.epochs[f"{source}_mag"], zeropoint - 2.5 * np.log10(flux), atol=1e-6)
        up, down = 2.5 * np.log10(1 + error / flux), -2.5 * np.log10(1 - error / flux)
        np.testing.assert_allclose(hard.epochs[f"{source}_d_mag_up"], up, rtol=1e-5)
        np.testing.assert_allclose(hard.epochs[f"{source}_d_mag_down"], down, rtol=1e-5)
        true = SETTINGS.zeropoint - 2.5 * np.log10(hard.truth.steady_flux(source)) + VEGA_MINUS_AB
        off = hard.epochs[f"{source}_mag"] - true
        spread = np.median(up) / np.sqrt(len(off))
        assert abs(np.median(off)) < 4 * np.hypot(hard.epochs["zeropoint_error"][0], 1.25 * spread)


def test_zero_point(hard):
    (row,) = hard.query("select * from absolute_zeropoints")
    true = SETTINGS.zeropoint + VEGA_MINUS_AB + 2.5 * np.log10(hard.scale())
    assert abs(row["zeropoint"] - true) < 4 * row["zeropoint_uncertainty"]
    np.testing.assert_allclose(hard.epochs["zeropoint"], row["zeropoint"], atol=1e-9)
    np.testing.assert_allclose(hard.epochs["zeropoint_error"], row["zeropoint_uncertainty"], atol=1e-9)
    np.testing.assert_allclose(hard.nights["zeropoint_error"], row["zeropoint_uncertainty"], atol=1e-9)
    # Its error is that of a weighted mean of as many stars.
    stars = hard.query(
        "select l.level, l.level_error, c.mag_err, c.mag from star_levels l "
        "join catalog_star_photometry c on c.gaia_id = l.gaia_id where l.comment = ''"
    )
    variance = stars["mag_err"] ** 2 + (1.0857 * stars["level_error"] / stars["level"]) ** 2 + row["scatter"] ** 2
    kept = np.abs(stars["mag"] + 2.5 * np.log10(stars["level"]) - row["zeropoint"]) < 4 * np.sqrt(variance)
    assert kept.sum() == row["stars"]
    assert row["zeropoint_uncertainty"] == pytest.approx((1 / variance[kept]).sum() ** -0.5, rel=1e-3)


def test_magnitudes_are_on_the_vega_system(hard):
    assert hard.epochs.meta["magnitude_system"] == "Vega"
    assert hard.nights.meta["magnitude_system"] == "Vega"
    assert set(hard.query("select system from absolute_zeropoints")["system"]) == {"Vega"}
    stars = hard.query("select gaia_id, mag, mag_err, system from catalog_star_photometry")
    assert set(stars["system"]) == {"Vega"}
    catalog = {str(s["source_id"]): s for s in hard.truth.catalog}
    for star in stars:
        assert star["mag"] == pytest.approx(catalog[star["gaia_id"]]["V_mag"], abs=1e-9)
        assert star["mag_err"] == pytest.approx(catalog[star["gaia_id"]]["V_mag_err"], abs=1e-9)
    with _cutouts(hard) as file:
        assert file["magnitude_system"][()].decode() == "Vega"
        assert file["global_zeropoint_uncertainty"][()] == pytest.approx(hard.epochs["zeropoint_error"][0])


# ---------------------------------------------------------------- coefficients


def test_coefficients(hard):
    coefficient, stated = (np.asarray(hard.coefficients[n]) for n in ("coefficient", "coefficient_uncertainty"))
    response, _ = hard.response()
    assert np.median(coefficient) == pytest.approx(1.0, abs=1e-6)
    steady = response / hard.scale()
    assert_true_errors((coefficient - steady) / stated)
    # Clouds alone, but for the light that stamps and PSFs lose.
    assert np.std(np.log(coefficient / hard.truth.coefficients)) < 0.03


def test_scatter_beyond_the_errors_is_the_stars_twinkling(hard):
    extra = hard.scatter
    # From some hundred differences between neighbours in time, of half independent fluxes, noisy themselves.
    assert np.median(extra) == pytest.approx(TWINKLING, rel=0.3)


# ---------------------------------------------------------------- stars


def test_stars_are_expected_where_they_moved_to(hard):
    """Positions by astropy's space motion and the frame's WCS; stars moved by up to 13 pixels since the catalogue."""
    catalog = {str(s["source_id"]): s for s in hard.truth.catalog}
    expected = hard.query(
        "select f.key, f.mjd, s.gaia_id, s.x, s.y from stars_in_frames s join frames f on f.id = s.frame_id"
    )
    farthest = 0.0
    for exposure in hard.truth.exposures[::6]:
        here = expected[expected["key"] == exposure.key]
        stars = [catalog[name] for name in here["gaia_id"]]
        at = SkyCoord(
            [s["ra"] for s in stars] * u.deg, [s["dec"] for s in stars] * u.deg, distance=1 * u.kpc,
            pm_ra_cosdec=[s["pmra"] for s in stars] * u.mas / u.yr, pm_dec=[s["pmdec"] for s in stars] * u.mas / u.yr,
            obstime=Time(2016.0, format="jyear", scale="tcb"),
        )  # fmt: skip
        moved = at.apply_space_motion(new_obstime=Time(exposure.conditions.mjd, format="mjd", scale="utc"))
        wcs = hard.wcs(exposure.key)
        xy = np.stack(wcs.all_world2pix(moved.ra.deg, moved.dec.deg, 0))
        before = np.stack(wcs.all_world2pix(at.ra.deg, at.dec.deg, 0))
        np.testing.assert_allclose([here["x"], here["y"]], xy, atol=2e-3)
        farthest = max(farthest, float(np.hypot(*(xy - before)).max()))
    assert farthest > 8


@pytest.mark.parametrize("axis", ["x", "y"])
def test_star_positions(hard, axis):
    stars = hard.star_fluxes()
    pulls = []
    for i in range(len(hard.truth.exposures)):
        here = stars[stars["frame"] == i]
        off, error = here[axis] - here[f"true_{axis}"], here[f"{axis}_uncertainty"]
        # What moves all stars alike is where the PSF's centre is.
        mean = np.average(off, weights=error**-2.0)
        pulls.append((off - mean) / np.sqrt(error**2 - 1 / (error**-2.0).sum()))
    pulls = np.concatenate(pulls)
    assert robust_std(pulls) == pytest.approx(1.0, abs=4 * 1.17 / np.sqrt(len(pulls)))


def test_star_fluxes(hard):
    stars = hard.star_fluxes()
    pulls = []
    for i in range(len(hard.truth.exposures)):
        here = stars[stars["frame"] == i]
        ratio, error = here["flux"] / here["true_flux"], here["flux_uncertainty"] / here["true_flux"]
        mean = np.average(ratio, weights=error**-2.0)
        pulls.append((ratio - mean) / np.sqrt(error**2 - 1 / (error**-2.0).sum()))
    pulls = np.concatenate(pulls)
    assert robust_std(pulls) == pytest.approx(1.0, abs=4 * 1.17 / np.sqrt(len(pulls)))
    assert abs(np.median(pulls)) < 4 * 1.25 / np.sqrt(len(pulls))


# ---------------------------------------------------------------- pixels


def _cutouts(hard: Finished) -> h5py.File:
    (path,) = (hard.folder / "prepared_roi_cutouts").glob("cutouts_*.h5")
    return h5py.File(path)


def _stamps(hard: Finished) -> Iterator[tuple[int, str, dict[str, Array], tuple[slice, slice]]]:
    """Yield frame, name, the stamp's arrays and the part of the frame that it is, where it is whole."""
    with h5py.File(hard.folder / "regions.h5") as file:
        for i, exposure in enumerate(hard.truth.exposures):
            group = file["frames"][exposure.key]
            for name in group["data"]:
                if name == "ROI":
                    continue
                arrays = {kind: group[kind][name][()] for kind in ("data", "noisemap", "mask", "cosmicsmask")}
                n = len(arrays["data"])
                x, y = np.floor(group["image_pixel_coordinates"][name][()] - (n - 1) / 2 + 0.5).astype(int)
                if min(x, y) >= 0 and max(x, y) + n <= SETTINGS.size:
                    yield i, name, arrays, (slice(y, y + n), slice(x, x + n))


def test_stamps_and_their_noise(hard):
    pulls = []
    for i, _, arrays, where in _stamps(hard):
        good = arrays["mask"] == 0
        pulls.append(((arrays["data"] - hard.truth.exposures[i].light[where]) / arrays["noisemap"])[good])
    pulls = np.concatenate(pulls)
    # The noise that pixels have follows their own counts: faint by chance, they claim too little. That is below 1 %.
    assert robust_std(pulls) == pytest.approx(1.0, abs=0.015)


def test_saturation_is_the_users(hard):
    """The header says 60 000, which no pixel reaches."""
    count = 0
    for exposure in hard.truth.exposures:
        counts = fits.getdata(hard.folder / "raw" / exposure.conditions.name)
        flags = fits.getdata(hard.folder / "frames" / f"{exposure.key}.fits", "MASK")
        np.testing.assert_array_equal((flags & PixelFlag.SATURATED.value) > 0, counts >= LINEAR)
        count += (counts >= LINEAR).any()
    assert 5 < count < len(hard.truth.exposures)
    saturated = hard.query(
        "select f.key, s.x, s.y from stars_in_frames s join frames f on f.id = s.frame_id where saturated"
    )
    assert len(saturated) > 5
    assert hard.query("select count(*) as n from stars_in_frames where saturated and usable")["n"][0] == 0


def _hot_pixels() -> Array:
    """Return the simulated dark current in excess, (ny, nx) e-/s."""
    rng = SETTINGS.random("detector")
    rng.choice(SETTINGS.size, SETTINGS.bad_columns, replace=False)
    y, x = rng.integers(0, SETTINGS.size, (2, SETTINGS.hot_pixels))
    out = np.zeros((SETTINGS.size, SETTINGS.size))
    out[y, x] = rng.uniform(5.0, 60.0, SETTINGS.hot_pixels)
    return out


def test_hot_pixels_are_corrected(hard):
    current = _hot_pixels()
    found, used = [], 0
    for i, _, arrays, where in _stamps(hard):
        hot = (current[where] > 0) & (arrays["mask"] == 0)
        used += hot.any()
        off = arrays["data"] - hard.truth.exposures[i].light[where]
        found.extend((off / arrays["noisemap"])[hot])
    assert used > 30
    # The simulation gives their current no noise of its own, which the noise map has; the map of hot pixels has noise,
    # the same in all frames, of a fifth of a frame's.
    assert robust_std(found) < 1.1
    assert abs(np.median(found)) < 0.2


def test_rays_on_targets_are_masked(hard):
    seen = 0
    for i, name, arrays, where in _stamps(hard):
        ray = hard.truth.exposures[i].ray[where]
        if name == SETTINGS.name and ray.any():
            seen += 1
            assert arrays["cosmicsmask"][ray].mean() >= 0.8
            assert ((arrays["mask"][ray] & PixelFlag.COSMIC.value) > 0).mean() >= 0.8
    assert seen == sum(e.ray.any() for e in hard.truth.exposures) > 0


def test_cutouts_are_normalised_with_their_noise(hard):
    coefficient = np.asarray(hard.coefficients["coefficient"])
    stamps = {i: where for i, name, _, where in _stamps(hard) if name == SETTINGS.name}
    with _cutouts(hard) as file:
        np.testing.assert_allclose(file["normalization_coefficient"], coefficient)
        data, noise, mask = (file[n][()] for n in ("data", "noisemap", "mask"))
    for i, exposure in enumerate(hard.truth.exposures):
        pulls = ((data[i] - exposure.light[stamps[i]] / coefficient[i]) / noise[i])[~mask[i]]
        assert robust_std(pulls) == pytest.approx(1.0, abs=5 * 1.17 / np.sqrt(len(pulls)))


# ---------------------------------------------------------------- time and sky


def test_barycentric_times(hard):
    time = Time(hard.truth.middle, format="mjd", scale="utc", location=SITE)
    expected = time.tdb + time.light_travel_time(TARGET, "barycentric")
    np.testing.assert_allclose((hard.epochs["bjd_tdb"] - expected.jd) * 86400, 0, atol=0.05)


def test_altitudes_and_airmasses(hard):
    there = TARGET.transform_to(AltAz(obstime=Time(hard.truth.middle, format="mjd", scale="utc"), location=SITE))
    altitude = there.alt.deg
    assert np.ptp(altitude) > 10
    np.testing.assert_allclose(hard.epochs["altitude"], altitude, atol=0.01)
    # Young and Irvine 1967, good to 0.001 at such altitudes.
    secant = 1 / np.sin(np.radians(altitude))
    np.testing.assert_allclose(hard.epochs["airmass"], secant * (1 - 0.0012 * (secant**2 - 1)), atol=0.004)
    rows = hard.frames("r.azimuth, r.altitude, r.airmass", "join rois_in_frames r on r.frame_id = f.id")
    np.testing.assert_allclose((rows["azimuth"] - there.az.deg + 180) % 360 - 180, 0, atol=0.02)
    np.testing.assert_allclose(rows["airmass"], hard.epochs["airmass"])


def test_zenith(hard):
    """The direction to the zenith is the position angle of the point above the telescope, east of north."""
    frame = AltAz(obstime=Time(hard.truth.middle, format="mjd", scale="utc"), location=SITE)
    there = TARGET.transform_to(frame)
    above = SkyCoord(there.az, there.alt + 1 * u.arcmin, frame=frame).icrs
    angle, length = TARGET.position_angle(above).rad, 1 / np.tan(there.alt.rad)
    expected = np.stack([length * np.sin(angle), length * np.cos(angle)], axis=1)
    assert np.ptp(angle) > 1
    with _cutouts(hard) as file:
        # Of date is 0.14 degrees from ICRS in position angle.
        np.testing.assert_allclose(file["zenith"], expected, atol=0.01)


def test_seeing_sky_and_noise(hard):
    exposures = hard.truth.exposures
    seeing = np.array([e.frame.fwhm for e in exposures])
    assert np.ptp(seeing) > 0.8
    np.testing.assert_allclose(hard.epochs["seeing"] / seeing, 1, atol=0.05)
    np.testing.assert_allclose(hard.epochs["seeing_pixels"] * SETTINGS.pixel_scale / seeing, 1, atol=0.05)
    sky = np.array([e.sky.mean() for e in exposures])
    np.testing.assert_allclose(hard.epochs["sky_level"] / sky, 1, atol=0.004)
    noise = np.array([_sky_noise(e.sky) for e in exposures])
    measured = hard.frames("background_rms_electron_per_second as rms")["rms"]
    np.testing.assert_allclose(measured / noise, 1, atol=0.015)


def _sky_noise(sky: Array) -> float:
    """Return the noise of a pixel of the sky, e-/s; the pedestal has none."""
    electrons = (sky * SETTINGS.exptime).mean() - SETTINGS.pedestal * SETTINGS.gain
    return float(np.sqrt(electrons + SETTINGS.read_noise**2 + SETTINGS.gain**2 / 12) / SETTINGS.exptime)


def test_scale_and_orientation(hard):
    rows = hard.frames("pixel_scale, angle_to_north")
    np.testing.assert_allclose(rows["pixel_scale"], SETTINGS.pixel_scale, rtol=2e-3)
    for row, exposure in zip(rows, hard.truth.exposures, strict=True):
        wcs = exposure.conditions.true_wcs()
        x, y = wcs.all_world2pix([SETTINGS.ra] * 2, [SETTINGS.dec, SETTINGS.dec + 1e-3], 0)
        north = np.degrees(np.arctan2(-(x[1] - x[0]), y[1] - y[0]))
        assert row["angle_to_north"] == pytest.approx(north, abs=0.2)


def test_sun_and_flags(hard):
    rows = hard.frames("sun_altitude, flags")
    times = Time(hard.truth.middle, format="mjd", scale="utc")
    sun = get_sun(times).transform_to(AltAz(obstime=times, location=SITE)).alt.deg
    np.testing.assert_allclose(rows["sun_altitude"], sun, atol=0.02)
    assert set(rows["flags"]) == {0}
    quiet = np.array([not e.ray.any() for e in hard.truth.exposures])
    assert set(hard.epochs["flags"][quiet]) == {0}
    assert set(hard.epochs["flags"]) <= {0, EpochFlag.PIXELS_CLIPPED.value}


def test_nights(hard):
    """Nights last from local noon to local noon, and midnight UTC parts some of them."""
    local = hard.truth.middle + SETTINGS.longitude / 360
    night = np.floor(local - 0.5).astype(int)
    assert len(set(night)) == NIGHTS
    assert any(len(set(np.floor(hard.truth.middle[night == n]))) > 1 for n in night)
    # A night is numbered by the day, UTC, in which its local noon is.
    noon = np.floor(night + 0.5 - SETTINGS.longitude / 360).astype(int)
    assert list(hard.nights["night"]) == sorted(set(noon))
    for row in hard.nights:
        mine = hard.epochs[noon == row["night"]]
        assert row["epochs"] == len(mine)
        assert row["mjd"] == pytest.approx(np.mean(mine["mjd"]), abs=1e-8)
        assert row["bjd_tdb"] == pytest.approx(np.mean(mine["bjd_tdb"]), abs=1e-8)
        for source in SOURCES:
            flux, error = np.asarray(mine[f"{source}_flux"]), np.asarray(mine[f"{source}_d_flux"])
            assert row[f"{source}_flux"] == pytest.approx(np.average(flux, weights=error**-2))
            assert row[f"{source}_d_flux"] == pytest.approx((error**-2).sum() ** -0.5)
            assert row[f"{source}_scatter"] == pytest.approx(np.std(flux, ddof=1))
