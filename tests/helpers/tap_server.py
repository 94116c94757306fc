"""A TAP service on loopback: runs cone queries on tables in memory, and misbehaves on demand.

It speaks what catalogue clients need of TAP 1.1: ``/sync`` by GET and POST, ``/async`` jobs (UWS 1.1), VOTable answers
with QUERY_STATUS before the table and OVERFLOW after it. Its ADQL is ``SELECT columns FROM table WHERE conditions``,
with aliases, one cone and comparisons with numbers. The cone is computed by astropy's SkyCoord.
"""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse
from xml.sax.saxutils import escape, quoteattr

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table

_CONE = re.compile(
    r"1\s*=\s*CONTAINS\(\s*POINT\('ICRS',\s*(\S+),\s*(\S+)\),\s*"
    r"CIRCLE\('ICRS',\s*(-?[\d.]+),\s*(-?[\d.]+),\s*(-?[\d.]+)\)\s*\)"
)
_COMPARISON = re.compile(r'("[^"]+"|\w+)\s*(>=|<=)\s*(-?\d+\.?\d*)\Z')
_QUERY = re.compile(r"SELECT (.+?) FROM (\S+) WHERE (.+)\Z", re.DOTALL)


class QueryError(Exception):
    pass


class TapServer:
    """One service. `script` holds how the next queries are treated, `log` what was asked."""

    def __init__(self, tables: dict[str, Table]) -> None:
        self.tables = tables
        self.script: list[str] = []
        self.log: list[tuple[str, str]] = []  # (sync or async, ADQL)
        self.jobs: dict[str, dict] = {}
        self.deleted: list[str] = []
        self.sync_limit: int | None = None
        self.flag_overflow = True
        self.job_phases: list[str] = ["EXECUTING", "COMPLETED"]
        self.released = threading.Event()
        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.httpd.daemon_threads = True
        self.thread = threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.httpd.server_port}/tap"

    def close(self) -> None:
        self.released.set()
        self.httpd.shutdown()
        self.httpd.server_close()

    # ------------------------------------------------------------ queries

    def run(self, adql: str) -> Table:
        match = _QUERY.match(" ".join(adql.split()))
        if not match:
            raise QueryError(f"not understood: {adql}")
        selected, name, where = match.groups()
        table = self.tables.get(name.strip('"'))
        if table is None:
            raise QueryError(f"no table {name}")
        keep = np.ones(len(table), bool)
        for condition in re.split(r" AND ", where):
            keep &= self._condition(table, condition.strip())
        out = Table(masked=True)
        for part in re.split(r",\s*(?=[\"\w])", selected):
            source, _, alias = part.strip().partition(" AS ")
            out[alias or source.strip('"')] = self._column(table, source)[keep]
        return out

    def _condition(self, table: Table, text: str) -> np.ndarray:
        if cone := _CONE.match(text):
            ra, dec = (np.ma.filled(np.ma.asarray(self._column(table, cone[i]), float), np.nan) for i in (1, 2))
            good = np.isfinite(ra) & np.isfinite(dec)
            points = SkyCoord(np.where(good, ra, 0.0), np.where(good, dec, 0.0), unit="deg")
            centre = SkyCoord(float(cone[3]), float(cone[4]), unit="deg")
            return good & (points.separation(centre) <= float(cone[5]) * u.deg)
        comparison = _COMPARISON.match(text)
        if not comparison:
            raise QueryError(f"condition not understood: {text}")
        values = np.ma.filled(np.ma.asarray(self._column(table, comparison[1]), float), np.nan)
        limit = float(comparison[3])
        with np.errstate(invalid="ignore"):
            return values >= limit if comparison[2] == ">=" else values <= limit

    @staticmethod
    def _column(table: Table, name: str) -> np.ndarray:
        name = name.strip('"')
        if name not in table.colnames:
            raise QueryError(f"no column {name}")
        return np.ma.asarray(table[name])

    # ------------------------------------------------------------ documents

    @staticmethod
    def votable(table: Table, overflow: bool = False) -> bytes:
        kinds = {"f": "double", "i": "long", "b": "boolean", "U": "char", "O": "char"}
        fields, rows = [], []
        for name in table.colnames:
            kind = kinds[np.ma.asarray(table[name]).dtype.kind]
            size = ' arraysize="*"' if kind == "char" else ""
            fields.append(f"<FIELD name={quoteattr(name)} datatype={quoteattr(kind)}{size}/>")
        for row in zip(*(np.ma.asarray(table[name]) for name in table.colnames), strict=True):
            cells = ("" if np.ma.is_masked(v) else escape(str(v)) for v in row)
            rows.append("<TR>" + "".join(f"<TD>{cell}</TD>" for cell in cells) + "</TR>")
        after = '<INFO name="QUERY_STATUS" value="OVERFLOW"/>' if overflow else ""
        return (
            '<?xml version="1.0"?>\n<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
            '<RESOURCE type="results"><INFO name="QUERY_STATUS" value="OK"/><TABLE>'
            f"{''.join(fields)}<DATA><TABLEDATA>{''.join(rows)}</TABLEDATA></DATA></TABLE>{after}</RESOURCE></VOTABLE>\n"
        ).encode()

    @staticmethod
    def error_votable(message: str) -> bytes:
        return (
            '<?xml version="1.0"?>\n<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
            f'<RESOURCE type="results"><INFO name="QUERY_STATUS" value="ERROR">{escape(message)}</INFO>'
            "</RESOURCE></VOTABLE>\n"
        ).encode()

    def answer(self, adql: str, maxrec: int, limit: int | None) -> bytes:
        table = self.run(adql)
        most = min(m for m in (maxrec, limit, len(table)) if m is not None)
        return self.votable(table[:most], overflow=most < len(table) and self.flag_overflow)

    # ------------------------------------------------------------ HTTP

    def _handler(server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args) -> None:
                pass

            def do_GET(self) -> None:
                parts = urlparse(self.path)
                if parts.path.endswith("/sync"):
                    return self.sync(parse_qs(parts.query))
                job_id, _, rest = parts.path.partition("/async/")[2].partition("/")
                job = server.jobs[job_id]
                if rest == "results/result":
                    return self.send(200, job["result"])
                phase = job["phases"].pop(0) if len(job["phases"]) > 1 else job["phases"][0]
                return self.send(200, self.uws(job_id, phase if job["running"] else "PENDING"))

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = parse_qs(raw)
                if self.path.endswith("/sync"):
                    return self.sync(form)
                if self.path.endswith("/async"):
                    adql = form["QUERY"][0]
                    server.log.append(("async", adql))
                    job_id = f"job{len(server.jobs)}"
                    result = server.answer(adql, int(form.get("MAXREC", [10**9])[0]), None)
                    server.jobs[job_id] = {"result": result, "running": False, "phases": list(server.job_phases)}
                    return self.redirect(f"/tap/async/{job_id}")
                job_id = self.path.split("/async/")[1].split("/")[0]
                server.jobs[job_id]["running"] = True
                return self.redirect(f"/tap/async/{job_id}")

            def do_DELETE(self) -> None:
                server.deleted.append(self.path)
                self.send(200, b"")

            def uws(self, job_id: str, phase: str) -> bytes:
                href = f"{server.url}/async/{job_id}/results/result"
                return (
                    '<?xml version="1.0"?><uws:job xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" '
                    'xmlns:xlink="http://www.w3.org/1999/xlink" version="1.1">'
                    f"<uws:jobId>{job_id}</uws:jobId><uws:phase>{phase}</uws:phase>"
                    '<uws:results><uws:result id="result" xlink:href="'
                    f'{href}"/></uws:results></uws:job>'
                ).encode()

            def redirect(self, where: str) -> None:
                self.send_response(303)
                self.send_header("Location", where)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def send(self, status: int, body: bytes, length: int | None = None) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/x-votable+xml")
                self.send_header("Content-Length", str(len(body) if length is None else length))
                self.end_headers()
                self.wfile.write(body)

            def sync(self, form: dict[str, list[str]]) -> None:
                adql = form["QUERY"][0]
                server.log.append(("sync", adql))
                how = server.script.pop(0) if server.script else "answer"
                try:
                    body = server.answer(adql, int(form.get("MAXREC", [10**9])[0]), server.sync_limit)
                except QueryError as error:
                    return self.send(400, server.error_votable(str(error)))
                getattr(self, f"do_{how}")(body, adql)
                return None

            def do_answer(self, body: bytes, adql: str) -> None:
                self.send(200, body)

            def do_stall(self, body: bytes, adql: str) -> None:
                server.released.wait(30.0)

            def do_trickle(self, body: bytes, adql: str) -> None:
                self.send(200, body[:10], len(body))
                for i in range(10, len(body)):
                    if server.released.wait(0.05):
                        return
                    try:
                        self.wfile.write(body[i : i + 1])
                        self.wfile.flush()
                    except OSError:
                        return

            def do_http500(self, body: bytes, adql: str) -> None:
                self.send(500, b"<html>Internal error</html>")

            def do_http503(self, body: bytes, adql: str) -> None:
                self.send(503, b"<html>Under maintenance</html>")

            def do_busy(self, body: bytes, adql: str) -> None:
                self.send_response(429)
                self.send_header("Retry-After", "7")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_http404(self, body: bytes, adql: str) -> None:
                self.send(404, b"<html>Nothing here</html>")

            def do_refuse(self, body: bytes, adql: str) -> None:
                self.send(200, server.error_votable("out of quota"))

            def do_truncate(self, body: bytes, adql: str) -> None:
                self.send(200, body[: len(body) * 2 // 3])

            def do_hangup(self, body: bytes, adql: str) -> None:
                self.send(200, body[: len(body) // 2], len(body))

            def do_html(self, body: bytes, adql: str) -> None:
                self.send(200, b"<html><body>Welcome</body></html>")

            def do_empty(self, body: bytes, adql: str) -> None:
                self.send(200, server.votable(server.run(adql)[:0]))

            def do_lacking(self, body: bytes, adql: str) -> None:
                table = server.run(adql)
                table.remove_column(table.colnames[-1])
                self.send(200, server.votable(table))

        return Handler
