"""What headers say of the telescope's place and of the target."""

from __future__ import annotations

from typing import Any

import erfa
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from lcframework.first_look.star_tables import recognised
from lcframework.first_look.targets import by_header, header_name, region_name
from lcframework.header_doctor.angles import declination, read_angle, right_ascension
from lcframework.header_doctor.pointing import pointing
from lcframework.header_doctor.sites import find_site

MJD = 60000.25


@pytest.mark.parametrize(
    ("text", "value", "signed"),
    [
        ("28 45 44.8", 28.762444, False), ("-17:52:45", -17.879167, True), ("+31.68", 31.68, True),
        ("110.88", 110.88, False), ("17 52 45 W", -17.879167, True), ("S24.6272", -24.6272, True),
        ("70d24m15s W", -70.404167, True), ("45.5 N", 45.5, True), ("-00:30:00", -0.5, True),
        ("24:37:38 S", -24.627222, True), ("24 37 38S", -24.627222, True), ("24°37'38\"S", -24.627222, True),
        ("24d37m38 S", -24.627222, True), ("24d37m38s", 24.627222, False), ("10H00M27S", 10.0075, False),
        ("24:37 S", -24.616667, True), ("10:00:27s", 10.0075, False),
    ],
)  # fmt: skip
def test_angles(text, value, signed):
    angle = read_angle(text)
    assert angle is not None
    assert angle.value == pytest.approx(value, abs=1e-6)
    assert angle.signed is signed


@pytest.mark.parametrize("text", ["", "unknown", "2024-01-01", "1e5", "12:34:56:78"])
def test_what_is_no_angle(text):
    assert read_angle(text) is None


def test_hours_and_degrees():
    assert right_ascension("02:04:10.3") == pytest.approx(31.042917, abs=1e-6)
    assert right_ascension("31.312099", "02:05.25 Right Ascension") == 31.312099
    assert right_ascension("2.5", "[h] right ascension") == 37.5
    assert right_ascension("370") is None
    assert declination("+46:41:16") == pytest.approx(46.687778, abs=1e-6)
    assert declination("95") is None


def header(**cards: Any) -> fits.Header:
    made = fits.Header()
    for key, value in cards.items():
        made[key.replace("_", "-")] = value
    return made


def place(*cards: fits.Header) -> tuple[float, float, float]:
    site = find_site([(c, MJD) for c in cards]).site
    assert site is not None
    return site.latitude, site.longitude, site.elevation


def test_sites():
    assert place(header(SITELAT="28 45 44.8", SITELONG="-17 52 45", SITEELEV=2363.0)) == pytest.approx(
        (28.762444, -17.879167, 2363.0)
    )
    lowell = header(LATITUDE=35.1, LONGITUD=(-111.5, "east longitude"), ALTITUDE=(2206.0, "altitude in meters"))
    assert place(lowell) == (35.1, -111.5, 2206.0)
    assert place(header(LAT_OBS=-30.2, LONG_OBS=289.3, ALTITUDE=62.6)) == pytest.approx((-30.2, -70.7, 0.0))
    assert place(header(LATITUDE=31.7, LONGITUD=(110.9, "west longitude"))) == (31.7, -110.9, 0.0)
    xyz = header(OBSGEO_X=1815200.0, OBSGEO_Y=-5213800.0, OBSGEO_Z=-3187700.0)
    assert place(xyz)[:2] == pytest.approx((-30.17, -70.80), abs=0.02)


def test_a_longitude_without_a_sign_is_asked_for():
    found = find_site([(header(LATITUDE=31.68, LONGITUD=110.88), MJD)])
    assert found.site is None
    assert found.question.startswith("--longitude 110.88 or --longitude -110.88: LONGITUD = 110.88")
    assert found.latitude == 31.68


