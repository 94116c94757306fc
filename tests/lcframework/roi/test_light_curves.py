"""Light curve tables: magnitudes with asymmetric errors, flags, nights, files with units."""

from __future__ import annotations

import astropy.units as u
import attrs
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.wcs import WCS

from lcframework.report.plots import light_curve
from lcframework.roi.cutout_files import FitFile, high_resolution_header, read_fit, write_fit
from lcframework.roi.epochs import filled
from lcframework.roi.light_curves import (
    epochs_table,
    join,
    magnitudes,
    per_night,
    per_visit,
    read_light_curve,
    write_light_curve,
)
from lcframework.roi.series import time_series
from lcframework.roi.visits import stands_out
from lcframework.sky.geometry import from_plane
from lcframework.types import EpochFlag, FitState, FitStatus, HighResolution, LcfError, RoiFit


def content(
    mjd, flux, error=1.0, normalization_error=0.0, band="r", instrument="cam", extra_scatter=0.0, **changes
):  # fmt: skip
    mjd, flux = np.asarray(mjd, float), np.asarray(flux, float)
    e, k = flux.shape
    error = np.broadcast_to(np.asarray(error, float), (e, k))
    fit = RoiFit(
        flux=flux, covariance=np.stack([np.diag(v**2) for v in error]),
        common_covariance=np.broadcast_to(np.eye(k) * 0.25, (e, k, k)).copy(), offset=np.zeros((k, 2)),
        offset_covariance=np.eye(2 * k), translation=np.zeros((e, 2)),
        high_resolution=HighResolution(np.zeros((4, 4)), np.zeros((4, 4)), np.ones((2, 3))),
        model=np.zeros((e, 4, 4)), outliers=np.zeros((e, 4, 4), bool), reduced_chi2=np.ones(e),
        status=FitStatus(FitState.CONVERGED, 12, ""),
    )  # fmt: skip
    fit = attrs.evolve(fit, **changes)
    columns = filled(
        e, frame_id=np.arange(e) + 1, mjd=mjd, bjd_tdb=mjd + 2400000.5, seeing=0.9, band=band, instrument=instrument,
        relative_normalization_error=normalization_error, relative_extra_scatter=extra_scatter,
    )  # fmt: skip
    return FitFile(instrument, band, ["A", "B"][:k], fit, columns, 25.0, 0.02, "AB")


def test_magnitudes_and_their_errors():
    got = magnitudes(np.array([100.0, 100.0, 1.0, -5.0, np.nan]), np.array([1.0, 40.0, 2.0, 1.0, 1.0]), 25.0)
    assert got["mag"][0] == pytest.approx(20.0)
    # Small errors are alike; large ones reach further to the faint side.
    assert got["d_mag_up"][0] == pytest.approx(got["d_mag_down"][0], rel=0.02)
    assert got["d_mag_down"][1] == pytest.approx(-2.5 * np.log10(0.6))
    assert got["d_mag_up"][1] == pytest.approx(2.5 * np.log10(1.4))
    assert np.isnan(got["d_mag_down"][2])  # the flux may be zero
    assert got["d_mag_up"][2] == pytest.approx(2.5 * np.log10(3.0))
    for column in got.values():
        assert np.isnan(column[3:]).all()


def test_errors_of_an_epoch():
    table = epochs_table(content([60000.0], [[100.0, 10.0]], error=[[1.0, 2.0]], normalization_error=0.02))
    assert table["A_d_flux_fit"][0] == pytest.approx(1.0)
    assert table["A_d_flux"][0] == pytest.approx(np.hypot(1.0, 2.0))
    assert table["B_d_flux"][0] == pytest.approx(np.hypot(2.0, 0.2))
    assert table["A_d_flux_common"][0] == pytest.approx(0.5)
    assert table["zeropoint_error"][0] == 0.02
    assert table["bjd_tdb"][0] == 2460000.5


def test_what_the_stars_scatter_beyond_their_errors_is_a_part_of_the_error():
    extra = np.array([0.06, 0.0])
    table = epochs_table(
        content([60000.0, 60001.0], [[100.0], [50.0]], error=3.0, normalization_error=0.02, extra_scatter=extra)
    )
    np.testing.assert_allclose(table["A_d_flux"], [7.0, np.sqrt(10.0)])
    np.testing.assert_allclose(table["A_d_flux_fit"], 3.0)
    np.testing.assert_allclose(table["relative_extra_scatter"], [0.06, 0.0])


