"""A client of Astrometry.net's web interface: it retries, spaces its requests, and never shows the API key."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import json
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import attrs

from lcframework.types import NeedMissing
from plugins_builtin.services.retry_after import seconds_to_wait

LONGEST_WAIT = 30.0  # seconds between two questions for a result
_TRIES = 3  # of a request that got no connection or no whole answer
_SPACING = 1.0 / 3.0  # of `poll`, between any two requests
_LONGEST_QUEUE = 600.0  # seconds; a turn reserved for later than that is the error of a clock
_STALL = 60.0  # seconds without a byte, after which a connection is given up
_LARGEST = 2**24  # bytes of an answer

#: Sessions that services opened for this process, by their address and the API key.
_SESSIONS: dict[tuple[str, str], str] = {}
#: When this process sent its last request to each service, where processes share no folder.
_ASKED: dict[str, float] = {}

#: Failures before anything was sent.
_UNSENT = (ConnectionRefusedError, socket.gaierror)


class Refused(Exception):
    """The service refused a request; the message is the service's."""


class Unconfirmed(Exception):
    """A job may have been submitted, but the service's confirmation was lost; the message gives the reason."""


class OutOfTime(Exception):
    """The deadline is over. Unlike TimeoutError it is no OSError: those are tried again."""


@attrs.frozen
class NovaService:
    """One conversation with the service, for one frame.

    A request is repeated, each time after twice the wait, where no connection is made, the service is too busy (HTTP
    429, 5xx), or the answer is not JSON; not before the time in `Retry-After`. A job is submitted again only where it
    is certain that it did not arrive.
    """

    url: str
    api_key: str = attrs.field(repr=False)
    key_variable: str
    poll: float  # s
    deadline: float  # as of time.monotonic()
    turns: Path | None = None  # a folder, through which processes keep their requests apart

    def submit(self, job: dict[str, Any]) -> int:
        """Submit a job and return the submission's number.

        Raises
        ------
        Refused, Unconfirmed, NeedMissing, OutOfTime
        """
        for attempt in range(2):
            try:
                answer = self._call("url_upload", {"session": self._session(), **job}, once=True)
                break
            except Refused as refused:
                # Sessions end; the next one serves this job and the following frames.
                if attempt or "session" not in str(refused).lower():
                    raise
                _SESSIONS.pop((self.url, self.api_key), None)
        number = answer.get("subid")
        if not isinstance(number, int):
            raise Refused("its answer names no submission")
        return number

    def result(self, submission: int) -> bytes | None:
        """Wait for a submission's WCS, with growing pauses; None where the service found no match.

        Raises
        ------
        Refused, NeedMissing, OutOfTime
        """
        job, pause = None, self.poll
        while True:
            self._sleep(pause)
            pause = min(1.5 * pause, LONGEST_WAIT)
            if job is None:
                jobs = self._call(f"submissions/{submission}").get("jobs")
                job = next((j for j in jobs if j is not None), None) if isinstance(jobs, list) else None
                if job is None:
                    continue
            status = self._call(f"jobs/{job}").get("status")
            if status == "success":
                return self._fetch(f"wcs_file/{job}")
            if status == "failure":
                return None

    def _session(self) -> str:
        known = _SESSIONS.get((self.url, self.api_key))
        if known is not None:
            return known
        try:
            session = self._call("login", {"apikey": self.api_key}).get("session")
        except Refused as refused:
            raise NeedMissing(
                f"{self.url} refused the API key in {self.key_variable} ({refused}); "
                "the right one is on your profile page there"
            ) from None
        if not session:
            raise Refused("it opened no session")
        return _SESSIONS.setdefault((self.url, self.api_key), str(session))

    def _call(self, name: str, request: dict[str, Any] | None = None, once: bool = False) -> dict[str, Any]:
        """Ask the interface and return its answer."""
        form = None if request is None else urllib.parse.urlencode({"request-json": json.dumps(request)}).encode()
        answer = self._ask(f"api/{name}", form, json.loads, once)
        if not isinstance(answer, dict):
            raise Refused(f"an answer that is no object ({type(answer).__name__})")
        if answer.get("status") == "error":
            # The service may quote what it was sent.
            raise Refused(str(answer.get("errormessage", "no reason given")).replace(self.api_key, "(the key)")[:300])
        return answer

    def _fetch(self, path: str) -> bytes:
        content: bytes = self._ask(path, None, bytes)
        return content

    def _ask(self, path: str, form: bytes | None, read: Any, once: bool = False) -> Any:
        """Send a request until `read` can read the answer, at most `_TRIES` times.

        With `once`, it is sent again only where the service has not taken it.
        """
        headers = {"User-Agent": "lcframework", "Referer": self.url}
        request = urllib.request.Request(f"{self.url.rstrip('/')}/{path}", data=form, headers=headers)
        reason, wait = "", 0.0
        for attempt in range(_TRIES):
            if attempt:
                self._sleep(max(wait, self.poll * 2.0 ** (attempt - 1)))
            wait = 0.0
            self._wait_for_turn()
            try:
                content = self._read(request)
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code != 429:
                    raise Refused(f"HTTP {error.code} {error.reason} for {path}") from None
                reason, wait = f"HTTP {error.code} {error.reason}", seconds_to_wait(error.headers.get("Retry-After"))
                taken = error.code not in (429, 503)
            except (OSError, http.client.HTTPException) as error:
                self._remaining()
                cause = getattr(error, "reason", None) or error
                reason, taken = str(cause) or type(cause).__name__, not isinstance(cause, _UNSENT)
            else:
                try:
                    return read(content)
                except ValueError:
                    reason, taken = "it answered something else than JSON: is it an Astrometry.net service?", True
            if once and taken:
                raise Unconfirmed(reason)
        raise NeedMissing(
            f"{self.url} can't be used ({reason}); is there a network? Solvers that need none: astrometry-net"
        )

    def _read(self, request: urllib.request.Request) -> bytes:
        """Return an answer's content; a service that trickles does not hold the run beyond the deadline."""
        parts, size = [], 0
        with urllib.request.urlopen(request, timeout=min(self._remaining(), _STALL)) as answer:
            while part := answer.read1(2**16):
                parts.append(part)
                size += len(part)
                self._remaining()
                if size > _LARGEST:
                    raise http.client.HTTPException(f"an answer of more than {_LARGEST >> 20} MiB")
            expected = answer.headers.get("Content-Length", "")
        if expected.isdigit() and size < int(expected):
            raise http.client.IncompleteRead(b"", int(expected) - size)
        return b"".join(parts)

    def _wait_for_turn(self) -> None:
        """Keep a part of `poll` between requests: this process's, or those of all processes that share `turns`."""
        if self.turns is not None:
            self._sleep(self._reserve_turn(self.turns))
            return
        rest = _ASKED.get(self.url, -1e9) + _SPACING * self.poll - time.monotonic()
        if rest > 0:
            self._sleep(rest)
        _ASKED[self.url] = time.monotonic()

    def _reserve_turn(self, folder: Path) -> float:
        """Return the seconds until a request may be sent, and write into the folder when that is."""
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        with open(folder / f"nova-{name}.turn", "a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
            file.seek(0)
            now, last = time.time(), 0.0
            with contextlib.suppress(ValueError):
                last = float(file.read())
            turn = max(now, last + _SPACING * self.poll) if last < now + _LONGEST_QUEUE else now
            if turn - now > self._remaining():
                raise OutOfTime
            file.truncate(0)
            file.write(repr(turn))
        return turn - now

    def _remaining(self) -> float:
        """Return the seconds to the deadline; OutOfTime where there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise OutOfTime
        return left

    def _sleep(self, seconds: float) -> None:
        if time.monotonic() + seconds > self.deadline:
            raise OutOfTime
        time.sleep(seconds)
