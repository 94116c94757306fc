"""What headers state as airmass against astropy's, with right and wrong sites, times and clocks."""

from __future__ import annotations

import json

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import FK5, AltAz, EarthLocation, SkyCoord
from astropy.io import fits
from astropy.time import Time

from lcframework.header_doctor.airmass import airmass_verdict
from lcframework.sky.ephemerides import Site
from lcframework.types import HeaderInfo

SITE = Site(-24.6272, -70.4042, 2635.0)
PLACE = (150.1137, -28.3052)
NIGHT = 60319.10  # the field rises
EXPTIME = 300.0


def true_altitude(mjd: float, site: Site = SITE) -> float:
    where = EarthLocation.from_geodetic(site.longitude * u.deg, site.latitude * u.deg, site.elevation * u.m)
    frame = AltAz(obstime=Time(mjd, format="mjd"), location=where)
    return float(SkyCoord(*PLACE, unit="deg").transform_to(frame).alt.deg)


def night(hours: float = 0.0, keyword: str = "AIRMASS", **cards: object) -> list[tuple[str, fits.Header, HeaderInfo]]:
    """Return twelve files of three hours; their times as read are `hours` later than what the sky says."""
    files = []
    for i, mjd in enumerate(NIGHT + np.linspace(0, 3, 12) / 24):
        altitude = true_altitude(mjd + 0.5 * EXPTIME / 86400)
        header = fits.Header({"RA": PLACE[0], "DEC": PLACE[1], **cards})
        header[keyword] = round(1 / np.sin(np.radians(altitude)), 3) if keyword == "AIRMASS" else altitude
        files.append((f"f{i}.fits", header, HeaderInfo(exptime=EXPTIME, gain=1.0, mjd=mjd + hours / 24)))
    return files


def test_a_right_header_agrees():
    assert airmass_verdict(night(), SITE) == "AIRMASS agrees with time, position and site to 0.01 (12 files)"
    assert airmass_verdict(night(keyword="TELALT"), SITE).startswith("TELALT agrees")
    # The start's airmass is as good as the middle's.
    files = night()
    for _, header, info in files:
        header["AIRMASS"] = 1 / np.sin(np.radians(true_altitude(info.mjd_start)))
    assert "agrees" in airmass_verdict(files, SITE)


@pytest.mark.parametrize(
    ("hours", "site", "said"),
    [
        (-3.0, SITE, "It would agree if the times were 3 h later (are they UTC?)"),
        (1.0, SITE, "It would agree if the times were 1 h earlier"),
        (0.0, Site(-24.6, 70.4, 0.0), "It would agree if the longitude had the other sign"),
        (0.0, Site(51.5, -0.1, 0.0), "Wrong may be the site"),
    ],
)
def test_a_wrong_clock_or_site_is_told(hours, site, said):
    verdict = airmass_verdict(night(hours), site)
    assert verdict.startswith("CHECK: AIRMASS differs from what time, position and site give in ")
    assert said in verdict


def test_half_an_hour_shows():
    assert airmass_verdict(night(0.5), SITE).startswith("CHECK")


@pytest.mark.parametrize("longitude", ["70:24:15 W", ("70.404", "[deg] west positive"), "289:35:45", "-70.404"])
def test_longitudes_are_read_as_the_first_look_reads_them(longitude):
    files = night(SITELAT="24:37:38 S")
    for _, header, _ in files:
        header["SITELONG"] = longitude
    assert "agrees" in airmass_verdict(files)


def test_an_old_equinox_is_precessed():
    of_1950 = SkyCoord(*PLACE, unit="deg").transform_to(FK5(equinox="J1950"))
    files = night(EQUINOX=1950.0, SITELAT="24:37:38 S", SITELONG="70:24:15 W")
    for _, header, _ in files:
        header["RA"], header["DEC"] = of_1950.ra.deg, of_1950.dec.deg
    assert "agrees" in airmass_verdict(files)


def test_without_a_project_the_header_says_where():
    west = {"SITELAT": "-24:37:38", "SITELONG": "-70 24 15"}
    assert "agrees" in airmass_verdict(night(**west))
    sexagesimal = {"OBJCTRA": "10 00 27.3", "OBJCTDEC": "-28 18 19", **west}
    files = night(**sexagesimal)
    for _, header, _ in files:
        del header["RA"], header["DEC"]
    assert "agrees" in airmass_verdict(files)
    assert airmass_verdict(night()) == (
        "AIRMASS is not compared with the time: the header does not state its site; ask with --project"
    )


def test_the_project_says_where_it_points():
    files = night()
    for _, header, _ in files:
        del header["RA"], header["DEC"]
    assert "agrees" in airmass_verdict(files, SITE, [PLACE])
    assert "where it points" in airmass_verdict(files, SITE, [PLACE, (10.0, 0.0)])


@pytest.mark.parametrize("value", ["", "n/a", 0.0, -1.0, 99.0, "nan"])
def test_no_statement_is_no_finding(value):
    files = night()
    for _, header, _ in files:
        header["AIRMASS"] = value
    assert airmass_verdict(files, SITE) == ""
    assert airmass_verdict([], SITE) == ""


def test_lcf_headers_tells_it(tmp_path, lcf):
    (tmp_path / "raw").mkdir()
    for name, header, info in night(hours=-5.0, SITELAT=SITE.latitude, SITELONG=SITE.longitude):
        header["DATE-OBS"], header["EXPTIME"], header["GAIN"] = Time(info.mjd, format="mjd").isot, EXPTIME, 1.0
        fits.PrimaryHDU(np.zeros((4, 4), np.float32), header).writeto(tmp_path / "raw" / name)
    told = lcf("headers", tmp_path / "raw", "--no-gain")
    assert "CHECK: AIRMASS differs" in told.out
    assert "5 h later" in told.out
    groups = json.loads(lcf("headers", tmp_path / "raw", "--no-gain", "--json").out)["groups"]
    assert "5 h later" in groups[0]["airmass_verdict"]
    project = tmp_path / "project.toml"
    project.write_text(
        f'[project]\nname = "Q"\n[frames]\nraw_dirs = ["raw"]\n[roi.Q]\nra = {PLACE[0]}\ndec = {PLACE[1]}\n'
        "[telescope]\nlatitude = 51.5\nlongitude = -0.1\n"
    )
    assert "Wrong may be the site" in lcf("headers", tmp_path / "raw", "--no-gain", "--project", project).out