def test_slow_changes_are_no_part_of_an_epoch_s_error_and_one_of_a_night_s():
    epochs = content([60000.1, 60000.2], [[100.0], [100.0]], error=3.0)
    slow = attrs.evolve(epochs, columns={**epochs.columns, "relative_slow_scatter": np.array([0.04, 0.04])})
    table = join([slow])
    np.testing.assert_allclose(table["A_d_flux"], 3.0)
    for means in (per_night(table, ["A"], 0.0), per_visit(table, ["A"])):
        assert means["A_d_flux"][0] == pytest.approx(np.hypot(3.0 / np.sqrt(2), 4.0))
        assert np.hypot(means["A_d_mag_up"][0], 0) > 0.04
    unknown = per_night(join([epochs]), ["A"], 0.0)
    assert unknown["A_d_flux"][0] == pytest.approx(3.0 / np.sqrt(2))


def test_documented_columns():
    table = epochs_table(content([60000.0], [[100.0, 10.0]]))
    expected = [
        "frame_id", "frame", "mjd", "bjd_tdb", "band", "instrument", "zeropoint", "zeropoint_error", "reduced_chi2",
        "seeing", "seeing_pixels", "airmass", "altitude", "sky_level", "relative_normalization_error",
        "relative_extra_scatter", "relative_slow_scatter", "flags", "exptime",
    ]  # fmt: skip
    of_source = (
        "flux", "d_flux", "d_flux_fit", "d_flux_common", "mag", "d_mag_down", "d_mag_up", "snr", "depth", "mag_limit",
        "asinh_mag", "d_asinh_mag", "asinh_softening", "diff_flux", "d_diff_flux", "x", "y",
    )  # fmt: skip
    for s in ("A", "B"):
        expected += [f"{s}_{c}" for c in of_source]
    assert table.colnames == expected


def test_flags():
    base = content([60000.0, 60001.0], [[100.0, 50.0], [100.0, 1.0]])
    assert epochs_table(base)["flags"].tolist() == [0, EpochFlag.LOW_SIGNAL]
    outliers = np.zeros((2, 4, 4), bool)
    outliers[1, 0, 0] = True
    odd = attrs.evolve(
        base.fit, reduced_chi2=np.array([2.0, 1.0]), outliers=outliers, status=FitStatus(FitState.BOUND, 3, "bound")
    )
    flags = epochs_table(attrs.evolve(base, fit=odd))["flags"]
    assert flags[0] == EpochFlag.HIGH_CHI2 | EpochFlag.FIT_NOT_CONVERGED
    assert flags[1] == EpochFlag.PIXELS_CLIPPED | EpochFlag.FIT_NOT_CONVERGED | EpochFlag.LOW_SIGNAL


def test_negative_flux_is_kept():
    table = epochs_table(content([60000.0], [[-3.0]]))
    assert table["A_flux"][0] == -3.0
    assert np.isnan(table["A_mag"][0])


def test_bands_and_instruments_are_joined_in_order_of_time():
    table = join([content([60003.0, 60001.0], [[1.0], [2.0]]), content([60002.0], [[3.0]], band="g")])
    assert table["mjd"].tolist() == [60001.0, 60002.0, 60003.0]
    assert table["band"].tolist() == ["r", "g", "r"]


def test_source_that_one_band_lacks():
    table = join([content([60001.0], [[1.0, 2.0]]), content([60002.0], [[3.0]], band="g")])
    nightly = per_night(table, ["A", "B"], 0.0)
    assert len(nightly) == 2
    assert np.isnan(float(np.ma.filled(nightly["B_flux"], np.nan)[1]))


def test_nights():
    """Two exposures around a midnight of Chile are one night; noon parts nights; weights are those of the errors."""
    mjd = [60000.95, 60001.15, 60001.95, 60002.15]  # UTC: evening and morning at -70 degrees
    flux, error = [[10.0], [20.0], [30.0], [30.0]], [[1.0], [2.0], [1.0], [1.0]]
    nightly = per_night(join([content(mjd, flux, error)]), ["A"], -70.4)
    assert nightly["epochs"].tolist() == [2, 2]
    assert nightly["A_flux"][0] == pytest.approx((10 / 1 + 20 / 4) / (1 + 1 / 4))
    assert nightly["A_d_flux"][0] == pytest.approx(1 / np.sqrt(1 + 1 / 4))
    assert nightly["A_scatter"].tolist() == pytest.approx([np.std([10, 20], ddof=1), 0.0])
    assert nightly["mjd"][1] == pytest.approx(60002.05)
    # The same UTC times are other nights on the other side of the Earth.
    assert per_night(join([content(mjd, flux, error)]), ["A"], 150.0)["epochs"].tolist() == [1, 2, 1]


