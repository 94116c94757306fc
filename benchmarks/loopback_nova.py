"""A service on this machine that speaks the web interface of nova.astrometry.net, and solves with a local engine."""

from __future__ import annotations

import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from astropy.table import Table

from lcframework.types import NotSolved, SolveHint

KEY = "a key for the loopback"


class LoopbackNova:
    """Answers logins, submissions and questions; `engine` is a plate solver of this machine."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.answers = engine, {}
        service = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                self.reply(service.get(*self.path.strip("/").rsplit("/", 1)))

            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                request = json.loads(urllib.parse.parse_qs(form)["request-json"][0])
                self.reply(service.post(self.path.strip("/"), request))

            def reply(self, body: Any) -> None:
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def post(self, path: str, request: dict[str, Any]) -> Any:
        """Log in, or solve at once."""
        if path == "api/login":
            good = request["apikey"] == KEY
            return {"status": "success", "session": "1"} if good else {"status": "error", "errormessage": "bad apikey"}
        number = len(self.answers) + 1
        self.answers[number] = self.solve(request)
        return {"status": "success", "subid": number}

    def get(self, what: str, number: str) -> Any:
        """Tell of a submission, of its job (of the same number), or give the WCS."""
        answer = self.answers[int(number)]
        if what == "api/submissions":
            return {"jobs": [int(number)]}
        if what == "api/jobs":
            return {"status": "failure" if isinstance(answer, NotSolved) else "success"}
        return answer.header.tostring().encode()

    def solve(self, job: dict[str, Any]) -> Any:
        """Solve a list of positions, brightest first."""
        x, y = np.array(job["x"]) - 1.0, np.array(job["y"]) - 1.0
        sources = Table({"x": x, "y": y, "flux": np.arange(len(x), 0.0, -1.0), "fwhm": np.full(len(x), 3.0)})
        hint = SolveHint(job["center_ra"], job["center_dec"], job["radius"], (job["scale_lower"], job["scale_upper"]))
        return self.engine.solve(sources, (job["image_height"], job["image_width"]), hint)

    def close(self) -> None:
        """Stop."""
        self.server.shutdown()
        self.server.server_close()
