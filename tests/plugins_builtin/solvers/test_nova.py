from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from lcframework.types import NeedMissing, NotSolved, PlateSolution, SolveHint
from plugins_builtin.astrometry.wcs_fit import open_wcs
from plugins_builtin.services import nova as nova_service
from plugins_builtin.solvers.nova import Nova

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
        self.troubles, self.requests, self.asked, self.times, self.sessions = troubles, [], {}, [], 0
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
        self.times.append(time.monotonic())
        if path in self.troubles.get("hangs up", ()):
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        code, body = self.reply(path, request, self.asked[path])
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(code)
        handler.send_header("Content-Length", str(len(content) + self.troubles.get("cut", {}).get(path, 0)))
        if code == 503 and "retry_after" in self.troubles:
            handler.send_header("Retry-After", self.troubles["retry_after"])
        handler.end_headers()
        with contextlib.suppress(OSError):  # who asked has left
            if path in self.troubles.get("trickle", ()):
                for byte in content * 50:
                    handler.wfile.write(bytes([byte]))
                    time.sleep(0.05)
            handler.wfile.write(content)

    def reply(self, path, request, times):
        t = self.troubles
        if times <= t.get("stall", {}).get(path, 0):
            time.sleep(t.get("seconds", 3.0))
        if times <= t.get("garbled", {}).get(path, 0):
            return 200, b"<html>Bad gateway</html>"
        if times <= t.get("failing", {}).get(path, 0):
            return 500, b"internal error"
        if path == "api/login":
            if times <= t.get("busy", 0):
                return 503, b"busy"
            if request["apikey"] != KEY:
                return 200, {"status": "error", "errormessage": f"bad apikey {request['apikey']}"}
            self.sessions += 1
            return 200, {"status": "success", "session": f"s{self.sessions}"}
        if path == "api/url_upload":
            if times <= t.get("full", 0):
                return 429, b"too many requests"
            if request["session"] != f"s{self.sessions}" or times in t.get("expires", ()):
                return 200, {"status": "error", "errormessage": f'no session with key "{request["session"]}"'}
            if "upload" in t:
                return 200, t["upload"]
            if t.get("refuse"):
                return 200, {"status": "error", "errormessage": "too many submissions"}
            return 200, {"status": "success", "subid": 77}
        if path == "api/submissions/77":
            return 200, {"jobs": [] if times == 1 else [None] if times == 2 else [5]}
        if path == "api/jobs/5":
            return 200, {"status": "solving" if times == 1 or t.get("never") else t.get("end", "success")}
        if path == "wcs_file/5":
            return 200, t.get("wcs", header().tostring().encode())
        return 404, b"no such page"


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("ASTROMETRY_NET_API_KEY", KEY)
    monkeypatch.setattr(nova_service, "_SESSIONS", {})
    monkeypatch.setattr(nova_service, "_ASKED", {})
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
    return Nova(url=s.url, **{"poll": 0.01, **options}).solve(field()[0], SHAPE, hint)


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
        ({"never": True}, "within 1 s"),
    ],
)
def test_says_why_a_frame_is_not_solved(service, troubles, words):
    answer = solve(service(**troubles), timeout=1.0)
    assert isinstance(answer, NotSolved)
    assert words in answer.reason


def test_asks_ever_more_rarely(service):
    s = service(never=True)
    solve(s, timeout=1.0)
    # With a constant pause of 0.01 s there would be a hundred.
    assert s.asked["api/jobs/5"] < 12


def test_requests_keep_their_distance(service, monkeypatch):
    sent, read = [], nova_service.NovaService._read

    def note(self, request):
        sent.append(time.monotonic())
        return read(self, request)

    monkeypatch.setattr(nova_service.NovaService, "_read", note)
    solve(service(), poll=0.15)
    # Without the rule, login, upload and the first question would follow each other at once.
    assert len(sent) > 4
    assert min(np.diff(sent)) > 0.045


def test_one_session_serves_many_frames(service):
    s = service()
    for _ in range(3):
        assert isinstance(solve(s), PlateSolution)
    assert (s.asked["api/login"], s.asked["api/url_upload"]) == (1, 3)


def test_a_session_that_expired_is_opened_again_once(service):
    s = service(expires=(2,))
    assert isinstance(solve(s), PlateSolution)
    assert isinstance(solve(s), PlateSolution)
    assert s.asked["api/login"] == 2
    never = service(expires=range(99))
    assert "no session" in solve(never).reason
    assert never.asked["api/login"] == 2


def test_waits_as_long_as_a_busy_service_asks(service):
    s = service(busy=1, retry_after="1")
    assert isinstance(solve(s), PlateSolution)
    assert max(np.diff(s.times)) > 0.95
    # Longer than a frame may take: the run goes on.
    begun = time.monotonic()
    assert "within 0.5 s" in solve(service(busy=1, retry_after="3600"), timeout=0.5).reason
    assert time.monotonic() - begun < 3.0


