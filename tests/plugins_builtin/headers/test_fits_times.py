"""Times of headers that say it in their own way, or that contradict themselves."""

from __future__ import annotations

import pytest
from astropy.time import Time
from generic_headers import kinds, parse

from lcframework.types import Severity, TimeReference, UnusableInput
from plugins_builtin.shared.time_zones import zone_of

START = Time("2023-05-04T03:12:00").mjd
START_TEXT = "2023-05-04T03:12:00"
MILLISECOND = 1e-3 / 86400


@pytest.mark.parametrize(
    ("cards", "source"),
    [
        ({"DATE-OBS": "14/05/2023", "TIME-OBS": "03:12:00"}, "DATE-OBS+TIME-OBS"),
        ({"DATE-OBS": "2023-05-14", "TIME-OBS": "2023-05-14T03:12:00"}, "TIME-OBS"),
        ({"DATE-OBS": "2023-05-14", "TIME-OBS": "03-12-00"}, "DATE-OBS+TIME-OBS"),
        ({"DATEOBS": "2023-05-14", "TIMEOBS": "03:12:00"}, "DATEOBS+TIMEOBS"),
        ({"DATE-OBS": "20230514", "UT": "03:12:00"}, "DATE-OBS+UT"),
        ({"DATE-OBS": 20230514, "UT": "03:12:00"}, "DATE-OBS+UT"),
        ({"DATE-OBS": "2023-05-14T 3:12: 0"}, "DATE-OBS"),
        ({"DATE-OBS": "2023-05-14", "UT": (3.2, "[h] start")}, "DATE-OBS+UT"),
        ({"DATE-OBS": "2023-05-14", "UTC": (11520.0, "[s] 03:12:00 UTC")}, "DATE-OBS+UTC"),
        ({"DATE-OBS": "14MAY2023", "TIME-OBS": "031200"}, "DATE-OBS+TIME-OBS"),
        ({"DATE-OBS": "2023-05-14", "MIDPOINT": "03:12:30"}, "DATE-OBS+MIDPOINT"),
        ({"DATE-OBS": "2023-05-14", "UT-END": "03:13:00"}, "DATE-OBS+UT-END"),
        ({"JD_UTC": (2460078.6333333333, "Julian date at start of exposure")}, "JD_UTC"),
        ({"DATE-OBS": "2023-05-14", "UT-STR": "03:12:00", "UT-END": "03:13:01"}, "DATE-OBS+UT-STR"),
        ({"DATE-OBS": "2023-05-14", "EXP-STRT": "03:12:00", "UT-STOP": "03:13:01"}, "DATE-OBS+EXP-STRT"),
        ({"MJD-STR": 60078.1333333333}, "MJD-STR"),
        ({"UT-DATE": "2023-05-14", "UT-TIME": "03:12:00"}, "UT-DATE+UT-TIME"),
    ],
)
def test_forms_of_times(cards, source):
    info = parse(cards)
    assert (info.time_source, info.doubts) == (source, ())
    assert info.mjd_start == pytest.approx(START + 10, abs=1.1 * MILLISECOND)


def test_a_number_without_unit_is_taken_for_hours_with_a_doubt():
    info = parse({"DATE-OBS": "2023-05-04", "UT": 3.2})
    assert info.mjd_start == pytest.approx(START, abs=MILLISECOND)
    assert kinds(info) == [("clock_without_unit", "doubt")]


