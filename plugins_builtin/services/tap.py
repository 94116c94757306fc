"""One question to one TAP service, through pyvo, in bounded time.

Services fail in many ways, and each must end in a table that is whole or in a reason that helps: connections refused,
servers that stall or trickle, HTTP errors, VOTables cut off in the middle, answers cut at a row limit.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
import warnings
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

import attrs

from plugins_builtin.services.retry_after import seconds_to_wait

if TYPE_CHECKING:
    from astropy.table import Column, Table

log = logging.getLogger(__name__)

#: Anonymous synchronous queries of the ESA archive stop at this many rows.
SYNC_ROWS = 2000
#: Longest pause between two tries, s.
LONGEST_PAUSE = 60.0
_CHUNK = 1 << 16
_CLOSING_TAG = re.compile(rb"</(\w+:)?VOTABLE\s*>\s*\Z")


class ServiceFailure(Exception):
    """A service did not give a whole answer.

    `again`: whether the same query may succeed when it is sent again; `wait`: the seconds after which the service
    allows that, 0 where it names none.
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


def columns_of(answer: Table, wanted: Mapping[str, str]) -> dict[str, Column]:
    """Return columns of an answer under new names.

    Parameters
    ----------
    answer : astropy.table.Table
        Whose columns the service may have written in another case.
    wanted : mapping
        New name to the answer's name.

    Raises
    ------
    KeyError
        Naming the columns that the answer lacks.
    """
    written = {name.lower(): name for name in answer.colnames}
    missing = [name for name in wanted.values() if name.lower() not in written]
    if missing:
        raise KeyError(", ".join(missing))
    return {new: answer[written[name.lower()]] for new, name in wanted.items()}


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
    """Return an error as a failure of the service; None where it is a bug here."""
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
        headers = getattr(getattr(error.cause, "response", None), "headers", {})
        wait = seconds_to_wait(headers.get("Retry-After"))
        return ServiceFailure(f"HTTP status {error.code}: {_brief(error.reason)}", again, wait)
    if isinstance(error, DALServiceError | DALFormatError):
        return ServiceFailure(_brief(error.reason), again=True)
    if isinstance(error, requests.RequestException | urllib3.exceptions.HTTPError | OSError):
        return ServiceFailure(f"connection failed: {_brief(_innermost(error))}", again=True)
    return None


def _innermost(error: BaseException) -> BaseException:
    """Return the error that requests and urllib3 wrapped in others."""
    inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
    return _innermost(inner) if isinstance(inner, BaseException) else error


def _brief(text: Any) -> str:
    """Return a message on one line of bounded length."""
    line = " ".join(str(text).split()) or "no reason given"
    return line if len(line) <= 200 else line[:197] + "..."


def _sync_answer(question: TapQuestion, patience: Patience, session: Any, deadline: float) -> tuple[Table, bool]:
    """Return the answer of a synchronous query, and whether it was cut at a row limit."""
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
    """Return the answer of an asynchronous job, and whether it was cut; the job is deleted on the server after that."""
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
    """Return whether any QUERY_STATUS of the document says OVERFLOW; the standard puts it after the table."""
    infos = [info for resource in votable.resources for info in resource.infos]
    infos += [info for resource in votable.resources for table in resource.tables for info in table.infos]
    return any(info.name == "QUERY_STATUS" and str(info.value).upper() == "OVERFLOW" for info in infos)
