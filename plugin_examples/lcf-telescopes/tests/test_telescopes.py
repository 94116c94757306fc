"""Each parser reads a header of its telescope, with times and gains worked out by hand, and leaves all others alone."""

from __future__ import annotations

import importlib
import math
import os
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits

from lcframework.testing import check_header_parser
from lcframework.types import DataUnit, HeaderInfo, TimeReference, UnusableInput

pytest.importorskip("lcf_telescopes", reason="not installed: pip install plugin_examples/lcf-telescopes")

HEADERS = Path(__file__).parent / "headers"
SECOND = 1.0 / 86400.0
#: What each header says: its start and length decide all times.
EXPECTED: dict[str, dict[str, Any]] = {
    "omegacam": dict(mjd_start=57288.25, exptime=320.0, gain=2.56, read_noise=5.1, band="r_SDSS",
                     instrument="OmegaCAM", time_reference=TimeReference.START),
    "wfi": dict(mjd_start=57710.0625, exptime=320.0, gain=2.68, read_noise=4.9, band="Rc-162", instrument="WFI"),
    "ecam": dict(mjd_start=57095.2, exptime=360.0, read_noise=5.0, band="RG", instrument="EulerCam"),
    "alfosc": dict(mjd_start=58052.1, exptime=60.0, gain=0.16, read_noise=4.3, band="R_Bes", instrument="ALFOSC",
                   time_reference=TimeReference.MID, mjd=58052.1 + 30 * SECOND),
    "sinistro": dict(mjd_start=58821.15, exptime=180.0, gain=1.0, read_noise=8.2, band="rp", saturation=117000.0,
                     instrument="1m0-05-fa15", data_unit=DataUnit.ELECTRON),
    "ztf": dict(mjd_start=60554.0 + (3 * 3600 + 16 * 60 + 33.43) * SECOND, exptime=30.0, gain=6.2, read_noise=10.9,
                band="ZTF_r", saturation=46733.0),
    "decam": dict(mjd_start=58575.2, exptime=120.0, gain=3.65, read_noise=math.sqrt(50.0), band="VR",
                  saturation=39146.2),
    "hall42": dict(mjd_start=58568.1, exptime=300.0, gain=3.33, read_noise=13.3, band="VR", saturation=65535.0),
    "shoc": dict(mjd_start=57129.8, exptime=30.0, gain=1.53, read_noise=6.52, band="V", saturation=51744.0,
                 time_reference=TimeReference.END, instrument="SHOC-6448"),
}  # fmt: skip


def header_of(name: str, **changes: Any) -> fits.Header:
    header = fits.Header.fromstring((HEADERS / f"{name}.txt").read_text(), sep="\n")
    for keyword, value in changes.items():
        header[f"HIERARCH {keyword}" if " " in keyword else keyword] = value
    return header


def parser_of(name: str, **options: Any) -> Any:
    (kind,) = importlib.import_module(f"lcf_telescopes.{name}").lcf_header_parsers().values()
    return kind(**options)


def parsed(name: str, header: fits.Header | None = None, **options: Any) -> HeaderInfo:
    return parser_of(name, **options).parse(header or header_of(name), Path("a.fits"))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_header_of_the_telescope(name: str) -> None:
    check_header_parser(parser_of(name), header_of(name), Path("a.fits"), EXPECTED[name])


@pytest.mark.parametrize("name", EXPECTED)
def test_other_headers_are_left_alone(name: str) -> None:
    parser = parser_of(name)
    for other in (o for o in EXPECTED if o != name):
        assert parser.parse(header_of(other), Path("a.fits")) is None, other
    check_header_parser(parser)  # standard keywords, of an unknown telescope
    assert parser.parse(fits.Header({"EXPTIME": 60.0, "INSTRUME": "unknown"}), Path("a.fits")) is None


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("wrong", [0.0, -5.0, "long"])
def test_an_exposure_time_that_makes_no_sense(name: str, wrong: Any) -> None:
    keyword = "EXPOSURE" if name == "shoc" else "EXPTIME"
    with pytest.raises(UnusableInput, match=f"{keyword} = {wrong}"):
        parsed(name, header_of(name, **{keyword: wrong}))


@pytest.mark.parametrize(
    ("name", "keyword"),
    [("omegacam", "DATE-OBS"), ("wfi", "DATE-OBS"), ("ecam", "DATE-OBS"), ("alfosc", "DATE-AVG"),
     ("sinistro", "DATE-OBS"), ("ztf", "SHUTOPEN"), ("decam", "DATE-OBS"), ("hall42", "UTCSTART"),
     ("shoc", "FRAME")],
)  # fmt: skip
def test_a_time_that_can_not_be_read(name: str, keyword: str) -> None:
    with pytest.raises(UnusableInput, match="no date and time such as"):
        parsed(name, header_of(name, **{keyword: "yesterday, at midnight"}))


@pytest.mark.parametrize("name", EXPECTED)
def test_it_is_announced(name: str) -> None:
    assert [p.value for p in entry_points(group="lcframework", name=f"header-{name}")] == [f"lcf_telescopes.{name}"]


def test_omegacam_by_astro_wise() -> None:
    cards = {"INSTRUME": "OMEGACAM", "OBSTART": "2018-03-01T02:24:00", "DATE-OBS": "2018-03-05", "EXPTIME": 320.0}
    info = parsed("omegacam", fits.Header({**cards, "GAIN": 0.0, "SATLEVEL": 51000.0, "FILTER": "r_SDSS"}))
    assert info.mjd == pytest.approx(58178.1, abs=1e-9)
    assert math.isnan(info.gain)  # measured in the frames' noise
    assert (info.saturation, info.time_source) == (51000.0, "OBSTART")
    assert parsed("omegacam", gain=2.4).gain == 2.4