@pytest.mark.parametrize(
    ("cards", "date", "expected"),
    [
        ({"DATE-OBS": "04/05/23"}, "2023-05-04", [("ambiguous_date", "doubt"), ("short_year", "note")]),
        ({"DATE-OBS": "04/05/2023"}, "2023-05-04", [("ambiguous_date", "doubt")]),
        ({"DATE-OBS": "05/04/2023 03:12:00 AM"}, "2023-05-04", [("ambiguous_date", "doubt")]),
        ({"DATE-OBS": "14/05/23"}, "2023-05-14", [("short_year", "note")]),
        ({"DATE-OBS": "04/05/98"}, "1998-05-04", []),
        # Another card, or the comment, settles it.
        ({"DATE-OBS": ("05/04/2023", "mm/dd/yyyy")}, "2023-05-04", []),
        ({"DATE-OBS": ("04/05/2023", "dd/mm/yyyy")}, "2023-05-04", []),
        ({"DATE-OBS": ("05/04/23", "month/day/year")}, "2023-05-04", [("short_year", "note")]),
        ({"DATE-OBS": ("05/04/98", "months/days")}, "1998-05-04", []),
        ({"DATE-OBS": "04/05/23", "JD": 2460039.6333333}, "2023-04-05", []),
        ({"DATE-OBS": "04/05/45", "DATE": "1945-05-05T00:00:00"}, "1945-05-04", []),
        ({"DATE-OBS": "05/14/2023"}, "2023-05-14", []),
    ],
)
def test_days_and_years_that_are_not_plain(cards, date, expected):
    info = parse({"TIME-OBS": "03:12:00", **cards})
    assert info.mjd == pytest.approx(Time(f"{date}T03:12:00", scale="tai").mjd, abs=MILLISECOND)
    assert [k for k in kinds(info) if k[0] != "clocks_disagree"] == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("UTC approximate", 0.0), ("UTC (GPS disciplined)", 0.0), ("UTC(NTP)", 0.0), ("Universal Time", 0.0), ("UT", 0.0),
     ("Coordinated Universal Time", 0.0), ("TAI, approx.", -37.0), ("TT (estimated)", -69.184), ("GPS time", -18.0)],
)  # fmt: skip
def test_scales_with_qualifiers(text, seconds):
    info = parse({"DATE-OBS": START_TEXT, "TIMESYS": text})
    assert info.mjd == pytest.approx(START + seconds / 86400, abs=MILLISECOND)


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"TIMESYS": "NTP"}, "TIMESYS = 'NTP'.*set time_scale"),
        ({"TIMESYS": "UTC-7"}, "times are those of a zone.*time_keyword, with time_scale"),
        ({"TIMESYS": "Local"}, "times are those of a zone"),
        ({"DATE-OBS": None, "JD_UTC": 2460068.65}, r"These look like times: JD_UTC = '2460068.65'.*time_keyword"),
        ({"DATE-OBS": None, "DATE": START_TEXT}, "DATE = .*when the file was written"),
        ({"DATE-OBS": None, "BJD_TDB": 2460068.65}, "no time in the header: looked for [^.]*; name"),
        ({"DATE-OBS": None, "MJD-OBS": 60068}, "a time of day are needed.*MJD-OBS = '60068'"),
        ({"DATE-OBS": None, "JD": 60068.6}, "JD = '60068.6'"),
        ({"DATE-OBS": 1683169920}, "seconds since 1970"),
        ({"DATE-OBS": 2023.339}, "year with decimals"),
        ({"DATE-OBS": "230504"}, "two figures each"),
        ({"DATE-OBS": 20230504.13}, "a day with decimals"),
        ({"DATE-OBS": (START_TEXT, "local time at start")}, "DATE-OBS is local, as its comment says"),
        ({"DATE-OBS": (START_TEXT, "start, MST (UTC-7)")}, "DATE-OBS is local, as its comment says"),
    ],
)
def test_refusals_fit(cards, words):
    with pytest.raises(UnusableInput, match=words):
        parse({"DATE-OBS": START_TEXT, **cards})


@pytest.mark.parametrize(
    ("comment", "reference"),
    [
        ("UTC start of exposure", TimeReference.START), ("mid-exposure", TimeReference.MID),
        ("middle of exposure", TimeReference.MID), ("UTC at end of exposure", TimeReference.END),
        ("seconds from midnight", TimeReference.START), ("start (not end) of exposure", TimeReference.START),
        ("shutter closed", TimeReference.END), ("System Clock:Frame Received", TimeReference.END),
        ("System Clock-Frame Grabbed", TimeReference.END),
        ("System Clock:Est. Frame Start", TimeReference.START), ("", TimeReference.START),
    ],
)  # fmt: skip
def test_the_moment_by_the_comment(comment, reference):
    info = parse({"DATE-OBS": (START_TEXT, comment)})
    assert info.time_reference is reference
    assert kinds(info) == ([("time_of_receipt", "note")] if "Frame Rec" in comment or "Grabbed" in comment else [])
    assert parse({"DATE-OBS": (START_TEXT, comment)}, {"time_reference": "mid"}).time_reference is TimeReference.MID