def test_nights_of_two_telescopes():
    """Each instrument's nights part at its own noon."""
    mjd, flux = [60000.95, 60001.15], [[10.0], [20.0]]
    chile, australia = (content(mjd, flux, instrument=name) for name in ("chile", "australia"))
    nightly = per_night(join([chile, australia]), ["A"], {"chile": -70.4, "australia": 150.0})
    assert sorted(zip(nightly["instrument"], nightly["epochs"], strict=True)) == [
        ("australia", 1), ("australia", 1), ("chile", 2),
    ]  # fmt: skip


def test_visits_part_at_gaps_and_leave_out_what_stands_apart():
    """One flux of the first visit is ten sigma off; in the second a large error explains one."""
    mjd = [60000.4, 60000.5, 60000.6, 60000.7, 60001.4, 60001.5]
    flux, error = [[10.0], [10.5], [9.5], [20.0], [30.0], [90.0]], [[1.0]] * 4 + [[1.0], [50.0]]
    table = join([content(mjd, flux, error)])
    visits = per_visit(table, ["A"])
    assert visits["visit"].tolist() == [1, 2]
    assert visits["epochs"].tolist() == [4, 2]
    assert visits["A_count"].tolist() == [3, 2]
    assert visits["A_clipped"].tolist() == [1, 0]
    assert visits["A_flux"][0] == pytest.approx(10.0)
    assert visits["A_d_flux"][0] == pytest.approx(1 / np.sqrt(3))
    assert visits["A_scatter"][0] == pytest.approx(0.5)
    assert visits["hours"].tolist() == pytest.approx([7.2, 2.4])
    # A night says so, and its means are of all its fluxes.
    night = per_night(table, ["A"], 180.0)[0]
    assert (night["A_count"], night["A_clipped"]) == (4, 1)
    assert night["A_flux"] == pytest.approx(12.5)


def test_visits_are_those_of_an_instrument_in_all_its_bands():
    table = join([
        content([60000.0, 60000.6], [[1.0], [2.0]], band="r"), content([60000.3], [[3.0]], band="g"),
        content([60000.0, 60000.6], [[1.0], [2.0]], instrument="other"),
    ])  # fmt: skip
    visits = per_visit(table, ["A"])
    found = sorted(zip(visits["instrument"], visits["band"], visits["visit"], visits["epochs"], strict=True))
    assert found == [("cam", "g", 1, 1), ("cam", "r", 1, 2), ("other", "r", 1, 1), ("other", "r", 2, 1)]


def test_few_of_many_gaussian_fluxes_stand_out():
    rng = np.random.default_rng(3)
    flux = rng.normal(100.0, 2.0, 4000)
    assert stands_out(flux, np.full(4000, 2.0)).mean() == pytest.approx(0.0455, abs=0.012)
    assert not stands_out(flux, np.full(4000, 20.0)).any()
    assert not stands_out(np.array([1.0, 50.0]), np.array([1.0, 1.0])).any()


def test_nightly_pull():
    rng = np.random.default_rng(5)
    pulls = []
    for _ in range(200):
        error = rng.uniform(0.5, 2.0, (6, 1))
        table = join([content(60000 + np.arange(6) / 100, 10 + rng.normal(0, error), error)])
        row = per_night(table, ["A"], 0.0)[0]
        pulls.append((row["A_flux"] - 10) / row["A_d_flux"])
    assert np.std(pulls) == pytest.approx(1.0, abs=0.15)


def test_epochs_that_were_not_measured():
    table = join([content([60000.0, 60000.1], [[np.nan], [5.0]])])
    nightly = per_night(table, ["A"], 0.0)
    assert nightly["A_flux"][0] == 5.0
    assert np.isnan(per_night(table[:1], ["A"], 0.0)["A_flux"][0])