def test_wfi_without_a_gain_or_with_two() -> None:
    header = header_of("wfi")
    del header["ESO DET OUT4 CONAD"]
    assert math.isnan(parsed("wfi", header).gain)  # GAIN is ADU per electron, and not used
    assert math.isnan(parsed("wfi", header_of("wfi", **{"ESO DET OUT1 CONAD": 1.99})).gain)
    assert parsed("wfi", header_of("wfi", **{"ESO INS FILT1 NAME": "BB#B/99_ESO842"})).band == "B-99"
    assert parser_of("wfi").parse(header_of("wfi", TELESCOP="SSO 40 inch"), Path("a.fits")) is None


def test_ecam_has_no_gain_in_its_header_and_may_be_read_by_four_amplifiers() -> None:
    assert math.isnan(parsed("ecam").gain)  # measured in the frames' noise
    assert parsed("ecam", gain=2.7).gain == 2.7
    with pytest.raises(UnusableInput, match="four amplifiers"):
        parsed("ecam", header_of("ecam", **{"OGE DET OUT RNAME": "ALL"}))


def test_alfosc_without_a_midpoint_and_its_spectra() -> None:
    header = header_of("alfosc", FBFLTNM="Open (5)", ALFLTNM="r'_SDSS 618_148", FAFLTNM="Open")
    del header["DATE-AVG"]
    info = parsed("alfosc", header)
    assert info.mjd_start == pytest.approx(58052.1, abs=1e-9)
    assert (info.time_source, info.band) == ("DATE-OBS", "r_SDSS")
    with pytest.raises(UnusableInput, match="a spectrum"):
        parsed("alfosc", header_of("alfosc", ALGRNM="Grism_#4"))


def test_sinistro_before_banzai() -> None:
    raw = parsed("sinistro", header_of("sinistro", GAIN=2.3, RLEVEL=0))
    assert (raw.gain, raw.data_unit) == (2.3, DataUnit.ADU)
    header = header_of("sinistro")
    del header["GAIN"]
    with pytest.raises(UnusableInput, match="hdu_data"):
        parsed("sinistro", header)


def test_ztf_without_the_shutter() -> None:
    header = header_of("ztf")
    del header["SHUTOPEN"]
    info = parsed("ztf", header)
    assert info.mjd == pytest.approx(60554.0 + (3 * 3600 + 16 * 60 + 32) * SECOND, abs=1e-9)
    assert info.time_source == "DATE-OBS"


def test_decam_raw_halves_differ() -> None:
    header = header_of("decam", GAINA=4.0, GAINB=4.6)
    with pytest.raises(UnusableInput, match="not on one scale"):
        parsed("decam", header)
    assert parsed("decam", header, gain=4.0).gain == 4.0
    with pytest.raises(UnusableInput, match="hdu_data"):
        parsed("decam", fits.Header({"INSTRUME": "DECam", "EXPTIME": 30.0}))


def test_hall42_amplifiers() -> None:
    info = parsed("hall42", header_of("hall42", AAMP_01=1, AAMP_03=0))
    assert (info.gain, info.read_noise) == (4.95, 9.3)
    assert parsed("hall42", gain=3.7).gain == 3.7
    with pytest.raises(UnusableInput, match="2 amplifiers"):
        parsed("hall42", header_of("hall42", AAMP_01=1))


@pytest.mark.skipif("LCF_HALL42" not in os.environ, reason="LCF_HALL42 does not name a folder with raw/ of Hall frames")
def test_hall42_on_real_frames() -> None:
    files = sorted((Path(os.environ["LCF_HALL42"]) / "raw").glob("*.fits"))
    assert files
    for file in files:
        header = fits.getheader(file)
        info = parser_of("hall42").parse(header, file)
        # A pipeline added the middle of the exposure, as a Julian date.
        assert info.mjd_mid == pytest.approx(header["MIDTIMJD"] - 2400000.5, abs=0.05 * SECOND)
        assert (info.gain, info.read_noise, info.band, info.exptime) == (4.95, 9.3, "VR", 300.0)


def test_shoc_triggers() -> None:
    gps = header_of("shoc", TRIGGER="External Start", GPSSTART="2015-04-17T19:12:00.000")
    assert parsed("shoc", gps).mjd == pytest.approx(57129.0 + (19 * 3600 + 12 * 60) * SECOND, abs=1e-9)
    assert parsed("shoc", gps).time_reference is TimeReference.START
    with pytest.raises(UnusableInput, match="without GPSSTART"):
        parsed("shoc", header_of("shoc", TRIGGER="External"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"NAXIS": 3, "NAXIS3": 50}, "a cube of 50 frames"), ({"OUTPTAMP": "Electron Multiplying"}, "multiplication"),
     ({"PREAMP": 9.9}, "no gain is known"), ({"READTIME": 1e-7}, "no gain is known")],
)  # fmt: skip
def test_shoc_refuses(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UnusableInput, match=words):
        parsed("shoc", header_of("shoc", **changes))
    slow, fast = parsed("shoc"), parsed("shoc", header_of("shoc", READTIME=3.333e-7))
    assert (slow.gain, fast.gain) == (1.53, 3.96)