def test_a_negative_longitude_that_is_called_west_is_asked_for():
    cards = header(LATITUDE=28.76, LONGITUD=(-17.88, "[degrees West]"))
    found = find_site([(cards, MJD)])
    assert found.site is None
    assert 'LONGITUD = -17.88 in the header is negative, and called west ("[degrees West]")' in found.question
    hours = (np.degrees(erfa.gmst82(2400000.5, MJD)) - 17.88) % 360.0 / 15.0
    cards["LST"] = f"{int(hours):02d}:{int(hours % 1 * 60):02d}:{hours * 3600 % 60:04.1f}"
    assert place(cards)[1] == pytest.approx(-17.88)
    assert place(header(LATITUDE=28.76, LONGITUD=(-17.88, "west is positive")))[1] == pytest.approx(17.88)
    assert place(header(LATITUDE=28.76, LONGITUD=(-17.88, "west negative")))[1] == pytest.approx(-17.88)


@pytest.mark.parametrize("longitude", [-110.88, 110.88, -17.9, 5.4])
@pytest.mark.parametrize("clue", ["LST", "HA", "degrees"])
def test_sidereal_times_tell_the_sign(longitude, clue):
    local = (np.degrees(erfa.gmst82(2400000.5, MJD)) + longitude) % 360.0
    hours = local / 15.0
    text = f"{int(hours):02d}:{int(hours % 1 * 60):02d}:{hours * 3600 % 60:04.1f}"
    cards = header(LATITUDE=31.68, LONGITUD=abs(longitude))
    if clue == "LST":
        cards["LST"] = text
    elif clue == "HA":
        cards["RA"], cards["HA"] = "01:00:00", f"{(hours - 1.0) * 3600 // 3600:.0f}:{(hours - 1.0) % 1 * 60:.2f}"
        if hours < 1.0:
            pytest.skip("a negative hour angle is written otherwise")
    else:
        cards["RA"], cards["HA"] = 40.0, (local - 40.0) % 360.0
    found = find_site([(cards, MJD)])
    assert found.site is not None
    assert found.site.longitude == pytest.approx(longitude)


def test_a_wrong_sidereal_time_tells_nothing():
    assert find_site([(header(LATITUDE=31.68, LONGITUD=110.88, LST="12:00:00"), MJD)]).site is None


def test_targets():
    cards = header(OBJECT="AG Peg", OBJCTRA="21 51 02.0", OBJCTDEC="+12 37 32", RA=327.0, DEC=12.0)
    found = by_header([cards])
    assert found is not None
    assert (found.name, found.ra, found.dec) == ("AG-Peg", pytest.approx(327.758333), pytest.approx(12.625556))
    assert pointing(cards) == (327.0, 12.0)
    aimed = by_header([header(OBJECT="x", RA=327.0, DEC=12.0)])
    assert aimed is not None
    assert "seldom exact" in aimed.note
    assert by_header([header(RA=327.0, DEC=12.0)]) is None  # where it points, without a name, is no target
    assert by_header([header(OBJECT="x", RA=0.0, DEC=0.0)]) is None
    assert header_name([header(OBJECT="a"), header(OBJECT="b")]) == ""
    assert region_name("5945 Roach/approach ") == "5945-Roach-approach"
    assert region_name("?") == "target"


def test_an_older_equinox_is_turned():
    old = pointing(header(RA="00:00:00", DEC="+00:00:01", EQUINOX=1950.0))
    assert old == pytest.approx((0.640, 0.278), abs=0.003)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["source_id", "ra", "dec", "phot_g_mean_mag"], ["source_id", "ra", "dec", "phot_g_mean_mag"]),
        (["TYC", "RAmdeg", "DEmdeg", "VTmag"], [None, "RAmdeg", "DEmdeg", "VTmag"]),
        (["ID", "_RAJ2000", "_DEJ2000", "e_Vmag", "Vmag"], ["ID", "_RAJ2000", "_DEJ2000", "Vmag"]),
        (["star_id", "RA_ICRS", "DE_ICRS", "Gmag", "BPmag"], ["star_id", "RA_ICRS", "DE_ICRS", "Gmag"]),
        (["ra", "dec", "inst_mag", "peak"], [None, "ra", "dec", "inst_mag"]),
        (["ra", "dec", "flux"], [None, "ra", "dec", None]),
    ],
)
def test_columns_are_recognised(columns, expected):
    found = recognised(Table({name: [1.0] for name in columns}))
    assert [found.get(q) for q in ("source_id", "ra", "dec", "magnitude")] == expected
