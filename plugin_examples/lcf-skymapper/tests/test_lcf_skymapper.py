from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from io import BytesIO
from urllib.parse import parse_qs

import attrs
import numpy as np
import pytest
from astropy.io.votable import from_table
from astropy.table import Table

from lcframework.testing import check_calibration_survey
from lcframework.types import MAGNITUDES, NeedMissing

lcf_skymapper = pytest.importorskip("lcf_skymapper", reason="not installed: pip install plugin_examples/lcf-skymapper")

BANDS = "uvgriz"
MJD_2018 = 51544.5 + 18.0 * 365.25


def field(count: int = 25, seed: int = 2) -> tuple[Table, Table]:
    """Stars over RA 0 far south, and SkyMapper's view of them two years later."""
    rng = np.random.default_rng(seed)
    stars = Table()
    stars["source_id"] = [f"gaia{i}" for i in range(count)]
    stars["ra"] = rng.uniform(-0.3, 0.3, count) % 360.0
    stars["dec"] = -75.0 + rng.uniform(-0.08, 0.08, count)
    stars["pmra"], stars["pmdec"] = rng.normal(0.0, 1000.0, (2, count))
    stars["ref_epoch"], stars["magnitude"] = 2016.0, 15.0
    sky = Table()
    sky["dej2000"] = stars["dec"] + 2.0 * stars["pmdec"] / 3.6e6
    sky["raj2000"] = (stars["ra"] + 2.0 * stars["pmra"] / 3.6e6 / np.cos(np.radians(stars["dec"]))) % 360.0
    sky["mean_epoch"], sky["flags_psf"] = MJD_2018, 0
    for band in BANDS:
        sky[f"{band}_psf"] = rng.uniform(12.0, 17.0, count)
        sky[f"e_{band}_psf"] = rng.uniform(0.005, 0.02, count)
    return stars, sky


class Service:
    """Answers every query with the whole table, or as it is told to."""

    def __init__(self, table: Table) -> None:
        self.queries: list[str] = []
        self.faults: list[int] = []
        self.table, service = table, self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args) -> None:
                pass

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                service.queries.append(form["QUERY"][0])
                status = service.faults.pop(0) if service.faults else 200
                body = service.document() if status == 200 else b"broken"
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.httpd.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.httpd.server_port}/tap"

    def document(self) -> bytes:
        stream = BytesIO()
        from_table(self.table).to_xml(stream)
        return stream.getvalue()

    def close(self) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()


@pytest.fixture
def scene(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(lcf_skymapper.time, "sleep", lambda seconds: None)
    stars, sky = field()
    service = Service(sky)
    yield stars, sky, service, lcf_skymapper.SkyMapper(url=service.url, timeout=5.0)
    service.close()


@pytest.mark.parametrize("band", ["u", "v", "g", "r_skymapper", "i", "z"])
def test_magnitudes_of_moving_stars(scene, band):
    stars, sky, service, survey = scene
    found = MAGNITUDES.check(survey.magnitudes(stars, band), "skymapper")
    assert list(found["source_id"]) == list(stars["source_id"])
    np.testing.assert_array_equal(np.asarray(found["mag"]), np.asarray(sky[f"{band[0]}_psf"]))
    np.testing.assert_allclose(np.asarray(found["mag_err"]), np.hypot(sky[f"e_{band[0]}_psf"], 0.01))
    assert found.meta["system"] == "AB"
    assert len(service.queries) == 1


def test_it_fulfils_the_contract(scene):
    stars, sky, _, survey = scene
    expected = {str(s): float(m) for s, m in zip(stars["source_id"], sky["r_psf"], strict=True)}
    check_calibration_survey(survey, stars, band="r", expected=expected)


def test_ambiguous_flagged_and_saturated_rows(scene):
    stars, sky, service, survey = scene
    sky["flags_psf"][0], sky["r_psf"][1] = 4, 8.5
    sky["r_psf"][2] = np.nan
    double = sky[[3]]
    double["dej2000"] += 0.5 / 3600.0
    service.table = Table(np.concatenate([sky.as_array(), double.as_array()]))
    assert list(survey.magnitudes(stars, "r")["source_id"]) == list(stars["source_id"][4:])


def test_the_cache_and_offline(scene, tmp_path):
    stars, _, service, survey = scene
    survey = attrs.evolve(survey, cache_dir=tmp_path / "cache")
    with pytest.raises(NeedMissing, match="lcf prefetch"):
        attrs.evolve(survey, offline=True).magnitudes(stars, "r")
    first = survey.magnitudes(stars, "r")
    second = attrs.evolve(survey, offline=True).magnitudes(stars, "r")
    np.testing.assert_array_equal(np.asarray(first["mag"]), np.asarray(second["mag"]))
    assert len(service.queries) == 1


def test_an_empty_answer_is_not_kept(scene, tmp_path):
    stars, sky, service, survey = scene
    survey = attrs.evolve(survey, cache_dir=tmp_path / "cache")
    service.table = sky[:0]
    assert len(survey.magnitudes(stars, "r")) == 0
    service.table = sky
    assert len(survey.magnitudes(stars, "r")) == len(stars)


def test_failures(scene):
    stars, _, service, survey = scene
    service.faults = [500, 503]
    assert len(survey.magnitudes(stars, "r")) == len(stars)
    service.faults = [500, 500, 500]
    with pytest.raises(NeedMissing, match="does not answer"):
        survey.magnitudes(stars, "r")
    assert len(service.queries) == 6
    with pytest.raises(NeedMissing, match=r"no band 'V'; .* u, v, g, r, i, z"):
        survey.magnitudes(stars, "V")
    stars["dec"] += 130.0
    with pytest.raises(NeedMissing, match="nothing north"):
        survey.magnitudes(stars, "r")


INFO = b"<INFO name='QUERY_STATUS' value='OVERFLOW'/>"


@pytest.mark.parametrize("before", [b"</RESOURCE>", b"</TABLE>"])
def test_an_answer_that_was_cut_is_refused_and_not_kept(scene, tmp_path, monkeypatch, before):
    stars, _, service, survey = scene
    survey = attrs.evolve(survey, cache_dir=tmp_path / "cache")
    whole = service.document()
    monkeypatch.setattr(service, "document", lambda: whole.replace(before, INFO + before))
    with pytest.raises(NeedMissing, match="cut its answer short"):
        survey.magnitudes(stars, "r")
    assert not (tmp_path / "cache").exists()


def test_an_answer_of_more_rows_than_were_asked_for_is_refused(scene, monkeypatch):
    stars, _, _, survey = scene
    monkeypatch.setattr(lcf_skymapper, "MOST_ROWS", len(stars) - 1)
    with pytest.raises(NeedMissing, match="cut its answer short"):
        survey.magnitudes(stars, "r")


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_document_that_ends_early_is_asked_for_again(scene, monkeypatch, share):
    stars, _, service, survey = scene
    whole = service.document()
    answers = [whole[: int(share * len(whole))], whole]
    monkeypatch.setattr(service, "document", lambda: answers.pop(0))
    assert len(survey.magnitudes(stars, "r")) == len(stars)


def test_it_is_announced():
    assert any(point.load() is lcf_skymapper for point in entry_points(group="lcframework", name="survey-skymapper"))