def test_a_name_says_more_than_a_comment():
    assert parse({"DATE-AVG": (START_TEXT, "at the end, or so")}).time_reference is TimeReference.MID


# ---------------------------------------------------------------- several clocks


LOCAL = "2023-05-03T20:12:00"  # of UTC-7


@pytest.mark.parametrize(
    ("cards", "source", "severity"),
    [
        ({"DATE-OBS": LOCAL, "TIME-OBS": "20:12:00", "UT": "03:12:00"}, "DATE-OBS+UT", "doubt"),
        ({"DATE-OBS": LOCAL, "DATE-UT": START_TEXT}, "DATE-OBS+DATE-UT", "doubt"),
        ({"DATE-OBS": LOCAL, "TIME": ("03:12:00", "UTC")}, "DATE-OBS+TIME", "doubt"),
        ({"DATE-OBS": LOCAL, "UTC-OBS": "03:12:30"}, "DATE-OBS+UTC-OBS", "doubt"),
        ({"DATE-OBS": LOCAL, "TIME-OBS": ("03:12:00", "UTC")}, "DATE-OBS+TIME-OBS", "doubt"),
        ({"DATE-OBS": (LOCAL, "local time"), "UT": "03:12:00"}, "DATE-OBS+UT", "doubt"),
        ({"DATE-OBS": "2023-05-04T08:42:00", "UT": "03:12:00"}, "DATE-OBS+UT", "doubt"),  # UTC+5:30
        ({"DATE-OBS": "2023-05-03", "TIME-OBS": "20:12:00", "UT": "03:12:00"}, "DATE-OBS+TIME-OBS+UT", "serious"),
        ({"DATE-OBS": "2023-05-03T17:12:00", "UT": "03:12:00"}, "DATE-OBS+UT", "serious"),  # UTC-10, or UTC+14
    ],
)
def test_local_time_is_turned_to_ut(cards, source, severity):
    info = parse(cards)
    assert info.mjd_start == pytest.approx(START, abs=MILLISECOND)
    assert (info.time_source, kinds(info)) == (source, [("local_time", severity)])


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"UT": "03:12:00", "MJD-OBS": START, "TIME-OBS": "03:12:00", "DATE-END": "2023-05-04T03:13:00"}, []),
        ({"MJD-OBS": round(START, 3)}, []),  # rounded
        ({"UT": "03:13:02"}, []),  # read at the end of the exposure
        ({"MJD-OBS": START + 7 / 24}, [("clocks_disagree", "serious")]),
        ({"TIMESYS": "UTC", "UT": "10:12:00"}, [("clocks_disagree", "serious")]),
        ({"UT": "03:20:20"}, [("clocks_disagree", "doubt")]),
        ({"TIME-OBS": "2023-05-03T03:12:00", "MJD-OBS": START}, [("clocks_disagree", "doubt")]),
        ({"DATE-OBS": "2023-05-04T04:12:00", "DATE-AVG": "2023-05-04T03:12:30"}, [("clocks_disagree", "serious")]),
        ({"DATE-OBS": LOCAL, "DATE-LOC": LOCAL, "DATE-AVG": "2023-05-04T03:12:30"}, []),
        ({"DATE-END": "2023-05-04T10:13:00"}, [("clocks_disagree", "serious")]),
        ({"TIME": "10:12:00"}, []),
        # One that says it is in UT is right; the other is local.
        ({"DATE-OBS": LOCAL, "UT-OBS": START_TEXT}, []),
        ({"DATE-OBS": (START_TEXT, "UTC"), "TIME-OBS": "20:12:00"}, []),
        ({"LST": "15:00:00", "DATE-LOC": LOCAL, "JD_HELIO": 2460068.64}, []),
    ],
)
def test_clocks_are_compared(cards, expected):
    info = parse({"DATE-OBS": START_TEXT, **cards})
    assert info.mjd_start == pytest.approx(START, abs=MILLISECOND)
    assert kinds(info) == expected


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"EXPTIME": 30.0, "UT-END": "03:27:00"}, "doubt"),  # 30 coadds
        ({"EXPTIME": 600.0, "UT": "03:32:00"}, "doubt"),
        ({"EXPTIME": 600.0, "UT": ("03:27:00", "UTC")}, "doubt"),
        ({"EXPTIME": 120.0, "DATE-END": ("2023-05-04T03:28:00", "(UTC)")}, "doubt"),  # 8 coadds
        ({"EXPTIME": 120.0, "DATE-END": ("2023-05-04T03:27:00", "(UTC)")}, "doubt"),
        ({"EXPTIME": 60.0, "UT-END": ("10:13:00", "UTC")}, "serious"),  # an end is no start
        ({"EXPTIME": 60.0, "UT": ("10:13:00", "UT at end")}, "serious"),
        ({"EXPTIME": 600.0, "UT": "03:17:00"}, ""),  # the middle
        ({"EXPTIME": 600.0, "UT": "03:22:03"}, ""),  # the end
        ({"EXPTIME": 600.0, "UT": "03:15:20"}, "note"),  # neither
        ({"EXPTIME": 600.0, "UT": "03:07:00"}, "doubt"),
        ({"EXPTIME": 3600.0, "UT": "02:12:00"}, "turned"),  # UTC+1
        ({"EXPTIME": 600.0, "UT": "03:42:00"}, "doubt"),  # no zone is half an hour from UTC
        ({"EXPTIME": 10.0, "UT": "04:27:00"}, "doubt"),  # nor five quarters
        ({"EXPTIME": 10.0, "UT": "10:12:25"}, "doubt"),
        ({"UTC": (11520.0, "03:12:00.000 UTC")}, ""),
        ({"UT": 11520.0}, ""),
    ],
)
def test_a_time_is_turned_by_a_zone_and_by_nothing_else(cards, expected):
    info = parse({"DATE-OBS": START_TEXT, **cards})
    if expected == "turned":
        assert info.mjd_start == pytest.approx(START - 1 / 24, abs=MILLISECOND)
        return
    assert info.mjd_start == pytest.approx(START, abs=MILLISECOND)
    told = [k for k in kinds(info) if k[0] != "exposure_times_disagree"]
    assert told == ([("clocks_disagree", expected)] if expected else [])


