from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from typing import Any

import pytest

from lcframework import testing
from lcframework.plugins import Plugins
from lcframework.types import RunEvent

lcf_webhook = pytest.importorskip("lcf_webhook", reason="not installed: pip install plugin_examples/lcf-webhook")


class Server:
    """Takes what is posted, or answers as it is told to."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status, self.stall = 200, threading.Event()
        self.stall.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                server.stall.wait(10.0)
                assert self.headers["Content-Type"] == "application/json"
                server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(server.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        threading.Thread(target=self.httpd.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.httpd.server_port}/hook/secret"

    def close(self) -> None:
        self.stall.set()
        self.httpd.shutdown()
        self.httpd.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = Server()
    monkeypatch.setenv(lcf_webhook.URL, made.url)
    yield made
    made.close()


def run(message: str = "") -> None:
    """Let a whole run be heard."""
    for event in (
        RunEvent("run_started"), RunEvent("stage_started", "plate_solving", total=2),
        RunEvent("unit_done", "plate_solving", "a.fits", done=1, total=2),
        RunEvent("unit_done", "plate_solving", "b.fits", done=2, total=2),
        RunEvent("unit_done", "psf_modeling", "a.fits", done=1, total=1), RunEvent("run_finished", message=message),
    ):  # fmt: skip
        lcf_webhook.lcf_event(event)


def test_the_end_of_a_run_is_posted_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lcf_webhook.NAME, "J0248")
    run("a tool is missing")
    run()
    first, second = server.got
    assert (first["event"], first["name"], first["message"]) == ("run_finished", "J0248", "a tool is missing")
    assert first["units"] == second["units"] == {"plate_solving": 2, "psf_modeling": 1}
    assert second["message"] == ""
    assert second["started"] <= second["finished"]
    assert second["finished"].endswith("+00:00")


def test_without_a_url_nothing_is_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(lcf_webhook.URL)
    run()
    assert server.got == []


def test_a_refusal_and_a_silent_server_are_lines_in_the_log(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.status = 403
    run()
    assert "127.0.0.1 refused the end of the run: HTTP 403" in caplog.text
    server.stall.clear()
    monkeypatch.setenv(lcf_webhook.TIMEOUT, "0.2")
    began = time.monotonic()
    run()
    assert time.monotonic() - began < 3.0
    assert caplog.text.count("was not posted: TimeoutError") == 1
    assert "secret" not in caplog.text


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "not an address", "http://"])
def test_addresses_that_are_none(url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(lcf_webhook.URL, url)
    run()
    assert "no http or https address" in caplog.text


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv(lcf_webhook.URL, f"http://127.0.0.1:{port}/")
    monkeypatch.setenv(lcf_webhook.TIMEOUT, "soon")  # no number: the usual patience
    with caplog.at_level(logging.WARNING):
        run()
    assert "was not posted: ConnectionRefusedError" in caplog.text


def test_the_manager_calls_it(server: Server) -> None:
    plugins = Plugins([("listener-webhook", "here", lambda: lcf_webhook)])
    assert plugins.plugins[0].problems == []
    plugins.notify(RunEvent("run_started"))
    plugins.notify(RunEvent("run_finished"))
    assert len(server.got) == 1


def test_the_contract() -> None:
    if not hasattr(testing, "check_listener"):
        pytest.skip("this lcframework has no check_listener")
    testing.check_listener(lcf_webhook.lcf_event)


def test_it_is_announced() -> None:
    assert any(point.load() is lcf_webhook for point in entry_points(group="lcframework", name="listener-webhook"))
