"""The surveys against a TAP service on loopback that holds stars of known magnitudes."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import attrs
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io.votable import from_table
from astropy.table import Table

from lcframework.testing import check_calibration_survey
from lcframework.types import MAGNITUDES, NeedMissing

pytest.importorskip("lcf_surveys", reason="not installed: pip install plugin_examples/lcf-surveys")
from lcf_surveys import asking, legacy, refcat2, sdss, service

QUERY = re.compile(r"SELECT (.+) FROM (\S+) WHERE .*CIRCLE\('ICRS', (\S+), (\S+), (\S+)\)\)")


class Tap:
    """A TAP service with one table: it picks the columns, in their case, and the rows of the cone."""

    def __init__(self, name: str, table: Table, position: tuple[str, str]) -> None:
        self.name, self.table, self.position = name, table, position
        self.queries: list[str] = []
        self.faults: list[int] = []
        tap = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                tap.queries.append(form["QUERY"][0])
                status = tap.faults.pop(0) if tap.faults else 200
                body = tap.answer(form["QUERY"][0]) if status == 200 else b"broken"
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.httpd.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.httpd.server_port}/tap"

    def answer(self, query: str) -> bytes:
        match = QUERY.fullmatch(query)
        assert match, query
        assert match[2].strip('"') == self.name
        columns = re.findall(r'"([^"]+)"', match[1])
        centre = SkyCoord(float(match[3]), float(match[4]), unit="deg")
        ra, dec = (np.asarray(self.table[name], float) for name in self.position)
        inside = SkyCoord(ra, dec, unit="deg").separation(centre).deg <= float(match[5])
        stream = BytesIO()
        from_table(self.table[columns][inside]).to_xml(stream)
        return stream.getvalue()

    def close(self) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()


def stars_at(ra: float, dec: float, count: int = 20) -> Table:
    """Stars around a position, at 2016, of which some move fast."""
    rng = np.random.default_rng(3)
    stars = Table()
    stars["source_id"] = [f"gaia{i}" for i in range(count)]
    stars["ra"] = (ra + rng.uniform(-0.1, 0.1, count)) % 360.0
    stars["dec"] = dec + rng.uniform(-0.1, 0.1, count)
    stars["pmra"], stars["pmdec"] = rng.normal(0.0, 700.0, (2, count))
    stars["ref_epoch"], stars["magnitude"] = 2016.0, 17.0
    return stars


def seen(stars: Table, years: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return where the stars are so many years later."""
    dec = np.asarray(stars["dec"]) + years * np.asarray(stars["pmdec"]) / 3.6e6
    ra = np.asarray(stars["ra"]) + years * np.asarray(stars["pmra"]) / 3.6e6 / np.cos(np.radians(stars["dec"]))
    return ra % 360.0, dec