@pytest.mark.parametrize(
    ("cards", "start"),
    [
        # What is called the middle in a comment is the start by the name of another.
        ({"DATE-OBS": "2023-05-04", "UT": ("03:12:00", "typical UTC (middle"), "UT-STR": "03:12:00"}, START),
        ({"DATE-OBS": (START_TEXT, "mid-exposure"), "UTSTART": "03:12:00"}, START - 100 / 86400),
        ({"DATE-OBS": START_TEXT, "UT-STR": "03:13:40"}, START),
        ({"DATE-OBS": START_TEXT, "DATE-BEG": "2023-05-04T03:12:00", "UTSTART": "03:15:20"}, START),
        ({"DATE-OBS": START_TEXT, "MJD-MID": START}, START),
    ],
)
def test_a_clock_that_names_its_moment_agrees_at_that_alone(cards, start):
    info = parse({"EXPTIME": 200.0, **cards})
    assert info.mjd_start == pytest.approx(start, abs=1.1 * MILLISECOND)
    assert kinds(info) == [("clocks_disagree", "doubt")]


@pytest.mark.parametrize(
    ("exptime", "ut", "severity"),
    [(600.0, "03:17:00", "doubt"), (600.0, "03:22:00", "doubt"), (3600.0, "03:12:00", "serious")],
)
def test_a_zone_beside_the_middle_or_end_of_an_exposure(exptime, ut, severity):
    """Of a long exposure, its middle may be off by what another zone's start is off."""
    info = parse({"EXPTIME": exptime, "DATE-OBS": LOCAL, "UT": ut})
    assert info.mjd_start == pytest.approx(START, abs=MILLISECOND)
    assert kinds(info) == [("local_time", severity)]


@pytest.mark.parametrize(
    ("ahead", "dated", "zone"),
    [(-25200.0, True, -7), (20700.0, True, 5.75), (-12600.0, True, -3.5), (50400.0, True, 14), (-36000.0, False, -10),
     (-40500.0, False, -11.25), (-40500.0, True, 0), (2700.0, True, 0), (900.0, True, 0), (4500.0, True, 0),
     (0.0, False, 0), (3605.0, True, 1), (3620.0, True, 0)],
)  # fmt: skip
def test_zones(ahead, dated, zone):
    assert zone_of(ahead, 10.0, dated) == 3600.0 * zone


