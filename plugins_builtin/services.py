"""Asking catalogue services over the network: TAP through pyvo, with time-outs, retries, a mirror and a cache.

Services fail in many ways, and each must end in a table that is whole or in a message that helps: connections refused,
servers that stall or trickle, HTTP errors, VOTables cut off in the middle, answers cut at a row limit, empty answers.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import attrs
import numpy as np
from astropy.table import Table

from lcframework.types import NeedMissing, Region
from plugins_builtin.answers_cache import AnswersCache

log = logging.getLogger(__name__)

#: Anonymous synchronous queries of the ESA archive stop at this many rows.
SYNC_ROWS = 2000
#: Longest pause between two tries, s.
LONGEST_PAUSE = 60.0
_CHUNK = 1 << 16
_CLOSING_TAG = re.compile(rb"</(\w+:)?VOTABLE\s*>\s*\Z")
_TABLE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+/-]*\Z")


# ---------------------------------------------------------------- ADQL


def number(value: float) -> str:
    """Return a finite number as ADQL takes it: fixed notation, never an expression.

    Raises
    ------
    ValueError
        For anything that is not a finite number.
    """
    value = float(value)
    if not np.isfinite(value):
        raise ValueError(f"{value!r} can't stand in a query: not a finite number")
    return np.format_float_positional(value, trim="0")


def table_name(name: str) -> str:
    """Return a table's name as ADQL takes it, quoted where it holds a slash, as VizieR's do."""
    if not _TABLE_NAME.match(name):
        raise ValueError(f"{name!r} is not the name of a table")
    return name if re.fullmatch(r"[A-Za-z0-9_.]+", name) else f'"{name}"'


def column_name(name: str) -> str:
    """Return a column's name as an ADQL delimited identifier."""
    if not name or not name.isprintable():
        raise ValueError(f"{name!r} is not the name of a column")
    return '"' + name.replace('"', '""') + '"'


def in_cone(ra_column: str, dec_column: str, region: Region) -> str:
    """Return the ADQL condition that a position lies in a region's cone; columns are ADQL already."""
    circle = f"CIRCLE('ICRS', {number(region.ra % 360.0)}, {number(region.dec)}, {number(region.radius)})"
    return f"1 = CONTAINS(POINT('ICRS', {ra_column}, {dec_column}), {circle})"


def between(column: str, limits: tuple[float, float]) -> list[str]:
    """Return the ADQL conditions for a range, of which infinite ends are left out."""
    low, high = limits
    conditions = [f"{column} >= {number(low)}"] if np.isfinite(low) else []
    return conditions + ([f"{column} <= {number(high)}"] if np.isfinite(high) else [])


# ---------------------------------------------------------------- one service, one try


