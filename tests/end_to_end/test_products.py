"""What a user finds at the end of a run: images whose coordinates are right, nights, backgrounds to start from."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

STARRED = 'plugin = "starred"\n[roi_model.starred]\niterations_translations = 60\niterations_all = 200'
MODEL = 'plugin = "joint"'


def product(campaign, pattern):
    (path,) = (campaign.folder / "prepared_roi_cutouts").glob(pattern)
    return path


def true_places(campaign):
    """Return where the point sources are in the mean frame, ICRS, by name."""
    objects = campaign.truth.objects
    return {str(o["name"]): SkyCoord(o["ra"], o["dec"], unit="deg") for o in objects[objects["kind"] == "target"]}


def test_point_sources_fall_on_their_coordinates(finished):
    model, header = fits.getdata(product(finished, "*_high_res_model.fits"), header=True)
    background, other = fits.getdata(product(finished, "*_background.fits"), header=True)
    points = model - background
    wcs = WCS(header)
    assert wcs.wcs.compare(WCS(other).wcs)
    rows, columns = np.indices(points.shape)
    places = true_places(finished)
    for place in places.values():
        x, y = wcs.world_to_pixel(place)
        # Of two images 1.5 arcsec apart on pixels of 0.1 arcsec, each has a circle of 5 pixels for itself.
        near = np.where(np.hypot(columns - x, rows - y) < 5, points, 0)
        centre = (near * columns).sum() / near.sum(), (near * rows).sum() / near.sum()
        assert np.hypot(centre[0] - x, centre[1] - y) < 0.5  # of a fine pixel: 50 mas; the frames' WCS is off by 30


def test_astrometry_is_that_of_the_truth(finished):
    found = json.loads(product(finished, "*_astrometry.json").read_text())
    places = true_places(finished)
    assert list(found) == list(places)
    apart = {n: SkyCoord(f["ra"], f["dec"], unit="deg").separation(places[n]).arcsec for n, f in found.items()}
    assert max(apart.values()) < 0.05
    # Between the two, the error of the WCS does not count.
    first, second = (SkyCoord(f["ra"], f["dec"], unit="deg") for f in found.values())
    true_first, true_second = places.values()
    step, true_step = first.spherical_offsets_to(second), true_first.spherical_offsets_to(true_second)
    for axis, key in ((0, "ra_error_arcsec"), (1, "dec_error_arcsec")):
        error = np.hypot(*(f[key] for f in found.values()))
        assert abs((step[axis] - true_step[axis]).to_value("arcsec")) < 4 * error


def test_nights_are_means_of_their_epochs(finished):
    epochs = finished.curve()
    nights = Table.read(product(finished, "*_per_night.csv"), format="ascii.csv")
    assert len(nights) == len(set(np.floor(epochs["mjd"] + 0.5))) < len(epochs)
    for night in nights:
        mine = epochs[np.abs(epochs["mjd"] - night["mjd"]) < 0.5]
        weight = 1 / np.asarray(mine["A_d_flux"]) ** 2
        assert night["A_flux"] == pytest.approx(np.sum(weight * mine["A_flux"]) / weight.sum(), rel=1e-6)
        assert night["A_d_flux"] >= 0.999 * weight.sum() ** -0.5


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".fits", ".npy"])
def test_starting_background_is_held(campaign, suffix):
    campaign.edit(MODEL, STARRED)
    assert campaign.done() == {"model_calibrated_cutouts": 2}
    image = np.asarray(fits.getdata(product(campaign, "*_background.fits")), float)
    free = campaign.curve()
    path = campaign.folder / f"start{suffix}"
    np.save(path, image) if suffix == ".npy" else fits.writeto(path, image)
    campaign.append(f'starting_background = "{path.name}"\noptimize_background = false')
    assert campaign.done() == {"model_calibrated_cutouts": 2}
    np.testing.assert_allclose(fits.getdata(product(campaign, "*_background.fits")), image, rtol=1e-5, atol=1e-7)
    for name in "AB":
        assert (np.abs(campaign.curve()[f"{name}_flux"] - free[f"{name}_flux"]) < 0.2 * free[f"{name}_d_flux"]).all()
    # Other contents of the same file are another background.
    np.save(path, 0 * image) if suffix == ".npy" else fits.writeto(path, 0 * image, overwrite=True)
    ((stage, changed),) = campaign.pending().items()
    assert stage == "model_calibrated_cutouts"
    assert [why.partition(": ")[0] for why in changed] == ["roi_model.starred.starting_background.contents"]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ("frames = { seeing = [0.0, 1.0] }", "table frames has no column of numbers called seeing"),
        ("normalization = { \"1); drop table frames; --\" = [0.0, 1.0] }", "numbers called 1); drop table frames; --"),
        ("frames = { band = [0.0, 1.0] }", "numbers called band"),
    ],
)  # fmt: skip
def test_limits_on_columns_that_there_are_not(campaign, limits, message):
    campaign.append(f"[roi_cutouts]\n{limits}")
    ended = campaign.run()
    assert ended.code == 1
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert campaign.query("select count(*) from frames") == [(4,)]


@pytest.mark.parametrize("table", ["frames", "normalization"])
def test_limits_on_any_column(campaign, table):
    column = {"frames": "sky_level_electron_per_second", "normalization": "coefficient"}[table]
    values = sorted(v for (v,) in campaign.query(f"select {column} from frames") if v) if table == "frames" else sorted(
        v for (v,) in campaign.query(f"select {column} from normalization_coefficients")
    )  # fmt: skip
    campaign.append(f"[roi_cutouts]\n{table} = {{ {column} = [{values[1] - 1e-9}, {values[-1] + 1e-9}] }}")
    assert campaign.run().code == 0
    assert len(campaign.curve()) == 3