@pytest.mark.parametrize(
    "card",
    [(11520.0, "03:12:00.000 UTC"), (3.2, "03:12:00 UTC")],
)
def test_a_clocks_number_is_what_its_comment_says(card):
    info = parse({"DATE-OBS": "2023-05-04", "UTC": card})
    assert info.mjd_start == pytest.approx(START, abs=MILLISECOND)
    assert info.doubts == ()


def test_the_date_of_the_evening_beside_a_clock_in_ut():
    cards = {"DATE-OBS": "2023-05-03", "UT": "03:12:00", "DATE": "2023-05-04T03:13:20"}
    assert kinds(parse(cards)) == [("clocks_disagree", "serious")]
    assert parse({**cards, "DATE-OBS": "2023-05-04"}).doubts == ()
    assert parse({**cards, "DATE": "2023-05-05T09:00:00"}).doubts == ()


@pytest.mark.parametrize("clock", [{"UT-MID": "00:00:20"}, {"UT-END": "00:00:50"}])
def test_the_date_of_an_exposure_over_midnight(clock):
    cards = {"DATE-OBS": "2023-05-04", **clock}
    assert kinds(parse(cards)) == [("clocks_disagree", "serious")]
    assert parse({**cards, "MJD-OBS": Time("2023-05-03T23:59:50").mjd}).doubts == ()
    assert parse({"DATE-OBS": "2023-05-04", "UT-MID": "00:00:40"}).doubts == ()


@pytest.mark.parametrize(
    "cards",
    [
        {"DATE-OBS": (START_TEXT, "heliocentric time of start"), "JD": START + 2400000.5},
        {"DATE-OBS": START_TEXT, "MJD-OBS": (START + 300 / 86400, "Barycentric MJD")},
        {"DATE-OBS": (START_TEXT, "UTC, no barycentric correction"), "JD": (START + 2400000.5, "[d] not HJD")},
    ],
)
def test_a_time_at_the_sun_is_not_the_telescopes(cards):
    info = parse(cards)
    assert info.mjd_start == pytest.approx(START, abs=MILLISECOND)
    assert info.doubts == ()


def test_only_times_at_the_sun():
    cards = {"DATE-OBS": None, "JD": (START + 2400000.5, "heliocentric JD at start")}
    with pytest.raises(UnusableInput, match=r"JD = .*heliocentric JD at start: not the time at the telescope"):
        parse(cards)
    assert kinds(parse(cards, {"time_keyword": "JD"})) == [("time_elsewhere", "serious")]


@pytest.mark.parametrize(
    ("cards", "elsewhere"),
    [({"TREFPOS": "BARYCENTER"}, True), ({"TIMEREF": "SOLARSYSTEM"}, True), ({"TREFPOS": "heliocenter"}, True),
     ({"TREFPOS": "TOPOCENTER"}, False), ({"TIMEREF": "LOCAL"}, False), ({"TREFPOS": "GEOCENTER"}, False)],
)  # fmt: skip
def test_the_place_of_all_times(cards, elsewhere):
    cards = {"DATE-OBS": START_TEXT, **cards}
    assert kinds(parse(cards)) == ([("time_elsewhere", "serious")] if elsewhere else [])
    assert parse(cards, {"time_keyword": "DATE-OBS"}).doubts == ()


def test_the_user_has_the_last_word():
    cards = {"DATE-OBS": (LOCAL, "local"), "UT": "03:12:00"}
    info = parse(cards, {"time_keyword": "DATE-OBS"})
    assert kinds(info) == [("local_time", "doubt")]
    assert info.mjd == pytest.approx(Time(LOCAL).mjd)
    assert parse(cards, {"time_keyword": "DATE-OBS", "time_scale": "utc"}).doubts == ()
    assert parse({"DATE-OBS": START_TEXT, "UT": "10:12:00"}, {"time_keyword": "DATE-OBS"}).doubts == ()


def test_doubts_name_what_they_are_about():
    (doubt,) = parse({"DATE-OBS": START_TEXT, "MJD-MID": START}).doubts
    assert "MJD-MID is -30 s from DATE-OBS, which is used, if it is the middle of the exposure" in doubt.text
    (doubt,) = parse({"DATE-OBS": LOCAL, "UT": "03:12:00"}).doubts
    assert "DATE-OBS is local, 7 h behind UT" in doubt.text
    assert (doubt.value, doubt.severity) == (25200.0, Severity.DOUBT)