def test_processes_that_share_a_folder_keep_their_distance(service, monkeypatch, tmp_path):
    class Forgetful(dict):  # as if each request came from a process of its own
        def __setitem__(self, key, value):
            pass

    monkeypatch.setattr(nova_service, "_ASKED", Forgetful())
    s = service(never=True)
    options = {"poll": 0.15, "timeout": 1.5, "cache_dir": tmp_path}
    threads = [threading.Thread(target=solve, args=(s,), kwargs=options) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A turn each 0.05 s: as many as fit, where three that do not know of each other would ask three at a time.
    assert len(s.times) > 4
    assert len(s.times) <= 1.5 / 0.05 + 1
    assert np.median(np.diff(s.times)) > 0.03


@pytest.mark.parametrize("trouble", ["failing", "garbled", "cut", "hangs up"])
def test_a_list_that_may_have_arrived_is_not_sent_twice(service, trouble):
    s = service(**{trouble: {"api/url_upload": 9}})
    answer = solve(s, timeout=20.0)
    assert isinstance(answer, NotSolved)
    assert "did not confirm that it got the list of sources" in answer.reason
    assert "retry_failed" in answer.reason
    assert s.asked["api/url_upload"] == 1


def test_a_list_that_a_busy_service_did_not_take_is_sent_again(service):
    s = service(full=2)
    assert isinstance(solve(s), PlateSolution)
    assert s.asked["api/url_upload"] == 3


@pytest.mark.parametrize("path", ["api/login", "api/submissions/77", "api/jobs/5", "wcs_file/5"])
@pytest.mark.parametrize("trouble", ["failing", "garbled", "cut"])
def test_one_bad_answer_is_asked_for_again(service, path, trouble):
    if (trouble, path) == ("garbled", "wcs_file/5"):
        assert "no whole FITS header" in solve(service(garbled={path: 1})).reason
        return
    if trouble == "cut":  # at each attempt
        with pytest.raises(NeedMissing, match="can't be used"):
            solve(service(cut={path: 10}), timeout=20.0)
        return
    s = service(**{trouble: {path: 1}})
    assert isinstance(solve(s), PlateSolution)
    assert s.asked[path] >= 2


@pytest.mark.parametrize("trouble", ["stall", "trickle"])
def test_a_service_that_stalls_does_not_hold_the_run(service, trouble):
    troubles = {"stall": {"stall": {"api/login": 9}}, "trickle": {"trickle": ("api/jobs/5",)}}[trouble]
    begun = time.monotonic()
    answer = solve(service(**troubles), timeout=0.6)
    assert time.monotonic() - begun < 2.5
    assert "within 0.6 s" in answer.reason


@pytest.mark.parametrize("answer", [{"status": "success"}, {"status": "success", "subid": "many"}, [1, 2], "yes"])
def test_answers_that_lack_something(service, answer):
    assert "refused" in solve(service(upload=answer)).reason


def test_garbled_answers_for_ever_are_a_need(service):
    with pytest.raises(NeedMissing, match="something else than JSON"):
        solve(service(garbled={"api/login": 9}))


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>not found</html>", header().tostring().encode()[:400], b"SIMPLE  =  T" + b" " * 68 + b"END"],
)
def test_a_wcs_that_is_none(service, content):
    assert "is not valid" in solve(service(wcs=content)).reason


def test_a_submission_is_taken_up_again(service, tmp_path):
    s = service(never=True)
    assert "within 1 s" in solve(s, timeout=1.0, cache_dir=tmp_path).reason
    assert len(list((tmp_path / "nova").iterdir())) == 1
    s.troubles = {}
    assert isinstance(solve(s, cache_dir=tmp_path), PlateSolution)
    assert s.asked["api/url_upload"] == 1
    assert list((tmp_path / "nova").iterdir()) == []


@pytest.mark.parametrize("note", ["not json", '{"submission": 12345}', "[]"])
def test_a_note_that_leads_nowhere_is_passed_over(service, tmp_path, note):
    s = service(never=True)
    solve(s, timeout=1.0, cache_dir=tmp_path)
    next((tmp_path / "nova").iterdir()).write_text(note)
    s.troubles = {}
    assert isinstance(solve(s, cache_dir=tmp_path), PlateSolution)
    assert s.asked["api/url_upload"] == 2


def test_the_key_stays_secret(service, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    secret = "k3y-of-an-account"
    monkeypatch.setenv("ASTROMETRY_NET_API_KEY", secret)
    with pytest.raises(NeedMissing) as caught:  # the service quotes the key
        solve(service(), cache_dir=tmp_path)
    assert "bad apikey (the key)" in str(caught.value)
    assert secret not in caplog.text
    monkeypatch.setenv("ASTROMETRY_NET_API_KEY", KEY)
    s = service(never=True)
    answer = solve(s, timeout=1.0, cache_dir=tmp_path)
    notes = "".join(p.read_text() + p.name for p in (tmp_path / "nova").iterdir())
    assert KEY not in answer.reason + caplog.text + notes + repr(Nova())
    assert [path for path, request in s.requests if request and KEY in json.dumps(request)] == ["api/login"]


def test_needs(service, monkeypatch):
    with pytest.raises(NeedMissing, match="503"):
        solve(service(busy=99))
    with pytest.raises(NeedMissing, match="offline"):
        Nova(offline=True).solve(field()[0], SHAPE, HINT)
    monkeypatch.setenv("OTHER", "a wrong key")
    with pytest.raises(NeedMissing, match=r"OTHER \(bad apikey"):
        solve(service(), key_variable="OTHER")
    with pytest.raises(NeedMissing, match=r"can't be used"):
        Nova(url="http://127.0.0.1:9", poll=0.01).solve(field()[0], SHAPE, HINT)
    monkeypatch.delenv("ASTROMETRY_NET_API_KEY")
    with pytest.raises(NeedMissing, match="ASTROMETRY_NET_API_KEY is not set"):
        solve(service())


def test_too_few_sources(service):
    assert "3 sources" in Nova(url=service().url).solve(field()[0][:3], SHAPE, HINT).reason
