"""Signal-to-noise, depth, limits, asinh magnitudes, differences and places, against what they are by definition."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from lcframework.roi.cutout_files import cutouts_of, read_cutouts, read_fit, source_positions, write_cutouts
from lcframework.roi.derived_columns import derived, reference, softening
from lcframework.roi.light_curves import epochs_table, join, per_night, write_light_curve
from lcframework.sky.geometry import from_plane, local_map
from lcframework.testing import example_project
from lcframework.testing.finished_project import FRAMES
from lcframework.types import column_of, source_names

ZEROPOINT = 25.0


def of(flux, error, fitted=None, zeropoint=ZEROPOINT):
    flux, error = np.asarray(flux, float), np.broadcast_to(np.asarray(error, float), np.shape(flux)).copy()
    fitted = error if fitted is None else np.asarray(fitted, float)
    return derived(flux, error, fitted, zeropoint, reference(flux, error, fitted))


def test_signal_to_noise_keeps_the_sign():
    np.testing.assert_allclose(of([100.0, -6.0, 0.0], 2.0)["snr"], [50.0, -3.0, 0.0])


def test_depth_is_the_magnitude_of_five_sigma_of_the_fit():
    """A source of 20 e-/s is 5 sigma where sigma is 4: its magnitude is 25 - 2.5 log10(20) = 21.7474."""
    np.testing.assert_allclose(of([100.0], 9.0, [4.0])["depth"], [21.747425], atol=1e-6)


def test_limits_stand_for_faint_epochs_alone():
    limit = of([100.0, 30.0, 29.0, 0.0, -50.0, np.nan], 10.0)["mag_limit"]
    assert np.isnan(limit[[0, 1, 5]]).all()
    np.testing.assert_allclose(limit[2:5], 25 - 2.5 * np.log10([59.0, 30.0, 30.0]))


def test_asinh_magnitudes():
    flux = np.array([1e5, 5.0, 0.0, -5.0])
    got = of(flux, 1.0)
    b = got["asinh_softening"][0]
    assert b == pytest.approx(1.0)  # 1.042 in steps of a tenth of a decade
    assert got["asinh_mag"][0] == pytest.approx(25 - 2.5 * 5, abs=1e-6)  # a bright source's are the usual ones
    assert got["asinh_mag"][2] == pytest.approx(25 - 2.5 * np.log10(b))
    assert got["asinh_mag"][1] < got["asinh_mag"][2] < got["asinh_mag"][3]
    # Back again by the inverse of the definition, the sign included.
    pogson = 2.5 / np.log(10)
    back = 2 * b * np.sinh((ZEROPOINT - 2.5 * np.log10(b) - got["asinh_mag"]) / pogson)
    np.testing.assert_allclose(back, flux, atol=1e-7)
    # The error is what a small step in flux does.
    step = 1e-3
    moved = derived(flux + step, np.ones(4), np.ones(4), ZEROPOINT, reference(flux, np.ones(4), np.ones(4)))
    slope = (got["asinh_mag"] - moved["asinh_mag"]) / step
    np.testing.assert_allclose(got["d_asinh_mag"], slope, rtol=1e-3)


def test_a_new_epoch_hardly_ever_moves_the_softening():
    rng = np.random.default_rng(1)
    errors = rng.lognormal(0.5, 0.3, 300)
    values = [softening(errors[:n]) for n in range(200, 300)]
    assert len(set(values)) <= 2
    assert values[-1] == pytest.approx(1.042 * np.exp(0.5), rel=0.15)


def test_differences_from_the_mean_are_off_by_their_errors():
    rng = np.random.default_rng(2)
    error = rng.uniform(0.5, 4.0, 5)
    truth = np.array([10.0, 12.0, 8.0, 30.0, 11.0])
    pulls = []
    for _ in range(4000):
        got = of(truth + rng.normal(0, error), error)
        weight = 1 / error**2
        pulls.append((got["diff_flux"] - (truth - np.average(truth, weights=weight))) / got["d_diff_flux"])
    np.testing.assert_allclose(np.std(pulls, axis=0), 1.0, atol=0.05)
    np.testing.assert_allclose(np.mean(pulls, axis=0), 0.0, atol=0.06)


def test_uncalibrated_and_unmeasured_epochs():
    got = of([5.0, np.nan], [1.0, np.nan], zeropoint=np.nan)
    for name in ("depth", "mag_limit", "asinh_mag"):
        assert np.isnan(got[name]).all()
    assert got["snr"][0] == 5.0
    assert got["diff_flux"][0] == 0.0
    assert all(np.isnan(values).all() for values in of([np.nan], [np.nan]).values())


def test_nights_have_them_too(fit_of_nights):
    table = join([fit_of_nights])
    night = per_night(table, ["A", "B"], 0.0)
    assert night["exptime"].tolist() == [200.0, 100.0]
    assert night["seeing"].tolist() == pytest.approx([1.5, 1.0])
    assert night["A_snr"][0] == pytest.approx(night["A_flux"][0] / night["A_d_flux"][0])
    # Two equal epochs reach sqrt(2) deeper than one.
    assert night["A_depth"][0] - table["A_depth"][0] == pytest.approx(1.25 * np.log10(2))
    assert night["A_depth"][1] == pytest.approx(table["A_depth"][2])
    # Differences of nights count from the same level as those of epochs.
    level = table["A_flux"] - table["A_diff_flux"]
    np.testing.assert_allclose(night["A_flux"] - night["A_diff_flux"], level[0])
    assert night["A_d_diff_flux"][1] == pytest.approx(table["A_d_diff_flux"][2])
    assert night["A_asinh_softening"][0] == table["A_asinh_softening"][0]
    assert night["B_mag_limit"][1] == pytest.approx(table["B_mag_limit"][2])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    example_project(folder / "project")
    return read_fit(next((folder / "project" / "prepared_roi_cutouts").glob("*_fit.h5"))), folder / "project"


@pytest.fixture(scope="module")
def fit_of_nights(finished):
    """Return two epochs of a night and one of the next, with equal errors; B is lost in the last."""
    content, _ = finished
    fit = content.fit
    keep = [0, 1, 2]
    arrays = {n: getattr(fit, n)[keep] for n in ("translation", "model", "outliers", "reduced_chi2")}
    covariance = np.tile(np.eye(2) * 4.0, (3, 1, 1))
    flux = np.array([[100.0, 50.0], [104.0, 52.0], [80.0, -3.0]])
    columns = {name: values[keep] for name, values in content.columns.items()}
    columns.update(
        mjd=np.array([60000.9, 60001.1, 60002.1]), seeing=np.array([1.0, 2.0, 1.0]),
        relative_normalization_error=np.zeros(3), relative_extra_scatter=np.zeros(3),
    )  # fmt: skip
    new = attrs.evolve(fit, flux=flux, covariance=covariance, common_covariance=covariance, **arrays)
    return attrs.evolve(content, fit=new, columns=columns)


def test_places_in_the_frame_are_those_of_the_sky(finished, tmp_path):
    """A frame that is rotated and mirrored, registrations, and shifts of the fit: a source is where the sky has it."""
    content, project = finished
    rng = np.random.default_rng(3)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150.0, -28.0], [700.3, 401.8]
    angle = np.radians(37.0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    wcs.wcs.cd = turn @ np.diag([0.5, 0.5]) / 3600
    registration, shift = rng.normal(0, 0.3, (2, FRAMES, 2))
    epochs = read_cutouts(next((project / "prepared_roi_cutouts").glob("cutouts_*.h5")))
    of_region = local_map(wcs, 150.0, -28.0)
    transform = np.tile(of_region, (FRAMES, 1, 1))
    transform[:, :, 2] += registration - np.array([690.0, 395.0])  # the stamps' corners
    epochs = attrs.evolve(epochs, registration=registration, cutouts=attrs.evolve(epochs.cutouts, transform=transform))
    path = tmp_path / "cutouts_x.h5"
    write_cutouts(path, epochs)
    content = attrs.evolve(content, fit=attrs.evolve(content.fit, translation=shift))
    places = dict.fromkeys(range(1, FRAMES + 1), tuple(of_region[:, 2]))
    found = source_positions(path, content, places)
    x, y = wcs.all_world2pix(*from_plane(*content.fit.offset.T, 150.0, -28.0), 0)
    for i, moved in enumerate(registration + shift):
        np.testing.assert_allclose(found[i], np.stack([x, y], axis=1) + moved, atol=1e-4)
    table = epochs_table(content, found)
    np.testing.assert_allclose(table["B_x"], found[:, 1, 0])
    np.testing.assert_allclose(table["B_y"], found[:, 1, 1])
    del places[2]
    assert np.isnan(source_positions(path, content, places)[1]).all()


def test_cutouts_of_a_fit():
    assert cutouts_of("prepared_roi_cutouts/J0248_cam_r_fit.h5") == "prepared_roi_cutouts/cutouts_J0248_cam_r.h5"


def test_declarations_are_found_by_name_whatever_the_source_is_called(finished, tmp_path):
    content, _ = finished
    content = attrs.evolve(content, names=["A", "A_d"])
    table = join([content])
    assert source_names(table.colnames) == ["A", "A_d"]
    assert column_of("A_asinh_mag", "AB").meaning == "asinh AB magnitude of A, for every sign of the flux"
    assert column_of("A_d_diff_flux").ucd == "stat.error;phot.flux;arith.diff"
    assert column_of("A_y").unit == "pix"
    write_light_curve(tmp_path, "x", table, per_night(table, ["A", "A_d"], 0.0), ["AB"])
    united = Table.read(tmp_path / "x_photometry_per_epoch.ecsv", format="ascii.ecsv")
    assert {str(united[f"A_{n}"].unit) for n in ("depth", "mag_limit", "asinh_mag")} == {"mag"}
    assert {str(united[f"A_{n}"].unit) for n in ("x", "y")} == {"pix"}
    assert str(united["exptime"].unit) == "s"