def true_magnitudes(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    return {band: rng.uniform(16.5, 19.0, count) for band in "ugriz"}


def refcat2_sky(stars: Table, truth: dict[str, np.ndarray]) -> Table:
    sky = Table()
    sky["RA_ICRS"], sky["DE_ICRS"] = seen(stars, -0.5)
    sky["dupvar"] = 0
    sky["Gmag"] = 99.0  # Gaia's G, whose name differs from g's in case alone
    for band in "griz":
        sky[f"{band}mag"], sky[f"e_{band}mag"] = truth[band], 0.02
    return sky


def sdss_sky(stars: Table, truth: dict[str, np.ndarray]) -> Table:
    sky = Table()
    sky["ObsDate"] = np.linspace(1999.0, 2008.0, len(stars))
    sky["RA_ICRS"], sky["DE_ICRS"] = seen(stars, np.asarray(sky["ObsDate"]) - 2016.0)
    sky["mode"], sky["class"], sky["clean"] = 1, 6, 1
    for band in "ugriz":
        sky[f"{band}pmag"], sky[f"e_{band}pmag"] = truth[band], 0.02
        sky[f"{band}Pmag"] = 99.0  # Petrosian
    return sky


def legacy_sky(stars: Table, truth: dict[str, np.ndarray]) -> Table:
    sky = Table()
    sky["ra"], sky["dec"] = seen(stars, 0.0)
    sky["type"], sky["brick_primary"], sky["maskbits"] = "PSF", True, 0
    for band in "griz":
        flux = 10.0 ** (-0.4 * (truth[band] - 22.5))
        sky[f"flux_{band}"], sky[f"flux_ivar_{band}"] = flux, (flux * 0.02 / 1.0857) ** -2.0
    return sky


@attrs.frozen
class Scene:
    stars: Table
    truth: dict[str, np.ndarray]
    sky: Table
    tap: Tap
    survey: service.TapSurvey


KINDS = {"refcat2": (refcat2.Refcat2, refcat2_sky), "sdss": (sdss.Sdss, sdss_sky),
         "legacy": (legacy.LegacySurveys, legacy_sky)}  # fmt: skip


@pytest.fixture(params=KINDS)
def scene(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    yield from made(request.param, monkeypatch)


def made(name: str, monkeypatch: pytest.MonkeyPatch, ra: float = 359.97, dec: float = 61.0) -> Iterator[Scene]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(asking.time, "sleep", lambda seconds: None)
    cls, sky_of = KINDS[name]
    stars = stars_at(ra, dec)
    truth = true_magnitudes(len(stars))
    sky = sky_of(stars, truth)
    tap = Tap(cls().table, sky, cls.position)
    yield Scene(stars, truth, sky, tap, cls(url=tap.url, timeout=5.0, retries=1))
    tap.close()


@pytest.fixture
def refcat2_scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    yield from made("refcat2", monkeypatch)


@pytest.fixture
def sdss_scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    yield from made("sdss", monkeypatch)


@pytest.fixture
def legacy_scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    yield from made("legacy", monkeypatch)


def magnitudes(scene: Scene, band: str) -> np.ndarray:
    found = MAGNITUDES.check(scene.survey.magnitudes(scene.stars, band), "survey")
    assert list(found["source_id"]) == list(scene.stars["source_id"])
    return np.asarray(found["mag"])


def test_magnitudes_of_moving_stars_over_ra_zero(scene: Scene) -> None:
    found = scene.survey.magnitudes(scene.stars, "r")
    np.testing.assert_allclose(magnitudes(scene, "r"), scene.truth["r"], atol=1e-6)
    np.testing.assert_allclose(np.asarray(found["mag_err"]), np.hypot(0.02, 0.01), rtol=1e-4)
    np.testing.assert_allclose(np.asarray(found["colour"]), scene.truth["g"] - scene.truth["r"], atol=1e-6)
    assert (found.meta["system"], found.meta["colour"]) == ("AB", "g_r")


def test_the_contract(scene: Scene) -> None:
    expected = dict(zip(map(str, scene.stars["source_id"]), map(float, scene.truth["i"]), strict=True))
    check_calibration_survey(scene.survey, scene.stars, band="i", expected=expected)


def test_two_rows_at_one_star_and_bright_ones(scene: Scene) -> None:
    double = scene.sky[[3]]
    double[scene.tap.position[1]] += 0.4 / 3600.0
    scene.tap.table = Table(np.concatenate([scene.sky.as_array(), double.as_array()]))
    survey = attrs.evolve(scene.survey, brightest=float(np.sort(scene.truth["g"])[1]) + 1e-6)
    names = set(survey.magnitudes(scene.stars, "g")["source_id"])
    faint = {str(s) for s, m in zip(scene.stars["source_id"], scene.truth["g"], strict=True) if m > survey.brightest}
    assert names == faint - {"gaia3"}
    assert len(names) >= len(scene.stars) - 3


def test_the_cache_and_offline(scene: Scene, tmp_path: Path) -> None:
    survey = attrs.evolve(scene.survey, cache_dir=tmp_path / "cache")
    with pytest.raises(NeedMissing, match="lcf prefetch"):
        attrs.evolve(survey, offline=True).magnitudes(scene.stars, "r")
    first = survey.magnitudes(scene.stars, "r")
    second = attrs.evolve(survey, offline=True).magnitudes(scene.stars, "r")
    np.testing.assert_array_equal(np.asarray(first["mag"]), np.asarray(second["mag"]))
    assert len(scene.tap.queries) == 1


def test_failures(scene: Scene) -> None:
    scene.tap.faults = [503]
    assert len(scene.survey.magnitudes(scene.stars, "r")) == len(scene.stars)
    scene.tap.faults = [500, 500]
    with pytest.raises(NeedMissing, match="does not answer"):
        scene.survey.magnitudes(scene.stars, "r")
    with pytest.raises(NeedMissing, match=r'no band "Q".*g, r'):
        scene.survey.magnitudes(scene.stars, "Q")
    assert len(scene.survey.magnitudes(scene.stars[:0], "r")) == 0
    scene.sky.remove_rows(slice(None))
    assert len(scene.survey.magnitudes(scene.stars, "r")) == 0


INFO = b"<INFO name='QUERY_STATUS' value='OVERFLOW'/>"


@pytest.mark.parametrize("before", [b"</RESOURCE>", b"</TABLE>"])
def test_an_answer_that_was_cut_is_refused_and_not_kept(
    sdss_scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    survey = attrs.evolve(sdss_scene.survey, cache_dir=tmp_path / "cache")
    whole = sdss_scene.tap.answer
    monkeypatch.setattr(sdss_scene.tap, "answer", lambda query: whole(query).replace(before, INFO + before))
    with pytest.raises(NeedMissing, match="SDSS DR16 cut its answer short at 20 rows"):
        survey.magnitudes(sdss_scene.stars, "r")
    assert not (tmp_path / "cache").exists()


def test_an_answer_of_more_rows_than_were_asked_for_is_refused(
    sdss_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "MOST_ROWS", len(sdss_scene.stars) - 1)
    with pytest.raises(NeedMissing, match="cut its answer short"):
        sdss_scene.survey.magnitudes(sdss_scene.stars, "r")


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_document_that_ends_early_is_asked_for_again(
    sdss_scene: Scene, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    whole, shares = sdss_scene.tap.answer, [share, 1.0]
    monkeypatch.setattr(sdss_scene.tap, "answer", lambda query: whole(query)[: int(shares.pop(0) * len(whole(query)))])
    assert len(sdss_scene.survey.magnitudes(sdss_scene.stars, "r")) == len(sdss_scene.stars)
    assert not shares


def test_a_service_without_a_column(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = type(scene.survey).columns
    monkeypatch.setattr(type(scene.survey), "_ask", lambda self, query: scene.sky[list(scene.tap.position)])
    with pytest.raises(NeedMissing, match=f"lacks the columns {asked[0]}"):
        scene.survey.magnitudes(scene.stars, "r")


def test_refcat2_bands_of_atlas_and_stars_that_vary(refcat2_scene: Scene) -> None:
    g, r, i = (refcat2_scene.truth[b] for b in "gri")
    np.testing.assert_allclose(magnitudes(refcat2_scene, "c"), 0.49 * g + 0.51 * r, atol=1e-6)
    np.testing.assert_allclose(magnitudes(refcat2_scene, "o_atlas"), 0.55 * r + 0.45 * i, atol=1e-6)
    refcat2_scene.sky["dupvar"][:6] = [1, 4, 5, 6, 2, 0]
    found = refcat2_scene.survey.magnitudes(refcat2_scene.stars, "g")
    assert list(found["source_id"])[:2] == ["gaia4", "gaia5"]


def test_sdss_zero_points_and_johnson_cousins(sdss_scene: Scene) -> None:
    u, g, r, i, z = (sdss_scene.truth[b] for b in "ugriz")
    expected = {"u": u - 0.04, "g": g, "z": z + 0.02, "B": g + 0.3130 * (g - r) + 0.2271,
                "V": g - 0.5784 * (g - r) - 0.0038, "R": r - 0.2936 * (r - i) - 0.1439,
                "I": r - 1.2444 * (r - i) - 0.3820}  # fmt: skip
    for band, truth in expected.items():
        np.testing.assert_allclose(magnitudes(sdss_scene, band), truth, atol=1e-6, err_msg=band)
        system = sdss_scene.survey.magnitudes(sdss_scene.stars, band).meta["system"]
        assert system == ("Vega" if band in "BVRI" else "AB")
    error = np.asarray(sdss_scene.survey.magnitudes(sdss_scene.stars, "V")["mag_err"])
    weights = np.hypot(1.0 - 0.5784, 0.5784)
    np.testing.assert_allclose(error, np.sqrt((0.02 * weights) ** 2 + 0.0054**2 + 0.01**2), rtol=1e-4)


def test_sdss_takes_clean_primary_stars(sdss_scene: Scene) -> None:
    sdss_scene.sky["class"][0], sdss_scene.sky["mode"][1], sdss_scene.sky["clean"][2] = 3, 2, 0
    found = sdss_scene.survey.magnitudes(sdss_scene.stars, "r")
    assert list(found["source_id"]) == list(sdss_scene.stars["source_id"][3:])


def test_legacy_takes_point_sources_that_do_not_saturate(legacy_scene: Scene) -> None:
    legacy_scene.sky["type"][0] = "REX"
    legacy_scene.sky["brick_primary"][1] = False
    legacy_scene.sky["flux_r"][2] = -0.3
    legacy_scene.sky["maskbits"][3] = 1 << 3  # saturated in r
    legacy_scene.sky["maskbits"][4] = 1 << 4  # saturated in z
    found = legacy_scene.survey.magnitudes(legacy_scene.stars, "r")
    assert list(found["source_id"]) == list(legacy_scene.stars["source_id"][4:])


@pytest.mark.parametrize("name", KINDS)
def test_it_is_announced(name: str) -> None:
    assert [p.value for p in entry_points(group="lcframework", name=f"survey-{name}")] == [f"lcf_surveys.{name}"]