def test_files(tmp_path):
    table = join([content([60000.0, 60001.0], [[100.0, -3.0], [90.0, 4.0]])])
    paths = write_light_curve(tmp_path, "J0248", table, per_night(table, ["A", "B"], 0.0), ["AB", "AB"])
    assert sorted(p.name for p in paths) == [
        "J0248_photometry_per_epoch.csv", "J0248_photometry_per_epoch.ecsv", "J0248_photometry_per_night.csv",
        "J0248_photometry_per_night.ecsv", "J0248_photometry_per_visit.csv", "J0248_photometry_per_visit.ecsv",
    ]  # fmt: skip
    plain = Table.read(tmp_path / "J0248_photometry_per_epoch.csv", format="ascii.csv")
    assert plain["B_flux"][0] == -3.0
    united = QTable.read(tmp_path / "J0248_photometry_per_epoch.ecsv")
    assert united["A_flux"].unit == u.electron / u.s
    assert united["A_d_mag_up"].unit == u.mag
    assert united["seeing"].unit == u.arcsec
    assert united["seeing_pixels"].unit == u.pix
    assert united["relative_extra_scatter"].dtype.kind == "f"
    assert getattr(united["relative_extra_scatter"], "unit", None) is None
    assert QTable.read(tmp_path / "J0248_photometry_per_night.ecsv")["A_scatter"].unit == u.electron / u.s
    assert united["zeropoint_error"].unit == u.mag
    assert united.meta["magnitude_system"] == "AB"
    assert united.meta["times"]["mjd"] == "UTC, mid-exposure"


def test_light_curve_is_read_back_as_a_series(tmp_path):
    table = join([content([60000.0, 60001.0], [[100.0, -3.0], [90.0, 4.0]])])
    with pytest.raises(LcfError, match="J0248 has no light curve yet"):
        read_light_curve(tmp_path, "J0248")
    write_light_curve(tmp_path, "J0248", table, per_night(table, ["A", "B"], 0.0), ["AB"])
    series = time_series(read_light_curve(tmp_path, "J0248"))
    assert series.meta["roi"] == "J0248"
    assert list(series.time.utc.mjd) == [60000.0, 60001.0]
    assert list(series["B_flux"].value) == [-3.0, 4.0]


def test_empty_texts_are_read_back_as_empty_texts(tmp_path):
    """Frames without a filter have an empty band, which a text file holds as a missing value."""
    table = join([content([60000.0, 60001.0], [[100.0, -3.0], [90.0, 4.0]], band="")])
    write_light_curve(tmp_path, "J0248", table, per_night(table, ["A", "B"], 0.0), ["AB"])
    back = read_light_curve(tmp_path, "J0248")
    assert len(back[(back["band"] == "") & (back["instrument"] == "cam")]) == 2
    assert len(time_series(back)[back["band"] == ""]) == 2
    (figure,) = light_curve.figures(tmp_path, light_curve.Payload("J0248", "J0248_photometry_per_epoch.ecsv"))
    drawn = [len(line.get_xdata()) for axes in figure.axes for line in axes.lines]
    assert drawn == [2, 1]  # B has no magnitude where its flux is negative


def test_fit_is_read_back(tmp_path):
    written = content([60000.0, 60001.0], [[100.0, -3.0], [90.0, 4.0]])
    write_fit(tmp_path / "fit.h5", written)
    back = read_fit(tmp_path / "fit.h5")
    assert (back.instrument, back.band, back.names, back.system) == ("cam", "r", ["A", "B"], "AB")
    np.testing.assert_array_equal(back.fit.covariance, written.fit.covariance)
    for name, values in written.columns.items():
        np.testing.assert_array_equal(back.columns[name], values)
    assert back.fit.status == written.fit.status


def test_high_resolution_wcs():
    """The header of the fine image puts sky offsets where the transform does."""
    transform = np.array([[-9.0, 0.5, 31.5], [0.5, 9.0, 30.5]])
    wcs = WCS(fits.Header.fromstring(high_resolution_header(transform, 359.9999, 80.0).tostring()))
    xi, eta = np.array([0.0, 1.0, -2.0]), np.array([0.0, 2.0, 1.0])
    x, y = wcs.all_world2pix(*from_plane(xi, eta, 359.9999, 80.0), 0)
    np.testing.assert_allclose([x, y], transform[:, :2] @ [xi, eta] + transform[:, 2:], atol=1e-4)