class ServiceFailure(Exception):
    """A service did not give a whole answer.

    `again` says whether the same question may work in a moment, `wait` how many seconds the service asks to be left.
    """

    def __init__(self, reason: str, again: bool, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.again, self.wait = again, wait


@attrs.frozen
class TapQuestion:
    """One question to one TAP service."""

    service: str  # what the user calls it
    url: str  # of the service, without /sync
    adql: str
    read: Callable[[Table], Table] = lambda table: table  # its columns -> those of the question


@attrs.frozen
class Patience:
    """How long and how often a service is asked."""

    timeout: float = 60.0  # s, for a whole answer
    retries: int = 3  # further tries after the first one that fails
    backoff: float = 2.0  # s before the first retry, doubled before each further one
    max_rows: int = 100_000

    def pause(self, retry: int) -> float:
        """Return the seconds to wait before retry number `retry`, from 0."""
        return float(min(self.backoff * 2.0**retry, LONGEST_PAUSE))


def tap_answer(question: TapQuestion, patience: Patience) -> Table:
    """Ask a TAP service once and return its whole answer.

    Asks synchronously first. An answer that was cut at a row limit, or that has exactly as many rows as the limit that
    anonymous synchronous queries meet, is asked for again as an asynchronous job, where the limits are wider.

    Raises
    ------
    ServiceFailure
        Where the answer does not come in time, is an error, or is not whole.
    """
    deadline = time.monotonic() + patience.timeout
    session = _session(patience.timeout)
    try:
        with session:
            table, cut = _sync_answer(question, patience, session, deadline)
            if cut or len(table) == SYNC_ROWS:
                table, cut = _async_answer(question, patience, session, deadline)
    except Exception as error:
        failure = _failure(error, patience)
        if failure is error or failure is None:
            raise
        raise failure from error
    if cut or len(table) > patience.max_rows:
        raise ServiceFailure(
            f"the answer was cut at {len(table)} rows: narrow the field or the magnitudes, or raise max_rows",
            again=False,
        )
    try:
        return question.read(table)
    except KeyError as error:
        raise ServiceFailure(f"the answer lacks a column: {_brief(error.args[0])}", again=False) from error


def _session(timeout: float) -> Any:
    """Return a requests session all of whose calls have a time-out, and that closes what its users leave open."""
    import pyvo
    import requests

    class Session(requests.Session):
        def request(self, *args: Any, **kwargs: Any) -> Any:
            if kwargs.get("timeout") is None:
                kwargs["timeout"] = (min(timeout, 15.0), timeout)
            response = super().request(*args, **kwargs)
            opened.append(response)
            return response

        def close(self) -> None:
            for response in opened:
                response.close()
            super().close()

    opened: list[Any] = []

    session = Session()
    session.headers["User-Agent"] = f"lcframework {pyvo.utils.http.USER_AGENT}"
    return session


def _failure(error: Exception, patience: Patience) -> ServiceFailure | None:
    """Return what went wrong while asking, and whether to try again; None for what is no fault of a service."""
    import requests
    import urllib3
    from pyvo.dal import DALFormatError, DALQueryError, DALServiceError

    if isinstance(error, ServiceFailure):
        return error
    late = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
    if isinstance(error, late) or isinstance(getattr(error, "cause", None), late):
        return ServiceFailure(f"no whole answer within {patience.timeout:g} s", again=True)
    if isinstance(error, DALQueryError):
        return ServiceFailure(f"the query was refused: {_brief(error.reason)}", again=False)
    if isinstance(error, DALServiceError) and error.code:
        again = error.code >= 500 or error.code in (408, 429)
        return ServiceFailure(f"HTTP status {error.code}: {_brief(error.reason)}", again, _asked_to_wait(error))
    if isinstance(error, DALServiceError | DALFormatError):
        return ServiceFailure(_brief(error.reason), again=True)
    if isinstance(error, requests.RequestException | urllib3.exceptions.HTTPError | OSError):
        return ServiceFailure(f"connection failed: {_brief(_innermost(error))}", again=True)
    return None


def _asked_to_wait(error: Any) -> float:
    """Return the seconds of a Retry-After header, 0 where there is none (or a date, which no catalogue sends)."""
    headers = getattr(getattr(error.cause, "response", None), "headers", {})
    seconds = str(headers.get("Retry-After", "")).strip()
    return float(seconds) if seconds.isdecimal() else 0.0


def _innermost(error: BaseException) -> BaseException:
    """Return what a connection really failed of, out of the wrappings of requests and urllib3."""
    inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
    return _innermost(inner) if isinstance(inner, BaseException) else error


def _brief(text: Any) -> str:
    """Return a message on one line of bounded length."""
    line = " ".join(str(text).split()) or "no reason given"
    return line if len(line) <= 200 else line[:197] + "..."


def _sync_answer(question: TapQuestion, patience: Patience, session: Any, deadline: float) -> tuple[Table, bool]:
    """Ask and wait; returns the table and whether it was cut at a row limit."""
    from pyvo.dal import DALServiceError, TAPQuery

    query = TAPQuery(question.url, question.adql, maxrec=patience.max_rows + 1, session=session)
    raw = _read(query.execute_stream(), deadline)
    try:
        query.raise_if_error()
    except DALServiceError as error:
        if error.code and 400 <= error.code < 500:
            with contextlib.suppress(ServiceFailure):
                _parse(raw, question.url)  # raises with the service's own words, where the body is a VOTable
        raise
    return _parse(raw, question.url)


def _async_answer(question: TapQuestion, patience: Patience, session: Any, deadline: float) -> tuple[Table, bool]:
    """Run a job and fetch its result; the job is deleted on the server in the end."""
    from pyvo.dal import AsyncTAPJob, DALServiceError

    job = AsyncTAPJob.create(question.url, question.adql, maxrec=patience.max_rows + 1, session=session)
    try:
        job.run()
        pause = min(0.2, patience.timeout / 20.0)
        while (phase := job.phase) not in ("COMPLETED", "ERROR", "ABORTED"):
            if time.monotonic() + pause > deadline:
                raise ServiceFailure(f"its job was still {phase} after {patience.timeout:g} s", again=True)
            time.sleep(pause)
            pause = min(2.0 * pause, 10.0)
        job.raise_if_error()
        response = session.get(job.result_uri, stream=True)
        if response.status_code >= 400:
            raise DALServiceError(response.reason, code=response.status_code, url=question.url)
        return _parse(_read(response.raw, deadline), question.url)
    finally:
        try:
            job.delete()
        except Exception as error:  # the answer matters, not whether the server tidies up
            log.debug("the job at %s was not deleted: %s", question.url, error)


def _read(stream: Any, deadline: float) -> bytes:
    """Read all of a response; a server that trickles is cut off at the deadline too."""
    chunks = []
    read = getattr(stream, "read1", stream.read)
    while chunk := read(_CHUNK, decode_content=True):
        chunks.append(chunk)
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(chunks)


def _parse(raw: bytes, url: str) -> tuple[Table, bool]:
    """Return the table in a VOTable document and whether it was cut at a row limit."""
    from astropy.io.votable import parse
    from pyvo.dal import DALOverflowWarning, TAPResults

    if not _CLOSING_TAG.search(raw[-200:]):
        what = "not a VOTable" if b"VOTABLE" not in raw[:2000] else "a VOTable that was cut off"
        raise ServiceFailure(f"the answer ({len(raw)} bytes) is {what}", again=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # services bend the VOTable standard in many harmless ways
        warnings.simplefilter("ignore", DALOverflowWarning)
        try:
            results = TAPResults(parse(BytesIO(raw), verify="ignore"), url=url)
        except (ValueError, IndexError, TypeError) as error:
            raise ServiceFailure(f"the answer is a damaged VOTable: {_brief(error)}", again=True) from error
        table = results.to_table()
    return table, _overflowed(results.votable)


def _overflowed(votable: Any) -> bool:
    """Return whether any QUERY_STATUS of the document says OVERFLOW; it stands after the table by the standard."""
    infos = [info for resource in votable.resources for info in resource.infos]
    infos += [info for resource in votable.resources for table in resource.tables for info in table.infos]
    return any(info.name == "QUERY_STATUS" and str(info.value).upper() == "OVERFLOW" for info in infos)


# ---------------------------------------------------------------- several services, several tries


def _insist(question: TapQuestion, patience: Patience) -> Table:
    """Ask one service until it answers or the retries are used up."""
    for attempt in range(patience.retries + 1):
        try:
            return tap_answer(question, patience)
        except ServiceFailure as failure:
            if not failure.again or attempt == patience.retries:
                raise
            pause = min(max(patience.pause(attempt), failure.wait), LONGEST_PAUSE)
            log.warning("%s: %s; asking again in %g s", question.service, failure, pause)
            time.sleep(pause)
    raise AssertionError("unreachable")


def ask(
    questions: Sequence[TapQuestion],
    patience: Patience,
    *,
    name: str,
    purpose: str,
    cache_dir: Path | None,
    offline: bool,
) -> Table:
    """Return the answer to a question that any of several services can answer.

    The cache is asked first, then each service in turn. The first answer with rows is kept in the cache and returned.

    Parameters
    ----------
    questions : sequence of TapQuestion
        The same question, put to the service of choice and to its mirrors; all `read` into the same columns. The
        first one's ADQL names the answer in the cache.
    patience : Patience
        For each service.
    name : str
        Of the catalogue; begins the names of the cache's files.
    purpose : str
        What is asked, for messages.
    cache_dir : Path or None
        None: nothing is kept.
    offline : bool
        Whether only the cache may answer.

    Returns
    -------
    astropy.table.Table
        Without rows only where a service answered so and none answered otherwise.

    Raises
    ------
    NeedMissing
        Where no service answers, or where offline and the cache does not know.
    """
    cache = AnswersCache(Path(cache_dir)) if cache_dir is not None else None
    key: Mapping[str, Any] = {"name": name, "adql": questions[0].adql}
    if cache is not None and (known := cache.load(key)) is not None:
        return known
    if offline:
        where = f"in {cache.folder}" if cache is not None else "(no cache_dir is set)"
        raise NeedMissing(
            f"{purpose}: offline = true and no stored answer {where}. Run `lcf prefetch` on the project file once "
            f"where there is a network, or set [run] offline = false."
        )
    table, origin = _first_answer(questions, patience, purpose)
    if cache is not None and len(table):
        _keep(cache, key, table, origin)
    return table


def _first_answer(questions: Sequence[TapQuestion], patience: Patience, purpose: str) -> tuple[Table, str]:
    """Return the first answer with rows, else one without, and the address that gave it."""
    reasons, empty = [], None
    for question in questions:
        try:
            table = _insist(question, patience)
        except ServiceFailure as failure:
            reasons.append(f"{question.service} ({urlparse(question.url).netloc}): {failure}")
            log.warning("%s: %s", purpose, reasons[-1])
            continue
        if len(table):
            return table, question.url
        empty = table, question.url
        log.warning("%s: %s answered without a row", purpose, question.service)
    if empty is not None:
        return empty
    raise NeedMissing(
        f"{purpose}: no service gave a whole answer. {'; '.join(reasons)}. "
        f"Try again later, name another service in the options, or use a table of your own (plugin = 'file')."
    )


def _keep(cache: AnswersCache, key: Mapping[str, Any], table: Table, origin: str) -> None:
    """Store an answer; one that can't be stored is used all the same."""
    try:
        cache.store(key, table, origin)
    except OSError as error:
        log.warning("the answer of %s was not kept in %s: %s", origin, cache.folder, error)
