from __future__ import annotations

import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from lcframework.types import NeedMissing, NotSolved, PlateSolution, SolveHint
from plugins_builtin.solver_nova import Nova
from plugins_builtin.wcs_fit import open_wcs

SHAPE = (500, 650)
HINT = SolveHint(42.2, -19.2, 0.1, (0.2, 0.23))
KEY = "the right key"


def header():
    h = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 42.2, "CRVAL2": -19.2, "EQUINOX": 2000.0})
    h["CRPIX1"], h["CRPIX2"], h["CD1_1"], h["CD2_2"] = 325.0, 250.0, -6e-5, 6e-5
    return h


class Service:
    """Speaks enough of the web service's API; `troubles` says what goes wrong."""

    def __init__(self, **troubles):
        self.troubles, self.requests, self.asked = troubles, [], {}
        service = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                service.answer(self, None)

            def do_POST(self):
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                service.answer(self, json.loads(urllib.parse.parse_qs(form)["request-json"][0]))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answer(self, handler, request):
        path = handler.path.strip("/")
        self.requests.append((path, request))
        self.asked[path] = self.asked.get(path, 0) + 1
        code, body = self.reply(path, request, self.asked[path])
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(code)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def reply(self, path, request, times):
        t = self.troubles
        if path == "api/login":
            if times <= t.get("busy", 0):
                return 503, b"busy"
            good = request["apikey"] == KEY
            return 200, {"status": "success", "session": "s1"} if good else {
                "status": "error",
                "errormessage": "bad apikey",
            }
        if path == "api/url_upload":
            if t.get("refuse"):
                return 200, {"status": "error", "errormessage": "too many submissions"}
            return 200, {"status": "success", "subid": 77}
        if path == "api/submissions/77":
            return 200, {"jobs": [] if times == 1 else [None] if times == 2 else [5]}
        if path == "api/jobs/5":
            return 200, {"status": "solving" if times == 1 or t.get("never") else t.get("end", "success")}
        if path == "wcs_file/5":
            return 200, header().tostring().encode()
        return 404, b"no such page"


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("ASTROMETRY_NET_API_KEY", KEY)
    started = []

    def start(**troubles):
        started.append(Service(**troubles))
        return started[-1]

    yield start
    for s in started:
        s.server.shutdown()
        s.server.server_close()


def field(error=0.1):
    rng = np.random.default_rng(3)
    x, y = rng.uniform(0, 649, 50), rng.uniform(0, 499, 50)
    ra, dec = WCS(header()).all_pix2world(x, y, 0)
    magnitude = rng.uniform(14, 18, 50)
    x, y = x + 1.0 + rng.normal(0, error, 50), y + rng.normal(0, error, 50)
    sources = Table({"x": x, "y": y, "flux": 10 ** (-0.4 * magnitude), "fwhm": np.full(50, 3.0)})
    return sources, Table({"ra": ra, "dec": dec, "magnitude": magnitude})


def solve(s, hint=HINT, **options):
    return Nova(url=s.url, poll=0.01, **options).solve(field()[0], SHAPE, hint)


def test_sends_positions_and_gets_a_wcs(service):
    s = service()
    solution = solve(s, sip_order=2)
    assert isinstance(solution, PlateSolution)
    place, expected = (np.array(w.all_pix2world(10.0, 20.0, 0)) for w in (open_wcs(solution.header), WCS(header())))
    assert place == pytest.approx(expected, abs=1e-10)
    assert solution.header["RADESYS"] == "ICRS"
    job = dict(s.requests)["api/url_upload"]
    brightest = field()[0][np.argmax(field()[0]["flux"])]
    assert job["x"][0] == pytest.approx(brightest["x"] + 1, abs=1e-4)
    assert len(job["x"]) == len(job["y"]) == 50
    assert (job["image_width"], job["image_height"], job["session"], job["tweak_order"]) == (650, 500, "s1", 2)
    assert (job["scale_lower"], job["scale_upper"], job["scale_units"]) == (0.2, 0.23, "arcsecperpix")
    assert (job["center_ra"], job["center_dec"], job["publicly_visible"]) == (42.2, -19.2, "n")


def test_refines_with_the_catalogue(service):
    _, stars = field()
    hint = SolveHint(42.2, -19.2, 0.1, (0.2, 0.23), stars=stars)
    solution = solve(service(), hint, refine=True)
    assert solution.refined
    x, y = open_wcs(solution.header).all_world2pix(*WCS(header()).all_pix2world(300.0, 200.0, 0), 0)
    assert (x, y) == pytest.approx((301.0, 200.0), abs=0.08)
    assert solve(service(), hint).matched == pytest.approx(50, abs=2)


def test_a_busy_service_is_asked_again(service):
    s = service(busy=2)
    assert isinstance(solve(s), PlateSolution)
    assert s.asked["api/login"] == 3


@pytest.mark.parametrize(
    ("troubles", "words"),
    [
        ({"end": "failure"}, "found no match"),
        ({"refuse": True}, "too many submissions"),
        ({"never": True}, "within 0.5 s"),
    ],
)
def test_says_why_a_frame_is_not_solved(service, troubles, words):
    answer = solve(service(**troubles), timeout=0.5)
    assert isinstance(answer, NotSolved)
    assert words in answer.reason


def test_asks_ever_more_rarely(service):
    s = service(never=True)
    solve(s, timeout=1.0)
    # With a constant pause of 0.01 s there would be a hundred.
    assert s.asked["api/jobs/5"] < 12


def test_needs(service, monkeypatch):
    with pytest.raises(NeedMissing, match="503"):
        solve(service(busy=99))
    with pytest.raises(NeedMissing, match="offline"):
        Nova(offline=True).solve(field()[0], SHAPE, HINT)
    monkeypatch.setenv("OTHER", "a wrong key")
    with pytest.raises(NeedMissing, match=r"OTHER: bad apikey"):
        solve(service(), key_variable="OTHER")
    with pytest.raises(NeedMissing, match=r"can't be used"):
        Nova(url="http://127.0.0.1:9", poll=0.01).solve(field()[0], SHAPE, HINT)
    monkeypatch.delenv("ASTROMETRY_NET_API_KEY")
    with pytest.raises(NeedMissing, match="ASTROMETRY_NET_API_KEY is not set"):
        solve(service())


def test_too_few_sources(service):
    assert "3 sources" in Nova(url=service().url).solve(field()[0][:3], SHAPE, HINT).reason
