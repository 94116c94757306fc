"""The plate solver "nova": the web service nova.astrometry.net, given lists of sources and never images."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, ClassVar

import attrs
import numpy as np
from astropy.io import fits

from lcframework.hookspecs import hookimpl
from lcframework.types import NeedMissing, NotSolved, PlateSolution, SolveHint, SourceTable
from plugins_builtin.star_match import bright_sources, match_stars, positions, refine
from plugins_builtin.wcs_fit import InvalidWcs, celestial_keywords, open_wcs

_FEWEST_SOURCES = 4
_LONGEST_WAIT = 30.0  # seconds between two questions
_TRIES = 3  # of a request that failed for want of a connection


def _positive(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be positive, got {value!r}")


class _Refused(Exception):
    """The service answered that it won't."""


@attrs.frozen
class Nova:
    """Solves through the network; the key of your account comes from the environment and is stored nowhere."""

    results_version: ClassVar[int] = 1
    operational: ClassVar[tuple[str, ...]] = ("key_variable", "timeout", "poll", "publicly_visible")

    url: str = "https://nova.astrometry.net"
    key_variable: str = "ASTROMETRY_NET_API_KEY"  # the environment variable that holds the API key
    sip_order: int = attrs.field(default=1, validator=attrs.validators.in_(range(0, 6)))  # 0: no distortion
    timeout: float = attrs.field(default=300.0, validator=_positive)  # seconds a frame, the service's queue included
    poll: float = attrs.field(default=3.0, validator=_positive)  # seconds between the first two questions; later longer
    max_sources: int = attrs.field(default=200, validator=_positive)  # the brightest are sent
    publicly_visible: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))
    refine: bool = attrs.field(
        default=False, validator=attrs.validators.instance_of(bool)
    )  # fit to [stars]'s catalogue
    offline: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))  # as [run] offline says

    @property
    def needs_stars(self) -> bool:
        """Whether the catalogue's stars must be in the hint."""
        return self.refine

    def solve(self, sources: SourceTable, shape: tuple[int, int], hint: SolveHint) -> PlateSolution | NotSolved:
        """Return the frame's WCS, or why none was found.

        Parameters
        ----------
        sources : SourceTable
            Positions of the brightest `max_sources` are sent, and nothing else of the frame.
        shape : tuple
            (ny, nx) of the frame.
        hint : SolveHint
            Position, radius and scale narrow the search.

        Raises
        ------
        NeedMissing
            Where there is no key, the service refuses it, it can't be reached, or the run is offline.
        """
        if self.offline:
            raise NeedMissing(f"{self.url} needs the network, but [run] offline = true; astrometry-net needs none")
        key = os.environ.get(self.key_variable, "")
        if not key:
            raise NeedMissing(
                f"the environment variable {self.key_variable} is not set: make an account on {self.url} and put "
                "the API key of its profile page there"
            )
        rows = bright_sources(sources, self.max_sources)
        if len(rows) < _FEWEST_SOURCES:
            return NotSolved(f"{len(rows)} sources are too few to solve with ({_FEWEST_SOURCES} are needed)")
        deadline = time.monotonic() + self.timeout
        try:
            session = self._login(key, deadline)
            answer = self._call("url_upload", {"session": session, **self._job(sources, rows, shape, hint)}, deadline)
            header = self._wait(int(answer["subid"]), deadline)
        except _Refused as refused:
            return NotSolved(f"{self.url} refused the list of sources: {refused}")
        except TimeoutError:
            return NotSolved(
                f"{self.url} did not solve the frame within {self.timeout:g} s; try later (retry_failed = true in "
                "[plate_solving]), or raise timeout in [plate_solving.nova]"
            )
        return header if isinstance(header, NotSolved) else self._solution(header, sources, shape, hint)

    def _job(self, sources: SourceTable, rows: Any, shape: tuple[int, int], hint: SolveHint) -> dict[str, Any]:
        # FITS counts pixels from 1.
        xy = positions(sources, rows) + 1.0
        job: dict[str, Any] = {
            "x": [round(float(v), 4) for v in xy[:, 0]],
            "y": [round(float(v), 4) for v in xy[:, 1]],
            "image_width": shape[1],
            "image_height": shape[0],
            "tweak_order": self.sip_order,
            "crpix_center": True,
            "publicly_visible": "y" if self.publicly_visible else "n",
            "allow_modifications": "n",
            "allow_commercial_use": "n",
        }
        if hint.scale is not None:
            low, high = hint.scale
            job |= {"scale_units": "arcsecperpix", "scale_type": "ul", "scale_lower": low, "scale_upper": high}
        if hint.ra is not None and hint.dec is not None and hint.radius is not None:
            reach = 0.0 if hint.scale is None else 0.5 * float(np.hypot(*shape)) * hint.scale[1] / 3600.0
            job |= {"center_ra": float(hint.ra), "center_dec": float(hint.dec), "radius": float(hint.radius) + reach}
        return job

    def _login(self, key: str, deadline: float) -> str:
        try:
            return str(self._call("login", {"apikey": key}, deadline)["session"])
        except _Refused as refused:
            raise NeedMissing(
                f"{self.url} refused the API key in {self.key_variable}: {refused}; "
                "the right one stands on your profile page there"
            ) from None

    def _wait(self, submission: int, deadline: float) -> fits.Header | NotSolved:
        """Ask for the job and then for its end, ever more rarely."""
        job, pause = None, self.poll
        while True:
            self._sleep(pause, deadline)
            pause = min(1.5 * pause, _LONGEST_WAIT)
            if job is None:
                jobs = self._call(f"submissions/{submission}", None, deadline).get("jobs") or []
                job = next((j for j in jobs if j is not None), None)
                if job is None:
                    continue
            status = self._call(f"jobs/{job}", None, deadline).get("status")
            if status == "success":
                return fits.Header.fromstring(self._fetch(f"wcs_file/{job}", None, deadline))
            if status == "failure":
                return NotSolved(f"{self.url} found no match; check pixel_scale and search_radius in [plate_solving]")

    @staticmethod
    def _sleep(seconds: float, deadline: float) -> None:
        if time.monotonic() + seconds > deadline:
            raise TimeoutError
        time.sleep(seconds)

    def _call(self, name: str, request: dict[str, Any] | None, deadline: float) -> dict[str, Any]:
        """Ask the API.

        Raises
        ------
        _Refused
            With the service's own words.
        """
        form = None if request is None else urllib.parse.urlencode({"request-json": json.dumps(request)}).encode()
        try:
            answer = json.loads(self._fetch(f"api/{name}", form, deadline))
        except ValueError:
            raise NeedMissing(
                f"{self.url} answered something else than JSON: is it an Astrometry.net service?"
            ) from None
        if not isinstance(answer, dict) or answer.get("status") == "error":
            raise _Refused(answer.get("errormessage", "no reason given") if isinstance(answer, dict) else str(answer))
        return answer

    def _fetch(self, path: str, form: bytes | None, deadline: float) -> bytes:
        """Get a page; a connection that fails is tried again after a while."""
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/{path}", data=form, headers={"User-Agent": "lcframework", "Referer": self.url}
        )
        for attempt in range(_TRIES):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            try:
                with urllib.request.urlopen(request, timeout=min(left, 60.0)) as answer:
                    return bytes(answer.read())
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code != 429:
                    raise _Refused(f"HTTP {error.code} {error.reason} for {path}") from None
                reason: object = f"HTTP {error.code} {error.reason}"
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", None) or error
            if attempt + 1 < _TRIES:
                self._sleep(self.poll * 2**attempt, deadline)
        raise NeedMissing(
            f"{self.url} can't be used ({reason}); is there a network? Solvers that need none: astrometry-net"
        )

    def _solution(
        self, header: fits.Header, sources: SourceTable, shape: tuple[int, int], hint: SolveHint
    ) -> PlateSolution | NotSolved:
        try:
            header = celestial_keywords(header)
            wcs = open_wcs(header)
        except InvalidWcs as error:
            return NotSolved(f"the WCS that {self.url} sent is not valid: {error}")
        # The index files' positions are on the ICRS; an equinox alone would be read as FK5.
        header.pop("EQUINOX", None)
        header["RADESYS"] = "ICRS"
        if hint.stars is None or len(hint.stars) == 0:
            return PlateSolution(header)
        pairs = match_stars(wcs, sources, hint.stars, shape)
        solution = PlateSolution(header, len(pairs.source), pairs.rms) if pairs.significant else PlateSolution(header)
        return refine(solution, sources, hint.stars, shape) if self.refine else solution


@hookimpl
def lcf_plate_solvers() -> dict[str, type]:
    """Name the solver."""
    return {"nova": Nova}
