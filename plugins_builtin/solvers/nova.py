"""The plate solver "nova": the web service nova.astrometry.net, given lists of sources and never images."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from lcframework.hookspecs import hookimpl
from lcframework.options import positive, true_or_false
from lcframework.types import Ints, NeedMissing, NotSolved, PlateSolution, SolveHint, SourceTable
from plugins_builtin.astrometry.solving import (
    Refining,
    brightest,
    icrs,
    order_of_sip,
    refitted,
    search_cone,
    with_matches,
)
from plugins_builtin.astrometry.star_match import positions
from plugins_builtin.astrometry.wcs_fit import InvalidWcs
from plugins_builtin.services.answers_cache import digest
from plugins_builtin.services.nova import NovaService, OutOfTime, Refused, Unconfirmed

if TYPE_CHECKING:
    from astropy.io import fits


@attrs.frozen
class Nova(Refining):
    """Solves through the network; the API key of your account comes from the environment and is stored nowhere."""

    results_version: ClassVar[int] = 1
    operational: ClassVar[frozenset[str]] = frozenset({"key_variable", "timeout", "poll", "publicly_visible"})

    url: str = "https://nova.astrometry.net"
    key_variable: str = "ASTROMETRY_NET_API_KEY"  # the environment variable that holds the API key
    sip_order: int = attrs.field(default=1, validator=order_of_sip)  # 0: no distortion
    timeout: float = attrs.field(default=300.0, validator=positive)  # seconds a frame, the service's queue included
    poll: float = attrs.field(default=3.0, validator=positive)  # seconds between the first two questions; later longer
    max_sources: int = attrs.field(default=200, validator=positive)  # the brightest are sent
    publicly_visible: bool = attrs.field(default=False, validator=true_or_false)
    refine: bool = attrs.field(default=False, validator=true_or_false)  # fit to [stars]'s catalogue
    offline: bool = attrs.field(default=False, validator=true_or_false)  # as [run] offline says
    cache_dir: Path | None = None  # where submissions and turns are noted; unset: the core gives workdir/cache

    def solve(self, sources: SourceTable, shape: tuple[int, int], hint: SolveHint) -> PlateSolution | NotSolved:
        """Return the frame's WCS, or why none was found; position, radius and scale in `hint` narrow the search.

        Positions of the brightest `max_sources` are sent, and nothing else of the frame. A submission that was not
        answered in time is noted in `cache_dir`, and asked for again instead of handed in again.

        Raises
        ------
        NeedMissing
            Where there is no API key, the service refuses it or can't be reached, or the run is offline.
        """
        if self.offline:
            raise NeedMissing(f"{self.url} needs the network, but [run] offline = true; astrometry-net needs none")
        api_key = os.environ.get(self.key_variable, "")
        if not api_key:
            raise NeedMissing(
                f"the environment variable {self.key_variable} is not set: make an account on {self.url} and put "
                "the API key of its profile page there"
            )
        rows = brightest(sources, self.max_sources)
        if isinstance(rows, NotSolved):
            return rows
        deadline = time.monotonic() + self.timeout
        service = NovaService(self.url, api_key, self.key_variable, self.poll, deadline, self.cache_dir)
        try:
            content = self._answer(service, self._job(sources, rows, shape, hint))
        except Refused as refused:
            return NotSolved(f"{self.url} refused the list of sources: {refused}")
        except Unconfirmed as lost:
            return NotSolved(
                f"{self.url} did not confirm that it got the list of sources ({lost}); as it may be at work on it, the "
                "list is not sent twice: retry_failed = true in [plate_solving] sends it again"
            )
        except OutOfTime:
            return NotSolved(
                f"{self.url} did not solve the frame within {self.timeout:g} s; try later (retry_failed = true in "
                "[plate_solving] asks for the same submission), or raise timeout in [plate_solving.nova]"
            )
        if content is None:
            return NotSolved(f"{self.url} found no match; check pixel_scale and search_radius in [plate_solving]")
        try:
            header = _header(content)
        except InvalidWcs as error:
            return NotSolved(f"the WCS that {self.url} sent is not valid: {error}")
        solution = with_matches(header, sources, hint.stars, shape)
        return refitted(solution, sources, shape, hint, True) if self.refine else solution

    def _answer(self, service: NovaService, job: dict[str, Any]) -> bytes | None:
        """Return a job's result, by the submission that an earlier run noted, or a new one."""
        note = self._note(job)
        submission = _noted(note)
        if submission is not None:
            try:
                content = service.result(submission)
            except Refused:  # forgotten there
                submission = None
        if submission is None:
            submission = service.submit(job)
            if note is not None:
                note.parent.mkdir(parents=True, exist_ok=True)
                note.write_text(json.dumps({"submission": submission}), encoding="utf-8")
            content = service.result(submission)
        if note is not None:
            note.unlink(missing_ok=True)
        return content

    def _note(self, job: dict[str, Any]) -> Path | None:
        if self.cache_dir is None:
            return None
        return self.cache_dir / "nova" / f"{digest([self.url, job])[:32]}.json"

    def _job(self, sources: SourceTable, rows: Ints, shape: tuple[int, int], hint: SolveHint) -> dict[str, Any]:
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
        cone = search_cone(shape, hint)
        if cone is not None:
            job |= dict(zip(("center_ra", "center_dec", "radius"), cone, strict=True))
        return job


def _noted(note: Path | None) -> int | None:
    """Return the number of the submission in a note; None where no note can be read."""
    if note is None:
        return None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return int(json.loads(note.read_text(encoding="utf-8"))["submission"])
    return None


def _header(content: bytes) -> fits.Header:
    """Return the WCS of a header file.

    Raises
    ------
    InvalidWcs
        Where it is cut off, or is something else.
    """
    from astropy.io import fits

    if not content.rstrip().endswith(b"END"):
        raise InvalidWcs("it is no whole FITS header")
    try:
        return icrs(fits.Header.fromstring(content))
    except (ValueError, fits.VerifyError) as error:
        raise InvalidWcs(str(error).split("\n")[0]) from error


@hookimpl
def lcf_plate_solvers() -> dict[str, type]:
    """Offer the plate solver ``nova``."""
    return {"nova": Nova}
